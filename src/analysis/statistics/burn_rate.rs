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
        let mut sums = Sums::default();
        for block in period {
            sums.push(*block);
        }
        let sum = sums.of(0, period.len());
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
        let mut fold = BurnFold::default();
        for block in since {
            self.take(&mut fold, *block);
        }
        fold.finding()
    }

    /// Takes in the next block.
    pub(in crate::analysis) fn take(&self, fold: &mut BurnFold, block: Option<Count>) {
        fold.sums.push(block);
        let end = fold.sums.blocks();
        if end <= self.settle || fold.worst.is_some_and(|found| found.verdict == Verdict::Breach) {
            return;
        }
        let windows = self.windows.iter().filter_map(|w| self.window(&fold.sums, *w, end));
        fold.worst = windows.chain(self.budget(&fold.sums, end)).reduce(Finding::worse).or(fold.worst);
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

/// The blocks since the flip, as far as the judge needs them.
#[derive(Clone, Debug, Default)]
pub(in crate::analysis) struct BurnFold {
    sums: Sums,
    /// The breach, or what the newest block that said something came to.
    worst: Option<Finding>,
}

impl BurnFold {
    /// What is found in the blocks so far.
    pub fn finding(&self) -> Finding {
        let last = self.sums.blocks().saturating_sub(1);
        match self.worst {
            Some(found) if found.verdict == Verdict::Breach => found,
            Some(found) => Finding { at: last, ..found },
            None => Finding::undecided(Undecided::TooFew, last),
        }
    }
}

/// A part of the blocks, summed.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    count: Count,
    blocks: usize,
}

/// Sums over the first block, the first two and so on, so that any part is a difference of two.
#[derive(Clone, Debug, Default)]
struct Sums(Vec<Sum>);

impl Sums {
    fn push(&mut self, block: Option<Count>) {
        let sum = self.0.last().copied().unwrap_or_default();
        let more = Count::seen(block).map(|c| Sum { count: Count::sum([&sum.count, &c]), blocks: sum.blocks + 1 });
        self.0.push(more.unwrap_or(sum));
    }

    fn blocks(&self) -> usize {
        self.0.len()
    }

    fn of(&self, from: usize, end: usize) -> Sum {
        let at = |blocks: usize| blocks.checked_sub(1).and_then(|last| self.0.get(last).copied()).unwrap_or_default();
        let (from, end) = (at(from), at(end));
        let count = Count { bad: end.count.bad - from.count.bad, total: end.count.total - from.count.total };
        Sum { count, blocks: end.blocks.saturating_sub(from.blocks) }
    }
}
