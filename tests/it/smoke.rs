//! That the test environment itself is what it claims to be.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::fixture::{
    Answer, App, Cluster, Conduit, FLAG, FakePrometheus, FlagSource, Namespace, Prometheus, eventually, query,
};

#[tokio::test]
async fn a_deployment_rolls_out() {
    let namespace = Namespace::fresh("smoke").await;
    let app = App::new(&namespace).source(FlagSource::Literal);
    app.apply().await.rolled_out().await;
    let pods = Cluster::shared().kubectl(&["-n", namespace.name(), "get", "pods", "--no-headers"]).await;
    let pods = pods.expect("kubectl get pods");
    assert_eq!(pods.lines().filter(|line| line.contains("1/1") && line.contains("Running")).count(), 3, "{pods}");
}

#[tokio::test]
async fn behaviours_show_in_the_pods() {
    let namespace = Namespace::fresh("behaviour").await;
    for behaviour in ["never-ready", "crash", "crash-when-enabled"] {
        let app = App::new(&namespace).named(behaviour).replicas(1).behaviour(behaviour);
        app.source(FlagSource::Literal).value("true").apply().await;
    }
    eventually("pods to misbehave", async || {
        let pods = Cluster::shared().kubectl(&["-n", namespace.name(), "get", "pods", "--no-headers"]).await.stdout;
        let crashing = pods.lines().filter(|line| line.contains("0/1") && line.contains("CrashLoopBackOff")).count();
        let unready = pods.lines().filter(|line| line.contains("0/1") && line.contains("Running")).count();
        if (crashing, unready) == (2, 1) { Ok(()) } else { Err(pods) }
    })
    .await;
}

/// What Conduit reports for the flag in this namespace: how many pods say on, how many off.
async fn reported(namespace: &Namespace) -> Result<(usize, usize), String> {
    let promql = format!("conduit_flag_enabled{{namespace=\"{namespace}\",flag=\"{FLAG}\"}}");
    let samples = query(Cluster::shared().prometheus_url(), &promql).await?;
    let on = samples.iter().filter(|sample| sample.value > 0.5).count();
    Ok((on, samples.len() - on))
}

async fn reports(namespace: &Namespace, on_and_off: (usize, usize)) {
    eventually("Conduit's pods to report the flag", async || match reported(namespace).await {
        Ok(seen) if seen == on_and_off => Ok(()),
        other => Err(format!("{other:?}, wanted {on_and_off:?}")),
    })
    .await;
}

#[tokio::test]
async fn pods_keep_the_flag_they_started_with() {
    Conduit::shared();
    for source in [FlagSource::ConfigMapKey, FlagSource::EnvFrom] {
        let namespace = Namespace::for_environment("flag", "smoke").await;
        let mut app = App::new(&namespace).source(source);
        app.apply().await.rolled_out().await;
        reports(&namespace, (0, 3)).await;
        app.set_flag("true").await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(reported(&namespace).await, Ok((0, 3)), "a running pod does not see a changed ConfigMap");
        app.restart().await;
        app.rolled_out().await;
        reports(&namespace, (3, 0)).await;
    }
}

#[tokio::test]
async fn a_flag_from_a_config_map_can_crash_the_pods() {
    Conduit::shared();
    let namespace = Namespace::fresh("crash").await;
    let mut app = App::new(&namespace).behaviour("crash-when-enabled");
    app.apply().await.rolled_out().await;
    app.set_flag("true").await;
    app.restart().await;
    eventually("the new pods to crash", async || {
        let pods = Cluster::shared().kubectl(&["-n", namespace.name(), "get", "pods", "--no-headers"]).await.stdout;
        if pods.contains("CrashLoopBackOff") { Ok(()) } else { Err(pods) }
    })
    .await;
}

#[tokio::test]
async fn traffic_follows_the_behaviour() {
    Conduit::shared();
    let namespace = Namespace::for_environment("traffic", "smoke").await;
    let app = App::new(&namespace).value("true").replicas(2);
    app.set_behaviour(&[("errors-when-enabled", "0.2"), ("latency-when-enabled", "0.4"), ("rate", "100")]).await;
    app.apply().await.rolled_out().await;
    let ask = async |promql: &str| {
        let promql = promql.replace("$ns", &format!("namespace=\"{namespace}\",environment=\"smoke\""));
        query(Cluster::shared().prometheus_url(), &promql).await.map(|found| found.first().map(|one| one.value))
    };
    let near = async |promql: &str, wanted: f64| {
        eventually(promql, async || match ask(promql).await? {
            Some(seen) if (seen / wanted - 1.0).abs() < 0.1 => Ok(()),
            other => Err(format!("{other:?}, wanted about {wanted}")),
        })
        .await;
    };
    near("sum(rate(http_requests_total{$ns}[10s]))", 200.0).await;
    near("sum(rate(http_requests_total{$ns,code=\"500\"}[10s])) / sum(rate(http_requests_total{$ns}[10s]))", 0.2).await;
    near(
        "sum(rate(http_request_duration_seconds_sum{$ns}[10s])) / sum(rate(http_request_duration_seconds_count{$ns}[10s]))",
        0.4,
    )
    .await;
    app.set_behaviour(&[("silent", "true")]).await;
    eventually("silence", async || match ask("count(http_requests_total{$ns})").await? {
        None => Ok(()),
        Some(series) => Err(format!("{series} series")),
    })
    .await;
}

#[tokio::test]
async fn users_can_be_told_apart() {
    let namespace = Namespace::fresh("users").await;
    let cluster = Cluster::shared();
    let version = cluster.hoist().await.apiserver_version().await.expect("the API server answers hoist");
    assert_eq!(version.major, "1");
    eventually("hoist's request in the audit log", async || {
        let audit = cluster.audit_of_hoist();
        let found = audit.iter().any(|entry| entry["requestURI"] == "/version" && entry["user"]["username"] == "hoist");
        if found { Ok(()) } else { Err(format!("{} entries", audit.len())) }
    })
    .await;
    let refused = cluster.kubectl(&["--context", "alice", "-n", namespace.name(), "get", "pods"]).await;
    assert!(!refused.ok && refused.stderr.contains("Forbidden"), "{refused:?}");
}

#[tokio::test]
async fn a_prometheus_of_ones_own_comes_back_with_its_data() {
    let mut prometheus = Prometheus::start(&[Conduit::shared().address()]).await;
    eventually("a scrape", async || match prometheus.query("up == 1").await?.len() {
        1 => Ok(()),
        other => Err(format!("{other} series")),
    })
    .await;
    prometheus.kill();
    prometheus.query("up").await.expect_err("it is gone");
    prometheus.start_again().await;
    let earlier = prometheus.query("count_over_time(up[1h])").await.expect("it answers again");
    assert_eq!(earlier.len(), 1);
}

#[tokio::test]
async fn a_prometheus_can_know_a_past() {
    let day = 86_400;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let points = (0..14).map(|ago| format!("past {} {}\n", 14 - ago, now - (14 - ago) * day));
    let text = format!("# TYPE past gauge\n{}# EOF\n", points.collect::<String>());
    let prometheus = Prometheus::with_history(&[], &text).await;
    let found = prometheus.query("count_over_time(past[30d])").await.expect("it answers");
    assert_eq!(found.first().map(|sample| sample.value), Some(14.0));
}

#[tokio::test]
async fn the_fake_says_what_it_is_told() {
    let mut fake = FakePrometheus::start();
    fake.answer_query("errors", Answer::value(0.25));
    fake.answer_next(Answer::value(1.0).cut_in_half());
    query(&fake.url(), "errors").await.expect_err("half an answer");
    assert_eq!(query(&fake.url(), "errors").await.map(|found| found[0].value), Ok(0.25));
    assert_eq!(query(&fake.url(), "other").await, Ok(Vec::new()));
    assert_eq!(fake.queries(), ["errors", "errors", "other"]);
    fake.stop();
    query(&fake.url(), "errors").await.expect_err("nobody listens");
}

fn is_alive(pid: &str) -> bool {
    // A zombie has nothing left to take away.
    std::fs::read_to_string(Path::new("/proc").join(pid).join("stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn the_environment_ends_with_its_owner() {
    let mut owner = Command::new("sleep").arg("600").spawn().expect("sleep can be run");
    let mut up = Command::new(Cluster::script());
    up.args(["up", "--nodes", "1", "--owner", &owner.id().to_string()]).stdin(Stdio::null());
    let output = up.output().expect("the script can be run");
    let state = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let parts = std::fs::read_dir(state.join("parts")).expect("the state folder names its parts");
    let files = parts.map(|part| part.expect("readable").path()).chain([state.join("supervisor")]);
    let first_word = |file| std::fs::read_to_string(file).expect("readable").split(' ').next().unwrap_or("").to_owned();
    let pids: Vec<String> = files.map(first_word).collect();
    assert_eq!(pids.iter().filter(|pid| is_alive(pid)).count(), 7, "all parts run: {pids:?}");

    owner.kill().expect("our own child");
    // Not reaped yet on purpose: a zombie counts as gone.
    let start = std::time::Instant::now();
    while state.exists() || pids.iter().any(|pid| is_alive(pid)) {
        assert!(start.elapsed() < Duration::from_secs(10), "something of {} is left", state.display());
        std::thread::sleep(Duration::from_millis(50));
    }
    owner.wait().expect("our own child");
}

#[test]
fn an_etcd_without_watch_progress_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let etcd = folder.path().join("etcd");
    std::fs::write(&etcd, "#!/bin/sh\necho 'etcd Version: 3.4.23'\n").expect("writable");
    std::fs::set_permissions(&etcd, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("our own file");
    let mut prepare = Command::new(Cluster::script());
    let output =
        prepare.arg("prepare").env("KUBEBUILDER_ASSETS", folder.path()).output().expect("the script can be run");
    let (said, listed) = (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    assert!(said.contains("etcd 3.4.23") && said.contains("refused"), "{said}");
    assert!(output.status.success() && !listed.contains(&*etcd.to_string_lossy()), "{listed}");
}
