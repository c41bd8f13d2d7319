//! The heart: what must be known ([`probes`]), and what follows from it ([`step`]).
//!
//! May not: read a clock, ask anything, draw a random number, fail. Both functions are total and deterministic (law 1).
//! The same two drive the controller, the simulator and every test.

pub mod calendar;
mod condition;
mod decision;
mod drift;
mod elsewhere;
mod flip;
mod gate;
mod hint;
pub mod history;
mod latest;
pub mod laws;
mod ledger;
mod no_return;
mod order;
mod plan;
mod probe;
mod quiet;
mod rise;
mod rollback;
mod room;
mod runs;
mod soak;
mod start;
mod state;
mod step;
mod target;
mod trial;
mod view;

pub use condition::bug;
pub use decision::{Decision, Finalizer, Keep, Lower, Motion, OrderAnswer, Raise, Restart, Seal, Update};
pub use elsewhere::{ElsewherePhase, waited_for};
pub use hint::nearest;
pub use ledger::{RunLedger, new_check};
pub use order::WENT_BACK;
pub use plan::{EnvironmentPlan, FlipPlan, PhasePlan, Places, Plan, Problem, Step, circle};
pub use probe::{
    FoundWorkload, KeptKey, Measure, Measured, Observations, Probe, Question, WorkloadKey, WorkloadReading,
    due_questions, probes,
};
pub use runs::ReadRuns;
pub use start::IN_TIME;
pub use state::{Flip, Run, Stage, State};
pub use step::{steady, step};
pub use target::{
    Expected, Foreign, FoundTarget, Owner, Stamp, StampKind, Standing, TargetPlan, TargetReading, digest, standing,
};
pub use view::{Neighbours, Order, Policy, View, pause_of};
