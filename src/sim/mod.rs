//! A deterministic world in which the engine lives through weeks in milliseconds: an API server with versions and
//! stale reads, targets, workloads, metric curves, faults, and people who act at awkward times.
//!
//! May not: read a clock, ask anything, draw a number that does not come from its seed. Equal seeds give equal worlds,
//! event by event. The engine in it is the real one, and [`World::pass`] goes through the same steps as the shell:
//! observe, decide, retreat, seal, persist, advance, report, wake.
//!
//! Serves all laws: after everything that reaches the store or a target, [`crate::engine::laws::check`] runs over the
//! whole trace, and the world adds what only it can see (quiet, wake, evidence, people win).

mod check;
mod cluster;
mod daemon;
mod fault;
mod metric;
mod person;
mod random;
mod store;
#[cfg(test)]
mod tests;
mod world;
mod write;

pub use cluster::{Cluster, Entry, Refusal};
pub use fault::{Fate, Faults, Request};
pub use metric::{Curve, Metrics, Sample, Segment};
pub use person::{Act, Hand};
pub use random::Random;
pub use store::{Snapshot, Store};
pub use world::World;
