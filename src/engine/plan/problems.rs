//! What is wrong in a spec by itself.

use std::collections::BTreeSet;

use crate::analysis::{QueryShape, Scope, inspect, render};
use crate::api::{Check, Duration, EnvironmentKey, MigrationScheduleSpec, PhaseKind, Quiet, Threshold};
use crate::engine::hint::did_you_mean;

use super::{Problem, only_flag, resolve};

/// What is wrong, as it is found.
#[derive(Default)]
pub(in crate::engine) struct Problems(pub(in crate::engine) Vec<Problem>);

/// The most environments of one schedule, so that its status stays within etcd's limits.
const MOST_ENVIRONMENTS: usize = 256;

impl Problems {
    pub(in crate::engine) fn add(&mut self, path: String, message: String, hint: &str) {
        let hint = (!hint.is_empty()).then(|| hint.to_owned());
        self.0.push(Problem { path, message, hint });
    }

    pub(in crate::engine) fn unique<'a>(&mut self, path: &str, names: impl Iterator<Item = &'a str>) {
        let mut seen = BTreeSet::new();
        for (i, name) in names.enumerate() {
            if !seen.insert(name) {
                self.add(format!("{path}[{i}].name"), format!("`{name}` is there twice"), "names must differ");
            }
        }
    }

    pub(super) fn limit(&mut self, spec: &MigrationScheduleSpec) {
        let environments: usize = spec.phases.iter().map(|p| p.environments.len()).sum();
        if environments > MOST_ENVIRONMENTS {
            let message = format!("{environments} environments, more than {MOST_ENVIRONMENTS}");
            self.add("spec.phases".to_owned(), message, "split the schedule");
        }
    }

    pub(super) fn check_phases(&mut self, namespace: &str, spec: &MigrationScheduleSpec) {
        self.unique("spec.phases", spec.phases.iter().map(|p| p.name.as_str()));
        for (i, phase) in spec.phases.iter().enumerate() {
            let path = format!("spec.phases[{i}]");
            self.check_checks(&format!("{path}.checks"), &phase.checks, spec);
            let mut named = BTreeSet::new();
            let what = if phase.kind == PhaseKind::Flip { "flipped" } else { "named" };
            for (j, environment) in phase.environments.iter().enumerate() {
                let key = resolve(namespace, &environment.namespace, &environment.name);
                if !named.insert(key.clone()) {
                    let message = format!("environment {key} is {what} by phase {} already", phase.name);
                    self.add(format!("{path}.environments[{j}]"), message, "name each environment once");
                }
            }
            let mut rule = |broken: bool, field: &str, message: &str| {
                if broken {
                    self.add(format!("{path}{field}"), message.to_owned(), "");
                }
            };
            let (work, nowhere) = (phase.kind == PhaseKind::Work, phase.environments.is_empty());
            rule(!work && nowhere, "", "a Flip phase names the environments that it flips");
            rule(work && phase.soak.is_some(), ".soak", "a Work phase flips nothing, so it has no soak");
            let idle = work && nowhere && !phase.checks.is_empty();
            rule(idle, ".checks", "checks are asked of environments, and this phase names none");
            if let Some(requires) = &phase.requires {
                self.check_quiet(&path, &requires.quiet, nowhere, spec.checks.iter().chain(&phase.checks));
            }
        }
    }

    fn check_quiet<'a>(
        &mut self,
        path: &str,
        quiet: &Quiet,
        nowhere: bool,
        checks: impl Iterator<Item = &'a Check> + Clone,
    ) {
        let path = format!("{path}.requires.quiet");
        if nowhere {
            let message = "the check is asked of environments, and this phase names none".to_owned();
            self.add(path.clone(), message, "name the environments whose old path must be quiet");
        }
        if quiet.for_ == Duration::default() {
            self.add(format!("{path}.for"), "quiet for no time says nothing".to_owned(), "such as 7d");
        }
        if checks.clone().any(|c| c.name == quiet.check && c.block().is_some()) {
            let message = format!("{} judges by blocks, and only a threshold can be quiet", quiet.check);
            self.add(format!("{path}.check"), message, "name a check with a threshold");
        }
        if !checks.clone().any(|c| c.name == quiet.check) {
            let hint = did_you_mean(&quiet.check, checks.map(|c| c.name.as_str())).unwrap_or_default();
            self.add(format!("{path}.check"), format!("there is no check {}", quiet.check), &hint);
        }
    }

    pub(super) fn check_threshold(&mut self, path: &str, t: &Threshold) {
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
        rule(
            t.confidence.is_some() && t.ratio.is_none(),
            "confidence weighs the counts of a ratio",
            "use ratio, or leave it out",
        );
        rule(
            t.confidence.as_ref().is_some_and(|c| !(0.5..1.0).contains(&c.value())),
            "confidence must be at least 0.5 and less than 1",
            "0.99 leaves one look in a hundred to chance",
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
    }
}

/// What a check makes of its queries.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    /// What the window becomes, where there is one.
    pub window: Option<Duration>,
    /// Why they must count, where they must.
    pub counts: Option<&'static str>,
    /// Whether they are asked once for each block.
    pub block: bool,
}

/// Labels are known only with the Environment; here every one that is asked for is taken to exist.
pub(super) fn check_query(
    query: &str,
    asked: Asked,
    spec: &MigrationScheduleSpec,
) -> Result<(), (String, &'static str)> {
    let environment = EnvironmentKey { namespace: "namespace".to_owned(), name: "environment".to_owned() };
    let labels =
        label_names(query).into_iter().map(|name| (name, crate::api::LabelValue("label".to_owned()))).collect();
    let scope = Scope { environment: &environment, labels: &labels, flag: only_flag(spec) };
    let rendered = render(query, scope).map_err(|m| (m, ""))?;
    let shape = inspect(&rendered).map_err(|m| (m, ""))?;
    if let Some(why) = asked.counts.filter(|_| shape.per_second) {
        let message = format!("{why}, and this asks for events per second");
        return Err((message, "use increase() over the window"));
    }
    if asked.block && !shape.windowed {
        let message = "does not use {{ window }}, which is as long as a block".to_owned();
        return Err((message, "write `[{{ window }}]`, so that blocks lie side by side"));
    }
    window_agrees(&shape, asked.window)
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
