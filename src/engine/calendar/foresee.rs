//! What can be known of calendars ahead of time, for whoever looks at files: what will never open, and what is probably not
//! what was meant.

use std::collections::BTreeSet;

use super::hours::DAY;
use super::zone::Zone;
use super::{Calendar, Dated, HORIZON, Reading};
use crate::api::{Day, Environment, MigrationScheduleSpec, Moment, PhaseKind, PhaseMark, Time, Window};
use crate::engine::plan::{PhasePlan, Plan, Problem, Problems};

/// Where nothing can be raised within two years, at the place where it is best mended.
pub fn never_open(spec: &MigrationScheduleSpec, plan: &Plan, now: Time) -> Vec<Problem> {
    let mut problems = Problems::default();
    let reading = Reading::of(spec);
    let mut told = BTreeSet::new();
    for (i, phase) in plan.phases.iter().enumerate() {
        let from = phase.start.map_or(now, |start| start.at.max(now));
        for (j, environment) in phase.environments.iter().enumerate() {
            let Ok(calendar) = &environment.calendar else { continue };
            if calendar.next_open(from).is_some() {
                continue;
            }
            // What the schedule does by itself is not the Environment's doing.
            let closed = |i| reading.calendar(i, &environment.key, None).is_ok_and(|c| c.next_open(from).is_none());
            let path = if closed(usize::MAX) {
                "spec.calendar".to_owned()
            } else if closed(i) {
                format!("spec.phases[{i}].calendar")
            } else {
                format!("spec.phases[{i}].environments[{j}]")
            };
            if told.insert(path.clone()) {
                let message = format!(
                    "nothing can ever be raised in Environment {}, for these together leave no moment open: {}",
                    environment.key,
                    calendar.declared()
                );
                problems.add(path, message, "windows and freezes of schedule, phase and Environment must all agree");
            }
        }
    }
    problems.0
}

impl Calendar {
    /// The freezes that hold at a moment, each with its end.
    pub fn freezes(&self, at: Time) -> Vec<(String, Time)> {
        let frozen = self.parts.iter().flat_map(|part| part.frozen(at.timestamp()));
        frozen
            .map(|(freeze, end)| (freeze.name.clone(), Time::from_timestamp(end, 0).unwrap_or(Time::MAX_UTC)))
            .collect()
    }
}

/// What works, and is probably not what was meant.
pub fn warnings(spec: &MigrationScheduleSpec, plan: &Plan, now: Time) -> Vec<Problem> {
    let mut problems = Problems::default();
    let zone = Reading::of(spec).zone;
    if let Some(calendar) = &spec.calendar {
        clocks("spec.calendar", zone, &calendar.windows, now, &mut problems);
    }
    for (i, phase) in spec.phases.iter().enumerate() {
        if let Some(calendar) = &phase.calendar {
            clocks(&format!("spec.phases[{i}].calendar"), zone, &calendar.windows, now, &mut problems);
        }
    }
    let courses = courses(plan);
    for (i, phase) in plan.phases.iter().enumerate() {
        if let Some(own) = courses.get(i).copied().flatten() {
            dates(&format!("spec.phases[{i}]"), plan, phase, &courses, own, &mut problems);
        }
    }
    problems.0
}

/// The same of an Environment.
pub fn environment_warnings(environment: &Environment, now: Time) -> Vec<Problem> {
    let mut problems = Problems::default();
    if let Some(calendar) = &environment.spec.calendar
        && let Ok(zone) = Zone::find(&calendar.time_zone)
    {
        clocks("spec.calendar", zone, &calendar.windows, now, &mut problems);
    }
    problems.0
}

/// What a phase comes to where everything goes well.
#[derive(Clone, Copy)]
struct Course {
    /// When its first flip is sent.
    opens: Time,
    /// When the last of its soaks is over.
    ends: Time,
}

/// The courses of all phases whose dates are known, each after those before it.
fn courses(plan: &Plan) -> Vec<Option<Course>> {
    let mut order: Vec<(usize, &PhasePlan)> = plan.phases.iter().enumerate().collect();
    // What comes before a phase has fewer phases before it.
    order.sort_by_key(|(_, phase)| phase.before.len());
    let mut courses: Vec<Option<Course>> = vec![None; plan.phases.len()];
    for (i, phase) in order {
        let known = |i: &usize| courses.get(*i).copied().flatten();
        let before = phase.before.iter().filter_map(|b| Some(known(b)?.ends));
        let counted = phase.start_after.and_then(|(of, mark, delay)| {
            let course = known(&of)?;
            let from = if mark == PhaseMark::Start { course.opens } else { course.ends };
            Some(from + delay.delta())
        });
        let begins = before.chain(counted).chain(phase.start.map(|start| start.at)).max();
        let course = begins.and_then(|begins| course(phase, begins));
        if let Some(slot) = courses.get_mut(i) {
            *slot = course;
        }
    }
    courses
}

/// The course of a phase that may begin at a moment.
fn course(phase: &PhasePlan, begins: Time) -> Option<Course> {
    let mut opens = None;
    let mut ends: Vec<Time> = Vec::new();
    for (i, environment) in phase.environments.iter().enumerate() {
        let most = phase.max_parallel;
        let free = if phase.barrier {
            ends.iter().take(i - i % most).max().copied()
        } else {
            let mut latest: Vec<Time> = ends.clone();
            latest.sort_unstable();
            i.checked_sub(most).and_then(|over| latest.get(over).copied())
        };
        let calendar = environment.calendar.as_ref().ok()?;
        let mut end = calendar.next_open(free.unwrap_or(begins).max(begins))?;
        opens = opens.or(Some(end));
        let mut rolled_out = end;
        for soak in phase.soaks() {
            let at = calendar.next_open(end)?;
            rolled_out = at;
            let seen = super::covered_at(&soak.covers, environment.zone, at);
            end = seen.map_or(at, |(_, seen)| seen).max(at + soak.duration.delta());
        }
        ends.push(phase.lower_after.map_or(end, |after| end.max(rolled_out + after.delta())));
    }
    Some(Course { opens: opens?, ends: ends.into_iter().max()? })
}

/// What the dates of a phase come to, beside what was meant.
fn dates(path: &str, plan: &Plan, phase: &PhasePlan, courses: &[Option<Course>], own: Course, problems: &mut Problems) {
    let Some(start) = phase.start else { return ends(path, phase, own, problems) };
    let first = phase.environments.first().and_then(|e| e.calendar.as_ref().ok()?.next_open(start.at));
    if let Some(opens) = first.filter(|opens| is_day(start) && *opens >= Dated::end(start.written, start.zone).at) {
        let message = format!("nothing may be raised on {start}; it starts {}", start.zone.read(opens));
        problems.add(format!("{path}.start"), message, "a date means the first open moment of that day");
    }
    let known = |b: &usize| Some((plan.phases.get(*b)?, courses.get(*b).copied().flatten()?.ends));
    let last = phase.before.iter().filter_map(known).max_by_key(|(_, ends)| *ends);
    let date = if is_day(start) { Dated::end(start.written, start.zone).at } else { start.at };
    if let Some((before, ends)) = last.filter(|(_, ends)| *ends > date) {
        let (name, until) = (&before.name, start.zone.read(ends));
        let message = format!("phase {name}, which comes before, takes until {until} at least, soaks included");
        problems.add(
            format!("{path}.start"),
            message,
            "it starts then; give it a later start, or the other a shorter soak",
        );
    }
    ends(path, phase, own, problems);
}

fn ends(path: &str, phase: &PhasePlan, own: Course, problems: &mut Problems) {
    if let Some(end) = phase.end.filter(|end| end.at < own.ends) {
        let takes = if phase.kind == PhaseKind::Flip { "with its soaks it takes" } else { "it takes" };
        let message =
            format!("the phase cannot be complete by {end}: {takes} until {} at least", end.zone.read(own.ends));
        problems.add(format!("{path}.end"), message, "the end is only said, nothing comes of it");
    }
}

fn is_day(dated: Dated) -> bool {
    matches!(dated.written, Moment::Day(_))
}

/// Times of windows that the clocks of their zone leave out or repeat within two years.
fn clocks(path: &str, zone: Zone, windows: &[Window], now: Time, problems: &mut Problems) {
    let mut told = BTreeSet::new();
    let (mut at, end) = (now.timestamp(), (now + HORIZON).timestamp());
    while at < end {
        let (before, until) = zone.stretch(at);
        let after = zone.stretch(until).0;
        at = until;
        for (i, window) in windows.iter().enumerate() {
            for (field, clock) in [("from", window.from), ("to", window.to)] {
                let next_day = field == "to" && window.to < window.from;
                let edges = (until + before.min(after), until + before.max(after));
                let first = edges.0.div_euclid(DAY);
                let inside = [first, first + 1].iter().any(|day| {
                    let local = day * DAY + clock.minutes() * 60;
                    // The first moment of 1970 was a Thursday's.
                    let weekday = (day - i64::from(next_day) + 3).rem_euclid(7);
                    let listed = window.days.iter().any(|d: &Day| d.index() as i64 == weekday);
                    let exact = after > before && field == "from" && local == edges.0;
                    listed && (exact || edges.0 < local) && local < edges.1
                });
                if inside && told.insert((i, field, after > before)) {
                    let message = if after > before {
                        format!("when the clocks of {} go forward, {clock} does not exist", zone.name())
                    } else {
                        format!("when the clocks of {} go back, {clock} comes twice", zone.name())
                    };
                    let hint =
                        if after > before { "the window is shorter then" } else { "the window is open twice then" };
                    problems.add(format!("{path}.windows[{i}].{field}"), message, hint);
                }
            }
        }
    }
}
