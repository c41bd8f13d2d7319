//! What the simulator once found, each as small as it could be made, and the nets that catch a missing safety line.

use super::courses::Course;
use super::stories::Story;
use super::{config_map, many, minute, schedule, second, start, variable, world};
use crate::api::{Mode, OrderOutcome, RunState};
use crate::engine::laws::Trace;
use crate::engine::{Observations, StampKind, WorkloadReading, probes, step};
use crate::sim::{Act, Fate, Faults, Hand, Sample, World};

fn live(world: &mut World, until: i64) {
    if let Err(violation) = world.run_until(minute(until)) {
        panic!("{violation:?}\n{}", world.timeline());
    }
    assert_eq!(world.unexplained(), None, "{}", world.timeline());
}

/// Lives on second by second, five minutes at most.
fn until(world: &mut World, reached: impl Fn(&World) -> bool) {
    while !reached(world) {
        let now = world.now;
        world.run_until(now + chrono::TimeDelta::seconds(1)).expect("no violation");
        assert!(world.now < minute(5), "{}", world.timeline());
    }
}

fn states(world: &World) -> Vec<RunState> {
    world.latest().iter().map(|r| r.status.as_ref().expect("a status").state).collect()
}

fn written(world: &World, kind: StampKind) -> usize {
    world.trace.iter().filter(|t| matches!(t, Trace::Written(w) if w.kind == kind)).count()
}

/// The lowering is sent, the daemon dies before it is written down, and Prometheus has forgotten why.
#[test]
pub(super) fn a_lowering_that_was_not_recorded_is_a_rollback() {
    let mut world = world(&["eu"]);
    world.metrics.say("eu", minute(8), minute(12), Sample::Bad);
    world.faults.lowers.push((start(), Fate::CrashAfter));
    world.run_until(minute(10)).expect("no violation");
    assert_eq!(written(&world, StampKind::Closed), 1);
    world.metrics.curves.clear();
    live(&mut world, 120);
    assert_eq!(states(&world), [RunState::RolledBack], "{}", world.timeline());
}

/// As above, and a person sets the value again before the daemon is back.
#[test]
pub(super) fn a_closed_epoch_stays_closed_although_somebody_sets_the_flag_again() {
    let mut world = world(&["eu"]);
    world.plan(minute(10), Act::Rollback(None));
    world.faults.lowers.push((start(), Fate::CrashAfter));
    world.plan(second(601), Act::Set("eu", 0, Hand::Enabled));
    live(&mut world, 120);
    assert_eq!(states(&world), [RunState::RollingBack], "{}", world.timeline());
    assert!(world.timeline().contains("was rolled back, and then set again by field manager kubectl-edit"));
}

/// A crash after a lowering forgets the breach, not the rollback.
#[test]
fn a_breach_that_was_not_recorded_stays_one_although_somebody_sets_the_flag_again() {
    let mut world = world(&["eu"]);
    world.metrics.say("eu", minute(8), minute(12), Sample::Bad);
    world.faults.lowers.push((start(), Fate::CrashAfter));
    while written(&world, StampKind::Closed) == 0 {
        assert!(world.now < minute(15), "{}", world.timeline());
        world.run_until(world.now + chrono::TimeDelta::seconds(1)).expect("no violation");
    }
    world.act(&Act::Set("eu", 0, Hand::Enabled));
    world.metrics.curves.clear();
    live(&mut world, 120);
    assert_eq!(states(&world), [RunState::RollingBack], "{}", world.timeline());
    assert!(world.timeline().contains("was rolled back, and then set again by field manager kubectl-edit"));
}

/// What was soaked before a restart counts.
#[test]
fn a_restart_of_the_daemon_does_not_begin_a_soak_anew() {
    let mut world = world(&["eu"]);
    world.plan(minute(15), Act::Kill);
    live(&mut world, 32);
    assert_eq!(states(&world), [RunState::Finished], "{}", world.timeline());
}

/// A raise is on its way when a person rolls back, and arrives before any lowering does.
#[test]
pub(super) fn a_raise_on_its_way_is_taken_down_after_a_rollback() {
    let mut world = world(&["eu"]);
    world.faults.raises.push((start(), Fate::Late(20)));
    world.faults.lowers.extend(vec![(start(), Fate::Lost); 30]);
    world.plan(second(3), Act::Rollback(None));
    live(&mut world, 60);
    assert_eq!((written(&world, StampKind::Raised), states(&world)), (1, vec![RunState::RolledBack]));
    assert_eq!(world.values()[0].1, "\"false\"");
}

/// Two attempts used to carry the same decision id, so that the second one's seal was taken for done.
#[test]
pub(super) fn the_second_late_raise_is_sealed_too() {
    let mut world = world(&["eu"]);
    world.faults.raises.extend([(start(), Fate::Late(120)), (start(), Fate::Late(120)), (start(), Fate::Late(120))]);
    live(&mut world, 120);
    assert_eq!(written(&world, StampKind::Raised), 1, "{}", world.timeline());
    assert_eq!(written(&world, StampKind::Sealed), 3, "{}", world.timeline());
}

/// A person's write on one target let the run go back to its gates while another target could still take a late raise.
#[test]
pub(super) fn every_target_is_sealed_before_a_flip_is_given_up() {
    let mut world = World::new(&schedule(&["eu"]), vec![many("eu")], start(), 1);
    world.faults.raises.extend([(start(), Fate::Late(10)), (start(), Fate::Late(10)), (start(), Fate::Lost)]);
    world.plan(second(3), Act::Set("eu", 2, Hand::Third));
    live(&mut world, 60);
    assert_eq!(written(&world, StampKind::Raised), 0, "{}", world.timeline());
    assert_eq!(states(&world), [RunState::Gating]);
}

/// What is left of a flip that arrived in part went up although people had stopped it.
#[test]
pub(super) fn the_rest_of_a_flip_waits_for_people() {
    for stop in [Act::Suspend(true), Act::Spoil, Act::Pause(None), Act::SuspendEnvironment("eu", true)] {
        let mut world = World::new(&schedule(&["eu"]), vec![many("eu")], start(), 1);
        world.faults.raises.extend([(start(), Fate::Sound), (start(), Fate::Lost), (start(), Fate::Lost)]);
        world.plan(second(3), stop.clone());
        live(&mut world, 9);
        assert_eq!(written(&world, StampKind::Raised), 1, "{stop:?}\n{}", world.timeline());
        assert_eq!(states(&world), [RunState::Flipping], "{stop:?}\n{}", world.timeline());
        live(&mut world, 60);
        assert_eq!(states(&world), [RunState::RolledBack], "{stop:?}\n{}", world.timeline());
        assert!(world.timeline().contains("not completed within 10 minutes"), "{}", world.timeline());
    }
}

/// The schedule was stopped, but the daemon's cache does not know it yet.
#[test]
pub(super) fn a_stale_cache_does_not_raise_what_people_have_stopped() {
    for seed in 0..20 {
        for stop in [Act::Suspend(true), Act::Pause(None), Act::Delete(crate::api::OnDelete::Keep)] {
            let mut world = World::new(&schedule(&["eu"]), vec![config_map("eu")], start(), seed);
            world.metrics.say("eu", start(), minute(5), Sample::Bad);
            world.faults = Faults { until: Some(minute(30)), stale: 1_000, ..Faults::default() };
            world.plan(second(299), stop);
            live(&mut world, 60);
            assert_eq!(written(&world, StampKind::Raised), 0, "{}", world.timeline());
        }
    }
}

/// An order to roll back must not be refused because a cache still shows the run before its flip.
#[test]
pub(super) fn a_stale_cache_does_not_refuse_an_order_to_roll_back() {
    for seed in 0..40 {
        let mut world = World::new(&schedule(&["eu"]), vec![config_map("eu")], start(), seed);
        world.faults = Faults { until: Some(minute(30)), stale: 1_000, ..Faults::default() };
        world.run_until(second(90)).expect("no violation");
        let up = world.values()[0].1 == "\"true\"";
        world.act(&Act::Rollback(None));
        live(&mut world, 90);
        assert!(!up || states(&world) == [RunState::RolledBack], "{}", world.timeline());
    }
}

/// A target that refuses every raise is not written to all day.
#[test]
pub(super) fn a_flip_that_is_refused_for_good_backs_off() {
    let mut world = world(&["eu"]);
    world.faults.raises.extend(vec![(start(), Fate::Lost); 1_000]);
    live(&mut world, 600);
    let flips = world.trace.iter().filter(|t| matches!(t, Trace::Stored { state: RunState::Flipping, .. })).count();
    assert!(flips < 150, "{flips} attempts in 10 hours");
    assert!(world.timeline().contains("did not arrive; again at"), "{}", world.timeline());
}

/// A drift in Observe took turns with the rollback that Hoist would make, and wrote at every pass.
#[test]
pub(super) fn a_drift_beside_a_breach_in_observe_is_quiet() {
    let mut world = world(&["eu"]);
    world.act(&Act::Mode(Mode::Observe));
    world.act(&Act::Set("eu", 0, Hand::Enabled));
    world.metrics.say("eu", minute(10), minute(20), Sample::Bad);
    world.plan(minute(30), Act::Set("eu", 0, Hand::Third));
    live(&mut world, 40);
    let before = world.requests;
    live(&mut world, 400);
    assert_eq!(world.requests, before, "{}", world.timeline());
}

/// A run that was armed in Observe is never written, also after the mode became Act.
#[test]
pub(super) fn what_others_raised_under_observe_is_never_written() {
    let mut world = world(&["eu"]);
    world.act(&Act::Mode(Mode::Observe));
    world.act(&Act::Set("eu", 0, Hand::Enabled));
    world.plan(minute(10), Act::Mode(Mode::Act));
    world.metrics.say("eu", minute(15), minute(25), Sample::Bad);
    live(&mut world, 120);
    assert!(world.trace.iter().all(|t| matches!(t, Trace::Stored { .. })), "{}", world.timeline());
    assert!(world.timeline().contains("WouldRollBack"), "{}", world.timeline());
}

/// While a soak waits for hours, with values that tremble and windows that grow, nothing is written.
#[test]
pub(super) fn a_soak_that_waits_is_quiet() {
    let mut world = World::new(&schedule(&["eu"]), vec![variable("eu")], start(), 1);
    world.metrics.say("eu", minute(6), minute(2_000), Sample::OffTarget);
    live(&mut world, 40);
    let before = world.requests;
    live(&mut world, 8 * 60);
    assert_eq!(world.requests, before, "{}", world.timeline());
    assert!(world.passes > 500, "{}", world.passes);
}

/// The first environment is retried while the second one soaks: they are not in work together.
#[test]
pub(super) fn a_retried_environment_waits_for_one_that_is_in_work() {
    let mut world = world(&["canary", "eu"]);
    world.metrics.say("canary", minute(40), minute(50), Sample::Bad);
    world.plan(minute(50), Act::Retry);
    live(&mut world, 300);
    assert_eq!(states(&world), [RunState::Finished, RunState::Finished], "{}", world.timeline());
}

/// Pods that fail for a while in mid-soak are named, and roll back only when they do not come again.
#[test]
pub(super) fn a_shortage_of_pods_rolls_back_after_two_minutes() {
    let mut short = world(&["eu"]);
    short.cluster.workloads.values_mut().for_each(|w| w.shortages.push((minute(10), second(690))));
    live(&mut short, 120);
    assert_eq!(states(&short), [RunState::Finished], "{}", short.timeline());
    let mut long = world(&["eu"]);
    long.cluster.workloads.values_mut().for_each(|w| w.shortages.push((minute(10), minute(14))));
    live(&mut long, 120);
    assert_eq!(states(&long), [RunState::RolledBack], "{}", long.timeline());
    assert!(long.timeline().contains("09:12:"), "{}", long.timeline());
}

/// Pods that were restarted before the lowering arrived carried the mark of a proof and ran on `enabled`.
#[test]
pub(super) fn pods_are_restarted_only_after_the_flag_is_down() {
    let mut world = world(&["eu"]);
    world.plan(minute(10), Act::Rollback(None));
    world.faults.lowers.extend(vec![(start(), Fate::Lost); 5]);
    live(&mut world, 60);
    assert_eq!(states(&world), [RunState::RolledBack]);
    let environment = &world.cluster.entries[0].environment;
    assert_eq!(world.cluster.exposed_since(environment, world.now), None, "{}", world.timeline());
}

/// A `Retry` that takes a raised flag over leaves the value as it is, so that a late raise must be sealed there too.
#[test]
pub(super) fn a_late_takeover_is_sealed() {
    let mut world = world(&["eu"]);
    world.act(&Act::Set("eu", 0, Hand::Enabled));
    world.plan(minute(10), Act::Retry);
    world.plan(second(602), Act::Pause(None));
    world.faults.raises.push((start(), Fate::Late(120)));
    live(&mut world, 60);
    assert_eq!(
        (written(&world, StampKind::Sealed), written(&world, StampKind::Raised)),
        (1, 0),
        "{}",
        world.timeline()
    );
    assert_eq!(states(&world), [RunState::Gating]);
    world.act(&Act::Resume);
    live(&mut world, 120);
    assert_eq!(states(&world), [RunState::Finished], "{}", world.timeline());
}

/// A variable and its workload are two questions: a rollout that was read before the raise must not prove it.
#[test]
pub(super) fn a_rollout_of_the_spec_before_proves_nothing() {
    let mut world = World::new(&schedule(&["eu"]), vec![variable("eu")], start(), 1);
    let state = |w: &World| w.latest().first().and_then(|r| r.status.as_ref()).map(|s| s.state);
    until(&mut world, |w| state(w) == Some(RunState::Verifying));
    let told = world.told([chrono::TimeDelta::zero(); 3]).expect("a schedule");
    world.cluster.workloads.values_mut().for_each(|w| w.latency = chrono::TimeDelta::zero());
    let mut seen = Observations::default();
    for probe in probes(&told.view, &told.state, world.now) {
        world.answer(&mut seen, probe);
    }
    let after = |seen: &Observations| {
        let decision = step(&told.view, &told.state, seen, world.now);
        decision.state.runs.values().next().map(|r| r.stage.state())
    };
    assert_eq!(after(&seen), Some(RunState::Soaking));
    for reading in seen.workloads.values_mut() {
        let Ok(WorkloadReading::Found(found)) = reading else { panic!("{reading:?}") };
        found.generation -= 1;
    }
    assert_eq!(after(&seen), Some(RunState::Verifying));
}

/// A Pause that names nothing would be taken for a stop that it is not.
#[test]
pub(super) fn a_pause_that_names_nothing_is_refused_and_says_what_there_is() {
    let mut world = world(&["eu"]);
    world.plan(minute(10), Act::Pause(Some("ue")));
    world.plan(minute(11), Act::Pause(Some("eu")));
    live(&mut world, 60);
    let said: Vec<_> = world.store.now.orders.values().filter_map(|o| o.status.clone()).collect();
    let said: Vec<_> = said.into_iter().map(|s| (s.outcome, s.message)).collect();
    assert_eq!(said[0], (OrderOutcome::Refused, "nothing of this schedule is meant; it has eu eu".to_owned()));
    assert_eq!(said[1].0, OrderOutcome::Applied);
    assert_eq!(states(&world), [RunState::Soaking], "{}", world.timeline());
}

/// The raise arrives, the daemon dies, and a person lowers the flag before it is back: it used to be raised again.
#[test]
pub(super) fn a_flag_lowered_by_hand_in_mid_flip_stays_down() {
    let mut world = world(&["eu"]);
    world.faults.raises.push((start(), Fate::CrashAfter));
    until(&mut world, |w| written(w, StampKind::Raised) > 0);
    world.act(&Act::Set("eu", 0, Hand::Disabled));
    live(&mut world, 60);
    assert_eq!(
        (written(&world, StampKind::Raised), states(&world)),
        (1, vec![RunState::RolledBack]),
        "{}",
        world.timeline()
    );
    assert!(world.timeline().contains("that is a rollback by a person"), "{}", world.timeline());
}

/// The part of a flip that is up is watched while the rest is refused.
#[test]
pub(super) fn pods_that_crash_on_part_of_a_flip_roll_it_back() {
    let mut world = World::new(&schedule(&["eu"]), vec![many("eu")], start(), 1);
    let lost = vec![(start(), Fate::Lost); 50];
    world.faults.raises.push((start(), Fate::Sound));
    world.faults.raises.extend(lost);
    // Its pods are restarted for reasons of their own, and read the new value.
    world.cluster.workloads.values_mut().for_each(|w| w.crashes = true);
    until(&mut world, |w| written(w, StampKind::Raised) > 0);
    let workloads: Vec<_> = world.cluster.workloads.keys().cloned().collect();
    let now = world.now;
    for key in &workloads {
        world.cluster.roll(key, now);
    }
    live(&mut world, 5);
    assert_eq!(states(&world), [RunState::RolledBack], "{}", world.timeline());
    assert!(world.timeline().contains("CrashLoopBackOff"), "{}", world.timeline());
}

/// A reading that failed for a moment is no recovery.
#[test]
pub(super) fn pods_go_on_crashing_while_they_cannot_be_read() {
    let mut world = world(&["eu"]);
    world.cluster.workloads.values_mut().for_each(|w| w.crashes = true);
    world.run_until(second(10)).expect("no violation");
    assert_eq!(states(&world), [RunState::Verifying], "{}", world.timeline());
    world.faults.until = Some(minute(10));
    for at in 11..60 {
        // Every third second nothing can be read.
        world.faults.unread = if at % 3 == 0 { 1_000 } else { 0 };
        world.run_until(second(at)).expect("no violation");
    }
    assert!(matches!(states(&world)[0], RunState::RollingBack | RunState::RolledBack), "{}", world.timeline());
}

/// The clock is a quarter of an hour ahead for a moment: what was asked of the future must not blind the watch when it is back.
#[test]
pub(super) fn a_clock_that_was_ahead_blinds_nobody() {
    let mut world = world(&["eu"]);
    live(&mut world, 10);
    assert_eq!(states(&world), [RunState::Soaking], "{}", world.timeline());
    let there = world.now;
    world.now = there + chrono::TimeDelta::minutes(15);
    world.wake = world.now;
    world.pass();
    world.now = there;
    world.wake = there;
    world.metrics.say("eu", minute(11), minute(20), Sample::Bad);
    world.run_until(minute(16)).expect("no violation");
    let state = states(&world)[0];
    assert!(matches!(state, RunState::RollingBack | RunState::RolledBack), "{}", world.timeline());
}

/// A backup from before the flip is restored after the rollback: nothing that is stored tells of it.
#[test]
pub(super) fn after_a_restored_backup_nothing_goes_up_before_a_person_says_so() {
    let mut world = world(&["eu"]);
    world.plan(start(), Act::Backup);
    world.metrics.say("eu", minute(8), minute(12), Sample::Bad);
    world.plan(minute(30), Act::Restore);
    live(&mut world, 300);
    assert_eq!((written(&world, StampKind::Raised), written(&world, StampKind::Closed)), (1, 1));
    assert!(world.timeline().contains("paused by Hoist: resource versions went back"), "{}", world.timeline());
    world.plan(minute(301), Act::Kill);
    live(&mut world, 400);
    assert_eq!(written(&world, StampKind::Raised), 1, "the pause is stored: {}", world.timeline());
}

/// Found by a story: in `Observe` nobody restarted the pods that had been restarted for the raise, and they counted as
/// proof.
#[test]
pub(super) fn pods_that_were_restarted_for_the_raise_prove_nothing_in_observe() {
    let mut told = world(&["eu"]);
    told.cluster.workloads.values_mut().for_each(|w| w.latency = chrono::TimeDelta::seconds(1));
    told.plan(second(4), Act::Mode(Mode::Observe));
    told.plan(second(4), Act::Set("eu", 0, Hand::Disabled));
    told.run_until(minute(30)).expect("the laws hold");
    let runs = told.latest();
    let status = runs[0].status.as_ref().expect("a status");
    assert_eq!(status.state, RunState::RollingBack);
    assert!(status.message.contains("set mode to Act, so that Hoist restarts it"), "{}", status.message);
    told.plan(minute(31), Act::Mode(Mode::Act));
    told.run_until(minute(40)).expect("the laws hold");
    assert_eq!(told.latest()[0].status.as_ref().map(|s| s.state), Some(RunState::RolledBack), "{}", told.timeline());
}

/// Found by a story: a cache that still showed a trial as soaking, under the seal of the phase after it, took the flag for
/// lowered by a person, and closed it.
#[test]
pub(super) fn what_a_later_run_has_taken_over_is_not_closed_by_a_stale_cache() {
    let story = Story {
        seed: 1_738_704_678_132_696_111,
        shapes: vec![2],
        soak: 2,
        latency: 1,
        faults: [39, 37, 229, 25, 0, 246, 203],
        steps: true,
        course: Course::Tried,
        ..Story::default()
    };
    let world = story.tell().unwrap_or_else(|what| panic!("{what}"));
    assert_eq!(written(&world, StampKind::Closed), 0, "{}", world.timeline());
    // The same where it still showed it as going back.
    let acts = vec![(415, Act::Mend)];
    let faults = [112, 154, 10, 178, 90, 236, 106];
    let (seed, shapes) = (2_831_106_602_377_031_783, vec![1]);
    let story = Story { seed, shapes, soak: 8, faults, steps: false, needs: true, acts, ..story };
    story.tell().unwrap_or_else(|what| panic!("{what}"));
}
