//! Bounds of a mean that hold at every look, not at one that was planned.

/// The number of blocks at which the sequence is made tightest: an hour of five minutes.
pub const TIGHTEST_AT: f64 = 12.0;

/// The half-width, in standard deviations of one block, of an asymptotic confidence sequence after `blocks` of them.
///
/// # Units
/// With probability `1 − alpha` the mean lies within the bounds after every number of blocks at once; `tightest_at` is
/// the number at which they are narrowest.
///
/// # Source
/// Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, Time-uniform central limit theory and asymptotic confidence
/// sequences (arXiv 2103.06476), the two-sided Robbins boundary.
pub fn half_width(blocks: f64, alpha: f64, tightest_at: f64) -> f64 {
    Robbins::new(alpha, tightest_at).half_width(blocks)
}

/// The boundary for one alpha, to be asked for many numbers of blocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Robbins {
    scale: f64,
    log_alpha: f64,
}

impl Robbins {
    pub fn new(alpha: f64, tightest_at: f64) -> Self {
        Self { scale: mixture_scale(alpha, tightest_at), log_alpha: alpha.ln() }
    }

    pub fn half_width(self, blocks: f64) -> f64 {
        let grown = blocks * self.scale + 1.0;
        (2.0 * grown * (0.5 * grown.ln() - self.log_alpha) / (blocks * blocks * self.scale)).sqrt()
    }
}

/// The mixture's ρ²: (−W₋₁(−alpha²/e) − 1) / n*, of Lambert's W. With x = ρ² n* that is the root of
/// x − ln(1 + x) = −2 ln alpha, a convex function, which Newton's steps approach from above.
fn mixture_scale(alpha: f64, tightest_at: f64) -> f64 {
    let wanted = -2.0 * alpha.ln();
    let mut x = 2.0 * wanted + 1.0;
    for _ in 0..32 {
        let next = x - (x - x.ln_1p() - wanted) * (1.0 + x) / x;
        if (x - next).abs() <= 1e-15 * x {
            break;
        }
        x = next;
    }
    x / tightest_at
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn close(found: f64, wanted: f64) {
        assert!((found / wanted - 1.0).abs() < 1e-6, "{found}, not {wanted}");
    }

    #[test]
    fn scales_as_in_the_table() {
        for (alpha, wanted) in [(0.05, 0.684_330_67), (0.01, 0.979_697_60), (0.005, 1.104_470_6)] {
            close(mixture_scale(alpha, 12.0), wanted);
        }
        close(mixture_scale(0.01, 48.0), 0.244_924_4);
    }

    #[test]
    fn half_widths_as_in_the_table() {
        let blocks = [3.0, 6.0, 12.0, 48.0, 288.0, 864.0];
        let at = |alpha, wanted: [f64; 6]| {
            for (n, wanted) in blocks.into_iter().zip(wanted) {
                close(half_width(n, alpha, 12.0), wanted);
            }
        };
        at(0.01, [2.174_203_3, 1.473_862_0, 1.031_033_9, 0.527_578_26, 0.227_524_27, 0.135_961_21]);
        at(0.05, [1.877_023_3, 1.256_858_7, 0.876_164_37, 0.451_916_26, 0.198_408_66, 0.119_781_55]);
        for (n, wanted) in [(12.0, 1.087_101_7), (48.0, 0.515_516_96), (288.0, 0.217_878_68)] {
            close(half_width(n, 0.01, 48.0), wanted);
        }
    }

    proptest! {
        #[test]
        fn more_blocks_and_a_larger_alpha_are_never_wider(n in 1_usize..5_000, alpha in 1e-6..0.2_f64) {
            let n = n as f64;
            prop_assert!(half_width(n + 1.0, alpha, 12.0) < half_width(n, alpha, 12.0));
            prop_assert!(half_width(n, alpha * 1.5, 12.0) < half_width(n, alpha, 12.0));
        }
    }
}
