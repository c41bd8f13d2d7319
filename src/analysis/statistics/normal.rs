//! The standard normal distribution.

use std::f64::consts::{PI, SQRT_2};

use statrs::function::erf::{erfc, erfc_inv};

/// Its density.
pub(super) fn density(z: f64) -> f64 {
    (-0.5 * z * z).exp() / (2.0 * PI).sqrt()
}

/// The probability of a value above `z`.
pub(super) fn survival(z: f64) -> f64 {
    0.5 * erfc(z / SQRT_2)
}

/// The value that is exceeded with probability `p`.
pub(super) fn upper_quantile(p: f64) -> f64 {
    SQRT_2 * erfc_inv(2.0 * p)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_as_in_every_table() {
        for (p, z) in [(0.025, 1.959_963_984_540_054), (0.005, 2.575_829_303_548_901), (0.000_833_333, 3.143_980_6)] {
            assert!((upper_quantile(p) / z - 1.0).abs() < 1e-6, "{p}");
            let back = survival(upper_quantile(p));
            assert!((back / p - 1.0).abs() < 1e-9, "{p}: {back}");
        }
        assert!((density(1.0) - 0.241_970_724_519_143_37).abs() < 1e-15);
    }
}
