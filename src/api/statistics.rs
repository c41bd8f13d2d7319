//! The statistical kinds of checks. docs/evidence.md says how each decides, and what was measured of it.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Decimal, Duration, Ratio, Share};

/// Compares a series with itself: before the flip, and at the same time of earlier days.
///
/// The query is asked once for each block, with `{{ window }}` as long as a block, so that blocks lie side by side and none
/// reaches back before the flip. What it answered before the flip is kept beside the run, and frozen when the flag is raised.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Baseline {
    /// A query that answers with one number. It uses `[{{ window }}]`.
    #[schemars(length(min = 1, max = 4096))]
    pub query: String,
    /// What its numbers are.
    #[serde(default, skip_serializing_if = "Values::is_level")]
    pub values: Values,
    /// Which change is a change for the worse.
    pub direction: Direction,
    /// How much of it is allowed.
    pub limit: Limit,
    /// How long a block is: `1m` to `1h`, so that an hour is made of whole blocks. `15m` suits counts.
    #[serde(default = "default_block")]
    pub block: Duration,
    /// How long before the flip the level is taken from.
    #[serde(default = "default_window")]
    pub window: Duration,
    /// How many earlier days it is compared with: whole days, `7d` at most. With `0s` there is no season, and `drift` must
    /// say how far the level wanders, or a limit under 25 % is never judged.
    #[serde(default = "default_history")]
    pub history: Duration,
    /// How far the level drifts within a day by itself, as a standard deviation, where more is known than the days before
    /// show; they can only raise it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Share>,
    /// When a change leads to a breach.
    #[serde(default)]
    pub rollback_when: RollbackWhen,
    /// When the flag may go on.
    #[serde(default)]
    pub promote_when: PromoteWhen,
}

/// Compares a series with another of the same time, which the flag does not reach: whatever happens to both cancels out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    /// A query for what the flag reaches. It answers with one number and uses `[{{ window }}]`.
    #[schemars(length(min = 1, max = 4096))]
    pub query: String,
    /// What it is held against.
    pub reference: ComparisonReference,
    /// What the numbers are.
    #[serde(default, skip_serializing_if = "Values::is_level")]
    pub values: Values,
    /// Which change is a change for the worse.
    pub direction: Direction,
    /// How much of it is allowed. Where the reference itself moves by more, either way, nothing is concluded.
    pub limit: Limit,
    /// How long a block is: `1m` to `1h`, so that an hour is made of whole blocks.
    #[serde(default = "default_block")]
    pub block: Duration,
    /// How long before the flip the difference of the two is taken from.
    #[serde(default = "default_day")]
    pub window: Duration,
    /// When a change leads to a breach.
    #[serde(default)]
    pub rollback_when: RollbackWhen,
    /// When the flag may go on.
    #[serde(default)]
    pub promote_when: PromoteWhen,
}

/// What a series is held against.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ComparisonReference {
    /// The same query for those whom the flag does not reach.
    #[schemars(length(min = 1, max = 4096))]
    pub query: String,
}

/// Counts events: errors, slow requests, crashes, things created.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Statistical {
    /// How it decides.
    #[serde(default)]
    pub method: Method,
    /// The events, and all that could have been events. Both are counts: `increase` over `[{{ window }}]`.
    pub ratio: Ratio,
    /// Which change is a change for the worse.
    pub direction: Direction,
    /// How much the rate may change, beyond what the time before the flip leaves open: the larger of the two where both are
    /// given. `absolute: "0.001"` is a tenth of a percent of all.
    pub limit: Limit,
    /// How long a block is: `1m` to `1h`, so that an hour is made of whole blocks.
    #[serde(default = "default_block")]
    pub block: Duration,
    /// How long before the flip the rate is taken from.
    #[serde(default = "default_day")]
    pub window: Duration,
    /// When the flag may go on.
    #[serde(default)]
    pub promote_when: PromoteWhen,
}

/// Holds errors against an objective: a breach is a long and a short window that both use the error budget up faster than
/// their factor. Windows are cut at the flip, since earlier errors are not the flag's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("double(self.objective) >= 0.5 && double(self.objective) < 1.0").message("objective is the part that must be good, at least 0.5 and less than 1, such as \"0.999\""))]
#[serde(rename_all = "camelCase")]
pub struct BurnRate {
    /// The errors, and all requests. Both are counts: `increase` over `[{{ window }}]`.
    pub ratio: Ratio,
    /// The part of requests that must be good: `"0.999"`.
    pub objective: Decimal,
    /// Any of them is enough. 1h and 5m at 14.4, 6h and 30m at 6 where none is given.
    #[serde(default = "default_burn_windows")]
    #[schemars(length(min = 1, max = 4))]
    pub windows: Vec<BurnWindow>,
    /// So many requests make up for a window of which not yet a quarter has passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub min_samples: Option<i64>,
    /// How sure a breach must be, such as `"0.99"`; for low traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<Decimal>,
    /// How much of the error budget the flag may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<ErrorBudget>,
    /// How long a block is: `1m` to `1h`, so that an hour is made of whole blocks.
    #[serde(default = "default_block")]
    pub block: Duration,
}

/// Two windows that must both burn too fast.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BurnWindow {
    /// Long enough to matter.
    pub long: Duration,
    /// Short enough to end soon after the errors did.
    pub short: Duration,
    /// How many times faster than the budget allows.
    pub factor: Decimal,
}

/// How much of an error budget the flag may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorBudget {
    /// The period of the objective.
    #[serde(default = "default_period")]
    pub period: Duration,
    /// How much of the period's budget may be used since the flip, or since its latest step.
    pub max_consumed: Share,
}

/// How much change is allowed. A series must exceed both where both are given: a relative limit alone makes much of tiny
/// levels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("has(self.relative) || has(self.absolute)").message("at least one of relative and absolute is needed"))]
#[serde(rename_all = "camelCase")]
pub struct Limit {
    /// As a part of the level: `10%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relative: Option<Share>,
    /// In the unit of the values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absolute: Option<Decimal>,
}

/// What the numbers of a series are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Values {
    /// A level, such as a latency or the length of a queue. A relative limit compares its logarithms; without one it is
    /// compared as it is.
    #[default]
    Level,
    /// A count of events in each block, which may be zero.
    Count,
}

impl Values {
    /// Whether it is what is meant where nothing is said.
    pub fn is_level(&self) -> bool {
        *self == Self::Level
    }
}

/// Which change is a change for the worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Direction {
    /// More is worse.
    Increase,
    /// Less is worse.
    Decrease,
    /// Both are; each gets half of the probability of a false rollback.
    Either,
}

/// How events are judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Method {
    /// A bet against "no more often than allowed", which wins more than a hundredfold in one of a hundred harmless flips at
    /// most, however often one looks. The largest bursts are left out.
    #[default]
    EProcess,
}

/// When a change leads to a breach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RollbackWhen {
    /// The estimate is beyond the limit, and there certainly is a change.
    #[default]
    EstimateExceedsLimit,
    /// The change is certainly beyond the limit. Finds less, and hardly ever anything harmless.
    BoundExceedsLimit,
}

/// When the flag may go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PromoteWhen {
    /// The soak is over, and nothing was found.
    #[default]
    NotBreached,
    /// The change is shown to be within the limit. Small limits may never be; the run says beforehand what can be told.
    BoundWithinLimit,
}

fn default_block() -> Duration {
    Duration::seconds(300)
}

fn default_window() -> Duration {
    Duration::seconds(2 * 3_600)
}

fn default_day() -> Duration {
    Duration::seconds(86_400)
}

fn default_history() -> Duration {
    Duration::seconds(7 * 86_400)
}

fn default_period() -> Duration {
    Duration::seconds(30 * 86_400)
}

fn default_burn_windows() -> Vec<BurnWindow> {
    let window = |long, short, factor: &str| {
        let factor = Decimal::parse(factor).ok()?;
        Some(BurnWindow { long: Duration::seconds(long), short: Duration::seconds(short), factor })
    };
    [window(3_600, 300, "14.4"), window(21_600, 1_800, "6")].into_iter().flatten().collect()
}
