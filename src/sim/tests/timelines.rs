//! Timelines that read like the plan.

#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them so")]

use chrono::TimeDelta;
use expect_test::{Expect, expect};

use super::{minute, schedule, second, start, variable, world};
use crate::api::{Mode, OnDelete};
use crate::engine::laws::Trace;
use crate::sim::{Act, Fate, Hand, Sample, World};

/// Lives a world for half a day and compares what happened.
pub(super) fn check(environments: &[&str], set_up: impl FnOnce(&mut World), expected: &Expect) -> World {
    live(world(environments), set_up, expected)
}

pub(super) fn live(mut world: World, set_up: impl FnOnce(&mut World), expected: &Expect) -> World {
    set_up(&mut world);
    if let Err(violation) = world.run_until(minute(12 * 60)) {
        panic!("{violation:?}\n{}", world.timeline());
    }
    assert_eq!(world.unexplained(), None, "{}", world.timeline());
    expected.assert_eq(&world.timeline());
    world
}

pub(super) fn values(world: &World) -> String {
    world.values().into_iter().map(|(e, v)| format!("{e}={v}")).collect::<Vec<_>>().join(" ")
}

/// What Hoist wrote, in the order in which it arrived.
pub(super) fn kinds(world: &World) -> String {
    let kind = |t: &Trace| if let Trace::Written(w) = t { Some(format!("{:?}", w.kind)) } else { None };
    world.trace.iter().filter_map(kind).collect::<Vec<_>>().join(" ")
}

const SIX: [&str; 6] = ["staging", "canary", "eu", "apac", "us-east", "us-west"];

#[test]
pub(super) fn all_good_through_six_environments() {
    let world = check(
        &SIX,
        |_| {},
        &expect![[r#"
            05-05 09:00:02  1 staging    Gating → Flipping          every gate is open
            05-05 09:00:03  1 staging    Flipping → Verifying       the flag is up; its pods are not proven yet
            05-05 09:00:23  1 staging    Verifying → Soaking        the rollout is complete; soaks for 30m
            05-05 09:30:23  1 staging    Soaking → Completed        soaked for 30m: every check passes
            05-05 09:30:25  2 canary     Gating → Flipping          every gate is open
            05-05 09:30:26  2 canary     Flipping → Verifying       the flag is up; its pods are not proven yet
            05-05 09:30:46  2 canary     Verifying → Soaking        the rollout is complete; soaks for 30m
            05-05 10:00:46  2 canary     Soaking → Completed        soaked for 30m: every check passes
            05-05 10:00:48  3 eu         Gating → Flipping          every gate is open
            05-05 10:00:49  3 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
            05-05 10:01:09  3 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
            05-05 10:31:09  3 eu         Soaking → Completed        soaked for 30m: every check passes
            05-05 10:31:11  4 apac       Gating → Flipping          every gate is open
            05-05 10:31:12  4 apac       Flipping → Verifying       the flag is up; its pods are not proven yet
            05-05 10:31:32  4 apac       Verifying → Soaking        the rollout is complete; soaks for 30m
            05-05 11:01:32  4 apac       Soaking → Completed        soaked for 30m: every check passes
            05-05 11:01:34  5 us-east    Gating → Flipping          every gate is open
            05-05 11:01:35  5 us-east    Flipping → Verifying       the flag is up; its pods are not proven yet
            05-05 11:01:55  5 us-east    Verifying → Soaking        the rollout is complete; soaks for 30m
            05-05 11:31:55  5 us-east    Soaking → Completed        soaked for 30m: every check passes
            05-05 11:31:57  6 us-west    Gating → Flipping          every gate is open
            05-05 11:31:58  6 us-west    Flipping → Verifying       the flag is up; its pods are not proven yet
            05-05 11:32:18  6 us-west    Verifying → Soaking        the rollout is complete; soaks for 30m
            05-05 12:02:18  1 staging    Completed → Finished       the schedule is complete
            05-05 12:02:18  2 canary     Completed → Finished       the schedule is complete
            05-05 12:02:18  3 eu         Completed → Finished       the schedule is complete
            05-05 12:02:18  4 apac       Completed → Finished       the schedule is complete
            05-05 12:02:18  5 us-east    Completed → Finished       the schedule is complete
            05-05 12:02:18  6 us-west    Soaking → Completed        soaked for 30m: every check passes
            05-05 12:02:18  6 us-west    Completed → Finished       the schedule is complete
        "#]],
    );
    assert!(world.values().iter().all(|(_, v)| v == "\"true\""));
}

#[test]
pub(super) fn breach_in_eu_stops_apac() {
    let regress = |w: &mut World| w.metrics.curve("eu").regression = Some(TimeDelta::minutes(10));
    let world = check(
        &["canary", "eu", "apac"],
        regress,
        &expect![[r#"
            05-05 09:00:02  1 canary     Gating → Flipping          every gate is open
            05-05 09:00:03  1 canary     Flipping → Verifying       the flag is up; its pods are not proven yet
            05-05 09:00:23  1 canary     Verifying → Soaking        the rollout is complete; soaks for 30m
            05-05 09:30:23  1 canary     Soaking → Completed        soaked for 30m: every check passes
            05-05 09:30:25  2 eu         Gating → Flipping          every gate is open
            05-05 09:30:26  2 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
            05-05 09:30:46  2 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
            05-05 09:41:52  2 eu         Soaking → RollingBack      errors: 1.061 is above max 0.05 over 5m, for 1m
            05-05 09:42:13  2 eu         RollingBack → RolledBack   proven: 3 of 3 pods of Deployment conduit/app-eu are back on the old value
        "#]],
    );
    expect![[r#"canary="true" eu="false" apac="false""#]].assert_eq(&values(&world));
}

#[test]
pub(super) fn an_outage_of_prometheus_extends_the_soak_and_rolls_nothing_back() {
    let outage = |w: &mut World| w.metrics.outages.push((minute(10), minute(60)));
    check(
        &["eu", "apac"],
        outage,
        &expect![[r#"
            05-05 09:00:02  1 eu         Gating → Flipping          every gate is open
            05-05 09:00:03  1 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
            05-05 09:00:23  1 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
            05-05 10:00:03  1 eu         Soaking → Completed        soaked for 30m: every check passes
            05-05 10:00:05  2 apac       Gating → Flipping          every gate is open
            05-05 10:00:06  2 apac       Flipping → Verifying       the flag is up; its pods are not proven yet
            05-05 10:00:26  2 apac       Verifying → Soaking        the rollout is complete; soaks for 30m
            05-05 10:30:26  1 eu         Completed → Finished       the schedule is complete
            05-05 10:30:26  2 apac       Soaking → Completed        soaked for 30m: every check passes
            05-05 10:30:26  2 apac       Completed → Finished       the schedule is complete
        "#]],
    );
}

#[test]
pub(super) fn data_that_was_never_there_extends_the_soak() {
    let gap = |w: &mut World| w.metrics.say("eu", minute(5), minute(25), Sample::Empty);
    check(
        &["eu", "apac"],
        gap,
        &expect![[r#"
            05-05 09:00:02  1 eu         Gating → Flipping          every gate is open
            05-05 09:00:03  1 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
            05-05 09:00:23  1 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
            05-05 09:50:22  1 eu         Soaking → Completed        soaked for 30m: every check passes
            05-05 09:50:24  2 apac       Gating → Flipping          every gate is open
            05-05 09:50:25  2 apac       Flipping → Verifying       the flag is up; its pods are not proven yet
            05-05 09:50:45  2 apac       Verifying → Soaking        the rollout is complete; soaks for 30m
            05-05 10:20:45  1 eu         Completed → Finished       the schedule is complete
            05-05 10:20:45  2 apac       Soaking → Completed        soaked for 30m: every check passes
            05-05 10:20:45  2 apac       Completed → Finished       the schedule is complete
        "#]],
    );
}

#[test]
pub(super) fn doubtful_answers_hold_the_soak() {
    let doubt = |w: &mut World| {
        for (at, sample) in [Sample::NotANumber, Sample::Several, Sample::Partial, Sample::Stale, Sample::OffTarget]
            .into_iter()
            .enumerate()
        {
            let from = 5 + 5 * at as i64;
            w.metrics.say("eu", minute(from), minute(from + 5), sample);
        }
    };
    check(
        &["eu"],
        doubt,
        &expect![[r#"
            05-05 09:00:02  1 eu         Gating → Flipping          every gate is open
            05-05 09:00:03  1 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
            05-05 09:00:23  1 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
            05-05 09:55:22  1 eu         Soaking → Completed        soaked for 30m: every check passes
            05-05 09:55:22  1 eu         Completed → Finished       the schedule is complete
        "#]],
    );
}

#[test]
pub(super) fn a_breach_before_the_flip_keeps_the_gate_closed() {
    let bad = |w: &mut World| w.metrics.say("eu", start(), minute(30), Sample::Bad);
    check(
        &["eu"],
        bad,
        &expect![[r#"
            05-05 09:30:07  1 eu         Gating → Flipping          every gate is open
            05-05 09:30:08  1 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
            05-05 09:30:28  1 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
            05-05 10:00:28  1 eu         Soaking → Completed        soaked for 30m: every check passes
            05-05 10:00:28  1 eu         Completed → Finished       the schedule is complete
        "#]],
    );
}

#[test]
pub(super) fn a_pause_in_mid_flip_seals() {
    let pause = |w: &mut World| {
        w.faults.raises.push((start(), Fate::Late(300)));
        w.plan(second(3), Act::Pause(None));
        w.plan(minute(20), Act::Resume);
    };
    let world = check(
        &["eu"],
        pause,
        &expect![[r#"
            05-05 09:00:02  1 eu         Gating → Flipping          every gate is open
            05-05 09:00:04  1 eu         Flipping → Gating          the flip did not arrive; its targets are sealed against a late write
            05-05 09:20:01  1 eu         Gating → Flipping          every gate is open
            05-05 09:20:02  1 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
            05-05 09:20:22  1 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
            05-05 09:50:22  1 eu         Soaking → Completed        soaked for 30m: every check passes
            05-05 09:50:22  1 eu         Completed → Finished       the schedule is complete
        "#]],
    );
    expect!["Sealed Raised"].assert_eq(&kinds(&world));
}

#[test]
pub(super) fn an_order_to_pause_at_the_very_moment_of_the_flip_wins() {
    let pause = |w: &mut World| {
        w.metrics.say("eu", start(), minute(5), Sample::Bad);
        w.plan(second(300), Act::Pause(None));
    };
    check(
        &["eu"],
        pause,
        &expect![[r#"
        1 eu is Gating and waits: Pause: paused by Intervention order-1: Pause by a person
    "#]],
    );
}

#[test]
pub(super) fn disabled_by_hand_is_a_rollback_by_a_person() {
    check(
        &["eu", "apac"],
        |w| w.plan(minute(10), Act::Set("eu", 0, Hand::Disabled)),
        &expect![[r#"
            05-05 09:00:02  1 eu         Gating → Flipping          every gate is open
            05-05 09:00:03  1 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
            05-05 09:00:23  1 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
            05-05 09:10:06  1 eu         Soaking → RollingBack      ConfigMap conduit/flags-eu key FLAG was set to "false" by field manager kubectl-edit at 2025-05-05 09:10:00 UTC: that is a rollback by a person [kubectl-edit]
            05-05 09:10:26  1 eu         RollingBack → RolledBack   proven: 3 of 3 pods of Deployment conduit/app-eu are back on the old value
        "#]],
    );
}

#[test]
pub(super) fn a_third_value_holds_until_it_is_put_right() {
    let hand = |w: &mut World| {
        w.plan(minute(10), Act::Set("eu", 0, Hand::Third));
        w.plan(minute(50), Act::Set("eu", 0, Hand::Enabled));
        w.plan(minute(70), Act::Rollback(None));
    };
    check(
        &["eu", "apac"],
        hand,
        &expect![[r#"
            05-05 09:00:02  1 eu         Gating → Flipping          every gate is open
            05-05 09:00:03  1 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
            05-05 09:00:23  1 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
            05-05 10:10:00  1 eu         Soaking → RollingBack      Rollback by a person [Intervention order-1]
            05-05 10:10:21  1 eu         RollingBack → RolledBack   proven: 3 of 3 pods of Deployment conduit/app-eu are back on the old value
        "#]],
    );
}

#[test]
pub(super) fn an_undo_after_a_rollback_is_named_and_left_alone() {
    let undo = |w: &mut World| {
        w.plan(minute(10), Act::Rollback(None));
        w.plan(minute(20), Act::Undo("eu", 0));
    };
    let live_in = World::new(&schedule(&["eu"]), vec![variable("eu")], start(), 1);
    let world = live(
        live_in,
        undo,
        &expect![[r#"
        05-05 09:00:02  1 eu         Gating → Flipping          every gate is open
        05-05 09:00:03  1 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 09:00:22  1 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
        05-05 09:10:00  1 eu         Soaking → RollingBack      Rollback by a person [Intervention order-1]
        05-05 09:10:20  1 eu         RollingBack → RolledBack   proven: 3 of 3 pods of Deployment conduit/app-eu are back on the old value
        1 eu is RolledBack and held: Drifted: Deployment conduit/app-eu container main variable FLAG was set to "true" by field manager kubectl-rollout at 2025-05-05 09:20:00 UTC after the rollback; it is left alone
    "#]],
    );
    expect![[r#"eu="true""#]].assert_eq(&values(&world));
}

#[test]
pub(super) fn a_target_made_anew_is_not_taken_for_the_old_one() {
    let replace = |w: &mut World| {
        w.plan(minute(10), Act::Remove("eu", 0));
        w.plan(minute(11), Act::Create("eu", 0, Hand::Enabled));
        w.metrics.curve("eu").regression = Some(TimeDelta::minutes(15));
    };
    check(
        &["eu", "apac"],
        replace,
        &expect![[r#"
            05-05 09:00:02  1 eu         Gating → Flipping          every gate is open
            05-05 09:00:03  1 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
            05-05 09:00:23  1 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
            05-05 09:16:52  1 eu         Soaking → RollingBack      errors: 1.059 is above max 0.05 over 5m, for 1m
            1 eu is RollingBack and held: TargetReplaced: ConfigMap conduit/flags-eu key FLAG was deleted and made anew at "true"; it is not the one that was armed and is not written. Set it to "false" by hand
        "#]],
    );
}

#[test]
pub(super) fn a_schedule_made_anew_does_not_raise_what_was_rolled_back() {
    let again = |w: &mut World| {
        w.plan(minute(10), Act::Rollback(None));
        w.plan(minute(20), Act::Delete(OnDelete::Keep));
        w.plan(minute(21), Act::Recreate);
        w.plan(minute(60), Act::Retry);
    };
    check(
        &["eu"],
        again,
        &expect![[r#"
            05-05 09:00:02  1 eu         Gating → Flipping          every gate is open
            05-05 09:00:03  1 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
            05-05 09:00:23  1 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
            05-05 09:10:00  1 eu         Soaking → RollingBack      Rollback by a person [Intervention order-1]
            05-05 09:10:21  1 eu         RollingBack → RolledBack   proven: 3 of 3 pods of Deployment conduit/app-eu are back on the old value
            05-05 10:00:00  1 eu         Gating → Skipped           a Retry opened the next epoch
            05-05 10:00:01  1 eu #2      Gating → Flipping          every gate is open; epoch opened by Intervention order-2
            05-05 10:00:02  1 eu #2      Flipping → Verifying       the flag is up; its pods are not proven yet
            05-05 10:00:22  1 eu #2      Verifying → Soaking        the rollout is complete; soaks for 30m
            05-05 10:30:22  1 eu #2      Soaking → Completed        soaked for 30m: every check passes
            05-05 10:30:22  1 eu #2      Completed → Finished       the schedule is complete
        "#]],
    );
}

#[test]
pub(super) fn a_retry_opens_the_next_epoch() {
    let retry = |w: &mut World| {
        w.metrics.say("canary", minute(10), minute(20), Sample::Bad);
        w.plan(minute(60), Act::Retry);
    };
    check(
        &["canary", "eu"],
        retry,
        &expect![[r#"
            05-05 09:00:02  1 canary     Gating → Flipping          every gate is open
            05-05 09:00:03  1 canary     Flipping → Verifying       the flag is up; its pods are not proven yet
            05-05 09:00:23  1 canary     Verifying → Soaking        the rollout is complete; soaks for 30m
            05-05 09:11:22  1 canary     Soaking → RollingBack      errors: 1.058 is above max 0.05 over 5m, for 1m
            05-05 09:11:43  1 canary     RollingBack → RolledBack   proven: 3 of 3 pods of Deployment conduit/app-canary are back on the old value
            05-05 10:00:01  1 canary #2  Gating → Flipping          every gate is open; epoch opened by Intervention order-1
            05-05 10:00:02  1 canary #2  Flipping → Verifying       the flag is up; its pods are not proven yet
            05-05 10:00:22  1 canary #2  Verifying → Soaking        the rollout is complete; soaks for 30m
            05-05 10:30:22  1 canary #2  Soaking → Completed        soaked for 30m: every check passes
            05-05 10:30:24  2 eu         Gating → Flipping          every gate is open
            05-05 10:30:25  2 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
            05-05 10:30:45  2 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
            05-05 11:00:45  1 canary #2  Completed → Finished       the schedule is complete
            05-05 11:00:45  2 eu         Soaking → Completed        soaked for 30m: every check passes
            05-05 11:00:45  2 eu         Completed → Finished       the schedule is complete
        "#]],
    );
}

#[test]
pub(super) fn observe_says_and_never_writes() {
    let observe = |w: &mut World| {
        w.act(&Act::Mode(Mode::Observe));
        w.plan(minute(10), Act::Set("eu", 0, Hand::Enabled));
        w.metrics.say("eu", minute(30), minute(40), Sample::Bad);
        w.plan(minute(60), Act::Set("eu", 0, Hand::Disabled));
    };
    let world = check(
        &["eu"],
        observe,
        &expect![[r#"
            05-05 09:10:07  1 eu         Gating → Verifying         others raised the flag; mode is Observe, so it is only watched [others]
            05-05 09:10:08  1 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
            05-05 10:00:00  1 eu         Soaking → RollingBack      ConfigMap conduit/flags-eu key FLAG was set to "false" by field manager kubectl-edit at 2025-05-05 10:00:00 UTC: that is a rollback by a person [kubectl-edit]
            05-05 10:00:00  1 eu         RollingBack → RolledBack   proven: 3 of 3 pods of Deployment conduit/app-eu are back on the old value
        "#]],
    );
    assert!(world.trace.iter().all(|t| matches!(t, Trace::Stored { .. })));
}
