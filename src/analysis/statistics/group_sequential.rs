//! Critical values for a few looks that are planned beforehand.

use serde::{Deserialize, Serialize};

use super::normal::{density, upper_quantile};

/// Nodes of the quadrature. With 100 looks they still lie closer together than the density that they integrate.
const NODES: usize = 64;

/// How the probability of a false alarm is spent over the looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Boundary {
    /// The same critical value at each look (Pocock, Biometrika 64, 1977).
    Pocock,
    /// Little at first, most at the end (O'Brien and Fleming, Biometrics 35, 1979).
    OBrienFleming,
}

impl Boundary {
    /// The critical value of z at each of so many equally spaced looks, two-sided.
    ///
    /// # Source
    /// The constants are computed, by the recursion of Armitage, McPherson and Rowe (J. R. Stat. Soc. A 132, 1969).
    pub fn critical_values(self, looks: usize, alpha: f64) -> Vec<f64> {
        let looks = looks.max(1);
        let shape = |constant: f64| -> Vec<f64> {
            let at = |k: usize| match self {
                Self::Pocock => constant,
                Self::OBrienFleming => constant * (looks as f64 / k as f64).sqrt(),
            };
            (1..=looks).map(at).collect()
        };
        // One look needs less than any plan, Bonferroni's division more.
        let (mut low, mut high) = (upper_quantile(alpha / 2.0), upper_quantile(alpha / 2.0 / looks as f64));
        for _ in 0..40 {
            let middle = f64::midpoint(low, high);
            if crossing(&shape(middle)) > alpha {
                low = middle;
            } else {
                high = middle;
            }
            if high - low < 1e-7 {
                break;
            }
        }
        shape(high)
    }
}

/// The probability that |z| of a growing sum of standard normal steps is above its bound at any of the equally spaced looks.
pub fn crossing(bounds: &[f64]) -> f64 {
    let rule = gauss_legendre();
    // The density of the sum over what has not crossed yet, at each node, times the node's weight.
    let mut before: Vec<(f64, f64)> = vec![(0.0, 1.0)];
    for (k, bound) in bounds.iter().enumerate() {
        let edge = bound * ((k + 1) as f64).sqrt();
        let arrive = |(node, weight): &(f64, f64)| {
            let at = node * edge;
            let mass: f64 = before.iter().map(|(from, mass)| mass * density(at - from)).sum();
            (at, mass * weight * edge)
        };
        before = rule.iter().map(arrive).collect();
    }
    1.0 - before.iter().map(|(_, mass)| mass).sum::<f64>()
}

/// Nodes and weights of the Gauss–Legendre rule over −1 to 1: roots of the Legendre polynomial, by Newton's steps.
fn gauss_legendre() -> Vec<(f64, f64)> {
    let n = NODES as f64;
    let node = |i: usize| {
        let mut x = (std::f64::consts::PI * (i as f64 + 0.75) / (n + 0.5)).cos();
        let mut slope = 1.0;
        for _ in 0..8 {
            let (mut last, mut value) = (1.0, x);
            for k in 2..=NODES {
                let k = k as f64;
                (last, value) = (value, ((2.0 * k - 1.0) * x * value - (k - 1.0) * last) / k);
            }
            slope = n * (x * value - last) / (x * x - 1.0);
            x -= value / slope;
        }
        (x, 2.0 / ((1.0 - x * x) * slope * slope))
    };
    (0..NODES).map(node).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table is given to four decimals.
    #[test]
    fn constants_as_in_the_table() {
        let looks = [3, 5, 10, 24];
        for (boundary, alpha, wanted) in [
            (Boundary::Pocock, 0.05, [2.2895, 2.4132, 2.5550, 2.6993]),
            (Boundary::OBrienFleming, 0.05, [2.0040, 2.0401, 2.0865, 2.1346]),
            (Boundary::Pocock, 0.01, [2.8730, 2.9863, 3.1169, 3.2499]),
            (Boundary::OBrienFleming, 0.01, [2.5949, 2.6212, 2.6599, 2.7034]),
        ] {
            for (k, wanted) in looks.into_iter().zip(wanted) {
                let last = boundary.critical_values(k, alpha).last().copied().expect("a look");
                assert!((last - wanted).abs() < 1e-4, "{boundary:?} {alpha} {k}: {last}, not {wanted}");
            }
        }
        let falling = Boundary::OBrienFleming.critical_values(4, 0.05);
        assert!(falling.is_sorted_by(|a, b| a > b) && falling.len() == 4, "{falling:?}");
    }

    /// The price of looking again: a nominal 5 % test after every equal part.
    #[test]
    fn repeated_looks_as_in_the_table() {
        for (looks, wanted) in
            [(1, 0.05), (2, 0.0831), (3, 0.1073), (5, 0.1417), (10, 0.1934), (24, 0.2624), (50, 0.3205), (100, 0.3736)]
        {
            let found = crossing(&vec![1.959_964; looks]);
            assert!((found - wanted).abs() < 6e-5, "{looks}: {found}, not {wanted}");
        }
    }
}
