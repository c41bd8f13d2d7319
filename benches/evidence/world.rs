//! Services as they behave: days and nights, slow drift, noise that lasts minutes, few or many requests, bursts, restarts, and
//! minutes that nobody saw. The parameters are plausible, not measured anywhere.

use hoist::analysis::statistics::Count;
use rand::RngExt;
use rand_distr::{Binomial, Distribution};
use rand_pcg::Pcg64;

pub use crate::noise::DAY;
use crate::noise::{Bursts, Wander, normal, poisson, sun};

/// How much of the past there is.
pub const HISTORY: usize = 8 * DAY;

/// The mean 95th percentile, in seconds.
const LEVEL: f64 = 0.120;
/// The standard deviation of the logarithm of a 95th percentile of one lognormal (0.6) request.
const OF_ONE_REQUEST: f64 = 1.268;

/// What happens to the service.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// How far nights and days are from the mean, of the logarithm.
    pub season: f64,
    /// How far it drifts within days.
    pub drift: f64,
    /// Requests a minute.
    pub requests: f64,
    pub bursts: bool,
    /// The flip restarts the pods.
    pub restart: bool,
    pub gaps: bool,
    pub effect: Effect,
}

/// What the flip does.
#[derive(Clone, Copy, Debug)]
pub enum Effect {
    None,
    /// A factor, from so many minutes after the flip on.
    Step(f64, usize),
    /// A factor that is reached a day after the flip.
    Ramp(f64),
}

pub const S1: Setting = Setting {
    season: 0.15,
    drift: 0.03,
    requests: 600.0,
    bursts: false,
    restart: false,
    gaps: false,
    effect: Effect::None,
};

/// Harmless flips: flat, day and night, bursts, a restart, gaps, few requests.
pub const HARMLESS: [(&str, Setting); 6] = [
    ("S0", Setting { season: 0.0, ..S1 }),
    ("S1", S1),
    ("S2", Setting { bursts: true, ..S1 }),
    ("S3", Setting { restart: true, ..S1 }),
    ("S4", Setting { gaps: true, ..S1 }),
    ("S5", Setting { requests: 3.0, ..S1 }),
];

impl Setting {
    pub const fn slower(self, factor: f64) -> Setting {
        Setting { effect: Effect::Step(factor, 0), ..self }
    }
}

impl Effect {
    fn at(self, minutes: Option<usize>) -> f64 {
        match (self, minutes) {
            (Self::Step(factor, from), Some(minutes)) if minutes >= from => factor,
            (Self::Ramp(factor), Some(minutes)) => 1.0 + (factor - 1.0) * (minutes as f64 / DAY as f64).min(1.0),
            _ => 1.0,
        }
    }
}

/// Minutes that nobody saw: one of twenty, and ten in a row after the flip.
struct Gaps {
    on: bool,
    hole: usize,
}

impl Gaps {
    fn new(on: bool, random: &mut Pcg64) -> Gaps {
        Gaps { on, hole: random.random_range(0..DAY - 10) }
    }

    fn missing(&self, after: Option<usize>, random: &mut Pcg64) -> bool {
        let in_hole = after.is_some_and(|m| (self.hole..self.hole + 10).contains(&m));
        self.on && (random.random::<f64>() < 0.05 || in_hole)
    }
}

/// The 95th percentile of each minute, from [`HISTORY`] before the flip to a day after it.
pub fn latency(setting: Setting, random: &mut Pcg64) -> Vec<Option<f64>> {
    arms(setting, random, &[1.0]).remove(0)
}

/// The same of two arms: a tenth of the requests, which the flip is about, and the others.
pub fn two_arms(setting: Setting, random: &mut Pcg64) -> (Vec<Option<f64>>, Vec<Option<f64>>) {
    let mut both = arms(setting, random, &[0.1, 0.9]);
    let beside = both.remove(1);
    (both.remove(0), beside)
}

fn arms(setting: Setting, random: &mut Pcg64, shares: &[f64]) -> Vec<Vec<Option<f64>>> {
    let begin = random.random_range(0..DAY);
    let (common, own) = if shares.len() > 1 { (0.7_f64.sqrt(), 0.3_f64.sqrt()) } else { (1.0, 0.0) };
    // The arms differ a little, always.
    let apart = if shares.len() > 1 { 0.01 * normal(random) } else { 0.0 };
    let mut drift = Wander::new((-1.0_f64 / 720.0).exp(), random);
    let mut shared = Wander::new(0.9, random);
    let mut each: Vec<_> = shares.iter().map(|_| (Wander::new(0.9, random), Gaps::new(setting.gaps, random))).collect();
    let mut bursts = Bursts::default();
    let mut values: Vec<Vec<Option<f64>>> = shares.iter().map(|_| Vec::with_capacity(HISTORY + DAY)).collect();
    for minute in 0..HISTORY + DAY {
        let sun = sun((begin + minute) % DAY);
        let after = minute.checked_sub(HISTORY);
        let burst = setting.bursts && bursts.step(random);
        let base = setting.season * sun
            + setting.drift * drift.step(random)
            + 0.04 * common * shared.step(random)
            + if burst { 1.8_f64.ln() } else { 0.0 };
        for (arm, ((share, values), (wander, gaps))) in shares.iter().zip(&mut values).zip(&mut each).enumerate() {
            let wandering = if own > 0.0 { 0.04 * own * wander.step(random) } else { 0.0 };
            let requests = poisson(random, share * setting.requests * (1.0 + 0.6 * sun));
            let sampled = OF_ONE_REQUEST * normal(random) / requests.max(1.0).sqrt();
            let judged = arm == 0;
            let changed = if judged { setting.effect.at(after).ln() + apart } else { 0.0 };
            let started = after.filter(|m| setting.restart && judged && *m < 5);
            let starting = started.map_or(0.0, |m| (3.0 - 1.8 * m as f64 / 4.0).ln());
            let missing = gaps.missing(after, random) || started.is_some_and(|m| m < 2) || requests < 1.0;
            values.push((!missing).then(|| LEVEL * (base + wandering + sampled + changed + starting).exp()));
        }
    }
    values
}

/// Requests and errors of each minute, from a day before the flip to a day after it. The errors go from one in a thousand to
/// `after`.
pub fn errors(setting: Setting, after: f64, random: &mut Pcg64) -> Vec<Option<Count>> {
    error_arms(setting, after, random, &[1.0]).remove(0)
}

/// The same of two arms: a tenth of the requests, which the flip is about, and the others. Bursts are in both.
pub fn two_arms_of_errors(
    setting: Setting,
    after: f64,
    random: &mut Pcg64,
) -> (Vec<Option<Count>>, Vec<Option<Count>>) {
    let mut both = error_arms(setting, after, random, &[0.1, 0.9]);
    let beside = both.remove(1);
    (both.remove(0), beside)
}

fn error_arms(setting: Setting, after: f64, random: &mut Pcg64, shares: &[f64]) -> Vec<Vec<Option<Count>>> {
    let begin = random.random_range(0..DAY);
    let gaps = Gaps::new(setting.gaps, random);
    let mut bursts = Bursts::default();
    let mut values: Vec<Vec<Option<Count>>> = shares.iter().map(|_| Vec::with_capacity(2 * DAY)).collect();
    for minute in 0..2 * DAY {
        let sun = sun((begin + minute) % DAY);
        let since = minute.checked_sub(DAY);
        let burst = setting.bursts && bursts.step(random);
        for (arm, (share, values)) in shares.iter().zip(&mut values).enumerate() {
            let judged = arm == 0;
            let starting = setting.restart && judged && since.is_some_and(|m| m < 3);
            let rate = match (starting, burst) {
                (true, _) => 0.10,
                (_, true) => 0.05,
                _ if judged && since.is_some() => after,
                _ => 0.001,
            };
            let total = poisson(random, share * setting.requests * (1.0 + 0.6 * sun));
            let bad = Binomial::new(total as u64, rate).expect("a rate").sample(random) as f64;
            values.push((!gaps.missing(since, random)).then_some(Count { bad, total }));
        }
    }
    values
}

/// Things created in each minute, four times as many by day as by night, from [`HISTORY`] before the flip to a day after it.
pub fn created(rate: f64, factor: f64, random: &mut Pcg64) -> Vec<Option<f64>> {
    let begin = random.random_range(0..DAY);
    let mut drift = Wander::new((-1.0_f64 / 720.0).exp(), random);
    let minute = |minute: usize| {
        let season = 0.5 * 4.0_f64.ln() * sun((begin + minute) % DAY);
        let mean = rate * (season + 0.08 * drift.step(random)).exp();
        Some(poisson(random, mean * if minute >= HISTORY { factor } else { 1.0 }))
    };
    (0..HISTORY + DAY).map(minute).collect()
}

/// Standard normal steps.
pub fn steps(count: usize, random: &mut Pcg64) -> Vec<f64> {
    (0..count).map(|_| normal(random)).collect()
}
