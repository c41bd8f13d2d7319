//! What the flips of a check come to, in a few numbers.

use std::collections::BTreeMap;

use chrono::{Datelike, NaiveDateTime, Timelike, Weekday};
use serde::Serialize;

use super::known::Known;
use super::{Backtest, Flip, Past, Replayed};
use crate::analysis::statistics::{lower_bound, upper_bound};
use crate::api::{Check, Duration, OnBreach, Time};

/// The probability of error of the bounds of a rate.
const ALPHA: f64 = 0.05;

/// The most hours of the week that are named.
const MOST_OFTEN: usize = 3;

/// How often something happened among flips that could be judged.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rate {
    /// So often.
    pub count: usize,
    /// Of so many.
    pub of: usize,
    /// The rate is not below this, nor above the other, at 95 % for both together.
    ///
    /// # Source
    /// Clopper and Pearson (1934), for flips that do not depend on each other. Those whose soaks overlap do.
    pub lower: f64,
    /// See `lower`.
    pub upper: f64,
}

/// An hour of the week in which breaches came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Often {
    /// The day.
    pub weekday: Weekday,
    /// The hour, from 0.
    pub hour: u32,
    /// How many came in it.
    pub count: usize,
}

/// What a check that learns from the past can tell after the soak.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    /// In a sentence, of the last flip.
    pub last: String,
    /// At how many flips a change at its limit might never have been found.
    pub blind: usize,
}

/// What the flips of a check come to.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// How many flips there were.
    pub flips: usize,
    /// How often it breached, of those that could be judged.
    pub breached: Rate,
    /// After how long, in the median.
    pub median: Option<Duration>,
    /// In which hours of the week, the most frequent first: those that came up more than once.
    pub often: Vec<Often>,
    /// How many could not be judged, by reason.
    pub undecided: Vec<(String, usize)>,
}

impl Rate {
    fn new(count: usize, of: usize) -> Self {
        let (bad, total) = (count as f64, of as f64);
        let (lower, upper) = if of == 0 {
            (0.0, 1.0)
        } else {
            (lower_bound(bad, total, ALPHA / 2.0), upper_bound(bad, total, ALPHA / 2.0))
        };
        Self { count, of, lower, upper }
    }
}

impl Summary {
    /// Of these flips. `local` reads a moment on the clocks of the place.
    pub fn of(flips: &[Flip], local: impl Fn(Time) -> NaiveDateTime) -> Self {
        let (mut times, mut hours) = (Vec::new(), BTreeMap::<(u32, u32), (Weekday, usize)>::new());
        let mut undecided: BTreeMap<String, (String, usize)> = BTreeMap::new();
        for flip in flips {
            match &flip.replayed {
                Replayed::Passed => {}
                Replayed::Breached { after, .. } => {
                    times.push(*after);
                    let at = local(flip.at + after.delta());
                    let slot = (at.weekday().num_days_from_monday(), at.hour());
                    hours.entry(slot).or_insert((at.weekday(), 0)).1 += 1;
                }
                Replayed::Undecided(why) => {
                    undecided.entry(without_numbers(why)).or_insert((why.clone(), 0)).1 += 1;
                }
            }
        }
        let mut often: Vec<Often> =
            hours.into_iter().map(|((_, hour), (weekday, count))| Often { weekday, hour, count }).collect();
        often.retain(|o| o.count > 1);
        often.sort_by_key(|o| std::cmp::Reverse(o.count));
        often.truncate(MOST_OFTEN);
        let mut undecided: Vec<(String, usize)> = undecided.into_values().collect();
        undecided.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let judged = flips.len() - undecided.iter().map(|(_, count)| count).sum::<usize>();
        let breached = Rate::new(times.len(), judged);
        Self { flips: flips.len(), breached, median: median(times), often, undecided }
    }
}

impl Backtest {
    /// What a check that learns from the past could have told after the soak; nothing for the others.
    pub fn told(&self, past: &Past, check: &Check) -> Option<Told> {
        let known = Known::new(self, check, past);
        let judge = known.judge.as_ref()?;
        let (mut last, mut blind) = (None, 0);
        for at in &self.moments {
            let Some(learnt) = known.captured(*at).and_then(|c| judge.learn(&c.blocks.values, 1).ok()) else {
                continue;
            };
            last = judge.resolves(&learnt, self.soak()).or(last);
            blind += usize::from(judge.is_blind(&learnt, self.soak()));
        }
        Some(Told { last: last?, blind })
    }
}

/// How often the checks together would have rolled back: those that lead to a rollback, and count.
pub fn rolled_back(checks: &[Check], flips: &[Vec<Flip>]) -> Rate {
    let counting: Vec<&Vec<Flip>> = checks
        .iter()
        .zip(flips)
        .filter(|(c, _)| c.on_breach == OnBreach::Rollback && !c.dry_run)
        .map(|(_, f)| f)
        .collect();
    let of = counting.first().map_or(0, |flips| flips.len());
    let breached = |place: &usize| {
        let mut of = counting.iter().filter_map(|flips| flips.get(*place));
        of.any(|f| matches!(f.replayed, Replayed::Breached { .. }))
    };
    Rate::new((0..of).filter(breached).count(), of)
}

/// The middle of durations, or of the two in the middle.
fn median(mut times: Vec<Duration>) -> Option<Duration> {
    times.sort_unstable();
    let upper = *times.get(times.len() / 2)?;
    let lower = *times.get((times.len() - 1) / 2)?;
    Some(Duration::seconds(i64::midpoint(lower.as_seconds(), upper.as_seconds())))
}

/// A sentence in which every number is alike.
fn without_numbers(text: &str) -> String {
    let mut shape = String::new();
    for c in text.chars() {
        let c = if c.is_ascii_digit() || c == '.' { '#' } else { c };
        if c != '#' || !shape.ends_with('#') {
            shape.push(c);
        }
    }
    shape
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flip(day: i64, replayed: Replayed) -> Flip {
        // A Monday.
        Flip { at: Time::from_timestamp(1_746_403_200 + day * 86_400, 0).expect("a time"), replayed }
    }

    fn breached(hours: i64) -> Replayed {
        Replayed::Breached { after: Duration::seconds(hours * 3_600), sentence: String::new() }
    }

    #[test]
    fn flips_in_a_few_numbers() {
        let why = |n: i64| Replayed::Undecided(format!("{n} of 24 blocks are there"));
        let flips = [
            flip(0, breached(2)),
            flip(7, breached(2)),
            flip(1, breached(5)),
            flip(2, Replayed::Passed),
            flip(3, why(3)),
            flip(4, why(11)),
            flip(5, Replayed::Undecided("else".to_owned())),
        ];
        let summary = Summary::of(&flips, |at| at.naive_utc());
        assert_eq!((summary.flips, summary.breached.count, summary.breached.of), (7, 3, 4));
        assert!((summary.breached.lower - 0.194).abs() < 1e-3 && (summary.breached.upper - 0.9937).abs() < 1e-3);
        assert_eq!(summary.median, Some(Duration::seconds(7_200)));
        assert_eq!(summary.often, [Often { weekday: Weekday::Mon, hour: 2, count: 2 }]);
        assert_eq!(summary.undecided, [("3 of 24 blocks are there".to_owned(), 2), ("else".to_owned(), 1)]);
    }

    #[test]
    fn only_what_leads_to_a_rollback_is_one() {
        let check = |on: &str| {
            let check = serde_json::json!({ "name": "x", "threshold": { "query": "q", "max": "1" }, "onBreach": on });
            serde_json::from_value::<Check>(check).expect("a check")
        };
        let (one, none) = (vec![flip(0, breached(1)), flip(1, Replayed::Passed)], vec![flip(0, breached(1)); 2]);
        let rate = rolled_back(&[check("Rollback"), check("Notify")], &[one, none]);
        assert_eq!((rate.count, rate.of), (1, 2));
    }
}
