//! What people let pass, and what breaches lead to, in timelines.

#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them so")]

use expect_test::{Expect, expect};
use serde_json::json;

use super::timelines::values;
use super::{config_map, minute, schedule, start};
use crate::api::{Duration, MigrationSchedule, OnBreach, OrderOutcome, OverriddenWait, PointOfNoReturn, RollbackScope};
use crate::sim::{Act, Sample, World};

fn world(plan: &MigrationSchedule, names: &[&str]) -> World {
    World::new(plan, names.iter().map(|e| config_map(e)).collect(), start(), 1)
}

/// Lives for so many minutes and compares what happened.
fn live(mut world: World, minutes: i64, expected: &Expect) -> World {
    if let Err(violation) = world.run_until(minute(minutes)) {
        panic!("{violation:?}\n{}", world.timeline());
    }
    assert_eq!(world.unexplained(), None, "{}", world.timeline());
    expected.assert_eq(&format!("{}{}\n", world.timeline(), values(&world)));
    world
}

/// What became of the orders, in their order.
fn answers(world: &World) -> String {
    let answers = world.store.now.orders.values().filter_map(|o| o.status.as_ref());
    answers.map(|s| format!("{:?}: {}", s.outcome, s.message)).collect::<Vec<_>>().join("\n")
}

/// One environment whose check breaches twenty minutes after the beginning, for ten.
fn breaching(change: impl FnOnce(&mut MigrationSchedule)) -> World {
    let mut plan = schedule(&["eu", "apac"]);
    change(&mut plan);
    let mut world = world(&plan, &["eu", "apac"]);
    world.metrics.say("eu", minute(20), minute(30), Sample::Bad);
    world
}

#[test]
pub(super) fn a_breach_holds_where_that_is_wanted_until_a_person_decides() {
    let mut told = breaching(|plan| plan.spec.checks[0].on_breach = OnBreach::Hold);
    told.plan(minute(90), Act::OverrideCheck("errors", 60));
    live(
        told,
        180,
        &expect![[r#"
        05-05 09:00:02  1 eu         Gating → Flipping          every gate is open
        05-05 09:00:03  1 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 09:00:23  1 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
        05-05 10:30:02  1 eu         Soaking → Completed        soaked for 30m: every check passes
        05-05 10:30:04  2 apac       Gating → Flipping          every gate is open
        05-05 10:30:05  2 apac       Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 10:30:25  2 apac       Verifying → Soaking        the rollout is complete; soaks for 30m
        05-05 11:00:25  1 eu         Completed → Finished       the schedule is complete
        05-05 11:00:25  2 apac       Soaking → Completed        soaked for 30m: every check passes
        05-05 11:00:25  2 apac       Completed → Finished       the schedule is complete
        eu="true" apac="true"
    "#]],
    );
    let mut told = breaching(|plan| plan.spec.checks[0].on_breach = OnBreach::Hold);
    told.plan(minute(90), Act::Rollback(None));
    live(
        told,
        180,
        &expect![[r#"
        05-05 09:00:02  1 eu         Gating → Flipping          every gate is open
        05-05 09:00:03  1 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 09:00:23  1 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
        05-05 10:30:00  1 eu         Soaking → RollingBack      Rollback by a person [Intervention order-1]
        05-05 10:30:21  1 eu         RollingBack → RolledBack   proven: 3 of 3 pods of Deployment conduit/app-eu are back on the old value
        eu="false" apac="false"
    "#]],
    );
}

#[test]
pub(super) fn a_breach_is_only_said_where_that_is_wanted() {
    let seen = |world: &World| {
        let runs = world.latest();
        let checks = runs.iter().filter_map(|r| r.status.as_ref()).flat_map(|s| &s.checks);
        checks.map(|c| format!("{:?} {}", c.outcome, c.message)).collect::<Vec<_>>().join("\n")
    };
    let mut told = breaching(|plan| plan.spec.checks[0].on_breach = OnBreach::Notify);
    told.run_until(minute(28)).expect("the laws hold");
    expect!["Breach errors: 1.056 is above max 0.05 over 5m, for 1m"].assert_eq(&seen(&told));
    live(
        told,
        180,
        &expect![[r#"
            05-05 09:00:02  1 eu         Gating → Flipping          every gate is open
            05-05 09:00:03  1 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
            05-05 09:00:23  1 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
            05-05 09:30:23  1 eu         Soaking → Completed        soaked for 30m: every check passes
            05-05 09:30:25  2 apac       Gating → Flipping          every gate is open
            05-05 09:30:26  2 apac       Flipping → Verifying       the flag is up; its pods are not proven yet
            05-05 09:30:46  2 apac       Verifying → Soaking        the rollout is complete; soaks for 30m
            05-05 10:00:46  1 eu         Completed → Finished       the schedule is complete
            05-05 10:00:46  2 apac       Soaking → Completed        soaked for 30m: every check passes
            05-05 10:00:46  2 apac       Completed → Finished       the schedule is complete
            eu="true" apac="true"
        "#]],
    );
    let mut told = breaching(|plan| plan.spec.checks[0].dry_run = true);
    told.run_until(minute(28)).expect("the laws hold");
    expect!["Breach errors: 1.056 is above max 0.05 over 5m, for 1m; dryRun: nothing comes of it"]
        .assert_eq(&seen(&told));
    live(
        told,
        180,
        &expect![[r#"
        05-05 09:00:02  1 eu         Gating → Flipping          every gate is open
        05-05 09:00:03  1 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 09:00:23  1 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
        05-05 09:30:23  1 eu         Soaking → Completed        soaked for 30m: every check passes
        05-05 09:30:25  2 apac       Gating → Flipping          every gate is open
        05-05 09:30:26  2 apac       Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 09:30:46  2 apac       Verifying → Soaking        the rollout is complete; soaks for 30m
        05-05 10:00:46  1 eu         Completed → Finished       the schedule is complete
        05-05 10:00:46  2 apac       Soaking → Completed        soaked for 30m: every check passes
        05-05 10:00:46  2 apac       Completed → Finished       the schedule is complete
        eu="true" apac="true"
    "#]],
    );
}

#[test]
pub(super) fn a_countdown_runs_through_restarts_and_a_person_can_stop_it() {
    let counting = |plan: &mut MigrationSchedule| plan.spec.checks[0].countdown = Some(Duration::seconds(900));
    let mut told = breaching(counting);
    told.plan(minute(25), Act::Kill);
    told.plan(minute(30), Act::Kill);
    live(
        told,
        180,
        &expect![[r#"
            05-05 09:00:02  1 eu         Gating → Flipping          every gate is open
            05-05 09:00:03  1 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
            05-05 09:00:23  1 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
            05-05 09:36:22  1 eu         Soaking → RollingBack      errors: 1.056 is above max 0.05 over 5m, for 1m; nobody stopped the countdown
            05-05 09:36:43  1 eu         RollingBack → RolledBack   proven: 3 of 3 pods of Deployment conduit/app-eu are back on the old value
            eu="false" apac="false"
        "#]],
    );
    let mut told = breaching(counting);
    told.plan(minute(32), Act::OverrideCheck("errors", 60));
    let told = live(
        told,
        180,
        &expect![[r#"
        05-05 09:00:02  1 eu         Gating → Flipping          every gate is open
        05-05 09:00:03  1 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 09:00:23  1 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
        05-05 09:32:02  1 eu         Soaking → Completed        soaked for 30m: every check passes
        05-05 09:32:04  2 apac       Gating → Flipping          every gate is open
        05-05 09:32:05  2 apac       Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 09:32:25  2 apac       Verifying → Soaking        the rollout is complete; soaks for 30m
        05-05 10:02:25  1 eu         Completed → Finished       the schedule is complete
        05-05 10:02:25  2 apac       Soaking → Completed        soaked for 30m: every check passes
        05-05 10:02:25  2 apac       Completed → Finished       the schedule is complete
        eu="true" apac="true"
    "#]],
    );
    expect!["Applied: check errors neither stops nor rolls back anything until 2025-05-05 09:33:00 UTC"]
        .assert_eq(&answers(&told));
}

#[test]
pub(super) fn a_countdown_does_not_delay_another_checks_rollback() {
    let mut told = breaching(|plan| {
        plan.spec.checks[0].countdown = Some(Duration::seconds(900));
        let mut urgent = plan.spec.checks[0].clone();
        urgent.name = "urgent".to_owned();
        urgent.countdown = None;
        plan.spec.checks.push(urgent);
    });
    told.run_until(minute(24)).expect("the laws hold");
    assert_eq!(values(&told), "eu=\"false\" apac=\"false\"", "{}", told.timeline());
}

#[test]
pub(super) fn what_is_overridden_is_forgiven_and_what_comes_after_is_not() {
    let mut told = breaching(|_| {});
    told.plan(minute(19), Act::OverrideCheck("errors", 13 * 60));
    told.plan(minute(25), Act::Kill);
    live(
        told,
        180,
        &expect![[r#"
        05-05 09:00:02  1 eu         Gating → Flipping          every gate is open
        05-05 09:00:03  1 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 09:00:23  1 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
        05-05 09:30:23  1 eu         Soaking → Completed        soaked for 30m: every check passes
        05-05 09:30:25  2 apac       Gating → Flipping          every gate is open
        05-05 09:30:26  2 apac       Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 09:30:46  2 apac       Verifying → Soaking        the rollout is complete; soaks for 30m
        05-05 10:00:46  1 eu         Completed → Finished       the schedule is complete
        05-05 10:00:46  2 apac       Soaking → Completed        soaked for 30m: every check passes
        05-05 10:00:46  2 apac       Completed → Finished       the schedule is complete
        eu="true" apac="true"
    "#]],
    );
    let mut told = breaching(|_| {});
    told.plan(minute(19), Act::OverrideCheck("errors", 5 * 60));
    live(
        told,
        180,
        &expect![[r#"
        05-05 09:00:02  1 eu         Gating → Flipping          every gate is open
        05-05 09:00:03  1 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 09:00:23  1 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
        05-05 09:25:22  1 eu         Soaking → RollingBack      errors: 1.058 is above max 0.05 over 5m, for 1m
        05-05 09:25:43  1 eu         RollingBack → RolledBack   proven: 3 of 3 pods of Deployment conduit/app-eu are back on the old value
        eu="false" apac="false"
    "#]],
    );
}

#[test]
pub(super) fn a_window_and_the_rest_of_a_soak_can_be_overridden() {
    let mut plan = schedule(&["eu", "apac"]);
    let calendar = json!({ "windows": [{ "name": "night", "from": "20:00", "to": "21:00" }] });
    plan.spec.calendar = Some(serde_json::from_value(calendar).expect("a calendar"));
    let mut told = world(&plan, &["eu", "apac"]);
    told.plan(minute(10), Act::OverrideWait(OverriddenWait::Calendar, 600));
    told.plan(minute(25), Act::OverrideWait(OverriddenWait::Soak, 30));
    live(
        told,
        60,
        &expect![[r#"
        05-05 09:10:01  1 eu         Gating → Flipping          every gate is open
        05-05 09:10:02  1 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 09:10:22  1 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
        05-05 09:25:01  1 eu         Soaking → Completed        a person ended the soak with an Override
        2 apac is Gating and waits: Calendar: outside window night (every day 20:00-21:00 Etc/UTC); opens 2025-05-05 20:00 UTC
        eu="true" apac="false"
    "#]],
    );
}

#[test]
pub(super) fn a_point_of_no_return_waits_for_a_person_and_ends_automatic_rollback() {
    let mut plan = schedule(&["eu", "apac"]);
    plan.spec.rollback.scope = RollbackScope::All;
    let point = PointOfNoReturn { after: Some(Duration::seconds(600)), runbook: Some("https://wiki/undo".to_owned()) };
    plan.spec.phases[1].point_of_no_return = Some(point);
    let mut told = world(&plan, &["eu", "apac"]);
    told.plan(minute(10), Act::Promote("1"));
    told.plan(minute(60), Act::Promote("apac"));
    told.metrics.say("apac", minute(75), minute(80), Sample::Bad);
    told.plan(minute(100), Act::Rollback(None));
    let told = live(
        told,
        99,
        &expect![[r#"
        05-05 09:00:02  1 eu         Gating → Flipping          every gate is open
        05-05 09:00:03  1 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 09:00:23  1 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
        05-05 09:30:23  1 eu         Soaking → Completed        soaked for 30m: every check passes
        05-05 10:00:01  2 apac       Gating → Flipping          every gate is open
        05-05 10:00:02  2 apac       Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 10:00:22  2 apac       Verifying → Soaking        the rollout is complete; soaks for 30m
        2 apac is Soaking and held: PointOfNoReturn: errors: 1.059 is above max 0.05 over 5m, for 1m; past the point of no return since 2025-05-05 10:10:01 UTC, so nothing is rolled back by itself; what to do: https://wiki/undo
        eu="true" apac="true"
    "#]],
    );
    expect![[r#"
        Refused: this schedule has no phase 1
        Applied: phase apac may pass its point of no return"#]]
    .assert_eq(&answers(&told));
    live(
        told,
        180,
        &expect![[r#"
        05-05 09:00:02  1 eu         Gating → Flipping          every gate is open
        05-05 09:00:03  1 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 09:00:23  1 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
        05-05 09:30:23  1 eu         Soaking → Completed        soaked for 30m: every check passes
        05-05 10:00:01  2 apac       Gating → Flipping          every gate is open
        05-05 10:00:02  2 apac       Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 10:00:22  2 apac       Verifying → Soaking        the rollout is complete; soaks for 30m
        05-05 10:40:00  1 eu         Completed → RollingBack    Rollback by a person [Intervention order-3]
        05-05 10:40:00  2 apac       Soaking → RollingBack      Rollback by a person [Intervention order-3]
        05-05 10:40:21  1 eu         RollingBack → RolledBack   proven: 3 of 3 pods of Deployment conduit/app-eu are back on the old value
        05-05 10:40:21  2 apac       RollingBack → RolledBack   proven: 3 of 3 pods of Deployment conduit/app-apac are back on the old value
        eu="false" apac="false"
    "#]],
    );
}

#[test]
pub(super) fn what_is_left_out_is_passed_over_and_can_be_taken_up_again() {
    let mut told = world(&schedule(&["eu", "apac", "us"]), &["eu", "apac", "us"]);
    told.plan(minute(5), Act::Skip("eu"));
    told.plan(minute(6), Act::Skip("apac"));
    told.plan(minute(20), Act::Retry);
    let told = live(
        told,
        240,
        &expect![[r#"
        05-05 09:00:02  1 eu         Gating → Flipping          every gate is open
        05-05 09:00:03  1 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 09:00:23  1 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
        05-05 09:06:00  2 apac       Gating → Skipped           left out: Skip by a person [Intervention order-2]
        05-05 09:30:23  1 eu         Soaking → Completed        soaked for 30m: every check passes
        05-05 09:30:23  2 apac #2    Gating → Flipping          every gate is open; epoch opened by Intervention order-3
        05-05 09:30:24  2 apac #2    Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 09:30:44  2 apac #2    Verifying → Soaking        the rollout is complete; soaks for 30m
        05-05 10:00:44  2 apac #2    Soaking → Completed        soaked for 30m: every check passes
        05-05 10:00:46  3 us         Gating → Flipping          every gate is open
        05-05 10:00:47  3 us         Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 10:01:07  3 us         Verifying → Soaking        the rollout is complete; soaks for 30m
        05-05 10:31:07  1 eu         Completed → Finished       the schedule is complete
        05-05 10:31:07  2 apac #2    Completed → Finished       the schedule is complete
        05-05 10:31:07  3 us         Soaking → Completed        soaked for 30m: every check passes
        05-05 10:31:07  3 us         Completed → Finished       the schedule is complete
        eu="true" apac="true" us="true"
    "#]],
    );
    expect![[r#"
        Refused: all that is meant was begun already; only what was not raised can be left out
        Applied: leaves out 2 apac apac
        Applied: opened epoch 2 as run plan-apac-apac-2-64b95c71ece5216c"#]]
    .assert_eq(&answers(&told));
    let refused = |o: &crate::api::Intervention| o.status.as_ref().is_some_and(|s| s.outcome == OrderOutcome::Refused);
    assert!(told.store.now.orders.values().any(|o| refused(o)));
}
