//! A schedule that waits for a phase of another, on a real API server.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use hoist::api::{MigrationRun, RunState};
use serde_json::json;

use crate::fixture::{Cluster, eventually_within};
use crate::stage::{Plan, Stage};

/// When the run last turned to a state.
fn turned(run: &MigrationRun, state: RunState) -> DateTime<Utc> {
    let transitions = run.status.iter().flat_map(|s| &s.transitions);
    transitions.filter(|t| t.to == state).map(|t| t.at).next_back().expect("a transition")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_starts_after_the_phase_of_another_and_not_after_its_rollback() {
    let mut stage = Stage::with_config_maps(&["eu", "apac"]).await;
    stage.start_controller();
    stage.place("eu").app.set_behaviour(&[("errors-when-enabled", "0.3")]).await;
    let phases = |name: &str, after: &[String]| {
        let environment = json!({ "name": name, "namespace": stage.place(name).namespace.name() });
        json!([{ "name": name, "environments": [environment], "after": after }])
    };
    // As it is named in the same namespace, and as from any other.
    let names = ["first/eu".to_owned(), format!("{}/first/work", stage.home.name())];
    let waiting = Plan::quick("1m").with("/phases", phases("apac", &names));
    let mut first = phases("eu", &[]);
    first.as_array_mut().expect("a list").push(json!({ "name": "work", "kind": "Work", "after": [] }));
    let first = Plan::quick("8s").with("/phases", first);
    let refused =
        stage.apply_as("bad", &Plan::quick("1m").with("/phases", phases("eu", &["first//eu".to_owned()]))).await;
    let refused = refused.stderr;
    assert!(refused.contains("spec.phases[0].after[0]"), "{refused}");

    stage.apply(&waiting).await.expect("applied");
    let said = stage.waits("apac", "Predecessor").await;
    assert_eq!(said, "waits for first/eu: schedule first does not exist");
    stage.apply_as("first", &first).await.expect("applied");
    stage.reaches("eu", RunState::RolledBack).await;
    let back = |r: &MigrationRun| {
        let mut waits = r.status.iter().flat_map(|s| &s.waits);
        waits.any(|w| w.message == "waits for first/eu: phase eu of schedule first was rolled back in eu")
    };
    stage.run_that("the rollback to be named", "apac", back).await;
    let told = stage.hoist(&["explain", &stage.name()]);
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("phase eu of schedule first was rolled back in eu"), "{told}");
    assert_eq!(stage.value("apac").await.as_deref(), Some("false"));

    stage.place("eu").app.set_behaviour(&[("errors-when-enabled", "0")]).await;
    let other = format!("{}/first", stage.home.name());
    eventually_within(Duration::from_secs(60), "the Retry to be taken", async || {
        let done = stage.hoist(&["retry", &other, "--reason", "mended"]);
        if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stdout).into_owned()) }
    })
    .await;
    let apac = stage.reaches("apac", RunState::Soaking).await;
    let eu = stage.run("eu").await.expect("a run");
    let (complete, flipped) = (turned(&eu, RunState::Completed), turned(&apac, RunState::Flipping));
    // It is woken, and does not find it by looking every 15 seconds.
    assert!(complete <= flipped && flipped - complete < TimeDelta::seconds(8), "{complete}: {flipped}");
    assert_eq!(stage.value("apac").await.as_deref(), Some("true"));

    // What is up stays up, whatever becomes of the other.
    let delete = ["-n", stage.home.name(), "delete", "migrationschedule", "first", "--wait=false"];
    Cluster::shared().kubectl(&delete).await.expect("deleted");
    tokio::time::sleep(Duration::from_secs(3)).await;
    let apac = stage.run("apac").await.and_then(|r| r.status).expect("a status");
    assert_eq!((apac.state, apac.held), (RunState::Soaking, None));
    assert_eq!(stage.value("apac").await.as_deref(), Some("true"));
}
