//! `Intervention`: a person's order, as an object of its own.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Time;

/// A person's order to a schedule. Immutable; applied once, with its outcome in its status.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "hoist.dev",
    version = "v1alpha1",
    kind = "Intervention",
    namespaced,
    status = "InterventionStatus",
    shortname = "iv",
    category = "hoist",
    derive = "PartialEq",
    doc = "A person's order to a schedule: Pause, Resume, Rollback, Retry, Promote, Skip or Override. Immutable; applied once.",
    printcolumn(name = "Action", type_ = "string", json_path = ".spec.action"),
    printcolumn(name = "Schedule", type_ = "string", json_path = ".spec.schedule.name"),
    printcolumn(name = "Outcome", type_ = "string", json_path = ".status.outcome"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(
    validation = Rule::new("self == oldSelf").message("an Intervention cannot be changed: write a new one"),
    validation = Rule::new("(self.action == 'Resume') == has(self.pauses)").message("Resume, and only Resume, names the pauses that it ends"),
    validation = Rule::new("(self.action == 'Retry') == has(self.run)").message("Retry, and only Retry, names the run whose epoch it follows"),
    validation = Rule::new("!(self.action in ['Resume', 'Retry']) || !(has(self.phase) || has(self.environment))").message("Resume and Retry name their objects; phase and environment go with the other actions"),
    validation = Rule::new("!(self.action in ['Promote', 'Skip']) || has(self.phase)").message("Promote and Skip name their phase"),
    validation = Rule::new("self.action != 'Promote' || !has(self.environment)").message("Promote is about a whole phase"),
    validation = Rule::new("(self.action == 'Override') == has(self.override)").message("Override, and only Override, says what it overrides")
)]
#[serde(rename_all = "camelCase")]
pub struct InterventionSpec {
    /// The schedule that is meant, in the Intervention's own namespace.
    pub schedule: ScheduleRef,
    /// What is ordered.
    pub action: Action,
    /// Why, in the person's words.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
    /// The phase that is meant; all where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub phase: Option<String>,
    /// The environment that is meant; all where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub environment: Option<String>,
    /// For `Resume`: the Pauses that it ends, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), inner(length(min = 1, max = 253)))]
    pub pauses: Option<Vec<String>>,
    /// For `Retry`: the MigrationRun whose epoch is over; the next epoch of the same environment is opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub run: Option<String>,
    /// For `Override`: what is overridden, and until when.
    #[serde(default, rename = "override", skip_serializing_if = "Option::is_none")]
    pub what: Option<Override>,
}

/// One wait or one check, and until when it is overridden.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("has(self.wait) != has(self.check)").message("exactly one of wait and check is overridden"))]
#[serde(rename_all = "camelCase")]
pub struct Override {
    /// The wait that is not waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<OverriddenWait>,
    /// The check that neither stops nor rolls back anything; its countdown ends, and what it found before `until` is forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub check: Option<String>,
    /// Until when.
    pub until: Time,
}

/// The waits that a person can override.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OverriddenWait {
    /// Windows, freezes and a missed start: the flag may be raised although they say otherwise.
    Calendar,
    /// The rest of a soak: it ends as soon as everything else allows it.
    Soak,
}

/// A schedule, by name and uid: an order to one that was deleted does not reach its successor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScheduleRef {
    /// The schedule's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its `metadata.uid`.
    #[schemars(length(min = 1, max = 64))]
    pub uid: String,
}

/// What a person can order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Action {
    /// Nothing advances. Watching and rollback go on.
    Pause,
    /// Ends the Pauses that it names.
    Resume,
    /// Puts back every raised flag that is meant, at once.
    Rollback,
    /// Opens the next epoch of an environment that was rolled back, is held before its flip, or was left out.
    Retry,
    /// Lets a phase pass its point of no return.
    Promote,
    /// Leaves out what was not raised yet: what comes after it goes on.
    Skip,
    /// Overrides one wait or one check until a moment.
    Override,
}

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InterventionStatus {
    /// Whether it was applied.
    pub outcome: OrderOutcome,
    /// What it did, or why it was refused, in a sentence.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// When.
    pub at: Time,
    /// Whether the API server vouched for the person who ordered. So far always `identity not verified`.
    #[schemars(length(max = 128))]
    pub identity: String,
}

/// Whether an order was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OrderOutcome {
    /// It was carried out.
    Applied,
    /// It matched nothing, or may not be carried out; the message says why.
    Refused,
}
