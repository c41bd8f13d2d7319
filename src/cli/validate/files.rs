//! What other verbs take from files: the schedules and Environments against which `hoist validate` has nothing to say.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;
use serde_json::json;

use super::look_at;
use super::meaning::{Object, namespace_labels};
use super::report::{Finding, Report, Severity};
use super::source::Source;
use super::world;
use crate::api::{Environment, EnvironmentKey, Freeze, FreezeSpec, MigrationSchedule, MigrationScheduleSpec, Time};
use crate::engine::ElsewherePhase;
use crate::sim::Declared;

/// Files that hold what they should.
#[derive(Debug)]
pub(in crate::cli) struct Files {
    /// The schedules, in the order in which they stand in the files.
    pub schedules: Vec<Planned>,
    sources: Vec<Source>,
    warnings: Vec<Finding>,
}

/// A schedule with the Environments that it names.
#[derive(Debug)]
pub(in crate::cli) struct Planned {
    /// The schedule, with its namespace.
    pub schedule: MigrationSchedule,
    /// Its Environments: those of the files, and a stand-in for each that is in none of them.
    pub environments: Vec<Environment>,
    /// Which of them are stand-ins.
    pub stand_ins: Vec<EnvironmentKey>,
    /// The labels of its namespace.
    pub labels: BTreeMap<String, String>,
    /// The Freezes of the files that concern it, by name.
    pub freezes: BTreeMap<String, FreezeSpec>,
    object: Object,
    places: Vec<Object>,
}

/// Files, or a world, that are refused, with all that is wrong with them.
#[derive(Debug)]
pub(in crate::cli) struct Refused(Report);

/// Something that works and is probably not what was meant, with its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(in crate::cli) struct Warning {
    /// The file.
    pub file: String,
    /// Its line, from one.
    pub line: usize,
    /// The column, from one.
    pub column: usize,
    /// Where in the object.
    pub path: String,
    /// What, in a sentence.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Refused {
    /// Prints what `hoist validate` prints, and says how the process ends.
    pub(in crate::cli) fn print(&self) -> ExitCode {
        // Whoever closed the pipe does not want to read it.
        let _ = self.0.text(&mut anstream::stderr().lock());
        if self.0.unreadable.is_empty() { ExitCode::FAILURE } else { ExitCode::from(2) }
    }
}

/// Reads schedules and Environments.
///
/// # Errors
/// What `hoist validate` would refuse.
pub(in crate::cli) fn read(files: &[PathBuf], namespace: &str, now: Time) -> Result<Files, Refused> {
    let (mut report, objects) = look_at(files, namespace, now);
    if !report.unreadable.is_empty() || report.count(Severity::Error) > 0 {
        return Err(Refused(report));
    }
    let environments: Vec<(EnvironmentKey, Environment, &Object)> =
        objects.iter().filter(|o| o.kind == "Environment").filter_map(environment).collect();
    let freezes = objects.iter().filter(|o| o.kind == "Freeze");
    let freezes: Vec<(String, FreezeSpec)> =
        freezes.filter_map(|o| Some((o.name.clone(), o.parse::<Freeze>().ok()?.spec))).collect();
    let known: Vec<&Environment> = environments.iter().map(|(_, e, _)| e).collect();
    let schedules = objects.iter().filter(|o| o.kind == "MigrationSchedule").filter_map(|object| {
        let mut schedule: MigrationSchedule = object.parse().ok()?;
        schedule.metadata.namespace = Some(object.namespace.clone());
        let labels = namespace_labels(&object.namespace, &objects, known.iter().copied());
        let (mut own, mut stand_ins, mut places) = (Vec::new(), Vec::new(), Vec::new());
        for key in named(&object.namespace, &schedule.spec) {
            if let Some((_, environment, place)) = environments.iter().find(|(known, ..)| *known == key) {
                own.push(environment.clone());
                places.push((*place).clone());
            } else {
                own.extend(stand_in(&key, &object.namespace, &schedule.spec));
                stand_ins.push(key);
            }
        }
        let own_labels = schedule.metadata.labels.clone().unwrap_or_default();
        let concerning = freezes.iter().filter(|(_, freeze)| freeze.concerns(&own_labels, &labels)).cloned();
        let freezes = concerning.collect();
        Some(Planned { schedule, environments: own, stand_ins, labels, freezes, object: object.clone(), places })
    });
    let schedules = schedules.collect();
    report.findings.retain(|f| f.severity == Severity::Warning);
    Ok(Files { schedules, sources: report.sources, warnings: report.findings })
}

/// Reads a file that declares a world around these schedules.
///
/// # Errors
/// Everything that is wrong with it.
pub(in crate::cli) fn world(file: &Path, around: &[&Planned]) -> Result<Declared, Refused> {
    world::read(file, around).map_err(Refused)
}

fn environment(object: &Object) -> Option<(EnvironmentKey, Environment, &Object)> {
    let mut environment: Environment = object.parse().ok()?;
    environment.metadata.namespace = Some(object.namespace.clone());
    let key = EnvironmentKey { namespace: object.namespace.clone(), name: object.name.clone() };
    Some((key, environment, object))
}

/// The Environments that a schedule names, each once.
fn named(namespace: &str, spec: &MigrationScheduleSpec) -> Vec<EnvironmentKey> {
    let mut keys: Vec<EnvironmentKey> = Vec::new();
    for reference in spec.phases.iter().flat_map(|p| &p.environments) {
        let own = if reference.namespace.is_empty() { namespace } else { &reference.namespace };
        let key = EnvironmentKey { namespace: own.to_owned(), name: reference.name.clone() };
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}

/// An Environment where nobody declared one: each flag in a ConfigMap, and a Prometheus that answers. It has every label
/// that a query asks for.
fn stand_in(key: &EnvironmentKey, namespace: &str, spec: &MigrationScheduleSpec) -> Option<Environment> {
    const MARK: &str = "environment.labels.";
    let text = serde_json::to_string(spec).ok()?;
    let label = |rest: &str| rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>();
    let labels: BTreeMap<String, &str> = text
        .match_indices(MARK)
        .map(|(at, _)| (label(text.get(at + MARK.len()..).unwrap_or_default()), "any"))
        .collect();
    let flags: Vec<_> = spec
        .flags
        .iter()
        .map(|flag| json!({ "name": flag.name, "targets": [{ "configMap": { "name": format!("flags-{}", key.name) } }] }))
        .collect();
    let served = json!({ "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": namespace } } });
    serde_json::from_value(json!({
        "apiVersion": super::api_version(), "kind": "Environment",
        "metadata": { "name": key.name, "namespace": key.namespace },
        "spec": {
            "flags": flags, "labels": labels, "allowedSchedules": served,
            "prometheus": { "address": "http://prometheus:9090" },
        },
    }))
    .ok()
}

impl Planned {
    /// Its namespace and name.
    pub(in crate::cli) fn name(&self) -> String {
        format!("{}/{}", self.object.namespace, self.object.name)
    }

    /// What its `after` names of other schedules, with the path of each name.
    pub(in crate::cli) fn elsewhere(&self) -> impl Iterator<Item = (String, ElsewherePhase)> {
        let named = ElsewherePhase::named_by(&self.schedule.spec, &self.object.namespace);
        named.map(|(i, j, other)| (format!("spec.phases[{i}].after[{j}]"), other))
    }

    /// Its namespace.
    pub(in crate::cli) fn namespace(&self) -> &str {
        &self.object.namespace
    }

    /// The Environments' keys, in the order in which the schedule names them.
    pub(in crate::cli) fn keys(&self) -> Vec<EnvironmentKey> {
        named(&self.object.namespace, &self.schedule.spec)
    }
}

impl Files {
    /// The place of a phase's schedule among those of the files.
    pub(in crate::cli) fn place_of(&self, other: &ElsewherePhase) -> Option<usize> {
        let is = |p: &Planned| (&p.object.namespace, &p.object.name) == (&other.namespace, &other.schedule);
        self.schedules.iter().position(is)
    }

    /// What a schedule waits for that is in none of the files.
    pub(in crate::cli) fn unlisted(&self, of: &Planned) -> Vec<Warning> {
        let unlisted = of.elsewhere().filter(|(_, other)| self.place_of(other).is_none());
        let told = unlisted.filter_map(|(path, other)| {
            let schedule = other.schedule_seen_from(of.namespace());
            let message = format!(
                "schedule {schedule} is in none of the files; its phase {} is taken to be complete",
                other.phase
            );
            self.at(of, &path, message, "give its file too, so that its dates count")
        });
        told.collect()
    }

    /// What `hoist validate` warns of in a schedule and its Environments.
    pub(in crate::cli) fn warnings(&self, of: &Planned) -> Vec<Warning> {
        let within = |o: &Object, f: &Finding| {
            o.source == f.source && o.node.span.start <= f.span.start && f.span.end <= o.node.span.end
        };
        let concerns = |f: &&Finding| within(&of.object, f) || of.places.iter().any(|o| within(o, f));
        self.warnings.iter().filter(concerns).filter_map(|f| self.warning(f)).collect()
    }

    /// A warning at a place of a schedule.
    pub(in crate::cli) fn at(&self, of: &Planned, path: &str, message: String, hint: &str) -> Option<Warning> {
        let hint = (!hint.is_empty()).then(|| hint.to_owned());
        self.warning(&of.object.finding(Severity::Warning, path, message, hint))
    }

    fn warning(&self, finding: &Finding) -> Option<Warning> {
        let source = self.sources.get(finding.source)?;
        let place = source.place(finding.span.start);
        Some(Warning {
            file: source.name.clone(),
            line: place.line,
            column: place.column,
            path: finding.path.clone(),
            message: finding.message.clone(),
            hint: finding.hint.clone(),
        })
    }
}
