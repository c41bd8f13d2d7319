//! `Freeze`: a time when nothing advances, for many schedules at once.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FrozenTime, LabelSelector, Moment, Yearly};

/// A time when nothing advances, for every schedule that it selects. It never keeps a flag from going back. An edit takes
/// effect at once, for whatever was not sent yet.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "hoist.dev",
    version = "v1alpha1",
    kind = "Freeze",
    shortname = "fz",
    category = "hoist",
    derive = "PartialEq",
    doc = "A time when nothing advances, for every schedule that it selects. It never keeps a flag from going back.",
    printcolumn(name = "Strength", type_ = "string", json_path = ".spec.strength"),
    printcolumn(name = "From", type_ = "string", json_path = ".spec.from"),
    printcolumn(name = "To", type_ = "string", json_path = ".spec.to"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".spec.reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(
    validation = Rule::new("has(self.from) == has(self.to)").message("from and to go together"),
    validation = Rule::new("has(self.yearly) != has(self.from)").message("exactly one of yearly, and from with to, is needed"),
    validation = Rule::new("!has(self.from) || !has(self.to) || self.from.size() > 10 || self.to.size() > 10 || self.from <= self.to").message("to must not be before from")
)]
#[serde(rename_all = "camelCase")]
pub struct FreezeSpec {
    /// The zone of the IANA database in which dates are read.
    #[serde(default = "super::calendar::utc")]
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,2}$"))]
    pub time_zone: String,
    /// When it begins: a moment (RFC 3339), or a date, which means the beginning of that day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Moment>,
    /// When it ends: a moment (RFC 3339), or a date, which means the end of that day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Moment>,
    /// The days of every year on which it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yearly: Option<Yearly>,
    /// What it stops.
    #[serde(default)]
    pub strength: Strength,
    /// The schedules that it concerns, by their labels; all where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule_selector: Option<LabelSelector>,
    /// The namespaces of the schedules that it concerns, by their labels; all where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// Why, in a few words; everybody whose flip waits for its end reads it.
    #[schemars(length(min = 1, max = 256))]
    pub reason: String,
}

/// What a freeze stops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Strength {
    /// No phase is begun; one that is under way goes on.
    Start,
    /// Nothing is raised.
    #[default]
    Advance,
}

impl FreezeSpec {
    /// Its time, as an entry of a calendar has it.
    pub fn time(&self, name: &str) -> FrozenTime {
        let Self { from, to, yearly, .. } = *self;
        FrozenTime { name: name.to_owned(), from, to, yearly, reason: self.reason.clone() }
    }

    /// Whether a schedule with these labels, in a namespace with those, is concerned.
    pub fn concerns(&self, schedule: &BTreeMap<String, String>, namespace: &BTreeMap<String, String>) -> bool {
        self.schedule_selector.as_ref().is_none_or(|s| s.matches(schedule))
            && self.namespace_selector.as_ref().is_none_or(|s| s.matches(namespace))
    }
}
