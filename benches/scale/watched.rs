//! What is watched: a breach that came while nobody looked, and many schedules that ask the same.

use std::collections::BTreeSet;
use std::time::Duration;

use hoist::api::RunState;
use hoist::engine::StampKind;

use crate::daemon::{Daemon, at_rest};
use crate::estate::{Estate, check_every, named};
use crate::fixture::Answer;
use crate::proxy::Proxy;
use crate::report::{Row, quantile, sorted};
use crate::{Sizes, written, written_as};

/// How often a breach comes while the daemon is down.
const MISSED: usize = 5;

/// How many queries the many schedules share, and how often each is due.
const SHARED: usize = 5;
const INTERVAL: Duration = Duration::from_secs(10);

/// How long the Prometheus takes for an answer, so that what is asked at once can be seen.
const ANSWERS_IN: Duration = Duration::from_millis(50);

/// Breaches that came while the daemon was down.
pub async fn missed(sizes: &Sizes) -> Vec<Row> {
    let count = sizes.schedules(1_000);
    let estate = Estate::new(10).await;
    estate.idle("idle", count).await;
    estate.live("live", MISSED, None, |n| check_every(&named("errors_now", n).replace('-', "_"), "5s")).await;
    let proxy = Proxy::start().await;
    let mut daemon = Daemon::start(&estate.home, &proxy, &[]);
    daemon.ready().await;
    estate.runs_in(RunState::Soaking, MISSED).await;
    let mut acted = Vec::new();
    for number in 0..MISSED {
        at_rest(&proxy, Duration::from_secs(5)).await;
        daemon.end();
        let query = named("errors_now", number).replace('-', "_");
        estate.prometheus.answer_query(&query, Answer::value(1.0));
        estate.prometheus.answer_query("timestamp(", Answer::value(4e9));
        tokio::time::sleep(Duration::from_secs(6)).await;
        daemon = Daemon::start(&estate.home, &proxy, &[]);
        let name = named("live", number);
        let lowered = loop {
            if let Some(at) = written_as(&proxy, StampKind::Closed, &name).first() {
                break *at;
            }
            assert!(daemon.begun.elapsed() < Duration::from_secs(120), "the breach is not acted on");
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        acted.push((lowered - daemon.begun).as_secs_f64());
    }
    daemon.kill();
    estate.clear().await;
    let acted = sorted(acted);
    let what = format!("{MISSED} breaches while down, {count} schedules: flag down after the start");
    vec![
        Row::new("missed", format!("{what}, median"), quantile(&acted, 0.5), "s"),
        Row::new("missed", format!("{what}, longest"), quantile(&acted, 1.0), "s").at_most(2.0),
    ]
}

/// Many raised schedules that share a few queries.
pub async fn shared(sizes: &Sizes) -> Vec<Row> {
    let count = sizes.schedules(1_000);
    let estate = Estate::new(20).await;
    let proxy = Proxy::start().await;
    let daemon = Daemon::start(&estate.home, &proxy, &[]);
    daemon.ready().await;
    let interval = format!("{}s", INTERVAL.as_secs());
    estate.live("live", count, None, |n| check_every(&format!("errors_now_{}", n % SHARED), &interval)).await;
    estate.runs_in(RunState::Soaking, count).await;
    estate.prometheus.answer(Answer::value(0.0).after(ANSWERS_IN));
    estate.prometheus.answer_query("timestamp(", Answer::value(4e9).after(ANSWERS_IN));
    tokio::time::sleep(INTERVAL * 2).await;
    estate.prometheus.forget();
    tokio::time::sleep(INTERVAL * sizes.intervals).await;
    let queries = estate.prometheus.queries();
    let most = estate.prometheus.most_in_flight();
    daemon.kill();
    estate.clear().await;
    let each = |fresh: bool| {
        let such: Vec<&String> = queries.iter().filter(|q| q.contains("timestamp(") == fresh).collect();
        (such.len() as f64 / f64::from(sizes.intervals), such.into_iter().collect::<BTreeSet<_>>().len())
    };
    let ((values, texts), (ages, _)) = (each(false), each(true));
    let what = format!("{count} schedules, {texts} queries, {}", written(INTERVAL * sizes.intervals));
    vec![
        Row::new("shared", format!("{what}: asked in each interval"), values, "").at_most(SHARED as f64 * 1.01),
        Row::new("shared", format!("{what}: asked for their age"), ages, "").at_most(SHARED as f64 * 1.01),
        Row::new("shared", format!("{what}: most at once"), most as f64, "").at_most(4.0),
    ]
}
