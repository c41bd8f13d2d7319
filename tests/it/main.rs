//! The tests that need more than this process: one binary, because each would be linked apart.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends by panicking, in its helpers too"
)]
#![allow(clippy::disallowed_methods, reason = "the tests wait for real processes by the real clock")]

mod alike;
mod architecture;
mod backtest;
mod bad_days;
mod calendar;
mod contract;
mod crds;
mod elsewhere;
mod evidence;
mod fixture;
mod generated;
mod journey;
mod lease;
mod phases;
mod plan;
mod simulate;
mod smoke;
mod stage;
mod validate;
