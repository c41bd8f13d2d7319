//! Calendars in timelines: what waits, what does not, and what becomes of a start that was missed.

#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them so")]

use expect_test::expect;
use serde_json::{Value, json};

use super::timelines::{kinds, live, values};
use super::{config_map, many, minute, schedule, second, start};
use crate::api::{EnvironmentCalendar, Moment, ScheduleCalendar};
use crate::sim::{Act, Fate, Sample, World};

fn calendar(calendar: Value) -> ScheduleCalendar {
    serde_json::from_value(calendar).expect("a calendar")
}

fn hours(calendar: Value) -> EnvironmentCalendar {
    serde_json::from_value(calendar).expect("a calendar")
}

/// A world whose schedule has this calendar; it begins on Monday 2025-05-05 at 09:00 UTC.
fn world(names: &[&str], own: Value) -> World {
    let mut plan = schedule(names);
    plan.spec.calendar = Some(calendar(own));
    World::new(&plan, names.iter().map(|e| config_map(e)).collect(), start(), 1)
}

fn window(from: &str, to: &str) -> Value {
    json!([{ "name": "office", "from": from, "to": to }])
}

/// What the latest run waits for, one line for each wait.
pub(super) fn waits(world: &World) -> String {
    let runs = world.latest();
    let status = runs.last().and_then(|r| r.status.as_ref());
    let lines = status.iter().flat_map(|s| &s.waits).map(|w| format!("{:?} {}", w.gate, w.message));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
pub(super) fn each_flip_waits_for_its_window_and_soaks_run_on() {
    let mut own = world(&["eu", "apac"], json!({ "timeZone": "Europe/Berlin", "windows": window("12:00", "12:20") }));
    own.run_until(minute(30)).expect("the laws hold");
    assert_eq!(
        waits(&own),
        "Calendar outside window office (every day 12:00-12:20 Europe/Berlin); opens 2025-05-05 12:00 CEST (10:00 UTC)"
    );
    let mut own = world(&["eu", "apac"], json!({ "timeZone": "Europe/Berlin", "windows": window("12:00", "12:20") }));
    if let Err(violation) = own.run_until(minute(28 * 60)) {
        panic!("{violation:?}\n{}", own.timeline());
    }
    expect![[r#"
        05-05 10:00:00  1 eu         Gating → Flipping          every gate is open
        05-05 10:00:01  1 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 10:00:21  1 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
        05-05 10:30:21  1 eu         Soaking → Completed        soaked for 30m: every check passes
        05-06 10:00:00  2 apac       Gating → Flipping          every gate is open
        05-06 10:00:01  2 apac       Flipping → Verifying       the flag is up; its pods are not proven yet
        05-06 10:00:21  2 apac       Verifying → Soaking        the rollout is complete; soaks for 30m
        05-06 10:30:21  1 eu         Completed → Finished       the schedule is complete
        05-06 10:30:21  2 apac       Soaking → Completed        soaked for 30m: every check passes
        05-06 10:30:21  2 apac       Completed → Finished       the schedule is complete
    "#]]
    .assert_eq(&own.timeline());
}

#[test]
pub(super) fn a_breach_outside_every_window_rolls_back_at_once() {
    let own = world(&["eu"], json!({ "windows": window("09:00", "09:05") }));
    let breach = |w: &mut World| {
        w.metrics.curve("eu").regression = Some(chrono::TimeDelta::minutes(10));
        w.plan(
            minute(12),
            Act::Hours(
                "eu",
                Some(hours(json!({ "freezes": [{ "name": "all", "from": "2025-05-01", "to": "2025-05-31" }] }))),
            ),
        );
    };
    let world = live(
        own,
        breach,
        &expect![[r#"
        05-05 09:00:02  1 eu         Gating → Flipping          every gate is open
        05-05 09:00:03  1 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 09:00:23  1 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
        05-05 09:11:52  1 eu         Soaking → RollingBack      errors: 1.06 is above max 0.05 over 5m, for 1m
        05-05 09:12:13  1 eu         RollingBack → RolledBack   proven: 3 of 3 pods of Deployment conduit/app-eu are back on the old value
    "#]],
    );
    assert_eq!(values(&world), "eu=\"false\"");
}

#[test]
pub(super) fn an_edit_of_a_freeze_lets_a_flip_go_at_once() {
    let frozen = json!([{ "name": "quarter-end", "from": "2025-05-05", "to": "2025-06-30", "reason": "quarter end" }]);
    let mut own = world(&["eu"], json!({ "freezes": frozen }));
    own.run_until(minute(60)).expect("the laws hold");
    assert_eq!(
        waits(&own),
        "Calendar frozen by quarter-end until 2025-07-01 00:00 UTC: quarter end; opens 2025-07-01 00:00 UTC"
    );
    own.plan(second(3_607), Act::Calendar(None));
    live(
        own,
        |_| {},
        &expect![[r#"
        05-05 10:00:07  1 eu         Gating → Flipping          every gate is open
        05-05 10:00:08  1 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 10:00:28  1 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
        05-05 10:30:28  1 eu         Soaking → Completed        soaked for 30m: every check passes
        05-05 10:30:28  1 eu         Completed → Finished       the schedule is complete
    "#]],
    );
}

#[test]
pub(super) fn what_the_environment_says_counts_in_its_own_zone() {
    let auckland = json!({ "timeZone": "Pacific/Auckland", "windows": window("22:00", "02:00") });
    let mut own = world(&["eu"], json!({ "windows": window("08:00", "18:00") }));
    own.plan(second(0), Act::Hours("eu", Some(hours(auckland))));
    let world = live(
        own,
        |_| {},
        &expect![[r#"
        05-05 10:00:00  1 eu         Gating → Flipping          every gate is open
        05-05 10:00:01  1 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 10:00:21  1 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
        05-05 10:30:21  1 eu         Soaking → Completed        soaked for 30m: every check passes
        05-05 10:30:21  1 eu         Completed → Finished       the schedule is complete
    "#]],
    );
    assert_eq!(values(&world), "eu=\"true\"");
}

#[test]
pub(super) fn a_raise_that_is_lost_as_the_window_closes_waits_for_the_next() {
    let mut own = world(&["eu"], json!({ "windows": window("09:30", "09:31") }));
    own.faults.raises.push((second(0), Fate::Lost));
    own.faults.raises.push((second(0), Fate::Lost));
    // The gates open seconds before the window closes.
    own.metrics.say("eu", minute(0), second(1_850), Sample::Empty);
    if let Err(violation) = own.run_until(minute(26 * 60)) {
        panic!("{violation:?}\n{}", own.timeline());
    }
    expect![[r#"
        05-05 09:30:52  1 eu         Gating → Flipping          every gate is open
        05-05 09:30:54  1 eu         Flipping → Gating          the flip did not arrive; its targets are sealed against a late write
        05-05 09:30:55  1 eu         Gating → Flipping          every gate is open
        05-05 09:30:57  1 eu         Flipping → Gating          the flip did not arrive; its targets are sealed against a late write
        05-06 09:30:00  1 eu         Gating → Flipping          every gate is open
        05-06 09:30:01  1 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
        05-06 09:30:21  1 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
        05-06 10:00:21  1 eu         Soaking → Completed        soaked for 30m: every check passes
        05-06 10:00:21  1 eu         Completed → Finished       the schedule is complete
    "#]].assert_eq(&own.timeline());
}

#[test]
pub(super) fn a_flip_in_part_is_put_back_where_its_window_closes() {
    let mut plan = schedule(&["eu"]);
    plan.spec.calendar = Some(calendar(json!({ "windows": window("09:00", "10:00") })));
    let mut own = World::new(&plan, vec![many("eu")], start(), 1);
    own.plan(second(3), Act::Calendar(Some(calendar(json!({ "windows": window("12:00", "13:00") })))));
    own.faults.raises.extend([(start(), Fate::Sound), (start(), Fate::Lost)]);
    own.run_until(minute(5)).expect("the laws hold");
    expect!["Calendar outside window office (every day 12:00-13:00 Etc/UTC); opens 2025-05-05 12:00 UTC"]
        .assert_eq(&waits(&own));
    let world = live(
        own,
        |_| {},
        &expect![[r#"
        05-05 09:00:02  1 eu         Gating → Flipping          every gate is open
        05-05 09:10:02  1 eu         Flipping → RollingBack     the flip arrived in part and was not completed within 10 minutes
        05-05 09:10:23  1 eu         RollingBack → RolledBack   proven: 3 of 3 pods of Deployment conduit/app-eu are back on the old value
    "#]],
    );
    expect![[r#"Raised Raised Sealed Closed Closed Closed eu="false" eu="false" eu="false""#]].assert_eq(&format!(
        "{} {}",
        kinds(&world),
        values(&world)
    ));
}

#[test]
pub(super) fn a_date_is_the_first_open_moment_of_its_day() {
    let mut plan = schedule(&["eu"]);
    plan.spec.calendar =
        Some(calendar(json!({ "timeZone": "America/New_York", "windows": window("09:00", "17:00"), "late": "Hold" })));
    plan.spec.phases[0].start = Some(Moment::parse("2025-05-06").expect("a date"));
    let mut own = World::new(&plan, vec![config_map("eu")], start(), 1);
    own.run_until(minute(30)).expect("the laws hold");
    let status = own.store.now.schedule.as_ref().and_then(|s| s.status.clone()).expect("a status");
    assert_eq!(status.environments[0].message, "starts on 2025-05-06 (America/New_York) at the earliest");
    assert!(own.latest().is_empty(), "its run is made with the day");
    own.run_until(minute(20 * 60)).expect("the laws hold");
    assert!(waits(&own).ends_with("opens 2025-05-06 09:00 EDT (13:00 UTC)"), "{}", waits(&own));
    if let Err(violation) = own.run_until(minute(30 * 60)) {
        panic!("{violation:?}\n{}", own.timeline());
    }
    expect![[r#"
        05-06 13:00:00  1 eu         Gating → Flipping          every gate is open
        05-06 13:00:01  1 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
        05-06 13:00:21  1 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
        05-06 13:30:21  1 eu         Soaking → Completed        soaked for 30m: every check passes
        05-06 13:30:21  1 eu         Completed → Finished       the schedule is complete
    "#]]
    .assert_eq(&own.timeline());
}

#[expect(clippy::needless_pass_by_value, reason = "it is called with what was just written")]
fn late(how: &str, windows: Value) -> World {
    let mut own = schedule(&["eu", "apac"]);
    own.spec.calendar = Some(calendar(json!({ "late": how, "windows": windows })));
    own.spec.phases[0].start = Some(Moment::parse("2025-05-05").expect("a date"));
    World::new(&own, vec![config_map("eu"), config_map("apac")], start(), 1)
}

#[test]
pub(super) fn a_missed_start_proceeds_where_nothing_else_is_said() {
    live(
        late("Proceed", window("08:00", "18:00")),
        |_| {},
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
    "#]],
    );
}

#[test]
pub(super) fn a_missed_start_waits_for_the_next_window() {
    let mut own = late(
        "NextWindow",
        json!([
            { "name": "morning", "from": "08:00", "to": "10:00" }, { "name": "noon", "from": "12:00", "to": "13:00" }
        ]),
    );
    own.run_until(minute(30)).expect("the laws hold");
    expect!["Calendar the start of phase eu, 2025-05-05 08:00 UTC, was missed, and calendar.late is NextWindow; the next window opens 2025-05-05 12:00 UTC"].assert_eq(&waits(&own));
    live(
        own,
        |_| {},
        &expect![[r#"
        05-05 12:00:00  1 eu         Gating → Flipping          every gate is open
        05-05 12:00:01  1 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 12:00:21  1 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
        05-05 12:30:21  1 eu         Soaking → Completed        soaked for 30m: every check passes
        05-05 12:30:23  2 apac       Gating → Flipping          every gate is open
        05-05 12:30:24  2 apac       Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 12:30:44  2 apac       Verifying → Soaking        the rollout is complete; soaks for 30m
        05-05 13:00:44  1 eu         Completed → Finished       the schedule is complete
        05-05 13:00:44  2 apac       Soaking → Completed        soaked for 30m: every check passes
        05-05 13:00:44  2 apac       Completed → Finished       the schedule is complete
    "#]],
    );
}

#[test]
pub(super) fn a_missed_start_is_held_until_a_retry() {
    let own = late("Hold", window("08:00", "18:00"));
    let retry = |w: &mut World| w.plan(minute(45), Act::Retry);
    live(
        own,
        retry,
        &expect![[r#"
        05-05 09:45:00  1 eu         Gating → Skipped           a Retry opened the next epoch
        05-05 09:45:01  1 eu #2      Gating → Flipping          every gate is open; epoch opened by Intervention order-1
        05-05 09:45:02  1 eu #2      Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 09:45:22  1 eu #2      Verifying → Soaking        the rollout is complete; soaks for 30m
        05-05 10:15:22  1 eu #2      Soaking → Completed        soaked for 30m: every check passes
        05-05 10:15:24  2 apac       Gating → Flipping          every gate is open
        05-05 10:15:25  2 apac       Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 10:15:45  2 apac       Verifying → Soaking        the rollout is complete; soaks for 30m
        05-05 10:45:45  1 eu #2      Completed → Finished       the schedule is complete
        05-05 10:45:45  2 apac       Soaking → Completed        soaked for 30m: every check passes
        05-05 10:45:45  2 apac       Completed → Finished       the schedule is complete
    "#]],
    );
}

#[test]
pub(super) fn a_pause_over_the_start_makes_it_late() {
    let own = late("Hold", window("09:10", "18:00"));
    let paused = |w: &mut World| {
        w.plan(minute(5), Act::Pause(None));
        w.plan(minute(60), Act::Resume);
    };
    live(
        own,
        paused,
        &expect![[r#"
        1 eu is Gating and held: StartMissed: the start of phase eu, 2025-05-05 09:10 UTC, was missed, and calendar.late is Hold: order a Retry of this run to raise conduit/eu now, or give the phase another start
    "#]],
    );
}

#[test]
pub(super) fn a_phase_that_is_not_complete_by_its_end_says_so() {
    let mut plan = schedule(&["eu", "apac"]);
    plan.spec.phases[0].end = Some(Moment::parse("2025-05-05T09:20:00Z").expect("a moment"));
    plan.spec.phases[1].end = Some(Moment::parse("2025-05-05").expect("a date"));
    let mut own = World::new(&plan, vec![config_map("eu"), config_map("apac")], start(), 1);
    let said = |world: &World| {
        let status = world.store.now.schedule.as_ref().and_then(|s| s.status.clone()).expect("a status");
        status.conditions.into_iter().find(|c| c.type_ == "Ready").map(|c| c.message).expect("Ready")
    };
    own.run_until(minute(19)).expect("the laws hold");
    let before = said(&own);
    own.run_until(second(20 * 60 + 2)).expect("the laws hold");
    expect![[r#"
        1 eu eu: soaks until 2025-05-05 09:30:23 UTC
        1 eu eu: soaks until 2025-05-05 09:30:23 UTC; phase eu was to be complete by 2025-05-05 09:20 UTC"#]]
    .assert_eq(&format!("{before}\n{}", said(&own)));
    own.run_until(minute(40)).expect("the laws hold");
    assert!(!said(&own).contains("was to be complete"), "{}", said(&own));
}

#[test]
pub(super) fn a_freeze_for_many_lets_nothing_up_and_one_of_starts_lets_what_is_under_way_go_on() {
    let frozen = |strength: &str| {
        let spec = json!({ "from": "2025-05-05T09:20:00Z", "to": "2025-05-05T11:00:00Z", "strength": strength, "reason": "a launch" });
        Some(serde_json::from_value(spec).expect("a Freeze"))
    };
    let lives = |strength| {
        let mut plan = schedule(&["a", "b", "c"]);
        // The first two are one phase.
        let second = plan.spec.phases.remove(1);
        plan.spec.phases[0].environments.extend(second.environments);
        let mut own = World::new(&plan, ["a", "b", "c"].map(config_map).to_vec(), start(), 1);
        own.plan(minute(5), Act::Freeze("launch", frozen(strength)));
        own.metrics.say("a", minute(70), minute(90), Sample::Bad);
        own.run_until(minute(66)).expect("the laws hold");
        let told = format!("{}\n{}", values(&own), waits(&own));
        own.run_until(minute(100)).expect("the laws hold");
        assert!(values(&own).starts_with("a=\"false\""), "no freeze keeps a flag from going back: {}", own.timeline());
        told
    };
    expect![[r#"
        a="true" b="false" c="false"
        Calendar frozen by launch (a Freeze) until 2025-05-05 11:00 UTC: a launch; opens 2025-05-05 11:00 UTC"#]]
    .assert_eq(&lives("Advance"));
    expect![[r#"
        a="true" b="true" c="false"
        Calendar frozen by launch (a Freeze of starts) until 2025-05-05 11:00 UTC: a launch; opens 2025-05-05 11:00 UTC"#]].assert_eq(&lives("Start"));
}

#[test]
pub(super) fn a_freeze_that_cannot_be_read_lets_nothing_up() {
    let mut own = world(&["eu"], json!({}));
    let spec =
        json!({ "yearly": { "from": "12-20", "to": "01-03" }, "timeZone": "Europe/Berlyn", "reason": "holidays" });
    own.store.freeze("holidays", Some(serde_json::from_value(spec).expect("a Freeze")), start());
    own.run_until(minute(5)).expect("the laws hold");
    expect!["Calendar Freeze holidays is invalid: spec.timeZone: the time zone `Europe/Berlyn` is not known (did you mean `Europe/Berlin`?)"].assert_eq(&waits(&own));
    own.plan(minute(6), Act::Freeze("holidays", None));
    own.run_until(minute(10)).expect("the laws hold");
    assert_eq!(values(&own), "eu=\"true\"");
}
