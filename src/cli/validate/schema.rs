//! Holds a tree against a structural schema and finds every difference at once.

use std::collections::BTreeMap;
use std::ops::Range;

use regex::Regex;
use serde_json::{Value, json};

use super::hint::{did_you_mean, nearest};
use super::report::Severity;
use super::tree::{Content, Entry, Node};
use crate::api::{AFTER, CLOCK, MOMENT, Moment, YEAR_DAY, YearDay};

/// A difference from the schema.
#[derive(Debug)]
pub(super) struct Difference {
    pub severity: Severity,
    pub span: Range<usize>,
    pub path: String,
    pub message: String,
    pub hint: Option<String>,
}

/// Finds every difference between an object and the schema of its kind.
pub(super) fn differences(schema: &Value, object: &Node) -> Vec<Difference> {
    let mut walk = Walk::default();
    walk.node(schema, "", object, &object.span);
    walk.found
}

/// What stands in an object's `metadata`: the schema of a resource leaves it to the API server.
pub(super) fn metadata() -> Value {
    let texts = json!({ "type": "object", "additionalProperties": { "type": "string" } });
    let name = json!({ "type": "string", "maxLength": 253, "pattern": SUBDOMAIN });
    json!({
        "type": "object",
        "properties": {
            "name": name, "namespace": { "type": "string", "maxLength": 63, "pattern": LABEL },
            "generateName": { "type": "string", "maxLength": 253 }, "labels": texts, "annotations": texts,
            "finalizers": { "type": "array", "items": { "type": "string" } }, "ownerReferences": { "type": "array" },
            "managedFields": { "type": "array" }, "uid": { "type": "string" }, "resourceVersion": { "type": "string" },
            "generation": { "type": "integer" }, "creationTimestamp": { "type": "string", "format": "date-time" },
            "deletionTimestamp": { "type": "string", "format": "date-time" },
            "deletionGracePeriodSeconds": { "type": "integer" }, "selfLink": { "type": "string" },
        },
    })
}

const SUBDOMAIN: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
const ZONE: &str = "^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,2}$";
const LABEL: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";

/// What the patterns of our resources ask for, in words.
const PATTERNS: [(&str, &str); 20] = [
    (SUBDOMAIN, "lower-case letters, digits, `-` and `.`, such as `repository-pattern`"),
    (LABEL, "lower-case letters, digits and `-`, such as `conduit-eu`"),
    ("^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", "lower-case letters, digits and `-`, such as `canary`"),
    ("^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)?$", "lower-case letters, digits and `-`, such as `conduit-eu`"),
    ("^([0-9]{1,8}[smhd]){1,4}$", "a whole number with its unit s, m, h or d, such as 90s, 15m, 72h or 3d"),
    ("^([1-9]|[1-5][0-9]|60)s$|^1m$", "between 1s and 60s, or 1m"),
    ("^-?[0-9]{1,12}(\\.[0-9]{1,9})?$", "a decimal number in quotes, such as \"0.05\""),
    ("^([1-9][0-9]{0,5}(\\.[0-9]{1,6})?|0\\.[0-9]{0,5}[1-9])%$", "a part in percent, such as 10% or 0.5%"),
    ("^(100|[0-9]{1,2})(\\.[0-9]{1,3})?$", "a percentage such as 10 or \"0.5\""),
    ("^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$", "letters, digits, `-`, `_` and `.`, such as `NEW_CHECKOUT`"),
    ("^[-._a-zA-Z0-9]+$", "letters, digits, `-`, `_` and `.`, such as `new-checkout`"),
    ("^[-._a-zA-Z][-._a-zA-Z0-9]*$", "the name of a variable, such as `NEW_CHECKOUT`"),
    ("^https?://[^\\s?#]+$", "an address such as http://prometheus.monitoring:9090"),
    ("^[A-Za-z0-9-]+$", "the name of a header, such as X-Scope-OrgID"),
    ("^[-_.|A-Za-z0-9]+$", "letters, digits, `-`, `_`, `.` and `|`"),
    (ZONE, "the name of a zone of the IANA database, such as Etc/UTC or Europe/Berlin"),
    (CLOCK, "a time of the day such as \"09:00\""),
    (YEAR_DAY, "a day of the year such as \"12-20\""),
    (AFTER, "`eu`, a phase of another schedule as `other/eu`, or one in another namespace as `team/other/eu`"),
    (MOMENT, "a date such as 2025-05-05, or a moment such as 2025-05-05T09:00:00Z"),
];

#[derive(Default)]
struct Walk {
    found: Vec<Difference>,
    regexes: BTreeMap<String, Option<Regex>>,
}

impl Walk {
    fn error(&mut self, span: &Range<usize>, path: &str, message: String, hint: impl Into<Option<String>>) {
        let severity = Severity::Error;
        self.found.push(Difference { severity, span: span.clone(), path: path.to_owned(), message, hint: hint.into() });
    }

    /// `place` is where to point at for the node as a whole.
    fn node(&mut self, schema: &Value, path: &str, node: &Node, place: &Range<usize>) {
        let wanted = schema["type"].as_str().unwrap_or_default();
        match (&node.content, wanted) {
            (Content::Map(entries), "object") => self.map(schema, path, entries, place),
            (Content::List(items), "array") => self.list(schema, path, items, place),
            (Content::Text(text), "string") => self.text(schema, path, text, place),
            (Content::Bool(_), "boolean") | (_, "") => {}
            (Content::Number(number, _), "integer") if number.is_i64() => {
                self.range(schema, path, number.as_i64().unwrap_or_default(), place);
            }
            (Content::Disputed(text, other), _) => {
                let message = format!("`{text}` is {other} to YAML 1.1, which kubectl reads, and a text to YAML 1.2");
                let hint = match wanted {
                    "boolean" => "write `true` or `false`".to_owned(),
                    "integer" => "write the number in plain digits".to_owned(),
                    _ => format!("write it in quotes: \"{text}\""),
                };
                self.error(place, path, message, hint);
            }
            (content, _) => {
                let message = format!("{} is needed here, not {}", article(wanted), described(content));
                let hint = match (wanted, content) {
                    ("string", Content::Number(_, text)) if !self.fits(schema, text) => Some(pattern_hint(schema)),
                    _ => type_hint(wanted, content),
                };
                self.error(place, path, message, hint);
            }
        }
    }

    fn map(&mut self, schema: &Value, path: &str, entries: &[Entry], place: &Range<usize>) {
        let properties = schema["properties"].as_object();
        let values = Some(&schema["additionalProperties"]).filter(|values| values.is_object());
        for (i, entry) in entries.iter().enumerate() {
            let inner = join(path, &entry.key);
            if entries.iter().take(i).any(|earlier| earlier.key == entry.key) {
                let hint = "the last one would win; keep one of them".to_owned();
                self.error(&entry.key_span, &inner, format!("`{}` is there twice", entry.key), hint);
                continue;
            }
            if let Some(other) = &entry.disputed {
                let message = format!("the key `{}` is {other} to YAML 1.1, which kubectl reads", entry.key);
                self.error(&entry.key_span, &inner, message, format!("write it in quotes: \"{}\"", entry.key));
                continue;
            }
            match properties.and_then(|p| p.get(&entry.key)).or(values) {
                Some(_) if matches!(entry.value.content, Content::Null) => self.empty(schema, &inner, entry),
                Some(schema) => self.node(schema, &inner, &entry.value, &entry.place()),
                None if properties.is_none() => {}
                None => self.unknown(schema, &inner, entry, entries),
            }
        }
        for name in required(schema) {
            if entries.iter().all(|entry| entry.key != name) {
                self.error(place, path, format!("`{name}` is missing"), None);
            }
        }
        self.count(schema, path, entries.len(), "Properties", "entry", "entries", place);
    }

    fn empty(&mut self, schema: &Value, path: &str, entry: &Entry) {
        // `creationTimestamp: null` is what kubectl itself prints.
        if path.starts_with("metadata.") {
            return;
        }
        if required(schema).any(|name| name == entry.key) {
            return self.error(&entry.key_span, path, format!("`{}` has no value, and needs one", entry.key), None);
        }
        self.found.push(Difference {
            severity: Severity::Warning,
            span: entry.key_span.clone(),
            path: path.to_owned(),
            message: format!("`{}` has no value, which is the same as leaving it out", entry.key),
            hint: Some("is what follows indented too little?".to_owned()),
        });
    }

    fn unknown(&mut self, schema: &Value, path: &str, entry: &Entry, siblings: &[Entry]) {
        let known = schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.as_str());
        let free = known.clone().filter(|name| siblings.iter().all(|sibling| sibling.key != *name));
        let hint = match nearest(&entry.key, free.clone()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => did_you_mean("", known),
        };
        self.error(&entry.key_span, path, format!("`{}` is not a field here", entry.key), hint);
    }

    fn list(&mut self, schema: &Value, path: &str, items: &[Node], place: &Range<usize>) {
        let inner = &schema["items"];
        for (i, item) in items.iter().enumerate() {
            self.node(inner, &format!("{path}[{i}]"), item, &item.span);
        }
        self.count(schema, path, items.len(), "Items", "item", "items", place);
        let keys: Vec<&str> =
            schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let Some(first) = keys.first() else { return };
        let mut seen: Vec<Vec<Value>> = Vec::new();
        for (i, item) in items.iter().enumerate() {
            let default = |key: &str| inner.pointer(&format!("/properties/{key}/default")).cloned().unwrap_or_default();
            let own: Vec<Value> =
                keys.iter().map(|key| item.get(key).map_or_else(|| default(key), Node::value)).collect();
            if item.get(first).is_some() && seen.contains(&own) {
                let words: Vec<&str> = own.iter().filter_map(Value::as_str).filter(|word| !word.is_empty()).collect();
                let path = format!("{path}[{i}].{first}");
                let span = item.locate(first);
                self.error(
                    &span,
                    &path,
                    format!("`{}` is there twice", words.join("` `")),
                    "names must differ".to_owned(),
                );
            }
            seen.push(own);
        }
    }

    fn text(&mut self, schema: &Value, path: &str, text: &str, place: &Range<usize>) {
        let length = text.chars().count() as u64;
        if schema["minLength"].as_u64().is_some_and(|least| length < least) {
            let message = if length == 0 { "must not be empty" } else { "is too short" };
            return self.error(place, path, format!("`{}` {message}", last(path)), None);
        }
        if let Some(most) = schema["maxLength"].as_u64().filter(|most| length > *most) {
            return self.error(
                place,
                path,
                format!("{length} characters, more than the {most} that are allowed"),
                None,
            );
        }
        if let Some(words) = schema["enum"].as_array() {
            let words = words.iter().filter_map(Value::as_str);
            if !words.clone().any(|word| word == text) {
                let message = format!("`{text}` is none of {}", words.clone().collect::<Vec<_>>().join(", "));
                let hint = nearest(text, words).map(|meant| format!("did you mean `{meant}`?"));
                self.error(place, path, message, hint);
            }
        }
        if schema["format"] == "date-time" && chrono::DateTime::parse_from_rfc3339(text).is_err() {
            let hint = format!("write a moment as RFC 3339 does: {}", a_moment_like(text));
            self.error(place, path, format!("`{text}` is not a date with a time and a time zone"), hint);
        }
        if !self.fits(schema, text) {
            let message =
                no_such_day(schema, text).unwrap_or_else(|| format!("`{text}` is not what `{}` can be", last(path)));
            self.error(place, path, message, pattern_hint(schema));
        }
    }

    /// Whether a text fits the pattern of a schema.
    fn fits(&mut self, schema: &Value, text: &str) -> bool {
        let Some(pattern) = schema["pattern"].as_str() else { return true };
        let regex = self.regexes.entry(pattern.to_owned()).or_insert_with(|| Regex::new(pattern).ok());
        regex.as_ref().is_none_or(|regex| regex.is_match(text))
    }

    fn range(&mut self, schema: &Value, path: &str, number: i64, place: &Range<usize>) {
        let bound = |key: &str| schema[key].as_f64().map(|bound| bound as i64);
        let (least, most) = (bound("minimum"), bound("maximum"));
        if least.is_some_and(|least| number < least) || most.is_some_and(|most| number > most) {
            let words = match (least, most) {
                (Some(least), Some(most)) => format!("between {least} and {most}"),
                (Some(least), None) => format!("{least} or more"),
                (None, most) => format!("{} or less", most.unwrap_or_default()),
            };
            self.error(place, path, format!("{number} is not {words}"), None);
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the words for one and for many go with the bound")]
    fn count(
        &mut self,
        schema: &Value,
        path: &str,
        count: usize,
        what: &str,
        one: &str,
        many: &str,
        place: &Range<usize>,
    ) {
        let bound = |side: &str| schema[format!("{side}{what}")].as_u64().map(|bound| bound as usize);
        if let Some(least) = bound("min").filter(|least| count < *least) {
            let words = if least == 1 { one } else { many };
            self.error(place, path, format!("`{}` needs at least {least} {words}", last(path)), None);
        }
        if let Some(most) = bound("max").filter(|most| count > *most) {
            self.error(place, path, format!("{count} {many}, more than the {most} that are allowed"), None);
        }
    }
}

fn required(schema: &Value) -> impl Iterator<Item = &str> {
    schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

fn article(wanted: &str) -> &'static str {
    match wanted {
        "object" => "a mapping (`key: value`)",
        "array" => "a list (`- item`)",
        "string" => "a text",
        "boolean" => "`true` or `false`",
        _ => "a whole number",
    }
}

fn described(content: &Content) -> String {
    match content {
        Content::Null => "nothing".to_owned(),
        Content::Bool(bool) => format!("the boolean {bool}"),
        Content::Number(_, text) => format!("the number {text}"),
        Content::Text(_) => "a text".to_owned(),
        Content::Disputed(text, _) => format!("`{text}`"),
        Content::List(_) => "a list".to_owned(),
        Content::Map(_) => "a mapping".to_owned(),
    }
}

/// That a text which looks like a day names one that does not exist.
fn no_such_day(schema: &Value, text: &str) -> Option<String> {
    let why = match schema["pattern"].as_str() {
        Some(MOMENT) => Moment::parse(text).err(),
        Some(YEAR_DAY) => YearDay::parse(text).err(),
        _ => None,
    };
    why.filter(|why| !why.starts_with('`'))
}

fn pattern_hint(schema: &Value) -> String {
    let pattern = schema["pattern"].as_str().unwrap_or_default();
    let words = PATTERNS.iter().find(|(known, _)| *known == pattern).map(|(_, words)| *words);
    words.map_or_else(|| format!("the pattern is {pattern}"), |words| format!("write {words}"))
}

fn type_hint(wanted: &str, content: &Content) -> Option<String> {
    match (wanted, content) {
        ("string", Content::Bool(bool)) => Some(format!("write it in quotes: \"{bool}\"")),
        ("string", Content::Number(_, text)) => Some(format!("write it in quotes: \"{text}\"")),
        ("integer" | "boolean", Content::Text(text)) => Some(format!("write it without quotes: {text}")),
        ("array", Content::Map(_)) => Some("begin the item with `- `".to_owned()),
        _ => None,
    }
}

/// What somebody who wrote this may have meant.
fn a_moment_like(text: &str) -> String {
    let day = text.get(..10).filter(|day| chrono::NaiveDate::parse_from_str(day, "%Y-%m-%d").is_ok());
    format!("{}T09:00:00Z", day.unwrap_or("2025-05-05"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pattern without words would be shown as it is, which helps nobody.
    #[test]
    fn every_pattern_of_the_resources_has_words_and_can_be_read() {
        fn walk(schema: &Value) {
            if let Some(pattern) = schema["pattern"].as_str() {
                assert!(PATTERNS.iter().any(|(known, _)| *known == pattern), "no words for {pattern}");
                assert!(Regex::new(pattern).is_ok(), "{pattern}");
            }
            match schema {
                Value::Object(entries) => entries.values().for_each(walk),
                Value::Array(items) => items.iter().for_each(walk),
                _ => {}
            }
        }
        for crd in crate::api::crds() {
            walk(&serde_json::to_value(crd).expect("JSON"));
        }
        walk(&metadata());
    }
}
