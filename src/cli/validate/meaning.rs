//! What a schema cannot say: whether a schedule makes sense, and whether the Environments that it names fit.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use super::across;
use super::report::{Finding, Severity};
use super::tree::Node;
use crate::api::{Environment, EnvironmentKey, MigrationSchedule, MigrationScheduleSpec, Time};
use crate::engine::{Places, Plan, Problem, calendar};

/// An object of one of our kinds, or a Namespace.
#[derive(Clone, Debug)]
pub(super) struct Object {
    pub source: usize,
    pub node: Node,
    pub kind: String,
    pub namespace: String,
    pub name: String,
}

/// The label that every namespace has.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Everything that is wrong between and within the objects of all files, beyond their schemas.
pub(super) fn findings(objects: &[Object], now: Time) -> Vec<Finding> {
    let mut findings = twice(objects);
    let mut environments = BTreeMap::new();
    for object in objects.iter().filter(|object| object.kind == "Environment") {
        let key = EnvironmentKey { namespace: object.namespace.clone(), name: object.name.clone() };
        let parsed = object.parse::<Environment>().map_err(|finding| {
            findings.push(finding);
            "it has errors of its own".to_owned()
        });
        if let Ok(environment) = &parsed {
            object.all(Severity::Error, calendar::environment_problems(environment), &mut findings);
            object.all(Severity::Warning, calendar::environment_warnings(environment, now), &mut findings);
        }
        environments.entry(key).or_insert(parsed);
    }
    let mut freezes = Vec::new();
    for object in objects.iter().filter(|object| object.kind == "Freeze") {
        match object.parse::<crate::api::Freeze>() {
            Err(finding) => findings.push(finding),
            Ok(freeze) => {
                let problems = calendar::freeze_problems(&object.name, &freeze.spec);
                if problems.is_empty() {
                    freezes.push((object.name.clone(), freeze.spec));
                }
                object.all(Severity::Error, problems, &mut findings);
            }
        }
    }
    let (mut schedules, mut unreadable) = (Vec::new(), Vec::new());
    for object in objects.iter().filter(|object| object.kind == "MigrationSchedule") {
        match object.parse::<MigrationSchedule>() {
            Err(finding) => {
                findings.push(finding);
                unreadable.push(object);
            }
            Ok(schedule) => {
                let labels = namespace_labels(&object.namespace, objects, environments.values().flatten());
                let own = schedule.metadata.labels.clone().unwrap_or_default();
                let concerning = freezes.iter().filter(|(_, freeze)| freeze.concerns(&own, &labels)).cloned();
                let places = Places {
                    schedule: object.name.clone(),
                    freezes: concerning.map(|(name, freeze)| (name, Ok(freeze))).collect(),
                    environments: environments.clone(),
                    namespace_labels: labels,
                };
                object.plan(&schedule.spec, &places, now, &mut findings);
                schedules.push((object, schedule));
            }
        }
    }
    findings.extend(across::findings(&schedules, &unreadable));
    for object in objects.iter().filter(|object| object.kind == "Intervention") {
        findings.extend(object.parse::<crate::api::Intervention>().err());
    }
    findings
}

impl Object {
    pub(super) fn finding(&self, severity: Severity, path: &str, message: String, hint: Option<String>) -> Finding {
        let span = self.node.locate(path);
        Finding { severity, source: self.source, span, path: path.to_owned(), message, hint }
    }

    /// The object as its type, or what its type refuses.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, Finding> {
        serde_path_to_error::deserialize(self.node.value()).map_err(|error| {
            let path = error.path().to_string();
            let path = if path == "." { String::new() } else { path };
            self.finding(Severity::Error, &path, error.inner().to_string(), None)
        })
    }

    fn all(&self, severity: Severity, problems: Vec<Problem>, findings: &mut Vec<Finding>) {
        findings.extend(problems.into_iter().map(|p| self.finding(severity, &p.path, p.message, p.hint)));
    }

    fn plan(&self, spec: &MigrationScheduleSpec, places: &Places, now: Time, findings: &mut Vec<Finding>) {
        match Plan::parse(&self.namespace, spec, places) {
            Ok(plan) => {
                self.environments(&plan, places, findings);
                self.all(Severity::Error, calendar::never_open(spec, &plan, now), findings);
                self.all(Severity::Warning, calendar::warnings(spec, &plan, now), findings);
            }
            Err(problems) => {
                // Without what is wrong, the rest of the plan can be looked at all the same.
                if let Ok(plan) = Plan::parse(&self.namespace, &without_wrong_parts(spec, &problems), places) {
                    self.environments(&plan, places, findings);
                }
                self.all(Severity::Error, problems, findings);
            }
        }
    }

    fn environments(&self, plan: &Plan, places: &Places, findings: &mut Vec<Finding>) {
        for (i, phase) in plan.phases.iter().enumerate() {
            for (j, environment) in phase.environments.iter().enumerate() {
                let path = format!("spec.phases[{i}].environments[{j}]");
                let (severity, message) = match (places.environments.get(&environment.key), &environment.flip) {
                    (_, Ok(_)) => continue,
                    (None, _) => {
                        let message = format!(
                            "Environment {} is not among the files, so nothing is said about it",
                            environment.key
                        );
                        (Severity::Note, message)
                    }
                    (Some(Err(_)), _) => {
                        let message = format!("Environment {} has errors of its own", environment.key);
                        (Severity::Note, message)
                    }
                    (Some(Ok(_)), Err(why)) => (Severity::Error, why.clone()),
                };
                findings.push(self.finding(severity, &path, message, None));
            }
        }
    }
}

/// The same spec without the checks in which something is wrong, and without calendars and ends if they are wrong.
fn without_wrong_parts(spec: &MigrationScheduleSpec, problems: &[Problem]) -> MigrationScheduleSpec {
    let wrong = |prefix: &str, index: usize| {
        let own = format!("{prefix}.checks[{index}]");
        problems.iter().any(|problem| problem.path.starts_with(&own))
    };
    let mut spec = spec.clone();
    let mut index = 0..;
    spec.checks.retain(|_| !index.next().is_some_and(|i| wrong("spec", i)));
    for (i, phase) in spec.phases.iter_mut().enumerate() {
        let mut index = 0..;
        phase.checks.retain(|_| !index.next().is_some_and(|j| wrong(&format!("spec.phases[{i}]"), j)));
    }
    let of_time = |p: &Problem| p.path.contains(".calendar") || p.path.split('.').next_back() == Some("end");
    if problems.iter().any(of_time) {
        spec.calendar = None;
        for phase in &mut spec.phases {
            (phase.calendar, phase.end) = (None, None);
        }
    }
    spec
}

/// The labels of a namespace: those of the Namespace among the files. Where there is none, whatever Environments ask
/// for beyond the name is taken to be there.
pub(super) fn namespace_labels<'a>(
    namespace: &str,
    objects: &[Object],
    environments: impl Iterator<Item = &'a Environment>,
) -> BTreeMap<String, String> {
    let known = objects.iter().find(|object| object.kind == "Namespace" && object.name == namespace);
    let mut labels: BTreeMap<String, String> = match known {
        Some(object) => {
            let labels = object.node.get("metadata").and_then(|metadata| metadata.get("labels")).map(Node::value);
            labels.and_then(|labels| serde_json::from_value(labels).ok()).unwrap_or_default()
        }
        None => environments
            .filter_map(|environment| environment.spec.allowed_schedules.as_ref())
            .flat_map(|allowed| &allowed.namespace_selector.match_labels)
            .map(|(name, value)| (name.clone(), value.0.clone()))
            .collect(),
    };
    labels.insert(NAME_LABEL.to_owned(), namespace.to_owned());
    labels
}

/// Objects that have the kind, the namespace and the name of an earlier one: the later one would overwrite it.
fn twice(objects: &[Object]) -> Vec<Finding> {
    let mut seen = BTreeMap::new();
    let mut findings = Vec::new();
    for (i, object) in objects.iter().enumerate().filter(|(_, object)| !object.name.is_empty()) {
        let first = *seen.entry((&object.kind, &object.namespace, &object.name)).or_insert(i);
        if first != i {
            let message = format!("{} {}/{} is there twice", object.kind, object.namespace, object.name);
            let hint = "the later one would overwrite the earlier".to_owned();
            findings.push(object.finding(Severity::Error, "metadata.name", message, Some(hint)));
        }
    }
    findings
}
