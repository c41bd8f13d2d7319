//! "Why is it waiting?", in every state in which something waits.

use hoist::api::RunState;
use serde_json::{Value, json};

use super::kit::one_value;
use crate::fixture::{Answer, Cluster, FLAG, FakePrometheus, eventually};
use crate::stage::{Plan, Stage};

/// Waits until `hoist explain` says this, as text and as JSON.
async fn explains(stage: &Stage, sentence: &str) {
    explains_of(stage, "repo", sentence).await;
}

async fn explains_of(stage: &Stage, name: &str, sentence: &str) {
    let name = format!("{}/{name}", stage.home.name());
    let ask = |more: &[&str]| {
        let output = tokio::task::block_in_place(|| stage.hoist(&[&["explain", &name], more].concat()));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    eventually(&format!("explain to say: {sentence}"), async || {
        let text = ask(&[]);
        if text.contains(sentence) { Ok(()) } else { Err(text) }
    })
    .await;
    let json: Value = serde_json::from_str(&ask(&["-o", "json"])).expect("JSON");
    let sentence = sentence.rsplit_once("waits, ").map_or(sentence, |(_, s)| s);
    let sentence = ["next: ", "held, ", "check "].iter().fold(sentence, |s, head| s.trim_start_matches(head));
    assert!(strings(&json).iter().any(|s| s.contains(sentence)), "{sentence}: {json:#}");
}

/// Every text in a value.
fn strings(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(strings).collect(),
        Value::Object(fields) => fields.values().flat_map(strings).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

/// A stage whose one check answers 0.3 until told otherwise.
async fn breaching(names: &[&str]) -> (Stage, FakePrometheus, Plan) {
    let fake = FakePrometheus::start();
    fake.answer(Answer::value(0.3));
    fake.answer_query("timestamp(", Answer::value(4e9));
    let stage = Stage::with_config_maps(names).await;
    stage.watched_by("eu", &fake.url()).await;
    (stage, fake, Plan::quick("60s").with("/checks/0", one_value()))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_stopped() {
    let (mut stage, _fake, plan) = breaching(&["eu"]).await;
    let missing = stage.hoist(&["explain", &stage.name()]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("\"repo\" not found"));
    stage.apply(&plan).await.expect("applied");
    explains(&stage, "no controller has looked at it yet").await;
    stage.start_controller();
    explains(&stage, "waits, Evidence: check errors breaches before the flip: 0.3 is above max 0.05").await;
    explains(&stage, "next: the turn of eu eu, as soon as nothing is waited for").await;

    stage.patch(&json!({ "spec": { "suspend": true } })).await;
    explains(&stage, "waits, Suspend: the schedule is suspended (spec.suspend)").await;
    stage.patch(&json!({ "spec": { "suspend": false } })).await;
    stage.patch_environment("eu", &json!({ "spec": { "suspend": true } })).await;
    explains(&stage, "is suspended by its owner").await;
    stage.patch_environment("eu", &json!({ "spec": { "suspend": false } })).await;
    stage.hoist(&["pause", &stage.name(), "--reason", "lunch"]);
    explains(&stage, "waits, Pause: paused by Intervention repo-pause-").await;
    stage.hoist(&["resume", &stage.name(), "--reason", "lunch is over"]);

    stage.patch(&json!({ "spec": { "checks": [] , "flags": [{ "name": "OTHER", "values": { "enabled": "1", "disabled": "0" } }] } })).await;
    explains(&stage, "waits, Environment: Environment").await;
    explains(&stage, "does not list flag OTHER under spec.flags").await;
    stage.apply(&plan).await.expect("applied");
    let mut wrong = one_value();
    wrong["threshold"]["query"] = json!("errors_now offset 5m");
    stage.patch(&json!({ "spec": { "checks": [wrong] } })).await;
    explains(&stage, "waits, Spec: the schedule is invalid: spec.checks[0].threshold.query").await;
    explains(&stage, "next: nothing, before a person corrects what is said above").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there() {
    let (mut stage, _fake, plan) = breaching(&["eu"]).await;
    stage.start_controller();
    let mut later = plan.clone().with(
        "/phases",
        json!([{ "name": "eu", "start": "2099-01-01T00:00:00Z",
        "environments": [{ "name": "eu", "namespace": stage.place("eu").namespace.name() }] }]),
    );
    stage.apply(&later).await.expect("applied");
    explains(&stage, "next: eu eu: starts at 2099-01-01 00:00 UTC at the earliest").await;
    later = plan;
    stage.apply(&later).await.expect("applied");
    explains(&stage, "waits, Evidence").await;

    let environment = stage.environment("eu").await.to_string();
    stage.place("eu").kubectl(&["delete", "environments.hoist.dev", "eu"]).await.expect("deleted");
    explains(&stage, "does not exist; create it, or name another").await;
    Cluster::shared().kubectl_with_input(&["apply", "-f", "-"], &environment).await.expect("applied");
    explains(&stage, "waits, Evidence").await;
    stage.patch_environment("eu", &json!({ "spec": { "allowedSchedules": null } })).await;
    explains(&stage, "does not serve schedules of namespace").await;
    Cluster::shared().kubectl_with_input(&["apply", "-f", "-"], &environment).await.expect("applied");

    stage.place("eu").kubectl(&["delete", "configmap", "conduit-flags"]).await.expect("deleted");
    explains(&stage, "does not exist; create it, Hoist never does").await;
    let mut app = stage.place("eu").app.clone();
    app.set_flag("perhaps").await;
    explains(&stage, "reads \"perhaps\", set by field manager team").await;
    app.set_flag("true").await;
    explains(&stage, "held, RaisedBefore: ConfigMap").await;
    app.set_flag("false").await;
    stage.place("eu").kubectl(&["rollout", "pause", "deployment/conduit"]).await.expect("paused");
    explains(&stage, "is paused (spec.paused), so no rollout happens").await;
    stage.place("eu").kubectl(&["rollout", "resume", "deployment/conduit"]).await.expect("resumed");
    explains(&stage, "waits, Evidence").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way() {
    let (mut stage, fake, plan) = breaching(&["eu", "apac"]).await;
    let other = json!({ "name": "OTHER", "targets": [{ "configMap": { "name": "conduit-flags" } }] });
    let mut flags = stage.environment("eu").await["spec"]["flags"].clone();
    flags.as_array_mut().expect("flags").push(other);
    stage.patch_environment("eu", &json!({ "spec": { "flags": flags } })).await;
    stage.start_controller();
    stage.apply(&plan).await.expect("applied");
    fake.answer(Answer::value(0.0));
    stage.reaches("eu", RunState::Soaking).await;
    explains(&stage, "waits, Soak: soaks until 2").await;
    explains(&stage, "next: the end of the soak of eu eu, then the next environment").await;

    let place = json!({ "name": "eu", "namespace": stage.place("eu").namespace.name() });
    let second = plan.clone().with("/phases", json!([{ "name": "only", "environments": [place] }]));
    stage.apply_as("third", &second).await.expect("applied");
    explains_of(&stage, "third", "is claimed by schedule").await;
    let values = json!({ "enabled": "1", "disabled": "absent" });
    let second = second.with("/flags", json!([{ "name": "OTHER", "values": values }]));
    stage.apply_as("second", &second).await.expect("applied");
    explains_of(&stage, "second", "waits, Turn: another flip is in work in Environment").await;

    fake.answer(Answer::no_data());
    explains(&stage, "check errors Inconclusive since").await;
    stage
        .place("eu")
        .kubectl(&["patch", "configmap", "conduit-flags", "-p", &json!({ "data": { FLAG: "maybe" } }).to_string()])
        .await
        .expect("patched");
    explains(&stage, "held, Drifted: ConfigMap").await;
    stage.hoist(&["rollback", &stage.name(), "--reason", "enough"]);
    explains(&stage, "by Intervention repo-rollback-").await;
    explains(&stage, "next: nothing, before a person corrects what is said above").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_did_to_a_raised_flag() {
    let (mut stage, fake, plan) = breaching(&["eu", "us"]).await;
    let phase = |name: &str| {
        let place = json!({ "name": name, "namespace": stage.place(name).namespace.name() });
        json!({ "name": name, "environments": [place] })
    };
    let alone = plan.clone().with("/phases", json!([phase("eu")]));
    let in_front = plan.with("/phases", json!([phase("us"), phase("eu")]));
    fake.answer(Answer::value(0.0));
    stage.start_controller();
    stage.apply(&alone).await.expect("applied");
    stage.reaches("eu", RunState::Soaking).await;
    stage.apply(&in_front).await.expect("edited");
    explains(&stage, "waits, Predecessor: waits for eu eu, which is Soaking").await;
    stage.place("eu").kubectl(&["delete", "configmap", "conduit-flags"]).await.expect("deleted");
    explains(&stage, "was deleted while the flag was raised; Hoist never creates it").await;
    let mut app = stage.place("eu").app.clone();
    app.set_flag("true").await;
    explains(&stage, "held, TargetReplaced: ConfigMap").await;
    stage.hoist(&["rollback", &stage.name(), "--reason", "enough"]);
    explains(&stage, "it is not the one that was armed and is not written. Set it to").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_pods_make_wait() {
    let (mut stage, fake, plan) = breaching(&["eu"]).await;
    fake.answer(Answer::value(0.0));
    stage.start_controller();
    stage.patch_environment("eu", &json!({ "spec": { "suspend": true } })).await;
    stage.apply(&plan.with("/rollback/deadline", json!("3s"))).await.expect("applied");
    explains(&stage, "is suspended by its owner").await;
    let never = stage.place("eu").app.clone().behaviour("never-ready");
    never.apply().await;
    explains(&stage, "waits, Workload: Deployment").await;
    stage.place("eu").app.apply().await.rolled_out().await;
    stage.patch_environment("eu", &json!({ "spec": { "suspend": false } })).await;
    stage.reaches("eu", RunState::Soaking).await;

    let kubectl = stage.place("eu").kubectl(&["rollout", "pause", "deployment/conduit"]);
    kubectl.await.expect("paused");
    stage.hoist(&["rollback", &stage.name(), "--reason", "enough"]);
    explains(&stage, "held, RollbackUnproven: not proven within 3s").await;
    stage.place("eu").kubectl(&["rollout", "resume", "deployment/conduit"]).await.expect("resumed");
    stage.reaches("eu", RunState::RolledBack).await;
    stage.delete().await;
    stage.apply(&Plan::quick("4s")).await.expect("applied anew");
    explains(&stage, "held, PreviouslyRolledBack: ConfigMap").await;
}
