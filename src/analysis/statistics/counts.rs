//! Counted events: do they come more often than before the flip?

use serde::{Deserialize, Serialize};

use super::binomial::{lower_bound, upper_bound};
use super::e_process::{DECREASE, Grid, INCREASE, Trim, Trimmed, dispersion};
use super::restarts::Start;
use super::series::{Sides, Test};
use super::{Count, Direction, Finding, Limit, Restarts, Side, Undecided, Verdict};

/// The part of the blocks before the flip that may be bursts.
const BURSTS: f64 = 0.05;

/// Judges bad events of all, or any events of an exposure, by an e-process. Its unit is the rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CountJudge {
    /// The probability of a false breach over the whole run. One half is for the baseline, one for the time after it.
    pub alpha: f64,
    /// Which change is for the worse.
    pub direction: Direction,
    /// How much the rate may change, beyond what the baseline leaves open.
    pub limit: Limit,
    /// When to begin, and to begin anew.
    pub restarts: Restarts,
    /// Which blocks are not counted as evidence of a breach.
    pub trim: Trim,
}

/// The events before the flip.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CountBaseline {
    /// All of them.
    pub sum: Count,
    /// How much more than Poisson counts they vary, bursts included; 1 at least.
    pub dispersion: f64,
    /// The same without the largest twentieth of the blocks.
    pub trimmed_dispersion: f64,
}

impl CountBaseline {
    /// Nothing where there was no exposure.
    pub fn learn(before: &[Option<Count>]) -> Option<Self> {
        let seen: Vec<Count> = before.iter().filter_map(|c| Count::seen(*c)).collect();
        let bursts = (BURSTS * seen.len() as f64).ceil() as usize;
        let floored = |dropped| dispersion(&seen, dropped).unwrap_or(1.0).max(1.0);
        (!seen.is_empty()).then(|| Self {
            sum: Count::sum(&seen),
            dispersion: floored(0),
            trimmed_dispersion: floored(bursts),
        })
    }

    /// The rate before the flip is not above this, with probability 1 − `alpha`.
    pub fn upper(&self, alpha: f64) -> f64 {
        upper_bound(self.sum.bad / self.dispersion, self.sum.total / self.dispersion, alpha)
    }

    /// The rate before the flip is not below this, with probability 1 − `alpha`.
    pub fn lower(&self, alpha: f64) -> f64 {
        lower_bound(self.sum.bad / self.dispersion, self.sum.total / self.dispersion, alpha)
    }
}

/// Rates to hold evidence against, for one side.
#[derive(Clone, Copy, Debug)]
struct Rates {
    /// Evidence beyond this is a breach: the limit on top of the worst that the baseline may have been.
    breach: f64,
    /// Evidence short of this is proof: the limit on top of the best that it may have been.
    proof: f64,
}

impl CountJudge {
    /// Judges the blocks since the flip.
    pub fn judge(&self, baseline: Option<&CountBaseline>, since: &[Option<Count>]) -> Finding {
        let Some(baseline) = baseline else {
            return Finding::undecided(Undecided::NoBaseline, since.len().saturating_sub(1));
        };
        let mut fold = self.begin(baseline);
        for count in since {
            fold.take(*count);
        }
        fold.finding()
    }

    /// The same, block by block.
    pub(in crate::analysis) fn begin(&self, baseline: &CountBaseline) -> CountFold {
        Sides::new(self.direction, self.alpha, &self.restarts, |side, alpha| Rate::new(self, baseline, side, alpha))
    }

    /// The rate that an increase must be shown to exceed, or a decrease to fall below; for people to read before the flip.
    pub fn allowed(&self, baseline: &CountBaseline) -> Vec<f64> {
        let sides = self.direction.sides();
        sides.iter().map(|side| self.rates(baseline, *side, self.alpha / sides.len() as f64).breach).collect()
    }

    fn rates(&self, baseline: &CountBaseline, side: Side, alpha: f64) -> Rates {
        let (low, high) = (baseline.lower(alpha / 2.0), baseline.upper(alpha / 2.0));
        let (relative, absolute) = (self.limit.relative.unwrap_or(0.0), self.limit.absolute.unwrap_or(0.0));
        let beyond = |rate: f64| rate + side.sign() * absolute.max(relative * rate);
        match side {
            Side::Up => Rates { breach: beyond(high), proof: beyond(low) },
            Side::Down => Rates { breach: beyond(low).max(0.0), proof: beyond(high).max(0.0) },
        }
    }
}

/// The blocks since the flip, as far as the judge needs them.
pub(in crate::analysis) type CountFold = Sides<Rate>;

impl CountFold {
    /// Takes in the next block.
    pub fn take(&mut self, block: Option<Count>) {
        self.push(Count::seen(block));
    }
}

/// What one side is held against.
#[derive(Clone, Debug)]
pub(in crate::analysis) struct Rate {
    side: Side,
    rates: Rates,
    trim: Trim,
    /// The logarithm of an e-value that is proof enough. Only the oldest series is asked for it.
    proof: f64,
    /// Alternatives in which the rate got worse.
    worse: Grid,
    /// And in which it is better than allowed.
    better: Grid,
    baseline: CountBaseline,
}

/// The logarithm of an e-value that is evidence enough: one half of alpha is for the baseline.
fn evidence(alpha: f64) -> f64 {
    (2.0 / alpha).ln()
}

impl Rate {
    fn new(judge: &CountJudge, baseline: &CountBaseline, side: Side, alpha: f64) -> Self {
        let (worse, better) = match side {
            Side::Up => (&INCREASE[..], &DECREASE[..]),
            Side::Down => (&DECREASE[..], &INCREASE[..]),
        };
        Self {
            side,
            rates: judge.rates(baseline, side, alpha),
            trim: judge.trim,
            proof: evidence(alpha),
            worse: Grid::new(worse),
            better: Grid::new(better),
            baseline: *baseline,
        }
    }

    fn breached(&self, series: &Series) -> bool {
        let sum = series.trimmed.sum();
        self.worse.reaches(series.needed, sum.bad, self.rates.breach * sum.total, self.baseline.trimmed_dispersion)
    }

    /// Bursts count here: what is left out would make it look better.
    fn proven(&self, series: &Series) -> bool {
        let all = series.all;
        self.better.reaches(self.proof, all.bad, self.rates.proof * all.total, self.baseline.dispersion)
    }

    /// Whether the rate of a part of the time is beyond the limit, proven or not.
    fn suspicious(&self, series: &Series) -> bool {
        self.side.sign() * (series.all.bad - self.rates.proof * series.all.total) > 0.0
    }

    fn finding(&self, series: &Series, verdict: Verdict, at: usize) -> Finding {
        let (part, all, baseline) = (series.trimmed.sum(), series.all, &self.baseline);
        let refuted = |grid: &Grid, needed: f64, sum: Count, dispersion: f64| {
            (sum.total > 0.0).then(|| grid.refuted(needed, sum.bad, sum.total, dispersion))
        };
        let one = refuted(&self.worse, series.needed, part, baseline.trimmed_dispersion);
        let other = refuted(&self.better, self.proof, all, baseline.dispersion);
        let (lower, upper) = if self.side == Side::Up { (one, other) } else { (other, one) };
        Finding {
            verdict,
            at,
            since: series.start.at,
            blocks: series.trimmed.blocks(),
            estimate: Some(all.bad / all.total),
            lower,
            upper,
            limit: Some(self.rates.breach),
        }
    }
}

impl Test for Rate {
    type Block = Count;
    type Series = Series;

    fn begin(&self, start: Start) -> Series {
        // Later series begin at no particular moment, so there are more of them for a burst to fall on, which may reach into
        // three blocks: they leave out one more.
        let blocks = self.trim.blocks + usize::from(start.later && self.trim.blocks > 0);
        let (trim, needed) = (Trim { blocks, ..self.trim }, evidence(start.alpha));
        Series { start, trim, needed, all: Count::default(), trimmed: Trimmed::default() }
    }

    fn start(series: &Series) -> &Start {
        &series.start
    }

    fn take(&self, series: &mut Series, count: Count, at: usize) -> Option<Finding> {
        let excess = self.side.sign() * (count.bad - self.rates.breach * count.total);
        series.all = Count::sum([&series.all, &count]);
        series.trimmed.push(series.trim, excess, count);
        self.breached(series).then(|| self.finding(series, Verdict::Breach, at))
    }

    fn conclude(&self, series: &[Series], last: usize) -> Finding {
        let Some(whole) = series.first().filter(|s| s.all.total > 0.0) else {
            return Finding::undecided(Undecided::TooFew, last);
        };
        let proven = self.proven(whole) && !series.iter().any(|s| self.suspicious(s));
        self.finding(whole, if proven { Verdict::Proven } else { Verdict::Undecided(Undecided::Open) }, last)
    }
}

/// Blocks since one of the starts.
#[derive(Clone, Debug)]
pub(in crate::analysis) struct Series {
    start: Start,
    trim: Trim,
    /// The logarithm of an e-value that is evidence of a breach.
    needed: f64,
    all: Count,
    trimmed: Trimmed,
}
