//! The write contract of targets: each of its lines on a real API server, for every kind of target.
//!
//! Every test says in a comment which naive form of the write fails silently; that form makes the test fail.

mod absent;
mod ground;
mod identity;
mod ownership;
mod versions;
mod workload;
