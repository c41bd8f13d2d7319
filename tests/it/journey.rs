//! The main job on real parts: a schedule applied with kubectl is carried to its end, or rolled back.

use hoist::api::{MigrationRun, RunState, WorkloadKind};
use serde_json::Value;

use crate::fixture::{FLAG, FlagSource};
use crate::stage::{Plan, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn six_environments_are_carried_to_the_end() {
    let names = ["staging", "canary", "eu", "apac", "us-east", "us-west"];
    let mut stage = Stage::with_config_maps(&names).await;
    stage.start_controller();
    stage.apply(&Plan::quick("4s")).await.expect("applied");
    let wait = ["wait", "migrationschedule/repo", "--for=condition=Completed", "--timeout=180s"];
    stage.kubectl(&wait).await.expect("the schedule completes");
    for name in names {
        assert_eq!(stage.value(name).await.as_deref(), Some("true"), "{name}");
        stage.reaches(name, RunState::Finished).await;
    }
    let runs = stage.runs().await;
    let order: Vec<_> = runs.iter().map(|r| r.spec.environment.name.clone()).collect();
    assert_eq!(order, names, "one after the other, in the order of the schedule");
    let table = stage.kubectl(&["get", "runs"]).await.expect("kubectl get runs");
    assert_eq!(table.lines().filter(|l| l.contains("Finished")).count(), names.len(), "{table}");
    let told = stage.kubectl(&["describe", "ms", "repo"]).await.expect("kubectl describe");
    assert!(told.contains("soaked for 4s: every check passes"), "{told}");
    stage.kubectl(&["delete", "ms", "repo", "--timeout=20s"]).await.expect("kubectl delete");
    assert_eq!(stage.value("eu").await.as_deref(), Some("true"), "a finished migration stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_breach_in_eu_rolls_eu_back_and_never_touches_apac() {
    let mut stage = Stage::with_variables(&["staging", "eu", "apac"]).await;
    stage.start_controller();
    stage.place("eu").app.set_behaviour(&[("errors-when-enabled", "0.3")]).await;
    stage.apply(&Plan::quick("8s")).await.expect("applied");
    let run = stage.reaches("eu", RunState::RolledBack).await;
    let status = run.status.expect("a status");
    let rollback = status.rollback.expect("a rollback");
    assert!(
        rollback.reason.starts_with("errors: ") && rollback.reason.contains("above max 0.05"),
        "{}",
        rollback.reason
    );
    assert_eq!(stage.value("staging").await.as_deref(), Some("true"));
    assert_eq!(stage.value("eu").await.as_deref(), Some("false"));
    stage.place("eu").app.rolled_out().await;
    assert_eq!(stage.value("apac").await.as_deref(), Some("false"));
    assert!(stage.run("apac").await.is_none(), "APAC's turn never came");
    let stalled = ["wait", "ms/repo", "--for=condition=Stalled", "--timeout=10s"];
    stage.kubectl(&stalled).await.expect("a rolled back schedule is stalled");
    let told = stage.hoist(&["explain", &stage.name()]);
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("above max 0.05") && told.contains("before a person corrects"), "{told}");
    let events = stage.kubectl(&["get", "events.events.k8s.io"]).await.expect("events");
    assert!(events.contains("RolledBack"), "{events}");
}

/// The decisions whose restart marks the running pods carry.
async fn marks(stage: &Stage, environment: &str) -> Vec<String> {
    let pods = stage.place(environment).kubectl(&["get", "pods", "-o", "json"]).await.expect("pods");
    let pods: Value = serde_json::from_str(&pods).expect("JSON");
    let mark =
        |pod: &Value| pod["metadata"]["annotations"][&format!("restart.hoist.dev/{FLAG}")].as_str().map(String::from);
    let mut marks: Vec<String> = pods["items"].as_array().into_iter().flatten().filter_map(mark).collect();
    marks.dedup();
    marks
}

/// The same over the other kinds of workloads: a variable of StatefulSets, and a ConfigMap that a DaemonSet reads.
#[tokio::test(flavor = "multi_thread")]
async fn a_migration_over_a_daemon_set_and_stateful_sets_is_carried_and_rolled_back() {
    let kinds = [
        ("staging", WorkloadKind::StatefulSet, FlagSource::Literal),
        ("eu", WorkloadKind::DaemonSet, FlagSource::ConfigMapKey),
        ("apac", WorkloadKind::StatefulSet, FlagSource::Literal),
    ];
    let mut stage = Stage::of_kinds(&kinds, 2).await;
    stage.place("apac").app.set_behaviour(&[("errors-when-enabled", "0.3")]).await;
    stage.start_controller();
    stage.apply(&Plan::quick("8s")).await.expect("applied");
    stage.reaches("eu", RunState::Completed).await;
    assert_eq!(stage.value("staging").await.as_deref(), Some("true"));
    assert_eq!(stage.value("eu").await.as_deref(), Some("true"));
    let raised = marks(&stage, "eu").await;
    assert_eq!(raised.len(), 1, "every pod of the DaemonSet was restarted: {raised:?}");
    let run = stage.reaches("apac", RunState::RolledBack).await;
    let (reason, rollback) = (said(&run), run.status.and_then(|s| s.rollback).expect("a rollback"));
    assert!(rollback.reason.starts_with("errors: ") && rollback.reason.contains("above max 0.05"), "{rollback:?}");
    assert!(reason.contains("2 of 2 pods of StatefulSet") && reason.contains("are back on the old value"), "{reason}");
    assert_eq!(stage.value("apac").await.as_deref(), Some("false"));
    let pods =
        stage.place("apac").kubectl(&["get", "pods", "-o", "jsonpath={.items[*].spec.containers[0].env[0].value}"]);
    assert_eq!(pods.await.expect("pods"), "false false");
    // A person puts the DaemonSet back too.
    let told = stage.hoist(&["rollback", &stage.name(), "--environment", "eu", "--reason", "a test"]);
    assert!(told.status.success(), "{told:?}");
    let reason = said(&stage.reaches("eu", RunState::RolledBack).await);
    assert!(reason.contains("3 of 3 pods of DaemonSet"), "{reason}");
    assert_eq!(stage.value("eu").await.as_deref(), Some("false"));
    let lowered = marks(&stage, "eu").await;
    assert!(lowered.len() == 1 && lowered != raised, "restarted once more: {raised:?}, {lowered:?}");
}

/// Why the last transition of a run came.
fn said(run: &MigrationRun) -> String {
    let status = run.status.as_ref().expect("a status");
    status.transitions.last().map(|t| t.reason.clone()).unwrap_or_default()
}
