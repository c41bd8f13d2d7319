//! The Mann–Whitney test: whether values of one sample tend to be larger than those of another.

use super::normal::survival;

/// The largest product of the sizes for which the distribution of U is counted out.
const EXACT_UP_TO: usize = 400;

/// Two samples, ranked together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RankSum {
    /// How many pairs the first sample wins; a tie is half a win.
    pub u: f64,
    sizes: (usize, usize),
    /// The sum of t³ − t over groups of t equal values.
    ties: f64,
    /// How many values are not alone.
    tied: usize,
}

impl RankSum {
    /// Ranks `first` against `second`, of finite values.
    pub fn new(first: &[f64], second: &[f64]) -> Self {
        // Adding a zero makes −0 equal to 0.
        let mut all: Vec<(f64, bool)> = first.iter().map(|x| (x + 0.0, true)).collect();
        all.extend(second.iter().map(|y| (y + 0.0, false)));
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (mut ranks, mut before, mut ties, mut tied) = (0.0, 0.0, 0.0, 0);
        for group in all.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq()) {
            let size = group.len() as f64;
            ranks +=
                group.iter().filter(|(_, of_first)| *of_first).count() as f64 * f64::midpoint(2.0 * before, size + 1.0);
            before += size;
            ties += size * size * size - size;
            tied += if group.len() > 1 { group.len() } else { 0 };
        }
        let n = first.len() as f64;
        Self { u: ranks - n * (n + 1.0) / 2.0, sizes: (first.len(), second.len()), ties, tied }
    }

    /// The part of all values that have an equal.
    pub fn tied(&self) -> f64 {
        self.tied as f64 / (self.sizes.0 + self.sizes.1).max(1) as f64
    }

    /// The probability of such a U or a larger one where both samples come from one distribution: counted out where
    /// that is feasible and nothing is tied, by the normal approximation elsewhere.
    pub fn p_greater(&self) -> f64 {
        if self.tied == 0 && self.sizes.0 * self.sizes.1 <= EXACT_UP_TO { self.exact() } else { self.asymptotic() }
    }

    /// The normal approximation, with the correction for ties and a continuity correction of one half.
    pub fn asymptotic(&self) -> f64 {
        let (n, m) = (self.sizes.0 as f64, self.sizes.1 as f64);
        let all = n + m;
        let variance = n * m / 12.0 * (all + 1.0 - self.ties / (all * (all - 1.0)));
        // NaN for samples that are all equal: nothing can be said.
        if variance > 0.0 { survival((self.u - n * m / 2.0 - 0.5) / variance.sqrt()) } else { 1.0 }
    }

    /// The exact probability, of all ways in which untied values can fall.
    ///
    /// # Source
    /// Mann and Whitney, Ann. Math. Stat. 18 (1947): f(n, m, u) = f(n − 1, m, u − m) + f(n, m − 1, u). Nothing is
    /// subtracted, so the small probabilities are exact too.
    pub fn exact(&self) -> f64 {
        let (n, m) = self.sizes;
        // ways[j]: the distribution for the present size of the first sample, and j of the second.
        let mut ways: Vec<Vec<f64>> = vec![vec![1.0]; m + 1];
        for i in 1..=n {
            let mut left = vec![1.0];
            for (j, fewer) in ways.iter_mut().enumerate().skip(1) {
                let mut now = vec![0.0; i * j + 1];
                now.iter_mut().skip(j).zip(fewer.iter()).for_each(|(to, w)| *to += w);
                now.iter_mut().zip(&left).for_each(|(to, w)| *to += w);
                fewer.clone_from(&now);
                left = now;
            }
        }
        let last = ways.last().map(Vec::as_slice).unwrap_or_default();
        let at_least: f64 = last.iter().skip(self.u.ceil().max(0.0) as usize).sum();
        at_least / last.iter().sum::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wave(level: f64, pace: f64, from: f64) -> Vec<f64> {
        (1..=30).map(|i| level + 10.0 * (pace * f64::from(i) + from).sin()).collect()
    }

    fn close(found: f64, wanted: f64, within: f64) {
        assert!((found / wanted - 1.0).abs() < within, "{found}, not {wanted}");
    }

    struct Case {
        first: Vec<f64>,
        second: Vec<f64>,
        u: f64,
        /// Two-sided and greater, where nothing is tied.
        exact: Option<(f64, f64)>,
        asymptotic: (f64, f64),
    }

    fn cases() -> Vec<Case> {
        let (base, b, c) = (wave(100.0, 1.0, 0.0), wave(105.0, 1.3, 0.5), wave(112.0, 1.3, 0.5));
        let case = |first: &[f64], second: &[f64], u, exact, asymptotic| Case {
            first: first.to_vec(),
            second: second.to_vec(),
            u,
            exact,
            asymptotic,
        };
        let hundreds = [[100.0; 7].as_slice(), &[1.0; 3]].concat();
        vec![
            case(
                &[1.1, 2.2, 3.3, 4.4, 5.5],
                &[2.0, 3.1, 4.2, 5.3, 6.4],
                10.0,
                Some((0.690_476_190_5, 0.726_190_476_2)),
                (0.676_103_314_0, 0.734_565_348_0),
            ),
            case(
                &b,
                &base,
                628.0,
                Some((0.008_007_792_236, 0.004_003_896_118)),
                (0.008_684_371_229, 0.004_342_185_615),
            ),
            case(&c, &base, 772.0, Some((4.215_033_738e-7, 2.107_516_869e-7)), (2.002_292_702e-6, 1.001_146_351e-6)),
            case(&hundreds, &[1.0; 10], 85.0, None, (0.001_616_772_831, 0.000_808_386_415_3)),
            case(
                &[0.0, 0.048, 0.0, 0.18, 0.089, 0.0, 0.098, 0.035, 0.0, 0.0],
                &[0.0; 10],
                75.0,
                None,
                (0.014_931_389_58, 0.007_465_694_789),
            ),
            case(
                &[3.0, 4.0, 4.0, 5.0, 6.0, 7.0, 7.0, 8.0],
                &[2.0, 2.0, 3.0, 4.0, 4.0, 5.0, 5.0, 6.0],
                48.0,
                None,
                (0.098_982_266_46, 0.049_491_133_23),
            ),
        ]
    }

    #[test]
    fn statistics_as_in_the_table() {
        for case in cases() {
            let greater = RankSum::new(&case.first, &case.second);
            let less = RankSum::new(&case.second, &case.first);
            close(greater.u, case.u, 1e-12);
            let two_sided = |p: fn(&RankSum) -> f64| 2.0 * p(&greater).min(p(&less));
            close(two_sided(RankSum::asymptotic), case.asymptotic.0, 1e-8);
            close(greater.asymptotic(), case.asymptotic.1, 1e-8);
            if let Some((two, one)) = case.exact {
                close(two_sided(RankSum::exact), two, 1e-8);
                close(greater.exact(), one, 1e-8);
            } else {
                assert!(greater.tied() > 0.0);
            }
        }
    }

    #[test]
    fn a_margin_is_divided_out_before_ranking() {
        let (base, c) = (wave(100.0, 1.0, 0.0), wave(112.0, 1.3, 0.5));
        for (margin, u, p) in [(0.05, 668.0, 6.508_322_5e-4), (0.10, 539.0, 0.095_365_167), (0.15, 347.0, 0.937_014_9)]
        {
            let shrunk: Vec<f64> = c.iter().map(|x| x / (1.0 + margin)).collect();
            let ranked = RankSum::new(&shrunk, &base);
            close(ranked.u, u, 1e-12);
            close(ranked.p_greater(), p, 1e-7);
        }
    }

    #[test]
    fn equal_values_say_nothing() {
        let same = RankSum::new(&[2.0; 5], &[2.0; 7]);
        assert!((same.tied() - 1.0).abs() < 1e-15 && (same.p_greater() - 1.0).abs() < 1e-15);
    }

    proptest! {
        #[test]
        fn both_ways_share_all_pairs(
            first in proptest::collection::vec(0_u8..20, 1..30),
            second in proptest::collection::vec(0_u8..20, 1..30),
        ) {
            let floats = |all: &[u8]| all.iter().map(|x| f64::from(*x)).collect::<Vec<_>>();
            let (one, other) = (floats(&first), floats(&second));
            let pairs = (one.len() * other.len()) as f64;
            let both = RankSum::new(&one, &other).u + RankSum::new(&other, &one).u;
            prop_assert!((both - pairs).abs() < 1e-9, "{} of {}", both, pairs);
        }
    }
}
