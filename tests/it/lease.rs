//! Several controllers on one namespace: one acts, another takes over, and no flag goes up twice.

use std::time::{Duration, Instant};

use hoist::api::RunState;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::Api;
use nix::sys::signal::Signal;

use crate::fixture::{Cluster, Process, eventually, eventually_within};
use crate::stage::{Plan, Stage};

fn candidate(stage: &Stage) -> Process {
    stage.spawn_controller(Cluster::shared().kubeconfig(), &[])
}

/// Who holds the lease, and how often it changed hands.
async fn holder(stage: &Stage) -> Result<(String, i32), String> {
    let leases: Api<Lease> = stage.home.api(Cluster::shared().admin().await);
    let lease = leases.get("hoist").await.map_err(|e| e.to_string())?;
    let spec = lease.spec.unwrap_or_default();
    let holder = spec.holder_identity.filter(|h| !h.is_empty()).ok_or("nobody")?;
    Ok((holder, spec.lease_transitions.unwrap_or(0)))
}

/// A controller that leads, one that waits, and what the lease says.
async fn two(stage: &Stage) -> (Process, Process, (String, i32)) {
    let first = candidate(stage);
    let held = eventually("a leader", async || holder(stage).await).await;
    (first, candidate(stage), held)
}

/// Waits until another than this one holds the lease, and says how long that took.
async fn another(stage: &Stage, before: &str, since: Instant) -> Duration {
    eventually_within(Duration::from_secs(20), "another leader", async || match holder(stage).await {
        Ok((now, _)) if now != before => Ok(since.elapsed()),
        other => Err(format!("{other:?}")),
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_leader_is_followed_by_the_one_that_waits() {
    let stage = Stage::with_config_maps(&["eu"]).await;
    let (mut first, _second, (leader, _)) = two(&stage).await;
    stage.apply(&Plan::quick("60s")).await.expect("applied");
    stage.reaches("eu", RunState::Soaking).await;
    assert_eq!(holder(&stage).await.expect("a leader").0, leader, "the one that waits does not act");
    first.kill();
    let killed = Instant::now();
    stage.place("eu").app.set_behaviour(&[("errors-when-enabled", "0.5")]).await;
    let took = another(&stage, &leader, killed).await;
    assert!(took < Duration::from_secs(12), "{took:?}");
    stage.reaches("eu", RunState::RolledBack).await;
    assert_eq!(stage.value("eu").await.as_deref(), Some("false"));
    assert_eq!(stage.flips("eu"), 2, "up once, down once: {:?}", stage.writes("eu"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_ends_in_good_order_gives_the_lease_back() {
    let stage = Stage::with_config_maps(&["eu"]).await;
    let (mut first, _second, (leader, _)) = two(&stage).await;
    stage.apply(&Plan::quick("8s")).await.expect("applied");
    stage.reaches("eu", RunState::Soaking).await;
    let begun = Instant::now();
    let status = tokio::task::block_in_place(|| first.terminate());
    assert!(status.success(), "{status}");
    let took = another(&stage, &leader, begun).await;
    assert!(took < Duration::from_secs(5), "the lease lasts six seconds and was given back after {took:?}");
    stage.reaches("eu", RunState::Finished).await;
    assert_eq!(stage.flips("eu"), 1, "{:?}", stage.writes("eu"));
}

/// A leader that was stopped goes on where it stood, and believes for a moment that it still leads.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_sleeps_through_its_lease_raises_nothing_twice() {
    let stage = Stage::with_config_maps(&["eu", "apac"]).await;
    let (first, _second, (leader, terms)) = two(&stage).await;
    stage.apply(&Plan::quick("3s")).await.expect("applied");
    // Into the middle of what it does.
    stage.run_that("a run of eu", "eu", |_| true).await;
    first.signal(Signal::SIGSTOP);
    let took = another(&stage, &leader, Instant::now()).await;
    assert!(took > Duration::from_secs(2), "a lease that is held is not taken: {took:?}");
    first.signal(Signal::SIGCONT);
    stage.reaches("apac", RunState::Finished).await;
    let (_, later) = holder(&stage).await.expect("a leader");
    assert!(later > terms, "{later}");
    for environment in ["eu", "apac"] {
        assert_eq!(stage.flips(environment), 1, "{:?}", stage.writes(environment));
    }
}
