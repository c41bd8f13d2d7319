//! The controller as a process: health, metrics, its end, and what it needs to start.

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use hoist::api::RunState;
use serde_json::json;

use crate::fixture::{Answer, FakePrometheus, eventually};
use crate::stage::{Plan, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn health_metrics_and_a_good_end() {
    let mut stage = Stage::with_config_maps(&["eu"]).await;
    stage.start_controller();
    stage.apply(&Plan::quick("3s")).await.expect("applied");
    stage.reaches("eu", RunState::Finished).await;
    assert_eq!(stage.serves("/healthz").await.expect("an answer"), "ok\n");
    assert_eq!(stage.serves("/readyz").await.expect("an answer"), "ready\n");
    let metrics = stage.serves("/metrics").await.expect("an answer");
    assert!(metrics.ends_with("# EOF\n"), "{metrics}");
    for line in metrics.lines().filter(|l| !l.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        assert!(name.starts_with("hoist_") && value.parse::<f64>().is_ok(), "{line}");
        assert!(!name.contains("eu") && !name.contains("repo"), "labels are bounded: {line}");
    }
    for wanted in [
        "hoist_target_writes_total{result=\"raised\"} 1",
        "hoist_runs{state=\"Finished\"} 1",
        "hoist_transitions_total{state=\"Soaking\"} 1",
        "hoist_build_info{",
    ] {
        assert!(metrics.contains(wanted), "{wanted}: {metrics}");
    }
    let begun = Instant::now();
    let status = tokio::task::block_in_place(|| stage.controller().terminate());
    assert!(status.success() && begun.elapsed() < Duration::from_secs(4), "{status} after {:?}", begun.elapsed());
    let lines = stage.log();
    assert!(lines.lines().all(|l| serde_json::from_str::<serde_json::Value>(l).is_ok()), "JSON lines: {lines}");
    assert!(lines.contains("\"stopping\""), "{lines}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_well_in_the_middle_of_a_hanging_question() {
    let fake = FakePrometheus::start();
    fake.answer(Answer::hang());
    let mut stage = Stage::with_config_maps(&["eu"]).await;
    stage.watched_by("eu", &fake.url()).await;
    stage.start_controller();
    stage.apply(&Plan::quick("3s")).await.expect("applied");
    eventually("a question", async || if fake.requests().is_empty() { Err("none".to_owned()) } else { Ok(()) }).await;
    let begun = Instant::now();
    let controller = stage.controller();
    controller.signal(nix::sys::signal::Signal::SIGTERM);
    let ended = async || if controller.is_running() { Err("it runs".to_owned()) } else { Ok(()) };
    eventually("the end", ended).await;
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert!(stage.controller().child().wait().expect("its status").success());
}

fn controller(arguments: &[&str], kubeconfig: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hoist"));
    command.arg("controller").args(["--listen", "127.0.0.1:0", "--kubeconfig", kubeconfig]).args(arguments);
    command.stdin(Stdio::null()).output().expect("hoist runs")
}

fn kubeconfig(server: &str) -> tempfile::NamedTempFile {
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{ "name": "c", "cluster": { "server": server } }],
        "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
        "users": [{ "name": "u", "user": {} }],
    });
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), config.to_string()).expect("writable");
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_definitions_it_says_how_to_install_them() {
    let server = FakePrometheus::start();
    let nowhere = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404, "message": "the server could not find the requested resource" });
    server.answer(Answer::json(&nowhere).with_status(404));
    let config = kubeconfig(&server.url());
    let output = tokio::task::block_in_place(|| controller(&[], &config.path().display().to_string()));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("hoist crd | kubectl apply --server-side -f -") && told.lines().count() == 1, "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_api_server_it_says_so() {
    let config = kubeconfig("http://127.0.0.1:1");
    let path = config.path().display().to_string();
    for (arguments, path, sentence) in [
        (
            &[][..],
            path.as_str(),
            "the API server cannot be asked: list objects: client error (Connect): tcp connect error: Connection refused",
        ),
        (&["--context", "nowhere"], path.as_str(), "no API server to talk to: "),
        (&[], "/nowhere", "no API server to talk to: "),
    ] {
        let begun = Instant::now();
        let output = tokio::task::block_in_place(|| controller(arguments, path));
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.starts_with("hoist: ") && told.contains(sentence) && told.lines().count() == 1, "{told}");
        assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    }
    let stage = Stage::with_config_maps(&[]).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    let ours = crate::fixture::Cluster::shared().kubeconfig().display().to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_hoist"));
    command.args(["controller", "--kubeconfig", &ours, "--namespace", stage.home.name(), "--listen", &address]);
    let output = tokio::task::block_in_place(|| command.output().expect("hoist runs"));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && told.contains("cannot listen on"), "{told}");
}
