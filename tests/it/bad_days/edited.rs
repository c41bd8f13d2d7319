//! The schedule is edited, deleted and recreated while a flag is raised.

use std::time::Duration;

use hoist::api::RunState;
use serde_json::{Value, json};

use super::kit::{cause, is};
use crate::stage::{Plan, Stage, errors};

fn phases(stage: &Stage, names: &[&str]) -> Value {
    let phase = |name: &&str| {
        let environment = json!({ "name": name, "namespace": stage.place(name).namespace.name() });
        json!({ "name": name, "environments": [environment] })
    };
    names.iter().map(phase).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_raised_flag_keeps_the_checks_and_the_soak_it_was_raised_with() {
    let mut stage = Stage::with_config_maps(&["eu", "apac"]).await;
    stage.start_controller();
    stage.apply(&Plan::quick("7s")).await.expect("applied");
    stage.reaches("eu", RunState::Soaking).await;
    let mut lax = errors();
    lax["threshold"]["max"] = json!("0.9");
    stage.apply(&Plan::quick("1h").with("/checks/0", lax)).await.expect("edited");
    let run = stage.reaches("eu", RunState::Completed).await;
    let armed = |run: &hoist::api::MigrationRun| run.status.as_ref().and_then(|s| s.armed.clone()).expect("armed");
    assert_eq!(armed(&run).soak.duration.to_string(), "7s");
    let next = stage.reaches("apac", RunState::Soaking).await;
    assert_eq!(armed(&next).soak.duration.to_string(), "1h", "the next one has the edited soak");

    stage.place("eu").app.set_behaviour(&[("errors-when-enabled", "0.3")]).await;
    stage.place("apac").app.set_behaviour(&[("errors-when-enabled", "0.3")]).await;
    let run = stage.reaches("eu", RunState::RolledBack).await;
    assert!(cause(&run).contains("above max 0.05"), "{}", cause(&run));
    stage.stays(Duration::from_secs(2), "its own check allows it", "apac", is(RunState::Soaking)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn suspended_in_mid_soak_nothing_advances_and_a_breach_rolls_back() {
    let mut stage = Stage::with_config_maps(&["eu", "apac"]).await;
    stage.start_controller();
    stage.apply(&Plan::quick("4s")).await.expect("applied");
    stage.reaches("eu", RunState::Soaking).await;
    stage.patch(&json!({ "spec": { "suspend": true } })).await;
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(stage.value("apac").await.as_deref(), Some("false"));
    assert!(stage.explained().contains("suspended (spec.suspend)"), "{}", stage.explained());
    stage.place("eu").app.set_behaviour(&[("errors-when-enabled", "0.3")]).await;
    stage.reaches("eu", RunState::RolledBack).await;
    assert_eq!(stage.value("apac").await.as_deref(), Some("false"));
}

#[tokio::test(flavor = "multi_thread")]
async fn in_observe_a_breach_is_only_told_until_the_mode_is_act_again() {
    let mut stage = Stage::with_config_maps(&["eu"]).await;
    stage.start_controller();
    stage.apply(&Plan::quick("60s")).await.expect("applied");
    stage.reaches("eu", RunState::Soaking).await;
    let writes = stage.writes("eu");
    stage.patch(&json!({ "spec": { "mode": "Observe" } })).await;
    stage.place("eu").app.set_behaviour(&[("errors-when-enabled", "0.3")]).await;
    let said = stage.held("eu", "WouldRollBack").await;
    assert!(said.contains("above max 0.05") && said.contains("only says that it would roll back now"), "{said}");
    stage.stays(Duration::from_secs(3), "nothing is written", "eu", is(RunState::Soaking)).await;
    assert_eq!(stage.writes("eu"), writes);
    stage.patch(&json!({ "spec": { "mode": "Act" } })).await;
    stage.reaches("eu", RunState::RolledBack).await;
    assert_eq!(stage.value("eu").await.as_deref(), Some("false"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phase_that_is_taken_out_is_watched_and_soaks_to_its_end_before_the_next() {
    let mut stage = Stage::with_config_maps(&["eu", "apac", "us"]).await;
    stage.start_controller();
    let plan = |soak, phases| Plan::quick(soak).with("/phases", phases);
    stage.apply(&plan("20s", phases(&stage, &["eu", "apac"]))).await.expect("applied");
    stage.reaches("eu", RunState::Soaking).await;
    stage.apply(&plan("4s", phases(&stage, &["us"]))).await.expect("edited");
    let said = stage.waits("us", "Predecessor").await;
    assert!(said.contains("waits for eu eu, which is Soaking"), "{said}");
    stage.reaches("us", RunState::Finished).await;
    assert_eq!(stage.value("eu").await.as_deref(), Some("true"));
    assert_eq!(stage.value("apac").await.as_deref(), Some("false"), "it is no part of the schedule any more");
    assert!(stage.run("apac").await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phase_that_is_put_in_front_waits_for_the_flip_in_work() {
    let mut stage = Stage::with_config_maps(&["eu", "us"]).await;
    stage.start_controller();
    let plan = |soak, phases| Plan::quick(soak).with("/phases", phases);
    stage.apply(&plan("20s", phases(&stage, &["eu"]))).await.expect("applied");
    stage.reaches("eu", RunState::Soaking).await;
    stage.apply(&plan("4s", phases(&stage, &["us", "eu"]))).await.expect("edited");
    let said = stage.waits("us", "Predecessor").await;
    assert!(said.contains("waits for eu eu, which is Soaking"), "{said}");
    stage.reaches("us", RunState::Finished).await;
    stage.reaches("eu", RunState::Finished).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_with_keep_the_flag_stays_and_a_successor_does_not_take_it_for_its_own() {
    let mut stage = Stage::with_config_maps(&["eu"]).await;
    stage.start_controller();
    let plan = Plan::quick("5s");
    stage.apply(&Plan::quick("60s")).await.expect("applied");
    stage.reaches("eu", RunState::Soaking).await;
    stage.delete().await;
    let run = stage.reaches("eu", RunState::Finished).await;
    assert!(run.status.expect("a status").message.contains("onDelete is Keep"));
    assert_eq!(stage.value("eu").await.as_deref(), Some("true"));

    stage.apply(&plan).await.expect("applied anew");
    let said = stage.held("eu", "RaisedBefore").await;
    assert!(said.contains("is enabled already"), "{said}");
    stage.kubectl(&["wait", "ms/repo", "--for=condition=Stalled", "--timeout=10s"]).await.expect("stalled");
    assert_eq!(stage.flips("eu"), 1, "{:?}", stage.writes("eu"));
    let retry = stage.hoist(&["retry", &stage.name(), "--environment", "eu", "--reason", "it may carry on"]);
    assert!(retry.status.success(), "{}", String::from_utf8_lossy(&retry.stderr));
    let run = stage.reaches("eu", RunState::Finished).await;
    assert_eq!(run.spec.epoch, 2);
    assert_eq!(stage.value("eu").await.as_deref(), Some("true"));
}

#[tokio::test(flavor = "multi_thread")]
async fn lowered_by_a_person_a_flag_that_was_kept_is_free_for_the_successor() {
    let mut stage = Stage::with_config_maps(&["eu"]).await;
    stage.start_controller();
    stage.apply(&Plan::quick("60s")).await.expect("applied");
    stage.reaches("eu", RunState::Soaking).await;
    stage.delete().await;
    stage.apply(&Plan::quick("4s")).await.expect("applied anew");
    stage.held("eu", "RaisedBefore").await;
    let mut app = stage.place("eu").app.clone();
    app.set_flag("false").await;
    let run = stage.reaches("eu", RunState::Finished).await;
    assert_eq!(run.spec.epoch, 1);
    assert_eq!(stage.value("eu").await.as_deref(), Some("true"));
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_with_rollback_the_flag_goes_back_and_a_successor_needs_a_retry() {
    let mut stage = Stage::with_config_maps(&["eu"]).await;
    stage.start_controller();
    stage.apply(&Plan::quick("60s").with("/onDelete", json!("Rollback"))).await.expect("applied");
    stage.reaches("eu", RunState::Soaking).await;
    stage.delete().await;
    assert_eq!(stage.value("eu").await.as_deref(), Some("false"));
    let run = stage.reaches("eu", RunState::RolledBack).await;
    assert!(cause(&run).contains("onDelete is Rollback"), "{}", cause(&run));

    stage.apply(&Plan::quick("4s")).await.expect("applied anew");
    let said = stage.held("eu", "PreviouslyRolledBack").await;
    assert!(said.contains("onDelete is Rollback") && said.contains("order a Retry"), "{said}");
    assert_eq!(stage.value("eu").await.as_deref(), Some("false"));
    let retry = stage.hoist(&["retry", &stage.name(), "--environment", "eu", "--reason", "meant to be"]);
    assert!(retry.status.success(), "{}", String::from_utf8_lossy(&retry.stderr));
    stage.reaches("eu", RunState::Finished).await;
    assert_eq!(stage.value("eu").await.as_deref(), Some("true"));
}
