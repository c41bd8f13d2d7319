//! Timelines of edits, deletions, and flips that go wrong.

#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them so")]

use chrono::TimeDelta;
use expect_test::expect;

use super::timelines::{check, live, values};
use super::{many, minute, schedule, start};
use crate::api::{Duration, OnDelete};
use crate::sim::{Act, Fate, Sample, World};

#[test]
pub(super) fn deleted_in_mid_soak_the_flag_stays() {
    let world = check(
        &["eu", "apac"],
        |w| w.plan(minute(10), Act::Delete(OnDelete::Keep)),
        &expect![[r#"
            05-05 09:00:02  1 eu         Gating → Flipping          every gate is open
            05-05 09:00:03  1 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
            05-05 09:00:23  1 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
            05-05 09:10:00  1 eu         Soaking → Finished         the schedule was deleted, and its onDelete is Keep: the flag stays as it is
        "#]],
    );
    expect![[r#"eu="true" apac="false""#]].assert_eq(&values(&world));
    assert!(world.store.now.schedule.is_none());
}

#[test]
pub(super) fn deleted_in_mid_soak_the_flag_goes_back() {
    let world = check(
        &["eu", "apac"],
        |w| w.plan(minute(10), Act::Delete(OnDelete::Rollback)),
        &expect![[r#"
            05-05 09:00:02  1 eu         Gating → Flipping          every gate is open
            05-05 09:00:03  1 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
            05-05 09:00:23  1 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
            05-05 09:10:00  1 eu         Soaking → RollingBack      the schedule was deleted, and its onDelete is Rollback
            05-05 09:10:21  1 eu         RollingBack → RolledBack   proven: 3 of 3 pods of Deployment conduit/app-eu are back on the old value
        "#]],
    );
    expect![[r#"eu="false" apac="false""#]].assert_eq(&values(&world));
    assert!(world.store.now.schedule.is_none());
}

#[test]
pub(super) fn an_invalid_spec_stops_advance_and_not_the_rollback() {
    let spoil = |w: &mut World| {
        w.plan(minute(5), Act::Spoil);
        w.metrics.curve("eu").regression = Some(TimeDelta::minutes(10));
        w.plan(minute(40), Act::Mend);
    };
    check(
        &["eu", "apac"],
        spoil,
        &expect![[r#"
            05-05 09:00:02  1 eu         Gating → Flipping          every gate is open
            05-05 09:00:03  1 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
            05-05 09:00:23  1 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
            05-05 09:11:52  1 eu         Soaking → RollingBack      errors: 1.06 is above max 0.05 over 5m, for 1m
            05-05 09:12:13  1 eu         RollingBack → RolledBack   proven: 3 of 3 pods of Deployment conduit/app-eu are back on the old value
        "#]],
    );
}

#[test]
pub(super) fn an_unreadable_spec_stops_advance_and_not_the_rollback() {
    let garble = |w: &mut World| {
        w.plan(minute(5), Act::Garble);
        w.metrics.curve("eu").regression = Some(TimeDelta::minutes(10));
    };
    check(
        &["eu", "apac"],
        garble,
        &expect![[r#"
            05-05 09:00:02  1 eu         Gating → Flipping          every gate is open
            05-05 09:00:03  1 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
            05-05 09:00:23  1 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
            05-05 09:11:52  1 eu         Soaking → RollingBack      errors: 1.06 is above max 0.05 over 5m, for 1m
            05-05 09:12:13  1 eu         RollingBack → RolledBack   proven: 3 of 3 pods of Deployment conduit/app-eu are back on the old value
        "#]],
    );
}

#[test]
pub(super) fn a_changed_soak_is_for_the_next_environment() {
    let edit = |w: &mut World| w.plan(minute(10), Act::Soak(Duration::seconds(3_600)));
    check(
        &["eu", "apac"],
        edit,
        &expect![[r#"
            05-05 09:00:02  1 eu         Gating → Flipping          every gate is open
            05-05 09:00:03  1 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
            05-05 09:00:23  1 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
            05-05 09:30:23  1 eu         Soaking → Completed        soaked for 30m: every check passes
            05-05 09:30:25  2 apac       Gating → Flipping          every gate is open
            05-05 09:30:26  2 apac       Flipping → Verifying       the flag is up; its pods are not proven yet
            05-05 09:30:46  2 apac       Verifying → Soaking        the rollout is complete; soaks for 1h
            05-05 10:30:46  1 eu         Completed → Finished       the schedule is complete
            05-05 10:30:46  2 apac       Soaking → Completed        soaked for 1h: every check passes
            05-05 10:30:46  2 apac       Completed → Finished       the schedule is complete
        "#]],
    );
}

#[test]
pub(super) fn pods_that_crash_on_the_new_value_roll_back_before_any_soak() {
    let crash = |w: &mut World| w.cluster.workloads.values_mut().for_each(|w| w.crashes = true);
    check(
        &["eu"],
        crash,
        &expect![[r#"
            05-05 09:00:02  1 eu         Gating → Flipping          every gate is open
            05-05 09:00:03  1 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
            05-05 09:00:24  1 eu         Verifying → RollingBack    rollout: Deployment conduit/app-eu: pod-new: CrashLoopBackOff
            05-05 09:00:45  1 eu         RollingBack → RolledBack   proven: 3 of 3 pods of Deployment conduit/app-eu are back on the old value
        "#]],
    );
}

#[test]
pub(super) fn a_rollout_that_makes_no_progress_rolls_back() {
    let slow = |w: &mut World| w.cluster.workloads.values_mut().for_each(|w| w.latency = TimeDelta::hours(2));
    check(
        &["eu"],
        slow,
        &expect![[r#"
        05-05 09:00:02  1 eu         Gating → Flipping          every gate is open
        05-05 09:00:03  1 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 09:10:03  1 eu         Verifying → RollingBack    rollout: Deployment conduit/app-eu made no progress within its progressDeadlineSeconds
        05-05 11:10:04  1 eu         RollingBack → RolledBack   proven: 3 of 3 pods of Deployment conduit/app-eu are back on the old value
    "#]],
    );
}

#[test]
pub(super) fn a_flip_that_arrives_in_part_is_sealed_and_sent_again() {
    let part = |w: &mut World| {
        w.faults.raises.extend([(start(), Fate::Sound), (start(), Fate::Late(120)), (start(), Fate::Lost)]);
    };
    let world = World::new(&schedule(&["eu"]), vec![many("eu")], start(), 1);
    live(
        world,
        part,
        &expect![[r#"
            05-05 09:00:02  1 eu         Gating → Flipping          every gate is open
            05-05 09:00:06  1 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
            05-05 09:00:26  1 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
            05-05 09:30:26  1 eu         Soaking → Completed        soaked for 30m: every check passes
            05-05 09:30:26  1 eu         Completed → Finished       the schedule is complete
        "#]],
    );
}

#[test]
pub(super) fn a_flip_that_never_arrives_is_named() {
    let refused = |w: &mut World| w.faults.raises.extend(vec![(start(), Fate::Lost); 6]);
    check(
        &["eu"],
        refused,
        &expect![[r#"
            05-05 09:00:02  1 eu         Gating → Flipping          every gate is open
            05-05 09:00:04  1 eu         Flipping → Gating          the flip did not arrive; its targets are sealed against a late write
            05-05 09:00:05  1 eu         Gating → Flipping          every gate is open
            05-05 09:00:07  1 eu         Flipping → Gating          the flip did not arrive; its targets are sealed against a late write
            05-05 09:00:12  1 eu         Gating → Flipping          every gate is open
            05-05 09:00:14  1 eu         Flipping → Gating          the flip did not arrive; its targets are sealed against a late write
            05-05 09:00:24  1 eu         Gating → Flipping          every gate is open
            05-05 09:00:26  1 eu         Flipping → Gating          the flip did not arrive; its targets are sealed against a late write
            05-05 09:00:46  1 eu         Gating → Flipping          every gate is open
            05-05 09:00:48  1 eu         Flipping → Gating          the flip did not arrive; its targets are sealed against a late write
            05-05 09:01:28  1 eu         Gating → Flipping          every gate is open
            05-05 09:01:30  1 eu         Flipping → Gating          the flip did not arrive; its targets are sealed against a late write
            05-05 09:02:50  1 eu         Gating → Flipping          every gate is open
            05-05 09:02:51  1 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
            05-05 09:03:11  1 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
            05-05 09:33:11  1 eu         Soaking → Completed        soaked for 30m: every check passes
            05-05 09:33:11  1 eu         Completed → Finished       the schedule is complete
        "#]],
    );
}

#[test]
pub(super) fn an_environment_taken_out_of_the_plan_does_not_stop_the_others() {
    let strike = |w: &mut World| {
        w.metrics.say("eu", start(), minute(600), Sample::Bad);
        w.plan(minute(10), Act::Strike("eu"));
    };
    check(
        &["eu", "apac"],
        strike,
        &expect![[r#"
            05-05 09:10:01  2 apac       Gating → Flipping          every gate is open
            05-05 09:10:02  2 apac       Flipping → Verifying       the flag is up; its pods are not proven yet
            05-05 09:10:22  2 apac       Verifying → Soaking        the rollout is complete; soaks for 30m
            05-05 09:40:22  2 apac       Soaking → Completed        soaked for 30m: every check passes
            05-05 09:40:22  2 apac       Completed → Finished       the schedule is complete
            1 eu is Gating and waits: Spec: 1 eu eu is no longer part of the schedule
        "#]],
    );
}

#[test]
pub(super) fn the_owner_of_an_environment_stops_what_comes_into_it() {
    let suspend = |w: &mut World| {
        w.act(&Act::SuspendEnvironment("apac", true));
        w.plan(minute(60), Act::SuspendEnvironment("apac", false));
    };
    check(
        &["eu", "apac"],
        suspend,
        &expect![[r#"
            05-05 09:00:02  1 eu         Gating → Flipping          every gate is open
            05-05 09:00:03  1 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
            05-05 09:00:23  1 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
            05-05 09:30:23  1 eu         Soaking → Completed        soaked for 30m: every check passes
            05-05 10:00:00  2 apac       Gating → Flipping          every gate is open
            05-05 10:00:01  2 apac       Flipping → Verifying       the flag is up; its pods are not proven yet
            05-05 10:00:21  2 apac       Verifying → Soaking        the rollout is complete; soaks for 30m
            05-05 10:30:21  1 eu         Completed → Finished       the schedule is complete
            05-05 10:30:21  2 apac       Soaking → Completed        soaked for 30m: every check passes
            05-05 10:30:21  2 apac       Completed → Finished       the schedule is complete
        "#]],
    );
}

#[test]
pub(super) fn an_environment_that_vanishes_in_mid_soak_goes_on_being_watched() {
    let vanish = |w: &mut World| {
        w.plan(minute(5), Act::Vanish("eu", true));
        w.metrics.curve("eu").regression = Some(TimeDelta::minutes(10));
    };
    check(
        &["eu", "apac"],
        vanish,
        &expect![[r#"
            05-05 09:00:02  1 eu         Gating → Flipping          every gate is open
            05-05 09:00:03  1 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
            05-05 09:00:23  1 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
            05-05 09:11:52  1 eu         Soaking → RollingBack      errors: 1.06 is above max 0.05 over 5m, for 1m
            05-05 09:12:13  1 eu         RollingBack → RolledBack   proven: 3 of 3 pods of Deployment conduit/app-eu are back on the old value
        "#]],
    );
}
