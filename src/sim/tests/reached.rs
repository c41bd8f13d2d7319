//! Which named test reaches what: every state, every gate, every reason, and all transitions that there are.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use expect_test::expect_file;
use schemars::{JsonSchema, schema_for};

use super::{calendar, edits, found, leave, phases, steps, timelines, trial, waits};
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

/// The tests that are held to it, by name.
fn tests() -> Vec<(&'static str, fn())> {
    tests! {
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
        trial: a_trial_says_when_it_goes_back, a_rollback_that_is_ordered_on_the_way_back_closes,
            a_value_that_others_set_on_the_way_back_is_left_alone;
    }
    .to_vec()
}

#[test]
fn every_state_gate_and_reason_is_reached_by_a_named_test() {
    let tests = tests();
    let mut reached: BTreeMap<String, &str> = BTreeMap::new();
    for (name, test) in tests {
        SEEN.with(|seen| seen.borrow_mut().clear());
        test();
        for what in SEEN.with(RefCell::take) {
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
    expect_file!["reached.txt"].assert_eq(&text);
}
