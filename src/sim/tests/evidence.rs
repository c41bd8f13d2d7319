//! Checks that judge by blocks, in timelines: what is kept before the flip, and what is judged after it.

#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them so")]

use chrono::TimeDelta;
use expect_test::expect;
use serde_json::{Value, json};

use super::timelines::{live, values};
use super::{config_map, in_parts, minute, schedule, start};
use crate::api::{Check, CheckOutcome, Duration, MigrationSchedule, RunState};
use crate::sim::{Act, Fate, Sample, World};

fn baseline() -> Value {
    json!({ "name": "latency", "baseline": {
        "query": "histogram_quantile(0.95, sum by (le) (rate(seconds_bucket[{{ window }}])))",
        "direction": "Increase", "limit": { "relative": "10%" } } })
}

fn four() -> Value {
    let ratio = json!({ "bad": "sum(increase(bad[{{ window }}]))", "total": "sum(increase(all[{{ window }}]))" });
    json!([
        baseline(),
        { "name": "beside", "comparison": {
            "query": "sum(rate(seconds_sum{flag=\"on\"}[{{ window }}]))", "direction": "Increase", "limit": { "relative": "5%" },
            "reference": { "query": "sum(rate(seconds_sum{flag=\"off\"}[{{ window }}]))" } } },
        { "name": "errors", "statistical": { "ratio": ratio, "direction": "Increase", "limit": { "absolute": "0.001" } } },
        { "name": "budget", "burnRate": { "ratio": ratio, "objective": "0.999" } },
    ])
}

fn plan(checks: &Value) -> MigrationSchedule {
    let mut plan = schedule(&["eu"]);
    plan.spec.checks = serde_json::from_value(checks.clone()).expect("checks");
    plan.spec.soak.duration = Duration::seconds(4 * 3_600);
    plan
}

fn world(checks: &Value) -> World {
    World::new(&plan(checks), vec![config_map("eu")], start(), 1)
}

#[test]
fn a_flip_is_judged_against_the_days_before_it() {
    let world = live(
        world(&four()),
        |_| {},
        &expect![[r#"
        05-05 09:00:02  1 eu         Gating → Flipping          every gate is open
        05-05 09:00:03  1 eu         Flipping → Verifying       the flag is up; its pods are not proven yet
        05-05 09:00:23  1 eu         Verifying → Soaking        the rollout is complete; soaks for 4h
        05-05 13:00:23  1 eu         Soaking → Completed        soaked for 4h: every check passes
        05-05 13:00:23  1 eu         Completed → Finished       the schedule is complete
    "#]],
    );
    assert_eq!(values(&world), "eu=\"true\"");
    let run = world.latest().pop().expect("a run");
    let status = run.status.as_ref().expect("a status");
    let kept = status.armed.as_ref().and_then(|a| a.baseline.as_ref()).expect("a baseline");
    let text = world.store.kept.get(&kept.name).expect("what is kept");
    assert_eq!(crate::analysis::sha256(text), kept.sha256);
    let told =
        status.preflight.iter().map(|p| format!("{} {}{}", p.check, p.message, if p.blind { " BLIND" } else { "" }));
    expect![[r#"
        latency tells ±0.143 % after 4h
        beside tells ±0 % after 4h
        errors was 0.1301 %, and what is beyond 0.2355 % is found"#]]
    .assert_eq(&told.collect::<Vec<_>>().join("\n"));
}

#[test]
fn each_kind_finds_what_got_worse() {
    let all: Vec<Check> = serde_json::from_value(four()).expect("checks");
    let found = all.iter().map(|check| {
        let mut world = world(&json!([check]));
        world.metrics.curve("eu").regression = Some(TimeDelta::minutes(60));
        world.run_until(minute(8 * 60)).expect("no law is broken");
        assert_eq!(values(&world), "eu=\"false\"", "{}", world.timeline());
        world.timeline().lines().find(|l| l.contains("→ RollingBack")).expect("a rollback").to_owned()
    });
    expect![[r#"
        05-05 10:27:52  1 eu         Soaking → RollingBack      latency: +69.9 % against the time before the flip (between +69.11 % and +70.69 %) over 4 blocks of 5m, beyond +10 %
        05-05 10:27:28  1 eu         Soaking → RollingBack      beside: +60 % against the reference (between +60 % and +60 %) over 4 blocks of 5m, beyond +5 %
        05-05 10:14:52  1 eu         Soaking → RollingBack      errors: 20.87 % of all (between 7.384 % and 22.03 %) over 13 blocks of 5m, beyond 0.2343 %
        05-05 10:04:52  1 eu         Soaking → RollingBack      budget: 81.82 times what the error budget allows over 11 blocks of 5m, beyond 14.4"#]].assert_eq(&found.collect::<Vec<_>>().join("\n"));
}

#[test]
fn an_outage_in_the_soak_holds_and_then_goes_on() {
    let mut world = world(&four());
    world.metrics.outages = vec![(minute(230), minute(250))];
    world.run_until(minute(245)).expect("no law is broken");
    let run = world.latest().pop().expect("a run");
    let status = run.status.as_ref().expect("a status");
    assert_eq!(status.state, RunState::Soaking);
    assert!(status.checks.iter().any(|c| c.outcome == CheckOutcome::Error), "{:?}", status.checks);
    world.run_until(minute(300)).expect("no law is broken");
    assert_eq!(values(&world), "eu=\"true\"");
    assert!(world.timeline().contains("Completed → Finished"), "{}", world.timeline());
}

#[test]
fn without_a_past_nothing_is_raised_and_the_reason_is_said() {
    let mut world = world(&json!([baseline()]));
    world.metrics.say("eu", start() - TimeDelta::days(30), minute(45), Sample::Empty);
    world.run_until(minute(30)).expect("no law is broken");
    let run = world.latest().pop().expect("a run");
    let waits: Vec<_> = run.status.iter().flat_map(|s| &s.waits).map(|w| w.message.clone()).collect();
    expect!["check latency: nothing to compare with: 0 of the 24 blocks in the 2h before the flip are there, and 12 are needed; of the newest block, the query answers with no series"].assert_eq(&waits.join("\n"));
    // Half of the two hours before a flip is enough, but nobody knows how it was on other days.
    world.run_until(minute(120)).expect("no law is broken");
    let run = world.latest().pop().expect("a run");
    assert!(
        run.status.iter().flat_map(|s| &s.waits).any(|w| w.message.contains("of earlier days")),
        "{}",
        world.timeline()
    );
    let mut told = baseline();
    told["baseline"]["drift"] = json!("2%");
    told["baseline"]["history"] = json!("0s");
    let mut world = self::world(&json!([told]));
    world.metrics.say("eu", start() - TimeDelta::days(30), minute(45), Sample::Empty);
    world.run_until(minute(120)).expect("no law is broken");
    assert_eq!(values(&world), "eu=\"true\"", "{}", world.timeline());
}

#[test]
fn what_was_kept_outlives_the_daemon_and_its_loss_holds() {
    let mut world = world(&json!([baseline()]));
    world.metrics.curve("eu").regression = Some(TimeDelta::minutes(90));
    world.run_until(minute(60)).expect("no law is broken");
    // From now on nobody could tell any more what was before the flip.
    world.metrics.say("eu", start() - TimeDelta::days(30), start(), Sample::Empty);
    world.kill();
    let mut lost = world.clone();
    world.run_until(minute(240)).expect("no law is broken");
    assert_eq!(values(&world), "eu=\"false\"", "{}", world.timeline());
    lost.store.kept.clear();
    lost.run_until(minute(600)).expect("no law is broken");
    assert_eq!(values(&lost), "eu=\"true\"");
    let run = lost.latest().pop().expect("a run");
    let status = run.status.as_ref().expect("a status");
    assert_eq!(status.state, RunState::Soaking, "{}", lost.timeline());
    expect![[r#"
        check latency: there is none
        less than 95 % of the soak of 4h is covered by evidence, so it is extended"#]]
    .assert_eq(&status.waits.iter().map(|w| w.message.clone()).collect::<Vec<_>>().join("\n"));
}

#[test]
fn every_step_is_judged_against_the_time_before_the_first() {
    let mut plan = plan(&json!([baseline()]));
    let steps =
        json!([{ "percent": 10, "soak": { "duration": "1h" } }, { "percent": 100, "soak": { "duration": "2h" } }]);
    plan.spec.phases[0].steps = serde_json::from_value(steps).expect("steps");
    let world = World::new(&plan, vec![in_parts(config_map("eu"))], start(), 1);
    let regress = |w: &mut World| w.metrics.curve("eu").regression = Some(TimeDelta::minutes(90));
    live(
        world,
        regress,
        &expect![[r#"
            05-05 09:00:02  1 eu         Gating → Flipping          every gate is open
            05-05 09:00:03  1 eu         Flipping → Verifying       the flag is up at 10 %; its pods are not proven yet
            05-05 09:00:23  1 eu         Verifying → Soaking        the rollout is complete at 10 %; soaks for 1h
            05-05 10:07:52  1 eu         Soaking → Flipping         soaked for 1h at 10 %: every check passes; goes to 100 %
            05-05 10:07:53  1 eu         Flipping → Verifying       the flag is up at 100 %; its pods are not proven yet
            05-05 10:08:13  1 eu         Verifying → Soaking        the rollout is complete at 100 %; soaks for 2h
            05-05 10:57:52  1 eu         Soaking → RollingBack      latency: +48.9 % against the time before the flip (between +9.772 % and +102 %) over 8 blocks of 5m, beyond +10 %
            05-05 10:58:13  1 eu         RollingBack → RolledBack   proven: 3 of 3 pods of Deployment conduit/app-eu are back on the old value
        "#]],
    );
}

#[test]
fn no_fate_of_a_write_loses_what_was_seen_before_the_flip() {
    let new = |script: Vec<(usize, Fate)>| {
        let mut world = world(&json!([baseline()]));
        world.metrics.curve("eu").regression = Some(TimeDelta::minutes(30));
        world.faults.script = script;
        world
    };
    let end = |mut world: World| {
        world.run_until(minute(200)).expect("no law is broken");
        (values(&world), world.requests, world.timeline())
    };
    let (values, requests, timeline) = end(new(Vec::new()));
    assert_eq!(values, "eu=\"false\"", "{timeline}");
    for number in 0..requests {
        for fate in [Fate::CrashBefore, Fate::CrashAfter, Fate::Unanswered, Fate::Lost] {
            let (v, _, timeline) = end(new(vec![(number, fate)]));
            assert_eq!(v, values, "{fate:?} at write {number}\n{timeline}");
            assert!(timeline.contains("latency: +"), "{timeline}");
        }
    }
}

#[test]
fn blocks_that_are_missing_cover_nothing_and_are_no_breach() {
    for sample in [Sample::Empty, Sample::NotANumber, Sample::Several, Sample::Partial, Sample::Stale] {
        let mut world = world(&four());
        world.metrics.say("eu", minute(60), minute(150), sample);
        world.run_until(minute(4 * 60 + 30)).expect("no law is broken");
        let run = world.latest().pop().expect("a run");
        let state = run.status.as_ref().expect("a status").state;
        assert_eq!(
            (state, values(&world).as_str()),
            (RunState::Soaking, "eu=\"true\""),
            "{sample:?}\n{}",
            world.timeline()
        );
        world.run_until(minute(8 * 60)).expect("no law is broken");
        assert!(world.timeline().contains("Completed → Finished"), "{sample:?}\n{}", world.timeline());
    }
}

#[test]
fn a_retry_is_not_compared_with_the_time_in_which_the_flag_was_up() {
    let mut world = world(&json!([baseline()]));
    world.metrics.curve("eu").regression = Some(TimeDelta::minutes(30));
    world.plan(minute(70), Act::Retry);
    world.run_until(minute(71)).expect("no law is broken");
    let run = world.latest().pop().expect("a run");
    let waits: Vec<_> = run.status.iter().flat_map(|s| &s.waits).map(|w| w.message.clone()).collect();
    expect!["check latency: nothing to compare with: 10 of the 24 blocks in the 2h before the flip are there, and 12 are needed; time in which the flag was up is left out"].assert_eq(&waits.join("\n"));
    world.run_until(minute(6 * 60)).expect("no law is broken");
    let back: Vec<_> = world
        .timeline()
        .lines()
        .filter(|l| l.contains("→ Flipping") || l.contains("→ RollingBack"))
        .map(ToOwned::to_owned)
        .collect();
    expect![[r#"
        05-05 09:00:02  1 eu         Gating → Flipping          every gate is open
        05-05 10:02:52  1 eu         Soaking → RollingBack      latency: +40.19 % against the time before the flip (between +7.609 % and +82.65 %) over 11 blocks of 5m, beyond +10 %
        05-05 11:07:52  1 eu #2      Gating → Flipping          every gate is open; epoch opened by Intervention order-1
        05-05 12:12:52  1 eu #2      Soaking → RollingBack      latency: +40.19 % against the time before the flip (between +7.521 % and +82.78 %) over 11 blocks of 5m, beyond +10 %"#]].assert_eq(&back.join("\n"));
}

#[test]
fn the_newest_block_must_be_there_before_a_flip() {
    for check in [json!([baseline()]), json!([four()[2]]), json!([four()[3]])] {
        let mut world = world(&check);
        world.metrics.say("eu", start() - TimeDelta::minutes(10), minute(20), Sample::Empty);
        world.run_until(minute(15)).expect("no law is broken");
        assert_eq!(values(&world), "eu=\"false\"", "{}", world.timeline());
        world.run_until(minute(30)).expect("no law is broken");
        assert_eq!(values(&world), "eu=\"true\"", "{}", world.timeline());
    }
}

#[test]
fn a_baseline_judges_a_day_and_lets_a_longer_soak_end() {
    let mut plan = plan(&json!([baseline()]));
    plan.spec.soak.duration = Duration::seconds(30 * 3_600);
    let mut world = World::new(&plan, vec![config_map("eu")], start(), 1);
    world.metrics.curve("eu").regression = Some(TimeDelta::hours(26));
    world.run_until(minute(32 * 60)).expect("no law is broken");
    assert!(world.timeline().contains("Completed → Finished"), "{}", world.timeline());
}
