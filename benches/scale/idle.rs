//! What costs nothing while nothing happens: an empty daemon, thousands of schedules that wait, a cold start among them.

use std::time::{Duration, Instant};

use hoist::api::RunState;
use hoist::engine::StampKind;

use crate::daemon::{Daemon, at_rest, has_flag};
use crate::estate::{Estate, check, named};
use crate::fixture::Cluster;
use crate::proxy::Proxy;
use crate::report::Row;
use crate::{Sizes, written, written_as};

/// How many rollbacks are due at the cold start.
const DUE: usize = 10;

/// A daemon that has nothing to do.
pub async fn empty(_: &Sizes) -> Vec<Row> {
    let estate = Estate::new(1).await;
    let proxy = Proxy::start().await;
    let daemon = Daemon::start(&estate.home, &proxy, &[]);
    daemon.ready().await;
    daemon.leads().await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    let resident = daemon.resident();
    daemon.end();
    vec![Row::new("empty", "resident", resident, "MiB").at_most(15.0)]
}

/// Thousands of schedules whose start is a month ahead.
pub async fn idle(sizes: &Sizes) -> Vec<Row> {
    let count = sizes.schedules(10_000);
    let estate = Estate::new(10).await;
    estate.idle("idle", count).await;
    let proxy = Proxy::start().await;
    let daemon = Daemon::start(&estate.home, &proxy, &[]);
    daemon.ready().await;
    at_rest(&proxy, Duration::from_secs(5)).await;
    let first = (daemon.resident(), daemon.peak());
    daemon.end();

    let daemon = Daemon::start(&estate.home, &proxy, &[]);
    daemon.ready().await;
    daemon.leads().await;
    at_rest(&proxy, Duration::from_secs(5)).await;
    let (asked, statuses, begun) = (proxy.asked().len(), statuses(&proxy), Instant::now());
    let mut resident = daemon.resident();
    while begun.elapsed() < sizes.watch {
        tokio::time::sleep(Duration::from_secs(1)).await;
        resident = resident.max(daemon.resident());
    }
    let requests = (proxy.asked().len() - asked) as f64 / begun.elapsed().as_secs_f64();
    let statuses = (self::statuses(&proxy) - statuses) as f64;
    daemon.end();
    let what = format!("{count} idle");
    let mut rows = vec![
        Row::new("idle", format!("{what}: resident after the first statuses"), first.0, "MiB"),
        Row::new("idle", format!("{what}: peak of the first list and statuses"), first.1, "MiB"),
        Row::new("idle", format!("{what}: most resident in {}", written(sizes.watch)), resident, "MiB").at_most(150.0),
        Row::new("idle", format!("{what}: requests, the lease's too"), requests, "1/s").at_most(1.0),
        Row::new("idle", format!("{what}: status writes"), statuses, "").at_most(0.0),
    ];
    rows.extend(relist(&estate, &proxy, &what).await);
    estate.clear().await;
    rows
}

/// The peak of a list that is read anew; nothing where this build has no `--resync`.
async fn relist(estate: &Estate, proxy: &Proxy, what: &str) -> Option<Row> {
    if !has_flag("--resync") {
        eprintln!("this build has no --resync: the peak at a relist is left out");
        return None;
    }
    let daemon = Daemon::start(&estate.home, proxy, &["--resync", "20s"]);
    daemon.ready().await;
    daemon.leads().await;
    at_rest(proxy, Duration::from_secs(5)).await;
    daemon.forget_peak();
    tokio::time::sleep(Duration::from_secs(65)).await;
    let peak = daemon.peak();
    daemon.end();
    Some(Row::new("idle", format!("{what}: peak at a relist"), peak, "MiB").at_most(250.0))
}

fn statuses(proxy: &Proxy) -> usize {
    proxy.when(|w| w.what.contains("/migrationschedules/") && w.what.ends_with("/status")).len()
}

/// A start among thousands of schedules, some of which a person ordered back while nobody served them.
pub async fn cold(sizes: &Sizes) -> Vec<Row> {
    let count = sizes.schedules(10_000);
    let estate = Estate::new(10).await;
    estate.idle("idle", count).await;
    estate.live("live", DUE, None, |_| check("errors_now")).await;
    let proxy = Proxy::start().await;
    let daemon = Daemon::start(&estate.home, &proxy, &[]);
    daemon.ready().await;
    estate.runs_in(RunState::Soaking, DUE).await;
    at_rest(&proxy, Duration::from_secs(5)).await;
    daemon.end();
    for number in 0..DUE {
        estate.order_back(&named("live", number)).await;
    }
    let daemon = Daemon::start(&estate.home, &proxy, &[]);
    let (ready, (lowered, passes)) = tokio::join!(daemon.ready(), due_rollbacks(&daemon, &proxy));
    daemon.kill();
    let bare = bare_list(&estate.home, &proxy).await;
    estate.clear().await;
    let what = format!("cold start, {count} schedules");
    vec![
        Row::new("cold", format!("{what}: ready"), ready.as_secs_f64(), "s").at_most(3.0),
        Row::new("cold", format!("{what}: a bare list of them, not even decoded"), bare.as_secs_f64(), "s"),
        Row::new("cold", format!("{what}: the last of {DUE} due rollbacks taken"), lowered.as_secs_f64(), "s"),
        Row::new("cold", format!("{what}: passes over by then"), passes, ""),
    ]
}

/// How long the same schedules take to list, page by page as the daemon does, for who looks at nothing but the next page's
/// token.
async fn bare_list(home: &str, proxy: &Proxy) -> Duration {
    #[derive(serde::Deserialize)]
    struct Page {
        metadata: Next,
    }
    #[derive(serde::Deserialize)]
    struct Next {
        #[serde(default, rename = "continue")]
        token: String,
    }
    let client = reqwest::Client::new();
    let list = format!("{}/apis/hoist.dev/v1alpha1/namespaces/{home}/migrationschedules", proxy.url());
    let begun = Instant::now();
    let mut token = String::new();
    loop {
        // Tokens are base64 of the kind that may stand in an address.
        let page = client.get(format!("{list}?limit=500&continue={token}"));
        let page = page.bearer_auth(Cluster::shared().var("HOIST_TOKEN")).send().await.expect("an answer");
        let page = page.error_for_status().expect("a page").bytes().await.expect("a body");
        token = serde_json::from_slice::<Page>(&page).expect("a list").metadata.token;
        if token.is_empty() {
            return begun.elapsed();
        }
    }
}

/// When the last due rollback was taken, after the start of the process, and how many passes were over by then.
async fn due_rollbacks(daemon: &Daemon, proxy: &Proxy) -> (Duration, f64) {
    while written_as(proxy, StampKind::Closed, "live-").len() < DUE {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let passes = daemon.metric("hoist_passes_total").await;
    let last = written_as(proxy, StampKind::Closed, "live-").into_iter().max();
    (last.expect("a rollback") - daemon.begun, passes)
}
