//! What others hold, and what only a person or time settles.

#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them so")]

use chrono::TimeDelta;
use expect_test::expect;

use super::timelines::{kinds, live};
use super::{minute, schedule, start, world};
use crate::api::{Gate, HeldReason};
use crate::sim::{Act, Hand, Sample, World};

fn gates(world: &World) -> Vec<Gate> {
    let status = world.latest()[0].status.as_ref().expect("a status");
    status.waits.iter().map(|w| w.gate).collect()
}

fn held(world: &World) -> Option<HeldReason> {
    world.latest()[0].status.as_ref()?.held.as_ref().map(|h| h.reason)
}

#[test]
pub(super) fn what_another_schedule_has_is_waited_for() {
    let mut world = world(&["eu"]);
    let entry = world.cluster.entries[0].clone();
    world.neighbours.claimed.insert(entry.place, "conduit/older".to_owned());
    world.neighbours.busy.insert(entry.environment, "conduit/other".to_owned());
    world.run_until(minute(5)).expect("no violation");
    assert_eq!(gates(&world), [Gate::Claim, Gate::Turn], "{}", world.timeline());
    world.neighbours.claimed.clear();
    world.run_until(minute(10)).expect("no violation");
    assert_eq!(gates(&world), [Gate::Turn], "{}", world.timeline());
    world.neighbours.busy.clear();
    world.run_until(minute(60)).expect("no violation");
    assert_eq!(world.values()[0].1, "\"true\"", "{}", world.timeline());
}

#[test]
pub(super) fn a_flag_that_is_up_already_is_not_raised_before_a_person_settles_it() {
    let mut world = world(&["eu"]);
    let (place, values) = (world.cluster.entries[0].place.clone(), world.cluster.entries[0].values.clone());
    world.cluster.set(&place, &values.enabled, "kubectl-edit", world.now);
    world.plan(minute(10), Act::Set("eu", 0, Hand::Disabled));
    world.run_until(minute(9)).expect("no violation");
    assert_eq!(held(&world), Some(HeldReason::RaisedBefore), "{}", world.timeline());
    assert_eq!(kinds(&world), "", "nothing is written over it");
    world.run_until(minute(60)).expect("no violation");
    assert_eq!(world.values()[0].1, "\"true\"", "{}", world.timeline());
    assert_eq!(kinds(&world), "Raised");
}

#[test]
pub(super) fn a_rollback_that_is_not_proven_in_time_is_said_and_goes_on() {
    let slow = |w: &mut World| w.cluster.workloads.values_mut().for_each(|w| w.latency = TimeDelta::minutes(25));
    let mut early = world(&["eu"]);
    slow(&mut early);
    early.run_until(minute(21)).expect("no violation");
    assert_eq!(held(&early), Some(HeldReason::RollbackUnproven), "{}", early.timeline());
    live(
        world(&["eu"]),
        slow,
        &expect![[r#"
        05-05 09:00:02  1 eu         Gating → Flipping          every gate is open
        05-05 09:00:03  1 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 09:10:03  1 eu         Verifying → RollingBack    rollout: Deployment conduit/app-eu made no progress within its progressDeadlineSeconds
        05-05 09:35:04  1 eu         RollingBack → RolledBack   proven: 3 of 3 pods of Deployment conduit/app-eu are back on the old value
    "#]],
    );
}

#[test]
fn people_are_told_where_a_soak_stands_once_each_time() {
    let mut plan = schedule(&["eu"]);
    let updates = serde_json::json!(["5m", "10m", "12m", "20m", "2h"]);
    plan.spec.soak.updates = serde_json::from_value(updates).expect("durations");
    let mut world = World::new(&plan, vec![super::config_map("eu")], start(), 1);
    // What came due while nobody was there is told at once, the last of it alone.
    world.run_until(minute(9)).expect("no violation");
    world.down_until = minute(14);
    world.metrics.say("eu", minute(19), minute(22), Sample::Empty);
    world.run_until(minute(90)).expect("no violation");
    let told: Vec<String> =
        world.updates.iter().map(|u| format!("{} {} {}", u.at.format("%H:%M:%S"), u.number, u.sentence)).collect();
    expect![[r#"
        09:05:23 1 has soaked for 5m of 30m: every check passes
        09:14:00 3 has soaked for 13m37s of 30m: every check passes
        09:20:23 4 has soaked for 20m of 30m: check errors: the ratio's total answers with no series"#]]
    .assert_eq(&told.join("\n"));
}
