//! What must hold before a flip. Gates are independent; all of them are looked at in every pass.

use crate::analysis::{CheckLedger, Judged, Outcome, judge};
use crate::api::{ArmedTarget, CheckOutcome, Gate, HeldReason, Mode, PauseStatus, PhaseKind, RunState, Time};

use super::elsewhere;
use super::flip::again_at;
use super::history;
use super::latest::Latest;
use super::order::WENT_BACK;
use super::plan::FlipPlan;
use super::probe::{FoundWorkload, Observations, WorkloadKey, WorkloadReading};
use super::quiet;
use super::start::{Timing, timing};
use super::state::{Run, Stage, State, place_label};
use super::target::{FoundTarget, StampKind, TargetPlan, TargetReading};
use super::view::{View, pause_of};

/// What the gates of one run come to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Gates {
    /// What is missing, in sentences.
    pub waits: Vec<(Gate, String)>,
    /// What a person must settle.
    pub held: Option<(HeldReason, String)>,
    /// The checks that do not pass: name, outcome, sentence.
    pub checks: Vec<(String, CheckOutcome, String)>,
    /// The targets as they would be armed, with the version that was read.
    pub targets: Vec<(ArmedTarget, String)>,
    /// Whether others set `enabled` on every target.
    pub raised_by_others: bool,
    /// When the calendar opens, and when it must be looked at again.
    pub timing: Timing,
}

impl Gates {
    /// Whether nothing stands against the flip.
    pub fn open(&self) -> bool {
        self.waits.is_empty() && self.held.is_none()
    }

    /// Holds a raise against the calendar.
    fn time(&mut self, timing: Timing) {
        if let Some(why) = &timing.wait {
            self.wait(Gate::Calendar, why);
        }
        self.held = self.held.take().or_else(|| timing.held.clone());
        self.timing = timing;
    }

    fn wait(&mut self, gate: Gate, message: impl Into<String>) {
        self.waits.push((gate, message.into()));
    }
}

/// Looks at every gate of a run.
pub(super) fn gates(
    view: &View,
    pauses: &[PauseStatus],
    state: &State,
    run: &Run,
    seen: &Observations,
    now: Time,
) -> Gates {
    let mut gates = Gates::default();
    people(view, pauses, run, &mut gates);
    predecessors(view, state, run, &mut gates);
    promotion(view, run, &mut gates);
    let again = again_at(run, run.since);
    if now < again {
        let at = again.format("%Y-%m-%d %H:%M:%S UTC");
        gates.wait(Gate::Target, format!("the flip was sent {} times and did not arrive; again at {at}", run.attempts));
    }
    let Some((phase, step)) = view.step_of(run) else { return gates };
    let flips = phase.kind == PhaseKind::Flip;
    if let Some(other) = view.neighbours.busy.get(&step.key).filter(|_| flips) {
        gates.wait(Gate::Turn, format!("another flip is in work in Environment {}: {other}", step.key));
    }
    match &step.flip {
        Err(why) => gates.wait(Gate::Environment, why),
        Ok(flip) => {
            for target in &flip.targets {
                if let Some(other) = view.neighbours.claimed.get(&target.place) {
                    gates.wait(Gate::Claim, format!("{} is claimed by schedule {other}", target.place));
                }
            }
            flip_gates(view, run, flip, seen, now, &mut gates);
            for why in history::missing(view, state, run, now) {
                gates.wait(Gate::Evidence, why);
            }
            if let Some(why) = quiet::missing(view, state, run, now) {
                gates.wait(Gate::Quiet, why);
            }
            let here = |o: &&Run| o.environment() == run.environment() && o.stage.raised().is_some();
            let mut holders = others(state, run).filter(here).filter(|o| view.step_of(o).is_some());
            if let Some(holder) = flips.then(|| holders.next()).flatten() {
                gates.wait(Gate::Claim, format!("the flag is up here by {}, a phase of this schedule", holder.label()));
            }
            if gates.waits.iter().any(|(gate, _)| *gate == Gate::Claim) {
                // What stands on the target is the claimant's business; nobody must be asked to undo it.
                gates.held = None;
            }
        }
    }
    // What others raised is watched; nothing is sent for it in `Observe`.
    if view.mode() != Some(Mode::Observe) || !gates.raised_by_others {
        gates.time(timing(view, state, run, now));
    }
    if flips && view.mode() == Some(Mode::Observe) && !gates.raised_by_others && gates.open() {
        let message =
            "mode is Observe: every gate is open and Hoist would raise the flag now; it watches until others do";
        gates.wait(Gate::Mode, message);
    }
    gates
}

/// What must hold before anything more of a flip that arrived in part is sent: people want it, the calendar is open, and
/// nothing that was raised before went wrong since.
pub(super) fn rest_gates(view: &View, pauses: &[PauseStatus], state: &State, run: &Run, now: Time) -> Gates {
    let mut gates = Gates::default();
    people(view, pauses, run, &mut gates);
    for other in others(state, run).filter(|o| o.stage.rollback().is_some()) {
        gates.wait(Gate::Predecessor, format!("waits for {}, which is {}", other.label(), other.stage.state()));
    }
    if view.mode() == Some(Mode::Observe) {
        gates.wait(Gate::Mode, "mode is Observe: nothing is written");
    }
    gates.time(timing(view, state, run, now));
    gates
}

/// What must hold before more users are reached: the same, and all that came before is complete again, where a person has it
/// retried.
pub(super) fn rise_gates(view: &View, pauses: &[PauseStatus], state: &State, run: &Run, now: Time) -> Gates {
    let mut gates = rest_gates(view, pauses, state, run, now);
    let Some((plan, own)) = view.plan.as_ref().ok().and_then(|plan| Some((plan, plan.place_of(&run.spec)?))) else {
        return gates;
    };
    for other in others(state, run).filter(|o| !o.stage.is_done() && o.stage.rollback().is_none()) {
        if plan.place_of(&other.spec).is_some_and(|place| plan.precedes(place, own)) {
            gates.wait(Gate::Predecessor, format!("waits for {}, which is {}", other.label(), other.stage.state()));
        }
    }
    gates
}

/// What keeps a soak from ending though its evidence is complete: people, or an Environment that no longer has the
/// flag. A phase that was taken out of the schedule soaks to its end.
pub(super) fn end_gates(view: &View, pauses: &[PauseStatus], run: &Run) -> Vec<(Gate, String)> {
    let mut gates = Gates::default();
    people(view, pauses, run, &mut gates);
    let step = view.step_of(run).map(|(_, step)| step);
    if step.is_none() && view.plan.is_ok() {
        gates.waits.retain(|(gate, _)| *gate != Gate::Spec);
    }
    if let Some(Err(why)) = step.map(|s| &s.flip) {
        gates.wait(Gate::Environment, why);
    }
    gates.waits
}

fn people(view: &View, pauses: &[PauseStatus], run: &Run, gates: &mut Gates) {
    if let Err(problems) = &view.plan {
        let first = problems.first().map(ToString::to_string).unwrap_or_default();
        let more = match problems.len() {
            0 | 1 => String::new(),
            n => format!(" (and {} more)", n - 1),
        };
        gates.wait(Gate::Spec, format!("the schedule is invalid: {first}{more}"));
    }
    for why in &view.unreadable {
        gates.wait(Gate::Spec, why.clone());
    }
    if let Some(pause) = pause_of(pauses, run) {
        let by = match pause.intervention.as_str() {
            WENT_BACK => "Hoist".to_owned(),
            name => format!("Intervention {name}"),
        };
        gates.wait(Gate::Pause, format!("paused by {by}: {}", pause.reason));
    }
    if view.policy.is_some_and(|p| p.suspend) {
        gates.wait(Gate::Suspend, "the schedule is suspended (spec.suspend)");
    }
    match view.step_of(run) {
        None if view.plan.is_ok() => {
            gates.wait(Gate::Spec, format!("{} is no longer part of the schedule", run.label()));
        }
        Some((_, step)) if step.suspended => {
            gates.wait(Gate::Suspend, format!("Environment {} is suspended by its owner", step.key));
        }
        _ => {}
    }
}

/// What must be complete before a run is begun, and is not; and every rollback, which stops the whole schedule (law 8).
fn predecessors(view: &View, state: &State, run: &Run, gates: &mut Gates) {
    let Ok(plan) = &view.plan else { return };
    let latest = Latest::of(plan, state);
    let own = plan.place_of(&run.spec);
    let missing = own.map(|own| latest.missing_before(plan, own)).unwrap_or_default();
    for other in others(state, run) {
        let place = plan.place_of(&other.spec);
        let before = match (place, own) {
            // One that is retried waits also for what came after it and is in work; but not for one that soaks at a step,
            // which goes no further before this is complete again.
            (Some(place), Some(own)) => {
                let stands = matches!(&other.stage, Stage::Soaking(flip, _) if flip.next_percent().is_some());
                let follows = plan.precedes(own, place) && other.stage.state().is_in_work() && !stands;
                missing.contains(&place) || plan.precedes(place, own) || follows
            }
            // What left the plan stands in nobody's way, unless it is raised.
            (None, _) => other.stage.flip().is_some(),
            (Some(_), None) => true,
        };
        let why = match (other.stage.state(), &other.held) {
            (state @ (RunState::RolledBack | RunState::RollingBack), _) => format!("is {state}"),
            _ if !before => continue,
            (RunState::Completed, None) => match view.step_of(other).map(|(_, step)| &step.flip) {
                Some(Err(why)) if other.stage.raised().is_some() => format!("is raised, but {why}"),
                _ => continue,
            },
            (RunState::Finished | RunState::Skipped, _) => continue,
            (_, Some(held)) => format!("is held: {}", held.message),
            (state, None) => format!("is {state}"),
        };
        gates.wait(Gate::Predecessor, format!("waits for {}, which {why}", other.label()));
    }
    for place in missing.into_iter().filter(|place| latest.run(*place).is_none()) {
        let Some((phase, environment)) = plan.step(place) else { continue };
        let label = place_label(&phase.name, &environment.key.name);
        gates.wait(Gate::Predecessor, format!("waits for {label}, which is not begun"));
    }
    for why in elsewhere::missing(view, run) {
        gates.wait(Gate::Predecessor, why);
    }
}

/// Whether a person has let the phase pass its point of no return, for this epoch.
fn promotion(view: &View, run: &Run, gates: &mut Gates) {
    let Some((phase, _)) = view.step_of(run) else { return };
    let Some(point) = &phase.point_of_no_return else { return };
    if view.promoted(phase, run).is_some() {
        return;
    }
    let when = point.after.map_or_else(|| "from there on".to_owned(), |after| format!("{after} after its beginning"));
    let name = &phase.name;
    let message = format!(
        "phase {name} is a point of no return: {when} nothing is rolled back by itself; order a Promote of {name}"
    );
    gates.wait(Gate::Promotion, message);
}

/// The latest runs of the other environments.
fn others<'a>(state: &'a State, run: &'a Run) -> impl Iterator<Item = &'a Run> {
    state.newest().into_iter().filter(move |o| o.name != run.name)
}

/// Whether no later epoch of the same environment and phase exists.
pub(super) fn is_latest(state: &State, run: &Run) -> bool {
    !state.runs.values().any(|o| {
        o.spec.phase == run.spec.phase && o.spec.environment == run.spec.environment && o.spec.epoch > run.spec.epoch
    })
}

fn flip_gates(view: &View, run: &Run, flip: &FlipPlan, seen: &Observations, now: Time, gates: &mut Gates) {
    let mut up = 0;
    for target in &flip.targets {
        match seen.targets.get(&target.place) {
            None => gates.wait(Gate::Target, format!("{} is not read yet", target.place)),
            Some(Err(why)) => gates.wait(Gate::Target, format!("{} cannot be read: {why}", target.place)),
            Some(Ok(TargetReading::Missing)) => {
                gates.wait(Gate::Target, format!("{} does not exist; create it, Hoist never does", target.place));
            }
            Some(Ok(TargetReading::Found(found))) => up += usize::from(target_gate(view, run, target, found, gates)),
        }
        for workload in &target.workloads {
            let key = WorkloadKey::beside(&target.place, workload);
            workload_gate(&key, seen, gates);
        }
    }
    gates.raised_by_others = up > 0 && up == flip.targets.len();
    let scrape = flip.prometheus.as_ref().map(|p| p.scrape_interval).unwrap_or_default();
    for (check, threshold) in flip.checks.iter().filter_map(|c| Some((c, c.threshold.as_ref()?))) {
        let measured = seen.measured(&run.name, &check.name);
        let max_age = CheckLedger::max_age(scrape);
        let judged = match measured {
            None => None,
            Some(m) => m.answers.last().filter(|a| a.at <= now).map(|a| judge(threshold, a, max_age)).or_else(|| {
                let (error, why) = m.failed.clone()?;
                Some(Judged::failed(error, why))
            }),
        };
        if view.counts(run, check, now) {
            evidence_gate(&check.name, judged, gates);
        }
    }
}

fn evidence_gate(check: &str, judged: Option<Judged>, gates: &mut Gates) {
    let Some(judged) = judged else {
        return gates.wait(Gate::Evidence, format!("check {check} is not answered yet"));
    };
    let (outcome, word) = match judged.outcome {
        Outcome::Pass => return,
        Outcome::Breach => (CheckOutcome::Breach, "breaches before the flip"),
        Outcome::Inconclusive(_) => (CheckOutcome::Inconclusive, "is inconclusive"),
        Outcome::Error(_) => (CheckOutcome::Error, "has no usable answer"),
    };
    gates.wait(Gate::Evidence, format!("check {check} {word}: {}", judged.sentence));
    gates.checks.push((check.to_owned(), outcome, judged.sentence));
}

/// Looks at one target; says whether others raised it already.
fn target_gate(view: &View, run: &Run, target: &TargetPlan, found: &FoundTarget, gates: &mut Gates) -> bool {
    let place = &target.place;
    if found.deleting {
        gates.wait(Gate::Target, format!("{place} is being deleted"));
        return false;
    }
    let value = match (&found.value, &found.barred) {
        (Ok(value), None) => value,
        (Err(why), _) | (Ok(_), Some(why)) => {
            gates.wait(Gate::Target, format!("{place}: {why}"));
            return false;
        }
    };
    let other = || {
        found.owner.as_ref().map_or_else(|| "somebody whom managedFields do not name".to_owned(), ToString::to_string)
    };
    let raised = *value == target.values.enabled;
    let reopened = |since: Time| run.spec.opened_by.as_ref().is_some_and(|o| o.at >= since);
    let taken_over = run.takes_over(value, found.owner.as_ref());
    if raised && !taken_over && view.mode() == Some(Mode::Act) {
        let message = format!(
            "{place} is enabled already ({value}), set by {}; set it to {} to release this run, or order a Retry to take it over as it is",
            other(),
            target.values.disabled
        );
        gates.held = Some((HeldReason::RaisedBefore, message));
        return true;
    }
    if !raised && *value != target.values.disabled {
        let message = format!(
            "{place} reads {value}, set by {}, which is neither of the flag's values; set it to {}",
            other(),
            target.values.disabled
        );
        gates.wait(Gate::Target, message);
        return false;
    }
    if let Some(stamp) = found.stamp.as_ref().filter(|s| !raised && s.kind == StampKind::Closed && !reopened(s.at)) {
        let message = format!(
            "{place} was rolled back at {} by run {}: {}; order a Retry of this run to raise it again",
            stamp.at.format("%Y-%m-%d %H:%M:%S UTC"),
            stamp.run,
            stamp.why.as_deref().unwrap_or("no reason kept"),
        );
        gates.held = Some((HeldReason::PreviouslyRolledBack, message));
    }
    let manager = found.owner.as_ref().map(|o| o.manager.clone());
    let armed = target.arm(found.uid.clone(), manager.filter(|m| *m != format!("hoist/{}", target.flag)));
    gates.targets.push((armed, found.resource_version.clone()));
    raised
}

fn workload_gate(key: &WorkloadKey, seen: &Observations, gates: &mut Gates) {
    let message = match seen.workloads.get(key) {
        None => "is not read yet".to_owned(),
        Some(Err(why)) => format!("cannot be read: {why}"),
        Some(Ok(WorkloadReading::Missing)) => "does not exist".to_owned(),
        Some(Ok(WorkloadReading::Found(found))) => match unfit(found) {
            None => return,
            Some(why) => why,
        },
    };
    let message = format!("{key} {message}");
    if !gates.waits.iter().any(|(_, m)| *m == message) {
        gates.wait(Gate::Workload, message);
    }
}

fn unfit(found: &FoundWorkload) -> Option<String> {
    if let Some(why) = &found.blocked {
        Some(why.clone())
    } else if let Some(pod) = found.crashing.first() {
        Some(format!("is not healthy: {pod}"))
    } else if !found.complete {
        Some(format!("is not rolled out: {} of {} pods are up to date and ready", found.ready, found.desired))
    } else {
        None
    }
}

impl std::fmt::Display for WorkloadKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {}/{}", self.workload.kind, self.namespace, self.workload.name)
    }
}
