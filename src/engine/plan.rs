//! A plan that is right by type, or every problem at once.

use std::collections::{BTreeMap, BTreeSet};

use crate::analysis::{QueryShape, Scope, inspect, render};
use crate::api::{
    Check, Duration, Environment, EnvironmentKey, Flag, Late, MigrationScheduleSpec, PlaceKind, PrometheusSource,
    Target, TargetPlace, Threshold, WorkloadRef,
};

use super::calendar::{Calendar, Dated, Reading};
use super::target::TargetPlan;

/// Something wrong in a spec, and how to put it right.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where: `spec.phases[0].checks[1].threshold.query`.
    pub path: String,
    /// What is wrong, in a sentence.
    pub message: String,
    /// What to do, where that can be said.
    pub hint: Option<String>,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path, self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, " ({hint})"))
    }
}

/// A schedule's parsed, valid form.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The rollback's deadline.
    pub deadline: Duration,
    /// What becomes of a start that was missed.
    pub late: Late,
    /// The phases, in order.
    pub phases: Vec<PhasePlan>,
}

/// A phase of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct PhasePlan {
    /// Its name.
    pub name: String,
    /// Its number.
    pub number: Option<String>,
    /// When it may start.
    pub start: Option<Dated>,
    /// When it is meant to be complete.
    pub end: Option<Dated>,
    /// Its soak.
    pub soak: Duration,
    /// Its environments, in order.
    pub environments: Vec<EnvironmentPlan>,
}

/// An environment of a phase.
#[derive(Clone, Debug, PartialEq)]
pub struct EnvironmentPlan {
    /// Which.
    pub key: EnvironmentKey,
    /// What a flip needs, or what is missing, in a sentence.
    pub flip: Result<FlipPlan, String>,
    /// Whether the owner suspended it.
    pub suspended: bool,
    /// When flags may be raised here, or what is wrong in the Environment's calendar.
    pub calendar: Result<Calendar, String>,
}

/// What a flip needs before it is armed.
#[derive(Clone, Debug, PartialEq)]
pub struct FlipPlan {
    /// Where the flags are written.
    pub targets: Vec<TargetPlan>,
    /// The checks, rendered.
    pub checks: Vec<Check>,
    /// Where they are asked.
    pub prometheus: PrometheusSource,
}

/// The Environments that are known, and the labels of the namespaces that may use them.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// The Environments; an error where one is there but cannot be read.
    pub environments: BTreeMap<EnvironmentKey, Result<Environment, String>>,
    /// The labels of the schedule's own namespace.
    pub namespace_labels: BTreeMap<String, String>,
}

impl Plan {
    /// Parses a spec.
    ///
    /// # Errors
    /// Every problem that the spec itself has. An Environment that is missing or unfit is no problem of the spec: it
    /// is something to wait for, and stands in [`EnvironmentPlan::flip`].
    pub fn parse(namespace: &str, spec: &MigrationScheduleSpec, places: &Places) -> Result<Self, Vec<Problem>> {
        let mut problems = Problems::default();
        problems.check_flags(&spec.flags);
        problems.check_checks("spec.checks", &spec.checks, spec);
        let mut seen = BTreeMap::new();
        for (i, phase) in spec.phases.iter().enumerate() {
            let path = format!("spec.phases[{i}]");
            problems.check_checks(&format!("{path}.checks"), &phase.checks, spec);
            for (j, environment) in phase.environments.iter().enumerate() {
                let key = resolve(namespace, &environment.namespace, &environment.name);
                if let Some(other) = seen.insert(key.clone(), phase.name.clone()) {
                    let message = format!("environment {key} is flipped by phase {other} already");
                    problems.add(format!("{path}.environments[{j}]"), message, "name each environment once");
                }
            }
        }
        problems.unique("spec.phases", spec.phases.iter().map(|p| p.name.as_str()));
        problems.limit(spec);
        let calendars = Reading::of(spec);
        problems.0.extend(calendars.problems.iter().cloned());
        if !problems.0.is_empty() {
            return Err(problems.0);
        }
        let phases = spec.phases.iter().enumerate().map(|(i, phase)| PhasePlan {
            name: phase.name.clone(),
            number: phase.number.clone(),
            start: phase.start.map(|start| Dated::start(start, calendars.zone)),
            end: phase.end.map(|end| Dated::end(end, calendars.zone)),
            soak: phase.soak.as_ref().unwrap_or(&spec.soak).duration,
            environments: phase
                .environments
                .iter()
                .map(|e| {
                    let key = resolve(namespace, &e.namespace, &e.name);
                    let found = places.environments.get(&key).and_then(|found| found.as_ref().ok());
                    let calendar = calendars.calendar(i, &key, found);
                    EnvironmentPlan::resolve(namespace, key, spec, &phase.checks, places, calendar)
                })
                .collect(),
        });
        Ok(Self { deadline: spec.rollback.deadline, late: calendars.late, phases: phases.collect() })
    }

    /// Whether a plan of this spec, if it is valid, may write a place: no more than a look at the names, for whoever has
    /// thousands of specs to sort out.
    pub fn may_write(namespace: &str, spec: &MigrationScheduleSpec, places: &Places, place: &TargetPlace) -> bool {
        let references = spec.phases.iter().flat_map(|p| &p.environments);
        let keys = references.map(|e| resolve(namespace, &e.namespace, &e.name));
        let writes = |environment: &Environment, key: &EnvironmentKey, flag: &Flag| {
            let listed = environment.spec.flags.iter().filter(|f| f.name == flag.name).flat_map(|f| &f.targets);
            listed.filter_map(|t| target_plan(flag, key, t).ok()).any(|t| t.place == *place)
        };
        keys.filter(|key| key.namespace == place.namespace).any(|key| {
            let environment = places.environments.get(&key).and_then(|e| e.as_ref().ok());
            environment.is_some_and(|e| spec.flags.iter().any(|flag| writes(e, &key, flag)))
        })
    }

    /// Every environment with its phase, in the order in which they are flipped.
    pub fn steps(&self) -> impl Iterator<Item = (&PhasePlan, &EnvironmentPlan)> {
        self.phases.iter().flat_map(|p| p.environments.iter().map(move |e| (p, e)))
    }
}

fn resolve(own: &str, namespace: &str, name: &str) -> EnvironmentKey {
    let namespace = if namespace.is_empty() { own } else { namespace };
    EnvironmentKey { namespace: namespace.to_owned(), name: name.to_owned() }
}

/// What is wrong, as it is found.
#[derive(Default)]
pub(super) struct Problems(pub(super) Vec<Problem>);

/// The most environments of one schedule, so that its status stays within etcd's limits.
const MOST_ENVIRONMENTS: usize = 256;

impl Problems {
    pub(super) fn add(&mut self, path: String, message: String, hint: &str) {
        let hint = (!hint.is_empty()).then(|| hint.to_owned());
        self.0.push(Problem { path, message, hint });
    }

    pub(super) fn unique<'a>(&mut self, path: &str, names: impl Iterator<Item = &'a str>) {
        let mut seen = BTreeSet::new();
        for (i, name) in names.enumerate() {
            if !seen.insert(name) {
                self.add(format!("{path}[{i}].name"), format!("`{name}` is there twice"), "names must differ");
            }
        }
    }

    fn limit(&mut self, spec: &MigrationScheduleSpec) {
        let environments: usize = spec.phases.iter().map(|p| p.environments.len()).sum();
        if environments > MOST_ENVIRONMENTS {
            let message = format!("{environments} environments, more than {MOST_ENVIRONMENTS}");
            self.add("spec.phases".to_owned(), message, "split the schedule");
        }
        let phases = spec.phases.iter().enumerate();
        let own = phases.filter_map(|(i, p)| Some((format!("spec.phases[{i}].soak.duration"), p.soak.as_ref()?)));
        for (path, soak) in own.chain([("spec.soak.duration".to_owned(), &spec.soak)]) {
            if soak.duration == Duration::default() {
                let message = "a soak of no time measures nothing".to_owned();
                self.add(path, message, "give the evidence time to come, such as 24h");
            }
        }
    }

    fn check_flags(&mut self, flags: &[Flag]) {
        self.unique("spec.flags", flags.iter().map(|f| f.name.as_str()));
        for (i, flag) in flags.iter().enumerate() {
            if flag.values.enabled == flag.values.disabled {
                let message = format!("enabled and disabled are both {}", flag.values.enabled);
                self.add(format!("spec.flags[{i}].values"), message, "they must differ");
            }
        }
    }

    fn check_checks(&mut self, path: &str, checks: &[Check], spec: &MigrationScheduleSpec) {
        self.unique(path, checks.iter().map(|c| c.name.as_str()));
        for (i, check) in checks.iter().enumerate() {
            let path = format!("{path}[{i}]");
            if !(1..=60).contains(&check.interval.as_seconds()) {
                let message = format!("an interval of {} is not between 1s and 1m", check.interval);
                self.add(format!("{path}.interval"), message, "safety checks run at least once a minute");
            }
            self.check_threshold(&format!("{path}.threshold"), &check.threshold, spec);
        }
    }

    fn check_threshold(&mut self, path: &str, t: &Threshold, spec: &MigrationScheduleSpec) {
        let mut rule = |broken: bool, message: &str, hint: &str| {
            if broken {
                self.add(path.to_owned(), message.to_owned(), hint);
            }
        };
        rule(t.query.is_some() == t.ratio.is_some(), "exactly one of query and ratio is needed", "");
        rule(t.min.is_none() && t.max.is_none(), "at least one of min and max is needed", "");
        rule(
            t.target.is_some() && t.min.is_some() == t.max.is_some(),
            "target goes with exactly one of min and max",
            "",
        );
        rule(
            t.min_samples.is_some() && t.ratio.is_none(),
            "minSamples counts the total of a ratio",
            "use ratio, or leave it out",
        );
        rule(t.for_.is_some() && t.datapoints.is_some(), "for and datapoints exclude each other", "keep one of them");
        rule(
            t.datapoints.is_some_and(|d| d.breaching > d.of || d.breaching < 1),
            "datapoints.breaching must be between 1 and of",
            "",
        );
        let ordered = |low: &Option<crate::api::Decimal>, high: &Option<crate::api::Decimal>| match (low, high) {
            (Some(low), Some(high)) => low.value() <= high.value(),
            _ => true,
        };
        rule(!ordered(&t.min, &t.max), "min is above max", "no value could pass");
        rule(
            t.max.is_some() && !ordered(&t.target, &t.max),
            "target is beyond max",
            "a target is stricter than its bound",
        );
        rule(
            t.min.is_some() && !ordered(&t.min, &t.target),
            "target is beyond min",
            "a target is stricter than its bound",
        );
        rule(t.window.is_some_and(|w| w.as_seconds() < 1), "window must be at least 1s", "");
        for (field, query) in queries(t) {
            if let Err((message, hint)) = check_query(query, t.window, spec) {
                self.add(format!("{path}.{field}"), message, hint);
            }
        }
    }
}

fn queries(t: &Threshold) -> impl Iterator<Item = (&'static str, &str)> {
    let ratio = t.ratio.as_ref();
    [
        ("query", t.query.as_deref()),
        ("ratio.bad", ratio.map(|r| r.bad.as_str())),
        ("ratio.total", ratio.map(|r| r.total.as_str())),
    ]
    .into_iter()
    .filter_map(|(field, query)| Some((field, query?)))
}

/// Labels are known only with the Environment; here every one that is asked for is taken to exist.
fn check_query(
    query: &str,
    window: Option<Duration>,
    spec: &MigrationScheduleSpec,
) -> Result<(), (String, &'static str)> {
    let environment = EnvironmentKey { namespace: "namespace".to_owned(), name: "environment".to_owned() };
    let labels =
        label_names(query).into_iter().map(|name| (name, crate::api::LabelValue("label".to_owned()))).collect();
    let scope = Scope { environment: &environment, labels: &labels, flag: only_flag(spec) };
    let rendered = render(query, scope).map_err(|m| (m, ""))?;
    let shape = inspect(&rendered).map_err(|m| (m, ""))?;
    window_agrees(&shape, window)
}

fn window_agrees(shape: &QueryShape, window: Option<Duration>) -> Result<(), (String, &'static str)> {
    match (window, shape.windowed, shape.fixed) {
        (None, true, _) => {
            Err(("uses {{ window }}, but no window is given".to_owned(), "add `window: 5m` beside the query"))
        }
        (Some(_), false, None) => {
            Err(("a window is given, but the query does not use it".to_owned(), "write `[{{ window }}]`"))
        }
        (Some(_), _, Some(fixed)) => Err((
            format!("the range [{fixed}] is fixed, so the window cannot grow after a flip"),
            "write `[{{ window }}]` in place of the fixed range, or leave window out",
        )),
        _ => Ok(()),
    }
}

fn only_flag(spec: &MigrationScheduleSpec) -> Option<&str> {
    match spec.flags.as_slice() {
        [one] => Some(&one.name),
        _ => None,
    }
}

fn label_names(template: &str) -> BTreeSet<String> {
    let marker = "environment.labels.";
    template
        .match_indices(marker)
        .map(|(i, _)| {
            let rest = template.get(i + marker.len()..).unwrap_or_default();
            rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
        })
        .collect()
}

impl EnvironmentPlan {
    fn resolve(
        namespace: &str,
        key: EnvironmentKey,
        spec: &MigrationScheduleSpec,
        own: &[Check],
        places: &Places,
        calendar: Result<Calendar, String>,
    ) -> Self {
        let environment = match places.environments.get(&key) {
            None => Err(format!("Environment {key} does not exist; create it, or name another")),
            Some(Err(why)) => Err(format!("Environment {key} cannot be read: {why}")),
            Some(Ok(environment)) => Ok(environment),
        };
        let suspended = environment.as_ref().is_ok_and(|e| e.spec.suspend);
        let flip = environment.and_then(|e| {
            served(namespace, &key, e, &places.namespace_labels)?;
            FlipPlan::resolve(&key, spec, own, e)
        });
        Self { key, flip, suspended, calendar }
    }
}

fn served(
    namespace: &str,
    key: &EnvironmentKey,
    environment: &Environment,
    labels: &BTreeMap<String, String>,
) -> Result<(), String> {
    if namespace == key.namespace {
        return Ok(());
    }
    let allowed = environment.spec.allowed_schedules.as_ref().is_some_and(|a| {
        let wanted = &a.namespace_selector.match_labels;
        !wanted.is_empty() && wanted.iter().all(|(name, value)| labels.get(name) == Some(&value.0))
    });
    if allowed {
        return Ok(());
    }
    Err(format!(
        "Environment {key} does not serve schedules of namespace {namespace}; its owner can allow them with spec.allowedSchedules"
    ))
}

impl FlipPlan {
    fn resolve(
        key: &EnvironmentKey,
        spec: &MigrationScheduleSpec,
        own: &[Check],
        environment: &Environment,
    ) -> Result<Self, String> {
        let mut targets = Vec::new();
        for flag in &spec.flags {
            let listed = environment.spec.flags.iter().find(|f| f.name == flag.name).ok_or_else(|| {
                format!(
                    "Environment {key} does not list flag {} under spec.flags, so it may not be written there",
                    flag.name
                )
            })?;
            for target in &listed.targets {
                let target = target_plan(flag, key, target)?;
                apart(key, &targets, &target)?;
                targets.push(target);
            }
        }
        let replaced = |c: &&Check| !own.iter().any(|o| o.name == c.name);
        let checks = spec.checks.iter().filter(replaced).chain(own);
        let scope = Scope { environment: key, labels: &environment.spec.labels, flag: only_flag(spec) };
        let prometheus = environment.spec.prometheus.clone();
        let checks = checks.map(|c| rendered(c, scope, &prometheus)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { targets, checks, prometheus })
    }
}

fn rendered(check: &Check, scope: Scope<'_>, prometheus: &PrometheusSource) -> Result<Check, String> {
    let mut check = check.clone();
    let t = &mut check.threshold;
    let bad = |m: String| format!("check {} does not fit Environment {}: {m}", check.name, scope.environment);
    let ratio = t.ratio.as_mut().map(|r| [&mut r.bad, &mut r.total]);
    for query in t.query.iter_mut().chain(ratio.into_iter().flatten()) {
        *query = render(query, scope).map_err(bad)?;
    }
    let least = Duration::seconds(prometheus.scrape_interval.as_seconds() * crate::analysis::SCRAPES_PER_WINDOW);
    match t.window {
        Some(window) if window < least => {
            Err(bad(format!("its window of {window} is shorter than four scrape intervals ({least})")))
        }
        _ => Ok(check),
    }
}

/// A flag has one field manager and one stamp on an object: two of its values there would delete each other. Two flags
/// in one object are fine, but not under one key.
fn apart(key: &EnvironmentKey, others: &[TargetPlan], target: &TargetPlan) -> Result<(), String> {
    let object = |t: &TargetPlan| (t.place.kind, t.place.name.clone());
    if others.iter().any(|o| o.place == target.place) {
        return Err(format!("Environment {key} lists {} twice; each place carries one value", target.place));
    }
    if others.iter().any(|o| o.flag == target.flag && object(o) == object(target)) {
        return Err(format!(
            "Environment {key} lists two places of flag {} in one object, the second is {}; a flag can have one place in each object",
            target.flag, target.place
        ));
    }
    Ok(())
}

/// Variables that change how programs load or run code; no schedule may set them.
const FORBIDDEN_VARIABLES: [&str; 6] = ["PATH", "BASH_ENV", "ENV", "IFS", "HOSTALIASES", "HOME"];
const FORBIDDEN_PREFIXES: [&str; 6] = ["LD_", "DYLD_", "PYTHON", "NODE_", "PERL5", "RUBY"];

fn target_plan(flag: &Flag, key: &EnvironmentKey, target: &Target) -> Result<TargetPlan, String> {
    let place = |kind, name: &str, container: Option<&String>, entry: Option<&String>| TargetPlace {
        kind,
        namespace: key.namespace.clone(),
        name: name.to_owned(),
        container: container.cloned(),
        key: entry.unwrap_or(&flag.name).clone(),
    };
    let (place, workloads) = match (&target.config_map, &target.workload_env) {
        (Some(t), None) => (place(PlaceKind::ConfigMap, &t.name, None, t.key.as_ref()), t.restarts.clone()),
        (None, Some(t)) => {
            let place = place(PlaceKind::WorkloadEnv(t.kind), &t.name, Some(&t.container), t.env.as_ref());
            (place, vec![WorkloadRef { kind: t.kind, name: t.name.clone() }])
        }
        _ => {
            return Err(format!(
                "Environment {key}: a target of flag {} needs exactly one of configMap and workloadEnv",
                flag.name
            ));
        }
    };
    let variable = place.key.to_ascii_uppercase();
    let forbidden = FORBIDDEN_VARIABLES.contains(&variable.as_str())
        || FORBIDDEN_PREFIXES.iter().any(|p| variable.starts_with(p))
        || variable.ends_with("_OPTIONS")
        || variable.ends_with("_PROXY");
    if place.kind.workload().is_some() && forbidden {
        return Err(format!(
            "Environment {key}: variable {} changes how programs run, so it is never written",
            place.key
        ));
    }
    Ok(TargetPlan { flag: flag.name.clone(), values: flag.values.clone(), place, workloads })
}
