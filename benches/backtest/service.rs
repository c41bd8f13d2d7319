//! The Conduit service in one place, for weeks: what its Prometheus would have kept of it. The parameters are plausible, not
//! measured anywhere.

use std::f64::consts::SQRT_2;
use std::fmt::Write;

use rand::{RngExt, SeedableRng};
use rand_distr::{Binomial, Distribution};
use rand_pcg::Pcg64;
use statrs::function::erf::erfc;

use crate::noise::{Bursts, DAY, Wander, poisson, sun};

/// Seconds from one scrape to the next.
const SCRAPE: i64 = 30;
/// Scrapes in a minute.
const SCRAPES: usize = 2;

/// Where buckets end, in seconds.
const REQUESTS: [f64; 15] = [0.025, 0.05, 0.075, 0.1, 0.125, 0.15, 0.175, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5];
const QUERIES: [f64; 10] = [0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.25, 0.5];

/// The spread of the logarithm of how long one request takes.
const SPREAD: f64 = 0.6;
/// The normal distribution's 95th percentile.
const P95: f64 = 1.645;

/// Connections that the pool has.
const POOL: f64 = 100.0;

/// A place where the service runs.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The Environment, whose namespace has `conduit-` before it.
    pub environment: &'static str,
    /// Requests a minute, on the mean of a weekday.
    pub requests: f64,
    /// The mean 95th percentile, in seconds.
    pub level: f64,
    /// How far nights and days are from the mean, of the logarithm.
    pub season: f64,
}

/// The six of the schedule.
pub const PLACES: [Place; 6] = [
    Place { environment: "staging", requests: 60.0, level: 0.20, season: 0.05 },
    Place { environment: "dev-prod", requests: 200.0, level: 0.19, season: 0.10 },
    Place { environment: "eu", requests: 900.0, level: 0.20, season: 0.15 },
    Place { environment: "apac", requests: 700.0, level: 0.22, season: 0.12 },
    Place { environment: "us-east", requests: 1_500.0, level: 0.18, season: 0.15 },
    Place { environment: "us-west", requests: 1_200.0, level: 0.18, season: 0.15 },
];

impl Place {
    pub fn namespace(&self) -> String {
        format!("conduit-{}", self.environment)
    }
}

/// What the service's counters say; they begin anew when its pods do.
#[derive(Clone, Debug, Default)]
struct Counters {
    well: f64,
    failed: f64,
    requests: [f64; REQUESTS.len() + 1],
    queries: [f64; QUERIES.len() + 1],
}

/// A place as it goes on, day by day.
pub struct Service {
    place: Place,
    random: Pcg64,
    drift: Wander,
    minutes: Wander,
    database: Wander,
    pool: Wander,
    bursts: Bursts,
    counters: Counters,
    /// Minutes since its pods were replaced.
    restarted: usize,
    /// Minutes for which it will not be scraped.
    unseen: usize,
}

/// How requests and database are in a minute.
struct Minute {
    requests: f64,
    errors: f64,
    level: f64,
    database: f64,
    pool: f64,
}

impl Service {
    pub fn new(place: Place, seed: u64) -> Service {
        let mut random = Pcg64::seed_from_u64(seed);
        let slow = (-1.0_f64 / 720.0).exp();
        Service {
            place,
            drift: Wander::new(slow, &mut random),
            minutes: Wander::new(0.9, &mut random),
            database: Wander::new(0.95, &mut random),
            pool: Wander::new(0.97, &mut random),
            random,
            bursts: Bursts::default(),
            counters: Counters::default(),
            restarted: DAY,
            unseen: 0,
        }
    }

    /// One day, the first being a Monday at midnight, as lines for each family of metrics.
    pub fn day(&mut self, number: usize, start: i64, families: &mut Families) {
        for minute in 0..DAY {
            let now = self.minute(minute, number % 7 >= 5);
            for scrape in 0..SCRAPES {
                self.count(&now);
                let missed = self.unseen > 0 || self.restarted < 2 || self.random.random::<f64>() < 0.01;
                if !missed {
                    let at = start + (minute * SCRAPES + scrape) as i64 * SCRAPE;
                    families.write(&self.place.namespace(), &self.counters, now.pool, at);
                }
            }
        }
    }

    fn minute(&mut self, clock: usize, weekend: bool) -> Minute {
        let (random, sun) = (&mut self.random, sun(clock));
        self.unseen = match self.unseen {
            // A scrape target that is away for ten minutes, every third day or so.
            0 if random.random::<f64>() < 1.0 / (3.0 * DAY as f64) => 10,
            left => left.saturating_sub(1),
        };
        self.restarted += 1;
        // Somebody else's release, every week or so.
        if random.random::<f64>() < 1.0 / (7.0 * DAY as f64) {
            (self.restarted, self.counters) = (0, Counters::default());
        }
        let starting = self.restarted < 6;
        let burst = self.bursts.step(random);
        let rest = if weekend { 0.5 } else { 1.0 };
        let base = self.place.season * sun + 0.03 * self.drift.step(random) + if weekend { -0.04 } else { 0.0 };
        let slower = if burst { 1.8_f64.ln() } else { 0.0 } + if starting { 1.5_f64.ln() } else { 0.0 };
        Minute {
            requests: self.place.requests * rest * (1.0 + 0.6 * sun),
            errors: if burst {
                0.05
            } else if starting {
                0.02
            } else {
                0.001
            },
            level: self.place.level * (base + slower + 0.04 * self.minutes.step(random)).exp(),
            database: 0.045 * (0.5 * base + 0.5 * slower + 0.05 * self.database.step(random)).exp(),
            pool: (POOL * rest * (0.30 + 0.12 * sun + 0.02 * self.pool.step(random))).clamp(0.0, POOL).round(),
        }
    }

    /// What came in since the last scrape.
    fn count(&mut self, now: &Minute) {
        let requests = poisson(&mut self.random, now.requests / SCRAPES as f64);
        let failed = drawn(&mut self.random, requests, now.errors);
        self.counters.failed += failed;
        self.counters.well += requests - failed;
        fall(&mut self.random, &mut self.counters.requests, &REQUESTS, requests, now.level);
        // Two queries for each request.
        fall(&mut self.random, &mut self.counters.queries, &QUERIES, 2.0 * requests, now.database);
    }
}

fn drawn(random: &mut Pcg64, of: f64, chance: f64) -> f64 {
    Binomial::new(of as u64, chance.clamp(0.0, 1.0)).expect("a chance").sample(random) as f64
}

/// Lets so many observations of a lognormal distribution with this 95th percentile fall into buckets.
fn fall(random: &mut Pcg64, buckets: &mut [f64], ends: &[f64], observations: f64, p95: f64) {
    let mean = p95.ln() - P95 * SPREAD;
    let below = |end: f64| 0.5 * erfc(-(end.ln() - mean) / SPREAD / SQRT_2);
    let (mut left, mut before) = (observations, 0.0);
    for (bucket, end) in buckets.iter_mut().zip(ends) {
        let until = below(*end);
        let inside = drawn(random, left, (until - before) / (1.0 - before).max(f64::MIN_POSITIVE));
        *bucket += inside;
        left -= inside;
        before = until;
    }
    if let Some(rest) = buckets.last_mut() {
        *rest += left;
    }
}

/// The text of one day: what belongs to one family must stand together.
#[derive(Default)]
pub struct Families([String; 6]);

impl Families {
    fn write(&mut self, namespace: &str, counters: &Counters, pool: f64, at: i64) {
        let [total, bucket, count, query, in_use, most] = &mut self.0;
        let label = format!("namespace=\"{namespace}\"");
        let line = |text: &mut String, name: &str, more: &str, value: f64| {
            let _ = writeln!(text, "{name}{{{label}{more}}} {value} {at}");
        };
        line(total, "http_requests_total", ",code=\"200\"", counters.well);
        line(total, "http_requests_total", ",code=\"503\"", counters.failed);
        let buckets = |text: &mut String, name: &str, ends: &[f64], counts: &[f64]| {
            let ends = ends.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
            let mut sum = 0.0;
            for (end, count) in ends.zip(counts) {
                sum += count;
                line(text, name, &format!(",le=\"{end}\""), sum);
            }
            sum
        };
        let all = buckets(bucket, "http_request_duration_seconds_bucket", &REQUESTS, &counters.requests);
        buckets(query, "db_query_duration_seconds_bucket", &QUERIES, &counters.queries);
        line(count, "http_request_duration_seconds_count", "", all);
        line(in_use, "db_pool_connections_in_use", "", pool);
        line(most, "db_pool_connections_max", "", POOL);
    }

    /// OpenMetrics.
    pub fn text(self) -> String {
        let mut text = self.0.concat();
        text.push_str("# EOF\n");
        text
    }
}
