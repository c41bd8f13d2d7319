//! Calendars on a real API server and by the real clock.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Timelike, Utc};
use hoist::api::{MigrationRun, RunState};
use serde_json::{Value, json};

use crate::fixture::{Cluster, eventually_within};
use crate::stage::{Plan, Stage};

/// The beginning of the first minute that is at least so many seconds away.
fn next_minute(seconds: i64) -> DateTime<Utc> {
    let at = Utc::now() + TimeDelta::seconds(seconds + 60);
    at.with_second(0).and_then(|at| at.with_nanosecond(0)).expect("a minute")
}

async fn sleep_until(at: DateTime<Utc>) {
    tokio::time::sleep((at - Utc::now()).to_std().unwrap_or_default()).await;
}

/// When the run turned to a state.
fn turned(run: &MigrationRun, state: RunState) -> DateTime<Utc> {
    let transitions = run.status.iter().flat_map(|s| &s.transitions);
    transitions.clone().find(|t| t.to == state).map(|t| t.at).expect("a transition")
}

/// A freeze of this day and its neighbours.
fn freeze(reason: &str) -> Value {
    let day = |days| (Utc::now() + TimeDelta::days(days)).format("%Y-%m-%d").to_string();
    json!([{ "name": "quarter-end", "from": day(-1), "to": day(1), "reason": reason }])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flip_waits_for_its_window_and_a_rollback_for_none() {
    let mut stage = Stage::with_config_maps(&["eu"]).await;
    stage.start_controller();
    let opens = next_minute(40);
    // Read in a zone in which nobody may take it for UTC.
    let zone: chrono_tz::Tz = "Asia/Kathmandu".parse().expect("a zone");
    let clock = |at: DateTime<Utc>| at.with_timezone(&zone).format("%H:%M").to_string();
    let window = json!([{ "name": "minute", "from": clock(opens), "to": clock(opens + TimeDelta::minutes(1)) }]);
    let calendar = json!({ "timeZone": "Asia/Kathmandu", "windows": window });
    stage.apply(&Plan::quick("5m").with("/calendar", calendar)).await.expect("applied");
    let said = stage.waits("eu", "Calendar").await;
    let local = opens.with_timezone(&zone).format("%Y-%m-%d %H:%M");
    assert!(said.starts_with("outside window minute (every day "), "{said}");
    assert!(said.contains(&format!("opens {local} UTC+05:45 (")) && said.contains("UTC)"), "{said}");
    let told = stage.hoist(&["explain", &stage.name()]);
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("waits, Calendar: outside window minute") && told.contains(" (in "), "{told}");
    let alone = |r: &MigrationRun| r.status.as_ref().is_some_and(|s| matches!(&s.waits[..], [w] if w.until.is_some()));
    let run = stage.run_that("nothing but the calendar to be waited for", "eu", alone).await;
    assert_eq!(run.status.and_then(|s| s.waits[0].until), Some(opens));
    assert_eq!(stage.value("eu").await.as_deref(), Some("false"));

    sleep_until(opens).await;
    let run = stage.reaches("eu", RunState::Soaking).await;
    let flipped = turned(&run, RunState::Flipping);
    assert!(opens <= flipped && flipped < opens + TimeDelta::seconds(10), "{opens}: {flipped}");

    // Long after the window, in a freeze of the schedule and of the place.
    stage.patch(&json!({ "spec": { "calendar": { "freezes": freeze("quarter end") } } })).await;
    stage.patch_environment("eu", &json!({ "spec": { "calendar": { "freezes": freeze("a launch") } } })).await;
    sleep_until(opens + TimeDelta::minutes(1)).await;
    stage.place("eu").app.set_behaviour(&[("errors-when-enabled", "0.3")]).await;
    let run = stage.reaches("eu", RunState::RolledBack).await;
    let rollback = run.status.and_then(|s| s.rollback).expect("a rollback");
    assert!(rollback.reason.contains("above max 0.05"), "{}", rollback.reason);
    assert_eq!(stage.value("eu").await.as_deref(), Some("false"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_of_the_environment_holds_until_it_is_edited() {
    let mut stage = Stage::with_config_maps(&["eu"]).await;
    let frozen = json!({ "spec": { "calendar": { "timeZone": "Europe/Berlin", "freezes": freeze("a launch") } } });
    stage.patch_environment("eu", &frozen).await;
    stage.start_controller();
    stage.apply(&Plan::quick("5s")).await.expect("applied");
    let said = stage.waits("eu", "Calendar").await;
    assert!(said.starts_with("frozen by quarter-end of Environment ") && said.contains(": a launch; opens "), "{said}");
    eventually_within(Duration::from_secs(20), "Ready to say so", async || {
        let path = "jsonpath={.status.conditions[?(@.type==\"Ready\")].reason}";
        let reason = stage.kubectl(&["get", "ms", "repo", "-o", path]).await.expect("a status");
        if reason == "Calendar" { Ok(()) } else { Err(reason) }
    })
    .await;
    assert_eq!(stage.value("eu").await.as_deref(), Some("false"));
    let edited = Utc::now();
    stage.patch_environment("eu", &json!({ "spec": { "calendar": { "freezes": null } } })).await;
    let run = stage.reaches("eu", RunState::Soaking).await;
    let flipped = turned(&run, RunState::Flipping);
    assert!(flipped - edited < TimeDelta::seconds(20), "{edited}: {flipped}");
    stage.reaches("eu", RunState::Finished).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_for_many_holds_those_that_it_selects_until_it_is_deleted() {
    let mut stage = Stage::with_config_maps(&["eu"]).await;
    let day = |days| (Utc::now() + TimeDelta::days(days)).format("%Y-%m-%d").to_string();
    let name = format!("launch-{}", stage.home.name());
    let own = json!({ "matchLabels": { "kubernetes.io/metadata.name": stage.home.name() } });
    let frozen = |more: Value| {
        let mut spec = json!({ "from": day(-1), "to": day(1), "reason": "a launch", "namespaceSelector": own });
        spec.as_object_mut().expect("a map").extend(more.as_object().expect("a map").clone());
        json!({ "apiVersion": "hoist.dev/v1alpha1", "kind": "Freeze", "metadata": { "name": name }, "spec": spec })
            .to_string()
    };
    let cluster = Cluster::shared();
    let apply = ["apply", "-f", "-"];
    let refused = cluster.kubectl_with_input(&apply, &frozen(json!({ "strength": "Never" }))).await.stderr;
    assert!(refused.contains("spec.strength") && refused.contains("\"Start\", \"Advance\""), "{refused}");
    cluster.kubectl_with_input(&apply, &frozen(json!({}))).await.expect("frozen");
    stage.start_controller();
    stage.apply(&Plan::quick("5s")).await.expect("applied");
    let said = stage.waits("eu", "Calendar").await;
    assert!(
        said.starts_with(&format!("frozen by {name} (a Freeze) until ")) && said.contains(": a launch; "),
        "{said}"
    );
    // Other schedules are meant from now on.
    let others = json!({ "scheduleSelector": { "matchLabels": { "team": "another" } } });
    cluster.kubectl_with_input(&apply, &frozen(others)).await.expect("edited");
    stage.reaches("eu", RunState::Finished).await;
    let table = cluster.kubectl(&["get", "freezes", &name]).await.expect("kubectl get freezes");
    assert!(table.contains("a launch") && table.contains("Advance"), "{table}");
    cluster.kubectl(&["delete", "freeze", &name]).await.expect("deleted");
}
