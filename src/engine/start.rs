//! When a flip may begin: the calendar, and what becomes of a start that was missed.

use chrono::TimeDelta;

use crate::api::{HeldReason, Late, Time};

use super::calendar::Calendar;
use super::plan::{EnvironmentPlan, PhasePlan};
use super::state::{Run, State};
use super::view::View;

/// A flip that was not begun this soon after its start was missed.
const IN_TIME: TimeDelta = TimeDelta::minutes(15);

/// How far ahead edges of a calendar are looked for; a pass comes sooner than this anyway.
const AHEAD: TimeDelta = TimeDelta::hours(1);

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
    let calendar = match &step.calendar {
        Ok(calendar) => calendar,
        Err(why) => return Timing { wait: Some(why.clone()), ..Timing::default() },
    };
    let mut timing = Timing { next: calendar.edge(now, now + AHEAD), ..Timing::default() };
    if let Some((why, opens)) = calendar.closed(now) {
        timing.wait = Some(why);
        timing.until = opens;
    }
    missed(view, state, run, (phase, step), calendar, now, &mut timing);
    timing
}

/// The calendar of a run as it is now, where there is one that can be read.
pub(super) fn calendar_of<'a>(view: &'a View, run: &Run) -> Option<&'a Calendar> {
    view.step_of(run)?.1.calendar.as_ref().ok()
}

/// What becomes of a start that was missed. A start is that of the phase: once any of its environments was begun, the
/// others follow in their order.
fn missed(
    view: &View,
    state: &State,
    run: &Run,
    (phase, step): (&PhasePlan, &EnvironmentPlan),
    calendar: &Calendar,
    now: Time,
    timing: &mut Timing,
) {
    let late = view.plan.as_ref().map_or(Late::Proceed, |plan| plan.late);
    let (Some(start), false) = (phase.start, late == Late::Proceed) else { return };
    let of_phase = |other: &Run| other.spec.phase == phase.name;
    let begun = state.runs.values().any(|r| of_phase(r) && (r.stage.flip().is_some() || r.attempts > 0));
    // A Retry is a person's word that it may begin now.
    if begun || run.spec.opened_by.is_some() {
        return;
    }
    let Some(opened) = calendar.next_open(start.at) else { return };
    let over = opened + IN_TIME;
    if now < over {
        timing.next = timing.next.into_iter().chain([over]).min();
        return;
    }
    let was = format!("the start of phase {}, {}, was missed", phase.name, start.zone.read(opened));
    if late == Late::Hold {
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
        |at| format!("the next window opens {}", start.zone.read(at)),
    );
    timing.wait = Some(format!("{was}, and calendar.late is NextWindow; {next}"));
}
