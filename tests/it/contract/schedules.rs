//! Several schedules on one object: each flag is its own schedule's, and one flag is one schedule's at a time.

use std::time::Duration;

use hoist::api::{MigrationRun, RunState};
use kube::api::{Api, ListParams};
use serde_json::{Value, json};

use crate::fixture::{Cluster, FLAG, eventually_within};
use crate::stage::{Plan, Stage};

const SECOND: &str = "CONDUIT_SECOND";

/// Another flag at the environment `eu`, on the same object as the first.
async fn add_second_flag(stage: &Stage, variable: bool) {
    let place = stage.place("eu");
    let environment = place.kubectl(&["get", "environment", "eu", "-o", "json"]).await.expect("the Environment");
    let mut environment: Value = serde_json::from_str(&environment).expect("JSON");
    let mut flag = environment["spec"]["flags"][0].clone();
    flag["name"] = json!(SECOND);
    let flags = environment["spec"]["flags"].as_array_mut().expect("flags");
    flags.push(flag);
    let namespace = place.namespace.name();
    let apply = ["-n", namespace, "replace", "-f", "-"];
    Cluster::shared().kubectl_with_input(&apply, &environment.to_string()).await.expect("the Environment lists both");
    let container = json!({ "name": "conduit", "env": [{ "name": SECOND, "value": "off-it-is" }] });
    let (object, patch) = if variable {
        ("deployment/conduit", json!({ "spec": { "template": { "spec": { "containers": [container] } } } }))
    } else {
        ("configmap/conduit-flags", json!({ "data": { SECOND: "off-it-is" } }))
    };
    place.kubectl(&["patch", object, "-p", &patch.to_string()]).await.expect("the second flag is there");
    place.app.rolled_out().await;
}

/// The second flag's value, as the API server has it.
async fn second(stage: &Stage, variable: bool) -> String {
    let (object, path) = if variable {
        let path = format!("{{.spec.template.spec.containers[0].env[?(@.name==\"{SECOND}\")].value}}");
        ("deployment/conduit", path)
    } else {
        ("configmap/conduit-flags", format!("{{.data.{SECOND}}}"))
    };
    stage.place("eu").kubectl(&["get", object, "-o", &format!("jsonpath={path}")]).await.expect("the value")
}

/// Waits until the latest run of a schedule is as wanted.
async fn run_of(stage: &Stage, schedule: &str, what: &str, is: impl Fn(&MigrationRun) -> bool) -> MigrationRun {
    let api: Api<MigrationRun> = stage.home.api(Cluster::shared().admin().await);
    eventually_within(Duration::from_secs(120), what, async || {
        let runs = api.list(&ListParams::default()).await.map_err(|e| e.to_string())?;
        let own = runs.items.into_iter().filter(|r| r.spec.schedule.name == schedule);
        match own.max_by_key(|r| r.spec.epoch) {
            Some(run) if is(&run) => Ok(run),
            other => Err(format!("{:?}", other.and_then(|r| r.status))),
        }
    })
    .await
}

async fn completes(stage: &Stage, schedule: &str) {
    let name = format!("ms/{schedule}");
    stage.kubectl(&["wait", &name, "--for=condition=Completed", "--timeout=120s"]).await.expect("it completes");
}

async fn stalled(stage: &Stage, schedule: &str) -> (String, String) {
    let name = format!("ms/{schedule}");
    stage.kubectl(&["wait", &name, "--for=condition=Stalled", "--timeout=60s"]).await.expect("it is stalled");
    let path = "jsonpath={.status.conditions[0].type} {.status.conditions[0].reason}|{.status.conditions[0].message}";
    let told = stage.kubectl(&["get", &name, "-o", path]).await.expect("the condition");
    let (what, message) = told.split_once('|').expect("two parts");
    (what.to_owned(), message.to_owned())
}

async fn two_flags_on_one_object(mut stage: Stage, variable: bool) {
    add_second_flag(&stage, variable).await;
    let second_plan = Plan::quick("3s")
        .with("/flags/0", json!({ "name": SECOND, "values": { "enabled": "raised", "disabled": "off-it-is" } }));
    stage.apply(&Plan::quick("3s")).await.expect("applied");
    stage.apply_as("second", &second_plan).await.expect("applied");
    // Both are there already: a controller that starts late must serve all that it finds.
    stage.start_controller();
    completes(&stage, "repo").await;
    completes(&stage, "second").await;
    assert_eq!(stage.value("eu").await.as_deref(), Some("true"));
    assert_eq!(second(&stage, variable).await, "raised");
    // Both are watched as their own: nobody's stamp or restart was lost to the other.
    for schedule in ["repo", "second"] {
        let run =
            run_of(&stage, schedule, "its end", |r| r.status.as_ref().is_some_and(|s| s.state == RunState::Finished))
                .await;
        assert_eq!(run.status.and_then(|s| s.rollback), None, "{schedule}");
    }
    let annotations = "jsonpath={.metadata.annotations}";
    let object = if variable { "deployment/conduit" } else { "configmap/conduit-flags" };
    let stamps = stage.place("eu").kubectl(&["get", object, "-o", annotations]).await.expect("annotations");
    let raised = stamps.matches("\\\"kind\\\":\\\"raised\\\"").count();
    assert_eq!(raised, 2, "{stamps}");
}

/// With one manager for all flags the second raise would take the first flag's key and stamp away.
#[tokio::test(flavor = "multi_thread")]
async fn two_schedules_share_one_config_map_and_its_workload() {
    two_flags_on_one_object(Stage::with_config_maps(&["eu"]).await, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_schedules_share_one_deployment() {
    two_flags_on_one_object(Stage::with_variables(&["eu"]).await, true).await;
}

/// Two schedules that raise and lower one flag would each take the other's write for a person's.
#[tokio::test(flavor = "multi_thread")]
async fn the_younger_of_two_schedules_of_one_flag_waits_and_then_finds_it_raised() {
    let mut stage = Stage::with_config_maps(&["eu"]).await;
    stage.start_controller();
    stage.apply(&Plan::quick("20s")).await.expect("applied");
    // Creation times have whole seconds; within one the uid decides.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    stage.apply_as("younger", &Plan::quick("2s")).await.expect("applied");
    let (what, message) = stalled(&stage, "younger").await;
    assert_eq!(what, "Stalled TargetClaimed", "{message}");
    assert!(message.contains(&format!("is claimed by schedule {}", stage.name())), "{message}");
    completes(&stage, "repo").await;
    let raised_before = |r: &MigrationRun| {
        let held = r.status.as_ref().and_then(|s| s.held.as_ref());
        held.is_some_and(|h| format!("{:?}", h.reason) == "RaisedBefore")
    };
    run_of(&stage, "younger", "to find the flag raised", raised_before).await;
    // Law 4: a person's lowering releases it.
    let place = stage.place("eu");
    let lowered = json!({ "data": { FLAG: "false" } }).to_string();
    place.kubectl(&["patch", "configmap/conduit-flags", "-p", &lowered]).await.expect("lowered by hand");
    completes(&stage, "younger").await;
    assert_eq!(stage.value("eu").await.as_deref(), Some("true"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_younger_goes_on_when_the_older_is_deleted() {
    let mut stage = Stage::with_variables(&["eu"]).await;
    stage.start_controller();
    stage.apply(&Plan::quick("2s").with("/suspend", json!(true))).await.expect("applied");
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    stage.apply_as("younger", &Plan::quick("2s")).await.expect("applied");
    let (what, message) = stalled(&stage, "younger").await;
    assert_eq!(what, "Stalled TargetClaimed", "{message}");
    assert!(message.ends_with("which is older"), "{message}");
    assert_eq!(stage.value("eu").await.as_deref(), Some("false"));
    stage.kubectl(&["delete", "ms/repo", "--timeout=20s"]).await.expect("deleted");
    completes(&stage, "younger").await;
    assert_eq!(stage.value("eu").await.as_deref(), Some("true"));
}

/// A cache wakes only the last who waits for it to be filled: of several schedules, all but one were never served.
#[tokio::test(flavor = "multi_thread")]
async fn a_controller_serves_every_schedule_that_it_finds() {
    let mut stage = Stage::with_config_maps(&["eu"]).await;
    let plan = Plan::quick("2s").with("/suspend", json!(true));
    let names: Vec<String> = (0..6).map(|i| format!("found-{i}")).collect();
    for name in &names {
        stage.apply_as(name, &plan).await.expect("applied");
    }
    for _ in 0..3 {
        stage.start_controller();
        for name in &names {
            let wait = ["wait", &format!("ms/{name}"), "--for=jsonpath={.status.observedGeneration}", "--timeout=20s"];
            stage.kubectl(&wait).await.expect("it is served");
        }
        stage.kill_controller();
        for name in &names {
            let status = ["patch", "ms", name, "--subresource=status", "--type=merge", "-p", "{\"status\":null}"];
            stage.kubectl(&status).await.expect("the status is taken away");
        }
    }
}
