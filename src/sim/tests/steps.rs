//! Steps in timelines: a flag that reaches its users in parts.

#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them so")]

use chrono::TimeDelta;
use expect_test::expect;
use serde_json::{Value, json};

use super::timelines::{kinds, live, values};
use super::{config_map, in_parts, many, minute, schedule, second, start};
use crate::api::{Environment, MigrationSchedule, RunState};
use crate::engine::{Places, Plan, Run};
use crate::sim::{Act, Fate, Hand, World};

fn plan(steps: &Value) -> MigrationSchedule {
    let mut plan = schedule(&["eu"]);
    plan.spec.phases[0].steps = serde_json::from_value(steps.clone()).expect("steps");
    plan
}

fn three() -> Value {
    json!([{ "percent": 10, "soak": { "duration": "15m" } }, { "percent": "50" }, { "percent": 100 }])
}

fn world(steps: &Value) -> World {
    World::new(&plan(steps), vec![in_parts(config_map("eu"))], start(), 1)
}

fn shares(world: &World) -> String {
    let share = |e: &crate::sim::Entry| world.cluster.percent(&e.place).map_or("-".to_owned(), |p| p.to_string());
    world.cluster.entries.iter().map(share).collect::<Vec<_>>().join(" ")
}

#[test]
pub(super) fn ten_fifty_and_a_hundred_percent_each_with_a_soak() {
    let world = live(
        world(&three()),
        |_| {},
        &expect![[r#"
        05-05 09:00:02  1 eu         Gating → Flipping          every gate is open
        05-05 09:00:03  1 eu         Flipping → Verifying       the flag is up at 10 %; its pods are not proven yet
        05-05 09:00:23  1 eu         Verifying → Soaking        the rollout is complete at 10 %; soaks for 15m
        05-05 09:15:52  1 eu         Soaking → Flipping         soaked for 15m at 10 %: every check passes; goes to 50 %
        05-05 09:15:53  1 eu         Flipping → Verifying       the flag is up at 50 %; its pods are not proven yet
        05-05 09:16:13  1 eu         Verifying → Soaking        the rollout is complete at 50 %; soaks for 30m
        05-05 09:46:13  1 eu         Soaking → Flipping         soaked for 30m at 50 %: every check passes; goes to 100 %
        05-05 09:46:14  1 eu         Flipping → Verifying       the flag is up at 100 %; its pods are not proven yet
        05-05 09:46:34  1 eu         Verifying → Soaking        the rollout is complete at 100 %; soaks for 30m
        05-05 10:16:34  1 eu         Soaking → Completed        soaked for 30m at 100 %: every check passes
        05-05 10:16:34  1 eu         Completed → Finished       the schedule is complete
    "#]],
    );
    assert_eq!((values(&world).as_str(), shares(&world).as_str()), ("eu=\"true\"", "\"100\""));
}

#[test]
pub(super) fn a_breach_at_half_of_the_users_takes_all_of_it_back() {
    let regress = |w: &mut World| w.metrics.curve("eu").regression = Some(TimeDelta::minutes(30));
    let world = live(
        world(&three()),
        regress,
        &expect![[r#"
        05-05 09:00:02  1 eu         Gating → Flipping          every gate is open
        05-05 09:00:03  1 eu         Flipping → Verifying       the flag is up at 10 %; its pods are not proven yet
        05-05 09:00:23  1 eu         Verifying → Soaking        the rollout is complete at 10 %; soaks for 15m
        05-05 09:15:52  1 eu         Soaking → Flipping         soaked for 15m at 10 %: every check passes; goes to 50 %
        05-05 09:15:53  1 eu         Flipping → Verifying       the flag is up at 50 %; its pods are not proven yet
        05-05 09:16:13  1 eu         Verifying → Soaking        the rollout is complete at 50 %; soaks for 30m
        05-05 09:31:52  1 eu         Soaking → RollingBack      errors: 1.056 is above max 0.05 over 5m, for 1m
        05-05 09:32:13  1 eu         RollingBack → RolledBack   proven: 3 of 3 pods of Deployment conduit/app-eu are back on the old value
    "#]],
    );
    assert_eq!((values(&world).as_str(), shares(&world).as_str()), ("eu=\"false\"", "\"0\""));
    assert_eq!(kinds(&world), "Raised Raised Closed");
}

#[test]
pub(super) fn a_holdback_keeps_some_of_the_users_where_they_were() {
    let world = live(
        world(&json!([{ "percent": "0.5" }, { "percent": 95 }])),
        |_| {},
        &expect![[r#"
        05-05 09:00:02  1 eu         Gating → Flipping          every gate is open
        05-05 09:00:03  1 eu         Flipping → Verifying       the flag is up at 0.5 %; its pods are not proven yet
        05-05 09:00:23  1 eu         Verifying → Soaking        the rollout is complete at 0.5 %; soaks for 30m
        05-05 09:30:23  1 eu         Soaking → Flipping         soaked for 30m at 0.5 %: every check passes; goes to 95 %
        05-05 09:30:24  1 eu         Flipping → Verifying       the flag is up at 95 %; its pods are not proven yet
        05-05 09:30:44  1 eu         Verifying → Soaking        the rollout is complete at 95 %; soaks for 30m
        05-05 10:00:44  1 eu         Soaking → Completed        soaked for 30m at 95 %: every check passes
        05-05 10:00:44  1 eu         Completed → Finished       the schedule is complete
    "#]],
    );
    assert_eq!(shares(&world), "\"95\"");
}

#[test]
pub(super) fn a_pause_keeps_a_flag_at_its_step_and_watches_it() {
    let world = live(
        world(&three()),
        |w| {
            w.plan(minute(10), Act::Pause(None));
            w.plan(minute(60), Act::Resume);
            w.plan(minute(61), Act::Pause(None));
            w.metrics.curve("eu").regression = Some(TimeDelta::minutes(90));
        },
        &expect![[r#"
            05-05 09:00:02  1 eu         Gating → Flipping          every gate is open
            05-05 09:00:03  1 eu         Flipping → Verifying       the flag is up at 10 %; its pods are not proven yet
            05-05 09:00:23  1 eu         Verifying → Soaking        the rollout is complete at 10 %; soaks for 15m
            05-05 10:00:01  1 eu         Soaking → Flipping         soaked for 15m at 10 %: every check passes; goes to 50 %
            05-05 10:00:02  1 eu         Flipping → Verifying       the flag is up at 50 %; its pods are not proven yet
            05-05 10:00:22  1 eu         Verifying → Soaking        the rollout is complete at 50 %; soaks for 30m
            05-05 10:31:52  1 eu         Soaking → RollingBack      errors: 1.058 is above max 0.05 over 5m, for 1m
            05-05 10:32:13  1 eu         RollingBack → RolledBack   proven: 3 of 3 pods of Deployment conduit/app-eu are back on the old value
        "#]],
    );
    assert_eq!(shares(&world), "\"0\"");
}

#[test]
pub(super) fn a_step_that_does_not_arrive_is_sealed_and_sent_again() {
    let lost_at = |number| {
        let mut lost = world(&three());
        lost.faults.script = vec![(number, Fate::Late(40))];
        lost.run_until(minute(20)).expect("no violation");
        kinds(&lost) == "Raised Sealed Raised"
    };
    let number = (0..100).find(|number| lost_at(*number)).expect("the write that carries the second raise");
    live(
        world(&three()),
        |w| w.faults.script = vec![(number, Fate::Late(40))],
        &expect![[r#"
        05-05 09:00:02  1 eu         Gating → Flipping          every gate is open
        05-05 09:00:03  1 eu         Flipping → Verifying       the flag is up at 10 %; its pods are not proven yet
        05-05 09:00:23  1 eu         Verifying → Soaking        the rollout is complete at 10 %; soaks for 15m
        05-05 09:15:52  1 eu         Soaking → Flipping         soaked for 15m at 10 %: every check passes; goes to 50 %
        05-05 09:15:54  1 eu         Flipping → Soaking         the flip did not arrive; its targets are sealed against a late write
        05-05 09:15:59  1 eu         Soaking → Flipping         soaked for 15m at 10 %: every check passes; goes to 50 %
        05-05 09:16:00  1 eu         Flipping → Verifying       the flag is up at 50 %; its pods are not proven yet
        05-05 09:16:20  1 eu         Verifying → Soaking        the rollout is complete at 50 %; soaks for 30m
        05-05 09:46:20  1 eu         Soaking → Flipping         soaked for 30m at 50 %: every check passes; goes to 100 %
        05-05 09:46:21  1 eu         Flipping → Verifying       the flag is up at 100 %; its pods are not proven yet
        05-05 09:46:41  1 eu         Verifying → Soaking        the rollout is complete at 100 %; soaks for 30m
        05-05 10:16:41  1 eu         Soaking → Completed        soaked for 30m at 100 %: every check passes
        05-05 10:16:41  1 eu         Completed → Finished       the schedule is complete
    "#]],
    );
}

#[test]
pub(super) fn a_percentage_that_somebody_sets_is_named_and_left_alone() {
    let world = live(
        world(&three()),
        |w| w.plan(minute(5), Act::Set("eu", 0, Hand::Share)),
        &expect![[r#"
        05-05 09:00:02  1 eu         Gating → Flipping          every gate is open
        05-05 09:00:03  1 eu         Flipping → Verifying       the flag is up at 10 %; its pods are not proven yet
        05-05 09:00:23  1 eu         Verifying → Soaking        the rollout is complete at 10 %; soaks for 15m
        1 eu is Soaking and held: Drifted: the percentage beside ConfigMap conduit/flags-eu key FLAG was set to "33" by field manager kubectl-edit at 2025-05-05 09:05:00 UTC; it is left alone. Set it back, or order a Rollback
    "#]],
    );
    assert_eq!(shares(&world), "\"33\"");
}

#[test]
pub(super) fn a_percentage_that_is_set_back_to_the_step_before_is_noticed() {
    let mut world = world(&json!([{ "percent": 33, "soak": { "duration": "5m" } }, { "percent": 50 }]));
    world.plan(minute(15), Act::Set("eu", 0, Hand::Share));
    world.run_until(minute(60)).expect("no violation");
    assert_eq!((values(&world).as_str(), shares(&world).as_str()), ("eu=\"true\"", "\"33\""));
    let held = world.latest()[0].status.as_ref().and_then(|s| s.held.clone()).expect("a hold");
    assert!(held.message.contains("was set to \"33\" by field manager kubectl-edit"), "{}", world.timeline());
}

#[test]
pub(super) fn steps_wait_for_their_window_and_an_order_takes_all_of_it_back() {
    let mut plan = plan(&three());
    let windows = [("first", "09:00", "09:10"), ("second", "10:00", "10:10")];
    let windows = windows.map(|(name, from, to)| json!({ "name": name, "from": from, "to": to }));
    plan.spec.calendar = serde_json::from_value(json!({ "windows": windows })).expect("a calendar");
    let mut world = World::new(&plan, vec![in_parts(many("eu"))], start(), 1);
    world.plan(minute(2 * 60), Act::Rollback(None));
    world.run_until(minute(3 * 60)).expect("no violation");
    expect![[r#"
        05-05 09:00:02  1 eu         Gating → Flipping          every gate is open
        05-05 09:00:03  1 eu         Flipping → Verifying       the flag is up at 10 %; its pods are not proven yet
        05-05 09:00:23  1 eu         Verifying → Soaking        the rollout is complete at 10 %; soaks for 15m
        05-05 10:00:00  1 eu         Soaking → Flipping         soaked for 15m at 10 %: every check passes; goes to 50 %
        05-05 10:00:01  1 eu         Flipping → Verifying       the flag is up at 50 %; its pods are not proven yet
        05-05 10:00:21  1 eu         Verifying → Soaking        the rollout is complete at 50 %; soaks for 30m
        05-05 11:00:00  1 eu         Soaking → RollingBack      Rollback by a person [Intervention order-1]
        05-05 11:00:21  1 eu         RollingBack → RolledBack   proven: 3 of 3 pods of Deployment conduit/app-eu are back on the old value
    "#]].assert_eq(&world.timeline());
    assert_eq!(shares(&world), "\"0\" \"0\" \"0\"");
}

#[test]
pub(super) fn an_override_of_the_soak_goes_to_the_next_step_now() {
    let mut world = world(&three());
    world.plan(minute(2), Act::OverrideWait(crate::api::OverriddenWait::Soak, 30));
    world.run_until(minute(3)).expect("no violation");
    let run = Run::read(world.latest()[0]).expect("a run");
    let step = run.status().step.expect("a step");
    assert_eq!((run.stage.state(), step.number, step.of), (RunState::Soaking, 2, 3), "{}", world.timeline());
}

#[test]
pub(super) fn an_environment_without_percentages_is_not_raised_in_steps() {
    let mut world = World::new(&plan(&three()), vec![config_map("eu")], start(), 1);
    world.run_until(second(60)).expect("no violation");
    expect![[r#"
        1 eu is Gating and waits: Environment: phase eu goes in steps, and ConfigMap conduit/flags-eu key FLAG takes no percentage; give that target of Environment conduit/eu a percentKey, or the phase no steps
    "#]].assert_eq(&world.timeline());
}

#[test]
pub(super) fn a_flag_that_goes_at_once_reaches_everybody_where_a_percentage_is() {
    let mut world = World::new(&schedule(&["eu"]), vec![in_parts(many("eu"))], start(), 1);
    world.run_until(minute(60)).expect("no violation");
    assert_eq!(shares(&world), "\"100\" \"100\" \"100\"");
}

/// What is wrong in a plan of these steps, or in its Environment.
fn wrong(steps: &Value, environment: Environment) -> String {
    let plan = plan(steps);
    let key = crate::api::EnvironmentKey { namespace: "conduit".into(), name: "eu".into() };
    let places = Places { environments: [(key, Ok(environment))].into(), ..Places::default() };
    match Plan::parse("conduit", &plan.spec, &places) {
        Ok(plan) => plan.phases[0].environments[0].flip.clone().expect_err("a plan that is wrong"),
        Err(problems) => problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
    }
}

#[test]
pub(super) fn steps_that_fall_and_keys_that_meet_are_refused() {
    let falling = json!([{ "percent": 50 }, { "percent": 10, "soak": { "duration": "0s" } }, { "percent": 10 }]);
    expect!["spec.phases[0].steps[1].percent: 10 % does not reach more users than 50 % before it (each step reaches more than the one before); spec.phases[0].steps[2].percent: 10 % does not reach more users than 10 % before it (each step reaches more than the one before); spec.phases[0].steps[1].soak.duration: a soak of no time measures nothing (give the evidence time to come, such as 24h)"].assert_eq(&wrong(&falling, in_parts(config_map("eu"))));
    let mut same = in_parts(config_map("eu"));
    same.spec.flags[0].targets[0].config_map.iter_mut().for_each(|t| t.percent_key = Some("FLAG".to_owned()));
    expect!["Environment conduit/eu lists FLAG for the percentage of ConfigMap conduit/flags-eu key FLAG, which is written as something else"].assert_eq(&wrong(&three(), same));
}

#[test]
fn more_users_wait_for_what_came_before_to_be_complete_again() {
    let mut plan = schedule(&["a", "b"]);
    plan.spec.phases[1].steps = serde_json::from_value(json!([{ "percent": 10 }, { "percent": 100 }])).expect("steps");
    let world = World::new(&plan, vec![config_map("a"), in_parts(config_map("b"))], start(), 1);
    let undone = |w: &mut World| {
        w.plan(minute(45), Act::Undo("a", 0));
        w.plan(minute(50), Act::Retry);
    };
    live(
        world,
        undone,
        &expect![[r#"
        05-05 09:00:02  1 a          Gating → Flipping          every gate is open
        05-05 09:00:03  1 a          Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 09:00:23  1 a          Verifying → Soaking        the rollout is complete; soaks for 30m
        05-05 09:30:23  1 a          Soaking → Completed        soaked for 30m: every check passes
        05-05 09:30:25  2 b          Gating → Flipping          every gate is open
        05-05 09:30:26  2 b          Flipping → Verifying       the flag is up at 10 %; its pods are not proven yet
        05-05 09:30:46  2 b          Verifying → Soaking        the rollout is complete at 10 %; soaks for 30m
        05-05 09:45:06  1 a          Completed → RollingBack    ConfigMap conduit/flags-a key FLAG was set to "false" by field manager kubectl-rollout at 2025-05-05 09:45:00 UTC: that is a rollback by a person [kubectl-rollout]
        05-05 09:45:26  1 a          RollingBack → RolledBack   proven: 3 of 3 pods of Deployment conduit/app-a are back on the old value
        05-05 09:50:01  1 a #2       Gating → Flipping          every gate is open; epoch opened by Intervention order-1
        05-05 09:50:02  1 a #2       Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 09:50:22  1 a #2       Verifying → Soaking        the rollout is complete; soaks for 30m
        05-05 10:20:22  2 b          Soaking → Flipping         soaked for 30m at 10 %: every check passes; goes to 100 %
        05-05 10:20:22  1 a #2       Soaking → Completed        soaked for 30m: every check passes
        05-05 10:20:23  2 b          Flipping → Verifying       the flag is up at 100 %; its pods are not proven yet
        05-05 10:20:43  2 b          Verifying → Soaking        the rollout is complete at 100 %; soaks for 30m
        05-05 10:50:43  2 b          Soaking → Completed        soaked for 30m at 100 %: every check passes
        05-05 10:50:43  2 b          Completed → Finished       the schedule is complete
        05-05 10:50:43  1 a #2       Completed → Finished       the schedule is complete
    "#]],
    );
}
