//! Hoist carries a feature flag through an organisation's environments on evidence, and puts it back by itself the
//! moment the evidence turns.
//!
//! # The map
//!
//! Arrows point inward only; `tests/it/architecture.rs` holds this table against the imports.
//!
//! | module | holds | may import |
//! |---|---|---|
//! | [`api`] | the resources as they travel; field docs are the user manual | |
//! | [`analysis`] | pure judgement: PromQL, thresholds, statistics, coverage, ledgers | `api` |
//! | [`engine`] | the heart: `probes` and `step`, the laws | `api`, `analysis` |
//! | [`sim`] | a deterministic world for the engine: targets, curves, faults, people | `api`, `analysis`, `engine` |
#![cfg_attr(
    feature = "shell",
    doc = "| [`shell`] | everything that can fail, block or see a clock: controller, lease, targets, Prometheus | all above |"
)]
#![cfg_attr(feature = "shell", doc = "| [`cli`] | one file per verb | all |")]
//!
//! # Invariants
//!
//! - `api`, `analysis`, `engine` and `sim` build without the feature `shell`: no async, no clock, no IO, no randomness.
//! - A raise cannot be sent without a `Fence`, which only a guarded, stored state hands out.
//! - A pass that retreats never advances: [`engine::Motion`] is a choice, not two lists.
//! - What a target took is stamped in the same request, so that a crash loses no decision.

#![forbid(unsafe_code)]
#![deny(missing_docs, rustdoc::broken_intra_doc_links)]

pub mod analysis;
pub mod api;
#[cfg(feature = "shell")]
pub mod cli;
pub mod engine;
#[cfg(feature = "shell")]
pub mod shell;
pub mod sim;
