//! Phases that branch, run beside each other and do work, and what people let pass, on a real API server.

use chrono::{DateTime, TimeDelta, Utc};
use hoist::api::{MigrationRun, RunState};
use serde_json::{Value, json};

use crate::alike::as_simulated;
use crate::fixture::{FLAG, eventually};
use crate::stage::{Plan, Stage};

/// An environment of the stage as a phase names it.
fn place(stage: &Stage, name: &str) -> Value {
    json!({ "name": name, "namespace": stage.place(name).namespace.name() })
}

/// Work, a phase with windows that goes in two steps, two and one beside each other over a barrier, and Work that is
/// counted from them.
fn course(stage: &Stage) -> Plan {
    let of = |name| place(stage, name);
    let steps = json!([{ "percent": 20, "soak": { "duration": "6s" } }, { "percent": "100" }]);
    let all_day = json!([{ "name": "all-day", "from": "00:00", "to": "24:00" }]);
    let phases = json!([
        { "name": "backup", "number": "0", "kind": "Work" },
        { "name": "staging", "number": "1", "environments": [of("staging")], "calendar": { "windows": all_day },
          "steps": steps },
        { "name": "regions", "number": "2", "maxParallel": 2, "barrier": true,
          "environments": [of("eu"), of("apac"), of("us")] },
        { "name": "validation", "number": "3", "kind": "Work", "environments": [of("eu")],
          "startAfter": { "phase": "regions", "delay": "3s" } },
    ]);
    Plan::quick("8s").with("/phases", phases).with("/rollback/scope", json!("All"))
}

/// When a run first turned to a state.
fn turned(run: &MigrationRun, state: RunState) -> DateTime<Utc> {
    let mut transitions = run.status.iter().flat_map(|s| &s.transitions);
    let found = transitions.find(|t| t.to == state);
    found.unwrap_or_else(|| panic!("{state}: {:?}", run.status)).at
}

async fn of_phase(stage: &Stage, phase: &str) -> MigrationRun {
    let runs = stage.runs().await;
    runs.into_iter().find(|r| r.spec.phase == phase).unwrap_or_else(|| panic!("no run of {phase}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_groups_work_and_what_is_counted_come_to_the_end() {
    let mut stage = Stage::in_parts(&["staging", "eu", "apac", "us"]).await;
    stage.start_controller();
    let plan = course(&stage).with("/watch", json!("5s"));
    stage.apply(&plan).await.expect("applied");
    let wait = ["wait", "migrationschedule/repo", "--for=condition=Completed", "--timeout=180s"];
    stage.kubectl(&wait).await.expect("the schedule completes");
    let staging = stage.run("staging").await.expect("a run").status.expect("a status");
    let flips = staging.transitions.iter().filter(|t| t.to == RunState::Flipping).map(|t| t.reason.as_str());
    assert_eq!(
        flips.collect::<Vec<_>>(),
        ["every gate is open", "soaked for 6s at 20 %: every check passes; goes to 100 %"]
    );
    assert_eq!(staging.step.map(|s| (s.number, s.of)), Some((2, 2)));
    for name in ["staging", "eu", "apac", "us"] {
        assert_eq!(stage.percent(name).await.as_deref(), Some("100"), "{name}");
    }
    let (eu, apac, us) = (
        stage.run_that("eu in its region", "eu", |r| r.spec.phase == "regions" || r.spec.phase == "validation").await,
        stage.run("apac").await.expect("a run"),
        stage.run("us").await.expect("a run"),
    );
    let eu = if eu.spec.phase == "regions" { eu } else { of_phase(&stage, "regions").await };
    assert!(turned(&apac, RunState::Flipping) < turned(&eu, RunState::Completed), "two go beside each other");
    assert!(turned(&us, RunState::Flipping) >= turned(&eu, RunState::Completed), "the barrier holds");
    assert!(turned(&us, RunState::Flipping) >= turned(&apac, RunState::Completed), "the barrier holds");
    for phase in ["backup", "validation"] {
        let work = of_phase(&stage, phase).await.status.expect("a status");
        assert_eq!((work.state, work.armed), (RunState::Finished, None), "{phase} writes nothing");
    }
    let validated = turned(&of_phase(&stage, "validation").await, RunState::Completed);
    assert!(validated - turned(&us, RunState::Completed) >= TimeDelta::seconds(3));
    let watched = turned(&us, RunState::Finished) - validated;
    assert!(watched >= TimeDelta::seconds(4), "watched for {watched}");
    let told = stage.hoist(&["explain", &stage.name()]);
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    as_simulated(&stage, &plan, |_| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_breach_with_scope_all_takes_everything_back() {
    let mut stage = Stage::in_parts(&["staging", "eu", "apac", "us"]).await;
    stage.start_controller();
    stage.place("us").app.set_behaviour(&[("errors-when-enabled", "0.3")]).await;
    let plan = course(&stage);
    stage.apply(&plan).await.expect("applied");
    let cause = stage.reaches("us", RunState::RolledBack).await.status.and_then(|s| s.rollback).expect("a rollback");
    assert!(cause.reason.contains("above max 0.05"), "{}", cause.reason);
    for name in ["staging", "eu", "apac"] {
        let run = stage.reaches(name, RunState::RolledBack).await;
        let rollback = run.status.and_then(|s| s.rollback).expect("a rollback");
        assert!(
            rollback.reason.starts_with("2 regions us was rolled back, and rollback.scope is All: errors"),
            "{rollback:?}"
        );
        assert_eq!(stage.value(name).await.as_deref(), Some("false"), "{name}");
        assert_eq!(stage.percent(name).await.as_deref(), Some("0"), "{name}");
    }
    assert!(!stage.runs().await.iter().any(|r| r.spec.phase == "validation"), "its turn never came");
    as_simulated(&stage, &plan, |world| world.metrics.curve("us").regression = Some(TimeDelta::zero())).await;
}

/// A tenth of the users is enough to see what is wrong, and a step that a person stopped stays where it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_the_users_stops_what_the_rest_never_sees() {
    let mut stage = Stage::in_parts(&["eu"]).await;
    stage.start_controller();
    let steps = json!([{ "percent": 20, "soak": { "duration": "6s" } }, { "percent": 50, "soak": { "duration": "1m", "updates": ["2s"] } },
        { "percent": 100 }]);
    let phases = json!([{ "name": "eu", "environments": [place(&stage, "eu")], "steps": steps }]);
    let plan = Plan::quick("8s").with("/phases", phases);
    stage.apply(&plan).await.expect("applied");
    stage
        .run_that("the second step", "eu", |r| {
            r.status
                .as_ref()
                .is_some_and(|s| s.state == RunState::Soaking && s.step.as_ref().is_some_and(|s| s.number == 2))
        })
        .await;
    assert_eq!(stage.percent("eu").await.as_deref(), Some("50"));
    let shown = stage.kubectl(&["get", "runs"]).await.expect("kubectl get runs");
    assert!(shown.contains("PERCENT") && shown.contains(" 50 "), "{shown}");
    let told = stage.hoist(&["explain", &stage.name()]);
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("at 50 %"), "{told}");
    eventually("an update of the soak", async || {
        let events = stage.kubectl(&["get", "events.events.k8s.io", "-o", "wide"]).await.expect("events");
        if events.contains("SoakUpdate") && events.contains("of 1m at 50 %") { Ok(()) } else { Err(events) }
    })
    .await;
    // Half of the users at 30 % are 15 %.
    stage.place("eu").app.set_behaviour(&[("errors-when-enabled", "0.3")]).await;
    stage.reaches("eu", RunState::RolledBack).await;
    assert_eq!((stage.value("eu").await.as_deref(), stage.percent("eu").await.as_deref()), (Some("false"), Some("0")));
    as_simulated(&stage, &plan, |world| world.metrics.curve("eu").regression = Some(TimeDelta::seconds(60))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_let_pass_what_they_name_and_nothing_else() {
    let mut stage = Stage::with_config_maps(&["eu", "apac", "us"]).await;
    stage.start_controller();
    let of = |name| place(&stage, name);
    let phases = json!([
        { "name": "eu", "environments": [of("eu")] },
        { "name": "apac", "environments": [of("apac")] },
        { "name": "us", "environments": [of("us")], "pointOfNoReturn": { "runbook": "https://example.org/undo" } },
    ]);
    let plan = Plan::quick("5m").with("/phases", phases).with("/checks/0/onBreach", json!("Hold"));
    stage.apply(&plan).await.expect("applied");
    stage.reaches("eu", RunState::Soaking).await;
    let order = |args: &[&str]| {
        let schedule = stage.name();
        let done = stage.hoist(&[&args[..1], &[&schedule, "--reason", "a test"], &args[1..]].concat());
        let told = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
        (done.status.code(), told)
    };
    let (code, told) = order(&["skip", "--phase", "apac"]);
    assert!(code == Some(0) && told.starts_with("Applied: leaves out apac apac"), "{told}");
    stage.reaches("apac", RunState::Skipped).await;
    let (code, told) = order(&["override", "--wait", "soak", "--for", "2m", "--environment", "eu"]);
    assert!(code == Some(0) && told.starts_with("Applied: Soak is not waited for until"), "{told}");
    stage.reaches("eu", RunState::Completed).await;
    let waits = stage.waits("us", "Promotion").await;
    assert!(waits.contains("point of no return") && waits.contains("order a Promote of us"), "{waits}");
    let (code, told) = order(&["promote", "--phase", "eu"]);
    assert!(code == Some(1) && told.contains("no point of no return"), "{told}");
    stage.place("us").app.set_behaviour(&[("errors-when-enabled", "0.3")]).await;
    let (code, told) = order(&["promote", "--phase", "us"]);
    assert!(code == Some(0), "{told}");
    let held = stage.held("us", "Breached").await;
    assert!(held.contains("onBreach is Hold: order a Rollback, or an Override of check errors"), "{held}");
    assert_eq!(stage.value("us").await.as_deref(), Some("true"));
    let (code, told) = order(&["override", "--check", "erors", "--for", "2m"]);
    assert!(code == Some(1) && told.contains("did you mean errors?"), "{told}");
    let (code, told) = order(&["override", "--check", "errors", "--for", "2m"]);
    assert!(code == Some(0), "{told}");
    let free = |r: &MigrationRun| r.status.as_ref().is_some_and(|s| s.held.is_none() && s.state == RunState::Soaking);
    stage.run_that("us to be released", "us", free).await;
    let (code, told) = order(&["rollback", "--environment", "us"]);
    assert!(code == Some(0), "{told}");
    stage.reaches("us", RunState::RolledBack).await;
    assert_eq!(stage.value("eu").await.as_deref(), Some("true"));
}

/// A flag that needs another is named first, goes up second and comes down first; a breach takes both.
#[tokio::test(flavor = "multi_thread")]
async fn a_flag_goes_up_after_the_one_that_it_needs_and_down_before_it() {
    let mut stage = Stage::with_whole_config_maps(&["eu"]).await;
    stage.start_controller();
    let eu = stage.place("eu");
    eu.kubectl(&["create", "configmap", "reads", "--from-literal=NEW_READS=false"]).await.expect("created");
    let target = json!([{ "op": "add", "path": "/spec/flags/-", "value":
        { "name": "NEW_READS", "targets": [{ "configMap": { "name": "reads" } }] } }]);
    let patch = ["patch", "environment/eu", "--type=json", "-p", &target.to_string()];
    eu.kubectl(&patch).await.expect("the Environment is patched");
    let flag = |name: &str, requires: &[&str]| json!({ "name": name, "values": { "enabled": "true", "disabled": "false" }, "requires": requires });
    let plan = Plan::quick("10m").with("/flags", json!([flag("NEW_READS", &[FLAG]), flag(FLAG, &[])]));
    stage.apply(&plan).await.expect("applied");
    stage.reaches("eu", RunState::Soaking).await;
    let written = written(&stage).await;
    assert!(written[0] < written[1], "what is needed is up first: {written:?}");
    stage.place("eu").app.set_behaviour(&[("errors-when-enabled", "0.5")]).await;
    stage.reaches("eu", RunState::RolledBack).await;
    let put_back = self::written(&stage).await;
    assert!(written[1] < put_back[1] && put_back[1] < put_back[0], "and down last: {written:?} {put_back:?}");
    let both = ["get", "configmaps", "reads", "conduit-flags", "-o", "jsonpath={.items[*].data}"];
    let both = stage.place("eu").kubectl(&both).await.expect("they are there");
    assert!(!both.contains("true"), "{both}");
}

/// The versions at which the needed flag and the one that needs it were written last; etcd counts all writes together.
async fn written(stage: &Stage) -> [u64; 2] {
    let version = async |name: &str| {
        let get = ["get", "configmap", name, "-o", "jsonpath={.metadata.resourceVersion}"];
        stage.place("eu").kubectl(&get).await.expect("it is there").trim().parse::<u64>().expect("a version")
    };
    [version("conduit-flags").await, version("reads").await]
}

/// A trial goes back by plan, says so on the way, and closes nothing: a second phase raises the flag in the same place.
#[tokio::test(flavor = "multi_thread")]
async fn a_trial_goes_back_by_plan_and_the_flag_is_raised_there_again() {
    let mut stage = Stage::with_whole_config_maps(&["eu"]).await;
    stage.start_controller();
    let phases = json!([
        { "name": "trial", "number": "0", "environments": [place(&stage, "eu")], "lowerAfter": "14s" },
        { "name": "for-good", "number": "1", "environments": [place(&stage, "eu")] },
    ]);
    stage.apply(&Plan::quick("8s").with("/phases", phases)).await.expect("applied");
    let says = |r: &MigrationRun| {
        let waits = r.status.iter().flat_map(|s| &s.waits);
        waits.clone().any(|w| w.message.starts_with("goes back as planned at") && w.until.is_some())
    };
    stage.run_that("eu to say when it goes back", "eu", says).await;
    let told = stage.hoist(&["explain", &stage.name()]);
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("next: trial ") && told.contains("goes back as planned at"), "{told}");
    stage.reaches("eu", RunState::Lowering).await;
    let table = stage.kubectl(&["get", "migrationruns"]).await.expect("a table");
    assert!(table.contains("Lowering"), "{table}");
    let wait = ["wait", "migrationschedule/repo", "--for=condition=Completed", "--timeout=120s"];
    stage.kubectl(&wait).await.expect("the schedule completes");
    let (trial, good) = (of_phase(&stage, "trial").await, of_phase(&stage, "for-good").await);
    let up = turned(&trial, RunState::Lowering) - turned(&trial, RunState::Soaking);
    assert!((TimeDelta::seconds(14)..TimeDelta::seconds(20)).contains(&up), "{up}");
    assert!(turned(&good, RunState::Flipping) >= turned(&trial, RunState::Finished), "one after the other");
    let last = trial.status.and_then(|s| s.transitions.last().map(|t| t.reason.clone())).expect("a transition");
    assert!(last.starts_with("put back after 14s as planned: ") && last.contains("back on the old value"), "{last}");
    assert_eq!(good.status.map(|s| s.state), Some(RunState::Finished));
    assert_eq!(stage.value("eu").await.as_deref(), Some("true"));
}
