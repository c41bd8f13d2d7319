//! Everything that can fail, block or see a clock.
//!
//! May not: decide. What is asked is what `engine::probes` names; what is sent is what `engine::step` decided.

mod cache;
pub mod clock;
pub mod controller;
mod elsewhere;
pub mod error;
mod events;
pub(crate) mod guard;
mod http;
mod joint;
pub mod kept;
mod lanes;
pub mod lease;
mod linger;
mod observe;
pub mod prometheus;
mod queue;
mod reconcile;
pub mod recording;
pub(crate) mod store;
pub mod targets;
mod telemetry;
mod versions;
mod view;
mod world;
mod written;
