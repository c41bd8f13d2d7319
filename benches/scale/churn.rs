//! Schedules that come and go for an hour: what one leaves behind is seen in memory and in the number of series.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};

use crate::daemon::{Daemon, at_rest};
use crate::estate::{Estate, Wanted, check, named};
use crate::proxy::Proxy;
use crate::report::Row;
use crate::{Sizes, written};

/// How many are made and deleted in an hour.
const IN_AN_HOUR: f64 = 10_000.0;

/// How many there are at a time.
const ALIVE: usize = 60;

/// Each so-and-so-many-th is raised, and put back when it is deleted; the others wait for their start.
const LIVE: usize = 10;

/// For how long what was deleted is left alone before its Environment and runs are deleted too.
const UNDONE: usize = 60;

/// In how many parts the memory is averaged, the warm-up left out.
const PARTS: usize = 10;

/// What Student's t is at two sides of 5 % with as many degrees of freedom as the line through the parts leaves.
const T_OF_EIGHT: f64 = 2.306;

/// Makes and deletes schedules.
pub async fn churn(sizes: &Sizes) -> Vec<Row> {
    let estate = Estate::new(5).await;
    estate.environments("idle", 0..1, ALIVE + 1).await;
    let proxy = Proxy::start().await;
    let daemon = Daemon::start(&estate.home, &proxy, &[]);
    daemon.ready().await;
    daemon.leads().await;
    // Once before, so that every word of the metrics was used.
    let mut flow = Flow::new(&estate);
    for _ in 0..2 * LIVE {
        flow.create().await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    flow.drain(&proxy).await;
    let before = series(&daemon).await;
    let mut samples = Vec::new();
    let begun = Instant::now();
    let pace = Duration::from_secs_f64(3_600.0 / IN_AN_HOUR);
    let mut tick = tokio::time::interval(pace);
    while begun.elapsed() < sizes.churn {
        tick.tick().await;
        flow.create().await;
        flow.delete().await;
        samples.push((begun.elapsed().as_secs_f64() / 3_600.0, daemon.resident()));
    }
    let made = flow.made;
    flow.drain(&proxy).await;
    let after = series(&daemon).await;
    let left = estate.count().await;
    daemon.end();
    estate.clear().await;
    for name in after.difference(&before) {
        eprintln!("a series that was not there before: {name}");
    }
    let (slope, noise) = slope(&samples);
    let what = format!("{made} made and deleted in {}", written(begun.elapsed()));
    vec![
        Row::new("churn", format!("{what}: still there"), left as f64, "").at_most(0.0),
        Row::new("churn", format!("{what}: growth of memory"), slope, "MiB/h").at_most(noise),
        Row::new("churn", format!("{what}: series more than before"), after.difference(&before).count() as f64, "")
            .at_most(0.0),
    ]
}

async fn series(daemon: &Daemon) -> BTreeSet<String> {
    daemon.metrics().await.into_iter().map(|(name, _)| name).collect()
}

/// What comes and goes.
struct Flow<'a> {
    estate: &'a Estate,
    made: usize,
    alive: VecDeque<usize>,
    undone: VecDeque<usize>,
}

impl<'a> Flow<'a> {
    fn new(estate: &'a Estate) -> Flow<'a> {
        Flow { estate, made: 0, alive: VecDeque::new(), undone: VecDeque::new() }
    }

    async fn create(&mut self) {
        let number = self.made;
        let live = number.is_multiple_of(LIVE);
        if live {
            self.estate.environments("live", number..number + 1, 1).await;
        }
        let wanted = |n: usize| Wanted {
            name: named("churn", n),
            environment: if live { ("live".to_owned(), n) } else { ("idle".to_owned(), 0) },
            flag: if live { 0 } else { n % (ALIVE + 1) },
            start: (!live).then(|| Utc::now() + TimeDelta::days(30)),
            check: check("errors_now"),
            on_delete: "Rollback",
        };
        self.estate.schedules(number..number + 1, wanted).await;
        self.made += 1;
        self.alive.push_back(number);
    }

    /// Deletes the oldest where there are enough.
    async fn delete(&mut self) {
        if self.alive.len() > ALIVE {
            self.delete_oldest().await;
        }
        if self.undone.len() > UNDONE {
            self.forget_oldest().await;
        }
    }

    async fn delete_oldest(&mut self) {
        if let Some(number) = self.alive.pop_front() {
            self.estate.delete(&named("churn", number)).await;
            self.undone.push_back(number);
        }
    }

    async fn forget_oldest(&mut self) {
        if let Some(number) = self.undone.pop_front().filter(|n| n.is_multiple_of(LIVE)) {
            self.estate.forget("live", number).await;
        }
    }

    /// Deletes all that is left, and waits until the daemon has done its part.
    async fn drain(&mut self, proxy: &Proxy) {
        while !self.alive.is_empty() {
            self.delete_oldest().await;
        }
        at_rest(proxy, Duration::from_secs(5)).await;
        while !self.undone.is_empty() {
            self.forget_oldest().await;
        }
        at_rest(proxy, Duration::from_secs(5)).await;
    }
}

/// The growth in an hour, and how much of it may be chance: from the means of a few long parts, because neighbouring
/// samples are nearly the same. The first fifth is warm-up.
fn slope(samples: &[(f64, f64)]) -> (f64, f64) {
    let samples = &samples[samples.len() / 5..];
    let size = (samples.len() / PARTS).max(1);
    let mean = |of: &mut dyn Iterator<Item = f64>, count: usize| of.sum::<f64>() / count as f64;
    let parts: Vec<(f64, f64)> = samples
        .chunks_exact(size)
        .take(PARTS)
        .map(|part| (mean(&mut part.iter().map(|s| s.0), size), mean(&mut part.iter().map(|s| s.1), size)))
        .collect();
    let count = parts.len();
    let (x, y) = (mean(&mut parts.iter().map(|p| p.0), count), mean(&mut parts.iter().map(|p| p.1), count));
    let spread: f64 = parts.iter().map(|p| (p.0 - x).powi(2)).sum();
    let slope = parts.iter().map(|p| (p.0 - x) * (p.1 - y)).sum::<f64>() / spread;
    let rest: f64 = parts.iter().map(|p| (p.1 - y - slope * (p.0 - x)).powi(2)).sum();
    (slope, T_OF_EIGHT * (rest / (count.saturating_sub(2).max(1)) as f64 / spread).sqrt())
}
