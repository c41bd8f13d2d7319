//! Evidence as it is stored: disjoint blocks on a fixed grid, some of which may be missing.
//!
//! Overlapping windows are correlated by construction, so all statistics stand on blocks. The blocks of a run are all that a
//! verdict needs: it can be computed again from them.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use crate::api::{Duration, Time};

/// Blocks of equal length, one after the other.
///
/// # Shape
/// `values[i]` speaks for the time from `start + i · block` to `start + (i + 1) · block`; nothing where too little was seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Blocks<T> {
    /// Where the first block begins.
    pub start: Time,
    /// How long each is.
    pub block: Duration,
    /// One for each block.
    pub values: Vec<Option<T>>,
}

/// Events of two kinds in the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Count {
    /// Those that count.
    pub bad: f64,
    /// All of them, or any other exposure, such as minutes.
    pub total: f64,
}

impl<T: Copy> Blocks<T> {
    /// The blocks that end at `at` or before, and those that begin there or after. A block that straddles it is in neither.
    pub fn split(&self, at: Time) -> (&[Option<T>], &[Option<T>]) {
        let length = self.block.as_seconds().max(1);
        let past = (at - self.start).num_seconds().max(0);
        let before = usize::try_from(past / length).unwrap_or(usize::MAX);
        let after = usize::try_from((past + length - 1) / length).unwrap_or(usize::MAX);
        (self.values.get(..before).unwrap_or(&self.values), self.values.get(after..).unwrap_or_default())
    }

    /// When the block at this place ends, whether it is there yet or not.
    pub fn end_of(&self, place: usize) -> Time {
        let blocks = i64::try_from(place).unwrap_or(i64::MAX).saturating_add(1);
        self.start + TimeDelta::seconds(self.block.as_seconds().max(1).saturating_mul(blocks))
    }

    /// The place of the block that ends at a moment; none for what ends before the first.
    pub fn place_of(&self, end: Time) -> Option<usize> {
        usize::try_from((end - self.start).num_seconds() / self.block.as_seconds().max(1) - 1).ok()
    }

    /// When the next block ends.
    pub fn next(&self) -> Time {
        self.end_of(self.values.len())
    }

    /// What is in each block, for `count` of them. Samples before the first or after the last are left out, as are blocks
    /// with fewer than `least` samples.
    fn gathered<S: Copy>(
        (start, block): (Time, Duration),
        count: usize,
        samples: impl IntoIterator<Item = (Time, S)>,
        least: usize,
        value: impl Fn(&[S]) -> Option<T>,
    ) -> Self {
        let length = block.as_seconds().max(1);
        let mut each: Vec<Vec<S>> = vec![Vec::new(); count];
        for (time, sample) in samples {
            let place = (time - start).num_seconds().div_euclid(length);
            if let Some(block) = usize::try_from(place).ok().and_then(|i| each.get_mut(i)) {
                block.push(sample);
            }
        }
        let filled = |seen: &Vec<S>| (seen.len() >= least.max(1)).then(|| value(seen)).flatten();
        Self { start, block, values: each.iter().map(filled).collect() }
    }
}

impl Blocks<f64> {
    /// The mean of the samples in each block. A sample that is not finite is none.
    pub fn means(
        grid: (Time, Duration),
        count: usize,
        samples: impl IntoIterator<Item = (Time, f64)>,
        least: usize,
    ) -> Self {
        let finite = samples.into_iter().filter(|(_, s)| s.is_finite());
        Self::gathered(grid, count, finite, least, |seen| Some(seen.iter().sum::<f64>() / seen.len() as f64))
    }

    /// The sum of the samples in each block. A missing sample looks like a drop: `least` should be all that can be there.
    pub fn sums(
        grid: (Time, Duration),
        count: usize,
        samples: impl IntoIterator<Item = (Time, f64)>,
        least: usize,
    ) -> Self {
        let finite = samples.into_iter().filter(|(_, s)| s.is_finite());
        Self::gathered(grid, count, finite, least, |seen| Some(seen.iter().sum()))
    }
}

impl Blocks<Count> {
    /// The events in each block. Those that are missing are missing in both, so any number of samples will do.
    pub fn counts(grid: (Time, Duration), count: usize, samples: impl IntoIterator<Item = (Time, Count)>) -> Self {
        let usable = samples.into_iter().filter(|(_, c)| c.bad.is_finite() && c.total.is_finite());
        Self::gathered(grid, count, usable, 1, |seen| Some(Count::sum(seen)))
    }
}

impl Count {
    /// All of them together.
    pub(super) fn sum<'a>(counts: impl IntoIterator<Item = &'a Count>) -> Count {
        let add = |sum: Count, c: &Count| Count { bad: sum.bad + c.bad, total: sum.total + c.total };
        counts.into_iter().fold(Count::default(), add)
    }

    /// A block with exposure; another says nothing.
    pub(super) fn seen(block: Option<Count>) -> Option<Count> {
        block.filter(|c| c.total > 0.0 && c.bad >= 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> Time {
        Time::from_timestamp(minutes * 60, 0).expect("a time")
    }

    const FIVE: Duration = Duration::seconds(300);

    #[test]
    fn samples_fall_into_their_block_or_into_none() {
        let samples = [(at(-1), 9.0), (at(0), 1.0), (at(4), 3.0), (at(5), 7.0), (at(11), f64::NAN), (at(15), 5.0)];
        let means = Blocks::means((at(0), FIVE), 3, samples, 1);
        assert_eq!(means.values, [Some(2.0), Some(7.0), None]);
        assert_eq!(Blocks::means((at(0), FIVE), 3, samples, 2).values, [Some(2.0), None, None]);
        assert_eq!(Blocks::sums((at(0), FIVE), 3, samples, 2).values, [Some(4.0), None, None]);
        let counted = samples.map(|(time, n)| (time, Count { bad: n, total: 10.0 }));
        let counts = Blocks::counts((at(0), FIVE), 2, counted);
        assert_eq!(counts.values, [Some(Count { bad: 4.0, total: 20.0 }), Some(Count { bad: 7.0, total: 10.0 })]);
    }

    #[test]
    fn no_block_straddles_the_flip() {
        let blocks = Blocks { start: at(0), block: FIVE, values: vec![Some(0), Some(1), None, Some(3)] };
        assert_eq!(blocks.split(at(10)), (&[Some(0), Some(1)][..], &[None, Some(3)][..]));
        assert_eq!(blocks.split(at(7)), (&[Some(0)][..], &[None, Some(3)][..]));
        assert_eq!(blocks.split(at(-3)), (&[][..], &blocks.values[..]));
        assert_eq!(blocks.split(at(90)), (&blocks.values[..], &[][..]));
    }

    #[test]
    fn stored_blocks_come_back_as_they_were() {
        let blocks = Blocks { start: at(10), block: FIVE, values: vec![Some(Count { bad: 1.0, total: 3.0 }), None] };
        let text = serde_json::to_string(&blocks).expect("JSON");
        assert_eq!(text, r#"{"start":"1970-01-01T00:10:00Z","block":"5m","values":[{"bad":1.0,"total":3.0},null]}"#);
        assert_eq!(serde_json::from_str::<Blocks<Count>>(&text).expect("blocks"), blocks);
    }
}
