//! Calendars against an independent reference, and in words.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::read::environment_hours;
use super::{Calendar, Dated, Zone, distance};
use crate::api::{EnvironmentCalendar, Moment, PlaceKind, TargetPlace, Time};
use crate::engine::laws::{Sent, in_calendar};
use crate::engine::plan::Problems;

/// What Python's zoneinfo makes of windows and freezes around changes of the clocks; `reference/make.py` wrote it.
const REFERENCE: &str = include_str!("reference/cases.csv");

fn moment(text: &str) -> Time {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

#[expect(clippy::needless_pass_by_value, reason = "it is called with what was just written")]
fn hours(zone: &str, windows: Value, freezes: Value) -> Calendar {
    let calendar = json!({ "timeZone": zone, "windows": windows, "freezes": freezes });
    let calendar: EnvironmentCalendar = serde_json::from_value(calendar).expect("a calendar");
    let mut problems = Problems::default();
    let hours = environment_hours("", &calendar, &mut problems);
    assert_eq!(problems.0, Vec::new());
    Calendar::new(hours)
}

fn window(name: &str, days: &[&str], from: &str, to: &str) -> Value {
    json!({ "name": name, "days": days, "from": from, "to": to })
}

/// The calendars of the reference.
fn declared(name: &str) -> (Value, Value) {
    let every = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    let yearly = |from: &str, to: &str| json!({ "name": from, "yearly": { "from": from, "to": to } });
    let once = |from: &str, to: &str| json!({ "name": from, "from": from, "to": to });
    match name {
        "office" => (json!([window("a", &every[..5], "09:00", "17:00")]), json!([])),
        "night" => (json!([window("a", &every, "22:00", "02:30")]), json!([])),
        "small" => {
            let both = [window("a", &every, "02:15", "02:45"), window("b", &["Sat", "Sun"], "00:00", "00:30")];
            (json!(both), json!([]))
        }
        "weekend" => (json!([window("a", &["Sat", "Sun"], "00:00", "24:00")]), json!([])),
        "sunday-night" => (json!([window("a", &["Sun"], "23:30", "03:00")]), json!([])),
        "winter" => {
            let days = [yearly("12-20", "01-03"), yearly("02-29", "02-29")];
            (json!([window("a", &every, "08:00", "20:00")]), json!(days))
        }
        "frozen" => {
            let days = [("2025-03-09", "2025-03-10"), ("2025-10-25", "2025-10-26"), ("2011-12-29", "2011-12-30")];
            (json!([]), json!(days.map(|(from, to)| once(from, to))))
        }
        other => panic!("{other} is not declared here"),
    }
}

#[test]
fn open_hours_are_those_of_the_reference() {
    let mut calendars = BTreeMap::new();
    let mut zones = BTreeMap::new();
    let mut cases = 0;
    for line in REFERENCE.lines().skip(1) {
        let [zone, name, at, open, change] = line.split(',').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let calendar = calendars.entry((zone, name)).or_insert_with(|| {
            let (windows, freezes) = declared(name);
            hours(zone, windows, freezes)
        });
        let at = moment(at);
        assert_eq!(calendar.is_open(at), open == "1", "{line}");
        let limit = at + TimeDelta::days(20);
        let found = match open {
            "1" => calendar.closes(at, limit),
            _ => calendar.next_open(at).filter(|t| *t <= limit),
        };
        let change = (change != "-").then(|| moment(change));
        assert_eq!(found, change, "{line}");
        // Nothing changes between two edges.
        let mut edge = calendar.edge(at, limit);
        while let (Some(now), Some(change)) = (edge, change) {
            assert!(now <= change, "{line}: no edge at the change");
            edge = if now == change { None } else { calendar.edge(now, limit) };
        }
        *zones.entry(zone).or_insert(0) += 1;
        cases += 1;
    }
    assert!(cases >= 2_000 && zones.len() >= 10, "only {cases} cases of {} zones", zones.len());
}

#[test]
fn a_moment_within_an_open_second_is_open() {
    let office = hours("Etc/UTC", json!([window("office", &["Mon"], "09:00", "17:00")]), json!([]));
    let last = moment("2025-03-03T16:59:59.900Z");
    assert!(office.is_open(last) && !office.is_open(moment("2025-03-03T17:00:00Z")));
    assert_eq!(office.next_open(last), Some(last));
    assert_eq!(office.next_open(moment("2025-03-03T08:59:59.900Z")), Some(moment("2025-03-03T09:00:00Z")));
}

#[test]
fn calendars_of_several_zones_intersect() {
    let every = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    let berlin = hours("Europe/Berlin", json!([window("office", &every, "09:00", "17:00")]), json!([]));
    let tokyo = hours("Asia/Tokyo", json!([window("late", &every, "17:00", "22:00")]), json!([]));
    let both = Calendar::new(berlin.parts.iter().chain(&tokyo.parts).cloned());
    // 17:00 in Tokyo is 09:00 in Berlin in winter and 10:00 in summer; 22:00 there is 14:00 or 15:00.
    for (from, opens, closes) in [
        ("2025-01-15T00:00:00Z", "2025-01-15T08:00:00Z", "2025-01-15T13:00:00Z"),
        ("2025-07-15T00:00:00Z", "2025-07-15T08:00:00Z", "2025-07-15T13:00:00Z"),
    ] {
        let opening = both.next_open(moment(from)).expect("an opening");
        assert_eq!(opening, moment(opens));
        assert_eq!(both.closes(opening, opening + TimeDelta::days(1)), Some(moment(closes)));
    }
    let sydney = hours("Australia/Sydney", json!([window("noon", &every, "12:00", "13:00")]), json!([]));
    let none = Calendar::new(berlin.parts.iter().chain(&sydney.parts).cloned());
    assert_eq!(none.next_open(moment("2025-01-01T00:00:00Z")), None);
    assert!(Calendar::default().is_open(moment("2025-01-01T00:00:00Z")), "who says nothing forbids nothing");
}

#[test]
fn a_long_freeze_ends_when_it_ends() {
    let freezes = json!([
        { "name": "a", "from": "2025-01-01", "to": "2026-06-30" },
        { "name": "b", "from": "2026-06-30T12:00:00Z", "to": "2026-07-01T09:30:00Z" },
    ]);
    let frozen = hours("America/Sao_Paulo", json!([]), freezes);
    assert_eq!(frozen.next_open(moment("2025-01-05T00:00:00Z")), Some(moment("2026-07-01T09:30:00Z")));
    assert_eq!(frozen.next_open(moment("2025-01-01T02:59:59Z")), Some(moment("2025-01-01T02:59:59Z")));
    let always = json!([{ "name": "all", "yearly": { "from": "01-01", "to": "12-31" } }]);
    assert_eq!(hours("Etc/UTC", json!([]), always).next_open(moment("2025-01-05T00:00:00Z")), None);
}

#[test]
fn the_last_opening_is_known() {
    let daily = hours("Etc/UTC", json!([{ "name": "a", "from": "09:00", "to": "17:00" }]), json!([]));
    let at = |text: &str| moment(&format!("2025-03-03T{text}:00Z"));
    assert_eq!(daily.opened_after(at("08:30"), at("09:10")), Some(at("09:00")));
    assert_eq!(daily.opened_after(at("09:00"), at("09:10")), None, "it was open at the beginning");
    assert_eq!(daily.opened_after(at("08:30"), at("09:00")), Some(at("09:00")));
}

/// The law reads the local clock by itself; here it meets what it must refuse.
#[test]
fn the_law_refuses_what_is_sent_at_the_wrong_time() {
    let night = json!([window("night", &["Fri"], "22:00", "02:00")]);
    let freezes = json!([{ "name": "eve", "yearly": { "from": "12-31", "to": "01-01" } },
        { "name": "once", "from": "2025-03-07", "to": "2025-03-07T21:30:00Z" }]);
    let calendar = json!({ "timeZone": "Europe/Berlin", "windows": night, "freezes": freezes });
    let calendar: EnvironmentCalendar = serde_json::from_value(calendar).expect("a calendar");
    let kind = PlaceKind::ConfigMap;
    let place =
        TargetPlace { kind, namespace: "a".to_owned(), name: "b".to_owned(), container: None, key: "c".to_owned() };
    let law = |at: &str, seconds: i64| {
        let calendars = vec![(calendar.time_zone.clone(), calendar.windows.clone(), calendar.freezes.clone())];
        let (place, at) = (place.clone(), moment(at));
        in_calendar(&[Sent { place, at, send_by: at + TimeDelta::seconds(seconds), calendars }]).is_ok()
    };
    // Friday 2025-03-14 22:00 in Berlin is 21:00 UTC; the window ends at 01:00 UTC on Saturday.
    assert!(law("2025-03-14T21:00:00Z", 10) && law("2025-03-15T00:59:50Z", 9));
    assert!(!law("2025-03-14T20:59:59Z", 0) && !law("2025-03-15T00:59:50Z", 10) && !law("2025-03-15T21:30:00Z", 0));
    // Frozen until half past ten; and Friday 2027-01-01 as a whole, not the two hours of the second.
    assert!(!law("2025-03-07T21:29:59Z", 0) && law("2025-03-07T21:30:00Z", 0));
    assert!(!law("2027-01-01T22:00:00Z", 0) && law("2027-01-01T23:30:00Z", 0));
}

#[test]
fn sentences_say_which_and_until_when() {
    let weekdays = ["Mon", "Tue", "Wed", "Thu", "Fri"];
    let office = window("office", &weekdays, "09:00", "17:00");
    let freeze = json!([{ "name": "quarter-end", "from": "2025-03-28", "to": "2025-03-30", "reason": "quarter end" }]);
    let calendar = hours("Europe/Berlin", json!([office, window("late", &["Tue", "Sat"], "20:00", "01:00")]), freeze);
    let said = |at: &str| calendar.closed(moment(at)).map(|(why, _)| why);
    assert_eq!(said("2025-03-03T08:00:00Z"), None);
    assert_eq!(
        said("2025-03-03T18:00:00Z").as_deref(),
        Some(
            "outside windows office (Mon-Fri 09:00-17:00 Europe/Berlin), late (Tue, Sat 20:00-01:00 Europe/Berlin); \
             opens 2025-03-04 09:00 CET (08:00 UTC)"
        )
    );
    assert_eq!(
        said("2025-03-28T12:00:00Z").as_deref(),
        Some(
            "frozen by quarter-end until 2025-03-31 00:00 CEST (2025-03-30 22:00 UTC): quarter end; \
             opens 2025-03-31 09:00 CEST (07:00 UTC)"
        )
    );
    let utc = hours("Etc/UTC", json!([{ "name": "night", "from": "22:00", "to": "04:00" }]), json!([]));
    assert_eq!(
        utc.closed(moment("2025-03-28T12:00:00Z")).map(|(why, _)| why).as_deref(),
        Some("outside window night (every day 22:00-04:00 Etc/UTC); opens 2025-03-28 22:00 UTC")
    );
    let kathmandu = Zone::find("Asia/Kathmandu").expect("a zone");
    assert_eq!(kathmandu.read(moment("2025-03-28T12:00:00Z")), "2025-03-28 17:45 UTC+05:45 (12:00 UTC)");
}

#[test]
fn zones_with_typing_errors_are_recognised() {
    for (wrong, meant) in [
        ("Europe/Berln", "did you mean `Europe/Berlin`?"),
        ("europe/berlin", "did you mean `Europe/Berlin`?"),
        ("Berlin", "did you mean `Europe/Berlin`?"),
        ("Asia/Singapur", "did you mean `Asia/Singapore`?"),
        ("New York", "did you mean `America/New_York`?"),
        ("US/Berlin", "did you mean `Europe/Berlin`?"),
        ("xyzzy", "write the name of a zone of the IANA database, such as Etc/UTC or Europe/Berlin"),
    ] {
        assert_eq!(Zone::find(wrong).expect_err(wrong).1, meant, "{wrong}");
    }
    assert!(Zone::find("Etc/UTC").is_ok_and(Zone::is_utc) && Zone::find("UTC").is_ok_and(Zone::is_utc));
    assert_eq!(chrono_tz::IANA_TZDB_VERSION, REFERENCE.split_whitespace().nth(2).unwrap_or("").trim_end_matches(':'));
}

#[test]
fn dates_begin_and_end_with_their_day() {
    let day = |text: &str| Moment::parse(text).expect(text);
    let zone = |name: &str| Zone::find(name).expect(name);
    // The clocks of Havana skip the first hour of this day, and those of Apia skip a whole one.
    assert_eq!(Dated::start(day("2025-03-09"), zone("America/Havana")).at, moment("2025-03-09T05:00:00Z"));
    assert_eq!(Dated::end(day("2025-03-09"), zone("America/Havana")).at, moment("2025-03-10T04:00:00Z"));
    let apia = zone("Pacific/Apia");
    assert_eq!(Dated::start(day("2011-12-30"), apia).at, Dated::start(day("2011-12-31"), apia).at);
    let said = Dated::start(day("2025-05-05T09:00:00+02:00"), zone("Europe/Berlin"));
    assert_eq!(said.to_string(), "2025-05-05 09:00 CEST (07:00 UTC)");
    assert_eq!(Dated::start(day("2025-05-05"), zone("Europe/Berlin")).to_string(), "2025-05-05 (Europe/Berlin)");
}

#[test]
fn distances_are_short() {
    let from = moment("2025-03-03T08:00:00Z");
    for (seconds, said) in [(0, "0s"), (59, "59s"), (50_400, "14h"), (266_400, "3d 2h"), (86_460, "1d")] {
        assert_eq!(distance(from, from + TimeDelta::seconds(seconds)), said);
    }
}
