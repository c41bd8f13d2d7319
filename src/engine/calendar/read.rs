//! Reading calendars: what is right becomes hours, what is wrong is said with its place.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::NaiveDate;

use super::Calendar;
use super::hours::{DAY, Edge, FrozenHours, Hours, Span};
use super::zone::Zone;
use crate::api::{
    Environment, EnvironmentCalendar, EnvironmentKey, FreezeSpec, FrozenTime, Late, MigrationScheduleSpec, Moment,
    Phase, ScheduleCalendar, Strength, Time, Window,
};
use crate::engine::plan::{Problem, Problems};

/// The calendars of a schedule and its phases, as far as they can be read.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Where dates are read.
    pub zone: Zone,
    /// What becomes of a start that was missed.
    pub late: Late,
    own: Option<Arc<Hours>>,
    phases: Vec<Option<Arc<Hours>>>,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

/// The first moment of what is written.
pub(super) fn beginning(written: Moment, zone: Zone) -> Time {
    match written {
        Moment::At(at) => at,
        Moment::Day(day) => Time::from_timestamp(zone.first_at(midnight(day)), 0).unwrap_or_default(),
    }
}

/// The first moment after what is written.
pub(super) fn ending(written: Moment, zone: Zone) -> Time {
    match written {
        Moment::At(at) => at,
        Moment::Day(day) => Time::from_timestamp(zone.first_at(midnight(day) + DAY), 0).unwrap_or_default(),
    }
}

/// The local reading at the beginning of a day.
fn midnight(day: NaiveDate) -> i64 {
    day.and_hms_opt(0, 0, 0).map_or(0, |t| t.and_utc().timestamp())
}

impl Reading {
    /// Reads the calendars of a spec.
    pub fn of(spec: &MigrationScheduleSpec) -> Self {
        let mut problems = Problems::default();
        let none = ScheduleCalendar {
            time_zone: Zone::UTC.name().to_owned(),
            windows: Vec::new(),
            freezes: Vec::new(),
            late: Late::Proceed,
        };
        let calendar = spec.calendar.as_ref().unwrap_or(&none);
        let zone = zone("spec.calendar.timeZone", &calendar.time_zone, &mut problems);
        if calendar.late == Late::NextWindow && calendar.windows.is_empty() {
            let message = "NextWindow waits for a window to open, and there is none".to_owned();
            problems.add("spec.calendar".to_owned(), message, "give the schedule windows, or write Proceed or Hold");
        }
        let own = hours("spec.calendar", String::new(), zone, &calendar.windows, &calendar.freezes, &mut problems);
        let mut phases = Vec::new();
        for (i, phase) in spec.phases.iter().enumerate() {
            let path = format!("spec.phases[{i}]");
            dates(&path, phase, zone, &mut problems);
            phases.push(phase.calendar.as_ref().and_then(|c| {
                let owner = format!("of phase {}", phase.name);
                hours(&format!("{path}.calendar"), owner, zone, &c.windows, &c.freezes, &mut problems)
            }));
        }
        Self { zone, late: calendar.late, own, phases, problems: problems.0 }
    }

    /// The calendar of an environment of the phase at this place in the schedule.
    ///
    /// # Errors
    /// What is wrong in the Environment, in a sentence.
    pub fn calendar(
        &self,
        phase: usize,
        key: &EnvironmentKey,
        environment: Option<&Environment>,
    ) -> Result<Calendar, String> {
        let mut problems = Problems::default();
        let place = environment.and_then(|e| e.spec.calendar.as_ref());
        let place = place.and_then(|c| environment_hours(&format!("of Environment {key}"), c, &mut problems));
        if let Some(first) = problems.0.first() {
            return Err(format!("the calendar of Environment {key} is invalid: {first}"));
        }
        let phase = self.phases.get(phase).cloned().flatten();
        Ok(Calendar::new([self.own.clone(), phase, place].into_iter().flatten()))
    }
}

/// What is wrong in an Environment's calendar.
pub fn environment_problems(environment: &Environment) -> Vec<Problem> {
    let mut problems = Problems::default();
    if let Some(calendar) = &environment.spec.calendar {
        environment_hours("", calendar, &mut problems);
    }
    problems.0
}

pub(super) fn environment_hours(
    owner: &str,
    calendar: &EnvironmentCalendar,
    problems: &mut Problems,
) -> Option<Arc<Hours>> {
    let zone = zone("spec.calendar.timeZone", &calendar.time_zone, problems);
    hours("spec.calendar", owner.to_owned(), zone, &calendar.windows, &calendar.freezes, problems)
}

fn zone(path: &str, name: &str, problems: &mut Problems) -> Zone {
    Zone::find(name).unwrap_or_else(|(message, hint)| {
        problems.add(path.to_owned(), message, &hint);
        Zone::UTC
    })
}

/// The start and the end of a phase.
fn dates(path: &str, phase: &Phase, zone: Zone, problems: &mut Problems) {
    if let (Some(start), Some(end)) = (phase.start, phase.end)
        && ending(end, zone) <= beginning(start, zone)
    {
        let message = format!("the end {end} is before the start {start}");
        problems.add(format!("{path}.end"), message, "a phase ends after it starts");
    }
}

/// The hours of one owner; nothing where none are declared.
fn hours(
    path: &str,
    owner: String,
    zone: Zone,
    windows: &[Window],
    freezes: &[FrozenTime],
    problems: &mut Problems,
) -> Option<Arc<Hours>> {
    problems.unique(&format!("{path}.windows"), windows.iter().map(|w| w.name.as_str()));
    problems.unique(&format!("{path}.freezes"), freezes.iter().map(|f| f.name.as_str()));
    for (i, window) in windows.iter().enumerate() {
        let path = format!("{path}.windows[{i}]");
        if window.from == window.to {
            let message = format!("a window from {} to {} is never open", window.from, window.to);
            problems.add(path, message, "a whole day is 00:00 to 24:00");
        } else if window.from.minutes() == DAY / 60 {
            let message = "24:00 can only end a window".to_owned();
            problems.add(path, message, "write 00:00 and the following day");
        }
    }
    let frozen = freezes.iter().enumerate().filter_map(|(i, freeze)| {
        let wrong = |(message, hint)| problems.add(format!("{path}.freezes[{i}]"), message, hint);
        let span = span(freeze, zone).map_err(wrong).ok()?;
        Some(FrozenHours { name: freeze.name.clone(), reason: freeze.reason.clone(), span })
    });
    let frozen: Vec<FrozenHours> = frozen.collect();
    let some = !windows.is_empty() || !frozen.is_empty();
    some.then(|| Arc::new(Hours::new(owner, zone, windows, frozen)))
}

fn span(freeze: &FrozenTime, zone: Zone) -> Result<Span, (String, &'static str)> {
    let (from, to) = match (freeze.from, freeze.to, freeze.yearly) {
        (None, None, Some(yearly)) => return Ok(Span::Yearly(yearly.from, yearly.to)),
        (Some(from), Some(to), None) => (from, to),
        (None, None, None) | (Some(_), Some(_), Some(_)) => {
            return Err(("exactly one of yearly, and from with to, is needed".to_owned(), ""));
        }
        _ => return Err(("from and to go together".to_owned(), "a freeze without an end is a suspension")),
    };
    if ending(to, zone) <= beginning(from, zone) {
        return Err((format!("the end {to} is not after the beginning {from}"), "they may have been exchanged"));
    }
    let edge = |moment, after| match moment {
        Moment::At(at) => Edge::At(at.timestamp() + i64::from(after && at.timestamp_subsec_nanos() > 0)),
        Moment::Day(day) => Edge::Local(midnight(day) + if after { DAY } else { 0 }),
    };
    Ok(Span::Once(edge(from, false), edge(to, true)))
}

/// The Freezes of both strengths: those that let no phase begin, and those that let nothing be raised.
///
/// # Errors
/// The first that cannot be read: nobody knows what it would stop.
pub fn freezes(all: &BTreeMap<String, Result<FreezeSpec, String>>) -> Result<(Calendar, Calendar), String> {
    let (mut starts, mut advance) = (Vec::new(), Vec::new());
    for (name, freeze) in all {
        let freeze = freeze.as_ref().map_err(|why| format!("Freeze {name} cannot be read: {why}"))?;
        let mut problems = Problems::default();
        let hours = freeze_hours(name, freeze, &mut problems);
        if let Some(first) = problems.0.first() {
            return Err(format!("Freeze {name} is invalid: {first}"));
        }
        let strength = if freeze.strength == Strength::Start { &mut starts } else { &mut advance };
        strength.extend(hours);
    }
    Ok((Calendar::new(starts), Calendar::new(advance)))
}

/// What is wrong in a Freeze.
pub fn freeze_problems(name: &str, freeze: &FreezeSpec) -> Vec<Problem> {
    let mut problems = Problems::default();
    freeze_hours(name, freeze, &mut problems);
    problems.0
}

fn freeze_hours(name: &str, freeze: &FreezeSpec, problems: &mut Problems) -> Option<Arc<Hours>> {
    let zone = zone("spec.timeZone", &freeze.time_zone, problems);
    let time = freeze.time(name);
    let span = span(&time, zone).map_err(|(message, hint)| problems.add("spec".to_owned(), message, hint)).ok()?;
    let owner = match freeze.strength {
        Strength::Start => "(a Freeze of starts)",
        Strength::Advance => "(a Freeze)",
    };
    let frozen = FrozenHours { name: time.name, reason: time.reason, span };
    Some(Arc::new(Hours::new(owner.to_owned(), zone, &[], vec![frozen])))
}
