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
mod course;
mod daemon;
mod declared;
mod draw;
mod elsewhere;
mod fault;
mod forecast;
mod leap;
mod metric;
mod named;
mod person;
mod random;
mod store;
mod story;
#[cfg(test)]
mod tests;
mod world;
mod write;

pub use cluster::{Cluster, Entry, Refusal};
pub use course::{Pace, Scene};
pub use declared::{
    Between, Crashes, Declared, DeclaredCurve, DeclaredOutage, Drift, HandSet, Occasion, Ordered, Place, Quality,
    Reaction, Rollout, SinceFlip,
};
pub use elsewhere::Elsewhere;
pub use fault::{Fate, Faults, Request};
pub use forecast::{Dates, Finish, LIVES, StepDates, quantile};
pub use leap::Leaps;
pub use metric::{Curve, Metrics, Sample, Segment, Span, Stretch};
pub use named::{Named, meant};
pub use person::{Act, Hand};
pub use random::Random;
pub use store::{Snapshot, Store};
pub use story::{End, Move, Outcome, Step, Story, Waited};
pub use world::World;
