//! Which named test reaches what: every state, every gate, every reason, and all transitions that there are.

#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them so")]

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use expect_test::expect;
use schemars::{JsonSchema, schema_for};

use super::{calendar, edits, found, leave, phases, steps, timelines, waits};
use crate::api::{CheckOutcome, Gate, HeldReason, MigrationRunStatus, MigrationScheduleStatus, RunState};

thread_local! {
    static SEEN: RefCell<BTreeSet<String>> = const { RefCell::new(BTreeSet::new()) };
}

fn note(what: String) {
    SEEN.with(|seen| {
        seen.borrow_mut().insert(what);
    });
}

/// Called for every status of a run that a simulated store takes.
pub fn stored(status: &MigrationRunStatus) {
    note(format!("state {}", status.state));
    status.transitions.iter().for_each(|t| note(format!("transition {} → {}", t.from, t.to)));
    status.waits.iter().for_each(|w| note(format!("gate {:?}", w.gate)));
    status.held.iter().for_each(|h| note(format!("held {:?}", h.reason)));
    status.checks.iter().for_each(|c| note(format!("check {:?}", c.outcome)));
}

/// Called for every status of a schedule that a simulated store takes.
pub fn reported(status: &MigrationScheduleStatus) {
    status.environments.iter().for_each(|e| note(format!("state {}", e.state)));
    status.conditions.iter().for_each(|c| note(format!("condition {} {}", c.type_, c.reason)));
}

macro_rules! tests {
    ($($file:ident: $($test:ident),+;)+) => {
        [$($((concat!(stringify!($file), "::", stringify!($test)), $file::$test as fn())),+),+]
    };
}

/// The words of an enum of the API.
fn words<T: JsonSchema>(kind: &str) -> Vec<String> {
    let schema = schema_for!(T).to_value();
    let variants = schema["oneOf"].as_array().expect("an enum with documented variants");
    let word = |v: &serde_json::Value| v["const"].as_str().expect("a word").to_owned();
    variants.iter().map(|v| format!("{kind} {}", word(v))).collect()
}

#[test]
fn every_state_gate_and_reason_is_reached_by_a_named_test() {
    let tests = tests! {
        timelines: breach_in_eu_stops_apac, doubtful_answers_hold_the_soak, a_pause_in_mid_flip_seals,
            a_third_value_holds_until_it_is_put_right, an_undo_after_a_rollback_is_named_and_left_alone,
            a_target_made_anew_is_not_taken_for_the_old_one, a_schedule_made_anew_does_not_raise_what_was_rolled_back,
            a_retry_opens_the_next_epoch, observe_says_and_never_writes;
        steps: a_step_that_does_not_arrive_is_sealed_and_sent_again,
            an_environment_without_percentages_is_not_raised_in_steps;
        phases: the_old_path_is_quiet_before_it_is_removed;
        leave: a_breach_holds_where_that_is_wanted_until_a_person_decides, what_is_left_out_is_passed_over_and_can_be_taken_up_again,
            a_point_of_no_return_waits_for_a_person_and_ends_automatic_rollback;
        calendar: a_missed_start_is_held_until_a_retry, each_flip_waits_for_its_window_and_soaks_run_on;
        edits: deleted_in_mid_soak_the_flag_stays, an_invalid_spec_stops_advance_and_not_the_rollback,
            the_owner_of_an_environment_stops_what_comes_into_it;
        found: a_flag_lowered_by_hand_in_mid_flip_stays_down;
        waits: what_another_schedule_has_is_waited_for, a_flag_that_is_up_already_is_not_raised_before_a_person_settles_it,
            a_rollback_that_is_not_proven_in_time_is_said_and_goes_on;
    };
    let mut reached: BTreeMap<String, &str> = BTreeMap::new();
    for (name, test) in tests {
        SEEN.with(|seen| seen.borrow_mut().clear());
        test();
        for what in SEEN.with(|seen| seen.take()) {
            reached.entry(what).or_insert(name);
        }
    }
    let all = [
        words::<RunState>("state"),
        words::<Gate>("gate"),
        words::<HeldReason>("held"),
        words::<CheckOutcome>("check"),
    ];
    let missing: Vec<String> = all.concat().into_iter().filter(|what| !reached.contains_key(what)).collect();
    let mut text = String::new();
    for (what, name) in &reached {
        let _ = writeln!(text, "{what:<44} {name}");
    }
    assert!(missing.is_empty(), "no test reaches {missing:#?}\n{text}");
    expect![[r#"
        check Breach                                 timelines::breach_in_eu_stops_apac
        check Error                                  timelines::doubtful_answers_hold_the_soak
        check Inconclusive                           timelines::doubtful_answers_hold_the_soak
        condition Completed Completed                timelines::doubtful_answers_hold_the_soak
        condition Completed InProgress               timelines::breach_in_eu_stops_apac
        condition Ready Calendar                     calendar::each_flip_waits_for_its_window_and_soaks_run_on
        condition Ready Completed                    timelines::doubtful_answers_hold_the_soak
        condition Ready Deleting                     edits::deleted_in_mid_soak_the_flag_stays
        condition Ready Flipping                     timelines::breach_in_eu_stops_apac
        condition Ready Held                         timelines::a_third_value_holds_until_it_is_put_right
        condition Ready InvalidSpec                  edits::an_invalid_spec_stops_advance_and_not_the_rollback
        condition Ready OnPlan                       timelines::breach_in_eu_stops_apac
        condition Ready Paused                       timelines::a_pause_in_mid_flip_seals
        condition Ready RolledBack                   timelines::breach_in_eu_stops_apac
        condition Ready RollingBack                  timelines::breach_in_eu_stops_apac
        condition Ready Scheduled                    timelines::breach_in_eu_stops_apac
        condition Ready Soaking                      timelines::breach_in_eu_stops_apac
        condition Ready Suspended                    edits::the_owner_of_an_environment_stops_what_comes_into_it
        condition Ready TargetClaimed                waits::what_another_schedule_has_is_waited_for
        condition Ready Waiting                      timelines::breach_in_eu_stops_apac
        condition Reconciling Flipping               timelines::breach_in_eu_stops_apac
        condition Reconciling NotReconciling         timelines::breach_in_eu_stops_apac
        condition Reconciling RollingBack            timelines::breach_in_eu_stops_apac
        condition Stalled Held                       timelines::a_third_value_holds_until_it_is_put_right
        condition Stalled InvalidSpec                edits::an_invalid_spec_stops_advance_and_not_the_rollback
        condition Stalled NotStalled                 timelines::breach_in_eu_stops_apac
        condition Stalled RolledBack                 timelines::breach_in_eu_stops_apac
        condition Stalled TargetClaimed              waits::what_another_schedule_has_is_waited_for
        gate Calendar                                calendar::each_flip_waits_for_its_window_and_soaks_run_on
        gate Claim                                   waits::what_another_schedule_has_is_waited_for
        gate Environment                             steps::an_environment_without_percentages_is_not_raised_in_steps
        gate Evidence                                timelines::breach_in_eu_stops_apac
        gate Mode                                    timelines::observe_says_and_never_writes
        gate Pause                                   timelines::a_pause_in_mid_flip_seals
        gate Predecessor                             leave::what_is_left_out_is_passed_over_and_can_be_taken_up_again
        gate Promotion                               leave::a_point_of_no_return_waits_for_a_person_and_ends_automatic_rollback
        gate Quiet                                   phases::the_old_path_is_quiet_before_it_is_removed
        gate Soak                                    timelines::breach_in_eu_stops_apac
        gate Spec                                    edits::an_invalid_spec_stops_advance_and_not_the_rollback
        gate Suspend                                 edits::the_owner_of_an_environment_stops_what_comes_into_it
        gate Target                                  steps::a_step_that_does_not_arrive_is_sealed_and_sent_again
        gate Turn                                    waits::what_another_schedule_has_is_waited_for
        gate Workload                                timelines::breach_in_eu_stops_apac
        held Breached                                leave::a_breach_holds_where_that_is_wanted_until_a_person_decides
        held Drifted                                 timelines::a_third_value_holds_until_it_is_put_right
        held PointOfNoReturn                         leave::a_point_of_no_return_waits_for_a_person_and_ends_automatic_rollback
        held PreviouslyRolledBack                    timelines::a_schedule_made_anew_does_not_raise_what_was_rolled_back
        held RaisedBefore                            waits::a_flag_that_is_up_already_is_not_raised_before_a_person_settles_it
        held RollbackUnproven                        waits::a_rollback_that_is_not_proven_in_time_is_said_and_goes_on
        held StartMissed                             calendar::a_missed_start_is_held_until_a_retry
        held TargetMissing                           timelines::a_target_made_anew_is_not_taken_for_the_old_one
        held TargetReplaced                          timelines::a_target_made_anew_is_not_taken_for_the_old_one
        held WouldRollBack                           timelines::observe_says_and_never_writes
        state Completed                              timelines::breach_in_eu_stops_apac
        state Finished                               timelines::doubtful_answers_hold_the_soak
        state Flipping                               timelines::breach_in_eu_stops_apac
        state Gating                                 timelines::breach_in_eu_stops_apac
        state Pending                                timelines::breach_in_eu_stops_apac
        state RolledBack                             timelines::breach_in_eu_stops_apac
        state RollingBack                            timelines::breach_in_eu_stops_apac
        state Skipped                                timelines::a_schedule_made_anew_does_not_raise_what_was_rolled_back
        state Soaking                                timelines::breach_in_eu_stops_apac
        state Verifying                              timelines::breach_in_eu_stops_apac
        transition Completed → Finished              timelines::doubtful_answers_hold_the_soak
        transition Completed → RollingBack           leave::a_point_of_no_return_waits_for_a_person_and_ends_automatic_rollback
        transition Flipping → Gating                 timelines::a_pause_in_mid_flip_seals
        transition Flipping → RollingBack            found::a_flag_lowered_by_hand_in_mid_flip_stays_down
        transition Flipping → Soaking                steps::a_step_that_does_not_arrive_is_sealed_and_sent_again
        transition Flipping → Verifying              timelines::breach_in_eu_stops_apac
        transition Gating → Completed                phases::the_old_path_is_quiet_before_it_is_removed
        transition Gating → Flipping                 timelines::breach_in_eu_stops_apac
        transition Gating → Skipped                  timelines::a_schedule_made_anew_does_not_raise_what_was_rolled_back
        transition Gating → Verifying                timelines::observe_says_and_never_writes
        transition RollingBack → RolledBack          timelines::breach_in_eu_stops_apac
        transition Soaking → Completed               timelines::breach_in_eu_stops_apac
        transition Soaking → Finished                edits::deleted_in_mid_soak_the_flag_stays
        transition Soaking → Flipping                steps::a_step_that_does_not_arrive_is_sealed_and_sent_again
        transition Soaking → RollingBack             timelines::breach_in_eu_stops_apac
        transition Verifying → RollingBack           waits::a_rollback_that_is_not_proven_in_time_is_said_and_goes_on
        transition Verifying → Soaking               timelines::breach_in_eu_stops_apac
    "#]].assert_eq(&text);
}
