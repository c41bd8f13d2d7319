//! When flags may be raised: windows, freezes, and how days and moments are written.

use std::borrow::Cow;
use std::fmt;

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::Time;

/// When flags may be raised.
///
/// Nothing is raised outside its windows or in its freezes. Watching, soaks and rollbacks go on at all times. An edit takes
/// effect at once, for whatever was not sent yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("self.late != 'NextWindow' || has(self.windows) && self.windows.size() > 0").message("NextWindow waits for a window to open, and there is none"))]
#[serde(rename_all = "camelCase")]
pub struct ScheduleCalendar {
    /// The zone of the IANA database, such as `Europe/Berlin`, in which windows and dates of this schedule are read. An
    /// Environment's are read in its own.
    #[serde(default = "utc")]
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,2}$"))]
    pub time_zone: String,
    /// When flags may be raised; at any time where there is none. Those of the phase and of the Environment must be open
    /// too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub windows: Vec<Window>,
    /// When nothing is raised, windows or not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub freezes: Vec<FrozenTime>,
    /// What becomes of a phase whose flip was not begun within 15 minutes of its `start`, or of the first open moment
    /// after that: because of the phase before it, of a pause, of evidence, or because Hoist was down.
    #[serde(default)]
    pub late: Late,
}

/// The windows and freezes of a phase, in the schedule's zone. They narrow the schedule's. An edit takes effect at once,
/// for whatever was not sent yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PhaseCalendar {
    /// When flags of this phase may be raised; whenever the schedule's windows are open, where there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub windows: Vec<Window>,
    /// When nothing of this phase is raised.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub freezes: Vec<FrozenTime>,
}

/// When flags may be raised at this place, whatever schedules say; the hours outside are its quiet hours. Rollbacks wait
/// for nothing. An edit takes effect at once, for whatever was not sent yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentCalendar {
    /// The zone of the IANA database, such as `Asia/Singapore`, in which windows and dates of this place are read.
    #[serde(default = "utc")]
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,2}$"))]
    pub time_zone: String,
    /// When flags may be raised here; at any time where there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub windows: Vec<Window>,
    /// When nothing is raised here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub freezes: Vec<FrozenTime>,
}

pub(super) fn utc() -> String {
    "Etc/UTC".to_owned()
}

/// A time of the week when flags may be raised: all moments whose local reading lies in `[from, to)` of a listed day.
///
/// An hour that the clocks leave out is missing in it, an hour that they repeat is in it twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("self.from != self.to").message("a window from and to the same time is never open; a whole day is 00:00 to 24:00"),
    validation = Rule::new("self.from != '24:00'").message("24:00 can only end a window")
)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    /// The name that people read where something waits for it.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"))]
    pub name: String,
    /// The days on which it begins; every day where not given.
    #[serde(default = "every_day")]
    #[schemars(length(min = 1, max = 7))]
    pub days: Vec<Day>,
    /// When it begins: `09:00`.
    pub from: Clock,
    /// When it ends: `17:00`, or `24:00` for midnight. Earlier than `from` means on the following day.
    pub to: Clock,
}

fn every_day() -> Vec<Day> {
    Day::ALL.to_vec()
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Day {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

impl Day {
    /// All of them, from Monday on.
    pub const ALL: [Self; 7] = [Self::Mon, Self::Tue, Self::Wed, Self::Thu, Self::Fri, Self::Sat, Self::Sun];

    /// Its place in the week, Monday being 0.
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// A time when nothing is raised: once, from one day or moment to another, or every year.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("has(self.from) == has(self.to)").message("from and to go together"),
    validation = Rule::new("has(self.yearly) != has(self.from)").message("exactly one of yearly, and from with to, is needed"),
    validation = Rule::new("!has(self.from) || !has(self.to) || self.from.size() > 10 || self.to.size() > 10 || self.from <= self.to").message("to must not be before from")
)]
#[serde(rename_all = "camelCase")]
pub struct FrozenTime {
    /// The name that people read where something waits for its end.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"))]
    pub name: String,
    /// When it begins: a moment (RFC 3339), or a date, which means the beginning of that day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Moment>,
    /// When it ends: a moment (RFC 3339), or a date, which means the end of that day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Moment>,
    /// The days of every year on which it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yearly: Option<Yearly>,
    /// Why, in a few words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 256))]
    pub reason: String,
}

/// Days of every year, the first and the last among them. A last day before the first lies in the following year.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Yearly {
    /// The first day: `12-20`. In years without a `02-29` that means the first of March.
    pub from: YearDay,
    /// The last day: `01-03`.
    pub to: YearDay,
}

/// What becomes of a phase whose start was missed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Late {
    /// It starts as soon as its gates are open.
    #[default]
    Proceed,
    /// It starts within 15 minutes of a later opening of its windows, never in the midst of one.
    NextWindow,
    /// It is held until a person orders a Retry, or until `start` or `late` is edited.
    Hold,
}

/// A time of the day, in whole minutes since midnight; `24:00` is the end of the day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Clock(u16);

impl Clock {
    /// Parses `09:00`; the error says what is wrong in one sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a time of the day such as 09:00");
        let (hours, minutes) = text.split_once(':').filter(|_| text.len() == 5).ok_or_else(wrong)?;
        let number = |part: &str| part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse::<u16>().ok()).flatten();
        match (number(hours), number(minutes)) {
            (Some(hours), Some(minutes)) if minutes < 60 && hours * 60 + minutes <= 1_440 => {
                Ok(Self(hours * 60 + minutes))
            }
            _ => Err(wrong()),
        }
    }

    /// Minutes since midnight.
    pub const fn minutes(self) -> i64 {
        self.0 as i64
    }
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

/// A moment, or a whole day in the zone of the calendar that it stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// A moment.
    At(Time),
    /// A day.
    Day(NaiveDate),
}

impl Moment {
    /// Parses `2025-05-05` or `2025-05-05T09:00:00Z`; the error says what is wrong in one sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parsed = if text.contains(['T', 't']) {
            DateTime::parse_from_rfc3339(text).ok().map(|at| Self::At(at.with_timezone(&Utc)))
        } else {
            NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().filter(|_| text.len() == 10).map(Self::Day)
        };
        let date = text.get(..10).unwrap_or_default();
        if parsed.is_none() && text.len() >= 10 && is_no_day(date) {
            return Err(format!("there is no day {date}"));
        }
        let near = |m: &Self| (2_000..2_100).contains(&m.year());
        parsed.filter(near).ok_or_else(|| format!("`{text}` is neither a date nor a moment of this century"))
    }

    fn year(&self) -> i32 {
        use chrono::Datelike;
        match self {
            Self::At(at) => at.year(),
            Self::Day(day) => day.year(),
        }
    }
}

/// Whether a text has the form of a date, but names a day that does not exist.
fn is_no_day(date: &str) -> bool {
    let shape: String = date.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape == "0000-00-00" && NaiveDate::parse_from_str(date, "%Y-%m-%d").is_err()
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(at) => f.write_str(&at.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
            Self::Day(day) => write!(f, "{day}"),
        }
    }
}

/// A day of any year.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct YearDay {
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
}

impl YearDay {
    /// Parses `12-20`; the error says what is wrong in one sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        // A leap year has every day that any year has.
        match NaiveDate::parse_from_str(&format!("2000-{text}"), "%Y-%m-%d") {
            Ok(date) if text.len() == 5 => {
                use chrono::Datelike;
                Ok(Self { month: date.month(), day: date.day() })
            }
            _ if is_no_day(&format!("2000-{text}")) => Err(format!("no year has a day {text}")),
            _ => Err(format!("`{text}` is not a day of the year such as 12-20")),
        }
    }
}

impl fmt::Display for YearDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}-{:02}", self.month, self.day)
    }
}

/// The days that all years have.
macro_rules! every {
    () => {
        "(0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8])"
    };
}

/// What a time of the day looks like.
pub const CLOCK: &str = "^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$";

/// What a day of the year looks like.
pub const YEAR_DAY: &str = concat!("^(", every!(), "|02-29)$");

/// What a moment or a day looks like: a day that exists, and nothing or a time with its offset. What fits can be read, so
/// that no stored object cannot.
pub const MOMENT: &str = concat!(
    "^(20[0-9]{2}-(",
    every!(),
    ")|20([02468][048]|[13579][26])-02-29)",
    "(T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9]))?$",
);

/// What the schema knows of one of these scalars.
fn schema(pattern: &str, longest: u32) -> Schema {
    json_schema!({ "type": "string", "pattern": pattern, "maxLength": longest })
}

/// Implements what travels as a string with a pattern and has `parse` and `Display`.
macro_rules! scalar {
    ($name:ident, $longest:literal, $pattern:expr) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                schema($pattern, $longest)
            }
        }
    };
}

scalar!(Clock, 5, CLOCK);
scalar!(YearDay, 5, YEAR_DAY);
scalar!(Moment, 40, MOMENT);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_days_and_moments_read_and_write() {
        for text in ["00:00", "09:05", "23:59", "24:00"] {
            assert_eq!(Clock::parse(text).expect(text).to_string(), text);
        }
        for bad in ["9:00", "24:01", "12:60", "12-00", "+1:00", "", "1200", "12:0 "] {
            assert!(Clock::parse(bad).is_err(), "{bad} was accepted");
        }
        for text in ["2025-05-05", "2024-02-29", "2000-02-29", "2025-05-05T09:00:00Z", "2025-05-05T09:00:00.250Z"] {
            assert_eq!(Moment::parse(text).expect(text).to_string(), text);
        }
        assert_eq!(Moment::parse("2025-05-05T09:00:00+02:00").expect("an offset").to_string(), "2025-05-05T07:00:00Z");
        for bad in
            ["2025-5-5", "1999-12-31", "2100-01-01", "2025-05-05T09:00:00", "2025-05-05 09:00:00Z", "tomorrow", ""]
        {
            assert!(Moment::parse(bad).is_err(), "{bad} was accepted");
        }
        assert_eq!(Moment::parse("2025-02-30"), Err("there is no day 2025-02-30".to_owned()));
        assert_eq!(Moment::parse("2025-02-29T09:00:00Z"), Err("there is no day 2025-02-29".to_owned()));
        assert_eq!(YearDay::parse("02-29").expect("a leap day").to_string(), "02-29");
        assert_eq!(YearDay::parse("04-31"), Err("no year has a day 04-31".to_owned()));
        assert!(YearDay::parse("4-1").is_err() && YearDay::parse("2020-01-01").is_err());
    }
}
