//! When something may be raised: the windows and freezes of the schedule, of the phase and of the Environment together.
//!
//! May not: read a clock. A calendar is a set of moments; whether one is in it follows from the local readings alone
//! (law 10). It gates raises and nothing else.

mod cover;
mod foresee;
mod hours;
mod read;
mod words;
mod zone;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use chrono::TimeDelta;

use crate::api::{Moment, Time};

pub use cover::covered_at;
pub use foresee::{environment_warnings, never_open, warnings};
pub use hours::Hours;
pub use read::{Reading, environment_problems, freeze_problems, freezes};
pub use words::distance;
pub use zone::Zone;

/// A calendar that is closed for longer than this never opens.
pub const HORIZON: TimeDelta = TimeDelta::days(2 * 365 + 1);

/// The hours of all owners that must be open at the same time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calendar {
    parts: Vec<Arc<Hours>>,
}

impl Calendar {
    /// The intersection of these hours.
    pub fn new(parts: impl IntoIterator<Item = Arc<Hours>>) -> Self {
        Self { parts: parts.into_iter().collect() }
    }

    /// This and another together.
    ///
    /// # Errors
    /// What is wrong with the other.
    pub fn and(&self, other: Result<&Self, &String>) -> Result<Self, String> {
        let other = other.map_err(Clone::clone)?;
        Ok(Self { parts: self.parts.iter().chain(&other.parts).cloned().collect() })
    }

    /// Whether any window is declared.
    pub fn has_windows(&self) -> bool {
        self.parts.iter().any(|part| !part.windows.is_empty())
    }

    /// Whether something may be raised at a moment.
    pub fn is_open(&self, at: Time) -> bool {
        let at = at.timestamp();
        self.parts.iter().all(|part| part.next_open(at, at).is_some())
    }

    /// The first open moment at or after this one, where there is one within two years.
    pub fn next_open(&self, from: Time) -> Option<Time> {
        let (start, horizon) = (from.timestamp(), (from + HORIZON).timestamp());
        let mut at = start;
        loop {
            let before = at;
            for part in &self.parts {
                at = part.next_open(at, horizon)?;
            }
            if at == before {
                // A moment within an open second is open itself.
                return if at == start { Some(from) } else { Time::from_timestamp(at, 0) };
            }
        }
    }

    /// The first moment at or after this one, and before the limit, at which nothing may be raised.
    pub fn closes(&self, from: Time, limit: Time) -> Option<Time> {
        let (from, limit) = (from.timestamp(), limit.timestamp());
        let first = self.parts.iter().filter_map(|part| part.closes(from, limit)).min()?;
        Time::from_timestamp(first, 0)
    }

    /// The first moment after this one, and not after the limit, at which a window or a freeze begins or ends.
    pub fn edge(&self, from: Time, limit: Time) -> Option<Time> {
        let (from, limit) = (from.timestamp(), limit.timestamp());
        let first = self.parts.iter().filter_map(|part| part.edge(from, limit)).min()?;
        Time::from_timestamp(first, 0)
    }

    /// When the calendar last began to be open, where that was after `since` and it has been open from then on.
    pub fn opened_after(&self, since: Time, now: Time) -> Option<Time> {
        let mut opened = None;
        let mut at = since;
        while let Some(closed) = self.closes(at, now + TimeDelta::seconds(1)) {
            at = self.next_open(closed).filter(|open| *open <= now)?;
            opened = Some(at);
        }
        opened
    }
}

/// A start or an end as it was written, and the moment that it means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dated {
    /// As it was written.
    pub written: Moment,
    /// Where it is read.
    pub zone: Zone,
    /// The moment: for a start the beginning of its day, for an end the first moment after its day.
    pub at: Time,
}

impl Dated {
    /// The beginning of what is written.
    pub fn start(written: Moment, zone: Zone) -> Self {
        Self { written, zone, at: read::beginning(written, zone) }
    }

    /// The word that goes before it in a sentence.
    pub fn preposition(&self) -> &'static str {
        if matches!(self.written, Moment::Day(_)) { "on" } else { "at" }
    }

    /// The end of what is written.
    pub fn end(written: Moment, zone: Zone) -> Self {
        Self { written, zone, at: read::ending(written, zone) }
    }
}
