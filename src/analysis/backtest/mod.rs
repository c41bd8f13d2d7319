//! Backtests: the checks of an environment over recorded history, as if the flag had been raised at many moments.
//!
//! [`Backtest::questions`] names what must be known, a [`Past`] holds what was answered, and [`Backtest::replay`] puts it
//! through the same ledgers as the controller.

mod asked;
mod bound;
mod effect;
mod known;
mod lines;
mod past;
mod replay;
mod summary;

#[cfg(test)]
mod tests;

pub use effect::Effect;
pub use lines::{Line, Lines};
pub use past::{Past, RangeQuery, Sample};
pub use replay::{Flip, Replayed};
pub use summary::{Often, Rate, Summary, Told, rolled_back};

use chrono::TimeDelta;

use super::Judge;
use crate::api::{Check, Duration, PrometheusSource, Time};

/// The most flips that are replayed.
const MOST_FLIPS: i64 = 10_000;

/// The most samples that are asked for. A month of ten checks is three millions.
pub const MOST_SAMPLES: usize = 30_000_000;

/// What is replayed: the rendered checks of an environment, and when its flag would have been raised.
#[derive(Clone, Debug, PartialEq)]
pub struct Backtest {
    checks: Vec<Check>,
    alpha: f64,
    prometheus: PrometheusSource,
    soaks: Vec<Duration>,
    from: Time,
    to: Time,
    every: Duration,
    moments: Vec<Time>,
}

impl Backtest {
    /// A backtest of rendered checks, each of which may be wrong about a harmless flip with probability `alpha`.
    ///
    /// # Shape
    /// Nothing outside of `span` is looked at, but for what the window of a first query reaches back. So the first flip is
    /// as long after its beginning as the check that looks back longest needs, and the soaks of the last one end within it.
    ///
    /// # Errors
    /// A sentence, where no flip fits, or far too many do.
    pub fn new(
        checks: Vec<Check>,
        alpha: f64,
        prometheus: PrometheusSource,
        soaks: Vec<Duration>,
        (from, to): (Time, Time),
        every: Duration,
    ) -> Result<Self, String> {
        if checks.is_empty() {
            return Err("no check is asked there, so nothing would ever roll back".to_owned());
        }
        if from >= to {
            return Err(format!("the span begins {}, which is not before its end {}", minute(from), minute(to)));
        }
        if every < Duration::seconds(60) {
            return Err(format!("a flip every {every} is too often; once a minute at most"));
        }
        let history = checks.iter().filter_map(|check| Some(Judge::of(check, alpha)?.history())).max();
        let history = history.unwrap_or_default();
        let soak = Duration::seconds(soaks.iter().map(|s| s.as_seconds()).sum());
        let first = from + history.delta();
        let room = to - soak.delta() - first;
        if room < TimeDelta::zero() {
            let span = Duration::seconds((to - from).num_seconds());
            let back = format!("checks look back {history} before a flip, and it soaks for {soak}");
            return Err(format!("the span of {span} is too short: {back}"));
        }
        let flips = room.num_seconds() / every.as_seconds() + 1;
        if flips > MOST_FLIPS {
            return Err(format!(
                "these are {flips} flips, more than {MOST_FLIPS}; raise less often, or shorten the span"
            ));
        }
        let moments = (0..flips).map(|i| first + TimeDelta::seconds(every.as_seconds() * i)).collect();
        let backtest = Self { checks, alpha, prometheus, soaks, from, to, every, moments };
        let samples: usize = backtest.questions().iter().map(|q| q.count).sum();
        if samples > MOST_SAMPLES {
            return Err(format!("{samples} samples would be asked for, more than {MOST_SAMPLES}; shorten the span"));
        }
        Ok(backtest)
    }

    /// The checks.
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// What is looked at.
    pub fn span(&self) -> (Time, Time) {
        (self.from, self.to)
    }

    /// How far apart the flips are.
    pub fn every(&self) -> Duration {
        self.every
    }

    /// When the flag would have been raised, oldest first; one at least.
    pub fn moments(&self) -> &[Time] {
        &self.moments
    }

    /// How long a flip soaks, all steps together.
    pub fn soak(&self) -> Duration {
        Duration::seconds(self.soaks.iter().map(|s| s.as_seconds()).sum())
    }

    /// When the steps of a flip begin to soak, and until when.
    fn soaks(&self, flip: Time) -> impl Iterator<Item = (Time, Time)> + '_ {
        self.soaks.iter().scan(flip, |since, soak| {
            let from = *since;
            *since = from + soak.delta();
            Some((from, *since))
        })
    }
}

fn minute(at: Time) -> String {
    at.format("%Y-%m-%d %H:%M UTC").to_string()
}
