//! The answer's envelope, warnings included.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// The samples of an answer by second; several at one second are several series.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Series {
    /// Values by time.
    pub samples: BTreeMap<i64, Vec<f64>>,
    /// Whether the answer came with warnings.
    pub partial: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    status: String,
    #[serde(default)]
    data: Option<Data>,
    #[serde(default)]
    error_type: Option<String>,
    #[serde(default)]
    warnings: Vec<Value>,
    #[serde(default)]
    is_partial: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: Value,
}

/// The kinds of errors that Prometheus's API documents; anything else is not repeated.
const KNOWN_ERRORS: [&str; 7] =
    ["bad_data", "timeout", "canceled", "execution", "internal", "unavailable", "not_found"];

/// Reads an answer.
///
/// An instant answer is filed under the moment that was asked for: the server echoes it, some with a fraction.
///
/// # Errors
/// A sentence, where it is no answer that can be used.
pub(super) fn decode(body: &[u8], instant: bool, asked: i64, status: u16) -> Result<Series, String> {
    let envelope: Envelope = serde_json::from_slice(body).map_err(|_| unusable(status))?;
    if envelope.status != "success" {
        let kind = envelope.error_type.as_deref().filter(|k| KNOWN_ERRORS.contains(k)).unwrap_or("unknown");
        return Err(format!("Prometheus refuses the query (error {kind}, HTTP {status})"));
    }
    let data = envelope.data.ok_or_else(|| unusable(status))?;
    let mut series = Series { partial: envelope.is_partial || !envelope.warnings.is_empty(), ..Series::default() };
    match (data.result_type.as_str(), instant) {
        ("vector", true) => {
            for entry in data.result.as_array().ok_or_else(|| unusable(status))? {
                let (_, value) = sample(entry.get("value")).ok_or_else(|| unusable(status))?;
                series.samples.entry(asked).or_default().push(value);
            }
        }
        ("scalar", true) => {
            let (_, value) = sample(Some(&data.result)).ok_or_else(|| unusable(status))?;
            series.samples.entry(asked).or_default().push(value);
        }
        ("matrix", false) => {
            for entry in data.result.as_array().ok_or_else(|| unusable(status))? {
                for pair in entry.get("values").and_then(Value::as_array).ok_or_else(|| unusable(status))? {
                    let (at, value) = sample(Some(pair)).ok_or_else(|| unusable(status))?;
                    series.samples.entry(at).or_default().push(value);
                }
            }
        }
        (kind, _) => return Err(format!("Prometheus answers with a {} where numbers are expected", known_type(kind))),
    }
    Ok(series)
}

fn known_type(kind: &str) -> &str {
    if ["vector", "scalar", "matrix", "string"].contains(&kind) { kind } else { "something unknown" }
}

fn unusable(status: u16) -> String {
    format!("what answers is not Prometheus's query API (HTTP {status})")
}

/// A pair of a time and a number that travels as text.
fn sample(pair: Option<&Value>) -> Option<(i64, f64)> {
    let [at, value] = pair?.as_array()?.as_slice() else { return None };
    let value = match value.as_str()? {
        "+Inf" | "Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        "NaN" => f64::NAN,
        number => number.parse().ok()?,
    };
    Some((at.as_f64()?.round() as i64, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str, instant: bool) -> Result<Series, String> {
        decode(body.as_bytes(), instant, 100, 200)
    }

    #[test]
    fn answers_of_every_kind() {
        let vector = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[100.2,"1"]},{"metric":{"a":"b"},"value":[100.2,"NaN"]}]}}"#;
        let series = read(vector, true).expect("a vector");
        assert_eq!(series.samples.get(&100).map(Vec::len), Some(2));
        let matrix = r#"{"status":"success","warnings":["partial"],"data":{"resultType":"matrix","result":[{"metric":{},"values":[[100,"1"],[160,"2.5"]]}]}}"#;
        let series = read(matrix, false).expect("a matrix");
        assert!(series.partial);
        assert_eq!(series.samples, BTreeMap::from([(100, vec![1.0]), (160, vec![2.5])]));
    }

    #[test]
    fn garbage_is_told_in_our_own_words() {
        for body in [
            "",
            "<html>secret</html>",
            "{}",
            r#"{"status":"success"}"#,
            r#"{"status":"success","data":{"resultType":"vector","result":{}}}"#,
            r#"{"status":"success","data":{"resultType":"vector","result":[{"value":[1]}]}}"#,
            r#"{"status":"success","data":{"resultType":"string","result":[1,"secret"]}}"#,
            r#"{"status":"error","errorType":"secret","error":"secret"}"#,
        ] {
            let told = read(body, true).expect_err(body);
            assert!(!told.contains("secret"), "{told}");
        }
    }
}
