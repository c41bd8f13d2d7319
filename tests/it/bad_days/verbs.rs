//! What people order: `hoist pause | resume | rollback | retry`, and orders written by hand.

use std::time::{Duration, Instant};

use hoist::api::{Intervention, RunState, Time};
use kube::api::Api;
use serde_json::{Value, json};

use super::kit::{cause, is};
use crate::fixture::{Cluster, Conduit, Prometheus, eventually};
use crate::stage::{Plan, Stage};

/// A verb's exit code and what it says: standard output where it succeeded or answered in JSON.
fn verb(stage: &Stage, args: &[&str]) -> (i32, String) {
    let name = stage.name();
    let output = stage.hoist(&[&args[..1], &[&name], &args[1..]].concat());
    let told = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&told).into_owned())
}

fn in_json(stage: &Stage, args: &[&str]) -> (i32, Value) {
    let (code, told) = verb(stage, &[args, &["-o", "json"]].concat());
    (code, serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_stops_advance_until_it_is_resumed() {
    let mut stage = Stage::with_config_maps(&["eu", "apac"]).await;
    stage.start_controller();
    stage.apply(&Plan::quick("4s")).await.expect("applied");
    stage.reaches("eu", RunState::Soaking).await;
    let (code, told) = in_json(&stage, &["pause", "--reason", "the week-end"]);
    assert_eq!((code, &told["status"]["outcome"]), (0, &json!("Applied")), "{told}");
    assert_eq!(told["status"]["identity"], "identity not verified");
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(stage.value("apac").await.as_deref(), Some("false"));
    stage.stays(Duration::from_secs(1), "the soak does not end", "eu", is(RunState::Soaking)).await;
    assert_eq!(stage.condition("Ready").await.reason, "Paused");
    let (code, told) = verb(&stage, &["resume", "--reason", "Monday"]);
    assert!(code == 0 && told.starts_with("Applied: ended 1 pause"), "{code} {told}");
    stage.reaches("apac", RunState::Finished).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_does_not_stop_an_automatic_rollback() {
    let mut stage = Stage::with_config_maps(&["eu"]).await;
    stage.start_controller();
    stage.apply(&Plan::quick("60s")).await.expect("applied");
    stage.reaches("eu", RunState::Soaking).await;
    assert_eq!(verb(&stage, &["pause", "--reason", "lunch"]).0, 0);
    stage.place("eu").app.set_behaviour(&[("errors-when-enabled", "0.3")]).await;
    let run = stage.reaches("eu", RunState::RolledBack).await;
    assert!(cause(&run).contains("above max 0.05"), "{}", cause(&run));
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_match_nothing_are_refused_with_a_sentence() {
    let mut stage = Stage::with_config_maps(&["eu"]).await;
    stage.start_controller();
    let (code, told) = verb(&stage, &["pause", "--reason", "r"]);
    assert!(code == 1 && told.contains("\"repo\" not found"), "{code} {told}");
    let later = json!([{ "name": "eu", "start": "2099-01-01T00:00:00Z", "environments": [{ "name": "eu" }] }]);
    stage.apply(&Plan::quick("60s").with("/phases", later)).await.expect("applied");
    for (args, code, sentence) in [
        (&["resume", "--reason", "r"][..], 1, "no pause is in force"),
        (&["retry", "--reason", "r"], 1, "no environment that is meant was rolled back, is held"),
        (&["rollback", "--reason", "r"], 1, "Refused: no raised flag is meant; use Pause"),
        (&["rollback"], 2, "--reason"),
        (&["rollback", "--reason", "r", "--phase", "x", "--sooner"], 2, "--sooner"),
    ] {
        let (found, told) = verb(&stage, args);
        assert!(found == code && told.contains(sentence), "{args:?}: {found} {told}");
    }
    let (code, told) = in_json(&stage, &["rollback", "--reason", "r"]);
    assert_eq!((code, &told["status"]["outcome"]), (1, &json!("Refused")), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_for_a_predecessor_does_not_reach_its_successor() {
    let mut stage = Stage::with_config_maps(&["eu"]).await;
    stage.start_controller();
    stage.apply(&Plan::quick("60s")).await.expect("applied");
    stage.reaches("eu", RunState::Soaking).await;
    let object = json!({
        "apiVersion": "hoist.dev/v1alpha1", "kind": "Intervention",
        "metadata": { "name": "old", "namespace": stage.home.name() },
        "spec": { "schedule": { "name": "repo", "uid": "of-yesterday" }, "action": "Rollback", "reason": "r" },
    });
    Cluster::shared().kubectl_with_input(&["create", "-f", "-"], &object.to_string()).await.expect("created");
    let orders: Api<Intervention> = stage.home.api(Cluster::shared().admin().await);
    let message = eventually("an answer", async || {
        let order = orders.get("old").await.map_err(|e| e.to_string())?;
        order.status.map(|s| format!("{:?}: {}", s.outcome, s.message)).ok_or_else(|| "none".to_owned())
    })
    .await;
    assert_eq!(message, "Refused: it names uid of-yesterday, which is not this schedule's");
    stage.stays(Duration::from_secs(2), "nothing happens", "eu", is(RunState::Soaking)).await;
    let changed = json!({ "spec": { "reason": "another" } }).to_string();
    let patched = stage.kubectl(&["patch", "iv", "old", "--type=merge", "-p", &changed]).await;
    assert!(!patched.ok && patched.stderr.contains("an Intervention cannot be changed"), "{}", patched.stderr);
    let table = stage.kubectl(&["get", "iv"]).await.expect("kubectl get iv");
    assert!(table.contains("OUTCOME") && table.contains("Refused"), "{table}");
}

/// When the last order was written.
async fn ordered_at(stage: &Stage) -> Time {
    let orders: Api<Intervention> = stage.home.api(Cluster::shared().admin().await);
    let orders = orders.list(&kube::api::ListParams::default()).await.expect("orders").items;
    let last = orders.iter().filter_map(|o| o.metadata.creation_timestamp.clone()).max().expect("an order");
    Time::from_timestamp(last.0.as_second(), 0).expect("a time")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_is_fast_while_prometheus_hangs() {
    let mut stage = Stage::with_config_maps(&["eu"]).await;
    let prometheus = Prometheus::start(&[Conduit::shared().address()]).await;
    stage.watched_by("eu", &prometheus.url()).await;
    stage.start_controller();
    stage.apply(&Plan::quick("60s")).await.expect("applied");
    stage.reaches("eu", RunState::Soaking).await;
    prometheus.freeze();
    // Into the middle of a question that will not be answered.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let begun = Instant::now();
    let order = tokio::task::block_in_place(|| verb(&stage, &["rollback", "--reason", "it looks wrong"]));
    assert_eq!(stage.value("eu").await.as_deref(), Some("false"), "{order:?}");
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    let run = stage.reaches("eu", RunState::RolledBack).await;
    assert_eq!(cause(&run), "it looks wrong");
    // A question takes up to five seconds, and was put at most one second before.
    let decided = run.status.as_ref().and_then(|s| s.rollback.as_ref()).map(|r| r.at).expect("a rollback");
    let ordered = ordered_at(&stage).await;
    assert!((decided - ordered).num_seconds() <= 2, "ordered {ordered}, decided {decided}");
    prometheus.thaw();
    let (code, told) = verb(&stage, &["retry", "--reason", "it was not"]);
    assert!(code == 0 && told.contains("Applied: opened epoch 2"), "{code} {told}");
    stage.reaches("eu", RunState::Soaking).await;
}
