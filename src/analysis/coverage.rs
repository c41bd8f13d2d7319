//! How much of a soak was watched.

use chrono::TimeDelta;

use crate::api::{Duration, Time};

/// A gap longer than this must be followed by as much covered time (law 6).
const LONG_GAP: TimeDelta = TimeDelta::minutes(15);

/// The covered time of one check since the rollout was complete.
#[derive(Clone, Debug, PartialEq)]
pub struct Coverage {
    since: Time,
    covered: TimeDelta,
    /// What long gaps still demand.
    owed: TimeDelta,
    last: Time,
}

impl Coverage {
    /// Nothing covered yet.
    pub fn new(since: Time) -> Self {
        Self { since, covered: TimeDelta::zero(), owed: TimeDelta::zero(), last: since }
    }

    /// Counts a conclusive measurement at `at` that speaks for the time back to `from`.
    pub fn cover(&mut self, from: Time, at: Time) {
        let from = from.max(self.last);
        if at <= from {
            return;
        }
        let gap = from - self.last;
        if gap > LONG_GAP {
            self.owed = self.owed.max(gap);
        }
        self.covered += at - from;
        self.owed = (self.owed - (at - from)).max(TimeDelta::zero());
        self.last = at;
    }

    /// How much is covered.
    pub fn covered(&self) -> Duration {
        Duration::seconds(self.covered.num_seconds())
    }

    /// What is still missing, in a sentence without moving numbers; nothing where the soak is over. `looked` is when
    /// somebody last tried to see: a gap grows when a look finds nothing, not by itself between two looks.
    pub fn missing(&self, soak: Duration, now: Time, looked: Time) -> Option<String> {
        let trailing = looked - self.last;
        let needed = soak.delta() * 95 / 100;
        if now < self.since + soak.delta() {
            Some(format!("soaks until {}", (self.since + soak.delta()).format("%Y-%m-%d %H:%M:%S UTC")))
        } else if self.covered < needed {
            Some(format!("less than 95 % of the soak of {soak} is covered by evidence, so it is extended"))
        } else if self.owed > TimeDelta::zero() || trailing > LONG_GAP {
            Some("a gap of more than 15m in the evidence must be followed by as much covered time".to_owned())
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> Time {
        Time::from_timestamp(minutes * 60, 0).expect("a time")
    }

    #[test]
    fn full_coverage_ends_on_time() {
        let mut coverage = Coverage::new(at(0));
        for minute in 5..=100 {
            coverage.cover(at(minute - 1), at(minute));
        }
        let soak = Duration::seconds(100 * 60);
        assert!(coverage.missing(soak, at(99), at(99)).is_some(), "before its time");
        assert!(coverage.missing(soak, at(100), at(100)).is_none(), "{:?}", coverage.missing(soak, at(100), at(100)));
    }

    #[test]
    fn a_long_gap_demands_as_much_again() {
        let mut coverage = Coverage::new(at(0));
        for minute in (1..=500).chain(521..=1000) {
            coverage.cover(at(minute - 1), at(minute));
        }
        let soak = Duration::seconds(1000 * 60);
        assert!(coverage.missing(soak, at(1000), at(1000)).is_none(), "the gap of 20m was followed by 480m");

        let mut late = Coverage::new(at(0));
        for minute in (1..=970).chain(991..=1000) {
            late.cover(at(minute - 1), at(minute));
        }
        assert_eq!(late.covered(), Duration::seconds(980 * 60));
        assert!(late.missing(soak, at(1000), at(1000)).is_some(), "20m of gap, 10m after it");
        for minute in 1001..=1010 {
            late.cover(at(minute - 1), at(minute));
        }
        assert!(late.missing(soak, at(1010), at(1010)).is_none());
    }

    #[test]
    fn less_than_95_percent_extends_although_no_gap_is_long() {
        let mut coverage = Coverage::new(at(0));
        for minute in (1..=50).chain(57..=100) {
            coverage.cover(at(minute - 1), at(minute));
        }
        let soak = Duration::seconds(6_000);
        assert!(coverage.missing(soak, at(100), at(100)).is_some(), "{:?}", coverage.covered());
        coverage.cover(at(100), at(101));
        assert_eq!(coverage.missing(soak, at(101), at(101)), None);
    }

    #[test]
    fn time_that_nobody_saw_extends() {
        let mut coverage = Coverage::new(at(0));
        for minute in 1..=80 {
            coverage.cover(at(minute - 1), at(minute));
        }
        assert!(coverage.missing(Duration::seconds(6_000), at(100), at(100)).is_some());
    }
}
