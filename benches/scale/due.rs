//! Many flips that fall due in one second, against a bare loop of the very writes that they took.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use futures::StreamExt;
use hoist::engine::StampKind;
use serde_json::Value;

use crate::daemon::{Daemon, at_rest};
use crate::estate::{AT_ONCE, Estate, check, named};
use crate::fixture::Cluster;
use crate::proxy::{Proxy, Write};
use crate::report::Row;
use crate::{Sizes, written_as};

/// How long making the schedules may take for each of them.
const TO_MAKE: TimeDelta = TimeDelta::milliseconds(60);

/// What Hoist's objects are called, and the like of them for the bare loop: names of one length.
const OURS: &str = "due-";
const BARE: &str = "dup-";

/// Flips that are due at one moment.
pub async fn due(sizes: &Sizes) -> Vec<Row> {
    let count = sizes.schedules(1_000);
    let estate = Estate::new(20).await;
    let bare = chrono::Utc::now() + TimeDelta::days(30);
    estate.live("dup", count, Some(bare), |_| check("errors_now")).await;
    let proxy = Proxy::start().await;
    let daemon = Daemon::start(&estate.home, &proxy, &[]);
    daemon.ready().await;
    let start = whole(Utc::now() + TimeDelta::seconds(15) + TO_MAKE * i32::try_from(count).expect("some thousands"));
    estate.live("due", count, Some(start), |_| check("errors_now")).await;
    at_rest(&proxy, Duration::from_secs(3)).await;
    let left = start - Utc::now();
    assert!(left > TimeDelta::zero(), "the schedules were made {} too late", -left);
    tokio::time::sleep(left.to_std().expect("a time ahead")).await;
    let begun = Instant::now();
    let raised = raised(&proxy, count).await;
    daemon.kill();
    let took = *raised.iter().max().expect("a raise") - begun;
    let writes = of_each(proxy.taken(), count, begun, begun + took);
    let sent: usize = writes.iter().map(Vec::len).sum();
    let asked = proxy.asked();
    let reads = asked.iter().filter(|a| a.method == "GET" && a.at >= begun && a.at <= begun + took);
    let reads: Vec<String> = reads.map(|a| kind(&a.path)).collect();
    let (again, refused) = send_again(&proxy, writes).await;
    estate.clear().await;
    let what = format!("{count} flips due in one second");
    let (took, again) = (took.as_secs_f64(), again.as_secs_f64());
    let each = |number: usize| number as f64 / count as f64;
    let mut rows = vec![
        Row::new("due", format!("{what}: the last raise taken"), took, "s"),
        Row::new("due", format!("{what}: a bare loop of the same {sent} writes"), again, "s"),
        Row::new("due", format!("{what}: of these refused"), refused as f64, ""),
        Row::new("due", format!("{what}: ratio"), took / again, "").at_most(1.3),
        Row::new("due", format!("{what}: reads for each"), each(reads.len()), ""),
    ];
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for kind in &reads {
        *kinds.entry(kind).or_default() += 1;
    }
    rows.extend(
        kinds.iter().map(|(kind, reads)| Row::new("due", format!("{what}: of these {kind}"), each(*reads), "")),
    );
    rows
}

/// What a read is of: the kind, and whether of one or of many.
fn kind(path: &str) -> String {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    // Behind `api/v1` or `apis/GROUP/VERSION`.
    let parts = parts.get(if parts.first() == Some(&"api") { 2 } else { 3 }..).unwrap_or_default();
    let parts = if parts.first() == Some(&"namespaces") { parts.get(2..).unwrap_or_default() } else { parts };
    let how = if query.contains("watch=") {
        "watched"
    } else if parts.len() > 1 {
        "one"
    } else {
        "listed"
    };
    format!("{} {how}", parts.first().copied().unwrap_or("others"))
}

fn whole(time: chrono::DateTime<Utc>) -> chrono::DateTime<Utc> {
    chrono::DateTime::from_timestamp(time.timestamp(), 0).expect("a time of these days")
}

/// Waits until all are raised, and says when each was.
async fn raised(proxy: &Proxy, count: usize) -> Vec<Instant> {
    let begun = Instant::now();
    loop {
        let raised = written_as(proxy, StampKind::Raised, OURS);
        if raised.len() >= count {
            return raised;
        }
        assert!(begun.elapsed() < Duration::from_secs(3_600), "{} of {count} are raised", raised.len());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What was written of each schedule in this time, in its order: those raised first are told of and proven before the
/// last is raised.
fn of_each(taken: Vec<Write>, count: usize, begun: Instant, end: Instant) -> Vec<Vec<Write>> {
    let mut each: BTreeMap<String, Vec<Write>> = (0..count).map(|n| (named("due", n), Vec::new())).collect();
    for write in taken.into_iter().filter(|w| (begun..=end).contains(&w.at)) {
        let text = String::from_utf8_lossy(&write.body).into_owned();
        let Some(name) = name_in(&write.path).or_else(|| name_in(&text)) else { continue };
        if let Some(writes) = each.get_mut(&name) {
            writes.push(write);
        }
    }
    each.into_values().collect()
}

/// The schedule's name in a path or a body.
fn name_in(text: &str) -> Option<String> {
    let at = text.find(OURS)?;
    text.get(at..at + named("due", 0).len()).map(ToOwned::to_owned)
}

/// Sends writes like these to the objects of the bare loop, through the same proxy; gives how long it took, and how many
/// were refused.
async fn send_again(proxy: &Proxy, writes: Vec<Vec<Write>>) -> (Duration, usize) {
    let client = reqwest::Client::new();
    // The connections are opened before, as the daemon's long were.
    let warm = futures::stream::iter(0..AT_ONCE).map(|_| client.get(format!("{}/version", proxy.url())).send());
    warm.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await;
    let begun = Instant::now();
    let sent = futures::stream::iter(writes).map(|writes| one_after_the_other(&client, proxy, writes));
    let refused: Vec<usize> = sent.buffer_unordered(AT_ONCE).collect().await;
    (begun.elapsed(), refused.into_iter().sum())
}

/// The versions are those of the objects of the bare loop, as each answer tells them.
async fn one_after_the_other(client: &reqwest::Client, proxy: &Proxy, writes: Vec<Write>) -> usize {
    let mut versions: BTreeMap<String, String> = BTreeMap::new();
    let mut refused = 0;
    for write in writes {
        let method = write.what.split(' ').next().unwrap_or_default();
        let path = write.path.replace(OURS, BARE);
        let body = String::from_utf8_lossy(&write.body).replace(OURS, BARE);
        let mut body: Value = serde_json::from_str(&body).expect("JSON");
        let name = body["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        if let Some(metadata) = body["metadata"].as_object_mut() {
            metadata.remove("uid");
            metadata.remove("resourceVersion");
            if let (Some(version), "PUT") = (versions.get(&name), method) {
                metadata.insert("resourceVersion".into(), version.clone().into());
            }
        }
        let request = client.request(method.parse().expect("a method"), format!("{}{path}", proxy.url()));
        let request =
            request.bearer_auth(Cluster::shared().var("HOIST_TOKEN")).header("content-type", &write.content_type);
        let answer = request.body(body.to_string()).send().await.expect("an answer");
        if !answer.status().is_success() {
            refused += 1;
            eprintln!("{} {path}: {}", write.what, answer.text().await.unwrap_or_default());
            continue;
        }
        let answer: Value = answer.json().await.expect("JSON");
        let version = answer["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
        versions.insert(answer["metadata"]["name"].as_str().unwrap_or_default().to_owned(), version);
    }
    refused
}
