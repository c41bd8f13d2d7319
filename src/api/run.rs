//! `MigrationRun`: one attempt at one environment in one phase, as Hoist remembers it.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Armed, PendingAction, Preflight, RollbackScope, ScheduleRef, StepStatus, Time};

/// One attempt (epoch) at one environment in one phase. Written by Hoist alone; `kubectl get runs` is the story of a
/// migration. It outlives its schedule.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "hoist.dev",
    version = "v1alpha1",
    kind = "MigrationRun",
    namespaced,
    status = "MigrationRunStatus",
    plural = "migrationruns",
    shortname = "run",
    shortname = "runs",
    category = "hoist",
    derive = "PartialEq",
    doc = "One attempt at one environment in one phase. Written by Hoist alone.",
    printcolumn(name = "Schedule", type_ = "string", json_path = ".spec.schedule.name"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".spec.phase"),
    printcolumn(name = "Environment", type_ = "string", json_path = ".spec.environment.name"),
    printcolumn(name = "Epoch", type_ = "integer", json_path = ".spec.epoch"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Percent", type_ = "string", json_path = ".status.step.percent"),
    printcolumn(name = "Held", type_ = "string", json_path = ".status.held.reason"),
    printcolumn(name = "Since", type_ = "date", json_path = ".status.since"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message", priority = 1)
)]
#[x_kube(validation = Rule::new("self == oldSelf").message("what a run is about cannot be changed"))]
#[serde(rename_all = "camelCase")]
pub struct MigrationRunSpec {
    /// The version of what is stored here and in stamps.
    #[schemars(range(min = 1, max = 1_000))]
    pub format_version: i32,
    /// The schedule that it serves.
    pub schedule: ScheduleRef,
    /// The phase's name.
    #[schemars(length(max = 63))]
    pub phase: String,
    /// The phase's number, as people say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub number: Option<String>,
    /// The Environment.
    pub environment: EnvironmentKey,
    /// Which attempt: 1 when the schedule was applied, one more for each `Retry`.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub epoch: i64,
    /// The `Retry` that opened this epoch; nothing for the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened_by: Option<OpenedBy>,
}

/// An Environment by namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentKey {
    /// Its namespace.
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// Its name.
    #[schemars(length(max = 63))]
    pub name: String,
}

impl std::fmt::Display for EnvironmentKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A `Retry` that opened an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpenedBy {
    /// The Intervention's name.
    #[schemars(length(max = 253))]
    pub intervention: String,
    /// When it was written. Closing stamps from before this no longer forbid a raise.
    pub at: Time,
}

/// Where a run stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct MigrationRunStatus {
    /// The state beneath every overlay.
    pub state: RunState,
    /// Since when.
    pub since: Time,
    /// What it waits for or has come to, in a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub message: String,
    /// Why it does not go on without a person, while the state beneath goes on being watched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
    /// What must still hold before the flip, or before the soak ends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub waits: Vec<Wait>,
    /// All that watching and rolling back need; written before the first flip, never changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub armed: Option<Armed>,
    /// The flip that is being sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Attempt>,
    /// How many of the soak's updates were told.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0, max = 10))]
    pub updates: i64,
    /// How often the flip was sent so far. Every attempt has its own number, also after one that was sealed.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub attempts: i64,
    /// The step that the flag is at, or is being raised to, where it goes in steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepStatus>,
    /// When the rollout of the raised value was complete; the soak counts from here. While the flag is raised to the next
    /// step, that of the step before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolled_out: Option<Time>,
    /// The rollback, once decided; while the flag is put back by plan, that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<RollbackRecord>,
    /// The rollback that is sent soon if nobody stops it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<PendingAction>,
    /// Since when nothing is rolled back by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_return: Option<Time>,
    /// The checks that do not pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub checks: Vec<CheckStatus>,
    /// What the checks that compare with the time before the flip will be able to tell; while gates are looked at, and as it
    /// was at the flip.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 24))]
    pub preflight: Vec<Preflight>,
    /// The last 20 transitions, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub transitions: Vec<Transition>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// The states of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RunState {
    /// Its turn has not come.
    #[default]
    Pending,
    /// Its turn has come; what must hold before the flip is watched.
    Gating,
    /// The flip is written down and being sent.
    Flipping,
    /// The flag is up; the rollout is not complete.
    Verifying,
    /// The rollout is complete; evidence is gathered.
    Soaking,
    /// The soak is over; the flag is watched until the schedule completes.
    Completed,
    /// The soak is over and the flag goes back, as planned; not yet proven.
    Lowering,
    /// The schedule is complete, or was deleted with the flag kept, or the flag is back as planned; nobody watches any
    /// more.
    Finished,
    /// The flag goes back; not yet proven.
    RollingBack,
    /// The flag is back, proven. This epoch is closed for ever.
    RolledBack,
    /// Left out by a person, or superseded by a `Retry`, before it raised anything.
    Skipped,
}

impl RunState {
    /// The state's name, as people read it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Gating => "Gating",
            Self::Flipping => "Flipping",
            Self::Verifying => "Verifying",
            Self::Soaking => "Soaking",
            Self::Completed => "Completed",
            Self::Lowering => "Lowering",
            Self::Finished => "Finished",
            Self::RollingBack => "RollingBack",
            Self::RolledBack => "RolledBack",
            Self::Skipped => "Skipped",
        }
    }

    /// Whether the flag may be up because of this run.
    pub const fn is_raised(self) -> bool {
        matches!(self, Self::Flipping | Self::Verifying | Self::Soaking | Self::Completed | Self::Lowering)
    }

    /// Whether a flip is in work: from the fence to the end of the soak, or until its way back is proven.
    pub const fn is_in_work(self) -> bool {
        matches!(self, Self::Flipping | Self::Verifying | Self::Soaking | Self::Lowering | Self::RollingBack)
    }

    /// Whether what comes after may begin: it is complete, or was left out.
    pub const fn is_done(self) -> bool {
        matches!(self, Self::Completed | Self::Finished | Self::Skipped)
    }

    /// Whether nothing more will come of this run.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Finished | Self::RolledBack | Self::Skipped)
    }
}

impl std::fmt::Display for RunState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// Why a run does not go on without a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// A stable word.
    pub reason: HeldReason,
    /// What was seen and what to do, in a sentence.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// Since when.
    pub since: Time,
}

/// The reasons for which a run is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HeldReason {
    /// A closing stamp is on the target: this flag was rolled back here before.
    PreviouslyRolledBack,
    /// The flag is up already, raised by another schedule or by hand.
    RaisedBefore,
    /// Somebody else set a value that is neither what Hoist wrote nor `disabled`.
    Drifted,
    /// The target is gone.
    TargetMissing,
    /// The target was deleted and made anew.
    TargetReplaced,
    /// In `Observe`: Hoist would roll back now.
    WouldRollBack,
    /// The rollback's deadline has passed without proof.
    RollbackUnproven,
    /// The phase's start was missed, and `calendar.late` is `Hold`.
    StartMissed,
    /// A check whose `onBreach` is `Hold` has breached.
    Breached,
    /// A breach past the point of no return.
    PointOfNoReturn,
}

/// Something that must still hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Wait {
    /// Which gate.
    pub gate: Gate,
    /// What is missing and what would help, in a sentence.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// Since when.
    pub since: Time,
    /// When it ends by itself, where a calendar says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
}

/// The gates before a flip and before the end of a soak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Gate {
    /// The schedule's spec is valid.
    Spec,
    /// Nobody paused it.
    Pause,
    /// The environments before this one are complete and undisturbed, and so are phases of other schedules.
    Predecessor,
    /// Neither the schedule nor the Environment is suspended.
    Suspend,
    /// Windows are open and nothing is frozen.
    Calendar,
    /// A person has let the phase pass its point of no return.
    Promotion,
    /// The mode is `Act`, or others set the value.
    Mode,
    /// The Environment exists, lists the flag and serves this schedule's namespace.
    Environment,
    /// No other schedule carries this flag here, and no other phase of this one.
    Claim,
    /// No other flip is in work in this environment.
    Turn,
    /// The target is there and reads as `disabled`.
    Target,
    /// The workloads that will see the flag are rolled out and healthy.
    Workload,
    /// The old path is quiet.
    Quiet,
    /// Every check passes.
    Evidence,
    /// The soak's time is over and covered.
    Soak,
}

/// A flip that is being sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// 1 for the first of this run.
    pub number: i64,
    /// The decision id that travels with the value.
    #[schemars(length(max = 64))]
    pub decision: String,
    /// Not sent after this.
    pub send_by: Time,
}

/// A rollback that was decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RollbackRecord {
    /// The decision id that travels with the value.
    #[schemars(length(max = 64))]
    pub decision: String,
    /// When it was decided.
    pub at: Time,
    /// Why, in a sentence.
    #[schemars(length(max = 1024))]
    pub reason: String,
    /// Who: `hoist`, an Intervention, or the field manager that lowered the flag.
    #[schemars(length(max = 253))]
    pub actor: String,
    /// How far it reaches: the others go back too, as their own runs.
    #[serde(default, skip_serializing_if = "RollbackScope::is_environment")]
    pub scope: RollbackScope,
}

/// A check that does not pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckStatus {
    /// The check's name.
    #[schemars(length(max = 63))]
    pub name: String,
    /// What it came to.
    pub outcome: CheckOutcome,
    /// Since when it has come to that.
    pub since: Time,
    /// What was seen when it did, in a sentence.
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// What a check came to, where it does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CheckOutcome {
    /// The bound is crossed.
    Breach,
    /// The answer allows no judgement.
    Inconclusive,
    /// There was no answer that could be used.
    Error,
}

/// A change of state, as people read it afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Transition {
    /// When.
    pub at: Time,
    /// From which state.
    pub from: RunState,
    /// To which.
    pub to: RunState,
    /// Why, in a sentence.
    #[schemars(length(max = 1024))]
    pub reason: String,
    /// Who caused it.
    #[schemars(length(max = 253))]
    pub actor: String,
}
