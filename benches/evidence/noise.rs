//! What makes a service wander: noise that lasts, the time of day, bursts.

use std::f64::consts::TAU;

use rand::RngExt;
use rand_distr::{Distribution, Poisson, StandardNormal};
use rand_pcg::Pcg64;

/// The minutes of a day.
pub const DAY: usize = 1_440;

/// A draw from the standard normal distribution.
pub fn normal(random: &mut Pcg64) -> f64 {
    StandardNormal.sample(random)
}

/// A draw from a Poisson distribution.
pub fn poisson(random: &mut Pcg64, mean: f64) -> f64 {
    if mean > 0.0 { Poisson::new(mean).expect("a mean").sample(random) } else { 0.0 }
}

/// The phase of the day, −1 in the dead of night and 1 at its height.
pub fn sun(clock: usize) -> f64 {
    ((clock as f64 - 600.0) / DAY as f64 * TAU).sin()
}

/// First-order autoregression with this time constant (minutes) or correlation, and standard deviation 1.
pub struct Wander {
    keep: f64,
    at: f64,
}

impl Wander {
    pub fn new(keep: f64, random: &mut Pcg64) -> Wander {
        Wander { keep, at: normal(random) }
    }

    pub fn step(&mut self, random: &mut Pcg64) -> f64 {
        self.at = self.keep * self.at + (1.0 - self.keep * self.keep).sqrt() * normal(random);
        self.at
    }
}

/// Bursts: begun in one of 360 minutes, each going on with probability 2/3, for 12 minutes at most.
#[derive(Default)]
pub struct Bursts {
    since: usize,
}

impl Bursts {
    pub fn step(&mut self, random: &mut Pcg64) -> bool {
        let on = if self.since == 0 {
            random.random::<f64>() < 1.0 / 360.0
        } else {
            self.since < 12 && random.random::<f64>() < 2.0 / 3.0
        };
        self.since = if on { self.since + 1 } else { 0 };
        on
    }
}
