//! Calendars in sentences.

use std::fmt;

use chrono::TimeDelta;

use super::hours::Hours;
use super::{Calendar, Dated};
use crate::api::{Day, Moment, Time, Window};

impl Calendar {
    /// Why nothing may be raised at a moment, and when that ends; nothing where it may.
    ///
    /// The sentence stays the same until a window or a freeze begins or ends.
    pub fn closed(&self, at: Time) -> Option<(String, Option<Time>)> {
        if self.is_open(at) {
            return None;
        }
        let mut why = Vec::new();
        let mut zone = None;
        for part in &self.parts {
            let frozen = part.frozen(at.timestamp());
            let mut own: Vec<String> = frozen
                .map(|(freeze, end)| {
                    let until = Time::from_timestamp(end, 0).unwrap_or(Time::MAX_UTC);
                    let reason = if freeze.reason.is_empty() { String::new() } else { format!(": {}", freeze.reason) };
                    format!("frozen by {}{} until {}{reason}", freeze.name, part.of(), part.zone.read(until))
                })
                .collect();
            if !part.within_windows(at.timestamp()) {
                own.push(part.outside());
            }
            if !own.is_empty() {
                zone.get_or_insert(part.zone);
            }
            why.extend(own);
        }
        let opens = self.next_open(at);
        let zone = zone.unwrap_or(super::Zone::UTC);
        let next = opens.map_or_else(
            || "never opens within two years; a window or a freeze must be edited".to_owned(),
            |opens| format!("opens {}", zone.read(opens)),
        );
        Some((format!("{}; {next}", why.join("; ")), opens))
    }

    /// Everything that is declared, in words.
    pub(super) fn declared(&self) -> String {
        let parts = self.parts.iter().flat_map(|part| {
            let windows = part.windows.iter().map(|w| format!("{} ({} {})", w.name, Spoken(w), part.zone.name()));
            windows.chain(part.freezes.iter().map(|f| f.name.clone()))
        });
        parts.collect::<Vec<_>>().join(", ")
    }
}

impl Hours {
    fn of(&self) -> String {
        if self.owner.is_empty() { String::new() } else { format!(" {}", self.owner) }
    }

    fn outside(&self) -> String {
        let zone = self.zone.name();
        let windows = self.windows.iter().map(|w| format!("{} ({} {zone})", w.name, Spoken(w)));
        let windows: Vec<String> = windows.collect();
        let word = if windows.len() == 1 { "window" } else { "windows" };
        format!("outside {word} {}{}", windows.join(", "), self.of())
    }
}

/// The days and hours of a window: `Mon-Fri 09:00-17:00`.
pub(super) struct Spoken<'a>(pub &'a Window);

impl fmt::Display for Spoken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}-{}", days(&self.0.days), self.0.from, self.0.to)
    }
}

/// Days in words, with those that follow each other drawn together.
fn days(days: &[Day]) -> String {
    let mut days = days.to_vec();
    days.sort_unstable();
    days.dedup();
    if days.len() == Day::ALL.len() {
        return "every day".to_owned();
    }
    let mut spans: Vec<(Day, Day)> = Vec::new();
    for day in days {
        match spans.last_mut() {
            Some((_, last)) if day.index() == last.index() + 1 => *last = day,
            _ => spans.push((day, day)),
        }
    }
    let words = spans.into_iter().map(|(first, last)| match last.index() - first.index() {
        0 => format!("{first:?}"),
        1 => format!("{first:?}, {last:?}"),
        _ => format!("{first:?}-{last:?}"),
    });
    words.collect::<Vec<_>>().join(", ")
}

/// `2025-05-10 (Europe/Berlin)`, or the moment in the zone and in UTC.
impl fmt::Display for Dated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.written {
            Moment::Day(day) => write!(f, "{day} ({})", self.zone.name()),
            Moment::At(at) => f.write_str(&self.zone.read(at)),
        }
    }
}

/// How long until a moment, in its largest two units: `14h`, `3d 2h`.
pub fn distance(from: Time, to: Time) -> String {
    let seconds = (to - from).max(TimeDelta::zero()).num_seconds();
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (unit, name) in [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")] {
        if rest >= unit {
            parts.push(format!("{}{name}", rest / unit));
            rest %= unit;
        } else if !parts.is_empty() {
            break;
        }
        if parts.len() == 2 {
            break;
        }
    }
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}
