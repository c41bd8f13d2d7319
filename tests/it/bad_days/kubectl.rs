//! What kubectl and the tools that read conditions see.

use std::time::{Duration, Instant};

use hoist::api::{ConditionStatus, MigrationSchedule, RunState};
use serde_json::json;

use super::kit::one_value;
use crate::fixture::{Answer, FakePrometheus};
use crate::stage::{Plan, Stage};

/// What kstatus makes of a schedule, as its library reads objects that it does not know.
fn kstatus(schedule: &MigrationSchedule) -> &'static str {
    let status = schedule.status.clone().unwrap_or_default();
    if schedule.metadata.deletion_timestamp.is_some() {
        return "Terminating";
    }
    if schedule.metadata.generation != Some(status.observed_generation) {
        return "InProgress";
    }
    for condition in &status.conditions {
        match (condition.type_.as_str(), condition.status) {
            ("Reconciling", ConditionStatus::True) => return "InProgress",
            ("Stalled", ConditionStatus::True) => return "Failed",
            _ => {}
        }
    }
    match status.conditions.iter().find(|c| c.type_ == "Ready").map(|c| c.status) {
        Some(ConditionStatus::True) | None => "Current",
        Some(_) => "InProgress",
    }
}

async fn seen(stage: &Stage) -> &'static str {
    kstatus(&stage.schedule().await.expect("a schedule"))
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_columns_and_waits() {
    let mut stage = Stage::with_config_maps(&["eu", "apac"]).await;
    stage.apply(&Plan::quick("6s")).await.expect("applied");
    assert_eq!(seen(&stage).await, "InProgress", "nobody has looked at it");
    stage.start_controller();
    stage.kubectl(&["wait", "ms/repo", "--for=condition=Reconciling", "--timeout=30s"]).await.expect("it flips");
    stage.reaches("eu", RunState::Soaking).await;
    stage.kubectl(&["wait", "ms/repo", "--for=condition=Ready", "--timeout=10s"]).await.expect("it soaks");
    assert_eq!(seen(&stage).await, "Current", "a soak of days is no rollout in progress");
    let conditions = stage.schedule().await.and_then(|s| s.status).expect("a status").conditions;
    let order: Vec<_> = conditions.iter().map(|c| c.type_.as_str()).collect();
    assert_eq!(order, ["Stalled", "Reconciling", "Ready", "Completed"]);
    stage.place("apac").app.set_behaviour(&[("errors-when-enabled", "0.3")]).await;
    stage.reaches("apac", RunState::RolledBack).await;
    stage.kubectl(&["wait", "ms/repo", "--for=condition=Stalled", "--timeout=10s"]).await.expect("it was rolled back");
    assert_eq!(seen(&stage).await, "Failed");

    let table = stage.kubectl(&["get", "ms"]).await.expect("kubectl get ms");
    let (head, row) = table.split_once('\n').expect("a row");
    assert_eq!(
        head.split_whitespace().collect::<Vec<_>>(),
        ["NAME", "READY", "COMPLETED", "PROGRESS", "STATUS", "AGE"]
    );
    assert!(row.starts_with("repo   False   False       1/2        2 apac apac was rolled back: errors: "), "{row}");
    let table = stage.kubectl(&["get", "runs"]).await.expect("kubectl get runs");
    assert!(table.contains("Completed") && table.contains("RolledBack"), "{table}");
    let table = stage.place("eu").kubectl(&["get", "henv"]).await.expect("kubectl get henv");
    assert!(table.contains("PROMETHEUS") && table.contains("http://127.0.0.1:"), "{table}");
    let all = stage.kubectl(&["get", "hoist"]).await.expect("kubectl get hoist");
    assert!(
        all.contains("migrationschedule.hoist.dev/repo") && all.contains("migrationrun.hoist.dev/repo-eu-eu-1-"),
        "{all}"
    );
    let told = stage.kubectl(&["describe", "ms", "repo"]).await.expect("kubectl describe");
    assert!(told.contains("Events:") && told.contains("RolledBack"), "{told}");
    let told = stage.kubectl(&["explain", "ms.spec.onDelete"]).await.expect("kubectl explain");
    assert!(told.contains("What becomes of raised flags"), "{told}");
}

/// The versions of the schedule and of its runs.
async fn versions(stage: &Stage) -> Vec<Option<String>> {
    let schedule = stage.schedule().await.expect("a schedule");
    let runs = stage.runs().await;
    runs.iter().map(|r| r.metadata.resource_version.clone()).chain([schedule.metadata.resource_version]).collect()
}

/// Fails where anything of Hoist's is written within this time. First it may say what has just happened.
async fn is_quiet(stage: &Stage, mut meanwhile: impl FnMut()) {
    let mut before = versions(stage).await;
    let mut still = Instant::now();
    let start = Instant::now();
    while still.elapsed() < Duration::from_secs(6) {
        assert!(start.elapsed() < Duration::from_secs(9), "still written: {:?}", stage.run("eu").await);
        meanwhile();
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = versions(stage).await;
        if now != before {
            before = now;
            still = Instant::now();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_while_nothing_changes() {
    let fake = FakePrometheus::start();
    fake.answer_query("timestamp(", Answer::value(4e9));
    let mut value = 0.3;
    let mut drifting = || {
        value += 0.011;
        fake.answer(Answer::value(value));
    };
    drifting();
    let mut stage = Stage::with_config_maps(&["eu"]).await;
    stage.watched_by("eu", &fake.url()).await;
    stage.start_controller();
    let mut check = one_value();
    check["threshold"]["target"] = json!("0.01");
    stage.apply(&Plan::quick("600s").with("/checks/0", check)).await.expect("applied");
    stage.waits("eu", "Evidence").await;
    is_quiet(&stage, &mut drifting).await;
    fake.answer(Answer::value(0.0));
    stage.reaches("eu", RunState::Soaking).await;
    is_quiet(&stage, || {}).await;
    // Within max, above target: the soak holds, and its value moves all the time.
    let mut held = 0.02;
    is_quiet(&stage, || {
        held += 0.0007;
        fake.answer(Answer::value(held));
    })
    .await;
    assert!(stage.explained().contains("above target 0.01"), "{}", stage.explained());
}
