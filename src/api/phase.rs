//! Phases: what is flipped or worked on together, in which order, and when.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Check, Duration, Moment, PercentageStep, PhaseCalendar};

/// What `after` may name: a phase, a phase of another schedule, or one in another namespace.
pub const AFTER: &str = "^(([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/)?[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$";

/// An ordered part of a schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("self.kind == 'Work' || self.environments.size() > 0").message("a Flip phase names the environments that it flips"),
    validation = Rule::new("self.kind == 'Flip' || !has(self.soak)").message("a Work phase flips nothing, so it has no soak"),
    validation = Rule::new("self.kind == 'Flip' || !has(self.steps)").message("a Work phase flips nothing, so it has no steps"),
    validation = Rule::new("self.kind == 'Flip' || !has(self.lowerAfter)").message("a Work phase raises nothing, so it puts nothing back"),
    validation = Rule::new("!has(self.pointOfNoReturn) || !has(self.lowerAfter)").message("what goes back by plan has no point of no return"),
    validation = Rule::new("self.environments.size() > 0 || !has(self.checks)").message("checks are asked of environments, and this phase names none")
)]
#[serde(rename_all = "camelCase")]
pub struct Phase {
    /// The phase's name. Another name is another phase, at once: what was raised under the old one goes on being watched.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"))]
    pub name: String,
    /// How people number it: `1`, `2`, `3.1`. An edit takes effect for whatever was not begun yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    pub number: Option<String>,
    /// What it does. An edit takes effect for whatever was not begun yet.
    #[serde(default)]
    pub kind: PhaseKind,
    /// The phases that must be complete before it starts; the one before it in the list where not given, none where empty.
    /// `eu` is a phase of this schedule, `other/eu` one of schedule `other` in the same namespace, `team/other/eu` one in
    /// namespace `team`. Such a schedule may be applied later: until its phase is complete this one waits, and again
    /// should that be rolled back. An edit takes effect at once, for whatever was not raised yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 381), regex(pattern = AFTER)))]
    pub after: Option<Vec<String>>,
    /// When it may start at the earliest: a moment (RFC 3339), or a date in the schedule's zone, which means the first open
    /// moment of that day. None means as soon as the phases before it are complete; `calendar.late` says what a start
    /// that has passed means. An edit takes effect at once, for whatever was not raised yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Moment>,
    /// When it may start at the earliest, counted from another phase; the later where `start` is given too. An edit takes
    /// effect at once, for whatever was not raised yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_after: Option<StartAfter>,
    /// When it is meant to be complete: a moment (RFC 3339), or a date in the schedule's zone, that day included. Once
    /// that has passed the schedule says so; nothing else comes of it. Takes effect at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Moment>,
    /// Windows and freezes of this phase, which narrow the schedule's. An edit takes effect at once, for whatever was not
    /// sent yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calendar: Option<PhaseCalendar>,
    /// The environments, in their order. A Work phase may name those whose checks must pass, or none. An edit takes effect
    /// at once, for whatever was not raised yet; one that is raised and taken out goes on being watched.
    #[serde(default)]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into(), "namespace".into()]))]
    pub environments: Vec<EnvironmentRef>,
    /// How many of its environments may be on their way at the same time: begun, and not complete. The others follow in
    /// their order. An edit takes effect at once, for whatever was not raised yet.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 32))]
    pub max_parallel: i32,
    /// `true`: environments go in groups of `maxParallel`, and the next group starts when the whole of the one before is
    /// complete. Takes effect at once, for whatever was not raised yet.
    #[serde(default, skip_serializing_if = "is_false")]
    pub barrier: bool,
    /// What must be so before it begins, beside its checks. An edit takes effect at once, for whatever was not begun yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requires: Option<Requires>,
    /// From where on nothing is rolled back by itself: the phase begins only once a person has ordered a `Promote` of it. An
    /// edit takes effect at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point_of_no_return: Option<PointOfNoReturn>,
    /// Checks of this phase, and replacements of the schedule's by name. An environment that is already raised keeps what it
    /// was raised with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub checks: Vec<Check>,
    /// The soak of this phase, in place of the schedule's. An environment that is already raised keeps what it was raised
    /// with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soak: Option<Soak>,
    /// How the flag reaches its users, in parts that grow, each with a soak of its own; all of them at once where not given.
    /// Every target of the flags must take a percentage. An environment that is already raised keeps what it was raised
    /// with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub steps: Vec<PercentageStep>,
    /// How long after its rollout a flag is put back by plan, once its soak is over: a trial. It ends the run in good order
    /// and closes nothing: a later phase may raise the flag there again. An environment that is already raised keeps what
    /// it was raised with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lower_after: Option<Duration>,
}

/// What must be so before a phase begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Requires {
    /// An old path that nobody uses any more.
    pub quiet: Quiet,
}

/// A check that has passed without a break for a while, up to the moment at which the phase begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Quiet {
    /// The check, one of the phase or of the schedule: such as calls of the old path, with `max: "0"`. It is asked for this
    /// alone, not as one of the phase's checks. A hole of more than two intervals begins the time anew.
    #[schemars(length(min = 1, max = 63))]
    pub check: String,
    /// For how long. What Prometheus knows of the time before counts too.
    #[serde(rename = "for")]
    pub for_: Duration,
}

/// Where automatic rollback ends, for the phase and for all that it came after. A person's Rollback is never refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PointOfNoReturn {
    /// How long after the phase was begun; at once where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Duration>,
    /// What people can do from there on, such as an address; shown where something breaches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub runbook: Option<String>,
}

const fn one() -> i32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

/// What a phase does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PhaseKind {
    /// It raises the flags in its environments, one after the other.
    #[default]
    Flip,
    /// It raises nothing: backups, a validation on day 7, the removal of old code. It is complete once its gates are open.
    Work,
}

/// A start that is counted from another phase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StartAfter {
    /// The phase that it is counted from. It is not waited for beyond that; `after` says what must be complete.
    #[schemars(length(min = 1, max = 63))]
    pub phase: String,
    /// From when of that phase it is counted.
    #[serde(default)]
    pub of: PhaseMark,
    /// How long after that: `7d`.
    pub delay: Duration,
}

/// A moment of a phase from which another is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PhaseMark {
    /// When the first of its environments was flipped; for Work, when it was complete.
    Start,
    /// When the last of its environments was complete.
    #[default]
    Completion,
}

/// How long evidence is gathered after a flip.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Soak {
    /// The least time between the completed rollout and the next environment. Time without evidence extends it.
    pub duration: Duration,
    /// What it must have seen six hours of, in the Environment's zone where that has a calendar, else in the schedule's. It
    /// is extended until it has. An environment that is already raised keeps what it was raised with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub covers: Vec<Cover>,
    /// How long after the completed rollout people are told where the soak stands: `[1h, 4h, 24h]`, each longer than the
    /// one before. They are told by Events on the schedule, each once, and only while the soak lasts. An environment that is
    /// already raised keeps what it was raised with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub updates: Vec<Duration>,
}

/// A kind of time that a soak must have seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Cover {
    /// Monday to Friday.
    Weekday,
    /// Saturday and Sunday.
    Weekend,
    /// Monday to Friday, 09:00 to 17:00.
    BusinessHours,
    /// 22:00 to 06:00, every day.
    Night,
}

/// An Environment by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentRef {
    /// The Environment's name.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"))]
    pub name: String,
    /// Its namespace; empty means the schedule's own.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 63), regex(pattern = "^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)?$"))]
    pub namespace: String,
}
