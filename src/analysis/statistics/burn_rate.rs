//! The error budget: is it used up too fast?

use serde::{Deserialize, Serialize};

use super::{Count, Finding, Undecided, Verdict, lower_bound};

/// Two windows that must both burn too fast. Lengths are in blocks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BurnWindow {
    /// Long enough to matter.
    pub long: usize,
    /// Short enough to end soon after the errors did.
    pub short: usize,
    /// How many times faster than the budget allows.
    pub factor: f64,
}

/// Judges errors against an objective. Its unit is the burn rate: 1 uses the budget up exactly within its period.
///
/// # Source
/// The SRE workbook, Alerting on SLOs: several windows, several burn rates. Windows that begin before the flip are cut
/// there, since earlier errors are not the flag's; so a window must be covered by some part before it may say anything.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BurnRate {
    /// The part of requests that must be good, below 1.
    pub objective: f64,
    /// Any of them is enough.
    pub windows: Vec<BurnWindow>,
    /// So many requests make up for a window that is not yet covered by a quarter.
    pub min_samples: Option<f64>,
    /// Where given, the ratio counts by its lower bound at this confidence: for low traffic.
    pub confidence: Option<f64>,
    /// The period of the budget, in blocks.
    pub period: usize,
    /// How much of the budget may be used between flip and the end of the soak.
    pub max_consumed: Option<f64>,
    /// How much of it must be left before the flip.
    pub min_remaining: Option<f64>,
    /// Blocks after the flip that are not looked at.
    pub settle: usize,
}

impl BurnRate {
    /// Judges, before the flip, whether enough is left of the budget of the last period.
    pub fn judge_start(&self, before: &[Option<Count>]) -> Finding {
        let last = before.len().saturating_sub(1);
        let period = before.get(before.len().saturating_sub(self.period)..).unwrap_or_default();
        let sum = Sums::new(period).of(0, period.len());
        if sum.count.total <= 0.0 {
            return Finding::undecided(Undecided::NoBaseline, last);
        }
        let used = self.rate(sum.count);
        let most = self.min_remaining.map(|remaining| 1.0 - remaining);
        let verdict = if most.is_some_and(|most| used > most) { Verdict::Breach } else { Verdict::Proven };
        let (estimate, blocks) = (Some(used), sum.blocks);
        Finding { verdict, at: last, since: 0, blocks, estimate, lower: None, upper: None, limit: most }
    }

    /// Judges the blocks since the flip.
    pub fn judge(&self, since: &[Option<Count>]) -> Finding {
        let sums = Sums::new(since);
        let mut latest = Finding::undecided(Undecided::TooFew, since.len().saturating_sub(1));
        for end in (self.settle + 1)..=since.len() {
            let found = self.windows.iter().filter_map(|w| self.window(&sums, *w, end)).chain(self.budget(&sums, end));
            if let Some(worst) = found.reduce(Finding::worse) {
                if worst.verdict == Verdict::Breach {
                    return worst;
                }
                latest = worst;
            }
        }
        Finding { at: since.len().saturating_sub(1), ..latest }
    }

    /// What a pair says of the blocks up to `end`; nothing while it is not covered.
    fn window(&self, sums: &Sums, window: BurnWindow, end: usize) -> Option<Finding> {
        let from = |length: usize| end.saturating_sub(length).max(self.settle);
        let (long, short) = (sums.of(from(window.long), end), sums.of(from(window.short), end));
        let covered = 4 * long.blocks >= window.long
            || self.min_samples.is_some_and(|least| long.count.total >= least && short.count.total >= least);
        if !covered || short.count.total <= 0.0 {
            return None;
        }
        let beyond = |sum: Sum| self.beyond(sum.count, window.factor);
        Some(self.finding(long, beyond(long) && beyond(short), window.factor, (from(window.long), end)))
    }

    /// Whether the whole time since the flip used more than it may.
    fn budget(&self, sums: &Sums, end: usize) -> Option<Finding> {
        let sum = sums.of(self.settle, end);
        let most = self.max_consumed? * self.period as f64 / (end - self.settle) as f64;
        (sum.count.total > 0.0).then(|| self.finding(sum, self.beyond(sum.count, most), most, (self.settle, end)))
    }

    fn finding(&self, sum: Sum, breach: bool, limit: f64, (since, end): (usize, usize)) -> Finding {
        let verdict = if breach { Verdict::Breach } else { Verdict::Undecided(Undecided::Open) };
        let (at, estimate, limit) = (end - 1, Some(self.rate(sum.count)), Some(limit));
        Finding { verdict, at, since, blocks: sum.blocks, estimate, lower: None, upper: None, limit }
    }

    fn rate(&self, count: Count) -> f64 {
        count.bad / count.total / (1.0 - self.objective)
    }

    /// Whether it burns faster: the rate itself, and where a confidence is asked for also what the rate is at least.
    fn beyond(&self, count: Count, limit: f64) -> bool {
        let at_least = |confidence: f64| lower_bound(count.bad, count.total, 1.0 - confidence) / (1.0 - self.objective);
        self.rate(count) > limit && self.confidence.is_none_or(|confidence| at_least(confidence) > limit)
    }
}

/// A part of the blocks, summed.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    count: Count,
    blocks: usize,
}

/// Sums over the first so many blocks, so that any part is a difference of two.
struct Sums(Vec<Sum>);

impl Sums {
    fn new(blocks: &[Option<Count>]) -> Self {
        let mut sums = vec![Sum::default()];
        let mut sum = Sum::default();
        for block in blocks {
            if let Some(count) = Count::seen(*block) {
                sum = Sum { count: Count::sum([&sum.count, &count]), blocks: sum.blocks + 1 };
            }
            sums.push(sum);
        }
        Self(sums)
    }

    fn of(&self, from: usize, end: usize) -> Sum {
        let at = |place: usize| self.0.get(place).copied().unwrap_or_default();
        let (from, end) = (at(from), at(end));
        let count = Count { bad: end.count.bad - from.count.bad, total: end.count.total - from.count.total };
        Sum { count, blocks: end.blocks.saturating_sub(from.blocks) }
    }
}
