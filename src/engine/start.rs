//! When a flip may begin: the calendar, and what becomes of a start that was missed.

use chrono::TimeDelta;

use crate::api::{HeldReason, Late, OverriddenWait, PhaseMark, Time};

use super::calendar::Calendar;
use super::latest::Latest;
use super::plan::{EnvironmentPlan, PhasePlan, Plan};
use super::state::{Run, State};
use super::view::View;

/// A flip that was not begun this soon after its start was missed.
pub const IN_TIME: TimeDelta = TimeDelta::minutes(15);

/// How far ahead edges of a calendar are looked for; a pass comes sooner than this anyway.
const AHEAD: TimeDelta = TimeDelta::hours(1);

/// When a phase may begin by its own dates.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Begins {
    /// It has no start.
    Anytime,
    /// At this moment at the earliest.
    At(Time),
    /// That is counted from what has not happened yet; in a sentence.
    Unknown(String),
}

/// Reads the start of a phase, and counts the one that is counted from another phase.
pub(super) fn begins(plan: &Plan, latest: &Latest<'_>, phase: &PhasePlan) -> Begins {
    let dated = phase.start.map(|start| start.at);
    let Some((from, of, delay)) = phase.start_after else { return dated.map_or(Begins::Anytime, Begins::At) };
    let Some(mark) = latest.mark(plan, from, of) else {
        let name = plan.phases.get(from).map_or("", |p| p.name.as_str());
        let what = match of {
            PhaseMark::Start => "begun",
            PhaseMark::Completion => "complete",
        };
        return Begins::Unknown(format!("starts {delay} after phase {name} is {what}"));
    };
    Begins::At(dated.into_iter().chain([mark + delay.delta()]).max().unwrap_or(mark))
}

/// Whether a flip may begin now, as far as time is concerned.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Timing {
    /// Why it may not, in a sentence.
    pub wait: Option<String>,
    /// When that ends by itself.
    pub until: Option<Time>,
    /// What a person must settle.
    pub held: Option<(HeldReason, String)>,
    /// When something of this changes next, if that is soon.
    pub next: Option<Time>,
}

/// Looks at the calendar of a run and at the start of its phase.
pub(super) fn timing(view: &View, state: &State, run: &Run, now: Time) -> Timing {
    let Some((phase, step)) = view.step_of(run) else { return Timing::default() };
    if let Some(until) = view.overridden_wait(run, OverriddenWait::Calendar, now) {
        return Timing { next: Some(until), ..Timing::default() };
    }
    let calendar = match &step.calendar {
        Ok(calendar) => calendar,
        Err(why) => return Timing { wait: Some(why.clone()), ..Timing::default() },
    };
    let own = begun(state, phase);
    let frozen = view.plan.as_ref().ok().filter(|_| !own).and_then(|plan| calendar.and(Ok(&plan.starts)).ok());
    let calendar = frozen.as_ref().unwrap_or(calendar);
    let mut timing = Timing { next: calendar.edge(now, now + AHEAD), ..Timing::default() };
    if let Some((why, opens)) = calendar.closed(now) {
        timing.wait = Some(why);
        timing.until = opens;
    }
    let Ok(plan) = &view.plan else { return timing };
    match begins(plan, &Latest::of(plan, state), phase) {
        // A Retry is a person's word that it may begin now; so it is where the phase was begun before it was given a date.
        _ if run.spec.opened_by.is_some() || own => {}
        Begins::Anytime => {}
        Begins::Unknown(why) => timing.wait = Some(format!("phase {} {why}", phase.name)),
        Begins::At(start) if now < start => {
            timing.wait = Some(format!("phase {} starts {}", phase.name, plan.zone.read(start)));
            timing.until = calendar.next_open(start);
            timing.next = timing.next.into_iter().chain([start]).min();
        }
        // A Promote that came after the start is a person's word that it may begin now.
        Begins::At(start) if view.promoted(phase, run).is_some_and(|at| at >= start) => {}
        Begins::At(start) => missed(plan, run, (phase, step), start, calendar, now, &mut timing),
    }
    timing
}

/// Whether any environment of a phase was begun: then the others follow in their order.
fn begun(state: &State, phase: &PhasePlan) -> bool {
    let of_phase = |other: &Run| other.spec.phase == phase.name;
    state.runs.values().any(|r| of_phase(r) && (r.stage.flip().is_some() || r.attempts > 0))
}

/// The first moment from now on, and before the limit, at which a run must not be raised any more.
pub(super) fn closes(view: &View, state: &State, run: &Run, now: Time, limit: Time) -> Option<Time> {
    if let Some(until) = view.overridden_wait(run, OverriddenWait::Calendar, now) {
        return Some(until).filter(|until| *until < limit);
    }
    let (phase, step) = view.step_of(run)?;
    let starts =
        view.plan.as_ref().ok().filter(|_| !begun(state, phase)).and_then(|plan| plan.starts.closes(now, limit));
    step.calendar.as_ref().ok()?.closes(now, limit).into_iter().chain(starts).min()
}

/// What becomes of a start that was missed.
fn missed(
    plan: &Plan,
    run: &Run,
    (phase, step): (&PhasePlan, &EnvironmentPlan),
    start: Time,
    calendar: &Calendar,
    now: Time,
    timing: &mut Timing,
) {
    if plan.late == Late::Proceed {
        return;
    }
    let Some(opened) = calendar.next_open(start) else { return };
    let over = opened + IN_TIME;
    if now < over {
        timing.next = timing.next.into_iter().chain([over]).min();
        return;
    }
    let was = format!("the start of phase {}, {}, was missed", phase.name, plan.zone.read(opened));
    if plan.late == Late::Hold {
        let message = format!(
            "{was}, and calendar.late is Hold: order a Retry of this run to raise {} now, or give the phase another start",
            step.key
        );
        timing.held = Some((HeldReason::StartMissed, message));
        return;
    }
    if timing.wait.is_some() {
        return;
    }
    // Looked for from the second before, at which an opening in this very second is still closed.
    let since = (now - IN_TIME).max(run.since) - TimeDelta::seconds(1);
    if let Some(opened) = calendar.opened_after(since, now) {
        timing.next = timing.next.into_iter().chain([opened + IN_TIME]).min();
        return;
    }
    let closes = calendar.closes(now, now + super::calendar::HORIZON);
    timing.until = closes.and_then(|closes| calendar.next_open(closes));
    let next = timing.until.map_or_else(
        || "no window opens again within two years".to_owned(),
        |at| format!("the next window opens {}", plan.zone.read(at)),
    );
    timing.wait = Some(format!("{was}, and calendar.late is NextWindow; {next}"));
}
