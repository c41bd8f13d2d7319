//! The write contract of targets: each of its lines on a real API server, for every kind of target.
//!
//! Every test says in a comment which naive form of the write fails silently; that form makes the test fail. `schedules`
//! and `drift` look at the same from outside, through a controller.

mod absent;
mod drift;
mod ground;
mod identity;
mod ownership;
mod schedules;
mod steps;
mod versions;
mod workload;
