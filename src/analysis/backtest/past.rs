//! What was answered of the past, and how it is written down.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::analysis::{AnswerError, Reading, partial};
use crate::api::{Duration, Time};

/// A query at evenly spaced moments.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RangeQuery {
    /// PromQL, with its window.
    pub query: String,
    /// The first moment.
    pub start: Time,
    /// How far apart they are.
    pub step: Duration,
    /// How many.
    pub count: usize,
}

/// What was answered about one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Sample {
    /// No series.
    #[default]
    Nothing,
    /// One series.
    One(f64),
    /// Several, where one is expected.
    Several(Vec<f64>),
    /// An answer with warnings.
    Partial,
}

/// Answers by what was asked.
pub type Past = BTreeMap<RangeQuery, Vec<Sample>>;

const NOTHING: &str = "-";
const PARTIAL: &str = "!";

impl Sample {
    /// Of the series that answered.
    pub fn of(reading: &Reading) -> Self {
        match reading.as_deref() {
            Ok([]) => Self::Nothing,
            Ok([one]) => Self::One(*one),
            Ok(several) => Self::Several(several.to_vec()),
            Err(_) => Self::Partial,
        }
    }

    /// As it is judged.
    pub fn reading(&self) -> Reading {
        match self {
            Self::Nothing => Ok(Vec::new()),
            Self::One(value) => Ok(vec![*value]),
            Self::Several(values) => Ok(values.clone()),
            Self::Partial => Err((AnswerError::Partial, partial())),
        }
    }

    /// The value, where there is exactly one and it is finite.
    pub fn value(&self) -> Option<f64> {
        match self {
            Self::One(value) if value.is_finite() => Some(*value),
            _ => None,
        }
    }

    /// Writes samples down: numbers that are read back to the last bit, `-` for nothing, `!` for a partial answer, and commas
    /// between several series.
    pub fn text(samples: &[Self]) -> String {
        let mut text = String::new();
        for (i, sample) in samples.iter().enumerate() {
            if i > 0 {
                text.push(' ');
            }
            // Writing into a String does not fail.
            let _ = match sample {
                Self::Nothing => write!(text, "{NOTHING}"),
                Self::One(value) => write!(text, "{value:?}"),
                Self::Several(values) => {
                    let values: Vec<String> = values.iter().map(|v| format!("{v:?}")).collect();
                    write!(text, "{}", values.join(","))
                }
                Self::Partial => write!(text, "{PARTIAL}"),
            };
        }
        text
    }

    /// Reads what was written down; nothing where it was not.
    pub fn read(text: &str) -> Option<Vec<Self>> {
        let one = |word: &str| match word {
            NOTHING => Some(Self::Nothing),
            PARTIAL => Some(Self::Partial),
            _ if word.contains(',') => {
                word.split(',').map(|v| v.parse().ok()).collect::<Option<_>>().map(Self::Several)
            }
            _ => word.parse().ok().map(Self::One),
        };
        text.split(' ').map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read_back_to_the_last_bit() {
        let third = 1.0 / 3.0;
        let samples = vec![
            Sample::One(third),
            Sample::Nothing,
            Sample::Several(vec![1e-300, 2.0]),
            Sample::Partial,
            Sample::One(f64::INFINITY),
            Sample::One(1.0),
        ];
        let text = Sample::text(&samples);
        assert_eq!(text, "0.3333333333333333 - 1e-300,2.0 ! inf 1.0");
        assert_eq!(Sample::read(&text), Some(samples));
        assert!(matches!(Sample::read("NaN").as_deref(), Some([Sample::One(n)]) if n.is_nan()));
        assert_eq!(Sample::read("1 x"), None);
    }
}
