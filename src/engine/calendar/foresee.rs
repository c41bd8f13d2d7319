//! What can be known of calendars ahead of time, for whoever looks at files: what will never open, and what is probably not
//! what was meant.

use std::collections::BTreeSet;

use super::hours::DAY;
use super::zone::Zone;
use super::{Calendar, Dated, HORIZON, Reading};
use crate::api::{Day, Environment, MigrationScheduleSpec, Moment, Time, Window};
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
    for (i, phase) in plan.phases.iter().enumerate() {
        course(&format!("spec.phases[{i}]"), phase, &mut problems);
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

/// What dates of a phase come to where everything goes well.
fn course(path: &str, phase: &PhasePlan, problems: &mut Problems) {
    let Some(start) = phase.start else { return };
    let mut at = start.at;
    for (i, environment) in phase.environments.iter().enumerate() {
        let Ok(calendar) = &environment.calendar else { return };
        let Some(opens) = calendar.next_open(at) else { return };
        if i == 0 && is_day(start) && opens >= Dated::end(start.written, start.zone).at {
            let message = format!("nothing may be raised on {start}; it starts {}", start.zone.read(opens));
            problems.add(format!("{path}.start"), message, "a date means the first open moment of that day");
        }
        at = opens + phase.soak.delta();
    }
    if let Some(end) = phase.end.filter(|end| end.at < at) {
        let message = format!(
            "the phase cannot be complete by {end}: with its soaks it takes until {} at least",
            end.zone.read(at)
        );
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
