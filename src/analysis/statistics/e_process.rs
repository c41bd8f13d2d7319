//! Evidence that events come more often, or less often, than they may: e-values, which may be looked at after every block.
//!
//! An e-value's expectation is at most one while the rate is within the limit, so by Ville's inequality it ever reaches
//! 1/a with probability a at most, however often it is looked at.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use serde::{Deserialize, Serialize};

use super::blocks::Count;

/// How many times more often events may come, for evidence of an increase.
pub const INCREASE: [f64; 8] = [1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0];

/// The same for a decrease.
pub const DECREASE: [f64; 5] = [0.9, 0.75, 0.5, 0.25, 0.1];

/// The same for an increase against an arm that runs beside.
pub const CONCURRENT: [f64; 6] = [1.25, 1.5, 2.0, 3.0, 5.0, 10.0];

/// Alternatives of equal weight.
#[derive(Clone, Debug)]
pub struct Grid {
    /// Each ratio with its logarithm.
    ratios: Vec<(f64, f64)>,
}

impl Grid {
    /// A grid of rate ratios, all above one or all below.
    pub fn new(ratios: &[f64]) -> Self {
        Self { ratios: ratios.iter().map(|r| (*r, r.ln())).collect() }
    }

    /// The logarithm of the e-value of `events` where at most (or, below one, at least) `expected` are allowed.
    ///
    /// # Units
    /// The mean over R of exp((N ln R − M (R − 1)) / dispersion), in log-space, so that nothing overflows. Valid for Poisson
    /// and Bernoulli counts; a dispersion of at least 1 keeps it valid (Jensen).
    pub fn log_e_value(&self, events: f64, expected: f64, dispersion: f64) -> f64 {
        log_mean_exp(self.exponents(events, expected, dispersion))
    }

    /// Whether the e-value reaches so much. No mean is above its largest part, so mostly no exponential is needed.
    pub(super) fn reaches(&self, log_threshold: f64, events: f64, expected: f64, dispersion: f64) -> bool {
        self.exponents(events, expected, dispersion).any(|e| e >= log_threshold)
            && self.log_e_value(events, expected, dispersion) >= log_threshold
    }

    fn exponents(&self, events: f64, expected: f64, dispersion: f64) -> impl Iterator<Item = f64> + Clone {
        self.ratios.iter().map(move |(ratio, log)| (events * log - expected * (ratio - 1.0)) / dispersion)
    }

    /// The rate at which `events` in `exposure` would just be evidence: those on its one side are refuted. For an increasing
    /// grid a lower bound of the rate, for a decreasing one an upper bound; it holds at every look.
    pub(super) fn refuted(&self, log_threshold: f64, events: f64, exposure: f64, dispersion: f64) -> f64 {
        let increasing = self.ratios.iter().all(|(ratio, _)| *ratio > 1.0);
        let (mut low, mut high) = (0.0, (events + 1.0) / exposure * if increasing { 1.0 } else { 1e6 });
        for _ in 0..80 {
            let rate = f64::midpoint(low, high);
            if self.reaches(log_threshold, events, rate * exposure, dispersion) == increasing {
                low = rate;
            } else {
                high = rate;
            }
        }
        if increasing { low } else { high }
    }

    /// What one block of two arms adds to the logarithm of each alternative, where events may come `allowed` times as
    /// often in the first arm as in the second: given their sum, how they fall on the arms is binomial.
    ///
    /// # Source
    /// Lindon and Malek, Anytime-valid inference for multinomial count data (NeurIPS 2022), with a grid instead of a Beta
    /// prior, so that shares may differ from block to block.
    pub fn conditional(&self, arms: (Count, Count), allowed: f64) -> impl Iterator<Item = f64> {
        let (first, second) = arms;
        let weight = allowed * first.total;
        self.ratios.iter().map(move |(ratio, log)| {
            let shift = ((weight + second.total) / (weight * ratio + second.total)).ln();
            first.bad * log + (first.bad + second.bad) * shift
        })
    }
}

/// The logarithm of the mean of exponentials.
pub fn log_mean_exp(exponents: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = exponents.clone().fold(f64::NEG_INFINITY, f64::max);
    if largest == f64::NEG_INFINITY {
        return largest;
    }
    let (sum, count) = exponents.fold((0.0, 0.0), |(sum, count), e| (sum + (e - largest).exp(), count + 1.0));
    largest + (sum / count).ln()
}

/// Pearson's dispersion of counts around their common rate: 1 for Poisson counts, more where they come in bursts.
///
/// `dropped` of the blocks, those with the largest excess over the common rate, are left out first. Nothing where fewer than
/// two are left, or none of them has an event.
pub fn dispersion(counts: &[Count], dropped: usize) -> Option<f64> {
    let rate = |counts: &[Count]| {
        let sum = Count::sum(counts);
        sum.bad / sum.total
    };
    let overall = rate(counts);
    let mut kept = counts.to_vec();
    kept.sort_by(|a, b| (a.bad - overall * a.total).total_cmp(&(b.bad - overall * b.total)));
    kept.truncate(counts.len().saturating_sub(dropped));
    let rate = rate(&kept);
    if kept.len() < 2 || rate.is_nan() || rate <= 0.0 {
        return None;
    }
    let squares: f64 = kept.iter().map(|c| (c.bad - rate * c.total).powi(2) / (rate * c.total)).sum();
    Some(squares / (kept.len() as f64 - 1.0))
}

/// A sum of blocks from which the largest are left out: `blocks` of them, and a `fraction` of all.
///
/// # Source
/// Whatever a few bursts did, they cannot be the evidence. With equal exposures the trimmed e-value reaches no level
/// that the whole one has not reached one block before, so that what bounds the latter bounds the former.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trim {
    /// So many in any case.
    pub blocks: usize,
    /// And this part of all blocks, rounded down.
    pub fraction: f64,
}

/// The sum, block by block.
#[derive(Clone, Debug, Default)]
pub(super) struct Trimmed {
    kept: BinaryHeap<Ranked>,
    dropped: BinaryHeap<Reverse<Ranked>>,
    sum: Count,
}

impl Trimmed {
    /// Takes in a block whose `excess` over what is allowed decides whether it counts.
    pub fn push(&mut self, trim: Trim, excess: f64, count: Count) {
        // The least of those and the newcomer counts; then as many as must be left out are, from the top.
        self.dropped.push(Reverse(Ranked { excess, count }));
        if let Some(Reverse(least)) = self.dropped.pop() {
            self.sum = Count::sum([&self.sum, &least.count]);
            self.kept.push(least);
        }
        let out = trim.blocks + (trim.fraction * self.blocks() as f64).floor() as usize;
        while self.dropped.len() < out {
            let Some(most) = self.kept.pop() else { break };
            self.sum = Count { bad: self.sum.bad - most.count.bad, total: self.sum.total - most.count.total };
            self.dropped.push(Reverse(most));
        }
    }

    /// How many were taken in.
    pub fn blocks(&self) -> usize {
        self.kept.len() + self.dropped.len()
    }

    /// What counts.
    pub fn sum(&self) -> Count {
        self.sum
    }
}

#[derive(Clone, Copy, Debug)]
struct Ranked {
    excess: f64,
    count: Count,
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        self.excess.total_cmp(&other.excess)
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Ranked {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn close(found: f64, wanted: f64) {
        assert!((found / wanted - 1.0).abs() < 1e-6, "{found}, not {wanted}");
    }

    #[test]
    fn e_values_as_in_the_table() {
        let increase = Grid::new(&INCREASE);
        for (events, expected, dispersion, wanted) in [
            (5.0, 6.0, 1.0, 0.142_477_87),
            (12.0, 6.0, 1.0, 2.891_766_6),
            (15.0, 6.0, 1.0, 24.835_22),
            (18.0, 6.0, 1.0, 407.519_98),
            (30.0, 6.0, 1.0, 4.553_740_4e9),
            (0.0, 6.0, 1.0, 0.034_425_266),
            (6.0, 0.6, 1.0, 864.622_36),
            (45.0, 30.0, 1.0, 5.209_528),
            (60.0, 30.0, 1.0, 14_983.214),
            (12.0, 6.0, 2.0, 1.179_114_4),
            (18.0, 6.0, 2.0, 12.297_479),
            (30.0, 6.0, 2.0, 28_336.994),
            (60.0, 30.0, 2.0, 59.097_33),
        ] {
            close(increase.log_e_value(events, expected, dispersion).exp(), wanted);
        }
        let decrease = Grid::new(&DECREASE);
        for (events, expected, wanted) in
            [(80.0, 100.0, 2.419_743_7), (70.0, 100.0, 29.501_68), (60.0, 100.0, 1_366.589_2), (0.0, 10.0, 2_014.888_1)]
        {
            close(decrease.log_e_value(events, expected, 1.0).exp(), wanted);
        }
        assert!(increase.log_e_value(1e7, 1.0, 1.0).is_finite(), "no overflow");
    }

    fn conditional(arms: &[(f64, f64, f64)], allowed: f64) -> f64 {
        let grid = Grid::new(&CONCURRENT);
        let mut sums = [0.0; CONCURRENT.len()];
        for (first, second, exposure) in arms {
            let pair = (Count { bad: *first, total: *exposure }, Count { bad: *second, total: 9.0 * exposure });
            sums.iter_mut().zip(grid.conditional(pair, allowed)).for_each(|(sum, add)| *sum += add);
        }
        log_mean_exp(sums.iter().copied()).exp()
    }

    #[test]
    fn conditional_e_values_as_in_the_table() {
        let arms = [(3.0, 9.0, 1_000.0), (4.0, 8.0, 1_200.0), (6.0, 10.0, 900.0)];
        close(conditional(&arms, 1.0), 519.116_97);
        close(conditional(&arms, 1.5), 23.653_255);
        close(conditional(&[(1.0, 9.0, 1_000.0); 3], 1.0), 0.381_569_69);
        // With constant shares three blocks are one of three times as much.
        close(conditional(&[(3.0, 27.0, 3_000.0)], 1.0), 0.381_569_69);
    }

    #[test]
    fn dispersion_as_in_the_table() {
        let counts = [3.0, 1.0, 4.0, 2.0, 30.0, 3.0, 2.0, 0.0, 5.0, 2.0].map(|bad| Count { bad, total: 3_000.0 });
        close(dispersion(&counts, 0).expect("events"), 14.991_453);
        close(dispersion(&counts, 1).expect("events"), 0.931_818_18);
        assert_eq!(dispersion(&counts, 9), None);
        assert_eq!(dispersion(&[Count { bad: 0.0, total: 5.0 }; 4], 0), None);
    }

    #[test]
    fn refuted_rates_are_those_at_which_the_evidence_just_suffices() {
        for (grid, events) in [(Grid::new(&INCREASE), 40.0), (Grid::new(&DECREASE), 40.0), (Grid::new(&DECREASE), 0.0)]
        {
            let rate = grid.refuted(100.0_f64.ln(), events, 1_000.0, 1.5);
            assert!((grid.log_e_value(events, rate * 1_000.0, 1.5) - 100.0_f64.ln()).abs() < 1e-6, "{rate}");
        }
        assert!(Grid::new(&INCREASE).refuted(100.0_f64.ln(), 0.0, 1_000.0, 1.0) < 1e-9, "no event refutes no rate");
    }

    proptest! {
        #[test]
        fn trimmed_block_by_block_equals_sorting_them_all(bads in proptest::collection::vec(0_u16..500, 1..120)) {
            let trim = Trim { blocks: 2, fraction: 0.05 };
            let mut trimmed = Trimmed::default();
            for (i, bad) in bads.iter().enumerate() {
                let count = Count { bad: f64::from(*bad), total: 1_000.0 };
                trimmed.push(trim, count.bad, count);
                let mut sorted = bads.get(..=i).expect("a prefix").to_vec();
                sorted.sort_unstable();
                sorted.truncate((i + 1).saturating_sub(2 + (i + 1) / 20));
                let wanted: u64 = sorted.iter().map(|b| u64::from(*b)).sum();
                prop_assert_eq!(trimmed.sum().bad as u64, wanted);
                prop_assert_eq!(trimmed.sum().total as usize, sorted.len() * 1_000);
            }
        }

        /// The expectation under the limit itself is at most one, summed over all counts of a Poisson variable.
        #[test]
        fn the_expectation_is_at_most_one(allowed in 0.1..30.0_f64, part in 0.0..1.0_f64, dispersion in 1.0..5.0_f64) {
            let expectation = |grid: &Grid, mean: f64| {
                let mut log_p = -mean;
                (0..400).map(|k| {
                    let k = f64::from(k);
                    let term = (log_p + grid.log_e_value(k, allowed, dispersion)).exp();
                    log_p += mean.ln() - (k + 1.0).ln();
                    term
                }).sum::<f64>()
            };
            // Not the whole grid: at R = 50 the expectation stands on counts far beyond those that are summed.
            prop_assert!(expectation(&Grid::new(&[1.25, 2.0, 3.0]), allowed * part.max(0.01)) <= 1.0 + 1e-9);
            prop_assert!(expectation(&Grid::new(&DECREASE), allowed * (1.0 + part)) <= 1.0 + 1e-9);
        }
    }
}
