//! `Observe`: nothing is written; what others set is watched, and what would be done is said.

use hoist::api::RunState;
use serde_json::json;

use crate::stage::{Plan, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn observe_follows_what_others_set_and_writes_nothing() {
    let mut stage = Stage::with_config_maps(&["eu", "apac"]).await;
    stage.start_controller();
    stage.apply(&Plan::quick("4s").with("/mode", json!("Observe"))).await.expect("applied");
    let said = stage.waits("eu", "Mode").await;
    assert!(said.contains("every gate is open and Hoist would raise the flag now"), "{said}");
    assert!(stage.explained().contains("waits, Mode: mode is Observe"), "{}", stage.explained());
    for (environment, errors) in [("eu", "0"), ("apac", "0.3")] {
        stage.place(environment).app.set_behaviour(&[("errors-when-enabled", errors)]).await;
        let mut app = stage.place(environment).app.clone();
        stage.waits(environment, "Mode").await;
        app.set_flag("true").await;
        app.restart().await;
        if environment == "eu" {
            stage.reaches("eu", RunState::Completed).await;
        }
    }
    let said = stage.held("apac", "WouldRollBack").await;
    assert!(said.contains("above max 0.05"), "{said}");
    let order = stage.hoist(&["rollback", &stage.name(), "--reason", "do it"]);
    let told = String::from_utf8_lossy(&order.stdout).into_owned();
    assert!(order.status.code() == Some(1) && told.contains("mode is Observe, so Hoist never writes"), "{told}");

    let mut app = stage.place("apac").app.clone();
    app.set_flag("false").await;
    app.restart().await;
    stage.reaches("apac", RunState::RolledBack).await;
    for environment in ["eu", "apac"] {
        assert_eq!(stage.writes(environment), Vec::<String>::new(), "{environment}");
    }
}
