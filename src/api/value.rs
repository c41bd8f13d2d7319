//! The scalars of the API: durations, decimals and flag values, all of them strings on the wire.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A moment, in UTC. Whole seconds are enough for everything that Hoist promises.
pub type Time = chrono::DateTime<chrono::Utc>;

/// The word that means "the key is not there" where a flag value is expected.
pub const ABSENT: &str = "absent";

/// The longest duration that is accepted: 400 days.
pub const MAX_DURATION_SECONDS: i64 = 400 * 86_400;

/// A length of time, written as whole numbers with units: `90s`, `15m`, `72h`, `3d`, `1h30m`.
///
/// # Units
/// Held in whole seconds.
///
/// # Errors
/// Parsing refuses an empty text, a number without a unit, an unknown unit, and more than 400 days.
///
/// # Source
/// Prometheus's notation, restricted to whole seconds. The Kubernetes convention would be integer seconds; the
/// tools that release engineers know (Argo Rollouts, Flagger, Flux) write strings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(i64);

impl Duration {
    /// A duration of this many seconds; negative numbers become zero.
    pub const fn seconds(seconds: i64) -> Self {
        if seconds < 0 { Self(0) } else { Self(seconds) }
    }

    /// The length in whole seconds.
    pub const fn as_seconds(self) -> i64 {
        self.0
    }

    /// The length for arithmetic on [`Time`].
    pub fn delta(self) -> chrono::TimeDelta {
        chrono::TimeDelta::seconds(self.0)
    }

    /// Parses the written form; the error says what is wrong in one sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut total = 0i64;
        let mut digits = String::new();
        for c in text.chars() {
            if c.is_ascii_digit() {
                digits.push(c);
                continue;
            }
            let unit = match c {
                's' => 1,
                'm' => 60,
                'h' => 3_600,
                'd' => 86_400,
                _ => return Err(format!("`{text}` is not a duration: `{c}` is no unit, use s, m, h or d")),
            };
            let number: i64 =
                digits.parse().map_err(|_| format!("`{text}` is not a duration: a number goes before `{c}`"))?;
            total = number
                .checked_mul(unit)
                .and_then(|n| total.checked_add(n))
                .filter(|n| *n <= MAX_DURATION_SECONDS)
                .ok_or_else(|| format!("`{text}` is longer than 400 days"))?;
            digits.clear();
        }
        match (text.is_empty(), digits.is_empty()) {
            (true, _) => Err("an empty text is not a duration".to_owned()),
            (_, false) => Err(format!("`{text}` is not a duration: `{digits}` has no unit, use s, m, h or d")),
            _ => Ok(Self(total)),
        }
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        if rest == 0 {
            return write!(f, "0s");
        }
        for (unit, name) in [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")] {
            if rest >= unit {
                write!(f, "{}{name}", rest / unit)?;
                rest %= unit;
            }
        }
        Ok(())
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^([0-9]{1,8}[smhd]){1,4}$", "maxLength": 24 })
    }
}

/// A decimal number written as a string: `"0.05"`, `"-2"`, `"150"`.
///
/// # Source
/// The Kubernetes API conventions forbid floating-point fields; quantities and decimals travel as strings.
#[derive(Clone, Debug, PartialEq)]
pub struct Decimal {
    text: String,
    value: f64,
}

impl Decimal {
    /// Parses the written form; the error says what is wrong in one sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let shape = text.strip_prefix('-').unwrap_or(text);
        let plain = !shape.is_empty() && shape.chars().all(|c| c.is_ascii_digit() || c == '.') && shape.len() <= 24;
        match text.parse::<f64>() {
            Ok(value) if plain && value.is_finite() => Ok(Self { text: text.to_owned(), value }),
            _ => Err(format!("`{text}` is not a decimal number such as \"0.05\"")),
        }
    }

    /// The number.
    pub fn value(&self) -> f64 {
        self.value
    }
}

impl Eq for Decimal {}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl JsonSchema for Decimal {
    fn schema_name() -> Cow<'static, str> {
        "Decimal".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^-?[0-9]{1,12}(\\.[0-9]{1,9})?$", "maxLength": 24 })
    }
}

/// A part of something, written in percent: `10%`, `0.5%`.
///
/// # Units
/// [`Share::value`] is a fraction: 0.1 for `10%`.
///
/// # Errors
/// Parsing refuses what is no number before the sign, a missing sign, and zero.
#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    text: String,
    value: f64,
}

impl Share {
    /// Parses the written form; the error says what is wrong in one sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix('%').filter(|n| !n.starts_with('-')).and_then(|n| Decimal::parse(n).ok());
        match number.map(|n| n.value() / 100.0).filter(|value| *value > 0.0) {
            Some(value) => Ok(Self { text: text.to_owned(), value }),
            None => Err(format!("`{text}` is not a part in percent such as 10% or 0.5%")),
        }
    }

    /// The fraction.
    pub fn value(&self) -> f64 {
        self.value
    }
}

impl Eq for Share {}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl JsonSchema for Share {
    fn schema_name() -> Cow<'static, str> {
        "Share".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^([1-9][0-9]{0,5}(\\.[0-9]{1,6})?|0\\.[0-9]{0,5}[1-9])%$", "maxLength": 24 })
    }
}

/// What a flag reads as at a place where it lives: a string, or nothing at all.
///
/// On the wire the word `absent` stands for nothing; a flag whose real value is the text `absent` cannot be carried.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FlagValue {
    /// The key or variable is not there.
    Absent,
    /// The key or variable has this value.
    Text(String),
}

impl FlagValue {
    /// The value as a target reads it: a missing key is [`FlagValue::Absent`].
    pub fn of(text: Option<&str>) -> Self {
        text.map_or(Self::Absent, |t| Self::Text(t.to_owned()))
    }

    /// The text, or nothing where the value is absent.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Absent => None,
            Self::Text(text) => Some(text),
        }
    }
}

impl fmt::Display for FlagValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str(ABSENT),
            Self::Text(text) => write!(f, "\"{text}\""),
        }
    }
}

impl Serialize for FlagValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text().unwrap_or(ABSENT))
    }
}

impl<'de> Deserialize<'de> for FlagValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(if text == ABSENT { Self::Absent } else { Self::Text(text) })
    }
}

impl JsonSchema for FlagValue {
    fn schema_name() -> Cow<'static, str> {
        "FlagValue".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "maxLength": 1024 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_write() {
        for (text, seconds, written) in [
            ("90s", 90, "1m30s"),
            ("15m", 900, "15m"),
            ("72h", 259_200, "3d"),
            ("1h30m", 5_400, "1h30m"),
            ("0s", 0, "0s"),
        ] {
            let parsed = Duration::parse(text).expect(text);
            assert_eq!(parsed.as_seconds(), seconds);
            assert_eq!(parsed.to_string(), written);
        }
        for bad in ["", "5", "m", "5x", "-5s", "1.5h", "401d", "99999999999999999999s", "5m3"] {
            assert!(Duration::parse(bad).is_err(), "{bad} was accepted");
        }
    }

    #[test]
    fn decimals_read_and_write() {
        assert!((Decimal::parse("0.05").expect("0.05").value() - 0.05).abs() < f64::EPSILON);
        assert_eq!(Decimal::parse("-2").expect("-2").to_string(), "-2");
        for bad in ["", "NaN", "inf", "1e9", "0x1", "1,5", "--1", "."] {
            assert!(Decimal::parse(bad).is_err(), "{bad} was accepted");
        }
    }

    #[test]
    fn shares_read_and_write() {
        assert!((Share::parse("12.5%").expect("12.5%").value() - 0.125).abs() < f64::EPSILON);
        assert_eq!(Share::parse("0.5%").expect("0.5%").to_string(), "0.5%");
        for bad in ["", "%", "10", "0%", "-1%", "10 %", "ten%", "1e1%"] {
            assert!(Share::parse(bad).is_err(), "{bad} was accepted");
        }
    }

    #[test]
    fn absent_is_a_word_on_the_wire_only() {
        let absent: FlagValue = serde_json::from_str("\"absent\"").expect("absent");
        assert_eq!(absent, FlagValue::Absent);
        assert_eq!(serde_json::to_string(&absent).expect("json"), "\"absent\"");
        assert_eq!(FlagValue::of(Some("")).to_string(), "\"\"");
    }
}
