//! Beside each other: is one arm worse than the other, which did not change?

use serde::{Deserialize, Serialize};

use super::shift::{Noise, mean};
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
        let found = reference.map_or_else(
            || Finding::undecided(Undecided::NoBaseline, since.0.len().saturating_sub(1)),
            |reference| self.rule.judge(reference, &self.differences(since)),
        );
        let moved = beside.and_then(|(baseline, past)| self.moved(baseline, past, since.1));
        match moved {
            Some(at) if found.verdict != Verdict::Breach || at <= found.at => {
                Finding { verdict: Verdict::Undecided(Undecided::ReferenceMoved), ..found }
            }
            _ => found,
        }
    }

    /// The block from which on the arm beside is known to have moved. Only its first day can be held against the days before.
    fn moved(&self, baseline: &Baseline, past: &Reference, beside: &[Option<f64>]) -> Option<usize> {
        let rule = ShiftRule { direction: Direction::Either, limit: self.rule.limit, ..baseline.rule.clone() };
        let first_day = beside.get(..baseline.day.max(rule.restarts.settle)).unwrap_or(beside);
        let found = Baseline { rule, ..baseline.clone() }.judge(Some(past), first_day);
        (found.verdict == Verdict::Breach).then_some(found.at)
    }

    fn differences(&self, (judged, beside): Arms<'_>) -> Vec<Option<f64>> {
        let scale = self.rule.scale;
        judged.iter().zip(beside).map(|(j, b)| Some(scale.of(*j)? - scale.of(*b)?)).collect()
    }
}
