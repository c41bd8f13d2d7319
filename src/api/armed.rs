//! What a run knew when it was armed: all that a rollback needs, and all that evidence is held against.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Check, Duration, FlagValues, Mode, Percent, PrometheusSource, RollbackScope, Share, Soak, TargetPlace, Time,
    WorkloadRef,
};

/// All that watching and rolling back need, written before the first flip and never changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Armed {
    /// When it was armed.
    pub at: Time,
    /// The mode at that moment. In `Observe` nothing was or will be written for this run.
    pub mode: Mode,
    /// The places that are written.
    #[schemars(length(max = 64))]
    pub targets: Vec<ArmedTarget>,
    /// The checks, with every template but the window rendered.
    #[schemars(length(max = 64))]
    pub checks: Vec<Check>,
    /// Where they are asked.
    pub prometheus: PrometheusSource,
    /// The soak, where all users are reached at once; each step has its own.
    pub soak: Soak,
    /// The zone in which what a soak must have seen is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub time_zone: Option<String>,
    /// How likely all checks together may roll a harmless flip back; 5 % where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub false_rollback_budget: Option<Share>,
    /// What was seen before the flip, where checks compare with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Kept>,
    /// The steps; none where all users are reached at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub steps: Vec<ArmedStep>,
    /// How long after its rollout the flag goes back by plan; nothing where it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lower_after: Option<Duration>,
    /// The rollback's deadline.
    pub deadline: Duration,
    /// How far a breach reaches.
    #[serde(default, skip_serializing_if = "RollbackScope::is_environment")]
    pub scope: RollbackScope,
}

/// A ConfigMap beside the run that is never changed, with what the run stands on in its key `data.json.gz`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Kept {
    /// Its name.
    #[schemars(length(max = 253))]
    pub name: String,
    /// The SHA-256 of its text, in hexadecimal digits.
    #[schemars(length(max = 64))]
    pub sha256: String,
}

/// What a check will be able to tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Preflight {
    /// The check's name.
    #[schemars(length(max = 63))]
    pub check: String,
    /// What it tells from none after the soak, as the time before the flip shows.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// Whether its limit is narrower than that: a change of that size may never be found, nor shown not to be there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub blind: bool,
}

/// A step as it was armed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ArmedStep {
    /// How many of the users.
    pub percent: Percent,
    /// Its soak.
    pub soak: Soak,
}

/// Where a flag that goes in steps has come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepStatus {
    /// 1 for the first.
    #[schemars(range(min = 1, max = 10))]
    pub number: i32,
    /// How many there are.
    #[schemars(range(min = 1, max = 10))]
    pub of: i32,
    /// How many of the users it reaches.
    pub percent: Percent,
}

/// One armed place: a flag, its values, and where it is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ArmedTarget {
    /// The flag.
    #[schemars(length(max = 63))]
    pub flag: String,
    /// The flags that it needs: raised before it, and put back after it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 7), inner(length(max = 63)))]
    pub requires: Vec<String>,
    /// Its values.
    pub values: FlagValues,
    /// Where it is written.
    pub place: TargetPlace,
    /// The key or variable of the percentage, beside the value, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub percent_key: Option<String>,
    /// The object's `metadata.uid`.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// The workloads that must see it: restarted, or rolled out by the write itself.
    #[schemars(length(max = 16))]
    pub workloads: Vec<WorkloadRef>,
    /// The field manager that the value was taken from, where there was another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub taken_from: Option<String>,
}

impl ArmedTarget {
    /// Whether its flag must not be up without that of another.
    pub fn needs(&self, other: &Self) -> bool {
        self.requires.contains(&other.flag)
    }
}
