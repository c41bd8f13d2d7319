//! What judges have seen since a flip, block by block: a look costs what came since the last.

use super::block_judge::{Judge, Kind, Learnt, Seen};
use super::statistics::{
    Baseline, BurnFold, ComparisonFold, Count, CountFold, Finding, Reference, ShiftFold, Undecided,
};

/// As much of the blocks since the flip as a judge needs.
#[derive(Clone, Debug)]
pub(super) enum Progress {
    Level(ShiftFold),
    Arms(Box<ComparisonFold>),
    Counts(CountFold),
    Burn(BurnFold),
    /// What was learnt is of another kind of judge; so many blocks came.
    Unlearnt(usize),
}

impl Judge {
    /// Nothing seen yet.
    pub(super) fn begin(&self, learnt: &Learnt) -> Progress {
        match (&self.kind, learnt) {
            (Kind::Baseline(b), Learnt::Level(reference)) => Progress::Level(b.begin(reference)),
            (Kind::Comparison(arms), Learnt::Arms(difference, past)) => {
                Progress::Arms(Box::new(arms.0.begin(difference, beside(&arms.1, past.as_ref()))))
            }
            (Kind::Counts(judge, _), Learnt::Counts(baseline)) => Progress::Counts(judge.begin(baseline)),
            (Kind::Burn(_), _) => Progress::Burn(BurnFold::default()),
            _ => Progress::Unlearnt(0),
        }
    }

    /// Takes in the next block.
    pub(super) fn take(&self, learnt: &Learnt, progress: &mut Progress, block: Option<Seen>) {
        let value = block.map(|Seen(value, _)| f64::from(value));
        let other = block.map(|Seen(_, other)| f64::from(other));
        let count = value.zip(other).map(|(bad, total)| Count { bad, total });
        match (&self.kind, learnt, progress) {
            (Kind::Baseline(b), Learnt::Level(reference), Progress::Level(fold)) => b.take(reference, fold, value),
            (Kind::Comparison(arms), Learnt::Arms(difference, past), Progress::Arms(fold)) => {
                arms.0.take((difference, beside(&arms.1, past.as_ref())), fold, (value, other));
            }
            (_, _, Progress::Counts(fold)) => fold.take(count),
            (Kind::Burn(judge), _, Progress::Burn(fold)) => judge.take(fold, count),
            (_, _, Progress::Unlearnt(blocks)) => *blocks += 1,
            _ => {}
        }
    }

    /// Judges the blocks since the flip.
    #[cfg(test)]
    pub(super) fn judge(&self, learnt: &Learnt, since: &[Option<Seen>]) -> Finding {
        let mut progress = self.begin(learnt);
        for block in since {
            self.take(learnt, &mut progress, *block);
        }
        progress.finding()
    }
}

impl Progress {
    /// What is found in the blocks so far.
    pub fn finding(&self) -> Finding {
        match self {
            Self::Level(fold) => fold.finding(),
            Self::Arms(fold) => fold.finding(),
            Self::Counts(fold) => fold.finding(),
            Self::Burn(fold) => fold.finding(),
            Self::Unlearnt(blocks) => Finding::undecided(Undecided::NoBaseline, blocks.saturating_sub(1)),
        }
    }
}

fn beside<'a>(baseline: &'a Baseline, past: Option<&'a Reference>) -> Option<(&'a Baseline, &'a Reference)> {
    past.map(|past| (baseline, past))
}
