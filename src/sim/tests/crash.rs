//! The daemon dies at every single write, before it is sent and after it was carried out but not answered; it comes
//! back with nothing but what is stored. The end is that of the undisturbed run.

use chrono::TimeDelta;

use super::{in_parts, many, minute, schedule, start, variable};
use crate::api::{Duration, RunState};
use crate::sim::{Fate, World};

fn quick(regression: bool, script: Vec<(usize, Fate)>) -> World {
    let mut spec = schedule(&["canary", "eu"]);
    spec.spec.soak.duration = Duration::seconds(600);
    spec.spec.checks.iter_mut().for_each(|c| c.settle = Duration::seconds(0));
    let mut world = World::new(&spec, vec![many("canary"), variable("eu")], start(), 7);
    if regression {
        world.metrics.curve("eu").regression = Some(TimeDelta::minutes(3));
    }
    world.faults.script = script;
    world
}

/// One environment of three targets, in two steps.
fn stepped(regression: bool, script: Vec<(usize, Fate)>) -> World {
    let mut spec = schedule(&["eu"]);
    let steps = serde_json::json!([{ "percent": 10, "soak": { "duration": "5m" } }, { "percent": 90 }]);
    spec.spec.phases[0].steps = serde_json::from_value(steps).expect("steps");
    spec.spec.soak.duration = Duration::seconds(600);
    spec.spec.checks.iter_mut().for_each(|c| c.settle = Duration::seconds(0));
    let mut world = World::new(&spec, vec![in_parts(many("eu"))], start(), 7);
    if regression {
        world.metrics.curve("eu").regression = Some(TimeDelta::minutes(8));
    }
    world.faults.script = script;
    world
}

/// The states of the runs, the values of the targets, and how many effects there were.
type End = (Vec<(String, RunState)>, Vec<(String, String)>, usize);

/// How a run ended: states and values.
fn end(mut world: World) -> End {
    if let Err(violation) = world.run_until(minute(60)) {
        panic!("{:?}: {violation:?}\n{}", world.faults.script, world.timeline());
    }
    assert_eq!(world.unexplained(), None, "{:?}\n{}", world.faults.script, world.timeline());
    let state =
        |r: &&crate::api::MigrationRun| (r.spec.environment.name.clone(), r.status.as_ref().expect("a status").state);
    let shares = world.cluster.entries.iter().filter_map(|e| Some((e.flag.clone(), world.cluster.percent(&e.place)?)));
    let shares = shares.map(|(flag, share)| (flag, share.to_string()));
    let values = world.values().into_iter().chain(shares).collect();
    (world.latest().iter().map(state).collect(), values, world.requests)
}

fn at_every_write(regression: bool, fates: &[Fate]) {
    each_write(|script| quick(regression, script), fates);
}

fn each_write(world: impl Fn(Vec<(usize, Fate)>) -> World, fates: &[Fate]) {
    let (states, values, requests) = end(world(Vec::new()));
    assert!(requests > 15, "{requests} writes");
    for number in 0..requests {
        for fate in fates {
            let (s, v, _) = end(world(vec![(number, *fate)]));
            assert_eq!((&s, &v), (&states, &values), "{fate:?} at write {number} of {requests}");
        }
    }
}

#[test]
fn no_fate_of_a_write_leaves_a_flag_between_two_steps() {
    let fates = [Fate::CrashBefore, Fate::CrashAfter, Fate::Unanswered, Fate::Late(7), Fate::Conflict];
    each_write(|script| stepped(false, script), &fates);
    each_write(|script| stepped(true, script), &fates);
}

#[test]
fn a_crash_at_any_write_of_the_happy_run_changes_nothing_in_the_end() {
    at_every_write(false, &[Fate::CrashBefore, Fate::CrashAfter]);
}

#[test]
fn a_crash_at_any_write_of_the_rollback_run_changes_nothing_in_the_end() {
    at_every_write(true, &[Fate::CrashBefore, Fate::CrashAfter]);
}

#[test]
fn a_write_that_fails_in_any_other_way_changes_nothing_in_the_end() {
    at_every_write(false, &[Fate::Unanswered, Fate::Late(7)]);
    at_every_write(true, &[Fate::Conflict, Fate::Late(40)]);
}
