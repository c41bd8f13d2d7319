//! Kinds of time that a soak must have seen: a weekend, a night.

use std::sync::Arc;

use chrono::TimeDelta;

use super::hours::Hours;
use super::{Calendar, Zone};
use crate::api::{Clock, Cover, Day, Time, Window};

/// How much of a kind of time a soak must have seen.
const LEAST: TimeDelta = TimeDelta::hours(6);

/// When a soak that began at a moment has seen what it must: the kind that is seen last, and when.
pub fn covered_at(covers: &[Cover], zone: Zone, from: Time) -> Option<(Cover, Time)> {
    covers.iter().map(|cover| (*cover, seen_at(*cover, zone, from))).max_by_key(|(_, at)| *at)
}

fn seen_at(cover: Cover, zone: Zone, from: Time) -> Time {
    let calendar = Calendar::new([Arc::new(Hours::new(String::new(), zone, &[window(cover)], Vec::new()))]);
    let (mut at, mut left) = (from, LEAST);
    // A week has six hours of each; were it otherwise, the soak would end with its duration.
    while let Some(open) = calendar.next_open(at) {
        let end = calendar.closes(open, open + TimeDelta::days(8)).unwrap_or(open + TimeDelta::days(8));
        if end - open >= left {
            return open + left;
        }
        left -= end - open;
        at = end;
    }
    from
}

fn window(cover: Cover) -> Window {
    let (days, from, to) = match cover {
        Cover::Weekday => (0..5, "00:00", "24:00"),
        Cover::Weekend => (5..7, "00:00", "24:00"),
        Cover::BusinessHours => (0..5, "09:00", "17:00"),
        Cover::Night => (0..7, "22:00", "06:00"),
    };
    let clock = |text| Clock::parse(text).unwrap_or_default();
    let days = Day::ALL.into_iter().filter(|d| days.contains(&d.index())).collect();
    Window { name: format!("{cover:?}"), days, from: clock(from), to: clock(to) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_soak_has_seen_a_weekend_once_six_hours_of_it_are_over() {
        let at = |text: &str| text.parse::<Time>().expect("a time");
        let berlin = Zone::find("Europe/Berlin").expect("a zone");
        let seen = |cover, from| covered_at(&[cover], berlin, at(from)).map(|(_, at)| at);
        // A Thursday in May: Saturday begins at 22:00 UTC on Friday.
        assert_eq!(seen(Cover::Weekend, "2025-05-15T10:00:00Z"), Some(at("2025-05-17T04:00:00Z")));
        assert_eq!(seen(Cover::Weekend, "2025-05-18T20:00:00Z"), Some(at("2025-05-24T02:00:00Z")));
        assert_eq!(seen(Cover::BusinessHours, "2025-05-15T13:00:00Z"), Some(at("2025-05-16T11:00:00Z")));
        assert_eq!(seen(Cover::Night, "2025-05-15T22:00:00Z"), Some(at("2025-05-16T04:00:00Z")));
        // In the night in which the clocks go forward there is an hour less.
        assert_eq!(seen(Cover::Night, "2025-03-29T23:00:00Z"), Some(at("2025-03-30T21:00:00Z")));
        let both = covered_at(&[Cover::Weekday, Cover::Weekend], berlin, at("2025-05-15T10:00:00Z"));
        assert_eq!(both, Some((Cover::Weekend, at("2025-05-17T04:00:00Z"))));
        assert_eq!(covered_at(&[], berlin, at("2025-05-15T10:00:00Z")), None);
    }
}
