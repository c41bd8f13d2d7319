//! Malformed objects: refused by the API server; and one that slips into etcd all the same blocks nobody else.

use std::time::Duration;

use hoist::api::{MigrationRun, RunState};
use serde_json::{Value, json};

use super::etcd::alter;
use super::kit::is;
use crate::fixture::{Cluster, FLAG, eventually};
use crate::stage::{Plan, Stage, definitions};

/// Malformed parts of the quick plan, and what the message must name.
fn malformed() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        ("/sooak", json!({ "duration": "1h" }), "unknown field \"spec.sooak\""),
        ("/checks/0/threshold/maximum", json!("1"), "unknown field \"spec.checks[0].threshold.maximum\""),
        ("/mode", json!("Suggest"), "spec.mode: Unsupported value: \"Suggest\""),
        ("/suspend", json!("no"), "spec.suspend: Invalid value: \"string\""),
        ("/soak/duration", json!(60), "spec.soak.duration: Invalid value: \"integer\""),
        ("/soak/duration", json!("1.5h"), "spec.soak.duration: Invalid value: \"1.5h\""),
        ("/phases", json!([]), "spec.phases: Invalid value: 0"),
        ("/flags/0/values/disabled", json!("true"), "enabled and disabled must differ"),
        ("/flags/0/name", json!("no spaces"), "spec.flags[0].name: Invalid value: \"no spaces\""),
        ("/checks/0/threshold/max", json!(0.05), "spec.checks[0].threshold.max: Invalid value: \"number\""),
        ("/checks/0/threshold/query", json!("up"), "exactly one of query and ratio is needed"),
        ("/checks/0/interval", json!("5m"), "spec.checks[0].interval: Invalid value: \"5m\""),
        ("/checks/1", errors_again(), "Duplicate value"),
    ]
}

fn errors_again() -> Value {
    crate::stage::errors()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_refuses_malformed_schedules_and_names_the_field() {
    let stage = Stage::with_config_maps(&[]).await;
    let whole = |spec: &mut Value| {
        spec["phases"] = json!([{ "name": "eu", "environments": [{ "name": "eu" }] }]);
    };
    for (pointer, value, sentence) in malformed() {
        let mut object = stage.object("repo", &Plan::quick("1h"));
        whole(&mut object["spec"]);
        set(&mut object["spec"], pointer, value);
        let output = Cluster::shared().kubectl_with_input(&["create", "-f", "-"], &object.to_string()).await;
        assert!(!output.ok && output.stderr.contains(sentence), "{pointer}: {}", output.stderr);
    }
}

/// Puts a value at a path whose last part may be new.
fn set(object: &mut Value, pointer: &str, value: Value) {
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    match object.pointer_mut(parent).expect("the parent") {
        Value::Array(list) => list.push(value),
        other => other[key] = value,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_refuses_malformed_environments_and_orders() {
    definitions().await;
    let environment = |spec: Value| json!({ "kind": "Environment", "spec": spec });
    let order = |spec: Value| json!({ "kind": "Intervention", "spec": spec });
    let map = json!({ "configMap": { "name": "flags" } });
    let both = json!({ "configMap": { "name": "flags" }, "workloadEnv": { "kind": "Deployment", "name": "a", "container": "a" } });
    let prometheus = json!({ "address": "http://prometheus:9090" });
    let repo = json!({ "name": "repo", "uid": "1" });
    for (mut object, sentence) in [
        (
            environment(
                json!({ "flags": [{ "name": "F", "targets": [map] }], "prometheus": { "address": "prometheus" } }),
            ),
            "spec.prometheus.address",
        ),
        (
            environment(json!({ "flags": [{ "name": "F", "targets": [both] }], "prometheus": prometheus })),
            "exactly one of configMap and workloadEnv",
        ),
        (environment(json!({ "flags": [], "prometheus": prometheus })), "spec.flags"),
        (
            environment(
                json!({ "flags": [{ "name": "F", "targets": [map], "percent": 5 }], "prometheus": prometheus }),
            ),
            "unknown field \"spec.flags[0].percent\"",
        ),
        (order(json!({ "schedule": repo, "action": "Accept", "reason": "r" })), "spec.action: Unsupported value"),
        (order(json!({ "schedule": repo, "action": "Promote", "reason": "r" })), "Promote and Skip name their phase"),
        (order(json!({ "schedule": repo, "action": "Pause" })), "spec.reason: Required value"),
        (order(json!({ "schedule": repo, "action": "Resume", "reason": "r" })), "only Resume, names the pauses"),
        (order(json!({ "schedule": repo, "action": "Pause", "reason": "r", "run": "x" })), "only Retry, names the run"),
    ] {
        object["apiVersion"] = json!("hoist.dev/v1alpha1");
        object["metadata"] = json!({ "name": "x", "namespace": "default" });
        let output = Cluster::shared().kubectl_with_input(&["create", "-f", "-"], &object.to_string()).await;
        assert!(!output.ok && output.stderr.contains(sentence), "{sentence}: {}", output.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_schedule_in_etcd_is_reported_and_blocks_nobody_else() {
    let mut stage = Stage::with_config_maps(&["eu"]).await;
    let later =
        json!([{ "name": "later", "start": "2099-01-01T00:00:00Z", "environments": [{ "name": "elsewhere" }] }]);
    stage.apply_as("broken", &Plan::quick("1h").with("/phases", later)).await.expect("applied");
    alter("migrationschedules", &stage.home, "broken", |o| o["spec"]["soak"]["duration"] = json!(60)).await;
    stage.start_controller();
    stage.apply(&Plan::quick("3s")).await.expect("applied");
    stage.kubectl(&["wait", "ms/repo", "--for=condition=Completed", "--timeout=60s"]).await.expect("completes");
    stage.counts("hoist_unreadable_objects 1").await;
    assert!(stage.log().contains("a stored object cannot be read"), "it is logged");
    let stalled = ["wait", "ms/broken", "--for=condition=Stalled", "--timeout=20s"];
    stage.kubectl(&stalled).await.expect("it says so itself");
    let told = stage.kubectl(&["describe", "ms", "broken"]).await.expect("kubectl describe");
    assert!(told.contains("the stored object cannot be read") && told.contains("expected a string"), "{told}");
    stage.kubectl(&["delete", "ms", "broken", "--timeout=20s"]).await.expect("it can be deleted");
    stage.counts("hoist_unreadable_objects 0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_that_becomes_malformed_while_its_flag_is_raised_still_rolls_back() {
    let mut stage = Stage::with_config_maps(&["eu", "apac"]).await;
    stage.start_controller();
    stage.apply(&Plan::quick("60s")).await.expect("applied");
    stage.reaches("eu", RunState::Soaking).await;
    alter("migrationschedules", &stage.home, "repo", |o| o["spec"]["flags"] = json!("none")).await;
    eventually("the mistake to be told", async || {
        let told = stage.kubectl(&["get", "ms", "repo", "-o", "json"]).await.stdout;
        if told.contains("the stored object cannot be read") { Ok(()) } else { Err(told) }
    })
    .await;
    stage.place("eu").app.set_behaviour(&[("errors-when-enabled", "0.3")]).await;
    stage.reaches("eu", RunState::RolledBack).await;
    assert_eq!(stage.value("eu").await.as_deref(), Some("false"));
    let explained = stage.explained();
    assert!(explained.contains("the stored object cannot be read"), "{explained}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_outlives_a_spec_that_cannot_be_read() {
    let mut stage = Stage::with_config_maps(&["eu"]).await;
    stage.start_controller();
    stage.apply(&Plan::quick("60s")).await.expect("applied");
    stage.reaches("eu", RunState::Soaking).await;
    assert!(stage.hoist(&["pause", &stage.name(), "--reason", "not today"]).status.success());
    alter("migrationschedules", &stage.home, "repo", |o| o["spec"]["soak"]["duration"] = json!(60)).await;
    let stalled = |yes: &str| format!("--for=condition=Stalled={yes}");
    stage.kubectl(&["wait", "ms/repo", &stalled("true"), "--timeout=20s"]).await.expect("it says so");
    assert!(stage.explained().contains("not today"), "{}", stage.explained());
    alter("migrationschedules", &stage.home, "repo", |o| o["spec"]["soak"]["duration"] = json!("60s")).await;
    stage.kubectl(&["wait", "ms/repo", &stalled("false"), "--timeout=20s"]).await.expect("it goes on");
    assert!(stage.waits("eu", "Pause").await.contains("not today"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_environment_in_etcd_is_waited_for_where_it_is_used() {
    let mut stage = Stage::with_config_maps(&["eu", "apac"]).await;
    let apac = stage.environment("apac").await.to_string();
    let broken = &stage.place("apac").namespace;
    alter("environments", broken, "apac", |o| o["spec"]["suspend"] = json!("maybe")).await;
    stage.start_controller();
    stage.apply(&Plan::quick("3s")).await.expect("applied");
    stage.reaches("eu", RunState::Completed).await;
    let said = stage.waits("apac", "Environment").await;
    assert!(said.contains("cannot be read") && said.contains("\"maybe\""), "{said}");
    stage.counts("hoist_unreadable_objects 1").await;
    Cluster::shared().kubectl_with_input(&["replace", "--force", "-f", "-"], &apac).await.expect("replaced");
    stage.reaches("apac", RunState::Finished).await;
}

/// A run of a schedule that nobody knows, in an Environment.
async fn strange_run(stage: &Stage, environment: &str) {
    let namespace = stage.place("eu").namespace.name();
    let key = json!({ "namespace": namespace, "name": environment });
    let labels = json!({
        "hoist.dev/schedule-uid": "unknown", "hoist.dev/environment": environment,
        "hoist.dev/environment-namespace": namespace,
    });
    let object = json!({
        "apiVersion": "hoist.dev/v1alpha1", "kind": "MigrationRun",
        "metadata": { "name": environment, "namespace": namespace, "labels": labels },
        "spec": { "formatVersion": 1, "schedule": { "name": "s", "uid": "unknown" }, "phase": "p", "environment": key, "epoch": 1 },
    });
    let created = Cluster::shared().kubectl_with_input(&["create", "-f", "-"], &object.to_string()).await;
    created.expect("created");
    let status = json!({ "state": "Dancing", "since": "2025-01-01T00:00:00Z" });
    alter("migrationruns", &stage.place("eu").namespace, environment, |o| o["status"] = status).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_run_of_another_schedule_stops_raises_in_its_own_environment_alone() {
    let mut stage = Stage::with_config_maps(&["eu", "apac"]).await;
    strange_run(&stage, "elsewhere").await;
    stage.start_controller();
    stage.apply(&Plan::quick("60s")).await.expect("applied");
    stage.reaches("eu", RunState::Soaking).await;
    let name = stage.name();
    assert!(stage.hoist(&["rollback", &name, "--reason", "try again"]).status.success());
    stage.reaches("eu", RunState::RolledBack).await;
    strange_run(&stage, "eu").await;
    assert!(stage.hoist(&["retry", &name, "--reason", "try again"]).status.success());
    let said = stage.waits("eu", "Turn").await;
    assert!(said.contains("/eu cannot be read"), "{said}");
    stage.place("eu").kubectl(&["delete", "migrationrun", "eu"]).await.expect("deleted");
    stage.reaches("eu", RunState::Soaking).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_cannot_be_read_stalls_its_schedule_and_no_other() {
    let mut stage = Stage::with_config_maps(&["eu"]).await;
    stage.start_controller();
    stage.apply(&Plan::quick("60s")).await.expect("applied");
    let run = stage.reaches("eu", RunState::Soaking).await;
    let name = run.metadata.name.clone().expect("a name");
    alter("migrationruns", &stage.home, &name, |o| o["status"]["armed"]["soak"] = json!(5)).await;
    stage.kubectl(&["wait", "ms/repo", "--for=condition=Stalled", "--timeout=20s"]).await.expect("stalled");
    let stalled = stage.condition("Stalled").await;
    assert!(stalled.reason == "UnreadableRun" && stalled.message.contains(&name), "{stalled:?}");
    let explained = stage.explained();
    assert!(explained.contains(&format!("run {name} cannot be read")), "{explained}");
    assert_eq!(stage.value("eu").await.as_deref(), Some("true"));
    alter("migrationruns", &stage.home, &name, |o| o["status"]["armed"]["soak"] = json!({ "duration": "60s" })).await;
    let well = |r: &MigrationRun| is(RunState::Soaking)(r);
    stage.kubectl(&["wait", "ms/repo", "--for=condition=Stalled=false", "--timeout=20s"]).await.expect("it goes on");
    stage.stays(Duration::from_secs(2), "it goes on", "eu", well).await;
    assert_eq!(stage.flips("eu"), 1, "{FLAG} went up once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_order_in_etcd_is_counted_and_stops_no_other_order() {
    let mut stage = Stage::with_config_maps(&["eu"]).await;
    stage.apply(&Plan::quick("60s")).await.expect("applied");
    let uid = stage.schedule().await.and_then(|s| s.metadata.uid).expect("a uid");
    let object = json!({
        "apiVersion": "hoist.dev/v1alpha1", "kind": "Intervention",
        "metadata": { "name": "odd", "namespace": stage.home.name() },
        "spec": { "schedule": { "name": "repo", "uid": uid }, "action": "Pause", "reason": "r" },
    });
    Cluster::shared().kubectl_with_input(&["create", "-f", "-"], &object.to_string()).await.expect("created");
    alter("interventions", &stage.home, "odd", |o| o["spec"]["action"] = json!("Dance")).await;
    stage.start_controller();
    stage.reaches("eu", RunState::Soaking).await;
    stage.counts("hoist_unreadable_objects 1").await;
    assert!(stage.log().contains("a stored object cannot be read"), "it is logged");
    let order = stage.hoist(&["rollback", &stage.name(), "--reason", "enough"]);
    assert!(order.status.success(), "{}", String::from_utf8_lossy(&order.stderr));
    stage.reaches("eu", RunState::RolledBack).await;
}
