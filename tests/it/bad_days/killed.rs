//! The controller is killed, and others go on meanwhile.

use std::time::Duration;

use hoist::api::RunState;

use super::kit::{cause, is, soaked};
use crate::fixture::{Cluster, eventually, query};
use crate::stage::{Plan, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn a_flag_does_not_go_up_twice_and_downtime_is_filled_from_prometheus() {
    let mut stage = Stage::with_config_maps(&["eu"]).await;
    stage.start_controller();
    stage.apply(&Plan::quick("14s")).await.expect("applied");
    stage.reaches("eu", RunState::Soaking).await;
    stage.kill_controller();
    tokio::time::sleep(Duration::from_secs(9)).await;
    stage.start_controller();
    let run = stage.reaches("eu", RunState::Finished).await;
    assert_eq!(stage.flips("eu"), 1, "{:?}", stage.writes("eu"));
    assert_eq!(stage.writes("eu").len(), 2, "one flip and one restart: {:?}", stage.writes("eu"));
    let took = soaked(&run);
    assert!((14..=19).contains(&took), "nine seconds without a controller are no gap in the evidence: {took} s");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flag_that_was_rolled_back_stays_down_though_its_metric_has_recovered() {
    let mut stage = Stage::with_config_maps(&["eu"]).await;
    stage.place("eu").app.set_behaviour(&[("errors-when-enabled", "0.3")]).await;
    stage.start_controller();
    stage.apply(&Plan::quick("20s")).await.expect("applied");
    stage.reaches("eu", RunState::RolledBack).await;
    let writes = stage.writes("eu");
    stage.place("eu").app.set_behaviour(&[]).await;
    for _ in 0..2 {
        stage.start_controller();
        stage.stays(Duration::from_secs(5), "a rollback is for ever", "eu", is(RunState::RolledBack)).await;
    }
    assert_eq!(stage.value("eu").await.as_deref(), Some("false"));
    assert_eq!(stage.writes("eu"), writes, "nothing more was written");
    assert_eq!(stage.runs().await.len(), 1, "no epoch was opened");
}

/// The share of errors in a namespace now, over the window of the quick plan.
async fn errors(namespace: &str) -> Result<f64, String> {
    let sum = |more: &str| format!("sum(increase(http_requests_total{{namespace=\"{namespace}\"{more}}}[6s]))");
    let promql = format!("{} / {}", sum(",code=~\"5..\""), sum(""));
    let found = query(Cluster::shared().prometheus_url(), &promql).await?;
    found.first().map(|s| s.value).ok_or_else(|| "nothing".to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_breach_that_came_and_went_while_nobody_looked_is_found() {
    let mut stage = Stage::with_config_maps(&["eu"]).await;
    stage.start_controller();
    stage.apply(&Plan::quick("60s")).await.expect("applied");
    stage.reaches("eu", RunState::Soaking).await;
    stage.kill_controller();
    let namespace = stage.place("eu").namespace.name().to_owned();
    stage.place("eu").app.set_behaviour(&[("errors-when-enabled", "0.3")]).await;
    let seen = async |wanted: fn(f64) -> bool| match errors(&namespace).await {
        Ok(share) if wanted(share) => Ok(()),
        other => Err(format!("{other:?}")),
    };
    eventually("errors", async || seen(|share| share > 0.1).await).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    stage.place("eu").app.set_behaviour(&[]).await;
    eventually("errors to be over", async || seen(|share| share < 0.01).await).await;
    assert_eq!(stage.value("eu").await.as_deref(), Some("true"));

    stage.start_controller();
    let run = stage.reaches("eu", RunState::RolledBack).await;
    assert!(cause(&run).contains("above max 0.05"), "{}", cause(&run));
    assert_eq!(stage.value("eu").await.as_deref(), Some("false"));
}
