//! Trials in timelines: a flag that goes back by plan, and may be raised there again.

#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them so")]

use chrono::TimeDelta;
use expect_test::expect;
use serde_json::{Value, json};

use super::timelines::{kinds, live, values};
use super::{config_map, in_parts, many, minute, schedule, start};
use crate::api::{Duration, HeldReason, MigrationSchedule, Mode, OnDelete, OverriddenWait, RunState};
use crate::engine::{Places, Plan, Run};
use crate::sim::{Act, Fate, Hand, World};

/// A trial in `eu` of two hours, with a soak of half an hour, and then `eu` for good.
fn plan() -> MigrationSchedule {
    let mut plan = schedule(&["eu"]);
    let trial = json!({ "name": "trial", "number": "0", "environments": [{ "name": "eu" }], "lowerAfter": "2h" });
    plan.spec.phases.insert(0, serde_json::from_value(trial).expect("a phase"));
    plan
}

/// A trial of four minutes, for lives that are lived many times.
fn short() -> MigrationSchedule {
    let mut plan = plan();
    plan.spec.soak.duration = Duration::seconds(120);
    plan.spec.phases[0].lower_after = Some(Duration::seconds(240));
    plan
}

fn world() -> World {
    World::new(&plan(), vec![config_map("eu")], start(), 1)
}

fn states(world: &World) -> Vec<RunState> {
    world.latest().iter().map(|r| r.status.as_ref().map(|s| s.state).unwrap_or_default()).collect()
}

/// Lives on until this holds, and panics where it does not within a day.
fn until(world: &mut World, holds: impl Fn(&World) -> bool) {
    while !holds(world) {
        assert!(world.now < minute(24 * 60), "{}", world.timeline());
        world.run_until(world.now + TimeDelta::seconds(1)).expect("no violation");
    }
}

#[test]
pub(super) fn a_trial_goes_back_by_plan_and_the_next_phase_raises_the_flag_for_good() {
    let mut plan = plan();
    plan.spec.phases[0].lower_after = Some(Duration::seconds(8 * 3_600));
    let world = live(
        World::new(&plan, vec![config_map("eu")], start(), 1),
        |_| {},
        &expect![[r#"
        05-05 09:00:02  0 eu         Gating → Flipping          every gate is open
        05-05 09:00:03  0 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 09:00:23  0 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
        05-05 17:00:23  0 eu         Soaking → Lowering         soaked for 30m: every check passes; goes back after 8h as planned
        05-05 17:00:44  0 eu         Lowering → Finished        put back after 8h as planned: 3 of 3 pods of Deployment conduit/app-eu are back on the old value
        05-05 17:00:46  1 eu         Gating → Flipping          every gate is open
        05-05 17:00:47  1 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 17:01:07  1 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
        05-05 17:31:07  1 eu         Soaking → Completed        soaked for 30m: every check passes
        05-05 17:31:07  1 eu         Completed → Finished       the schedule is complete
    "#]],
    );
    assert_eq!((values(&world).as_str(), kinds(&world).as_str()), ("eu=\"true\"", "Raised Lowered Raised"));
}

#[test]
pub(super) fn a_trial_says_when_it_goes_back() {
    let mut world = world();
    world.run_until(minute(60)).expect("no violation");
    expect![[r#"
        05-05 09:00:02  0 eu         Gating → Flipping          every gate is open
        05-05 09:00:03  0 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 09:00:23  0 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
        0 eu is Soaking and waits: Soak: goes back as planned at 2025-05-05 11:00:23 UTC
    "#]]
    .assert_eq(&world.timeline());
    let wait = world.latest()[0].status.as_ref().and_then(|s| s.waits.first().cloned()).expect("a wait");
    assert_eq!(wait.until.map(|at| at > minute(2 * 60)), Some(true));
}

#[test]
pub(super) fn a_breach_in_a_trial_is_a_rollback_and_closes() {
    let regress = |w: &mut World| w.metrics.curve("eu").regression = Some(TimeDelta::minutes(100));
    let world = live(
        world(),
        regress,
        &expect![[r#"
            05-05 09:00:02  0 eu         Gating → Flipping          every gate is open
            05-05 09:00:03  0 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
            05-05 09:00:23  0 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
            05-05 10:41:52  0 eu         Soaking → RollingBack      errors: 1.056 is above max 0.05 over 5m, for 1m
            05-05 10:42:13  0 eu         RollingBack → RolledBack   proven: 3 of 3 pods of Deployment conduit/app-eu are back on the old value
        "#]],
    );
    assert_eq!((values(&world).as_str(), kinds(&world).as_str()), ("eu=\"false\"", "Raised Closed"));
}

/// A lowering of any part of the flag that was sent, and the daemon that died before it could say so.
#[test]
pub(super) fn a_lowering_that_was_sent_and_not_stored_is_no_rollback() {
    let mut deaths = 0;
    for number in 10..40 {
        let mut world = World::new(&short(), vec![many("eu")], start(), 1);
        world.faults.script = vec![(number, Fate::CrashAfter)];
        let lowered = |w: &World| kinds(w).contains("Lowered");
        until(&mut world, lowered);
        let soaking = states(&world) == [RunState::Soaking];
        deaths += usize::from(soaking);
        world.run_until(minute(20)).expect("no violation");
        assert_eq!(states(&world), [RunState::Finished; 2], "{number}\n{}", world.timeline());
        assert!(!kinds(&world).contains("Closed"), "{number}: {}", kinds(&world));
        assert!(world.values().iter().all(|(_, value)| value == "\"true\""), "{number}\n{}", world.timeline());
    }
    assert!(deaths > 0, "no death came between the lowering and its record");
}

#[test]
pub(super) fn a_rollback_that_is_ordered_on_the_way_back_closes() {
    let mut world = world();
    world.cluster.workloads.values_mut().for_each(|w| w.latency = TimeDelta::seconds(90));
    until(&mut world, |w| states(w) == [RunState::Lowering]);
    world.plan(world.now + TimeDelta::seconds(5), Act::Rollback(None));
    world.run_until(minute(12 * 60)).expect("no violation");
    expect![[r#"
        05-05 09:00:02  0 eu         Gating → Flipping          every gate is open
        05-05 09:00:03  0 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 09:01:33  0 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
        05-05 11:01:33  0 eu         Soaking → Lowering         soaked for 30m: every check passes; goes back after 2h as planned
        05-05 11:01:39  0 eu         Lowering → RollingBack     Rollback by a person [Intervention order-1]
        05-05 11:03:09  0 eu         RollingBack → RolledBack   proven: 3 of 3 pods of Deployment conduit/app-eu are back on the old value
    "#]].assert_eq(&world.timeline());
    assert_eq!((values(&world).as_str(), kinds(&world).as_str()), ("eu=\"false\"", "Raised Lowered Closed"));
}

#[test]
pub(super) fn lowered_by_hand_before_its_time_it_is_a_rollback_by_a_person() {
    let lower = |w: &mut World| w.plan(minute(100), Act::Set("eu", 0, Hand::Disabled));
    let world = live(
        world(),
        lower,
        &expect![[r#"
            05-05 09:00:02  0 eu         Gating → Flipping          every gate is open
            05-05 09:00:03  0 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
            05-05 09:00:23  0 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
            05-05 10:40:00  0 eu         Soaking → RollingBack      ConfigMap conduit/flags-eu key FLAG was set to "false" by field manager kubectl-edit at 2025-05-05 10:40:00 UTC: that is a rollback by a person [kubectl-edit]
            05-05 10:40:20  0 eu         RollingBack → RolledBack   proven: 3 of 3 pods of Deployment conduit/app-eu are back on the old value
        "#]],
    );
    assert_eq!(kinds(&world), "Raised Closed");
}

#[test]
pub(super) fn a_value_that_others_set_on_the_way_back_is_left_alone() {
    let mut world = world();
    world.cluster.workloads.values_mut().for_each(|w| w.latency = TimeDelta::seconds(90));
    until(&mut world, |w| states(w) == [RunState::Lowering] && kinds(w).contains("Lowered"));
    world.plan(world.now + TimeDelta::seconds(5), Act::Set("eu", 0, Hand::Enabled));
    world.run_until(minute(180)).expect("no violation");
    let run = Run::read(world.latest()[0]).expect("a run");
    let held = run.held.expect("a hold");
    assert_eq!((run.stage.state(), held.reason), (RunState::Lowering, HeldReason::Drifted), "{}", world.timeline());
    assert_eq!((values(&world).as_str(), kinds(&world).as_str()), ("eu=\"true\"", "Raised Lowered"));
    world.plan(minute(181), Act::Set("eu", 0, Hand::Disabled));
    world.run_until(minute(12 * 60)).expect("no violation");
    assert_eq!(states(&world), [RunState::Finished; 2], "{}", world.timeline());
}

#[test]
pub(super) fn a_write_that_comes_late_does_not_meet_what_the_next_phase_raised() {
    for number in 0..40 {
        let mut world = World::new(&short(), vec![config_map("eu")], start(), 1);
        world.faults.script = vec![(number, Fate::Late(45))];
        world.run_until(minute(20)).expect("no violation");
        assert_eq!(states(&world), [RunState::Finished; 2], "{number}\n{}", world.timeline());
        assert_eq!(values(&world), "eu=\"true\"", "{number}\n{}", world.timeline());
    }
}

#[test]
pub(super) fn what_stops_the_schedule_keeps_a_trial_up_and_watched() {
    let mut world = world();
    world.plan(minute(100), Act::Pause(None));
    world.plan(minute(180), Act::Resume);
    world.run_until(minute(180) - TimeDelta::seconds(1)).expect("no violation");
    assert_eq!(states(&world), [RunState::Soaking], "{}", world.timeline());
    world.run_until(minute(12 * 60)).expect("no violation");
    assert_eq!(kinds(&world), "Raised Lowered Raised", "{}", world.timeline());
}

#[test]
pub(super) fn an_override_of_the_soak_ends_a_trial_before_its_time() {
    let mut world = world();
    world.plan(minute(60), Act::OverrideWait(OverriddenWait::Soak, 60));
    world.run_until(minute(65)).expect("no violation");
    let timeline = world.timeline();
    assert!(timeline.contains("a person ended the soak with an Override; goes back now"), "{timeline}");
    assert!(timeline.contains("Lowering → Finished        put back before its 2h were over"), "{timeline}");
}

#[test]
pub(super) fn deleted_on_the_way_back_it_goes_back_all_the_same() {
    for (policy, last) in [(OnDelete::Keep, RunState::Finished), (OnDelete::Rollback, RunState::RolledBack)] {
        let mut world = world();
        until(&mut world, |w| states(w) == [RunState::Lowering]);
        world.act(&Act::Delete(policy));
        world.notify();
        world.run_until(minute(180)).expect("no violation");
        let run = world.store.now.runs.values().next().and_then(|r| r.status.clone()).expect("a run");
        assert_eq!((run.state, values(&world).as_str()), (last, "eu=\"false\""), "{policy:?}");
        assert!(world.store.now.schedule.is_none(), "{policy:?}");
    }
}

#[test]
pub(super) fn steps_are_gone_through_before_a_trial_goes_back() {
    let mut plan = plan();
    let steps = json!([{ "percent": 10, "soak": { "duration": "15m" } }, { "percent": 50 }]);
    plan.spec.phases[0].steps = serde_json::from_value(steps).expect("steps");
    let world = World::new(&plan, vec![in_parts(config_map("eu"))], start(), 1);
    let world = live(
        world,
        |_| {},
        &expect![[r#"
            05-05 09:00:02  0 eu         Gating → Flipping          every gate is open
            05-05 09:00:03  0 eu         Flipping → Verifying       the flag is up at 10 %; its pods are not proven yet
            05-05 09:00:23  0 eu         Verifying → Soaking        the rollout is complete at 10 %; soaks for 15m
            05-05 09:15:52  0 eu         Soaking → Flipping         soaked for 15m at 10 %: every check passes; goes to 50 %
            05-05 09:15:53  0 eu         Flipping → Verifying       the flag is up at 50 %; its pods are not proven yet
            05-05 09:16:13  0 eu         Verifying → Soaking        the rollout is complete at 50 %; soaks for 30m
            05-05 11:16:13  0 eu         Soaking → Lowering         soaked for 30m at 50 %: every check passes; goes back after 2h as planned
            05-05 11:16:34  0 eu         Lowering → Finished        put back after 2h as planned: 3 of 3 pods of Deployment conduit/app-eu are back on the old value
            05-05 11:16:36  1 eu         Gating → Flipping          every gate is open
            05-05 11:16:37  1 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
            05-05 11:16:57  1 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
            05-05 11:46:57  1 eu         Soaking → Completed        soaked for 30m: every check passes
            05-05 11:46:57  1 eu         Completed → Finished       the schedule is complete
        "#]],
    );
    assert_eq!(kinds(&world), "Raised Raised Lowered Raised");
}

/// Mode is `Observe` from the beginning: others raise, and others put back.
#[test]
pub(super) fn in_observe_a_trial_waits_until_others_put_the_flag_back() {
    let mut plan = plan();
    plan.spec.mode = Mode::Observe;
    let mut world = World::new(&plan, vec![config_map("eu")], start(), 1);
    world.plan(minute(5), Act::Set("eu", 0, Hand::Enabled));
    world.plan(minute(180), Act::Set("eu", 0, Hand::Disabled));
    world.run_until(minute(180) - TimeDelta::seconds(1)).expect("no violation");
    expect![[r#"
        05-05 09:05:07  0 eu         Gating → Verifying         others raised the flag; mode is Observe, so it is only watched [others]
        05-05 09:05:08  0 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
        0 eu is Soaking and waits: Mode: was to go back as planned at 2025-05-05 11:05:08 UTC; mode is Observe, so Hoist waits until others put it back
    "#]].assert_eq(&world.timeline());
    world.run_until(minute(200)).expect("no violation");
    expect![[r#"
        05-05 09:05:07  0 eu         Gating → Verifying         others raised the flag; mode is Observe, so it is only watched [others]
        05-05 09:05:08  0 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
        05-05 12:00:00  0 eu         Soaking → Lowering         others put the flag back, as planned
        05-05 12:00:00  0 eu         Lowering → Finished        put back after 2h as planned: 3 of 3 pods of Deployment conduit/app-eu are back on the old value
        1 eu is Gating and waits: Mode: mode is Observe: every gate is open and Hoist would raise the flag now; it watches until others do
    "#]].assert_eq(&world.timeline());
    assert_eq!(kinds(&world), "");
}

#[test]
pub(super) fn what_cannot_be_read_is_not_put_back_before_it_can_be() {
    let mut world = world();
    until(&mut world, |w| states(w) == [RunState::Soaking]);
    world.plan(minute(100), Act::Lock("eu", 0, true));
    world.plan(minute(200), Act::Lock("eu", 0, false));
    world.run_until(minute(200)).expect("no violation");
    assert_eq!(states(&world), [RunState::Soaking], "what cannot be read is not put back: {}", world.timeline());
    world.run_until(minute(12 * 60)).expect("no violation");
    assert_eq!(kinds(&world), "Raised Lowered Raised", "{}", world.timeline());
}

/// What is wrong in a plan of these phases.
fn wrong(phases: &Value) -> String {
    let mut plan = schedule(&["eu"]);
    plan.spec.phases = serde_json::from_value(phases.clone()).expect("phases");
    let problems = Plan::parse("conduit", &plan.spec, &Places::default()).err().unwrap_or_default();
    problems.iter().map(ToString::to_string).chain([String::new()]).collect::<Vec<_>>().join("\n")
}

#[test]
pub(super) fn trials_that_make_no_sense_are_refused() {
    let eu = json!([{ "name": "eu" }]);
    let phase = |name: &str, more: Value| {
        let mut phase = json!({ "name": name, "environments": eu });
        phase.as_object_mut().expect("a phase").extend(more.as_object().cloned().expect("fields"));
        phase
    };
    let steps =
        json!([{ "percent": 10, "soak": { "duration": "9h" } }, { "percent": 100, "soak": { "duration": "2h" } }]);
    let told = [
        wrong(&json!([{ "name": "backup", "kind": "Work", "lowerAfter": "2h" }])),
        wrong(&json!([phase("short", json!({ "lowerAfter": "29m" }))])),
        wrong(&json!([phase("last", json!({ "lowerAfter": "1h", "steps": steps }))])),
        wrong(&json!([phase("for-good", json!({ "lowerAfter": "1h", "pointOfNoReturn": {} }))])),
        wrong(&json!([phase("one", json!({})), phase("two", json!({}))])),
        wrong(&json!([phase("one", json!({})), phase("two", json!({ "lowerAfter": "1h" }))])),
        wrong(&json!([phase("one", json!({ "lowerAfter": "1h" })), phase("two", json!({ "after": [] }))])),
    ];
    expect![[r#"
        spec.phases[0].lowerAfter: a Work phase raises nothing, so it puts nothing back (leave it out)
        spec.phases[0].lowerAfter: 29m is shorter than the soak of 30m, which must be over first (give it a longer lowerAfter, or a shorter soak)
        spec.phases[0].lowerAfter: 1h is shorter than the soak of 2h, which must be over first (give it a longer lowerAfter, or a shorter soak)
        spec.phases[0].lowerAfter: what goes back by plan has no point of no return (keep one of lowerAfter and pointOfNoReturn)
        spec.phases[1].environments[0]: environment conduit/eu is flipped by phase one already (name each environment once, or give one, which comes first, a lowerAfter)
        spec.phases[1].environments[0]: environment conduit/eu is flipped by phase one already (name each environment once, or give one, which comes first, a lowerAfter)
        spec.phases[1].environments[0]: environment conduit/eu is flipped by phase one already, and neither comes before the other (name one in `after` of two, or the environment once)
    "#]].assert_eq(&told.concat());
    let steps = json!([{ "percent": 10, "soak": { "duration": "9h" } }, { "percent": 100 }]);
    let fine = [
        wrong(&json!([phase("one", json!({ "lowerAfter": "30m", "steps": steps })), phase("two", json!({}))])),
        wrong(&json!([
            phase("two", json!({ "after": ["one"] })),
            phase("one", json!({ "after": [], "lowerAfter": "1h" }))
        ])),
        wrong(&json!([
            phase("one", json!({ "lowerAfter": "1h" })),
            phase("two", json!({ "lowerAfter": "2h" })),
            phase("three", json!({}))
        ])),
    ];
    assert_eq!(fine, ["", "", ""]);
}
