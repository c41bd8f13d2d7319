//! Checks that judge by blocks, on a real API server and a real Prometheus that knows a past.

use std::fmt::Write as _;
use std::time::Duration;

use chrono::Utc;
use hoist::api::{MigrationRun, RunState};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::Api;
use serde_json::{Value, json};

use crate::fixture::{Cluster, Conduit, Prometheus, eventually_within};
use crate::stage::{Plan, Stage};

/// Two hours of requests in a namespace, up to now, one in a thousand of which failed: ten a second.
fn past(namespace: &str) -> String {
    let now = Utc::now().timestamp();
    let mut text = "# TYPE http_requests counter\n".to_owned();
    for (code, each) in [("200", 149.85), ("500", 0.15)] {
        for (number, at) in (now - 7_200..now).step_by(15).enumerate() {
            let total = each * number as f64;
            let labels = format!("namespace=\"{namespace}\",pod=\"before\",code=\"{code}\"");
            writeln!(text, "http_requests_total{{{labels}}} {total} {at}").expect("a text");
        }
    }
    text + "# EOF\n"
}

fn ratio() -> Value {
    let count = |more: &str| {
        format!(
            "sum(increase(http_requests_total{{namespace=\"{{{{ environment.namespace }}}}\"{more}}}[{{{{ window }}}}]))"
        )
    };
    json!({ "bad": count(",code=~\"5..\""), "total": count("") })
}

fn plan() -> Plan {
    Plan::quick("10m").with(
        "/checks",
        json!([
            { "name": "more-errors", "settle": "1s", "statistical": {
                "ratio": ratio(), "direction": "Increase", "limit": { "absolute": "0.01" }, "block": "1m", "window": "1h" } },
            { "name": "budget", "settle": "1s", "burnRate": {
                "ratio": ratio(), "objective": "0.9", "block": "1m",
                "windows": [{ "long": "2m", "short": "1m", "factor": "2" }] } },
        ]),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_before_the_flip_is_kept_and_judged_against_by_the_next_daemon() {
    let mut stage = Stage::with_config_maps(&["eu"]).await;
    let namespace = stage.place("eu").namespace.name().to_owned();
    let nothing = Prometheus::start(&[Conduit::shared().address()]).await;
    stage.watched_by("eu", &nothing.url()).await;
    stage.start_controller();
    stage.apply(&plan()).await.expect("applied");
    let without_past = "of the 60 blocks in the 1h before the flip are there, and 30 are needed";
    let waits = |r: &MigrationRun| r.status.iter().flat_map(|s| &s.waits).any(|w| w.message.contains(without_past));
    stage.run_that("a wait for a past", "eu", waits).await;

    let known = Prometheus::with_history(&[Conduit::shared().address()], &past(&namespace)).await;
    stage.place("eu").app.set_behaviour(&[("errors-when-enabled", "0.5")]).await;
    stage.watched_by("eu", &known.url()).await;
    let run = stage.reaches("eu", RunState::Soaking).await.status.expect("a status");
    let kept = run.armed.and_then(|a| a.baseline).expect("what was kept");
    let maps: Api<ConfigMap> = Api::namespaced(Cluster::shared().client("hoist").await, stage.home.name());
    let map = maps.get(&kept.name).await.expect("the ConfigMap");
    assert_eq!(map.immutable, Some(true));
    assert!(map.binary_data.is_some_and(|data| data["data.json.gz"].0.len() < 10_000), "two hours are small");
    let told: Vec<_> = run.preflight.iter().map(|p| (p.check.as_str(), p.blind)).collect();
    assert_eq!(told, [("more-errors", false)], "a budget needs no past");
    assert!(run.preflight[0].message.starts_with("was 0."), "{:?}", run.preflight);

    // What comes next knows only what is stored.
    stage.start_controller();
    let explained = stage.hoist(&["explain", &stage.name()]);
    let explained = String::from_utf8_lossy(&explained.stdout).into_owned();
    assert!(explained.contains("more-errors"), "{explained}");
    let patience = Duration::from_secs(360);
    eventually_within(patience, "both checks to judge, and one of them to breach", async || {
        let run = stage.run("eu").await.and_then(|r| r.status).ok_or("no run")?;
        match run.rollback {
            Some(rollback) if rollback.reason.contains("blocks of 1m, beyond") => Ok(()),
            other => Err(format!("{other:?} {:?} {}", run.checks, run.message)),
        }
    })
    .await;
    stage.reaches("eu", RunState::RolledBack).await;
    assert_eq!(stage.value("eu").await.as_deref(), Some("false"));
}
