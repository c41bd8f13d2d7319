//! What a schedule's status says: for people, and for kstatus, `kubectl wait`, Argo CD and Flux.

use crate::api::{Condition, ConditionStatus, EnvironmentProgress, Gate, MigrationScheduleStatus, RunState, Time};

use super::latest::Latest;
use super::order::Orders;
use super::plan::{EnvironmentPlan, PhasePlan, Plan};
use super::room::shorten;
use super::start::{Begins, begins};
use super::state::{Flip, Run, State, clip, place_label};
use super::view::View;

/// What one condition says.
struct Said {
    status: ConditionStatus,
    reason: &'static str,
    message: String,
}

impl Said {
    fn new(status: ConditionStatus, reason: &'static str, message: impl Into<String>) -> Self {
        Self { status, reason, message: message.into() }
    }

    fn no(reason: &'static str) -> Self {
        Self::new(ConditionStatus::False, reason, "")
    }
}

/// Writes the summary.
///
/// # Source
/// kstatus takes the first of `Stalled` and `Reconciling` that is True, in list order; a Ready that is False is "in
/// progress" to it, never "failed". A migration waits for days, so waiting is Ready, and `Reconciling` is True only
/// while a flag moves.
pub(super) fn report(view: &View, state: &State, orders: &Orders, now: Time) -> MigrationScheduleStatus {
    let latest = view.plan.as_ref().ok().map(|plan| (&**plan, Latest::of(plan, state)));
    let current = current(latest.as_ref(), state);
    let mut environments = progress(latest.as_ref(), &current);
    let current: Vec<&Run> = current.into_iter().map(|(run, _)| run).collect();
    fit(&mut environments);
    let complete = environments.iter().filter(|e| matches!(e.state, RunState::Completed | RunState::Finished)).count();
    let left_out = environments.iter().filter(|e| e.state == RunState::Skipped).count();
    let all = view.plan.is_ok() && !environments.is_empty() && complete + left_out == environments.len();
    let completed = all && environments.iter().all(|e| e.state != RunState::Completed);
    let mut summary = MigrationScheduleStatus {
        observed_generation: view.generation,
        conditions: Vec::new(),
        progress: format!("{complete}/{}", environments.len()),
        pauses: orders.pauses.clone(),
        promotions: orders.promotions.clone(),
        overrides: orders.overrides.clone(),
        pending_actions: current.iter().filter_map(|run| run.pending.clone()).collect(),
        environments,
    };
    let stalled = stalled(view, &current);
    let moving = moving(&current);
    let ready = match &stalled {
        Some(said) => Said::new(ConditionStatus::False, said.reason, said.message.clone()),
        None => ready(view, state, &current, moving.as_ref(), completed, &summary),
    };
    let ready = Said { message: ready.message + &overdue(view, &summary, now), ..ready };
    let done = if completed {
        Said::new(ConditionStatus::True, "Completed", "every environment is complete")
    } else if all {
        Said::new(ConditionStatus::False, "Watching", "every environment is complete and still watched")
    } else {
        Said::new(ConditionStatus::False, "InProgress", format!("{} environments are complete", summary.progress))
    };
    for (type_, said) in [
        ("Stalled", stalled.unwrap_or_else(|| Said::no("NotStalled"))),
        ("Reconciling", moving.unwrap_or_else(|| Said::no("NotReconciling"))),
        ("Ready", ready),
        ("Completed", done),
    ] {
        summary.conditions.push(condition(&view.status, view.generation, type_, &said, now));
    }
    summary
}

/// What is said of a schedule whose pass panicked: nothing but that, beside what was said before.
pub fn bug(before: &MigrationScheduleStatus, generation: i64, now: Time) -> MigrationScheduleStatus {
    const TOLD: &str = "a pass over this schedule panicked, which is a bug of Hoist's: nothing advances, and nothing is \
                        watched. Put its flags back by hand where in doubt; the log has what to report";
    let stalled = Said::new(ConditionStatus::True, "Bug", TOLD);
    let ready = Said::new(ConditionStatus::False, "Bug", TOLD);
    let mut status = before.clone();
    for (type_, said) in [("Stalled", stalled), ("Reconciling", Said::no("Bug")), ("Ready", ready)] {
        let told = condition(before, generation, type_, &said, now);
        match status.conditions.iter_mut().find(|c| c.type_ == type_) {
            Some(old) => *old = told,
            None => status.conditions.push(told),
        }
    }
    status
}

fn condition(before: &MigrationScheduleStatus, generation: i64, type_: &str, said: &Said, now: Time) -> Condition {
    let before = before.conditions.iter().find(|c| c.type_ == type_ && c.status == said.status);
    Condition {
        type_: type_.to_owned(),
        status: said.status,
        reason: said.reason.to_owned(),
        message: clip(&said.message),
        last_transition_time: before.map_or(now, |c| c.last_transition_time),
        observed_generation: generation,
    }
}

/// How many bytes a few environments may take together, and each of many.
const ROOM: (usize, usize) = (10 * 1024, 320);

/// What an environment takes beside its names and its message.
const FRAME: usize = 170;

/// Shortens messages where there are many environments, so that the status stays small: etcd and every watcher pay for
/// it at each change. The runs have the whole sentences.
fn fit(environments: &mut [EnvironmentProgress]) {
    let room = (ROOM.0 / environments.len().max(1)).max(ROOM.1);
    for e in environments {
        let names = e.phase.len() + e.namespace.len() + e.environment.len();
        let left = room.saturating_sub(FRAME + names).max(40);
        shorten(&mut e.message, left);
    }
}

/// The latest run of each step of the plan; where there is no plan, the runs themselves.
fn progress(latest: Option<&(&Plan, Latest<'_>)>, current: &[(&Run, bool)]) -> Vec<EnvironmentProgress> {
    let line = |run: &Run| EnvironmentProgress {
        phase: run.spec.phase.clone(),
        namespace: run.spec.environment.namespace.clone(),
        environment: run.spec.environment.name.clone(),
        state: run.stage.state(),
        epoch: run.spec.epoch,
        percent: run.stage.raised().filter(|flip| !flip.armed.steps.is_empty()).map(Flip::percent),
        since: Some(run.since),
        message: run.message.clone(),
    };
    let mut all = Vec::new();
    if let Some((plan, latest)) = latest {
        for place in plan.places() {
            let Some((phase, environment)) = plan.step(place) else { continue };
            all.push(latest.run(place).map_or_else(|| pending(plan, latest, phase, environment), line));
        }
    }
    all.extend(current.iter().filter(|(_, planned)| !planned).map(|(run, _)| line(run)));
    all
}

/// A step whose turn has not come.
fn pending(plan: &Plan, latest: &Latest<'_>, phase: &PhasePlan, environment: &EnvironmentPlan) -> EnvironmentProgress {
    let dated = phase.start.map(|start| format!("starts {} {start} at the earliest", start.preposition()));
    let counted = phase.start_after.map(|_| match begins(plan, latest, phase) {
        Begins::At(at) => format!("starts {} at the earliest", plan.zone.read(at)),
        Begins::Unknown(why) => why,
        Begins::Anytime => String::new(),
    });
    EnvironmentProgress {
        phase: phase.name.clone(),
        namespace: environment.key.namespace.clone(),
        environment: environment.key.name.clone(),
        state: RunState::Pending,
        epoch: 0,
        percent: None,
        since: None,
        message: counted.or(dated).unwrap_or_default(),
    }
}

/// Which phases were meant to be complete by now and are not, as the end of a sentence.
fn overdue(view: &View, summary: &MigrationScheduleStatus, now: Time) -> String {
    let phases = view.plan.iter().flat_map(|plan| &plan.phases);
    let late = phases.filter_map(|phase| {
        let end = phase.end.filter(|end| end.at <= now)?;
        let open = summary.environments.iter().any(|e| e.phase == phase.name && !e.state.is_done());
        open.then(|| format!("; phase {} was to be complete by {end}", phase.name))
    });
    late.collect()
}

/// Why nothing can continue without a correction by a person.
fn stalled(view: &View, current: &[&Run]) -> Option<Said> {
    let yes = |reason, message: String| Some(Said::new(ConditionStatus::True, reason, message));
    if let Err(problems) = &view.plan {
        let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
        return yes("InvalidSpec", all.join("; "));
    }
    if let Some(why) = view.unreadable.first() {
        return yes("UnreadableRun", why.clone());
    }
    for run in current {
        match (run.stage.state(), &run.held) {
            (RunState::RolledBack, _) => {
                return yes("RolledBack", format!("{} was rolled back: {}", run.label(), cause(run)));
            }
            (_, Some(held)) => return yes("Held", format!("{} is held: {}", run.label(), held.message)),
            _ => {}
        }
        if let Some(wait) = run.waits.iter().find(|w| w.gate == Gate::Claim) {
            return yes("TargetClaimed", format!("{}: {}", run.label(), wait.message));
        }
    }
    None
}

fn cause(run: &Run) -> &str {
    run.stage.rollback().map_or("", |r| r.reason.as_str())
}

/// The runs that still say something about the schedule: those of the latest epoch that are either in the plan or raised.
/// With each, whether it is in the plan.
fn current<'a>(latest: Option<&(&Plan, Latest<'a>)>, state: &'a State) -> Vec<(&'a Run, bool)> {
    let Some((_, latest)) = latest else { return state.newest().into_iter().map(|run| (run, false)).collect() };
    let is_newest = state.is_newest();
    latest.all().filter(|(run, planned)| is_newest(run) && (*planned || run.stage.flip().is_some())).collect()
}

fn moving(current: &[&Run]) -> Option<Said> {
    current.iter().find_map(|run| {
        let (reason, message) = match run.stage.state() {
            RunState::Flipping => ("Flipping", format!("the flag of {} is being raised", run.label())),
            RunState::Lowering => ("Lowering", format!("the flag of {} goes back as planned", run.label())),
            RunState::RollingBack => ("RollingBack", format!("the flag of {} goes back: {}", run.label(), cause(run))),
            _ => return None,
        };
        Some(Said::new(ConditionStatus::True, reason, message))
    })
}

fn ready(
    view: &View,
    state: &State,
    current: &[&Run],
    moving: Option<&Said>,
    completed: bool,
    summary: &MigrationScheduleStatus,
) -> Said {
    if completed {
        return Said::new(ConditionStatus::True, "Completed", "every environment is complete");
    }
    if let Some(said) = moving {
        let status = if said.reason == "RollingBack" { ConditionStatus::False } else { ConditionStatus::Unknown };
        return Said::new(status, said.reason, said.message.clone());
    }
    if view.deleting {
        return Said::new(ConditionStatus::False, "Deleting", "the schedule is being deleted");
    }
    for run in current.iter().filter(|r| !r.stage.state().is_over()) {
        let doubtful = |gate| matches!(gate, Gate::Environment | Gate::Target | Gate::Workload | Gate::Evidence);
        if let Some(wait) = run.waits.iter().find(|w| doubtful(w.gate)) {
            return Said::new(ConditionStatus::Unknown, "Waiting", format!("{} waits: {}", run.label(), wait.message));
        }
        if let Some(wait) = run.waits.first() {
            let reason = match wait.gate {
                Gate::Pause => "Paused",
                Gate::Suspend => "Suspended",
                Gate::Soak => "Soaking",
                Gate::Calendar => "Calendar",
                _ => "Waiting",
            };
            return Said::new(ConditionStatus::True, reason, format!("{}: {}", run.label(), wait.message));
        }
        if run.stage.state() != RunState::Completed {
            return Said::new(ConditionStatus::True, "OnPlan", format!("{} is {}", run.label(), run.stage.state()));
        }
    }
    let next = summary.environments.iter().find(|e| e.state == RunState::Pending);
    let message = next.map_or_else(
        || watched(view, state),
        |e| {
            let parts = [format!("{} is next", place_label(&e.phase, &e.environment)), e.message.clone()];
            parts.into_iter().filter(|s| !s.is_empty()).collect::<Vec<_>>().join("; ")
        },
    );
    Said::new(ConditionStatus::True, "Scheduled", message)
}

/// What is said where every environment is complete and the schedule is not.
fn watched(view: &View, state: &State) -> String {
    let plan = view.plan.as_ref().ok();
    let until = plan.and_then(|plan| Some((plan.zone, Latest::of(plan, state).watched_until(plan)?)));
    until.map_or_else(
        || "on plan".to_owned(),
        |(zone, until)| format!("every environment is complete; watched until {}", zone.read(until)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, message: String) -> EnvironmentProgress {
        EnvironmentProgress {
            phase: name.to_owned(),
            namespace: name.to_owned(),
            environment: name.to_owned(),
            state: RunState::RollingBack,
            epoch: 1_000,
            percent: None,
            since: Some(Time::UNIX_EPOCH),
            message,
        }
    }

    fn status(environments: usize, name: usize) -> usize {
        let mut all: Vec<_> = (0..environments).map(|i| entry(&format!("{i:0>name$}"), "…".repeat(1_000))).collect();
        fit(&mut all);
        let clear = |e: &EnvironmentProgress| e.message.ends_with('…') && e.message.len() > 30;
        assert!(all.iter().all(clear), "something is left of every message");
        let said = Said::new(ConditionStatus::False, "Held", "…".repeat(1_000));
        let before = MigrationScheduleStatus::default();
        let conditions = ["Stalled", "Ready"].map(|type_| condition(&before, 1, type_, &said, Time::UNIX_EPOCH));
        let status = MigrationScheduleStatus { conditions: conditions.to_vec(), environments: all, ..before };
        serde_json::to_string(&status).expect("JSON").len()
    }

    #[test]
    fn a_status_stays_small_whatever_is_said() {
        for (environments, name, most) in [(1, 12, 16), (32, 12, 16), (32, 20, 16), (256, 12, 96), (256, 20, 96)] {
            let size = status(environments, name);
            assert!(size <= most * 1024, "{environments} environments with names of {name}: {size} bytes");
        }
    }

    #[test]
    fn few_environments_say_all() {
        let mut one = [entry("eu", "x".repeat(1_000))];
        fit(&mut one);
        assert_eq!(one[0].message.len(), 1_000);
    }
}
