//! Phases in timelines: branches, groups, work, starts that are counted, and how far a breach reaches.

#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them so")]

use expect_test::expect;
use serde_json::{Value, json};

use super::calendar::waits;
use super::timelines::{live, values};
use super::{config_map, minute, schedule, start};
use crate::api::{MigrationSchedule, RollbackScope};
use crate::engine::StampKind;
use crate::engine::laws::Trace;
use crate::sim::{Act, Fate, Hand, Sample, World};

/// A schedule of these phases.
fn phased(phases: Value) -> MigrationSchedule {
    let mut plan = schedule(&["a"]);
    plan.spec.phases = serde_json::from_value(phases).expect("phases");
    plan
}

fn world(plan: &MigrationSchedule) -> World {
    let environments = plan.spec.phases.iter().flat_map(|p| &p.environments);
    let mut names: Vec<&str> = environments.map(|e| e.name.as_str()).collect();
    names.dedup();
    World::new(plan, names.iter().map(|e| config_map(e)).collect(), start(), 1)
}

/// Where flags went down, in the order in which it reached them.
fn lowered(world: &World) -> String {
    let closed = |t: &Trace| match t {
        Trace::Written(w) if w.kind == StampKind::Closed => Some(w.place.name.replace("flags-", "")),
        _ => None,
    };
    world.trace.iter().filter_map(closed).collect::<Vec<_>>().join(" ")
}

#[test]
pub(super) fn branches_go_on_beside_each_other_and_meet() {
    let plan = phased(json!([
        { "name": "staging", "number": "1", "environments": [{ "name": "staging" }] },
        { "name": "eu", "number": "2a", "environments": [{ "name": "eu" }] },
        { "name": "apac", "number": "2b", "after": ["staging"], "environments": [{ "name": "apac" }] },
        { "name": "us", "number": "3", "after": ["eu", "apac"], "environments": [{ "name": "us" }] },
    ]));
    live(
        world(&plan),
        |w| w.cluster.workloads.values_mut().for_each(|w| w.latency = chrono::TimeDelta::seconds(30)),
        &expect![[r#"
            05-05 09:00:02  1 staging    Gating → Flipping          every gate is open
            05-05 09:00:03  1 staging    Flipping → Verifying       the flag is up; its pods are not proven yet
            05-05 09:00:33  1 staging    Verifying → Soaking        the rollout is complete; soaks for 30m
            05-05 09:30:33  1 staging    Soaking → Completed        soaked for 30m: every check passes
            05-05 09:30:35  2a eu        Gating → Flipping          every gate is open
            05-05 09:30:36  2b apac      Gating → Flipping          every gate is open
            05-05 09:30:36  2a eu        Flipping → Verifying       the flag is up; its pods are not proven yet
            05-05 09:30:37  2b apac      Flipping → Verifying       the flag is up; its pods are not proven yet
            05-05 09:31:06  2a eu        Verifying → Soaking        the rollout is complete; soaks for 30m
            05-05 09:31:07  2b apac      Verifying → Soaking        the rollout is complete; soaks for 30m
            05-05 10:01:06  2a eu        Soaking → Completed        soaked for 30m: every check passes
            05-05 10:01:07  2b apac      Soaking → Completed        soaked for 30m: every check passes
            05-05 10:01:09  3 us         Gating → Flipping          every gate is open
            05-05 10:01:10  3 us         Flipping → Verifying       the flag is up; its pods are not proven yet
            05-05 10:01:40  3 us         Verifying → Soaking        the rollout is complete; soaks for 30m
            05-05 10:31:40  1 staging    Completed → Finished       the schedule is complete
            05-05 10:31:40  2b apac      Completed → Finished       the schedule is complete
            05-05 10:31:40  2a eu        Completed → Finished       the schedule is complete
            05-05 10:31:40  3 us         Soaking → Completed        soaked for 30m: every check passes
            05-05 10:31:40  3 us         Completed → Finished       the schedule is complete
        "#]],
    );
}

#[test]
pub(super) fn groups_of_two_wait_for_each_other_at_the_barrier() {
    let five: Vec<Value> = ["a", "b", "c", "d", "e"].iter().map(|name| json!({ "name": name })).collect();
    let plan = phased(json!([{ "name": "all", "maxParallel": 2, "barrier": true, "environments": five }]));
    live(
        world(&plan),
        |w| w.metrics.say("a", minute(20), minute(50), Sample::OffTarget),
        &expect![[r#"
        05-05 09:00:02  a            Gating → Flipping          every gate is open
        05-05 09:00:03  a            Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 09:00:03  b            Gating → Flipping          every gate is open
        05-05 09:00:04  b            Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 09:00:23  a            Verifying → Soaking        the rollout is complete; soaks for 30m
        05-05 09:00:24  b            Verifying → Soaking        the rollout is complete; soaks for 30m
        05-05 09:30:24  b            Soaking → Completed        soaked for 30m: every check passes
        05-05 10:19:52  a            Soaking → Completed        soaked for 30m: every check passes
        05-05 10:19:54  c            Gating → Flipping          every gate is open
        05-05 10:19:55  c            Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 10:19:55  d            Gating → Flipping          every gate is open
        05-05 10:19:56  d            Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 10:20:15  c            Verifying → Soaking        the rollout is complete; soaks for 30m
        05-05 10:20:16  d            Verifying → Soaking        the rollout is complete; soaks for 30m
        05-05 10:50:15  c            Soaking → Completed        soaked for 30m: every check passes
        05-05 10:50:16  d            Soaking → Completed        soaked for 30m: every check passes
        05-05 10:50:18  e            Gating → Flipping          every gate is open
        05-05 10:50:19  e            Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 10:50:39  e            Verifying → Soaking        the rollout is complete; soaks for 30m
        05-05 11:20:39  a            Completed → Finished       the schedule is complete
        05-05 11:20:39  b            Completed → Finished       the schedule is complete
        05-05 11:20:39  c            Completed → Finished       the schedule is complete
        05-05 11:20:39  d            Completed → Finished       the schedule is complete
        05-05 11:20:39  e            Soaking → Completed        soaked for 30m: every check passes
        05-05 11:20:39  e            Completed → Finished       the schedule is complete
    "#]],
    );
    let plan = phased(json!([{ "name": "all", "maxParallel": 2, "environments": five }]));
    live(
        world(&plan),
        |w| w.metrics.say("a", minute(20), minute(50), Sample::OffTarget),
        &expect![[r#"
        05-05 09:00:02  a            Gating → Flipping          every gate is open
        05-05 09:00:03  a            Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 09:00:03  b            Gating → Flipping          every gate is open
        05-05 09:00:04  b            Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 09:00:23  a            Verifying → Soaking        the rollout is complete; soaks for 30m
        05-05 09:00:24  b            Verifying → Soaking        the rollout is complete; soaks for 30m
        05-05 09:30:24  b            Soaking → Completed        soaked for 30m: every check passes
        05-05 09:30:26  c            Gating → Flipping          every gate is open
        05-05 09:30:27  c            Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 09:30:47  c            Verifying → Soaking        the rollout is complete; soaks for 30m
        05-05 10:00:47  c            Soaking → Completed        soaked for 30m: every check passes
        05-05 10:00:49  d            Gating → Flipping          every gate is open
        05-05 10:00:50  d            Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 10:01:10  d            Verifying → Soaking        the rollout is complete; soaks for 30m
        05-05 10:19:52  a            Soaking → Completed        soaked for 30m: every check passes
        05-05 10:19:54  e            Gating → Flipping          every gate is open
        05-05 10:19:55  e            Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 10:20:15  e            Verifying → Soaking        the rollout is complete; soaks for 30m
        05-05 10:31:10  d            Soaking → Completed        soaked for 30m: every check passes
        05-05 10:50:15  a            Completed → Finished       the schedule is complete
        05-05 10:50:15  b            Completed → Finished       the schedule is complete
        05-05 10:50:15  c            Completed → Finished       the schedule is complete
        05-05 10:50:15  d            Completed → Finished       the schedule is complete
        05-05 10:50:15  e            Soaking → Completed        soaked for 30m: every check passes
        05-05 10:50:15  e            Completed → Finished       the schedule is complete
    "#]],
    );
}

#[test]
pub(super) fn work_is_complete_once_its_gates_are_open_and_others_count_from_it() {
    let plan = phased(json!([
        { "name": "backup", "number": "0", "kind": "Work" },
        { "name": "eu", "number": "1", "environments": [{ "name": "eu" }] },
        { "name": "validation", "number": "2", "kind": "Work", "startAfter": { "phase": "eu", "of": "Start", "delay": "2h" },
          "environments": [{ "name": "eu" }] },
        { "name": "removal", "number": "3", "kind": "Work", "startAfter": { "phase": "eu", "delay": "5h" } },
    ]));
    live(
        world(&plan),
        |w| w.metrics.say("eu", minute(110), minute(150), Sample::OffTarget),
        &expect![[r#"
            05-05 09:00:01  0 backup     Gating → Completed         every gate is open; the work may count as done
            05-05 09:00:03  1 eu         Gating → Flipping          every gate is open
            05-05 09:00:04  1 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
            05-05 09:00:24  1 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
            05-05 09:30:24  1 eu         Soaking → Completed        soaked for 30m: every check passes
            05-05 11:30:06  2 eu         Gating → Completed         every gate is open; the work may count as done
            05-05 14:30:24  0 backup     Completed → Finished       the schedule is complete
            05-05 14:30:24  1 eu         Completed → Finished       the schedule is complete
            05-05 14:30:24  2 eu         Completed → Finished       the schedule is complete
            05-05 14:30:24  3 removal    Gating → Completed         every gate is open; the work may count as done
            05-05 14:30:24  3 removal    Completed → Finished       the schedule is complete
        "#]],
    );
}

#[test]
pub(super) fn a_breach_reaches_as_far_as_its_scope_and_the_last_raised_goes_first() {
    let three = json!([{ "name": "b" }, { "name": "c" }, { "name": "d" }]);
    let phases = json!([
        { "name": "first", "number": "1", "environments": [{ "name": "a" }] },
        { "name": "rest", "number": "2", "maxParallel": 2, "environments": three },
    ]);
    let at = minute(80);
    let end = |scope| {
        let mut plan = phased(phases.clone());
        plan.spec.rollback.scope = scope;
        let mut world = world(&plan);
        world.metrics.say("c", at, minute(90), Sample::Bad);
        world.run_until(minute(300)).expect("the laws hold");
        format!("{}: {}", values(&world), lowered(&world))
    };
    expect![[r#"a="true" b="true" c="false" d="true": c"#]].assert_eq(&end(RollbackScope::Environment));
    expect![[r#"a="true" b="false" c="false" d="false": d c b"#]].assert_eq(&end(RollbackScope::Phase));
    expect![[r#"a="false" b="false" c="false" d="false": d c b a"#]].assert_eq(&end(RollbackScope::All));
}

#[test]
pub(super) fn a_rollback_of_all_survives_a_crash_after_its_first_write() {
    let mut plan = schedule(&["a", "b", "c"]);
    plan.spec.rollback.scope = RollbackScope::All;
    for fate in [Fate::CrashAfter, Fate::CrashBefore, Fate::Unanswered, Fate::Late(30)] {
        let mut world = world(&plan);
        world.metrics.say("c", minute(70), minute(80), Sample::Bad);
        world.faults.lowers = vec![(start(), fate)];
        world.run_until(minute(300)).expect("the laws hold");
        assert!(world.values().iter().all(|(_, v)| v == "\"false\""), "{fate:?}: {}", world.timeline());
        assert!(world.latest().iter().all(|r| r.status.as_ref().is_some_and(|s| s.rollback.is_some())));
    }
}

#[test]
pub(super) fn what_people_put_back_reaches_as_far_as_they_said() {
    let mut plan = schedule(&["a", "b", "c"]);
    plan.spec.rollback.scope = RollbackScope::All;
    for act in [Act::Rollback(Some("b")), Act::Set("b", 0, Hand::Disabled)] {
        let mut world = world(&plan);
        world.plan(minute(70), act);
        world.run_until(minute(200)).expect("the laws hold");
        assert_eq!(values(&world), "a=\"true\" b=\"false\" c=\"true\"");
    }
}

#[test]
pub(super) fn a_start_that_is_put_off_is_waited_for_where_the_phase_was_not_begun() {
    let mut plan = schedule(&["a"]);
    plan.spec.phases[0].start = Some(crate::api::Moment::At(minute(60)));
    let mut world = world(&plan);
    world.metrics.say("a", minute(0), minute(70), Sample::OffTarget);
    world.run_until(minute(65)).expect("the laws hold");
    world.store.edit(minute(65), |spec| spec.phases[0].start = Some(crate::api::Moment::At(minute(120))));
    world.run_until(minute(130)).expect("the laws hold");
    expect![[r#"
        05-05 11:00:00  1 a          Gating → Flipping          every gate is open
        05-05 11:00:01  1 a          Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 11:00:21  1 a          Verifying → Soaking        the rollout is complete; soaks for 30m
        1 a is Soaking and waits: Soak: soaks until 2025-05-05 11:30:21 UTC
    "#]]
    .assert_eq(&world.timeline());
}

#[test]
pub(super) fn a_soak_sees_a_night_and_the_whole_is_watched_for_a_while() {
    let mut plan = schedule(&["a", "b"]);
    plan.spec.checks[0].interval = crate::api::Duration::seconds(60);
    plan.spec.phases[0].soak =
        Some(serde_json::from_value(json!({ "duration": "30m", "covers": ["Weekday", "Night"] })).expect("a soak"));
    plan.spec.watch = Some(crate::api::Duration::seconds(3_600));
    let mut told = world(&plan);
    told.run_until(minute(60)).expect("the laws hold");
    expect![[r#"
        05-05 09:00:02  1 a          Gating → Flipping          every gate is open
        05-05 09:00:03  1 a          Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 09:00:23  1 a          Verifying → Soaking        the rollout is complete; soaks for 30m
        1 a is Soaking and waits: Soak: soaks until 2025-05-06 04:00:00 UTC, to have seen six hours of Night
    "#]]
    .assert_eq(&told.timeline());
    told.run_until(minute(19 * 60 + 60)).expect("the laws hold");
    let schedule = told.store.now.schedule.clone().expect("a schedule");
    let status = schedule.status.clone().expect("a status");
    let said: Vec<String> =
        status.conditions.iter().map(|c| format!("{} {:?} {}", c.type_, c.status, c.message)).collect();
    expect![[r#"
        Stalled False 
        Reconciling False 
        Ready True every environment is complete; watched until 2025-05-06 05:30:52 UTC
        Completed False every environment is complete and still watched"#]]
    .assert_eq(&said.join("\n"));
    // The watch is no formality.
    told.metrics.say("a", minute(20 * 60), minute(21 * 60), Sample::Bad);
    told.run_until(minute(21 * 60)).expect("the laws hold");
    assert_eq!(values(&told), "a=\"false\" b=\"true\"", "{}", told.timeline());
    let mut told = world(&plan);
    told.run_until(minute(22 * 60)).expect("the laws hold");
    expect![[r#"
        05-05 09:00:02  1 a          Gating → Flipping          every gate is open
        05-05 09:00:03  1 a          Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 09:00:23  1 a          Verifying → Soaking        the rollout is complete; soaks for 30m
        05-06 04:00:00  1 a          Soaking → Completed        soaked for 30m and saw Weekday, Night: every check passes
        05-06 04:00:02  2 b          Gating → Flipping          every gate is open
        05-06 04:00:03  2 b          Flipping → Verifying       the flag is up; its pods are not proven yet
        05-06 04:00:23  2 b          Verifying → Soaking        the rollout is complete; soaks for 30m
        05-06 04:30:52  2 b          Soaking → Completed        soaked for 30m: every check passes
        05-06 05:30:52  1 a          Completed → Finished       the schedule is complete
        05-06 05:30:52  2 b          Completed → Finished       the schedule is complete
    "#]]
    .assert_eq(&told.timeline());
}

#[test]
pub(super) fn the_old_path_is_quiet_before_it_is_removed() {
    let legacy = json!({ "name": "legacy-calls", "interval": "1m", "threshold": { "query": "sum(increase(legacy[5m]))", "max": "0" } });
    let plan = phased(json!([
        { "name": "eu", "number": "1", "environments": [{ "name": "eu" }] },
        { "name": "removal", "number": "2", "kind": "Work", "environments": [{ "name": "eu" }], "checks": [legacy],
          "requires": { "quiet": { "check": "legacy-calls", "for": "3h" } } },
    ]));
    let mut told = world(&plan);
    // Before the flip everybody uses it, and once afterwards somebody does; Prometheus is away for a while.
    told.metrics.say("eu", minute(-600), minute(0), Sample::Bad);
    told.metrics.say("eu", minute(100), minute(101), Sample::Bad);
    told.metrics.outages.push((minute(150), minute(170)));
    told.plan(minute(200), Act::Kill);
    told.run_until(minute(60)).expect("the laws hold");
    expect!["Quiet check legacy-calls is to be quiet for 3h: it is since 2025-05-05 09:00 UTC, so until 2025-05-05 12:00 UTC"].assert_eq(&waits(&told));
    told.run_until(minute(300)).expect("the laws hold");
    expect![[r#"
        05-05 09:00:02  1 eu         Gating → Flipping          every gate is open
        05-05 09:00:03  1 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 09:00:23  1 eu         Verifying → Soaking        the rollout is complete; soaks for 30m
        05-05 09:30:23  1 eu         Soaking → Completed        soaked for 30m: every check passes
        05-05 13:41:00  1 eu         Completed → Finished       the schedule is complete
        05-05 13:41:00  2 eu         Gating → Completed         every gate is open; the work may count as done
        05-05 13:41:00  2 eu         Completed → Finished       the schedule is complete
    "#]]
    .assert_eq(&told.timeline());
}
