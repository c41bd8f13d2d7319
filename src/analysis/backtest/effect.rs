//! A change that is put into what was measured, to see whether it would have been found.

use std::fmt;

use crate::analysis::Reading;
use crate::api::{Check, CheckKind};

/// What the flag would have done.
#[derive(Clone, Debug, PartialEq)]
pub struct Effect {
    text: String,
    change: Change,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Change {
    Relative(f64),
    Absolute(f64),
}

impl Effect {
    /// Reads `relative=20%`, `relative=-20%` or `absolute=0.01`; the error says what is wrong in a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is neither like relative=20% nor like absolute=0.01");
        let number = |text: &str| text.parse::<f64>().ok().filter(|n| n.is_finite() && *n != 0.0);
        let change = match text.split_once('=') {
            Some(("relative", part)) => {
                Change::Relative(part.strip_suffix('%').and_then(number).ok_or_else(wrong)? / 100.0)
            }
            Some(("absolute", part)) => Change::Absolute(number(part).ok_or_else(wrong)?),
            _ => return Err(wrong()),
        };
        if matches!(change, Change::Relative(part) if part < -1.0) {
            return Err("nothing can fall by more than 100 %".to_owned());
        }
        Ok(Self { text: text.to_owned(), change })
    }

    /// What becomes of a measured value. Of counts an absolute change adds that part of the total to what is bad.
    pub(super) fn on(&self, check: &Check, value: Reading, beside: Option<&Reading>) -> Reading {
        let counts = match check.kind() {
            Some(CheckKind::Threshold(t)) => t.ratio.is_some(),
            Some(CheckKind::Statistical(_) | CheckKind::BurnRate(_)) => true,
            Some(CheckKind::Baseline(_) | CheckKind::Comparison(_)) | None => false,
        };
        let total = beside.and_then(|b| b.as_deref().ok()).and_then(<[f64]>::first).copied();
        let mut values = value?;
        match self.change {
            Change::Relative(part) => values.iter_mut().for_each(|v| *v *= 1.0 + part),
            Change::Absolute(part) if counts => {
                let Some(total) = total else { return Ok(values) };
                // Series of errors appear with the first error.
                if values.is_empty() {
                    values.push(0.0);
                }
                for value in &mut values {
                    *value += part * total;
                }
            }
            Change::Absolute(part) => values.iter_mut().for_each(|v| *v += part),
        }
        Ok(values)
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(kind: &str, value: &serde_json::Value) -> Check {
        serde_json::from_value(json!({ "name": "x", kind: value })).expect("a check")
    }

    #[test]
    fn counts_get_a_part_of_the_total_and_levels_get_it_added() {
        let ratio = check("threshold", &json!({ "ratio": { "bad": "b", "total": "t" }, "max": "0.1" }));
        let level = check("threshold", &json!({ "query": "q", "max": "0.1" }));
        let (more, points) = (Effect::parse("relative=20%"), Effect::parse("absolute=0.01"));
        let (more, points) = (more.expect("an effect"), points.expect("an effect"));
        let total = Ok(vec![1_000.0]);
        assert_eq!(points.on(&ratio, Ok(vec![5.0]), Some(&total)), Ok(vec![15.0]));
        assert_eq!(points.on(&ratio, Ok(vec![]), Some(&total)), Ok(vec![10.0]));
        assert_eq!(points.on(&ratio, Ok(vec![5.0]), Some(&Ok(vec![]))), Ok(vec![5.0]), "no traffic");
        assert_eq!(more.on(&ratio, Ok(vec![5.0]), Some(&total)), Ok(vec![6.0]));
        assert_eq!(more.on(&ratio, Ok(vec![]), Some(&total)), Ok(vec![]));
        assert_eq!(points.on(&level, Ok(vec![5.0]), None), Ok(vec![5.01]));
        assert_eq!(more.on(&level, Ok(vec![5.0]), None), Ok(vec![6.0]));
    }

    #[test]
    fn what_is_no_effect_is_refused() {
        for bad in ["20%", "relative=20", "relative=0%", "absolute=x", "absolute=inf", "relative=-101%", ""] {
            assert!(Effect::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Effect::parse("relative=-20%").expect("an effect").to_string(), "relative=-20%");
    }
}
