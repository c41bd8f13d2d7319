//! From a breach in Prometheus's answer to the acknowledged write that takes the flag down, against a bare PATCH of the
//! same object in the same run. `make bench`; docs/benchmarks.md says how to read it.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench that cannot go on says why"
)]
#![allow(clippy::disallowed_methods, reason = "a bench reads the real clock")]
#![allow(dead_code, reason = "the bench stands on the tests' fixture and uses a part of it")]

#[path = "scale/daemon.rs"]
mod daemon;
#[path = "scale/estate.rs"]
mod estate;
#[path = "../tests/it/fixture/mod.rs"]
mod fixture;
mod proxy;
#[path = "../tests/it/stage.rs"]
mod stage;

use std::time::{Duration, Instant};

use estate::Estate;
use fixture::{Answer, FLAG, FakePrometheus, eventually_within};
use hoist::api::RunState;
use hoist::engine::StampKind;
use hoist::engine::laws::Trace;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, Patch, PatchParams};
use proxy::Proxy;
use serde_json::json;
use stage::{Plan, Stage};

/// How many rollbacks are measured; `HOIST_BENCH_ROUNDS` changes it.
const ROUNDS: usize = 30;

/// Bare writes for each rollback.
const BARE: usize = 10;

/// How many other schedules are there in the second half; `HOIST_BENCH_SCHEDULES` changes it, and 0 leaves it out.
const OTHERS: usize = 1_000;

#[tokio::main]
async fn main() {
    let number = |name: &str, target| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(target);
    let (rounds, others) = (number("HOIST_BENCH_ROUNDS", ROUNDS), number("HOIST_BENCH_SCHEDULES", OTHERS));
    let prometheus = FakePrometheus::start();
    prometheus.answer(Answer::value(0.0));
    // The newest sample is never too old.
    prometheus.answer_query("timestamp(", Answer::value(4e9));
    let proxy = Proxy::start().await;
    let mut stage = Stage::with_config_maps(&["eu"]).await;
    point_at(&stage, &prometheus).await;
    stage.start_controller_with(&proxy.kubeconfig());
    stage.apply(&plan()).await.expect("applied");
    measure("alone", rounds, &stage, &proxy, &prometheus).await;
    if others > 0 {
        let estate = Estate::beside(stage.home.name(), 10).await;
        estate.idle("other", others).await;
        daemon::at_rest(&proxy, Duration::from_secs(5)).await;
        measure(&format!("among {others} others"), rounds, &stage, &proxy, &prometheus).await;
    }
}

/// Measures some rollbacks of the one schedule, each followed by bare writes, and prints them.
async fn measure(which: &str, rounds: usize, stage: &Stage, proxy: &Proxy, prometheus: &FakePrometheus) {
    let (mut reactions, mut bare) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        stage.reaches("eu", RunState::Soaking).await;
        reactions.push(react(stage, proxy, prometheus).await);
        bare.extend(bare_patches(stage, proxy).await);
        eprint!("\r{which}: round {round} of {rounds}");
        stage.reaches("eu", RunState::RolledBack).await;
        let retry = stage.hoist(&["retry", &stage.name(), "-r", "the next round"]);
        assert!(retry.status.success(), "{}", String::from_utf8_lossy(&retry.stderr));
    }
    eprintln!();
    report(which, &mut reactions, &mut bare);
}

fn plan() -> Plan {
    let check = json!({
        "name": "errors", "interval": "1s", "settle": "0s",
        "threshold": { "query": "errors_now", "max": "0.5", "datapoints": { "breaching": 1, "of": 1 } },
    });
    Plan::quick("1h").with("/checks/0", check)
}

/// The Environment asks the bench's own Prometheus, and restarts nothing: restarts are counted apart.
async fn point_at(stage: &Stage, prometheus: &FakePrometheus) {
    let patch = json!({ "spec": {
        "flags": [{ "name": FLAG, "targets": [{ "configMap": { "name": "conduit-flags" } }] }],
        "prometheus": { "address": prometheus.url(), "scrapeInterval": "1s" },
    } });
    let patched =
        stage.place("eu").kubectl(&["patch", "environment", "eu", "--type=merge", "-p", &patch.to_string()]).await;
    patched.expect("the Environment is patched");
}

/// Lets Prometheus answer with a breach, once, and gives the time until the lowering was acknowledged.
async fn react(stage: &Stage, proxy: &Proxy, prometheus: &FakePrometheus) -> Duration {
    let before = lowerings(proxy).len();
    let asked = prometheus.requests().len();
    prometheus.answer(Answer::value(1.0));
    let lowered = eventually_within(Duration::from_secs(30), &format!("a rollback in {}", stage.home), async || {
        lowerings(proxy).get(before).copied().ok_or_else(|| "no lowering yet".to_owned())
    })
    .await;
    prometheus.answer(Answer::value(0.0));
    // The check's two questions are put together; the breach is known when the later one is answered.
    let breach = prometheus.requests().into_iter().skip(asked).map(|r| r.at).filter(|at| *at < lowered).max();
    lowered - breach.expect("the breach was asked for")
}

fn lowerings(proxy: &Proxy) -> Vec<Instant> {
    proxy.when(|w| matches!(&w.trace, Some(Trace::Written(t)) if t.kind == StampKind::Closed))
}

/// The same write, bare: an apply of the same key and annotation on the same object, through the same proxy.
async fn bare_patches(stage: &Stage, proxy: &Proxy) -> Vec<Duration> {
    let file = kube::config::Kubeconfig::read_from(proxy.kubeconfig()).expect("a kubeconfig");
    let config = kube::Config::from_custom_kubeconfig(file, &kube::config::KubeConfigOptions::default()).await;
    let client = kube::Client::try_from(config.expect("a config")).expect("a client");
    let api: Api<ConfigMap> = stage.place("eu").namespace.api(client);
    let mut took = Vec::new();
    for n in 0..=BARE {
        let name = "conduit-flags";
        let body = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": name, "annotations": { "bench.example/stamp": format!("{n} {}", "x".repeat(300)) } },
            "data": { "bench": "value" },
        });
        let begun = Instant::now();
        api.patch(name, &PatchParams::apply("bench").force(), &Patch::Apply(&body)).await.expect("patched");
        // The first opens the connection, which the controller's long had.
        if n > 0 {
            took.push(begun.elapsed());
        }
    }
    took
}

fn report(which: &str, reactions: &mut [Duration], bare: &mut [Duration]) {
    let quantile =
        |sorted: &[Duration], q: f64| sorted[((sorted.len() - 1) as f64 * q).round() as usize].as_secs_f64() * 1e3;
    reactions.sort_unstable();
    bare.sort_unstable();
    println!("{which:<44} {:>6} {:>10} {:>10} {:>10}", "n", "median ms", "p99 ms", "max ms");
    for (what, times) in
        [("breach answered -> flag down, acknowledged", &*reactions), ("bare PATCH of the same object", &*bare)]
    {
        let (median, p99, max) = (quantile(times, 0.5), quantile(times, 0.99), quantile(times, 1.0));
        println!("{what:<44} {:>6} {median:>10.2} {p99:>10.2} {max:>10.2}", times.len());
    }
    let ratio = |q: f64| quantile(reactions, q) / quantile(bare, q);
    println!("{:<44} {:>6} {:>10.2} {:>10.2}", "ratio", "", ratio(0.5), ratio(0.99));
}
