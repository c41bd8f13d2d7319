//! Percentages, and the steps in which a flag reaches more of its users.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::Soak;

/// A part of the users, written as a number or as a decimal in quotes: `10`, `"0.5"`.
///
/// # Units
/// Held in thousandths of a percent, so that it compares exactly.
///
/// # Errors
/// Parsing refuses anything that is not above 0 and at most 100, and more than three places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent(u32);

impl Percent {
    /// All users.
    pub const ALL: Self = Self(100_000);

    /// Nobody, as it is written where a flag goes back.
    pub const NOBODY: Self = Self(0);

    /// Parses the written form; the error says what is wrong in one sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let refused = || format!("`{text}` is not a percentage above 0 and at most 100, such as 10 or \"0.5\"");
        let (whole, part) = text.split_once('.').map_or((text, ""), |(whole, part)| (whole, part));
        let digits = |t: &str| t.chars().all(|c| c.is_ascii_digit());
        let dotted = text.contains('.');
        if whole.is_empty() || whole.len() > 3 || part.len() > 3 || dotted == part.is_empty() {
            return Err(refused());
        }
        if !digits(whole) || !digits(part) {
            return Err(refused());
        }
        let thousandths = format!("{whole}{part:0<3}").parse::<u32>().map_err(|_| refused())?;
        if thousandths == 0 || thousandths > Self::ALL.0 { Err(refused()) } else { Ok(Self(thousandths)) }
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / 1_000, self.0 % 1_000);
        if part == 0 {
            return write!(f, "{whole}");
        }
        let part = format!("{part:03}");
        write!(f, "{whole}.{}", part.trim_end_matches('0'))
    }
}

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_multiple_of(1_000) {
            serializer.serialize_u32(self.0 / 1_000)
        } else {
            serializer.collect_str(self)
        }
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;
        impl de::Visitor<'_> for Written {
            type Value = Percent;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a percentage such as 10 or \"0.5\"")
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Percent, E> {
                self.visit_str(&number.to_string())
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Percent, E> {
                self.visit_str(&number.to_string())
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Percent, E> {
                Percent::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Written)
    }
}

impl JsonSchema for Percent {
    fn schema_name() -> Cow<'static, str> {
        "Percent".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let decimal = "^(100|[0-9]{1,2})(\\.[0-9]{1,3})?$";
        json_schema!({
            "x-kubernetes-int-or-string": true, "minimum": 1, "maximum": 100, "pattern": decimal, "maxLength": 8
        })
    }
}

/// A part of the users that a flag reaches before it reaches more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PercentageStep {
    /// How many of the users: an integer, or a decimal in quotes such as `"0.5"`. Each step reaches more than the one
    /// before; the last may stay under 100, as a holdback.
    pub percent: Percent,
    /// The soak of this step, in place of the phase's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soak: Option<Soak>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_read_and_write() {
        for (json, shown) in
            [("10", "10"), ("100", "100"), ("\"0.5\"", "0.5"), ("\"12.125\"", "12.125"), ("\"7\"", "7")]
        {
            let percent: Percent = serde_json::from_str(json).expect(json);
            assert_eq!(percent.to_string(), shown);
            let again = serde_json::to_string(&percent).expect("JSON");
            assert_eq!(serde_json::from_str::<Percent>(&again).expect(&again), percent);
        }
        for bad in [
            "0",
            "101",
            "-1",
            "\"\"",
            "\"10%\"",
            "\"0.0\"",
            "\"1.2345\"",
            "\"100.001\"",
            "\".5\"",
            "\"5.\"",
            "1.5",
            "true",
        ] {
            assert!(serde_json::from_str::<Percent>(bad).is_err(), "{bad} was accepted");
        }
        assert!(Percent::parse("9.9") < Percent::parse("10"));
    }
}
