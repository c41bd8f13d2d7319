//! Beside each other: is one arm worse than the other, which did not change?

use serde::{Deserialize, Serialize};

use super::shift::{Noise, ShiftFold, mean};
use super::{Baseline, Direction, Finding, Reference, ShiftRule, Undecided, Verdict};

/// Compares two arms that run at the same time. Whatever happens to both cancels out, so there is no drift to allow for but
/// the error of the difference before the flip.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Comparison {
    /// What is asked of the difference.
    pub rule: ShiftRule,
    /// How many blocks a day has.
    pub day: usize,
    /// How many blocks before the flip the difference is learnt from.
    pub window: usize,
    /// How many of them must be there.
    pub min_blocks: usize,
}

/// Values of two arms in the same blocks: the one that is judged, and the one beside.
pub type Arms<'a> = (&'a [Option<f64>], &'a [Option<f64>]);

impl Comparison {
    /// What the blocks before the flip say of the difference after it. Nothing where they say too little.
    pub fn learn(&self, before: Arms<'_>, horizon: usize) -> Option<Reference> {
        let differences = self.differences(before);
        let window = differences.get(differences.len().saturating_sub(self.window)..)?.to_vec();
        let blocks = window.iter().flatten().count();
        let level = mean(window.iter().copied()).filter(|_| blocks >= self.min_blocks.max(1))?;
        let noise = Noise::of(&[window], self.day / 8)?;
        let (variance, autocorrelation) = (noise.variance, noise.autocorrelation);
        let drift = Some((variance * autocorrelation / blocks as f64).sqrt());
        Some(Reference { expected: vec![Some(level); horizon], variance, autocorrelation, drift })
    }

    /// Judges the blocks since the flip.
    ///
    /// `beside` holds the arm beside against its own past, if there is one. Where it has moved by more than the limit, either
    /// way, before a breach was found, the difference says nothing: both arms may be harmed.
    pub fn judge(
        &self,
        reference: Option<&Reference>,
        since: Arms<'_>,
        beside: Option<(&Baseline, &Reference)>,
    ) -> Finding {
        let Some(reference) = reference else {
            return Finding::undecided(Undecided::NoBaseline, since.0.len().saturating_sub(1));
        };
        let mut fold = self.begin(reference, beside);
        for (judged, other) in since.0.iter().zip(since.1) {
            self.take((reference, beside), &mut fold, (*judged, *other));
        }
        fold.finding()
    }

    /// The same, block by block.
    pub(in crate::analysis) fn begin(
        &self,
        reference: &Reference,
        beside: Option<(&Baseline, &Reference)>,
    ) -> ComparisonFold {
        let beside = beside.map(|(baseline, past)| {
            let rule = ShiftRule { direction: Direction::Either, limit: self.rule.limit, ..baseline.rule.clone() };
            rule.begin(past)
        });
        ComparisonFold { difference: self.rule.begin(reference), beside }
    }

    /// Takes in the next block of both arms.
    pub(in crate::analysis) fn take(
        &self,
        (reference, beside): (&Reference, Option<(&Baseline, &Reference)>),
        fold: &mut ComparisonFold,
        (judged, other): (Option<f64>, Option<f64>),
    ) {
        fold.difference.take(reference, self.difference(judged, other));
        if let (Some((baseline, past)), Some(moved)) = (beside, &mut fold.beside) {
            // Only its first day can be held against the days before.
            if moved.blocks() < baseline.day.max(baseline.rule.restarts.settle) {
                moved.take(past, baseline.rule.scale.of(other));
            }
        }
    }

    fn difference(&self, judged: Option<f64>, beside: Option<f64>) -> Option<f64> {
        let scale = self.rule.scale;
        Some(scale.of(judged)? - scale.of(beside)?)
    }

    fn differences(&self, (judged, beside): Arms<'_>) -> Vec<Option<f64>> {
        judged.iter().zip(beside).map(|(j, b)| self.difference(*j, *b)).collect()
    }
}

/// The blocks of both arms since the flip, as far as the judge needs them.
#[derive(Clone, Debug)]
pub(in crate::analysis) struct ComparisonFold {
    difference: ShiftFold,
    beside: Option<ShiftFold>,
}

impl ComparisonFold {
    /// What is found in the blocks so far.
    pub fn finding(&self) -> Finding {
        let found = self.difference.finding();
        let moved = self.beside.as_ref().map(ShiftFold::finding).filter(|f| f.verdict == Verdict::Breach);
        match moved {
            Some(moved) if found.verdict != Verdict::Breach || moved.at <= found.at => {
                Finding { verdict: Verdict::Undecided(Undecided::ReferenceMoved), ..found }
            }
            _ => found,
        }
    }
}
