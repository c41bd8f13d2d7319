//! The laws of design, as functions over what reached the store and the targets, in the order in which it reached them.
//!
//! They know nothing of how the engine decides. The simulator runs them after every step; tests run them on the trace
//! of a real API server.

use std::collections::{BTreeMap, BTreeSet};

use chrono::Days;

use crate::api::{EnvironmentKey, EnvironmentRef, FrozenTime, Moment, Phase, RunState, TargetPlace, Time, Window};

use super::target::StampKind;

/// Something that reached the store or a target.
#[derive(Clone, Debug, PartialEq)]
pub enum Trace {
    /// A run's state was stored.
    Stored {
        /// The run's namespace and name.
        run: String,
        /// The phase.
        phase: String,
        /// The Environment.
        environment: EnvironmentKey,
        /// The epoch.
        epoch: i64,
        /// When the `Retry` that opened the epoch was written.
        opened_at: Option<Time>,
        /// The state.
        state: RunState,
        /// The step that it is at, 1 for the first; 0 where there are none.
        step: i32,
        /// How many steps there are; 0 where there are none.
        steps: i32,
        /// The decision id of the attempt in work.
        decision: Option<String>,
    },
    /// A target was written by Hoist.
    Written(TargetWrite),
    /// A backup was restored: what is stored from here on need not follow from what was.
    Restored,
}

/// A write of Hoist's that a target took.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetWrite {
    /// The target.
    pub place: TargetPlace,
    /// What its stamp says.
    pub kind: StampKind,
    /// The run's namespace and name.
    pub run: String,
    /// The epoch.
    pub epoch: i64,
    /// The decision id.
    pub decision: String,
    /// When it was decided.
    pub at: Time,
}

/// A raise that was sent, with the calendars that were in force then.
#[derive(Clone, Debug, PartialEq)]
pub struct Sent {
    /// The target.
    pub place: TargetPlace,
    /// When.
    pub at: Time,
    /// Until when it might have been sent.
    pub send_by: Time,
    /// Zone, windows and freezes of the schedule, of the phase and of the Environment.
    pub calendars: Vec<(String, Vec<Window>, Vec<FrozenTime>)>,
}

/// A raise that was sent, with what stood before it and beside it then.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// The target.
    pub place: TargetPlace,
    /// The schedule's namespace.
    pub namespace: String,
    /// The phase and the Environment that it was sent for.
    pub step: (String, EnvironmentKey),
    /// The phases of the schedule as people had written them.
    pub phases: Vec<Phase>,
    /// The phases that people had let pass their point of no return.
    pub promoted: Vec<String>,
    /// The latest state of every environment that had a run.
    pub states: BTreeMap<(String, EnvironmentKey), RunState>,
    /// When it was sent.
    pub at: Time,
    /// Until when the step before soaks; nothing for a first step, or where a person cut the soak short.
    pub soaks_until: Option<Time>,
    /// The phases of other schedules that were not complete then, as `NAMESPACE/SCHEDULE/PHASE`; none where the run has raised
    /// its flag before.
    pub open_elsewhere: BTreeSet<String>,
}

/// A law that was broken, and by what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The law's number.
    pub law: u8,
    /// What happened, in a sentence.
    pub what: String,
}

/// Runs every law over what reached the store and the targets of a schedule whose environments follow one another;
/// [`in_calendar`] and [`in_turn`] are about what was sent.
///
/// # Errors
/// The first violation.
pub fn check(trace: &[Trace]) -> Result<(), Violation> {
    check_branching(trace)?;
    in_order(trace)
}

/// The same of a schedule that flips several environments at a time.
///
/// # Errors
/// The first violation.
pub fn check_branching(trace: &[Trace]) -> Result<(), Violation> {
    fenced(trace)?;
    no_resurrection(trace)?;
    one_way(trace)
}

fn broken(law: u8, what: String) -> Result<(), Violation> {
    Err(Violation { law, what })
}

/// Laws 2 and 5: a raise reaches a target only while the stored run says `Flipping` with this very decision; what is put
/// back by plan goes down only after a soak, and never once its run is over: another may have raised it since.
///
/// A run may turn to `RollingBack` while its raise is still on the way: retreat waits for nothing. The raise may then
/// arrive before the lowering does, never after it ([`no_resurrection`]).
///
/// # Errors
/// A raise that no stored state asked for.
pub fn fenced(trace: &[Trace]) -> Result<(), Violation> {
    let mut stored: BTreeMap<&str, (RunState, Option<&str>)> = BTreeMap::new();
    for entry in trace {
        match entry {
            Trace::Stored { run, state, decision, .. } => {
                stored.insert(run, (*state, decision.as_deref()));
            }
            Trace::Written(write) if write.kind == StampKind::Raised => match stored.get(write.run.as_str()) {
                Some((RunState::Flipping | RunState::RollingBack, Some(decision))) if *decision == write.decision => {}
                other => {
                    return broken(
                        2,
                        format!("{} was raised by {} while the store said {other:?}", write.place, write.decision),
                    );
                }
            },
            Trace::Written(write) if write.kind == StampKind::Lowered => {
                let state = stored.get(write.run.as_str()).map(|(state, _)| *state);
                if !matches!(state, Some(RunState::Soaking | RunState::Lowering | RunState::RollingBack)) {
                    return broken(
                        2,
                        format!("{} was put back by {} while the store said {state:?}", write.place, write.decision),
                    );
                }
            }
            Trace::Written(_) => {}
            Trace::Restored => stored.clear(),
        }
    }
    Ok(())
}

/// Law 4: after a closing write no raise reaches that target, except for an epoch that a later `Retry` opened.
///
/// # Errors
/// A raise after a rollback that nobody asked for.
pub fn no_resurrection(trace: &[Trace]) -> Result<(), Violation> {
    let mut closed: BTreeMap<&TargetPlace, Time> = BTreeMap::new();
    let mut opened: BTreeMap<&str, Time> = BTreeMap::new();
    for entry in trace {
        match entry {
            Trace::Stored { run, opened_at: Some(at), .. } => {
                opened.insert(run, *at);
            }
            // What was rolled back stays so, whatever the store says of it now.
            Trace::Stored { .. } | Trace::Restored => {}
            Trace::Written(write) => match (write.kind, closed.get(&write.place)) {
                (StampKind::Closed, _) => {
                    closed.insert(&write.place, write.at);
                }
                (StampKind::Raised, Some(at)) if opened.get(write.run.as_str()).is_none_or(|o| o < at) => {
                    return broken(
                        4,
                        format!("{} was rolled back at {at} and raised again by {}", write.place, write.decision),
                    );
                }
                (StampKind::Raised, Some(_)) => {
                    closed.remove(&write.place);
                }
                _ => {}
            },
        }
    }
    Ok(())
}

/// A closed or finished epoch never moves again, and one that was seen to be up never becomes one that is yet to go up.
///
/// # Errors
/// A run that came back.
pub fn one_way(trace: &[Trace]) -> Result<(), Violation> {
    let mut last: BTreeMap<&str, (RunState, i32)> = BTreeMap::new();
    for entry in trace {
        let Trace::Stored { run, state, step, .. } = entry else {
            if *entry == Trace::Restored {
                last.clear();
            }
            continue;
        };
        let known = last.insert(run, (*state, *step));
        let before = known.map(|(state, _)| state);
        let rises = known.is_some_and(|(before, at)| before == RunState::Soaking && *step == at + 1);
        let back = match before {
            _ if rises && *state == RunState::Flipping => false,
            Some(RunState::RolledBack) => *state != RunState::RolledBack,
            Some(RunState::RollingBack) => !matches!(state, RunState::RollingBack | RunState::RolledBack),
            Some(RunState::Lowering) => {
                !matches!(state, RunState::Lowering | RunState::Finished | RunState::RollingBack | RunState::RolledBack)
            }
            Some(RunState::Finished | RunState::Skipped) => Some(*state) != before,
            Some(RunState::Pending | RunState::Gating | RunState::Completed) if *state == RunState::Lowering => true,
            Some(RunState::Verifying | RunState::Soaking | RunState::Completed) => {
                matches!(state, RunState::Pending | RunState::Gating | RunState::Flipping)
            }
            _ => false,
        };
        if back {
            return broken(4, format!("run {run} was {before:?} and became {state}"));
        }
    }
    Ok(())
}

/// Law 8: an environment is raised only while every environment whose run began before it is complete. What a person has
/// retried does not wait for one that stands at a step.
///
/// # Errors
/// Two environments in work at once, or a raise beyond a rollback.
pub fn in_order(trace: &[Trace]) -> Result<(), Violation> {
    let mut latest: BTreeMap<(&str, &EnvironmentKey), (i64, RunState, bool)> = BTreeMap::new();
    let mut place: BTreeMap<&str, (&str, &EnvironmentKey)> = BTreeMap::new();
    for entry in trace {
        match entry {
            Trace::Stored { run, phase, environment, epoch, state, step, steps, .. } => {
                place.insert(run, (phase, environment));
                // It goes no further before what comes before it is complete again.
                let stands = *state == RunState::Soaking && step < steps;
                let slot = latest.entry((phase, environment)).or_insert((*epoch, *state, stands));
                if *epoch >= slot.0 {
                    *slot = (*epoch, *state, stands);
                }
            }
            Trace::Written(write) if write.kind == StampKind::Raised => {
                let own = place.get(write.run.as_str());
                let other = latest.iter().find(|(key, (_, state, stands))| {
                    Some(*key) != own
                        && !(*stands && write.epoch > 1)
                        && !matches!(
                            state,
                            RunState::Completed | RunState::Finished | RunState::Gating | RunState::Skipped
                        )
                });
                if let Some(((phase, environment), (_, state, _))) = other {
                    return broken(8, format!("{} was raised while {phase} {environment} was {state}", write.place));
                }
            }
            Trace::Written(_) => {}
            Trace::Restored => latest.clear(),
        }
    }
    Ok(())
}

/// Law 8, as people wrote it: a raise is sent when all phases that lead to its own are complete, when no more of its own are
/// on their way than may be, when nothing of the schedule was rolled back, and over a point of no return when a person let
/// it pass.
///
/// # Errors
/// A raise before its turn.
pub fn in_turn(sent: &[Turn]) -> Result<(), Violation> {
    sent.iter().try_for_each(|raise| {
        let back = |state: &RunState| matches!(state, RunState::RollingBack | RunState::RolledBack);
        if let Some((other, state)) = raise.states.iter().find(|(step, state)| **step != raise.step && back(state)) {
            return broken(8, format!("{} was raised while {other:?} was {state}", raise.place));
        }
        if let Some(until) = raise.soaks_until.filter(|until| raise.at < *until) {
            return broken(10, format!("{} was raised to its next step at {}, before {until}", raise.place, raise.at));
        }
        let done = |phase: &str, key: &EnvironmentKey| {
            let state = raise.states.get(&(phase.to_owned(), key.clone()));
            state.is_some_and(|s| s.is_done())
        };
        let Some(own) = raise.phases.iter().position(|p| p.name == raise.step.0) else {
            return broken(8, format!("{} was raised for a phase that is not in the schedule", raise.place));
        };
        let point = raise.phases.get(own).is_some_and(|p| p.point_of_no_return.is_some());
        if point && !raise.promoted.contains(&raise.step.0) {
            return broken(8, format!("{} was raised over a point of no return that nobody let it pass", raise.place));
        }
        for phase in leading_to(&raise.phases, own) {
            let Some(phase) = raise.phases.get(phase) else { continue };
            let named = keys(phase, &raise.namespace);
            if let Some(open) = named.iter().find(|key| !done(&phase.name, key)) {
                return broken(
                    8,
                    format!("{} was raised before {} {} was complete", raise.place, phase.name, open.name),
                );
            }
        }
        beyond(raise, own)?;
        beside(raise, own, done)
    })
}

/// What phases of other schedules must be complete: those that lead to the raise's own.
fn beyond(raise: &Turn, own: usize) -> Result<(), Violation> {
    let led = leading_to(&raise.phases, own).into_iter().chain([own]);
    let names = led.filter_map(|i| raise.phases.get(i)?.after.as_ref()).flatten();
    let full = |name: &String| match name.matches('/').count() {
        0 => None,
        1 => Some(format!("{}/{name}", raise.namespace)),
        _ => Some(name.clone()),
    };
    match names.filter_map(full).find(|name| raise.open_elsewhere.contains(name)) {
        Some(open) => broken(8, format!("{} was raised before {open} was complete", raise.place)),
        None => Ok(()),
    }
}

/// What of the raise's own phase may be on its way beside it.
fn beside(raise: &Turn, own: usize, done: impl Fn(&str, &EnvironmentKey) -> bool) -> Result<(), Violation> {
    let Some(phase) = raise.phases.get(own) else { return Ok(()) };
    let most = usize::try_from(phase.max_parallel).unwrap_or(1);
    let named = keys(phase, &raise.namespace);
    let Some(place) = named.iter().position(|key| key.name == raise.step.1.name) else { return Ok(()) };
    let on_their_way = |key: &&EnvironmentKey| {
        let state = raise.states.get(&(phase.name.clone(), (*key).clone()));
        state.is_some_and(|s| s.is_in_work())
    };
    let others = named.iter().filter(|key| key.name != raise.step.1.name).filter(on_their_way).count();
    if others >= most {
        return broken(8, format!("{} was raised beside {others} others, more than {most}", raise.place));
    }
    let group = place - place % most;
    match named.iter().take(group).find(|key| phase.barrier && !done(&phase.name, key)) {
        Some(open) => broken(8, format!("{} was raised over the barrier before {}", raise.place, open.name)),
        None => Ok(()),
    }
}

/// The Environments of a phase; one without a name where it names none.
fn keys(phase: &Phase, namespace: &str) -> Vec<EnvironmentKey> {
    let key = |namespace: &str, name: &str| EnvironmentKey { namespace: namespace.to_owned(), name: name.to_owned() };
    if phase.environments.is_empty() {
        return vec![key(namespace, "")];
    }
    let own = |e: &EnvironmentRef| if e.namespace.is_empty() { namespace.to_owned() } else { e.namespace.clone() };
    phase.environments.iter().map(|e| key(&own(e), &e.name)).collect()
}

/// Every phase from which a way leads to this one.
fn leading_to(phases: &[Phase], own: usize) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    let mut open = vec![own];
    while let Some(at) = open.pop() {
        let Some(phase) = phases.get(at) else { continue };
        let names = phase.after.as_ref();
        let direct: Vec<usize> = match names {
            Some(names) => {
                (0..phases.len()).filter(|i| phases.get(*i).is_some_and(|p| names.contains(&p.name))).collect()
            }
            None => at.checked_sub(1).into_iter().collect(),
        };
        open.extend(direct.into_iter().filter(|i| found.insert(*i)));
    }
    found
}

/// Law 10: nothing is sent outside windows or in freezes, nor could have been sent there. The readings of the local clock
/// are held against what people wrote, letter by letter.
///
/// # Errors
/// A raise at a time at which nobody wanted one.
pub fn in_calendar(sent: &[Sent]) -> Result<(), Violation> {
    sent.iter().try_for_each(|raise| {
        inside(raise, raise.at)?;
        inside(raise, raise.send_by)
    })
}

fn inside(Sent { place, calendars, .. }: &Sent, at: Time) -> Result<(), Violation> {
    for (zone, windows, freezes) in calendars {
        let Ok(zone) = zone.parse::<chrono_tz::Tz>() else {
            return broken(10, format!("{place} was raised by a calendar in {zone}, which is no zone"));
        };
        let local = at.with_timezone(&zone);
        let (clock, day) = (local.format("%H:%M").to_string(), local.format("%a").to_string());
        let eve = local.date_naive().checked_sub_days(Days::new(1)).map(|d| d.format("%a").to_string());
        let within = |window: &Window| {
            let (from, to) = (window.from.to_string(), window.to.to_string());
            let listed = |day: &str| window.days.iter().any(|d| format!("{d:?}") == day);
            if from < to {
                return listed(&day) && from <= clock && clock < to;
            }
            (listed(&day) && from <= clock) || (eve.as_deref().is_some_and(listed) && clock < to)
        };
        if !windows.is_empty() && !windows.iter().any(within) {
            return broken(10, format!("{place} was raised at {local}, outside every window"));
        }
        if let Some(freeze) = freezes.iter().find(|freeze| freezes_at(freeze, at, &local)) {
            return broken(10, format!("{place} was raised at {local}, in the freeze {}", freeze.name));
        }
    }
    Ok(())
}

fn freezes_at(freeze: &FrozenTime, at: Time, local: &chrono::DateTime<chrono_tz::Tz>) -> bool {
    let (date, day) = (local.format("%Y-%m-%d").to_string(), local.format("%m-%d").to_string());
    if let Some(yearly) = freeze.yearly {
        let (from, to) = (yearly.from.to_string(), yearly.to.to_string());
        return if from <= to { from <= day && day <= to } else { from <= day || day <= to };
    }
    let begun = match freeze.from {
        Some(Moment::At(from)) => from <= at,
        Some(Moment::Day(from)) => from.to_string() <= date,
        None => false,
    };
    let over = match freeze.to {
        Some(Moment::At(to)) => to <= at,
        Some(Moment::Day(to)) => to.to_string() < date,
        None => true,
    };
    begun && !over
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(state: RunState) -> Trace {
        at_step(state, 0)
    }

    fn at_step(state: RunState, step: i32) -> Trace {
        Trace::Stored {
            run: "conduit/repo-eu-1".to_owned(),
            phase: "eu".to_owned(),
            environment: EnvironmentKey { namespace: "conduit".to_owned(), name: "eu".to_owned() },
            epoch: 1,
            opened_at: None,
            state,
            step,
            steps: step,
            decision: None,
        }
    }

    #[test]
    fn a_run_that_is_up_goes_on_or_down_and_only_a_backup_takes_it_back() {
        use RunState::{Completed, Finished, Flipping, Gating, Lowering, RolledBack, RollingBack, Soaking, Verifying};
        let well = [Gating, Flipping, Gating, Flipping, Verifying, Soaking, RollingBack, RolledBack].map(stored);
        assert_eq!(one_way(&well), Ok(()));
        assert!(one_way(&[stored(Soaking), stored(Gating)]).is_err());
        assert!(one_way(&[stored(Verifying), stored(Flipping)]).is_err());
        assert_eq!(one_way(&[stored(Soaking), Trace::Restored, stored(Gating)]), Ok(()));
        assert!(one_way(&[stored(Soaking), stored(Flipping)]).is_err(), "there is no next step");
        let step = |step| [Flipping, Verifying, Soaking].map(|state| at_step(state, step));
        assert_eq!(one_way(&[step(1), step(2)].concat()), Ok(()));
        assert!(one_way(&[step(1), step(3)].concat()).is_err());
        assert!(one_way(&[at_step(Soaking, 2), at_step(Flipping, 2)]).is_err());
        assert_eq!(one_way(&[Soaking, Lowering, Finished].map(stored)), Ok(()));
        assert_eq!(one_way(&[Soaking, Lowering, RollingBack].map(stored)), Ok(()));
        for wrong in [[Lowering, Soaking], [Lowering, Completed], [Completed, Lowering], [Finished, Lowering]] {
            assert!(one_way(&wrong.map(stored)).is_err(), "{wrong:?}");
        }
    }
}
