//! What one decision costs on a large schedule, and what weeks in a simulated world cost. Needs no cluster. `make bench`;
//! docs/benchmarks.md says how to read it.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench that cannot go on says why"
)]
#![allow(clippy::disallowed_methods, reason = "a bench reads the real clock")]

use std::hint::black_box;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use hoist::api::{Environment, EnvironmentKey, MigrationSchedule, RunState, Time};
use hoist::engine::{Neighbours, Observations, Places, Plan, Policy, Probe, Run, State, View, probes, step};
use hoist::sim::World;
use serde_json::json;

/// How large the schedule is: phases, environments of each, checks of each.
const SIZE: (usize, usize, usize) = (20, 10, 20);

/// How often each thing is measured.
const ROUNDS: usize = 2_000;

/// The five-week schedule with its Environments.
const WEEKS: [&str; 2] = ["schedules/repository-pattern.yaml", "schedules/repository-pattern-environments.yaml"];

fn schedule() -> MigrationSchedule {
    let (phases, environments, checks) = SIZE;
    let named = |i: usize, j: usize| json!({ "name": format!("e{i}-{j}") });
    let phase = |i: usize| {
        let all: Vec<_> = (0..environments).map(|j| named(i, j)).collect();
        json!({ "name": format!("p{i}"), "environments": all, "maxParallel": environments })
    };
    let check = |i: usize| {
        let query = format!("sum(rate(errors_{i}{{e=\"{{{{ environment.name }}}}\"}}[{{{{ window }}}}]))");
        json!({ "name": format!("c{i}"), "interval": "30s", "threshold": { "query": query, "max": "0.05", "window": "5m" } })
    };
    let object = json!({
        "apiVersion": "hoist.dev/v1alpha1", "kind": "MigrationSchedule",
        "metadata": { "name": "large", "namespace": "bench" },
        "spec": {
            "flags": [{ "name": "FLAG", "values": { "enabled": "true", "disabled": "false" } }],
            "soak": { "duration": "10m" },
            "checks": (0..checks).map(check).collect::<Vec<_>>(),
            "phases": (0..phases).map(phase).collect::<Vec<_>>(),
        },
    });
    serde_json::from_value(object).expect("a schedule")
}

fn environments(schedule: &MigrationSchedule) -> Vec<Environment> {
    let names = schedule.spec.phases.iter().flat_map(|p| &p.environments).map(|e| &e.name);
    let environment = |name: &String| {
        let target = json!({ "configMap": { "name": format!("flags-{name}"), "restarts": [{ "kind": "Deployment", "name": name }] } });
        let object = json!({
            "apiVersion": "hoist.dev/v1alpha1", "kind": "Environment",
            "metadata": { "name": name, "namespace": "bench" },
            "spec": {
                "flags": [{ "name": "FLAG", "targets": [target] }],
                "prometheus": { "address": "http://prometheus:9090", "scrapeInterval": "15s" },
            },
        });
        serde_json::from_value(object).expect("an Environment")
    };
    names.map(environment).collect()
}

/// A world in which half of the phases are complete and the next soaks.
fn half_way(schedule: &MigrationSchedule, all: &[Environment]) -> World {
    let begin = Time::from_timestamp(1_746_435_600, 0).expect("a time");
    let mut world = World::new(schedule, all.to_vec(), begin, 1);
    let soaking = |world: &World| {
        let state = |name: &str| {
            world
                .latest()
                .iter()
                .find(|r| r.spec.environment.name == name)
                .map(|r| r.status.as_ref().map_or(RunState::Pending, |s| s.state))
        };
        state(&format!("e{}-0", SIZE.0 / 2)) == Some(RunState::Soaking)
    };
    let mut shown = 0;
    while !soaking(&world) {
        let next = world.now + TimeDelta::seconds(30);
        world.run_until(next).expect("no law is broken");
        let begun = world.latest().len() / SIZE.1;
        if begun != shown {
            eprintln!("{begun} of {} phases", SIZE.0 / 2 + 1);
            shown = begun;
        }
    }
    world
}

fn told(schedule: &MigrationSchedule, all: &[Environment], world: &World) -> (View, State) {
    let key = |e: &Environment| EnvironmentKey {
        namespace: "bench".to_owned(),
        name: e.metadata.name.clone().unwrap_or_default(),
    };
    let environments = all.iter().map(|e| (key(e), Ok(e.clone()))).collect();
    let places = Places { environments, ..Places::default() };
    let stored = world.store.now.schedule.as_ref().expect("the schedule");
    let view = View {
        namespace: "bench".to_owned(),
        name: "large".to_owned(),
        uid: stored.metadata.uid.clone().unwrap_or_default(),
        generation: stored.metadata.generation.unwrap_or(0),
        deleting: false,
        finalizer: true,
        plan: Plan::parse("bench", &schedule.spec, &places).map(Arc::new),
        policy: Some(Policy {
            mode: schedule.spec.mode,
            suspend: schedule.spec.suspend,
            on_delete: schedule.spec.on_delete,
        }),
        status: stored.status.clone().unwrap_or_default(),
        orders: Vec::new(),
        neighbours: Neighbours::default(),
        unreadable: Vec::new(),
        went_back: None,
    };
    let runs = world.store.now.runs.iter().map(|(name, run)| (name.clone(), Arc::new(Run::read(run).expect("a run"))));
    (view, State { runs: runs.collect(), ..State::default() })
}

fn look(world: &World, asked: Vec<Probe>, now: Time) -> Observations {
    let mut seen = Observations::default();
    for probe in asked {
        match probe {
            Probe::Target(place) => drop(seen.targets.insert(place.clone(), Ok(world.cluster.target(&place)))),
            Probe::Workload(key) => drop(seen.workloads.insert(key.clone(), Ok(world.cluster.workload(&key, now)))),
            // Its checks are thresholds.
            Probe::Kept(_) => {}
            Probe::Measure(measure) => {
                let measured = world.metrics.measure(&measure, &world.cluster, now);
                seen.note(measure, measured);
            }
        }
    }
    seen
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort_unstable();
    all[all.len() / 2]
}

fn timed(rounds: usize, mut what: impl FnMut()) -> Duration {
    let once = |_| {
        let begun = Instant::now();
        what();
        begun.elapsed()
    };
    median((0..rounds).map(once).collect())
}

fn print(what: &str, took: Duration, bare: Duration, of: &str) {
    let ratio = took.as_secs_f64() / bare.as_secs_f64();
    println!(
        "{what:<58} {:>9.1} us, {ratio:>5.2} times {of} ({:.1} us)",
        took.as_secs_f64() * 1e6,
        bare.as_secs_f64() * 1e6
    );
}

fn decision() {
    let schedule = schedule();
    let all = environments(&schedule);
    let world = half_way(&schedule, &all);
    let (view, mut state) = told(&schedule, &all, &world);
    let mut now = world.now;
    // As after a restart: the first pass makes the ledgers, those after it ask for what was not seen, and then all is known.
    for _ in 0..10 {
        let seen = look(&world, probes(&view, &state, now), now);
        state = step(&view, &state, &seen, now).state;
        now += TimeDelta::seconds(1);
    }
    let asked = probes(&view, &state, now);
    let seen = look(&world, asked, now);
    let runs = state.runs.len();
    let decision = step(&view, &state, &seen, now);
    assert_eq!(decision.state.runs.len(), runs, "a pass in which nothing begins");
    let copy = timed(ROUNDS, || drop(black_box(state.clone())));
    let asks = timed(ROUNDS, || drop(black_box(probes(&view, &state, now))));
    let steps = timed(ROUNDS, || drop(black_box(step(&view, &state, &seen, now))));
    let (phases, environments, checks) = SIZE;
    let due = seen.measurements.values().flat_map(|of| of.values()).map(|m| m.answers.len()).sum::<usize>();
    assert!(due < runs * checks, "a pass in which few of the checks are due, not {due}");
    println!("{phases} phases x {environments} environments x {checks} checks, {runs} runs, {due} answers");
    print("probes", asks, copy, "a copy of the state");
    print("step", steps, copy, "a copy of the state");
}

fn weeks() {
    let hoist = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hoist"));
        let done = command.args(args).stdout(Stdio::null()).status().expect("hoist runs");
        assert!(done.success(), "{args:?}");
    };
    let bare = timed(20, || hoist(&["--version"]));
    let five = timed(20, || hoist(&["simulate", WEEKS[0], WEEKS[1], "--at", "2025-05-01"]));
    print("hoist simulate, five weeks of repository-pattern, calm", five, bare, "hoist --version");
}

fn main() {
    decision();
    weeks();
}
