//! Checks: what is asked of the metrics, and what an answer must be.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Baseline, BurnRate, Comparison, Decimal, Duration, Statistical};

/// A named question to Prometheus.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("[has(self.threshold), has(self.baseline), has(self.comparison), has(self.statistical), has(self.burnRate)].exists_one(kind, kind)").message("exactly one of threshold, baseline, comparison, statistical and burnRate is needed"),
    validation = Rule::new("!has(self.countdown) || self.onBreach == 'Rollback' && !self.dryRun").message("a countdown runs before a rollback, and this check leads to none")
)]
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
    /// A value, or a ratio of two, compared with fixed bounds. Says within minutes that something is broken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<Threshold>,
    /// A series compared with itself: before the flip, and at this time of other days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Baseline>,
    /// A series compared with another of the same time, such as that of the users whom the flag does not reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
    /// Counted events that must not come more often than before the flip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statistical: Option<Statistical>,
    /// An error budget that must not be used up too fast.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burn_rate: Option<BurnRate>,
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

/// What a check asks, and how it judges.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CheckKind<'a> {
    /// Fixed bounds.
    Threshold(&'a Threshold),
    /// Before and after.
    Baseline(&'a Baseline),
    /// Beside each other.
    Comparison(&'a Comparison),
    /// Events.
    Statistical(&'a Statistical),
    /// An error budget.
    BurnRate(&'a BurnRate),
}

impl Check {
    /// What it asks; nothing where it names no kind, or several, which is refused before it is asked.
    pub fn kind(&self) -> Option<CheckKind<'_>> {
        let kinds = [
            self.threshold.as_ref().map(CheckKind::Threshold),
            self.baseline.as_ref().map(CheckKind::Baseline),
            self.comparison.as_ref().map(CheckKind::Comparison),
            self.statistical.as_ref().map(CheckKind::Statistical),
            self.burn_rate.as_ref().map(CheckKind::BurnRate),
        ];
        let mut kinds = kinds.into_iter().flatten();
        kinds.next().filter(|_| kinds.next().is_none())
    }

    /// The query of the value, and that of what it is divided by or held against, where there is one; each with its field.
    pub fn queries(&self) -> Queries<'_> {
        let (kind, [value, beside]) = match self.kind() {
            Some(CheckKind::Threshold(t)) => match (&t.query, &t.ratio) {
                (Some(query), _) => ("threshold", [("query", query.as_str()), ("", "")]),
                (None, Some(r)) => ("threshold", r.queries()),
                (None, None) => ("threshold", [("", ""), ("", "")]),
            },
            Some(CheckKind::Baseline(b)) => ("baseline", [("query", b.query.as_str()), ("", "")]),
            Some(CheckKind::Comparison(c)) => {
                ("comparison", [("query", c.query.as_str()), ("reference.query", c.reference.query.as_str())])
            }
            Some(CheckKind::Statistical(s)) => ("statistical", s.ratio.queries()),
            Some(CheckKind::BurnRate(b)) => ("burnRate", b.ratio.queries()),
            None => return Queries::default(),
        };
        Queries { kind, value, beside: Some(beside).filter(|(field, _)| !field.is_empty()) }
    }

    /// All of its queries, to be rendered.
    pub fn queries_mut(&mut self) -> Vec<&mut String> {
        let mut all: Vec<&mut String> = Vec::new();
        if let Some(t) = &mut self.threshold {
            all.extend(t.query.iter_mut());
            all.extend(t.ratio.iter_mut().flat_map(Ratio::queries_mut));
        }
        all.extend(self.baseline.iter_mut().map(|b| &mut b.query));
        all.extend(self.comparison.iter_mut().flat_map(|c| [&mut c.query, &mut c.reference.query]));
        all.extend(self.statistical.iter_mut().flat_map(|s| s.ratio.queries_mut()));
        all.extend(self.burn_rate.iter_mut().flat_map(|b| b.ratio.queries_mut()));
        all
    }

    /// The length of its blocks, where it judges by blocks.
    pub fn block(&self) -> Option<Duration> {
        match self.kind()? {
            CheckKind::Threshold(_) => None,
            CheckKind::Baseline(b) => Some(b.block),
            CheckKind::Comparison(c) => Some(c.block),
            CheckKind::Statistical(s) => Some(s.block),
            CheckKind::BurnRate(b) => Some(b.block),
        }
    }

    /// How far apart its measurements are: its interval, or its blocks, which lie side by side.
    pub fn step(&self) -> Duration {
        self.block().unwrap_or(self.interval).max(Duration::seconds(1))
    }

    /// What `{{ window }}` becomes.
    pub fn window(&self) -> Option<Duration> {
        self.block().or_else(|| self.threshold.as_ref()?.window)
    }
}

/// The queries of a check, each with the field in which it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queries<'a> {
    /// The field of the check: `threshold`.
    pub kind: &'static str,
    /// The value's.
    pub value: (&'static str, &'a str),
    /// That of what it is divided by, or held against.
    pub beside: Option<(&'static str, &'a str)>,
}

impl<'a> Queries<'a> {
    /// Each with its field.
    pub fn all(self) -> impl Iterator<Item = (&'static str, &'a str)> {
        [Some(self.value), self.beside].into_iter().flatten().filter(|(field, _)| !field.is_empty())
    }
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

impl Ratio {
    fn queries(&self) -> [(&'static str, &str); 2] {
        [("ratio.bad", &self.bad), ("ratio.total", &self.total)]
    }

    fn queries_mut(&mut self) -> [&mut String; 2] {
        [&mut self.bad, &mut self.total]
    }
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
