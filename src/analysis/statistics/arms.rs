//! Counted events in two arms beside each other: do they fall on the judged arm more often than they may?

use serde::{Deserialize, Serialize};

use super::e_process::{CONCURRENT, DECREASE, Grid, log_mean_exp};
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
        self.direction.judge(self.alpha, |side, alpha| self.one_side(baseline.dispersion, since, side, alpha))
    }

    fn one_side(&self, dispersion: f64, since: ArmCounts<'_>, side: Side, alpha: f64) -> Finding {
        let (worse, better) = match side {
            Side::Up => (Grid::new(&CONCURRENT), Grid::new(&DECREASE)),
            Side::Down => (Grid::new(&DECREASE), Grid::new(&CONCURRENT)),
        };
        let allowed = (1.0 + side.sign() * self.relative).max(f64::MIN_POSITIVE);
        let (first, later) = self.restarts.shares(alpha);
        let mut series: Vec<Series> = self.restarts.starts().map(Series::new).collect();
        let mut last = 0;
        for (at, pair) in pairs(since).enumerate() {
            last = at;
            let Some(pair) = pair else { continue };
            let (against, towards): (Vec<f64>, Vec<f64>) =
                (worse.conditional(pair, allowed).collect(), better.conditional(pair, allowed).collect());
            for one in series.iter_mut().filter(|s| s.start <= at) {
                one.push(pair, &against, &towards);
                let needed = -if one.later { later } else { first }.ln();
                if log_mean_exp(one.worse.iter().map(|e| e / dispersion)) >= needed {
                    return one.finding(Verdict::Breach, at, allowed);
                }
            }
        }
        let Some(whole) = series.first().filter(|s| s.blocks > 0) else {
            return Finding::undecided(Undecided::TooFew, last);
        };
        let suspicious =
            |s: &Series| ratio(s.judged, s.beside).is_some_and(|ratio| side.sign() * (ratio - allowed) > 0.0);
        let enough = log_mean_exp(whole.better.iter().map(|e| e / dispersion)) >= -alpha.ln();
        let proven = enough && !series.iter().any(suspicious);
        whole.finding(if proven { Verdict::Proven } else { Verdict::Undecided(Undecided::Open) }, last, allowed)
    }
}

/// Blocks since one of the starts.
#[derive(Clone, Debug)]
struct Series {
    start: usize,
    later: bool,
    blocks: usize,
    judged: Count,
    beside: Count,
    /// The logarithms of the alternatives' likelihood ratios: those of a breach, and those of proof.
    worse: Vec<f64>,
    better: Vec<f64>,
}

impl Series {
    fn new((start, later): (usize, bool)) -> Self {
        let none = Count::default();
        Self { start, later, blocks: 0, judged: none, beside: none, worse: Vec::new(), better: Vec::new() }
    }

    fn push(&mut self, (judged, beside): (Count, Count), worse: &[f64], better: &[f64]) {
        let add = |sums: &mut Vec<f64>, more: &[f64]| {
            sums.resize(more.len(), 0.0);
            sums.iter_mut().zip(more).for_each(|(sum, add)| *sum += add);
        };
        self.blocks += 1;
        self.judged = Count::sum([&self.judged, &judged]);
        self.beside = Count::sum([&self.beside, &beside]);
        add(&mut self.worse, worse);
        add(&mut self.better, better);
    }

    fn finding(&self, verdict: Verdict, at: usize, allowed: f64) -> Finding {
        let estimate = ratio(self.judged, self.beside).map(|ratio| ratio - 1.0);
        let (since, blocks) = (self.start, self.blocks);
        Finding { verdict, at, since, blocks, estimate, lower: None, upper: None, limit: Some(allowed - 1.0) }
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
