//! What is not there is waited for, before the flip; what vanishes or breaks after it is named or rolled back.

use std::time::Duration;

use hoist::api::RunState;
use serde_json::json;

use super::kit::{cause, is};
use crate::fixture::{Cluster, FLAG};
use crate::stage::{Plan, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_is_missing_is_waited_for_in_turn() {
    let mut stage = Stage::with_config_maps(&["eu"]).await;
    let environment = stage.environment("eu").await.to_string();
    let eu = stage.place("eu");
    eu.kubectl(&["delete", "environments.hoist.dev/eu", "configmap/conduit-flags"]).await.expect("deleted");
    eu.kubectl(&["delete", "deployment/conduit", "--cascade=foreground"]).await.expect("deleted");
    stage.start_controller();
    stage.apply(&Plan::quick("3s")).await.expect("applied");
    let said = stage.waits("eu", "Environment").await;
    assert!(said.contains("does not exist"), "{said}");

    Cluster::shared().kubectl_with_input(&["apply", "-f", "-"], &environment).await.expect("applied");
    let said = stage.waits("eu", "Target").await;
    assert!(said.contains("conduit-flags") && said.contains("does not exist; create it, Hoist never does"), "{said}");
    let said = stage.waits("eu", "Workload").await;
    assert!(said.contains("Deployment") && said.contains("does not exist"), "{said}");

    let eu = stage.place("eu");
    eu.app.clone().behaviour("never-ready").apply().await;
    let wait = |r: &hoist::api::MigrationRun| {
        r.status.iter().flat_map(|s| &s.waits).any(|w| w.message.contains("0 of 2 pods are up to date and ready"))
    };
    stage.run_that("eu to wait for its pods", "eu", wait).await;
    assert_eq!(stage.writes("eu"), Vec::<String>::new(), "nothing was written, nothing was created");

    eu.app.apply().await;
    stage.reaches("eu", RunState::Finished).await;
    assert_eq!(stage.value("eu").await.as_deref(), Some("true"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_is_missing_and_a_workload_that_has_not_opted_in_are_waited_for() {
    let mut stage = Stage::with_variables(&["eu"]).await;
    let target = |container: &str| {
        let target = json!({ "workloadEnv": { "kind": "Deployment", "name": "conduit", "container": container } });
        json!({ "spec": { "flags": [{ "name": FLAG, "targets": [target] }] } })
    };
    stage.patch_environment("eu", &target("sidecar")).await;
    stage.start_controller();
    stage.apply(&Plan::quick("3s")).await.expect("applied");
    let said = stage.waits("eu", "Target").await;
    assert!(said.contains("it has no container sidecar"), "{said}");
    stage.place("eu").kubectl(&["label", "deployment", "conduit", "hoist.dev/flags-"]).await.expect("labelled");
    stage.patch_environment("eu", &target("conduit")).await;
    let opted = |r: &hoist::api::MigrationRun| {
        r.status.iter().flat_map(|s| &s.waits).any(|w| w.message.contains("has not opted in"))
    };
    stage.run_that("eu to wait for consent", "eu", opted).await;
    assert_eq!(stage.writes("eu"), Vec::<String>::new());
    let label = ["label", "deployment", "conduit", "hoist.dev/flags=allowed"];
    stage.place("eu").kubectl(&label).await.expect("labelled");
    stage.reaches("eu", RunState::Finished).await;
}

async fn crashes_and_goes_back(mut stage: Stage) {
    let app = stage.place("eu").app.clone().behaviour("crash-when-enabled");
    app.apply().await.rolled_out().await;
    stage.start_controller();
    stage.apply(&Plan::quick("60s")).await.expect("applied");
    let run = stage.reaches("eu", RunState::RolledBack).await;
    assert!(cause(&run).starts_with("rollout: "), "{}", cause(&run));
    assert!(cause(&run).contains("CrashLoopBackOff"), "{}", cause(&run));
    assert_eq!(stage.value("eu").await.as_deref(), Some("false"));
    app.rolled_out().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flag_that_crashes_the_pods_goes_back() {
    let (variables, keys) = (Stage::with_variables(&["eu"]).await, Stage::with_config_maps(&["eu"]).await);
    tokio::join!(crashes_and_goes_back(variables), crashes_and_goes_back(keys));
}

/// Pods that cannot be made: the namespace refuses new ones, those that run stay.
async fn refuse_new_pods(stage: &Stage, refuse: bool) {
    let label = if refuse { "=restricted" } else { "-" };
    let label = format!("pod-security.kubernetes.io/enforce{label}");
    let args = ["label", "namespace", stage.place("eu").namespace.name(), &label];
    Cluster::shared().kubectl(&args).await.expect("labelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_that_never_completes_goes_back() {
    let mut stage = Stage::with_variables(&["eu"]).await;
    let patch = json!({ "spec": { "progressDeadlineSeconds": 5 } }).to_string();
    stage.place("eu").kubectl(&["patch", "deployment", "conduit", "-p", &patch]).await.expect("patched");
    refuse_new_pods(&stage, true).await;
    stage.start_controller();
    stage.apply(&Plan::quick("60s")).await.expect("applied");
    let run = stage.reaches("eu", RunState::RolledBack).await;
    assert!(cause(&run).contains("made no progress within its progressDeadlineSeconds"), "{}", cause(&run));
    assert_eq!(stage.value("eu").await.as_deref(), Some("false"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_that_cannot_be_proven_calls_a_person() {
    let mut stage = Stage::with_config_maps(&["eu"]).await;
    stage.start_controller();
    stage.apply(&Plan::quick("60s").with("/rollback/deadline", json!("6s"))).await.expect("applied");
    stage.reaches("eu", RunState::Soaking).await;
    refuse_new_pods(&stage, true).await;
    let name = stage.name();
    assert!(stage.hoist(&["rollback", &name, "--reason", "a hunch"]).status.success());
    assert_eq!(stage.value("eu").await.as_deref(), Some("false"), "the flag itself is down at once");
    let said = stage.held("eu", "RollbackUnproven").await;
    assert!(said.contains("not proven within 6s: still on the old value: pod conduit-"), "{said}");
    assert!(stage.explained().contains("RollbackUnproven"), "{}", stage.explained());
    refuse_new_pods(&stage, false).await;
    let run = stage.reaches("eu", RunState::RolledBack).await;
    assert_eq!(cause(&run), "a hunch");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_map_that_is_deleted_and_made_anew_is_never_taken_for_the_old_one() {
    let mut stage = Stage::with_config_maps(&["eu"]).await;
    stage.start_controller();
    stage.apply(&Plan::quick("60s")).await.expect("applied");
    stage.reaches("eu", RunState::Soaking).await;
    let before = stage.writes("eu");
    stage.place("eu").kubectl(&["delete", "configmap", "conduit-flags"]).await.expect("deleted");
    let said = stage.held("eu", "TargetMissing").await;
    assert!(said.contains("Hoist never creates it"), "{said}");
    stage.stays(Duration::from_secs(3), "it is held, not ended", "eu", is(RunState::Soaking)).await;
    assert_eq!(stage.writes("eu"), before, "nothing was created");

    let mut app = stage.place("eu").app.clone();
    app.set_flag("true").await;
    let said = stage.held("eu", "TargetReplaced").await;
    assert!(said.contains("made anew while the flag was raised, and is \"true\" now"), "{said}");
    let name = stage.name();
    stage.hoist(&["rollback", &name, "--reason", "its target is gone"]);
    stage.reaches("eu", RunState::RollingBack).await;
    let said = stage.held("eu", "TargetReplaced").await;
    assert!(said.contains("Set it to \"false\" by hand"), "{said}");
    assert_eq!(stage.value("eu").await.as_deref(), Some("true"), "it is not the one that was armed");
    assert_eq!(stage.flips("eu"), 1, "{:?}", stage.writes("eu"));
    app.set_flag("false").await;
    stage.reaches("eu", RunState::RolledBack).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_that_is_deleted_and_made_anew_is_never_taken_for_the_old_one() {
    let mut stage = Stage::with_variables(&["eu"]).await;
    stage.start_controller();
    stage.apply(&Plan::quick("60s")).await.expect("applied");
    stage.reaches("eu", RunState::Soaking).await;
    let before = stage.writes("eu");
    stage.place("eu").kubectl(&["delete", "deployment", "conduit"]).await.expect("deleted");
    stage.held("eu", "TargetMissing").await;
    assert_eq!(stage.writes("eu"), before, "nothing was created");
    stage.place("eu").app.clone().value("true").apply().await;
    let label = ["label", "deployment", "conduit", "hoist.dev/flags=allowed"];
    stage.place("eu").kubectl(&label).await.expect("labelled");
    stage.held("eu", "TargetReplaced").await;
    stage.stays(Duration::from_secs(3), "it is held, not ended", "eu", is(RunState::Soaking)).await;
    assert_eq!(stage.value("eu").await.as_deref(), Some("true"));
    assert_eq!(stage.writes("eu"), before, "nothing was written");
}
