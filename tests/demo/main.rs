//! `make demo`: the main job on real parts, from nothing to nothing, with something to see in between.
//!
//! A real control plane with simulated nodes, a real Prometheus, six environments with a simulated Conduit each, the
//! controller, and kubectl. Two runs of schedules/demo/schedule.yaml: one to the end, one with a regression in EU.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a demo that cannot go on ends with the reason on screen"
)]
#![allow(clippy::disallowed_methods, reason = "the timeline shows the real clock")]

#[path = "../it/fixture/mod.rs"]
mod fixture;
mod scene;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use fixture::{Cluster, Conduit, Process};
use hoist::api::{MigrationRun, RunState};
use kube::api::{Api, ListParams};

/// A run of the demo takes about two minutes; one that takes longer than this is broken.
const LONGEST: Duration = Duration::from_secs(300);

#[tokio::main]
async fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    say("Hoist: a feature flag, six environments, evidence from Prometheus");
    let cluster = Cluster::shared();
    Conduit::shared();
    let crds = root.join("crds");
    let crds = crds.to_str().expect("a path in UTF-8");
    kubectl(&["apply", "--server-side", "-f", crds]).await;
    kubectl(&["wait", "--for=condition=Established", "--timeout=30s", "-f", crds]).await;
    scene::applications().await;
    let environments =
        std::fs::read_to_string(root.join("schedules/demo/environments.yaml")).expect("the environments");
    let environments = environments.replace("http://prometheus.monitoring:9090", cluster.prometheus_url());
    cluster.kubectl_with_input(&["apply", "-f", "-"], &environments).await.expect("the environments are applied");
    println!("  kubectl apply -f schedules/demo/environments.yaml    six environments");
    let _controller = controller(root);

    say("First run: everything goes well");
    apply_schedule(root).await;
    let end = follow(&["us-west"]).await;
    assert!(end.iter().all(|run| state(run) == RunState::Finished), "every environment is complete");
    show(&["-n", "conduit", "get", "migrationschedules"]).await;

    say("Second run: the new code fails in EU (30 % errors as soon as the flag is up)");
    kubectl(&["-n", "conduit", "delete", "migrationschedule", "repository-pattern"]).await;
    kubectl(&["-n", "conduit", "delete", "migrationruns", "--all"]).await;
    scene::applications().await;
    scene::misbehave("conduit-eu", "0.3").await;
    apply_schedule(root).await;
    let end = follow(&["eu"]).await;
    assert!(
        end.iter().any(|run| run.spec.environment.name == "eu" && state(run) == RunState::RolledBack),
        "EU is rolled back"
    );
    assert!(!end.iter().any(|run| run.spec.environment.name == "apac"), "APAC was never touched");
    show(&["-n", "conduit", "get", "migrationschedules"]).await;
    println!();
    explain(root);
    say("EU is back on the old value, APAC was never touched, and the reason is above. That was all.");
}

fn say(text: &str) {
    println!("\n{text}\n");
}

async fn kubectl(args: &[&str]) -> String {
    Cluster::shared().kubectl(args).await.expect(&format!("kubectl {}", args.join(" ")))
}

async fn show(args: &[&str]) {
    println!("\n  kubectl {}", args.join(" "));
    for line in kubectl(args).await.lines() {
        println!("  {line}");
    }
}

/// The binary beside this one: target/<profile>/hoist.
fn binary() -> std::path::PathBuf {
    let own = std::env::current_exe().expect("this program has a path");
    let profile = own.parent().and_then(Path::parent).expect("target/<profile>/examples");
    profile.join("hoist")
}

fn controller(root: &Path) -> Process {
    let log = std::env::temp_dir().join(format!("hoist-demo-{}.log", std::process::id()));
    let file = std::fs::File::create(&log).expect("a log file");
    println!("  hoist controller                                     log: {}", log.display());
    Process::spawn(binary().to_str().expect("a path in UTF-8"), |command| {
        command
            .current_dir(root)
            .args(["controller", "--context", "hoist", "--listen", "127.0.0.1:0", "--log-format", "pretty"])
            .env("KUBECONFIG", Cluster::shared().kubeconfig())
            .stdout(Stdio::null())
            .stderr(file);
    })
}

async fn apply_schedule(root: &Path) {
    let file = root.join("schedules/demo/schedule.yaml");
    kubectl(&["apply", "-f", file.to_str().expect("a path in UTF-8")]).await;
    println!("  kubectl apply -f schedules/demo/schedule.yaml\n");
}

fn state(run: &MigrationRun) -> RunState {
    run.status.as_ref().map(|s| s.state).unwrap_or_default()
}

/// Prints every transition as it happens, until the last of these environments has come to its end.
async fn follow(last: &[&str]) -> Vec<MigrationRun> {
    let api: Api<MigrationRun> = Api::namespaced(Cluster::shared().admin().await, "conduit");
    let begun = Instant::now();
    let mut told = BTreeSet::new();
    loop {
        assert!(begun.elapsed() < LONGEST, "nothing came to an end within {} s", LONGEST.as_secs());
        let runs = api.list(&ListParams::default()).await.expect("the runs can be listed").items;
        let mut new = Vec::new();
        for run in &runs {
            for (index, transition) in run.status.iter().flat_map(|s| &s.transitions).enumerate() {
                if told.insert((run.metadata.uid.clone(), index)) {
                    // Within one second the older run's transition comes first: the next environment follows from it.
                    let age = run.metadata.creation_timestamp.clone();
                    new.push((transition.at, age, index, run, transition));
                }
            }
        }
        new.sort_by(|a, b| (a.0, &a.1, a.2).cmp(&(b.0, &b.1, b.2)));
        for (_, _, _, run, t) in new {
            let place = format!("{:<4}{}", run.spec.number.as_deref().unwrap_or_default(), run.spec.environment.name);
            let step = format!("{} → {}", t.from.name(), t.to.name());
            println!("  {:>3} s  {place:<13}  {step:<25}  {}", begun.elapsed().as_secs(), t.reason);
        }
        let over = |name: &&str| runs.iter().any(|r| r.spec.environment.name == *name && state(r).is_over());
        if last.iter().all(over) {
            return runs;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn explain(root: &Path) {
    println!("  hoist explain conduit/repository-pattern");
    let mut command = std::process::Command::new(binary());
    command
        .current_dir(root)
        .args(["explain", "conduit/repository-pattern"])
        .env("KUBECONFIG", Cluster::shared().kubeconfig());
    let output = command.output().expect("hoist explain runs");
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        println!("  {line}");
    }
}
