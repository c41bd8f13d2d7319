//! `MigrationSchedule`: which flag goes where, in which order, on which evidence.

use kube::CustomResource;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Action, Check, Condition, Duration, FlagValue, Override, Percent, Phase, RunState, ScheduleCalendar, Share, Soak,
    Time,
};

/// A plan that carries feature flags through environments, one after the other, on evidence from Prometheus.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "hoist.dev",
    version = "v1alpha1",
    kind = "MigrationSchedule",
    namespaced,
    status = "MigrationScheduleStatus",
    shortname = "ms",
    category = "hoist",
    derive = "PartialEq",
    doc = "A plan that carries feature flags through environments, one after the other, on evidence from Prometheus.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(
        name = "Completed",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Completed\")].status"
    ),
    printcolumn(name = "Progress", type_ = "string", json_path = ".status.progress"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct MigrationScheduleSpec {
    /// The flags that are carried, together. An environment that is already raised keeps those it was raised with.
    #[schemars(length(min = 1, max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub flags: Vec<Flag>,

    /// Whether Hoist writes. `Observe` never writes a target: it watches values that others set and says what it
    /// would do. Takes effect at once.
    #[serde(default)]
    pub mode: Mode,

    /// `true`: nothing advances. Watching and rollback go on. Takes effect at once.
    #[serde(default)]
    pub suspend: bool,

    /// When flags may be raised. Windows and freezes of the schedule, of the phase and of the Environment must all agree.
    /// An edit takes effect at once, for whatever was not sent yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calendar: Option<ScheduleCalendar>,

    /// The questions that every phase asks of its environments' Prometheus. A phase adds to them, or replaces one
    /// whole by naming it again. An environment that is already raised keeps those it was raised with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub checks: Vec<Check>,

    /// How likely it may be that the statistical checks, all of them together, roll a harmless flip back: `5%` where nothing
    /// is said. It is divided among those of an environment that can roll back. An environment that is already raised keeps
    /// what it was raised with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub false_rollback_budget: Option<Share>,

    /// How long evidence is gathered after a flip before the next environment is touched. An environment that is already
    /// raised keeps what it was raised with.
    pub soak: Soak,

    /// How long every flag is watched, and rolled back if need be, after the last environment was complete. Takes effect at
    /// once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch: Option<Duration>,

    /// How a flag goes back. An environment that is already raised keeps what it was raised with.
    #[serde(default)]
    pub rollback: RollbackPolicy,

    /// What becomes of raised flags when the schedule is deleted before it is complete. Takes effect at once.
    #[serde(default)]
    pub on_delete: OnDelete,

    /// The phases, in order. A phase starts after the one before it is complete, unless its `after` says otherwise. An
    /// edit of their order takes effect at once, for whatever was not raised yet.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub phases: Vec<Phase>,
}

/// A flag and its two named values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Flag {
    /// The flag's name, as the Environments list it.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"))]
    pub name: String,
    /// What `enabled` and `disabled` are called where the flag lives.
    pub values: FlagValues,
    /// The other flags of this schedule without which this one must not be up. In each environment it is raised after
    /// them, and not at all where one of them could not be; they go back after it, which they wait for 5 s at most. An
    /// environment that is already raised keeps what it was raised with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 7), inner(length(min = 1, max = 63)))]
    pub requires: Vec<String>,
}

/// The named values of a flag. Any strings; the word `absent` means that the key is not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("self.enabled != self.disabled").message("enabled and disabled must differ"))]
#[serde(rename_all = "camelCase")]
pub struct FlagValues {
    /// The value that raises the flag.
    pub enabled: FlagValue,
    /// The value that puts it back.
    pub disabled: FlagValue,
}

/// Whether Hoist writes to targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    /// Watch, judge and say; never write a target.
    Observe,
    /// Raise and roll back.
    #[default]
    Act,
}

/// How a flag goes back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RollbackPolicy {
    /// How far a breach reaches. An environment that is already raised keeps the scope it was raised with.
    #[serde(default)]
    pub scope: RollbackScope,
    /// How long running pods may take to be back on the old value before a person is called.
    #[serde(default = "default_deadline")]
    pub deadline: Duration,
}

impl Default for RollbackPolicy {
    fn default() -> Self {
        Self { scope: RollbackScope::default(), deadline: default_deadline() }
    }
}

fn default_deadline() -> Duration {
    Duration::seconds(600)
}

/// How far a breach reaches. What a person orders or lowers by hand reaches as far as the person said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum RollbackScope {
    /// The environment that breached.
    #[default]
    Environment,
    /// Every raised environment of its phase, the last raised first.
    Phase,
    /// Every raised environment of the schedule, the last raised first.
    All,
}

impl RollbackScope {
    /// Whether it is the environment alone, which need not be written down.
    pub fn is_environment(&self) -> bool {
        *self == Self::Environment
    }
}

/// What becomes of raised flags when the schedule is deleted before it is complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnDelete {
    /// They stay as they are; nobody watches them any more.
    #[default]
    Keep,
    /// They are put back first.
    Rollback,
}

/// What Hoist says of a schedule: a summary, written only when something changes that a person or a restart needs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct MigrationScheduleStatus {
    /// The generation of the spec that this speaks of.
    #[serde(default)]
    pub observed_generation: i64,
    /// `Stalled`, `Reconciling`, `Ready`, `Completed`, in this order because kstatus takes the first that speaks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// How many environments are complete, of how many: `2/6`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 32))]
    pub progress: String,
    /// The pauses that are in force.
    #[serde(default)]
    #[schemars(length(max = 32))]
    pub pauses: Vec<PauseStatus>,
    /// The points of no return that people have let a phase pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["phase".into()]))]
    pub promotions: Vec<PromotionStatus>,
    /// The waits and findings that people have overridden; also after they expired, until their place is needed: what they
    /// forgave stays forgiven.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["intervention".into()]))]
    pub overrides: Vec<OverrideStatus>,
    /// What Hoist will do soon if nobody stops it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub pending_actions: Vec<PendingAction>,
    /// Every environment of every phase.
    #[serde(default)]
    #[schemars(length(max = 2048))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["phase".into(), "namespace".into(), "environment".into()]))]
    pub environments: Vec<EnvironmentProgress>,
}

/// A pause that is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PauseStatus {
    /// The Intervention that asked for it; a `Resume` names it.
    #[schemars(length(max = 253))]
    pub intervention: String,
    /// Since when.
    pub since: Time,
    /// Why, in the person's words.
    #[schemars(length(max = 1024))]
    pub reason: String,
    /// The phase it is limited to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub phase: Option<String>,
    /// The environment it is limited to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub environment: Option<String>,
}

/// A phase that a person let pass its point of no return.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PromotionStatus {
    /// The phase.
    #[schemars(length(max = 63))]
    pub phase: String,
    /// The Intervention that ordered it.
    #[schemars(length(max = 253))]
    pub intervention: String,
    /// When it was ordered. An epoch that a `Retry` opened after that needs another.
    pub at: Time,
}

/// A wait or a finding that a person overrode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OverrideStatus {
    /// The Intervention that ordered it.
    #[schemars(length(max = 253))]
    pub intervention: String,
    /// Why, in the person's words.
    #[schemars(length(max = 1024))]
    pub reason: String,
    /// The phase it is limited to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub phase: Option<String>,
    /// The environment it is limited to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub environment: Option<String>,
    /// When it was ordered.
    pub at: Time,
    /// What is overridden, and until when.
    #[serde(rename = "override")]
    pub what: Override,
}

/// Something that happens soon if nobody stops it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PendingAction {
    /// The run.
    #[schemars(length(max = 253))]
    pub run: String,
    /// What will be done.
    pub action: Action,
    /// The check that asks for it; an `Override` of it stops the countdown.
    #[schemars(length(max = 63))]
    pub check: String,
    /// When.
    pub at: Time,
    /// Why, in a sentence.
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// Where one environment of one phase stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentProgress {
    /// The phase's name.
    #[schemars(length(max = 63))]
    pub phase: String,
    /// The Environment's namespace.
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// The Environment's name.
    #[schemars(length(max = 63))]
    pub environment: String,
    /// The state of its run; `Pending` before there is one.
    pub state: RunState,
    /// Which attempt this is; 0 before there is one.
    pub epoch: i64,
    /// How many of the users the flag reaches there, where it goes in steps and is raised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<Percent>,
    /// Since when it is in that state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// What it waits for or has come to, in a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub message: String,
}
