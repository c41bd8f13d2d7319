//! Phases of other schedules in timelines: what is not raised yet waits for them, and nothing else does.

use expect_test::expect;
use serde_json::{Value, json};

use super::calendar::waits;
use super::timelines::{live, values};
use super::{config_map, in_parts, minute, schedule, second, start};
use crate::api::{Gate, MigrationSchedule, RunState, Time};
use crate::engine::{ElsewherePhase, Motion, step};
use crate::sim::{Faults, Random, World};

/// The first is up, the second is not.
const UP_AND_DOWN: &str = "a=\"true\" b=\"false\"";

/// A schedule of these phases.
fn phased(phases: Value) -> MigrationSchedule {
    let mut plan = schedule(&["a"]);
    plan.spec.phases = serde_json::from_value(phases).expect("phases");
    plan
}

/// A world of a schedule whose environments are `a` and `b`, and of another whose phase `x` is complete, or not, from these
/// moments on.
fn world(phases: Value, other: &[(Time, bool)], seed: u64) -> World {
    let environments = ["a", "b"].map(|e| in_parts(config_map(e))).to_vec();
    let mut world = World::new(&phased(phases), environments, start(), seed);
    let why = || Err("phase x of schedule other was rolled back in eu".to_owned());
    let told = other.iter().map(|(at, complete)| (*at, if *complete { Ok(()) } else { why() }));
    let phase = ElsewherePhase::read("other/x", "conduit").expect("a name").expect("a phase of another");
    world.elsewhere.insert(phase, told.collect());
    world
}

fn flip(name: &str, after: &[&str]) -> Value {
    json!({ "name": name, "after": after, "environments": [{ "name": name }] })
}

/// The states of all runs, in their order.
fn states(world: &World) -> Vec<RunState> {
    world.latest().iter().map(|r| r.status.as_ref().map(|s| s.state).unwrap_or_default()).collect()
}

fn until(world: &mut World, at: Time) {
    if let Err(violation) = world.run_until(at) {
        panic!("{violation:?}\n{}", world.timeline());
    }
}

#[test]
fn a_phase_waits_for_one_of_another_schedule() {
    let phases = json!([flip("a", &["other/x"]), flip("b", &[])]);
    let mut own = world(phases.clone(), &[(start(), false), (minute(100), true)], 1);
    until(&mut own, minute(50));
    let told = "a is Gating and waits: Predecessor: waits for other/x: phase x of schedule other was rolled back in eu";
    assert!(own.timeline().contains(told), "{}", own.timeline());
    assert_eq!(values(&own), "a=\"false\" b=\"true\"");
    live(
        world(phases, &[(start(), false), (minute(100), true)], 1),
        |_| {},
        &expect![[r"
            05-05 09:00:02  b            Gating → Flipping          every gate is open
            05-05 09:00:03  b            Flipping → Verifying       the flag is up; its pods are not proven yet
            05-05 09:00:23  b            Verifying → Soaking        the rollout is complete; soaks for 30m
            05-05 09:30:23  b            Soaking → Completed        soaked for 30m: every check passes
            05-05 10:40:06  a            Gating → Flipping          every gate is open
            05-05 10:40:07  a            Flipping → Verifying       the flag is up; its pods are not proven yet
            05-05 10:40:27  a            Verifying → Soaking        the rollout is complete; soaks for 30m
            05-05 11:10:27  a            Soaking → Completed        soaked for 30m: every check passes
            05-05 11:10:27  a            Completed → Finished       the schedule is complete
            05-05 11:10:27  b            Completed → Finished       the schedule is complete
        "]],
    );
}

#[test]
fn a_rollback_elsewhere_closes_again_and_touches_nothing_that_is_up() {
    let both = json!([{ "name": "a" }, { "name": "b" }]);
    let phases = json!([{ "name": "all", "after": ["conduit/other/x"], "environments": both }]);
    let mut world = world(phases, &[(start(), true), (minute(10), false), (minute(200), true)], 1);
    until(&mut world, minute(199));
    assert_eq!(values(&world), UP_AND_DOWN, "{}", world.timeline());
    assert_eq!(states(&world), [RunState::Completed, RunState::Gating]);
    until(&mut world, minute(300));
    assert_eq!(states(&world), [RunState::Finished, RunState::Finished], "{}", world.timeline());
}

#[test]
fn what_comes_after_a_phase_that_waits_waits_too() {
    let phases = json!([flip("a", &["other/x"]), flip("b", &["a"])]);
    let mut world = world(phases, &[(start(), true), (minute(10), false)], 1);
    until(&mut world, minute(199));
    assert_eq!(values(&world), UP_AND_DOWN, "{}", world.timeline());
    assert_eq!(waits(&world), "Predecessor waits for other/x: phase x of schedule other was rolled back in eu");
}

#[test]
fn a_flag_that_is_up_goes_to_its_next_step() {
    let mut phase = flip("a", &["other/x"]);
    phase["steps"] = json!([{ "percent": 10 }, { "percent": 100 }]);
    let mut world = world(json!([phase]), &[(start(), true), (minute(10), false)], 1);
    until(&mut world, minute(199));
    assert_eq!(states(&world), [RunState::Finished], "{}", world.timeline());
}

/// What a pass was not told of is waited for, whatever it is; what it was told of is named as it was written.
#[test]
fn what_was_not_looked_at_is_waited_for() {
    let mut world = world(json!([flip("a", &["other/x", "web/other/y"])]), &[(start(), true)], 1);
    until(&mut world, second(2));
    let (mut told, seen) = world.gather().expect("a schedule");
    let raises = |told: &crate::sim::daemon::Told| {
        let decision = step(&told.view, &told.state, &seen, world.now);
        let waits = decision.state.runs.values().flat_map(|r| r.waits.clone()).map(|w| (w.gate, w.message));
        (matches!(decision.motion, Motion::Advance(..)), waits.collect::<Vec<_>>())
    };
    assert_eq!(raises(&told), (true, Vec::new()));
    let known = told.view.neighbours.elsewhere.clone();
    for (other, name) in known.keys().zip(["other/x", "web/other/y"]) {
        told.view.neighbours.elsewhere.remove(other);
        let waited = (Gate::Predecessor, format!("waits for {name}: it was not looked at yet"));
        assert_eq!(raises(&told), (false, vec![waited]));
        told.view.neighbours.elsewhere.insert(other.clone(), Err("schedule other does not exist".to_owned()));
        let waited = (Gate::Predecessor, format!("waits for {name}: schedule other does not exist"));
        assert_eq!(raises(&told), (false, vec![waited]));
        told.view.neighbours.elsewhere.clone_from(&known);
    }
}

/// The cache says for up to 45 seconds that the other is complete. The laws look at what is raised.
#[test]
fn no_stale_cache_opens_the_gate() {
    let work = json!({ "name": "b", "kind": "Work", "after": ["other/x"], "start": second(301) });
    let mut flip = flip("a", &["other/x"]);
    flip["start"] = json!(second(301));
    for seed in 0..20 {
        let mut world = world(json!([flip, work]), &[(start(), true), (minute(5), false)], seed);
        world.faults = Faults { until: Some(minute(30)), stale: 1_000, ..Faults::default() };
        until(&mut world, minute(60));
        assert_eq!(states(&world), [RunState::Gating, RunState::Gating], "seed {seed}: {}", world.timeline());
    }
}

/// The other comes and goes while everything fails now and then; in the end it is complete, and so is this.
#[test]
fn the_laws_hold_whatever_becomes_of_the_other() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let mut at = start();
        let mut other = vec![(at, random.chance(500))];
        for _ in 0..random.below(12) {
            at += chrono::TimeDelta::seconds(1 + i64::try_from(random.below(600)).expect("small"));
            other.push((at, random.chance(500)));
        }
        other.push((minute(150), true));
        let both = json!([{ "name": "a" }, { "name": "b" }]);
        let work = json!({ "name": "work", "kind": "Work", "after": ["other/x"] });
        let all = json!({ "name": "all", "after": ["other/x"], "maxParallel": 2, "environments": both });
        let mut world = world(json!([work, all]), &other, seed);
        world.faults = Faults {
            until: Some(minute(140)),
            conflict: 50,
            lost: 50,
            unanswered: 50,
            late: 50,
            crash: 20,
            stale: 300,
            unread: 50,
            ..Faults::default()
        };
        until(&mut world, minute(12 * 60));
        assert_eq!(values(&world), "a=\"true\" b=\"true\"", "seed {seed}: {}", world.timeline());
        assert_eq!(world.unexplained(), None, "{}", world.timeline());
    }
}

#[test]
fn naming_oneself_is_refused() {
    let mut plan = world(json!([flip("a", &["plan/b"]), flip("b", &[])]), &[], 1);
    until(&mut plan, minute(5));
    assert!(plan.latest().is_empty(), "{}", plan.timeline());
    let told = plan.store.now.schedule.as_ref().and_then(|s| s.status.clone()).expect("a status");
    let stalled = told.conditions.iter().find(|c| c.type_ == "Stalled").expect("a condition");
    assert_eq!(
        stalled.message,
        "spec.phases[0].after[0]: `plan/b` names a phase of this very schedule (write the phase's name alone)"
    );
}
