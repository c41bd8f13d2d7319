//! Before and after: is it worse than before the flip, and than at this time of other days?

use serde::{Deserialize, Serialize};

use super::shift::{Noise, ShiftFold, mean};
use super::{Finding, Reference, ShiftRule, Undecided};

/// How many earlier days play a flip that was none.
const PLACEBO_DAYS: usize = 3;

/// Compares a series with itself: before the flip, and at the same time of earlier days.
///
/// # Shape
/// All lengths are in blocks. The difference between a block and the mean of those `offsets` before it is compared with
/// the same difference in the `window` before the flip (difference in differences). How far that goes astray without any
/// flip is measured on three placebo flips, at the same time of the preceding days.
///
/// # Source
/// Difference in differences with a seasonal reference; drift and autocorrelation as in docs/evidence.md.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Baseline {
    /// What is asked.
    pub rule: ShiftRule,
    /// How many blocks a day has.
    pub day: usize,
    /// How long the time before the flip is that it is compared with.
    pub window: usize,
    /// How many blocks of it must be there.
    pub min_blocks: usize,
    /// How far back the other days are, such as one to seven days. None at all: there is no history.
    pub offsets: Vec<usize>,
    /// How far the level drifts within a day, as a standard deviation on the rule's scale, where it is known better than from
    /// placebo flips; they can only raise it.
    pub drift: Option<f64>,
}

impl Baseline {
    /// What the blocks before the flip say of the `horizon` blocks after it. Nothing where they say too little.
    pub fn learn(&self, before: &[Option<f64>], horizon: usize) -> Option<Reference> {
        let values: Vec<_> = before.iter().map(|v| self.rule.scale.of(*v)).collect();
        let offset = self.level(&values, values.len())?;
        let expected = (0..horizon).map(|j| Some(self.seasonal(&values, values.len(), j)? + offset)).collect();
        if self.offsets.is_empty() {
            return self.without_history(&values, expected);
        }
        let placebos: Vec<_> = (1..=PLACEBO_DAYS).filter_map(|day| self.placebo(&values, day)).collect();
        match Noise::of(&placebos, self.day / 8) {
            Some(noise) => Some(self.reference(expected, noise, Some(self.astray(&placebos)))),
            None => self.without_history(&values, expected),
        }
    }

    /// Judges the blocks since the flip.
    pub fn judge(&self, reference: Option<&Reference>, since: &[Option<f64>]) -> Finding {
        let values: Vec<_> = since.iter().map(|v| self.rule.scale.of(*v)).collect();
        reference.map_or_else(
            || Finding::undecided(Undecided::NoBaseline, since.len().saturating_sub(1)),
            |reference| self.rule.judge(reference, &values),
        )
    }

    /// The same, block by block.
    pub(in crate::analysis) fn begin(&self, reference: &Reference) -> ShiftFold {
        self.rule.begin(reference)
    }

    /// Takes in the next block.
    pub(in crate::analysis) fn take(&self, reference: &Reference, fold: &mut ShiftFold, value: Option<f64>) {
        fold.take(reference, self.rule.scale.of(value));
    }

    fn reference(&self, expected: Vec<Option<f64>>, noise: Noise, astray: Option<f64>) -> Reference {
        let (variance, autocorrelation) = (noise.variance, noise.autocorrelation);
        let drift = [astray, self.drift].into_iter().flatten().reduce(f64::max);
        Reference { expected, variance, autocorrelation, drift }
    }

    /// All that is known of the noise is the window itself.
    fn without_history(&self, values: &[Option<f64>], expected: Vec<Option<f64>>) -> Option<Reference> {
        let window = values.get(values.len().saturating_sub(self.window)..).unwrap_or_default().to_vec();
        Some(self.reference(expected, Noise::of(&[window], self.day / 8)?, None))
    }

    /// The mean, over other days, of the block so many after a flip; only what was before the flip counts. Without offsets
    /// there is no season.
    fn seasonal(&self, values: &[Option<f64>], flip: usize, after: usize) -> Option<f64> {
        if self.offsets.is_empty() {
            return Some(0.0);
        }
        let at = |offset: &usize| {
            let place = (flip + after).checked_sub(*offset).filter(|place| *place < flip)?;
            values.get(place).copied().flatten()
        };
        mean(self.offsets.iter().map(at))
    }

    /// By how much the window before a flip is above the season.
    fn level(&self, values: &[Option<f64>], flip: usize) -> Option<f64> {
        let from = flip.checked_sub(self.window)?;
        let above = |place: usize| {
            let value = values.get(place).copied().flatten()?;
            Some(value - self.seasonal(values, place, 0)?)
        };
        let seen: Vec<_> = (from..flip).filter_map(above).collect();
        (seen.len() >= self.min_blocks.max(1)).then(|| mean(seen.into_iter().map(Some))).flatten()
    }

    /// The differences of the day after a flip that was none, so many days before the real one.
    fn placebo(&self, values: &[Option<f64>], days: usize) -> Option<Vec<Option<f64>>> {
        let flip = values.len().checked_sub(days * self.day)?;
        let offset = self.level(values, flip)?;
        let difference = |j: usize| {
            let value = values.get(flip + j).copied().flatten()?;
            Some(value - self.seasonal(values, flip, j)? - offset)
        };
        Some((self.rule.restarts.settle..self.day).map(difference).collect())
    }

    /// How far means over the first hour, two hours and so on went astray, as a root mean square over placebo flips.
    fn astray(&self, placebos: &[Vec<Option<f64>>]) -> f64 {
        let hour = (self.day / 24).max(1);
        let settle = self.rule.restarts.settle;
        let means = placebos.iter().flat_map(|placebo| {
            let until = (1..=24).map(move |h| (h * hour).saturating_sub(settle));
            until.filter_map(|until| mean(placebo.iter().take(until).copied()))
        });
        let (squares, count) = means.fold((0.0, 0.0), |(sum, count), m| (sum + m * m, count + 1.0));
        if count > 0.0 { (squares / count).sqrt() } else { 0.0 }
    }
}
