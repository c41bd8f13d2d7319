//! The hours of one owner: a schedule, a phase, or an Environment.
//!
//! Everything is looked at on the local reading. Between two changes of the clocks the local reading runs as fast as UTC
//! does, so a search goes from stretch to stretch, and within a stretch from edge to edge.

use chrono::{DateTime, Datelike, NaiveDate};

use super::zone::Zone;
use crate::api::{Window, YearDay};

/// Seconds of a day.
pub(super) const DAY: i64 = 86_400;

/// Seconds of a week.
const WEEK: i64 = 7 * DAY;

/// The windows and freezes of one owner, in one zone.
#[derive(Clone, Debug, PartialEq)]
pub struct Hours {
    /// Whose they are, as a sentence goes on: `of Environment conduit/eu`; empty for the schedule.
    pub(super) owner: String,
    /// Where they are read.
    pub(super) zone: Zone,
    /// The windows, as they were written.
    pub(super) windows: Vec<Window>,
    /// When they are open, in seconds of the week from Monday on: in order, apart, and beyond the week's end where the
    /// last goes on into the next week. Empty where there are none.
    open: Vec<(i64, i64)>,
    /// The freezes.
    pub(super) freezes: Vec<FrozenHours>,
}

/// A freeze.
#[derive(Clone, Debug, PartialEq)]
pub struct FrozenHours {
    /// Its name.
    pub(super) name: String,
    /// Why.
    pub(super) reason: String,
    /// When.
    pub(super) span: Span,
}

/// When a freeze holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Span {
    /// Once, from one edge to another.
    Once(Edge, Edge),
    /// Every year from one day to another, both included.
    Yearly(YearDay, YearDay),
}

/// An edge of a freeze, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edge {
    /// A moment.
    At(i64),
    /// A local reading.
    Local(i64),
}

impl Edge {
    fn local(self, ahead: i64) -> i64 {
        match self {
            Self::At(at) => at + ahead,
            Self::Local(local) => local,
        }
    }
}

/// How the hours stand at a local reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// Whether they are open.
    pub open: bool,
    /// Since which reading a freeze closes them.
    frozen_since: Option<i64>,
    /// Up to which reading nothing changes.
    pub until: i64,
}

impl Span {
    /// The first range of local readings that ends after this one.
    pub(super) fn next(self, local: i64, ahead: i64) -> Option<(i64, i64)> {
        match self {
            Self::Once(from, to) => {
                let range = (from.local(ahead), to.local(ahead));
                (range.1 > local && range.0 < range.1).then_some(range)
            }
            Self::Yearly(from, to) => {
                let year = DateTime::from_timestamp(local, 0)?.year();
                // Between two leap days lie eight years at most.
                (year - 1..=year + 8).filter_map(|y| of_year(y, from, to)).find(|(_, end)| *end > local)
            }
        }
    }
}

/// The occurrence of a yearly freeze that begins in a year, in local readings.
fn of_year(year: i32, from: YearDay, to: YearDay) -> Option<(i64, i64)> {
    // A day that the year lacks is the 29th of February; the day after it is the first of March in any year.
    let day = |year, d: YearDay| {
        NaiveDate::from_ymd_opt(year, d.month, d.day).or_else(|| NaiveDate::from_ymd_opt(year, 3, 1))
    };
    let after = |year, d: YearDay| match (d.month, d.day) {
        (2, 29) => NaiveDate::from_ymd_opt(year, 3, 1),
        _ => day(year, d)?.succ_opt(),
    };
    let seconds = |date: NaiveDate| date.and_hms_opt(0, 0, 0).map(|t| t.and_utc().timestamp());
    let from_second = seconds(day(year, from)?)?;
    let to_second = seconds(after(if to < from { year + 1 } else { year }, to)?)?;
    (from_second < to_second).then_some((from_second, to_second))
}

impl Hours {
    pub(super) fn new(owner: String, zone: Zone, windows: &[Window], freezes: Vec<FrozenHours>) -> Self {
        Self { owner, zone, windows: windows.to_vec(), open: week(windows), freezes }
    }

    /// How the hours stand at a local reading, in a stretch in which the clocks are so far ahead.
    pub(super) fn standing(&self, local: i64, ahead: i64) -> Standing {
        let mut until = i64::MAX;
        for freeze in &self.freezes {
            match freeze.span.next(local, ahead) {
                Some((from, to)) if from <= local => {
                    return Standing { open: false, frozen_since: Some(from), until: to };
                }
                Some((from, _)) => until = until.min(from),
                None => {}
            }
        }
        let (open, edge) = self.window(local);
        Standing { open, frozen_since: None, until: if open { until.min(edge) } else { edge } }
    }

    /// Whether a window is open at a local reading, and at which reading that changes.
    pub(super) fn window(&self, local: i64) -> (bool, i64) {
        if self.open.is_empty() {
            return (true, i64::MAX);
        }
        // The first day of 1970 was a Thursday.
        let second = (local + 3 * DAY).rem_euclid(WEEK);
        let monday = local - second;
        // What began last week and goes on is the last one, a week earlier.
        let carried = self.open.last().map(|(from, to)| (from - WEEK, to - WEEK));
        for (from, to) in carried.into_iter().chain(self.open.iter().copied()) {
            if second < from {
                return (false, monday + from);
            }
            if second < to {
                return (true, if to - from >= WEEK { i64::MAX } else { monday + to });
            }
        }
        (false, self.open.first().map_or(i64::MAX, |(from, _)| monday + WEEK + from))
    }

    /// The first open moment at or after this one, and not after the horizon.
    pub(super) fn next_open(&self, from: i64, horizon: i64) -> Option<i64> {
        let mut at = from;
        while at <= horizon {
            let (ahead, until) = self.zone.stretch(at);
            let local = at + ahead;
            let now = self.standing(local, ahead);
            if now.open {
                return Some(at);
            }
            let next = now.until.saturating_sub(ahead);
            at = if next < until {
                next
            } else {
                // Deep within a freeze no change of the clocks leads out of it, so it need not be walked through.
                let deep = now.frozen_since.is_some_and(|since| local - since > 2 * DAY);
                until.max(if deep { next - 2 * DAY } else { until })
            };
        }
        None
    }

    /// The first moment at or after this one, and before the limit, at which the hours are not open.
    pub(super) fn closes(&self, from: i64, limit: i64) -> Option<i64> {
        let mut at = from;
        while at < limit {
            let (ahead, until) = self.zone.stretch(at);
            let now = self.standing(at + ahead, ahead);
            if !now.open {
                return Some(at);
            }
            at = until.min(now.until.saturating_sub(ahead));
        }
        None
    }

    /// The first moment after this one, and not after the limit, at which a window or a freeze begins or ends.
    pub(super) fn edge(&self, from: i64, limit: i64) -> Option<i64> {
        let mut at = from;
        while at < limit {
            let (ahead, until) = self.zone.stretch(at);
            let local = at + ahead;
            let frozen = self.freezes.iter().filter_map(|f| f.span.next(local, ahead));
            let edges = frozen.map(|(from, to)| if from > local { from } else { to });
            let edge = edges.chain([self.window(local).1]).min().unwrap_or(i64::MAX).saturating_sub(ahead);
            let changed = self.zone.stretch(until).0 != ahead;
            if edge <= until || changed {
                return Some(edge.min(until)).filter(|found| *found <= limit);
            }
            at = until;
        }
        None
    }

    /// The freezes that hold at a moment, each with the moment at which it ends.
    pub(super) fn frozen(&self, at: i64) -> impl Iterator<Item = (&FrozenHours, i64)> {
        let (ahead, _) = self.zone.stretch(at);
        let local = at + ahead;
        self.freezes.iter().filter_map(move |freeze| {
            let (from, to) = freeze.span.next(local, ahead)?;
            let end = match freeze.span {
                Span::Once(_, Edge::At(end)) => end,
                _ => self.zone.first_at(to),
            };
            (from <= local).then_some((freeze, end))
        })
    }

    /// Whether a window is open at a moment, freezes or not.
    pub(super) fn within_windows(&self, at: i64) -> bool {
        self.window(at + self.zone.stretch(at).0).0
    }
}

/// The union of windows over a week, in order and apart.
fn week(windows: &[Window]) -> Vec<(i64, i64)> {
    let mut all: Vec<(i64, i64)> = Vec::new();
    for window in windows {
        let (from, to) = (window.from.minutes() * 60, window.to.minutes() * 60);
        let to = if to < from { to + DAY } else { to };
        all.extend(window.days.iter().map(|day| {
            let midnight = day.index() as i64 * DAY;
            (midnight + from, midnight + to)
        }));
    }
    all.sort_unstable();
    let mut apart: Vec<(i64, i64)> = Vec::new();
    for (from, to) in all {
        match apart.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => apart.push((from, to)),
        }
    }
    // What goes on into Monday joins what begins there.
    if let (Some((first, end)), Some((_, last))) = (apart.first().copied(), apart.last_mut())
        && *last >= WEEK + first
    {
        *last = (*last).max(WEEK + end);
        if apart.len() > 1 {
            apart.remove(0);
        }
    }
    apart
}
