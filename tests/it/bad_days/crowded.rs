//! Many neighbours: a Prometheus that never answers, asked for by many, delays no rollback.

use std::time::Duration;

use hoist::api::{MigrationSchedule, RunState};
use kube::api::{Api, PostParams};
use serde_json::json;

use crate::bad_days::kit::one_value;
use crate::fixture::{Answer, Cluster, FakePrometheus, eventually_within};
use crate::stage::{Plan, Stage};

/// More than the lanes of one namespace hold.
const NEIGHBOURS: usize = 120;

/// Neighbours in the same namespace whose checks hang, each with a query of its own, so that no answer is shared.
async fn crowd(stage: &Stage) {
    let api: Api<MigrationSchedule> = stage.home.api(Cluster::shared().admin().await);
    for n in 0..NEIGHBOURS {
        let plan = Plan::quick("1h")
            .with("/checks/0", one_value())
            .with("/checks/0/threshold/query", json!(format!("errors_now + {n}")));
        let mut object = stage.object(&format!("neighbour-{n}"), &plan);
        object["spec"]["phases"] = json!([{
            "name": "apac", "number": "1",
            "environments": [{ "name": "apac", "namespace": stage.place("apac").namespace.name() }],
        }]);
        let schedule = serde_json::from_value(object).expect("a schedule");
        api.create(&PostParams::default(), &schedule).await.expect("created");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_that_hang_for_many_delay_no_rollback_of_another() {
    let mut stage = Stage::with_config_maps(&["eu", "apac"]).await;
    let hangs = FakePrometheus::start();
    hangs.answer(Answer::hang());
    stage.watched_by("apac", &hangs.url()).await;
    let mut plan = Plan::quick("10m");
    let eu = json!([{ "name": "eu", "number": "1", "environments": [{ "name": "eu", "namespace": stage.place("eu").namespace.name() }] }]);
    plan = plan.with("/phases", eu);
    stage.start_controller();
    stage.apply(&plan).await.expect("applied");
    stage.reaches("eu", RunState::Soaking).await;
    crowd(&stage).await;
    let gating = async || {
        let waiting = stage.runs().await.iter().filter(|r| r.spec.environment.name == "apac").count();
        if waiting == NEIGHBOURS { Ok(()) } else { Err(format!("{waiting} of {NEIGHBOURS} have a run")) }
    };
    eventually_within(Duration::from_secs(60), "all neighbours to wait at their gates", gating).await;
    stage.place("eu").app.set_behaviour(&[("errors-when-enabled", "0.5")]).await;
    // A breach must last two seconds in a window of six. One pass of a neighbour hangs for five to ten: were they all to
    // have their turn first, that would be forty. An API server that others keep busy may take seconds for the lowering.
    let lowered = async || match stage.value("eu").await {
        Some(value) if value == "false" => Ok(()),
        other => Err(format!("{other:?}")),
    };
    eventually_within(Duration::from_secs(30), "the flag to go down", lowered).await;
}
