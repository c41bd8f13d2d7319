//! The controller is killed at every single write of a run, before it is sent and after it was stored but not answered,
//! and started again: the end is the same, and the laws hold on what reached the API server.

use std::time::Duration;

use futures::StreamExt;
use hoist::engine::laws;
use serde_json::json;

use crate::fixture::eventually_within;
use crate::proxy::{Kill, Proxy, raises};
use crate::stage::{Plan, Stage};

/// How many cases run at once: they mostly wait.
const AT_ONCE: usize = 8;

/// Which writes: every one, or as `HOIST_KILL_EVERY` says.
fn every() -> usize {
    std::env::var("HOIST_KILL_EVERY").ok().and_then(|n| n.parse().ok()).filter(|n| *n > 0).unwrap_or(1)
}

/// What a run ends as, without times and ids.
#[derive(Clone, Debug, PartialEq)]
struct End {
    values: Vec<Option<String>>,
    runs: Vec<String>,
    conditions: Vec<String>,
}

async fn end(stage: &Stage) -> End {
    let mut values = Vec::new();
    for place in &stage.places {
        values.push(place.value().await);
    }
    let runs = stage.runs().await;
    let told = runs.iter().map(|r| {
        let status = r.status.clone().expect("a status");
        format!("{} epoch {}: {} held {:?}", r.spec.environment.name, r.spec.epoch, status.state, status.held)
    });
    let status = stage.schedule().await.and_then(|s| s.status).expect("a status");
    let conditions = status.conditions.iter().map(|c| format!("{} {:?} {}", c.type_, c.status, c.reason));
    End { values, runs: told.collect(), conditions: conditions.chain([status.progress.clone()]).collect() }
}

/// A plan that is over soon: what is tested is the writes, not the waiting. Scrapes of a busy machine come late, so that
/// one answer must not be all the evidence.
fn plan() -> Plan {
    Plan::quick("6s").with("/checks/0/settle", json!("2s")).with("/checks/0/threshold/for", json!("1s"))
}

/// Runs a two-environment schedule to its end, killed where it is asked for; gives the end and the number of writes.
async fn run(breach: bool, kill: Kill) -> (End, usize) {
    let proxy = Proxy::start(kill).await;
    let mut stage = Stage::small(&["staging", "eu"]).await;
    if breach {
        stage.place("eu").app.set_behaviour(&[("errors-when-enabled", "0.5")]).await;
    }
    stage.create(&plan()).await;
    start(&mut stage, &proxy);
    let mut restarted = false;
    let what = format!("the schedule's end, {kill:?} {}", stage.home);
    let over = if breach { "Stalled True RolledBack" } else { "Completed True Completed" };
    eventually_within(Duration::from_secs(120), &what, async || {
        if !stage.controller().is_running() && !restarted {
            restarted = true;
            start(&mut stage, &proxy);
        }
        let status = stage.schedule().await.and_then(|s| s.status).unwrap_or_default();
        let said = status.conditions.iter().any(|c| format!("{} {:?} {}", c.type_, c.status, c.reason) == over);
        if said { Ok(()) } else { Err(format!("{:?}; killed at {:?}", status.conditions, proxy.killed_at())) }
    })
    .await;
    if !stage.controller().is_running() && !restarted {
        // Killed at the very last write: what it left must not change when it is back.
        restarted = true;
        start(&mut stage, &proxy);
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    // Runs differ by a write or two: a case beyond the last write is one more undisturbed run.
    assert_eq!(restarted, proxy.killed_at().is_some(), "{kill:?}");
    // What was sent last may still be on its way to the other objects.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let taken = proxy.taken();
    let trace: Vec<_> = taken.iter().filter_map(|w| w.trace.clone()).collect();
    let story = || taken.iter().map(|w| w.what.as_str()).collect::<Vec<_>>().join("\n");
    laws::check(&trace).unwrap_or_else(|broken| panic!("{kill:?}: {broken:?}\n{}", story()));
    for (place, count) in raises(&taken) {
        assert_eq!(count, 1, "{kill:?}: {place} was raised {count} times\n{}", story());
    }
    let end = end(&stage).await;
    stage.strike().await;
    (end, taken.len())
}

fn start(stage: &mut Stage, proxy: &Proxy) {
    stage.start_controller_with(&proxy.kubeconfig());
    let pid = stage.controller().pid();
    proxy.aim(pid);
}

async fn killed_everywhere(breach: bool) {
    let (undisturbed, writes) = run(breach, Kill::Never).await;
    assert!(writes > 15, "a run takes more than {writes} writes");
    let cases = (1..=writes).step_by(every()).flat_map(|n| [Kill::Before(n), Kill::After(n)]);
    let cases = cases.map(async |kill| (kill, run(breach, kill).await.0));
    let mut cases = futures::stream::iter(cases).buffer_unordered(AT_ONCE);
    let mut passed = 0;
    while let Some((kill, end)) = cases.next().await {
        assert_eq!(end, undisturbed, "{kill:?}");
        passed += 1;
    }
    println!("killed at every {} of {writes} writes, before and after: {passed} cases, one end", every());
}

#[tokio::test(flavor = "multi_thread")]
async fn at_every_write_of_the_happy_run() {
    killed_everywhere(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_every_write_of_the_rollback_run() {
    killed_everywhere(true).await;
}
