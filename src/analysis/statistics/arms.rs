//! Counted events in two arms beside each other: do they fall on the judged arm more often than they may?

use serde::{Deserialize, Serialize};

use super::e_process::{CONCURRENT, DECREASE, Grid, log_mean_exp};
use super::restarts::Start;
use super::series::{Sides, Test};
use super::{Count, Direction, Finding, Restarts, Side, Undecided, Verdict};

/// Judges by the conditional binomial e-process: given that an event happened, in which arm did it? Its unit is the ratio of
/// the two rates, less one. There are no bounds: finding them would mean to go through all blocks again for each candidate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ArmsJudge {
    /// The probability of a false breach over the whole run.
    pub alpha: f64,
    /// Which change is for the worse.
    pub direction: Direction,
    /// By what part the rate may be off that of the arm beside.
    pub relative: f64,
    /// When to begin, and to begin anew.
    pub restarts: Restarts,
}

/// Events of two arms in the same blocks: the one that is judged, and the one beside.
pub type ArmCounts<'a> = (&'a [Option<Count>], &'a [Option<Count>]);

/// How unevenly events fell on the arms before the flip.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ArmsBaseline {
    /// How much more than binomial counts they vary; 1 at least.
    pub dispersion: f64,
}

impl ArmsBaseline {
    /// Nothing where fewer than two blocks have an event.
    pub fn learn(before: ArmCounts<'_>) -> Option<Self> {
        let blocks: Vec<(Count, Count)> = pairs(before).flatten().filter(|(j, b)| j.bad + b.bad > 0.0).collect();
        let judged = Count::sum(blocks.iter().map(|(j, _)| j));
        let beside = Count::sum(blocks.iter().map(|(_, b)| b));
        let ratio = ratio(judged, beside)?;
        let pearson = |(j, b): &(Count, Count)| {
            let share = ratio * j.total / (ratio * j.total + b.total);
            let events = j.bad + b.bad;
            (j.bad - events * share).powi(2) / (events * share * (1.0 - share))
        };
        let found = blocks.iter().map(pearson).sum::<f64>() / (blocks.len() as f64 - 1.0);
        (blocks.len() >= 2 && found.is_finite()).then(|| Self { dispersion: found.max(1.0) })
    }
}

impl ArmsJudge {
    /// Judges the blocks since the flip.
    pub fn judge(&self, baseline: Option<&ArmsBaseline>, since: ArmCounts<'_>) -> Finding {
        let Some(baseline) = baseline else {
            return Finding::undecided(Undecided::NoBaseline, since.0.len().saturating_sub(1));
        };
        let split = |side, alpha| Split::new(self, baseline.dispersion, side, alpha);
        let mut fold = Sides::new(self.direction, self.alpha, &self.restarts, split);
        pairs(since).for_each(|pair| fold.push(pair));
        fold.finding()
    }
}

/// What one side is held against.
struct Split {
    side: Side,
    /// How many times as often events may come in the judged arm.
    allowed: f64,
    /// The logarithm of an e-value that is proof enough. Only the oldest series is asked for it.
    proof: f64,
    /// Alternatives in which the rate got worse.
    worse: Grid,
    /// And in which it is better than allowed.
    better: Grid,
    dispersion: f64,
}

impl Split {
    fn new(judge: &ArmsJudge, dispersion: f64, side: Side, alpha: f64) -> Self {
        let (worse, better) = match side {
            Side::Up => (&CONCURRENT[..], &DECREASE[..]),
            Side::Down => (&DECREASE[..], &CONCURRENT[..]),
        };
        let allowed = (1.0 + side.sign() * judge.relative).max(f64::MIN_POSITIVE);
        let (worse, better) = (Grid::new(worse), Grid::new(better));
        Self { side, allowed, proof: -alpha.ln(), worse, better, dispersion }
    }

    fn reaches(&self, exponents: &[f64], needed: f64) -> bool {
        log_mean_exp(exponents.iter().map(|e| e / self.dispersion)) >= needed
    }
}

impl Test for Split {
    type Block = (Count, Count);
    type Series = Series;

    fn begin(&self, start: Start) -> Series {
        let none = Count::default();
        Series { start, blocks: 0, judged: none, beside: none, worse: Vec::new(), better: Vec::new() }
    }

    fn start(series: &Series) -> &Start {
        &series.start
    }

    fn take(&self, series: &mut Series, pair: (Count, Count), at: usize) -> Option<Finding> {
        series.push(pair, self.worse.conditional(pair, self.allowed), self.better.conditional(pair, self.allowed));
        let breached = self.reaches(&series.worse, -series.start.alpha.ln());
        breached.then(|| series.finding(Verdict::Breach, at, self.allowed))
    }

    fn conclude(&self, series: &[Series], last: usize) -> Finding {
        let Some(whole) = series.first().filter(|s| s.blocks > 0) else {
            return Finding::undecided(Undecided::TooFew, last);
        };
        let beyond = |ratio: f64| self.side.sign() * (ratio - self.allowed) > 0.0;
        let suspicious = |s: &Series| ratio(s.judged, s.beside).is_some_and(beyond);
        let proven = self.reaches(&whole.better, self.proof) && !series.iter().any(suspicious);
        whole.finding(if proven { Verdict::Proven } else { Verdict::Undecided(Undecided::Open) }, last, self.allowed)
    }
}

/// Blocks since one of the starts.
#[derive(Clone, Debug)]
struct Series {
    start: Start,
    blocks: usize,
    judged: Count,
    beside: Count,
    /// The logarithms of the alternatives' likelihood ratios: those of a breach, and those of proof.
    worse: Vec<f64>,
    better: Vec<f64>,
}

impl Series {
    fn push(
        &mut self,
        (judged, beside): (Count, Count),
        worse: impl Iterator<Item = f64>,
        better: impl Iterator<Item = f64>,
    ) {
        self.blocks += 1;
        self.judged = Count::sum([&self.judged, &judged]);
        self.beside = Count::sum([&self.beside, &beside]);
        add(&mut self.worse, worse);
        add(&mut self.better, better);
    }

    fn finding(&self, verdict: Verdict, at: usize, allowed: f64) -> Finding {
        let estimate = ratio(self.judged, self.beside).map(|ratio| ratio - 1.0);
        let (since, blocks) = (self.start.at, self.blocks);
        Finding { verdict, at, since, blocks, estimate, lower: None, upper: None, limit: Some(allowed - 1.0) }
    }
}

/// Adds to sums, of which there are none before the first.
fn add(sums: &mut Vec<f64>, more: impl Iterator<Item = f64>) {
    for (place, add) in more.enumerate() {
        match sums.get_mut(place) {
            Some(sum) => *sum += add,
            None => sums.push(add),
        }
    }
}

/// How often events come in one arm, in terms of the other; nothing where the other has none.
fn ratio(judged: Count, beside: Count) -> Option<f64> {
    Some((judged.bad / judged.total) / (beside.bad / beside.total)).filter(|r| r.is_finite())
}

/// Blocks in which both arms had exposure.
fn pairs((judged, beside): ArmCounts<'_>) -> impl Iterator<Item = Option<(Count, Count)>> {
    judged.iter().zip(beside).map(|(j, b)| Some((Count::seen(*j)?, Count::seen(*b)?)))
}
