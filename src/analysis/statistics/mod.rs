//! The statistical judges: whether an environment got worse by more than is allowed, and how sure that is.
//!
//! Every judge is a pure function of stored blocks. It may be asked after every block without paying for it: what it says at
//! a block depends on the blocks up to there, and a breach that was found stays found. docs/evidence.md says what each asks
//! and what was measured of it.
//!
//! | judge | asks | stands on |
//! |---|---|---|
//! | [`Baseline`] | is it worse than before the flip, and than at this time of other days? | [`half_width`], placebo flips |
//! | [`Comparison`] | is it worse than the arm beside? | the same |
//! | [`CountJudge`] | do events come more often than before? | e-values, [`lower_bound`] |
//! | [`ArmsJudge`] | do they come more often than in the arm beside? | conditional e-values |
//! | [`RankJudge`] | at a few planned looks: do values tend to be larger? | Mann–Whitney, [`Boundary`] |
//! | [`BurnRate`] | is the error budget used up too fast? | [`lower_bound`] |

mod arms;
mod baseline;
mod binomial;
mod blocks;
mod burn_rate;
mod comparison;
mod confidence_sequence;
mod counts;
mod e_process;
mod group_sequential;
mod mann_whitney;
mod normal;
mod ranks;
mod restarts;
mod series;
mod shift;

#[cfg(test)]
mod tests;

pub use arms::{ArmsBaseline, ArmsJudge};
pub use baseline::Baseline;
pub use binomial::{lower_bound, upper_bound};
pub use blocks::{Blocks, Count};
pub(super) use burn_rate::BurnFold;
pub use burn_rate::{BurnRate, BurnWindow};
pub use comparison::Comparison;
pub(super) use comparison::ComparisonFold;
pub use confidence_sequence::half_width;
pub(super) use counts::CountFold;
pub use counts::{CountBaseline, CountJudge};
pub use e_process::Trim;
pub use group_sequential::{Boundary, crossing};
pub use ranks::RankJudge;
pub use restarts::{Repeated, Restarts};
pub(super) use shift::ShiftFold;
pub use shift::{Reference, RollbackWhen, Scale, ShiftRule};

use serde::{Deserialize, Serialize};

/// What a judge concludes from the blocks up to one of them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The conclusion.
    pub verdict: Verdict,
    /// The block at which it was reached, counted from the flip: of a breach the first, of anything else the last.
    pub at: usize,
    /// The first block that the numbers are about, counted from the flip.
    pub since: usize,
    /// How many blocks they stand on.
    pub blocks: usize,
    /// What changed, in the judge's unit.
    pub estimate: Option<f64>,
    /// The change is not below this.
    pub lower: Option<f64>,
    /// The change is not above this.
    pub upper: Option<f64>,
    /// What is allowed.
    pub limit: Option<f64>,
}

/// A judge's conclusion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// Worse than is allowed. More blocks do not take it back.
    Breach,
    /// Shown to be within the limit, as far as the blocks go.
    Proven,
    /// Neither.
    Undecided(Undecided),
}

/// Why neither was concluded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Undecided {
    /// There is evidence, and it speaks neither for a breach nor for proof.
    Open,
    /// Too few blocks, or too few events.
    TooFew,
    /// Too little is known of the time before the flip.
    NoBaseline,
    /// Nothing is known of how the level drifts by itself, and the limit is too narrow to go without.
    NoDrift,
    /// The arm beside has moved against its own baseline: both may be harmed.
    ReferenceMoved,
    /// More than half of the values have an equal: ranks say little, counts would say more.
    Ties,
    /// Neighbouring blocks are too alike for a test that takes them to be independent.
    Autocorrelated,
}

impl Finding {
    /// A finding without numbers.
    pub(super) fn undecided(why: Undecided, at: usize) -> Self {
        let verdict = Verdict::Undecided(why);
        Self { verdict, at, since: 0, blocks: 0, estimate: None, lower: None, upper: None, limit: None }
    }

    /// Of two findings about opposite changes the one that says more: the earlier breach, then what is not proven.
    fn worse(self, other: Self) -> Self {
        let order = |f: &Self| match f.verdict {
            Verdict::Breach => (0, f.at),
            Verdict::Undecided(_) => (1, 0),
            Verdict::Proven => (2, 0),
        };
        if order(&other) < order(&self) { other } else { self }
    }
}

/// Which change is a change for the worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Direction {
    /// More is worse.
    Increase,
    /// Less is worse.
    Decrease,
    /// Both are; each gets half of the false-alarm probability.
    Either,
}

/// One change to look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Up,
    Down,
}

impl Side {
    fn sign(self) -> f64 {
        match self {
            Self::Up => 1.0,
            Self::Down => -1.0,
        }
    }
}

impl Direction {
    fn sides(self) -> &'static [Side] {
        match self {
            Self::Increase => &[Side::Up],
            Self::Decrease => &[Side::Down],
            Self::Either => &[Side::Up, Side::Down],
        }
    }

    /// Judges every side with its part of the false-alarm probability.
    fn judge(self, alpha: f64, one: impl Fn(Side, f64) -> Finding) -> Finding {
        let sides = self.sides();
        let alpha = alpha / sides.len() as f64;
        let findings = sides.iter().map(|side| one(*side, alpha));
        findings.reduce(Finding::worse).unwrap_or_else(|| Finding::undecided(Undecided::TooFew, 0))
    }
}

/// How much change is allowed. Where both are given, both must be exceeded: a relative limit alone makes much of tiny levels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limit {
    /// As a part of the level: 0.1 is ten percent.
    pub relative: Option<f64>,
    /// In the unit of the values.
    pub absolute: Option<f64>,
}
