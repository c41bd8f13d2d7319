//! A decision is data: what the runs will say, what is sent, and when to look again.

use crate::api::{ArmedTarget, MigrationScheduleStatus, OrderOutcome, Percent, Time, Transition, WorkloadRef};

use super::probe::{KeptKey, WorkloadKey};
use super::state::State;
use super::target::Stamp;

/// Everything that follows from one pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// What is remembered from now on.
    pub state: State,
    /// What the schedule's status says from now on.
    pub status: MigrationScheduleStatus,
    /// The orders that are answered.
    pub answers: Vec<OrderAnswer>,
    /// Stamps that make late raises fail.
    pub seals: Vec<Seal>,
    /// What is stored beside runs before they are: they name it.
    pub keeps: Vec<Keep>,
    /// What is sent to targets. A pass that retreats never advances.
    pub motion: Motion,
    /// What becomes of the finalizer.
    pub finalizer: Finalizer,
    /// The transitions of this pass, with the run's name.
    pub transitions: Vec<(String, Transition)>,
    /// Where soaks stand, which people want to be told, with the run's name.
    pub updates: Vec<(String, Update)>,
    /// When to look again at the latest; later than now.
    pub wake: Time,
}

/// Something that a run stands on, and is never changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Where, and for which run.
    pub key: KeptKey,
    /// What.
    pub text: String,
}

/// Where a soak stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// When that was.
    pub at: Time,
    /// How many were told with it since the rollout.
    pub number: usize,
    /// In a sentence.
    pub sentence: String,
}

/// Which way the flags move.
#[derive(Clone, Debug, PartialEq)]
pub enum Motion {
    /// Nothing is sent.
    Still,
    /// Flags go down, at once, asking nobody.
    Retreat(Vec<Lower>, Vec<Restart>),
    /// Flags go up, after the state is stored.
    Advance(Vec<Raise>, Vec<Restart>),
}

/// Raises a flag on a target.
#[derive(Clone, Debug, PartialEq)]
pub struct Raise {
    /// The target.
    pub target: ArmedTarget,
    /// The version that was read.
    pub resource_version: String,
    /// How many of the users it reaches, for a target that takes a percentage.
    pub percent: Percent,
    /// Whether the field may be taken from another manager; only where the value read is `disabled`.
    pub force: bool,
    /// The stamp.
    pub stamp: Stamp,
    /// Not sent after this.
    pub send_by: Time,
}

/// Lowers a flag on a target, always by force. A rollback carries no version, so that nothing refuses it.
#[derive(Clone, Debug, PartialEq)]
pub struct Lower {
    /// The target.
    pub target: ArmedTarget,
    /// The version that was read, where it goes back by plan: a write that comes late must not meet what was raised since.
    pub resource_version: Option<String>,
    /// The stamp.
    pub stamp: Stamp,
}

/// Writes a stamp without changing the value.
#[derive(Clone, Debug, PartialEq)]
pub struct Seal {
    /// The target.
    pub target: ArmedTarget,
    /// The version that was read.
    pub resource_version: String,
    /// The stamp.
    pub stamp: Stamp,
}

/// Restarts a workload so that it sees a flag's new value.
#[derive(Clone, Debug, PartialEq)]
pub struct Restart {
    /// The namespace.
    pub namespace: String,
    /// The workload.
    pub workload: WorkloadRef,
    /// The flag.
    pub flag: String,
    /// The decision id that the pod template carries from then on.
    pub decision: String,
}

impl Restart {
    /// The workload with its namespace.
    pub fn key(&self) -> WorkloadKey {
        WorkloadKey { namespace: self.namespace.clone(), workload: self.workload.clone() }
    }
}

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderAnswer {
    /// The Intervention's name.
    pub name: String,
    /// Whether it was applied.
    pub outcome: OrderOutcome,
    /// In a sentence.
    pub message: String,
}

/// What becomes of the finalizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finalizer {
    /// It stays as it is.
    Leave,
    /// It must be there before a run is made.
    Add,
    /// Everything that deletion asks for is done.
    Remove,
}
