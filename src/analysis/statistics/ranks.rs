//! Mann–Whitney at a few planned looks, for those who come from a judge that works so.

use serde::{Deserialize, Serialize};

use super::mann_whitney::RankSum;
use super::normal::survival;
use super::{Boundary, Direction, Finding, Side, Undecided, Verdict};

/// Fewer values in an arm are not ranked.
const LEAST_VALUES: usize = 50;

/// Neighbours that are more alike than this are not taken to be independent.
const MOST_ALIKE: f64 = 0.2;

/// A larger part of values with an equal says too little.
const MOST_TIED: f64 = 0.5;

/// Ranks the blocks since the flip against those of another time or arm. Its unit is the part of the level.
///
/// Other than all other judges it may not be asked after every block: it looks when `looks` says, and in between it says
/// what it said at the last look.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RankJudge {
    /// The probability of a false breach over all looks.
    pub alpha: f64,
    /// Which change is for the worse.
    pub direction: Direction,
    /// By what part values may be off; they are divided by it before they are ranked, so that it is a margin.
    pub relative: f64,
    /// Blocks after the flip that are not looked at.
    pub settle: usize,
    /// After how many blocks since the flip it looks: ascending, about equally far apart, two dozen at most.
    pub looks: Vec<usize>,
    /// How the probability is spent over the looks.
    pub boundary: Boundary,
}

impl RankJudge {
    /// Judges the blocks since the flip against `control`.
    pub fn judge(&self, control: &[Option<f64>], since: &[Option<f64>]) -> Finding {
        self.direction.judge(self.alpha, |side, alpha| self.one_side(control, since, side, alpha))
    }

    fn one_side(&self, control: &[Option<f64>], since: &[Option<f64>], side: Side, alpha: f64) -> Finding {
        let mut latest = Finding::undecided(Undecided::TooFew, since.len().saturating_sub(1));
        // The constants are two-sided, the question is not.
        let critical = self.boundary.critical_values(self.looks.len(), 2.0 * alpha);
        for (look, critical) in self.looks.iter().zip(critical) {
            let Some(seen) = since.get(..*look) else { break };
            let seen = seen.get(self.settle..).unwrap_or_default();
            let found = self.look(control, seen, side, survival(critical));
            latest = Finding { at: look.saturating_sub(1), ..found };
            if found.verdict == Verdict::Breach {
                break;
            }
        }
        latest
    }

    fn look(&self, control: &[Option<f64>], seen: &[Option<f64>], side: Side, level: f64) -> Finding {
        let (judged, beside) = match (independent(seen), independent(control)) {
            (Ok(judged), Ok(beside)) => (judged, beside),
            (Err(why), _) | (_, Err(why)) => return Finding::undecided(why, 0),
        };
        let margin = 1.0 + side.sign() * self.relative;
        let shrunk: Vec<f64> = judged.iter().map(|v| v / margin).collect();
        let (above, below) = (RankSum::new(&shrunk, &beside), RankSum::new(&beside, &shrunk));
        let (worse, better) = if side == Side::Up { (&above, &below) } else { (&below, &above) };
        let verdict = if above.tied() > MOST_TIED {
            Verdict::Undecided(Undecided::Ties)
        } else if worse.p_greater() <= level {
            Verdict::Breach
        } else if better.p_greater() <= level {
            Verdict::Proven
        } else {
            Verdict::Undecided(Undecided::Open)
        };
        Finding {
            verdict,
            at: 0,
            since: self.settle,
            blocks: judged.len(),
            estimate: median_ratio(&judged, &beside).map(|ratio| ratio - 1.0),
            lower: None,
            upper: None,
            limit: Some(margin - 1.0),
        }
    }
}

/// Every block, or every second, or every third and so on, as soon as neighbours are no longer alike.
fn independent(blocks: &[Option<f64>]) -> Result<Vec<f64>, Undecided> {
    let finite = |v: &Option<f64>| v.filter(|v| v.is_finite());
    let mut enough = false;
    for step in 1..=blocks.len().max(1) {
        let thinned: Vec<Option<f64>> = blocks.iter().step_by(step).map(finite).collect();
        let values: Vec<f64> = thinned.iter().copied().flatten().collect();
        if values.len() < LEAST_VALUES {
            break;
        }
        enough = true;
        if lag_one(&thinned) < MOST_ALIKE {
            return Ok(values);
        }
    }
    Err(if enough { Undecided::Autocorrelated } else { Undecided::TooFew })
}

/// The correlation of neighbours.
fn lag_one(values: &[Option<f64>]) -> f64 {
    let there: Vec<f64> = values.iter().copied().flatten().collect();
    let count = there.len() as f64;
    let mean = there.iter().sum::<f64>() / count;
    let variance = there.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
    let pairs = values.iter().zip(values.iter().skip(1)).filter_map(|(a, b)| Some(((*a)? - mean) * ((*b)? - mean)));
    let (sum, pairs) = pairs.fold((0.0, 0.0), |(sum, pairs), product| (sum + product, pairs + 1.0));
    // Nothing that varies: the ties will tell.
    if variance > 0.0 && pairs > 0.0 { sum / pairs / variance } else { 0.0 }
}

/// The median of all ratios of a value to one of the others (Hodges and Lehmann's estimate, of a factor).
fn median_ratio(judged: &[f64], beside: &[f64]) -> Option<f64> {
    let mut all: Vec<f64> = judged.iter().flat_map(|j| beside.iter().map(move |b| j / b)).collect();
    let middle = all.len() / 2;
    (!all.is_empty()).then(|| *all.select_nth_unstable_by(middle, f64::total_cmp).1).filter(|r| r.is_finite())
}
