//! A world as people declare it: what happens around a migration, in words that hold for any schedule.

use serde::Deserialize;

use crate::api::{Duration, EnvironmentKey, Moment};

use super::metric::Sample;
use super::person::Hand;

/// A declared world. Where nothing is said all is well: every check passes, Prometheus answers, rollouts take 20
/// seconds, nobody touches a flag, and the daemon lives.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Declared {
    /// When checks answer otherwise; the last that covers a moment wins.
    pub curves: Vec<DeclaredCurve>,
    /// When Prometheus does not answer.
    pub outages: Vec<DeclaredOutage>,
    /// How people react; the first that fits.
    pub people: Vec<Reaction>,
    /// What somebody does to a flag by hand.
    pub drift: Vec<Drift>,
    /// How often the daemon dies.
    pub crashes: Option<Crashes>,
    /// How long rollouts take; the last that fits.
    pub rollouts: Vec<Rollout>,
}

/// Which environment is meant: a name, or `NAMESPACE/NAME` where two have the same name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Place(pub String);

impl Place {
    /// Whether it means this one.
    pub fn means(&self, key: &EnvironmentKey) -> bool {
        self.0 == key.name || self.0 == key.to_string()
    }
}

/// What checks answer, where they do not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Quality {
    /// A value that passes.
    Good,
    /// A value that breaches.
    Bad,
    /// No series.
    NoData,
    /// A value behind which the newest sample is an hour old.
    Late,
}

impl Quality {
    pub(super) const fn sample(self) -> Sample {
        match self {
            Self::Good => Sample::Good,
            Self::Bad => Sample::Bad,
            Self::NoData => Sample::Empty,
            Self::Late => Sample::Stale,
        }
    }
}

/// A stretch in which checks of an environment answer otherwise.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeclaredCurve {
    /// Where.
    pub environment: Place,
    /// Which check; every one where none is named.
    pub check: Option<String>,
    /// What it answers.
    pub is: Quality,
    /// When, by the calendar.
    pub between: Option<Between>,
    /// When, counted from the moment at which all pods run on the new value, and as long as they do.
    pub since_flip: Option<SinceFlip>,
}

/// A stretch of time. Open where an end is not given; a date as `to` includes its day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Between {
    /// From then on.
    pub from: Option<Moment>,
    /// Until then.
    pub to: Option<Moment>,
}

/// A stretch of the time that a flag has been up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct SinceFlip {
    /// From so long on; at once where nothing is said.
    #[serde(default)]
    pub from: Duration,
    /// Until before so long.
    pub to: Option<Duration>,
    /// Only the first time that the flag is up, the second, and so on.
    pub epoch: Option<i64>,
}

/// Prometheus does not answer: in a certain stretch, or now and then.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeclaredOutage {
    /// A certain stretch.
    pub between: Option<Between>,
    /// Once in so long on average, at a time that chance chooses.
    pub every: Option<Duration>,
    /// For so long.
    pub lasts: Option<Duration>,
    /// At most for so long, with every length between equally likely.
    pub up_to: Option<Duration>,
}

/// How somebody reacts to a run that does not go on.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reaction {
    /// To what.
    pub when: Occasion,
    /// Where; everywhere where nothing is said.
    pub environment: Option<Place>,
    /// After so long.
    pub after: Duration,
    /// At the latest after so long, with every delay between equally likely.
    pub up_to: Option<Duration>,
    /// What is ordered.
    #[serde(rename = "do")]
    pub order: Ordered,
    /// How often at most, in each environment.
    #[serde(default = "once")]
    pub times: i64,
}

const fn once() -> i64 {
    1
}

/// What people react to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Occasion {
    /// A run that was rolled back.
    Rollback,
    /// A run that is held.
    Hold,
    /// A phase that waits for a person at its point of no return. Somebody promotes it at once where nobody is said to react.
    Promotion,
}

/// What people order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Ordered {
    /// Nothing, whatever is said of the same further down.
    Nothing,
    /// A Retry.
    Retry,
    /// A Rollback of the environment.
    Rollback,
    /// A Promote of the phase.
    Promote,
}

/// Somebody sets a flag by hand, on every target of an environment.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Drift {
    /// Where.
    pub environment: Place,
    /// To what.
    pub set: HandSet,
    /// When, by the calendar.
    pub at: Option<Moment>,
    /// So long after all pods run on the new value for the first time.
    pub after_flip: Option<Duration>,
}

/// What a hand sets a flag to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum HandSet {
    /// Its enabled value.
    Enabled,
    /// Its disabled value.
    Disabled,
    /// Something that is neither.
    Other,
    /// Another percentage beside it.
    Percentage,
}

impl HandSet {
    pub(super) const fn hand(self) -> Hand {
        match self {
            Self::Enabled => Hand::Enabled,
            Self::Disabled => Hand::Disabled,
            Self::Other => Hand::Third,
            Self::Percentage => Hand::Share,
        }
    }
}

/// How often the daemon dies. It is back within 20 seconds, with nothing but what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Crashes {
    /// Once in so long on average, at a time that chance chooses.
    pub every: Option<Duration>,
    /// Before or after every n-th write on average, chosen by chance.
    pub one_write_in: Option<i64>,
}

/// How long the pods of an environment take to run on another value.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// Where; everywhere where nothing is said.
    pub environment: Option<Place>,
    /// So long.
    pub takes: Duration,
    /// At most so long, with every time between equally likely for each workload.
    pub up_to: Option<Duration>,
}

impl Declared {
    /// Whether chance decides anything in it that moves a date. A daemon that dies is back within seconds.
    pub fn has_chance(&self) -> bool {
        self.outages.iter().any(|o| o.every.is_some())
            || self.people.iter().any(|p| p.up_to.is_some())
            || self.rollouts.iter().any(|r| r.up_to.is_some())
    }

    /// The same world with a daemon that lives.
    pub fn without_crashes(&self) -> Self {
        Self { crashes: None, ..self.clone() }
    }

    /// The same world with all of its chance at its kindest: nobody dawdles, and what may happen does not.
    pub fn at_its_kindest(&self) -> Self {
        let mut kind = self.clone();
        kind.outages.retain(|o| o.every.is_none());
        kind.people.iter_mut().for_each(|p| p.up_to = None);
        kind.rollouts.iter_mut().for_each(|r| r.up_to = None);
        kind.crashes = None;
        kind
    }
}
