//! How large a binomial proportion may be, and how small.

use statrs::function::beta::checked_beta_reg;
use statrs::function::gamma::ln_gamma;

/// More steps than bisection alone needs to reach the last bit that matters.
const MOST_STEPS: usize = 200;

/// The one-sided Clopper–Pearson lower bound of a proportion.
///
/// # Units
/// `bad` events of `total`, both at least 0; parts of an event are allowed, since counts may be divided by their
/// dispersion. With probability `1 − alpha` at least, the proportion is not below the bound.
///
/// # Source
/// Clopper and Pearson, Biometrika 26 (1934): the `alpha` quantile of Beta(k, n − k + 1).
pub fn lower_bound(bad: f64, total: f64, alpha: f64) -> f64 {
    if bad <= 0.0 { 0.0 } else { beta_quantile(alpha, bad, (total - bad).max(0.0) + 1.0) }
}

/// The one-sided Clopper–Pearson upper bound: the `1 − alpha` quantile of Beta(k + 1, n − k). See [`lower_bound`].
pub fn upper_bound(bad: f64, total: f64, alpha: f64) -> f64 {
    if bad >= total { 1.0 } else { beta_quantile(1.0 - alpha, bad + 1.0, total - bad) }
}

/// Where the regularised incomplete beta function is `p`: Newton's steps, halved where one would leave the bracket.
fn beta_quantile(p: f64, a: f64, b: f64) -> f64 {
    let ln_beta = ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b);
    let (mut low, mut high) = (0.0, 1.0);
    let mut x = a / (a + b);
    for _ in 0..MOST_STEPS {
        let above = checked_beta_reg(a, b, x).unwrap_or(1.0) - p;
        if above > 0.0 {
            high = x;
        } else {
            low = x;
        }
        let slope = ((a - 1.0) * x.ln() + (b - 1.0) * (-x).ln_1p() - ln_beta).exp();
        let newton = x - above / slope;
        let next = if newton > low && newton < high { newton } else { f64::midpoint(low, high) };
        if (next - x).abs() <= 1e-13 * x {
            return next;
        }
        x = next;
    }
    x
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The table has six significant digits, and some bounds fewer.
    fn close(found: f64, wanted: f64, what: &str) {
        assert!((found / wanted - 1.0).abs() < 1e-5, "{what}: {found}, not {wanted}");
    }

    #[test]
    fn bounds_as_in_the_table() {
        for (bad, total, alpha, lower, upper) in [
            (1.0, 10.0, 0.05, 0.005_116_2, 0.394_163),
            (5.0, 100.0, 0.05, 0.019_905_6, 0.102_253),
            (10.0, 100.0, 0.05, 0.055_263_2, 0.163_718),
            (1.0, 10.0, 0.01, 0.001_004_53, 0.504_353),
            (5.0, 100.0, 0.01, 0.012_968_9, 0.125_852),
            (300.0, 5_000.0, 0.01, 0.052_437_7, 0.068_267_7),
        ] {
            close(lower_bound(bad, total, alpha), lower, "lower");
            close(upper_bound(bad, total, alpha), upper, "upper");
        }
        close(upper_bound(0.0, 10.0, 0.05), 0.258_866, "none of ten");
        assert!(lower_bound(0.0, 10.0, 0.05) == 0.0 && (upper_bound(10.0, 10.0, 0.05) - 1.0).abs() < 1e-15);
    }

    /// No failure in so many tries shows a rate below `p`: (1 − p)^n is the probability of none.
    #[test]
    fn zero_failures_need_so_many_tries() {
        let rates = [0.05, 0.01, 0.005, 0.001];
        for (alpha, tries) in [(0.05, [59.0, 299.0, 598.0, 2_995.0]), (0.01, [90.0, 459.0, 919.0, 4_603.0])] {
            for (n, p) in tries.into_iter().zip(rates) {
                assert!(upper_bound(0.0, n, alpha) < p && upper_bound(0.0, n - 1.0, alpha) >= p, "{n} for {p}");
            }
        }
    }

    /// The probability of at least `k` of `n`, summed term by term.
    fn tail(k: u32, n: u32, p: f64) -> f64 {
        let term = |i: u32| {
            let (i, n) = (f64::from(i), f64::from(n));
            (ln_gamma(n + 1.0) - ln_gamma(i + 1.0) - ln_gamma(n - i + 1.0) + i * p.ln() + (n - i) * (-p).ln_1p()).exp()
        };
        (k..=n).map(term).sum()
    }

    /// A day of counts: hundreds of thousands of events, where a continued fraction converges slowly.
    #[test]
    fn bounds_of_large_counts_keep_their_promise() {
        for (bad, total, alpha) in
            [(864, 864_000, 0.005), (43_200, 864_000, 0.005), (400_000, 864_000, 0.000_5), (9, 8_640, 0.005)]
        {
            let lower = lower_bound(f64::from(bad), f64::from(total), alpha);
            let upper = upper_bound(f64::from(bad), f64::from(total), alpha);
            assert!(
                (tail(bad, total, lower) / alpha - 1.0).abs() < 1e-6,
                "lower of {bad}: {}",
                tail(bad, total, lower)
            );
            let below = 1.0 - tail(bad + 1, total, upper);
            assert!((below / alpha - 1.0).abs() < 1e-6, "upper of {bad}: {below}");
        }
    }

    proptest! {
        #[test]
        fn bounds_enclose_the_proportion(total in 1_u32..100_000, part in 0.0..1.0_f64, alpha in 1e-6..0.5_f64) {
            let (bad, total) = ((f64::from(total) * part).floor(), f64::from(total));
            let (lower, upper) = (lower_bound(bad, total, alpha), upper_bound(bad, total, alpha));
            prop_assert!((0.0..=bad / total).contains(&lower) && (bad / total..=1.0).contains(&upper), "{lower} {upper}");
        }
    }
}
