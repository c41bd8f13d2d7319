//! `MigrationSchedule`: which flag goes where, in which order, on which evidence.

use kube::CustomResource;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Action, Condition, Decimal, Duration, FlagValue, Override, Percent, Phase, RunState, ScheduleCalendar, Soak, Time,
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

/// A named question to Prometheus.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("!has(self.countdown) || self.onBreach == 'Rollback' && !self.dryRun").message("a countdown runs before a rollback, and this check leads to none"))]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// The name that people read in every verdict.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"))]
    pub name: String,
    /// How often it is asked while a flag is raised: `1s` to `60s` or `1m`.
    #[serde(default = "default_interval")]
    #[schemars(regex(pattern = "^([1-9]|[1-5][0-9]|60)s$|^1m$"))]
    pub interval: Duration,
    /// How long after a completed rollout caches and first scrapes are left alone. No measurement reaches back
    /// before the rollout's end plus this.
    #[serde(default = "default_settle")]
    pub settle: Duration,
    /// A value, or a ratio of two, compared with fixed bounds.
    pub threshold: Threshold,
    /// What a breach that counts leads to.
    #[serde(default, skip_serializing_if = "OnBreach::is_rollback")]
    pub on_breach: OnBreach,
    /// How long people have to stop a rollback of this check with an `Override` before it is sent; none where not given. It
    /// runs on through restarts, also where the value recovers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub countdown: Option<Duration>,
    /// `true`: it is asked and judged, and says what it would have done; it neither stops nor rolls back anything.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

/// What a breach leads to, once it counts. Before the flip every check must pass, whatever this says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnBreach {
    /// The flag goes back.
    #[default]
    Rollback,
    /// Nothing advances until a person orders a `Rollback`, or an `Override` of the check.
    Hold,
    /// It is said, and nothing else comes of it.
    Notify,
}

impl OnBreach {
    /// Whether it is what a check does where nothing else is said.
    pub fn is_rollback(&self) -> bool {
        *self == Self::Rollback
    }
}

fn default_interval() -> Duration {
    Duration::seconds(30)
}

fn default_settle() -> Duration {
    Duration::seconds(300)
}

/// A value compared with fixed bounds.
///
/// Queries are PromQL. They may use `{{ window }}`, `{{ environment.name }}`, `{{ environment.namespace }}`,
/// `{{ environment.labels.NAME }}` and `{{ flag }}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("has(self.query) != has(self.ratio)").message("exactly one of query and ratio is needed"),
    validation = Rule::new("has(self.min) || has(self.max)").message("at least one of min and max is needed"),
    validation = Rule::new("!has(self.target) || has(self.min) != has(self.max)").message("target goes with exactly one of min and max"),
    validation = Rule::new("!has(self.minSamples) || has(self.ratio)").message("minSamples counts the total of a ratio, so it needs ratio"),
    validation = Rule::new("!has(self.confidence) || has(self.ratio)").message("confidence weighs the counts of a ratio, so it needs ratio"),
    validation = Rule::new("!has(self.confidence) || (double(self.confidence) >= 0.5 && double(self.confidence) < 1.0)").message("confidence is at least 0.5 and less than 1, such as \"0.99\""),
    validation = Rule::new("!(has(self.__for__) && has(self.datapoints))").message("at most one of for and datapoints can be given")
)]
#[serde(rename_all = "camelCase")]
pub struct Threshold {
    /// A query that answers with one number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub query: Option<String>,
    /// Two counts whose quotient is the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio: Option<Ratio>,
    /// Below this is a breach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Decimal>,
    /// Above this is a breach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Decimal>,
    /// What is good enough to go on. Between this and the bound nothing advances and nothing rolls back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Decimal>,
    /// What `{{ window }}` becomes. It grows up to this after a flip, so that nothing from before the flip is seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Duration>,
    /// How long a breach must last before it counts. `2m` where neither this nor `datapoints` is given.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub for_: Option<Duration>,
    /// How many of the last measurements must breach before it counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datapoints: Option<Datapoints>,
    /// Fewer than this many in the ratio's total says nothing: neither a pass nor a breach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub min_samples: Option<i64>,
    /// How sure a breach must be, such as `"0.99"`: the ratio is beyond the bound only once a share of the same size would
    /// hardly ever look so bad by chance. Until then it says nothing, so that one error in fifteen requests rolls nothing
    /// back. The ratio must be made of counts: `increase`, not `rate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<Decimal>,
}

/// Two counts over the same window. `bad` that is missing while `total` is there counts as zero.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ratio {
    /// How many went wrong.
    #[schemars(length(min = 1, max = 4096))]
    pub bad: String,
    /// How many there were.
    #[schemars(length(min = 1, max = 4096))]
    pub total: String,
}

/// A breach counts once `breaching` of the last `of` measurements breach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("self.breaching <= self.of").message("breaching cannot be more than of"))]
#[serde(rename_all = "camelCase")]
pub struct Datapoints {
    /// How many must breach.
    #[schemars(range(min = 1, max = 60))]
    pub breaching: i32,
    /// Of how many.
    #[schemars(range(min = 1, max = 60))]
    pub of: i32,
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
