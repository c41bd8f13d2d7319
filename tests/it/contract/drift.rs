//! What people do to a flag while a controller watches it: theirs is kept, and named.

use hoist::api::{MigrationRun, RunState};
use hoist::engine::{Stamp, StampKind};
use serde_json::json;

use crate::fixture::{Cluster, FLAG};
use crate::stage::{Plan, Stage};

/// One environment, soaking for an hour.
async fn raised(mut stage: Stage) -> Stage {
    stage.start_controller();
    stage.apply(&Plan::quick("1h")).await.expect("applied");
    stage.reaches("eu", RunState::Soaking).await;
    stage
}

async fn rolled_back(stage: Stage) -> Stage {
    let stage = raised(stage).await;
    let told = stage.hoist(&["rollback", &stage.name(), "--reason", "a test"]);
    assert!(told.status.success(), "{told:?}");
    stage.reaches("eu", RunState::RolledBack).await;
    assert_eq!(stage.value("eu").await.as_deref(), Some("false"));
    stage
}

/// Sets the flag by hand.
async fn set(stage: &Stage, variable: bool, value: &str) {
    let container = json!({ "name": "conduit", "env": [{ "name": FLAG, "value": value }] });
    let (object, patch) = if variable {
        ("deployment/conduit", json!({ "spec": { "template": { "spec": { "containers": [container] } } } }))
    } else {
        ("configmap/conduit-flags", json!({ "data": { FLAG: value } }))
    };
    stage.place("eu").kubectl(&["patch", object, "-p", &patch.to_string()]).await.expect("patched by hand");
}

/// The stamp on the target, as it is stored.
async fn stamp(stage: &Stage, object: &str) -> Stamp {
    let path = format!("jsonpath={{.metadata.annotations.stamp\\.hoist\\.dev/{FLAG}}}");
    let text = stage.place("eu").kubectl(&["get", object, "-o", &path]).await.expect("the stamp");
    Stamp::parse(&text).unwrap_or_else(|| panic!("no stamp: {text}"))
}

fn taken_from(run: &MigrationRun) -> Option<String> {
    run.status.clone()?.armed?.targets.first()?.taken_from.clone()
}

async fn kubectl_apply_takes_it_back(stage: Stage, object: &str, manifest: &serde_json::Value) {
    let stage = raised(stage).await;
    assert_eq!(taken_from(&stage.run("eu").await.expect("a run")).as_deref(), Some("team"));
    let namespace = stage.place("eu").namespace.name();
    let apply = ["-n", namespace, "apply", "-f", "-"];
    Cluster::shared().kubectl_with_input(&apply, &manifest.to_string()).await.expect("applied");
    let run = stage.reaches("eu", RunState::RolledBack).await;
    let record = run.status.and_then(|s| s.rollback).expect("a rollback");
    assert_eq!(record.actor, "kubectl-client-side-apply");
    let by = "by field manager kubectl-client-side-apply at ";
    assert!(record.reason.contains(by) && record.reason.ends_with("that is a rollback by a person"), "{record:?}");
    let stamp = stamp(&stage, object).await;
    assert_eq!((stamp.kind, stamp.decision), (StampKind::Closed, record.decision), "a person's lowering is closed too");
    assert_eq!(stage.value("eu").await.as_deref(), Some("false"));
}

/// Taken for the run's own value the flag would be raised again at once, for ever against the pipeline that applies it.
#[tokio::test(flavor = "multi_thread")]
async fn kubectl_apply_of_a_raised_key_is_a_rollback_by_a_person() {
    let stage = Stage::with_config_maps(&["eu"]).await;
    let manifest = serde_json::to_value(stage.place("eu").app.config_map()).expect("JSON");
    kubectl_apply_takes_it_back(stage, "configmap/conduit-flags", &manifest).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_apply_of_a_raised_variable_is_a_rollback_by_a_person() {
    let stage = Stage::with_variables(&["eu"]).await;
    let manifest = stage.place("eu").app.workload();
    kubectl_apply_takes_it_back(stage, "deployment/conduit", &manifest).await;
}

async fn a_third_value_is_kept(stage: Stage, variable: bool) {
    let stage = raised(stage).await;
    set(&stage, variable, "maybe").await;
    let held = stage.held("eu", "Drifted").await;
    assert!(held.contains("was set to \"maybe\" by field manager kubectl-patch at "), "{held}");
    assert_eq!(stage.value("eu").await.as_deref(), Some("maybe"));
    // A person's order goes over it.
    let told = stage.hoist(&["rollback", &stage.name(), "--reason", "a test"]);
    assert!(told.status.success(), "{told:?}");
    stage.reaches("eu", RunState::RolledBack).await;
    assert_eq!(stage.value("eu").await.as_deref(), Some("false"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_third_value_in_a_key_is_held_and_kept() {
    a_third_value_is_kept(Stage::with_config_maps(&["eu"]).await, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_third_value_in_a_variable_is_held_and_kept() {
    a_third_value_is_kept(Stage::with_variables(&["eu"]).await, true).await;
}

/// By its value alone the flag looks as Hoist left it an hour ago.
#[tokio::test(flavor = "multi_thread")]
async fn a_flag_enabled_by_hand_after_the_rollback_is_left_alone() {
    let stage = rolled_back(Stage::with_config_maps(&["eu"]).await).await;
    set(&stage, false, "true").await;
    let held = stage.held("eu", "Drifted").await;
    assert!(held.contains("was set to \"true\" by field manager kubectl-patch at "), "{held}");
    assert!(held.contains("after the rollback; it is left alone"), "{held}");
    assert_eq!(stage.value("eu").await.as_deref(), Some("true"));
    assert_eq!(stamp(&stage, "configmap/conduit-flags").await.kind, StampKind::Closed);
}

/// By value and stamp alone the run's own raise is back.
#[tokio::test(flavor = "multi_thread")]
async fn rollout_undo_after_the_rollback_is_left_alone() {
    let stage = rolled_back(Stage::with_variables(&["eu"]).await).await;
    stage.place("eu").kubectl(&["rollout", "undo", "deployment/conduit"]).await.expect("undone");
    assert_eq!(stage.value("eu").await.as_deref(), Some("true"));
    assert_eq!(stamp(&stage, "deployment/conduit").await.kind, StampKind::Raised, "the old stamp came back");
    let held = stage.held("eu", "Drifted").await;
    assert!(held.contains("was set to \"true\" by field manager kubectl"), "{held}");
    assert_eq!(stage.value("eu").await.as_deref(), Some("true"));
    assert_eq!(stage.runs().await.len(), 1, "nobody opened another epoch");
}

async fn absent_is_raised_and_put_back(stage: Stage, object: &str, removal: &serde_json::Value) {
    let mut stage = stage;
    stage.place("eu").kubectl(&["patch", object, "-p", &removal.to_string()]).await.expect("removed");
    stage.place("eu").app.rolled_out().await;
    assert_eq!(stage.value("eu").await, None);
    stage.start_controller();
    let plan = Plan::quick("1h").with("/flags/0/values/disabled", json!("absent"));
    stage.apply(&plan).await.expect("applied");
    let run = stage.reaches("eu", RunState::Soaking).await;
    assert_eq!(taken_from(&run), None, "there was nothing to take");
    assert_eq!(stage.value("eu").await.as_deref(), Some("true"));
    let told = stage.hoist(&["rollback", &stage.name(), "--reason", "a test"]);
    assert!(told.status.success(), "{told:?}");
    stage.reaches("eu", RunState::RolledBack).await;
    assert_eq!(stage.value("eu").await, None);
    stage.place("eu").app.rolled_out().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_key_is_raised_and_absent_again() {
    let stage = Stage::with_whole_config_maps(&["eu"]).await;
    absent_is_raised_and_put_back(stage, "configmap/conduit-flags", &json!({ "data": { FLAG: null } })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_variable_is_raised_and_absent_again() {
    let container = json!({ "name": "conduit", "env": [{ "name": FLAG, "$patch": "delete" }] });
    let removal = json!({ "spec": { "template": { "spec": { "containers": [container] } } } });
    absent_is_raised_and_put_back(Stage::with_variables(&["eu"]).await, "deployment/conduit", &removal).await;
}

/// `absent` is what a missing key reads as; that it is no value of this flag must not be guessed away.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_key_that_is_no_value_of_the_flag_is_waited_for() {
    let mut stage = Stage::with_whole_config_maps(&["eu"]).await;
    let removal = json!({ "data": { FLAG: null } }).to_string();
    stage.place("eu").kubectl(&["patch", "configmap/conduit-flags", "-p", &removal]).await.expect("removed");
    stage.start_controller();
    stage.apply(&Plan::quick("1h")).await.expect("applied");
    let waits = stage.waits("eu", "Target").await;
    assert!(waits.contains("reads absent") && waits.ends_with("set it to \"false\""), "{waits}");
    set(&stage, false, "false").await;
    stage.reaches("eu", RunState::Soaking).await;
}

/// Who takes the label away withdraws the consent to a raise, not the way back.
#[tokio::test(flavor = "multi_thread")]
async fn a_workload_that_opts_out_while_raised_is_still_rolled_back() {
    let stage = raised(Stage::with_variables(&["eu"]).await).await;
    stage.place("eu").kubectl(&["label", "deployment/conduit", "hoist.dev/flags-"]).await.expect("opted out");
    let told = stage.hoist(&["rollback", &stage.name(), "--reason", "a test"]);
    assert!(told.status.success(), "{told:?}");
    stage.reaches("eu", RunState::RolledBack).await;
    assert_eq!(stage.value("eu").await.as_deref(), Some("false"));
}
