//! What stands against a flip, and what becomes of a rollback, where the world of one schedule never shows it by itself.

use chrono::TimeDelta;
use serde_json::json;

use super::{config_map, in_parts, minute, schedule, second, start, world};
use crate::api::{Gate, HeldReason, RunState, Time};
use crate::engine::{Decision, Motion, Observations, State, TargetReading, View, WorkloadReading, step};
use crate::sim::{Act, Sample, World};

/// What the next pass is told, and what it sees.
fn next_pass(world: &mut World) -> (View, State, Observations, Time) {
    let (told, seen) = world.gather().expect("a schedule");
    (told.view, told.state, seen, world.now)
}

fn raises(decision: &Decision) -> bool {
    matches!(&decision.motion, Motion::Advance(raises, _) if !raises.is_empty())
}

#[test]
fn what_others_hold_and_what_is_barred_is_not_raised() {
    let mut world = world(&["eu"]);
    world.run_until(second(2)).expect("no law is broken");
    let (view, state, seen, now) = next_pass(&mut world);
    assert!(raises(&step(&view, &state, &seen, now)), "nothing stands against it");
    let waits = |view: &View, seen: &Observations| {
        let decision = step(view, &state, seen, now);
        assert!(!raises(&decision));
        decision.state.runs.values().flat_map(|r| &r.waits).map(|w| w.gate).collect::<Vec<_>>()
    };
    let place = seen.targets.keys().next().expect("a target").clone();
    let mut claimed = view.clone();
    claimed.neighbours.claimed.insert(place.clone(), "conduit/older".to_owned());
    assert_eq!(waits(&claimed, &seen), [Gate::Claim]);
    let mut busy = view.clone();
    let environment = state.runs.values().next().expect("a run").environment().clone();
    busy.neighbours.busy.insert(environment, "1 eu of conduit/older".to_owned());
    assert_eq!(waits(&busy, &seen), [Gate::Turn]);
    let mut barred = seen.clone();
    match barred.targets.get_mut(&place) {
        Some(Ok(TargetReading::Found(found))) => found.barred = Some("the object is immutable".to_owned()),
        other => panic!("{other:?}"),
    }
    assert_eq!(waits(&view, &barred), [Gate::Target]);
    let mut rolling = seen.clone();
    for reading in rolling.workloads.values_mut() {
        let Ok(WorkloadReading::Found(found)) = reading else { panic!("{reading:?}") };
        found.complete = false;
    }
    assert_eq!(waits(&view, &rolling), [Gate::Workload]);
}

#[test]
fn an_override_that_is_over_opens_no_gate() {
    let mut world = world(&["eu"]);
    world.metrics.say("eu", minute(0), minute(60), Sample::Bad);
    world.plan(minute(0), Act::Suspend(true));
    world.plan(minute(1), Act::OverrideCheck("errors", 60));
    world.plan(minute(10), Act::Suspend(false));
    world.run_until(minute(50)).expect("no law is broken");
    let state = |world: &World| world.latest()[0].status.as_ref().expect("a status").state;
    assert_eq!(state(&world), RunState::Gating, "{}", world.timeline());
    world.run_until(minute(80)).expect("no law is broken");
    assert_eq!(state(&world), RunState::Soaking, "{}", world.timeline());
}

#[test]
fn a_retry_releases_what_was_closed_before_it_and_nothing_later() {
    let mut world = world(&["eu"]);
    world.plan(minute(10), Act::Rollback(None));
    world.plan(minute(20), Act::Suspend(true));
    world.plan(minute(21), Act::Retry);
    world.run_until(minute(22)).expect("no law is broken");
    world.act(&Act::Suspend(false));
    let (view, state, mut seen, now) = next_pass(&mut world);
    assert!(raises(&step(&view, &state, &seen, now)), "the Retry came after the rollback");
    for reading in seen.targets.values_mut() {
        let Ok(TargetReading::Found(found)) = reading else { panic!("{reading:?}") };
        found.stamp.as_mut().expect("a closing stamp").at = now;
    }
    let decision = step(&view, &state, &seen, now);
    assert!(!raises(&decision));
    let held = decision.state.runs.values().filter_map(|r| r.held.as_ref()).map(|h| h.reason).collect::<Vec<_>>();
    assert_eq!(held, [HeldReason::PreviouslyRolledBack]);
}

/// One goes to its next step, another back: in the same pass, and the one that advances comes first.
#[test]
fn a_pass_that_retreats_never_advances() {
    let mut plan = schedule(&["a", "b"]);
    for phase in &mut plan.spec.phases {
        phase.after = Some(Vec::new());
        phase.steps = serde_json::from_value(json!([{ "percent": 10 }, { "percent": 100 }])).expect("steps");
    }
    let environments = ["a", "b"].map(|e| in_parts(config_map(e))).to_vec();
    let mut world = World::new(&plan, environments, start(), 1);
    world.run_until(minute(5)).expect("no law is broken");
    let (view, state, seen) = loop {
        let (view, state, seen, now) = next_pass(&mut world);
        if raises(&step(&view, &state, &seen, now)) {
            break (view, state, seen);
        }
        assert!(now < minute(60), "{}", world.timeline());
        world.run_until(now + TimeDelta::seconds(1)).expect("no law is broken");
    };
    world.act(&Act::Rollback(Some("b")));
    let ordered = View { orders: next_pass(&mut world).0.orders, ..view };
    let decision = step(&ordered, &state, &seen, world.now);
    assert!(matches!(&decision.motion, Motion::Retreat(lowers, _) if lowers.len() == 1), "{:?}", decision.motion);
    let states = decision.state.runs.values().map(|r| r.stage.state()).collect::<Vec<_>>();
    assert_eq!(states, [RunState::Soaking, RunState::RollingBack]);
}

#[test]
fn a_rollback_that_is_not_proven_in_its_time_asks_for_a_person() {
    let mut world = world(&["eu"]);
    world.plan(minute(10), Act::Rollback(None));
    world.run_until(minute(9)).expect("no law is broken");
    world.cluster.workloads.values_mut().for_each(|w| w.latency = TimeDelta::hours(5));
    let held = |world: &World| {
        let status = world.latest()[0].status.clone().expect("a status");
        let deadline = status.armed.expect("armed").deadline.delta();
        (status.held.map(|h| h.reason), status.rollback.map(|r| r.at + deadline))
    };
    world.run_until(minute(11)).expect("no law is broken");
    let (reason, deadline) = held(&world);
    assert_eq!(reason, None);
    world.run_until(deadline.expect("a rollback") + TimeDelta::seconds(2)).expect("no law is broken");
    assert_eq!(held(&world).0, Some(HeldReason::RollbackUnproven));
}
