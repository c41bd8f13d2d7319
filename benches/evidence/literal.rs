//! The rules that people write by hand, minute by minute. Delays are in minutes after the flip.

use hoist::analysis::statistics::{Count, lower_bound};

use crate::world::DAY;

/// When a rule is looked at.
#[derive(Clone, Copy)]
pub enum Looks {
    /// After every minute of a day.
    Minutely,
    /// After every minute of a quarter of an hour, every hour up to the fourth, and after a day.
    AsPlanned,
}

/// How often it must say so.
#[derive(Clone, Copy)]
pub enum Patience {
    First,
    /// So many minutes in a row.
    For(usize),
    /// More often than this, over all the time.
    Failures(usize),
}

/// The first minute at which the rule rolls back, of a day's looks.
pub fn rolled_back(looks: Looks, patience: Patience, mut breached: impl FnMut(usize) -> bool) -> Option<f64> {
    let (mut row, mut failures) = (0, 0);
    for minute in 0..DAY {
        let after = minute + 1;
        let looked = match looks {
            Looks::Minutely => true,
            Looks::AsPlanned => after <= 15 || (after % 60 == 0 && after <= 240) || after == DAY,
        };
        if !looked {
            continue;
        }
        let says = breached(minute);
        row = if says { row + 1 } else { 0 };
        failures += usize::from(says);
        let enough = match patience {
            Patience::First => says,
            Patience::For(minutes) => row >= minutes,
            Patience::Failures(limit) => failures > limit,
        };
        if enough {
            return Some(after as f64);
        }
    }
    None
}

/// The mean of the last five minutes, of which two must be there.
pub fn five_minutes(values: &[Option<f64>], at: usize) -> Option<f64> {
    mean_of(&values[at.saturating_sub(4)..=at], 2)
}

/// The mean of what is there, if that is enough.
pub fn mean_of(values: &[Option<f64>], least: usize) -> Option<f64> {
    let there: Vec<f64> = values.iter().flatten().copied().collect();
    (there.len() >= least).then(|| there.iter().sum::<f64>() / there.len() as f64)
}

/// Errors of requests in these minutes.
pub fn sum_of(counts: &[Option<Count>]) -> Count {
    counts.iter().flatten().fold(Count::default(), |sum, c| Count { bad: sum.bad + c.bad, total: sum.total + c.total })
}

/// `errors(5m) > limit`, as a ratio, as a ratio of enough requests, or by its lower bound at 99 %.
#[derive(Clone, Copy)]
pub enum ErrorRule {
    Above(f64),
    AboveOf(f64, f64),
    SurelyAbove(f64),
}

impl ErrorRule {
    pub fn breached(self, counts: &[Option<Count>], at: usize) -> bool {
        let sum = sum_of(&counts[at - 4..=at]);
        match self {
            Self::Above(limit) => sum.bad > limit * sum.total,
            Self::AboveOf(limit, least) => sum.total >= least && sum.bad > limit * sum.total,
            // The bound is never above the ratio, which is cheaper.
            Self::SurelyAbove(limit) => sum.bad > limit * sum.total && lower_bound(sum.bad, sum.total, 0.01) > limit,
        }
    }
}
