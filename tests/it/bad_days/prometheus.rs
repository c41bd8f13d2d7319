//! Prometheus away, slow, redirecting, or saying what cannot be judged.

use std::time::Duration;

use hoist::api::{CheckOutcome, MigrationRun, RunState};
use serde_json::json;

use super::kit::{is, one_value, says};
use crate::fixture::{Answer, Conduit, FakePrometheus, Prometheus};
use crate::stage::{Plan, Stage};

/// Seconds since 1970 that no test outlives: a sample that is never stale.
const FRESH: f64 = 4e9;

fn odd_answers() -> Vec<(Answer, &'static str)> {
    let pod = |name| [("pod", name)];
    let (a, b) = (pod("a"), pod("b"));
    vec![
        (Answer::redirect("http://127.0.0.1:1/"), "redirects elsewhere; redirects are not followed"),
        (Answer::raw(200, "<html>Welcome</html>"), "what answers is not Prometheus's query API (HTTP 200)"),
        (Answer::raw(200, &"x".repeat(1 << 20)).cut_in_half(), "broke off in the middle of its answer"),
        (Answer::error(422, "execution", "told in private"), "refuses the query (error execution, HTTP 422)"),
        (Answer::raw(503, "upstream connect error"), "what answers is not Prometheus's query API (HTTP 503)"),
        (Answer::value(0.0).with_warning("told in private"), "answered with warnings"),
        (Answer::value(f64::NAN), "the answer is NaN, not a number"),
        (Answer::value(f64::INFINITY), "the answer is inf, not a number"),
        (Answer::vector(&[(&a, 0.0), (&b, 0.0)]), "2 series answer where one is expected"),
        (Answer::no_data(), "the query answers with no series"),
        (Answer::matrix(&[(&a, &[(1.0, 0.0)])]), "answers with a matrix where numbers are expected"),
        (Answer::raw(200, &"x".repeat(5 << 20)), "more than 4 MiB"),
        (Answer::value(0.3), "check errors breaches before the flip: 0.3 is above max 0.05"),
        (Answer::hang(), "gave no answer within 5s"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_flip_every_odd_answer_is_a_wait_with_its_sentence() {
    let fake = FakePrometheus::start();
    fake.answer_query("timestamp(", Answer::value(FRESH));
    let mut stage = Stage::with_config_maps(&["eu"]).await;
    stage.watched_by("eu", &fake.url()).await;
    stage.start_controller();
    stage.apply(&Plan::quick("60s").with("/checks/0", one_value())).await.expect("applied");
    for (answer, sentence) in odd_answers() {
        fake.answer(answer);
        let waits = |r: &MigrationRun| r.status.iter().flat_map(|s| &s.waits).any(|w| w.message.contains(sentence));
        let run = stage.run_that(sentence, "eu", waits).await;
        assert_eq!(run.status.as_ref().map(|s| s.state), Some(RunState::Gating), "{sentence}");
    }
    fake.answer(Answer::value(0.0));
    fake.answer_query("timestamp(", Answer::value(1e9));
    let stale = |r: &MigrationRun| says(r, "errors", "the newest sample is ");
    stage.run_that("a stale sample to be told", "eu", stale).await;
    assert_eq!(stage.value("eu").await.as_deref(), Some("false"), "nothing was flipped");
    assert!(!stage.log().contains("told in private"), "a server's own words are not repeated");
    fake.answer(Answer::value(0.0).after(Duration::from_secs(2)));
    fake.answer_query("timestamp(", Answer::value(FRESH));
    stage.reaches("eu", RunState::Soaking).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_flip_no_odd_answer_rolls_back_or_ends_the_soak() {
    let fake = FakePrometheus::start();
    fake.answer(Answer::value(0.0));
    fake.answer_query("timestamp(", Answer::value(FRESH));
    let mut stage = Stage::with_config_maps(&["eu"]).await;
    stage.watched_by("eu", &fake.url()).await;
    stage.start_controller();
    stage.apply(&Plan::quick("6s").with("/checks/0", one_value())).await.expect("applied");
    stage.reaches("eu", RunState::Soaking).await;
    for answer in [Answer::value(f64::NAN), Answer::no_data(), Answer::value(0.0).with_warning("half of it")] {
        fake.answer(answer);
        stage.stays(Duration::from_secs(3), "doubt holds the soak", "eu", is(RunState::Soaking)).await;
    }
    let run = stage.run("eu").await.expect("a run");
    assert!(run.status.iter().flat_map(|s| &s.checks).any(|c| c.outcome != CheckOutcome::Breach), "{:?}", run.status);
    assert_eq!(stage.flips("eu"), 1);
    fake.answer(Answer::value(0.0));
    stage.reaches("eu", RunState::Finished).await;
}

/// A Prometheus of the stage's own, which watches `eu`.
async fn own_prometheus(stage: &Stage) -> Prometheus {
    let prometheus = Prometheus::start(&[Conduit::shared().address()]).await;
    stage.watched_by("eu", &prometheus.url()).await;
    prometheus
}

#[tokio::test(flavor = "multi_thread")]
async fn while_prometheus_is_away_the_soak_holds_and_is_extended() {
    let mut stage = Stage::with_config_maps(&["eu"]).await;
    let mut prometheus = own_prometheus(&stage).await;
    stage.start_controller();
    stage.apply(&Plan::quick("8s")).await.expect("applied");
    stage.reaches("eu", RunState::Soaking).await;
    prometheus.kill();
    let told = |r: &MigrationRun| says(r, "errors", "Prometheus cannot be reached");
    stage.run_that("the outage to be told", "eu", told).await;
    stage.stays(Duration::from_secs(11), "the soak holds", "eu", is(RunState::Soaking)).await;
    let explained = stage.explained();
    assert!(explained.contains("check errors Error since") && explained.contains("cannot be reached"), "{explained}");
    assert_eq!(stage.value("eu").await.as_deref(), Some("true"));
    prometheus.start_again().await;
    // What it did not scrape nobody can tell: at least five of the eight seconds are still to be covered.
    stage.stays(Duration::from_secs(3), "the soak is extended", "eu", is(RunState::Soaking)).await;
    stage.reaches("eu", RunState::Finished).await;
    assert_eq!(stage.flips("eu"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_prometheus_hangs_the_soak_holds() {
    let mut stage = Stage::with_config_maps(&["eu"]).await;
    let prometheus = own_prometheus(&stage).await;
    stage.start_controller();
    stage.apply(&Plan::quick("8s")).await.expect("applied");
    stage.reaches("eu", RunState::Soaking).await;
    prometheus.freeze();
    let told = |r: &MigrationRun| says(r, "errors", "gave no answer within 5s");
    stage.run_that("the silence to be told", "eu", told).await;
    stage.stays(Duration::from_secs(8), "the soak holds", "eu", is(RunState::Soaking)).await;
    prometheus.thaw();
    stage.reaches("eu", RunState::Finished).await;
    assert_eq!(stage.flips("eu"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prometheus_that_is_not_there_is_waited_for() {
    let mut stage = Stage::with_config_maps(&["eu"]).await;
    let mut prometheus = own_prometheus(&stage).await;
    prometheus.kill();
    stage.start_controller();
    stage.apply(&Plan::quick("3s")).await.expect("applied");
    let said = stage.waits("eu", "Evidence").await;
    assert!(said.contains("check errors has no usable answer: Prometheus cannot be reached"), "{said}");
    assert_eq!(stage.writes("eu"), Vec::<String>::new());
    prometheus.start_again().await;
    stage.reaches("eu", RunState::Finished).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_and_tenant_are_sent_and_shown_nowhere() {
    let fake = FakePrometheus::start();
    fake.answer(Answer::value(0.0));
    fake.answer_query("timestamp(", Answer::value(FRESH));
    let mut stage = Stage::with_config_maps(&["eu"]).await;
    let source = json!({ "spec": { "prometheus": {
        "address": fake.url(), "auth": { "bearer": { "name": "login", "key": "token" } }, "tenant": { "value": "team-1" },
    } } });
    stage.patch_environment("eu", &source).await;
    stage.start_controller();
    stage.apply(&Plan::quick("60s").with("/checks/0", one_value())).await.expect("applied");
    let namespace = stage.place("eu").namespace.name();
    let said = stage.waits("eu", "Evidence").await;
    assert!(said.contains(&format!("Secret {namespace}/login cannot be read")), "{said}");
    let create = ["create", "secret", "generic", "login", "--from-literal=other=s3cret-token"];
    stage.place("eu").kubectl(&create).await.expect("created");
    let lacking = |r: &MigrationRun| says(r, "errors", "has no key token");
    stage.run_that("the key to be missed", "eu", lacking).await;
    assert_eq!(fake.requests().len(), 0, "nothing is asked without the credential");
    let patch = json!({ "stringData": { "token": "s3cret-token\n" } }).to_string();
    stage.place("eu").kubectl(&["patch", "secret", "login", "-p", &patch]).await.expect("patched");
    stage.reaches("eu", RunState::Soaking).await;
    for request in fake.requests() {
        assert_eq!(request.headers.get("authorization").map(String::as_str), Some("Bearer s3cret-token"));
        assert_eq!(request.headers.get("x-scope-orgid").map(String::as_str), Some("team-1"));
    }
    let all = ["get", "ms,runs,events.events.k8s.io", "-o", "json"];
    let shown = stage.kubectl(&all).await.expect("kubectl get") + &stage.log() + &stage.explained();
    assert!(shown.contains("login") && !shown.contains("s3cret"), "a credential is shown");
}
