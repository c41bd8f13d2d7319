//! Many worlds, two at a time, the same for the same seed.

use rand::SeedableRng;
use rand_pcg::Pcg64;

/// The random numbers of one run of one scenario.
pub fn random(seed: u64, scenario: &str, run: usize) -> Pcg64 {
    let named = scenario.bytes().fold(seed, |h, b| mixed(h ^ u64::from(b)));
    Pcg64::seed_from_u64(mixed(named ^ run as u64))
}

/// The finalizer of SplitMix64: neighbouring numbers have nothing in common any more.
fn mixed(x: u64) -> u64 {
    let x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// What every run comes to, in order. Two threads take every other run.
pub fn many<T: Send>(runs: usize, one: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let half = |first: usize| (first..runs).step_by(2).map(&one).collect::<Vec<T>>();
    let (even, odd) = std::thread::scope(|scope| {
        let odd = scope.spawn(|| half(1));
        (half(0), odd.join().expect("a run that ends"))
    });
    let mut odd = odd.into_iter();
    even.into_iter().flat_map(|run| [Some(run), odd.next()]).flatten().collect()
}

/// What a rule did in many runs.
#[derive(Clone, Debug)]
pub struct Found {
    /// In how many of 100 runs it wanted to roll back.
    pub percent: f64,
    /// The median time until then, in minutes, of those.
    pub median: f64,
}

impl Found {
    /// From the minutes after which each run was rolled back.
    pub fn of(delays: &[Option<f64>]) -> Found {
        let mut found: Vec<f64> = delays.iter().flatten().copied().collect();
        found.sort_by(f64::total_cmp);
        let median = found.get(found.len() / 2).copied().unwrap_or(f64::NAN);
        Found { percent: percent(found.len(), delays.len()), median }
    }
}

pub fn percent(of: usize, all: usize) -> f64 {
    100.0 * of as f64 / all.max(1) as f64
}

/// Something of every run, rule by rule: the runs are many, the rules few.
pub fn by_rule(runs: &[Vec<Option<f64>>]) -> Vec<Found> {
    let rules = runs.first().map_or(0, Vec::len);
    (0..rules).map(|rule| Found::of(&runs.iter().map(|run| run[rule]).collect::<Vec<_>>())).collect()
}
