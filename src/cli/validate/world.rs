//! Files that declare a world for `hoist simulate` and `hoist plan`: their schema, and what it cannot say.

use std::path::Path;

use serde_json::{Value, json};

use super::files::Planned;
use super::hint::did_you_mean;
use super::kinds::api_version;
use super::report::{Finding, Report, Severity};
use super::schema;
use super::tree::{Content, Node, documents};
use super::{Object, different, source};
use crate::api::{Duration, EnvironmentKey, MOMENT};
use crate::engine::{FlipPlan, Plan};
use crate::sim::{Between, Declared, Place, Scene};

pub(super) const KIND: &str = "World";

/// The pattern of a duration, as the resources have it.
const DURATION: &str = "^([0-9]{1,8}[smhd]){1,4}$";

/// Chance is decided hour by hour.
const LEAST_EVERY: Duration = Duration::seconds(3_600);

/// Reads the one world of a file.
pub(super) fn read(file: &Path, around: &[&Planned]) -> Result<Declared, Report> {
    let (sources, unreadable) = source::read_all(&[file.to_owned()]);
    let mut look = Look { around: known(around), findings: Vec::new() };
    let mut declared = None;
    for (index, source) in sources.iter().enumerate() {
        let (all, faults) = documents(&source.text);
        for fault in faults {
            look.add(index, fault.span, "", fault.message, fault.hint);
        }
        let mut worlds = all.into_iter().filter(|d| !matches!(d.content, Content::Null));
        match worlds.next() {
            None if look.findings.is_empty() => {
                look.add(index, 0..0, "", "there is no world in this file".to_owned(), Some(begin()));
            }
            None => {}
            Some(node) => declared = look.world(index, node),
        }
        if let Some(second) = worlds.next() {
            look.add(index, second.span, "", "a file declares one world".to_owned(), None);
        }
    }
    let mut findings = look.findings;
    findings.sort_by_key(|f| (f.source, f.span.start));
    let report = Report { sources, unreadable, findings, objects: 1 };
    let fine = report.unreadable.is_empty() && report.count(Severity::Error) == 0;
    declared.filter(|_| fine).ok_or(report)
}

fn begin() -> String {
    format!("begin with `apiVersion: {}` and `kind: {KIND}`", api_version())
}

/// An environment that a world can speak of, with the names of its checks.
struct Known {
    key: EnvironmentKey,
    checks: Vec<String>,
}

fn known(around: &[&Planned]) -> Vec<Known> {
    let mut all = Vec::new();
    for planned in around {
        let scene = Scene {
            schedule: planned.schedule.clone(),
            environments: planned.environments.clone(),
            labels: planned.labels.clone(),
            freezes: planned.freezes.clone(),
            elsewhere: crate::sim::Elsewhere::new(),
            at: crate::api::Time::default(),
            until: None,
        };
        let plan = scene.plan();
        all.extend(plan.iter().flat_map(Plan::steps).map(|(_, step)| Known {
            key: step.key.clone(),
            checks: step.flip.iter().flat_map(FlipPlan::asked).map(|c| c.name.clone()).collect(),
        }));
    }
    all
}

struct Look {
    around: Vec<Known>,
    findings: Vec<Finding>,
}

impl Look {
    fn add(&mut self, source: usize, span: std::ops::Range<usize>, path: &str, message: String, hint: Option<String>) {
        let (severity, path) = (Severity::Error, path.to_owned());
        self.findings.push(Finding { severity, source, span, path, message, hint });
    }

    fn world(&mut self, source: usize, node: Node) -> Option<Declared> {
        let text = |key: &str| node.get(key).and_then(Node::text);
        if (text("apiVersion"), text("kind")) != (Some(&api_version()), Some(KIND)) {
            let key = if text("apiVersion") == Some(&api_version()) { "kind" } else { "apiVersion" };
            self.add(source, node.locate(key), key, "this declares no world".to_owned(), Some(begin()));
            return None;
        }
        self.findings.extend(different(source, &schema(), &node));
        if self.findings.iter().any(|f| f.severity == Severity::Error) {
            return None;
        }
        let object = Object { source, node, kind: KIND.to_owned(), namespace: String::new(), name: String::new() };
        let declared = object.parse::<File>().map_err(|finding| self.findings.push(finding)).ok()?.spec;
        let found = self.meaning(&declared);
        self.findings.extend(
            found.into_iter().map(|(path, message, hint)| object.finding(Severity::Error, &path, message, hint)),
        );
        Some(declared)
    }

    /// What is wrong with what is declared: path, message, hint.
    fn meaning(&self, declared: &Declared) -> Vec<(String, String, Option<String>)> {
        let mut wrong = Wrong::default();
        for (i, curve) in declared.curves.iter().enumerate() {
            let path = format!("spec.curves[{i}]");
            let meant = self.place(&path, &curve.environment, &mut wrong);
            if let Some(check) = curve.check.as_ref().filter(|_| !meant.is_empty()) {
                let checks = meant.iter().flat_map(|k| &k.checks).map(String::as_str);
                if !checks.clone().any(|c| c == check) {
                    let message = format!("environment {} has no check `{check}`", curve.environment.0);
                    wrong.add(format!("{path}.check"), message, Some(did_you_mean(check, checks)));
                }
            }
            wrong.between(&path, curve.between);
            if curve.between.is_some() && curve.since_flip.is_some() {
                wrong.say(&path, "between and sinceFlip exclude each other", "keep one of them");
            }
            let back = |s: &crate::sim::SinceFlip| s.to.is_some_and(|to| to <= s.from);
            if curve.since_flip.as_ref().is_some_and(back) {
                wrong.say(
                    &format!("{path}.sinceFlip.to"),
                    "it ends before it begins",
                    "`to` is counted from the flip too",
                );
            }
        }
        Self::weather(declared, &mut wrong);
        self.people(declared, &mut wrong);
        wrong.0
    }

    fn weather(declared: &Declared, wrong: &mut Wrong) {
        for (i, outage) in declared.outages.iter().enumerate() {
            let path = format!("spec.outages[{i}]");
            wrong.between(&path, outage.between);
            wrong.often(&path, outage.every);
            wrong.order(&path, outage.lasts.unwrap_or_default(), outage.up_to);
            if outage.between.is_some() == outage.every.is_some() {
                wrong.say(&path, "exactly one of between and every is needed", "write `every: 7d` with `lasts: 30m`");
            } else if outage.every.is_some() != outage.lasts.is_some()
                || (outage.up_to.is_some() && outage.lasts.is_none())
            {
                wrong.say(&path, "every and lasts go together", "write `every: 7d` with `lasts: 30m`");
            }
        }
        if let Some(crashes) = declared.crashes {
            wrong.often("spec.crashes", crashes.every);
            if crashes.every.is_none() && crashes.one_write_in.is_none() {
                wrong.say("spec.crashes", "at least one of every and oneWriteIn is needed", "write `every: 1d`");
            }
        }
    }

    fn people(&self, declared: &Declared, wrong: &mut Wrong) {
        for (i, reaction) in declared.people.iter().enumerate() {
            let path = format!("spec.people[{i}]");
            reaction.environment.iter().for_each(|place| drop(self.place(&path, place, wrong)));
            wrong.order(&path, reaction.after, reaction.up_to);
        }
        for (i, drift) in declared.drift.iter().enumerate() {
            let path = format!("spec.drift[{i}]");
            self.place(&path, &drift.environment, wrong);
            if drift.at.is_some() == drift.after_flip.is_some() {
                wrong.say(&path, "exactly one of at and afterFlip is needed", "write `afterFlip: 4h`");
            }
        }
        for (i, rollout) in declared.rollouts.iter().enumerate() {
            let path = format!("spec.rollouts[{i}]");
            rollout.environment.iter().for_each(|place| drop(self.place(&path, place, wrong)));
            wrong.order(&path, rollout.takes, rollout.up_to);
        }
    }

    /// The environments that are meant; says where there is none.
    fn place(&self, path: &str, place: &Place, wrong: &mut Wrong) -> Vec<&Known> {
        let meant: Vec<&Known> = self.around.iter().filter(|k| place.means(&k.key)).collect();
        if meant.is_empty() {
            let names = self.around.iter().map(|k| k.key.name.as_str());
            let message = format!("no schedule has an environment `{}`", place.0);
            wrong.add(format!("{path}.environment"), message, Some(did_you_mean(&place.0, names)));
        }
        meant
    }
}

#[derive(Default)]
struct Wrong(Vec<(String, String, Option<String>)>);

impl Wrong {
    fn add(&mut self, path: String, message: String, hint: Option<String>) {
        self.0.push((path, message, hint));
    }

    fn say(&mut self, path: &str, message: &str, hint: &str) {
        self.add(path.to_owned(), message.to_owned(), Some(hint.to_owned()));
    }

    fn between(&mut self, path: &str, between: Option<Between>) {
        let Some(Between { from: Some(from), to: Some(to) }) = between else { return };
        let day = |m| match m {
            crate::api::Moment::At(at) => at,
            crate::api::Moment::Day(day) => day.and_time(chrono::NaiveTime::MIN).and_utc(),
        };
        if day(to) < day(from) {
            self.say(&format!("{path}.between.to"), "it ends before it begins", "they may have been exchanged");
        }
    }

    fn often(&mut self, path: &str, every: Option<Duration>) {
        if every.is_some_and(|every| every < LEAST_EVERY) {
            let message = format!("once in less than {LEAST_EVERY} is more than can be drawn");
            self.add(format!("{path}.every"), message, Some("write 1h or more".to_owned()));
        }
    }

    fn order(&mut self, path: &str, least: Duration, most: Option<Duration>) {
        if let Some(most) = most.filter(|most| *most < least) {
            let message = format!("upTo is {most}, less than {least}");
            self.add(format!("{path}.upTo"), message, Some("they may have been exchanged".to_owned()));
        }
    }
}

#[derive(serde::Deserialize)]
struct File {
    spec: Declared,
}

fn object(properties: &Value, required: &[&str]) -> Value {
    json!({ "type": "object", "properties": properties, "required": required })
}

fn list(items: &Value) -> Value {
    json!({ "type": "array", "maxItems": 256, "items": items })
}

/// The structural schema of a world.
pub(super) fn schema() -> Value {
    let duration = json!({ "type": "string", "pattern": DURATION });
    let moment = json!({ "type": "string", "pattern": MOMENT });
    let place = json!({ "type": "string", "minLength": 1, "maxLength": 127 });
    let count = json!({ "type": "integer", "minimum": 1, "maximum": 1000 });
    let words = |words: &[&str]| json!({ "type": "string", "enum": words });
    let between = object(&json!({ "from": moment, "to": moment }), &[]);
    let since = object(&json!({ "from": duration, "to": duration, "epoch": count }), &[]);
    let curve = json!({
        "environment": place, "check": { "type": "string", "minLength": 1, "maxLength": 63 },
        "is": words(&["Good", "Bad", "NoData", "Late"]), "between": between, "sinceFlip": since,
    });
    let outage = json!({ "between": between, "every": duration, "lasts": duration, "upTo": duration });
    let reaction = json!({
        "when": words(&["Rollback", "Hold", "Promotion"]), "environment": place, "after": duration, "upTo": duration,
        "do": words(&["Nothing", "Retry", "Rollback", "Promote"]), "times": count,
    });
    let drift = json!({
        "environment": place, "set": words(&["Enabled", "Disabled", "Other"]), "at": moment, "afterFlip": duration,
    });
    let rollout = json!({ "environment": place, "takes": duration, "upTo": duration });
    let spec = json!({
        "curves": list(&object(&curve, &["environment", "is"])),
        "outages": list(&object(&outage, &[])),
        "people": list(&object(&reaction, &["when", "after", "do"])),
        "drift": list(&object(&drift, &["environment", "set"])),
        "crashes": object(&json!({ "every": duration, "oneWriteIn": count }), &[]),
        "rollouts": list(&object(&rollout, &["takes"])),
    });
    object(
        &json!({
            "apiVersion": { "type": "string" }, "kind": { "type": "string" }, "metadata": schema::metadata(),
            "spec": object(&spec, &[]),
        }),
        &["spec"],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(schema: &Value, example: &Value, path: &str) {
        let Some(properties) = schema["properties"].as_object() else { return };
        for (name, inner) in properties {
            assert!(example.get(name).is_some(), "{path}.{name} is not in the example");
            let (schema, example) = (inner.get("items").unwrap_or(inner), &example[name]);
            fields(schema, example.get(0).unwrap_or(example), &format!("{path}.{name}"));
        }
    }

    /// A field of the schema that the type does not read would be accepted and ignored.
    #[test]
    fn schema_and_type_know_the_same_fields() {
        let all = json!({ "spec": {
            "curves": [{ "environment": "eu", "check": "errors", "is": "Bad", "between": { "from": "2025-05-05", "to": "2025-05-06" },
                "sinceFlip": { "from": "1h", "to": "2h", "epoch": 2 } }],
            "outages": [{ "between": { "from": "2025-05-05", "to": "2025-05-06" }, "every": "7d", "lasts": "1h", "upTo": "2h" }],
            "people": [{ "when": "Hold", "environment": "eu", "after": "1h", "upTo": "2h", "do": "Retry", "times": 2 }],
            "drift": [{ "environment": "eu", "set": "Other", "at": "2025-05-05", "afterFlip": "1h" }],
            "crashes": { "every": "1d", "oneWriteIn": 5 },
            "rollouts": [{ "environment": "eu", "takes": "1m", "upTo": "2m" }],
        } });
        fields(&schema()["properties"]["spec"], &all["spec"], "spec");
        let declared: File = serde_json::from_value(all).expect("a world");
        let shown = format!("{:?}", declared.spec);
        assert!(!shown.contains("None") && !shown.contains("[]"), "{shown}");
    }
}
