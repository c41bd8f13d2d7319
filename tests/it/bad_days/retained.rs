//! A raised flag is watched and put back by what was armed, whatever became of the plan since.

use std::time::Duration;

use hoist::api::RunState;
use serde_json::json;

use super::kit::{cause, is};
use crate::stage::{Plan, Stage};

/// PromQL that is none, which the resource definition cannot see.
fn invalid(plan: Plan) -> Plan {
    plan.with("/checks/0/threshold/ratio/total", json!("sum(increase(http_requests_total[{{ window }}])"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_edit_stops_advance_and_the_armed_plan_rolls_back() {
    let mut stage = Stage::with_config_maps(&["eu", "apac"]).await;
    stage.start_controller();
    stage.apply(&Plan::quick("60s")).await.expect("applied");
    stage.reaches("eu", RunState::Soaking).await;
    stage.apply(&invalid(Plan::quick("60s"))).await.expect("the API server cannot see the mistake");
    let wait = ["wait", "ms/repo", "--for=condition=Stalled", "--timeout=20s"];
    stage.kubectl(&wait).await.expect("an invalid schedule is stalled");
    let stalled = stage.condition("Stalled").await;
    assert_eq!(stalled.reason, "InvalidSpec");
    assert!(stalled.message.contains("spec.checks[0].threshold.ratio.total"), "{}", stalled.message);
    assert!(stage.explained().contains("spec.checks[0].threshold.ratio.total"), "{}", stage.explained());
    stage.stays(Duration::from_secs(2), "watching goes on", "eu", is(RunState::Soaking)).await;

    stage.place("eu").app.set_behaviour(&[("errors-when-enabled", "0.3")]).await;
    let run = stage.reaches("eu", RunState::RolledBack).await;
    assert!(cause(&run).contains("above max 0.05"), "{}", cause(&run));
    assert_eq!(stage.value("eu").await.as_deref(), Some("false"));
    assert_eq!(stage.value("apac").await.as_deref(), Some("false"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_edit_keeps_the_next_environment_waiting_until_it_is_corrected() {
    let mut stage = Stage::with_config_maps(&["eu", "apac"]).await;
    stage.start_controller();
    stage.apply(&Plan::quick("5s")).await.expect("applied");
    stage.reaches("eu", RunState::Soaking).await;
    stage.apply(&invalid(Plan::quick("5s"))).await.expect("the API server cannot see the mistake");
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert!(stage.run("apac").await.is_none(), "nothing advances");
    assert_eq!(stage.value("eu").await.as_deref(), Some("true"), "and nothing is rolled back for a mistake");
    stage.apply(&Plan::quick("5s")).await.expect("corrected");
    let wait = ["wait", "ms/repo", "--for=condition=Completed", "--timeout=40s"];
    stage.kubectl(&wait).await.expect("it goes on by itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_environment_stops_advance_and_the_armed_plan_rolls_back() {
    let mut stage = Stage::with_config_maps(&["eu", "apac"]).await;
    stage.start_controller();
    stage.apply(&Plan::quick("5s")).await.expect("applied");
    stage.reaches("eu", RunState::Soaking).await;
    let delete = ["delete", "environments.hoist.dev", "eu"];
    stage.place("eu").kubectl(&delete).await.expect("deleted");
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert_eq!(stage.value("eu").await.as_deref(), Some("true"), "a missing Environment is no reason to roll back");
    assert!(stage.run("apac").await.is_none(), "nothing advances while the Environment of a raised flag is missing");
    let told = stage.explained();
    assert!(told.contains("Environment") && told.contains("does not exist"), "{told}");

    stage.place("eu").app.set_behaviour(&[("errors-when-enabled", "0.3")]).await;
    let run = stage.reaches("eu", RunState::RolledBack).await;
    assert!(cause(&run).contains("above max 0.05"), "{}", cause(&run));
    assert_eq!(stage.value("eu").await.as_deref(), Some("false"));
    assert_eq!(stage.value("apac").await.as_deref(), Some("false"));
}

/// A lowering that is refused for good is tried again and again; it used to cut short every look at the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_that_is_refused_does_not_blind_the_other_environments() {
    let mut stage = Stage::with_config_maps(&["eu", "apac"]).await;
    stage.start_controller();
    let phase = |name: &str, soak: &str| {
        let environment = json!({ "name": name, "namespace": stage.place(name).namespace.name() });
        json!({ "name": name, "soak": { "duration": soak }, "environments": [environment] })
    };
    let phases = json!([phase("eu", "4s"), phase("apac", "90s")]);
    stage.apply(&Plan::quick("4s").with("/phases", phases)).await.expect("applied");
    stage.reaches("apac", RunState::Soaking).await;
    let immutable = ["patch", "configmap", "conduit-flags", "-p", r#"{"immutable":true}"#];
    stage.place("eu").kubectl(&immutable).await.expect("patched");
    let order = stage.hoist(&["rollback", &stage.name(), "--environment", "eu", "--reason", "it looks wrong"]);
    assert!(order.status.success(), "{}", String::from_utf8_lossy(&order.stdout));
    stage.reaches("eu", RunState::RollingBack).await;
    stage.place("apac").app.set_behaviour(&[("errors-when-enabled", "0.3")]).await;
    let run = stage.reaches("apac", RunState::RolledBack).await;
    assert!(cause(&run).contains("above max 0.05"), "{}", cause(&run));
    stage.reaches("eu", RunState::RollingBack).await;
    assert_eq!(stage.value("eu").await.as_deref(), Some("true"), "it cannot be written");
}
