//! What an environment of a phase needs, found in its Environment.

use std::collections::BTreeMap;

use crate::analysis::{Scope, render};
use crate::api::{
    Check, Duration, Environment, EnvironmentKey, Flag, MigrationScheduleSpec, Phase, PhaseKind, PlaceKind,
    PrometheusSource, Target, TargetPlace, WorkloadRef,
};

use super::flags::in_order;
use super::steps::{self, takes_steps};
use super::{EnvironmentPlan, FlipPlan, Places, only_flag, resolve};
use crate::engine::calendar::{Calendar, Reading, Zone};
use crate::engine::target::TargetPlan;
use crate::engine::{history, room};

impl EnvironmentPlan {
    /// The environments of the phase at this place in the schedule.
    pub(super) fn of_phase(
        namespace: &str,
        index: usize,
        spec: &MigrationScheduleSpec,
        places: &Places,
        calendars: &Reading,
        frozen: Result<&Calendar, &String>,
    ) -> Vec<Self> {
        let Some(phase) = spec.phases.get(index) else { return Vec::new() };
        let calendar = |key: &EnvironmentKey, found| calendars.calendar(index, key, found)?.and(frozen);
        if phase.environments.is_empty() {
            let key = EnvironmentKey { namespace: namespace.to_owned(), name: String::new() };
            let calendar = calendar(&key, None);
            let flip = Ok(FlipPlan::default());
            return vec![Self { key, flip, suspended: false, calendar, zone: calendars.zone }];
        }
        let keys = phase.environments.iter().map(|e| resolve(namespace, &e.namespace, &e.name));
        keys.map(|key| {
            let found = places.environments.get(&key).and_then(|found| found.as_ref().ok());
            let calendar = calendar(&key, found);
            let own = found.and_then(|e| Zone::find(&e.spec.calendar.as_ref()?.time_zone).ok());
            let zone = own.unwrap_or(calendars.zone);
            let (flip, suspended) = Self::resolve(namespace, &key, spec, phase, places);
            Self { key, flip, suspended, calendar, zone }
        })
        .collect()
    }

    /// What is needed there, and whether its owner suspended it.
    fn resolve(
        namespace: &str,
        key: &EnvironmentKey,
        spec: &MigrationScheduleSpec,
        phase: &Phase,
        places: &Places,
    ) -> (Result<FlipPlan, String>, bool) {
        let environment = match places.environments.get(key) {
            None => Err(format!("Environment {key} does not exist; create it, or name another")),
            Some(Err(why)) => Err(format!("Environment {key} cannot be read: {why}")),
            Some(Ok(environment)) => Ok(environment),
        };
        let suspended = environment.as_ref().is_ok_and(|e| e.spec.suspend);
        let flip = environment.and_then(|e| {
            served(namespace, key, e, &places.namespace_labels)?;
            FlipPlan::resolve(key, spec, phase, e)
        });
        (flip, suspended)
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
    let allowed = environment
        .spec
        .allowed_schedules
        .as_ref()
        .is_some_and(|a| !a.namespace_selector.match_labels.is_empty() && a.namespace_selector.matches(labels));
    if allowed {
        return Ok(());
    }
    Err(format!(
        "Environment {key} does not serve schedules of namespace {namespace}; its owner can allow them with spec.allowedSchedules"
    ))
}

impl FlipPlan {
    /// Every check that is asked, for whatever it is asked.
    pub fn asked(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().chain(self.quiet.as_ref().map(|(check, _)| check))
    }

    fn resolve(
        key: &EnvironmentKey,
        spec: &MigrationScheduleSpec,
        phase: &Phase,
        environment: &Environment,
    ) -> Result<Self, String> {
        let mut targets = Vec::new();
        for flag in in_order(spec).into_iter().filter(|_| phase.kind == PhaseKind::Flip) {
            let listed = environment.spec.flags.iter().find(|f| f.name == flag.name).ok_or_else(|| {
                format!(
                    "Environment {key} does not list flag {} under spec.flags, so it may not be written there",
                    flag.name
                )
            })?;
            for target in &listed.targets {
                let target = target_plan(flag, key, target)?;
                apart(key, &targets, &target)?;
                takes_steps(key, phase, &target)?;
                targets.push(target);
            }
        }
        let own = &phase.checks;
        let replaced = |c: &&Check| !own.iter().any(|o| o.name == c.name);
        // Work changes nothing that could be compared with what was before.
        let judges = |c: &&Check| phase.kind == PhaseKind::Flip || c.block().is_none();
        let checks = spec.checks.iter().filter(replaced).chain(own).filter(judges);
        let scope = Scope { environment: key, labels: &environment.spec.labels, flag: only_flag(spec) };
        let prometheus = environment.spec.prometheus.clone();
        let checks = checks.map(|c| rendered(c, scope, &prometheus)).collect::<Result<Vec<_>, _>>()?;
        let wanted = phase.requires.as_ref().map(|r| &r.quiet);
        let (quiet, checks): (Vec<Check>, _) =
            checks.into_iter().partition(|c| wanted.is_some_and(|q| q.check == c.name));
        let quiet = quiet.into_iter().next().zip(wanted.map(|q| q.for_));
        let armed = room::armed(&targets, checks.iter());
        if armed > room::ARMED {
            return Err(format!(
                "what a run in Environment {key} must remember of its {} targets and {} checks takes {} KiB, more than {}; shorten queries or take some out",
                targets.len(),
                checks.len(),
                armed.div_ceil(1024),
                room::ARMED / 1024
            ));
        }
        let steps = steps::of(spec, phase);
        let soak = steps::soak(spec, phase, None);
        let soaks =
            history::soaks(steps.iter().map(|s| &s.soak).chain([soak].into_iter().filter(|_| steps.is_empty())));
        let alpha = history::alpha(spec.false_rollback_budget.as_ref(), &checks, steps.len());
        Ok(Self { targets, checks, alpha, soaks, quiet, prometheus: Some(prometheus) })
    }
}

fn rendered(check: &Check, scope: Scope<'_>, prometheus: &PrometheusSource) -> Result<Check, String> {
    let mut check = check.clone();
    let name = check.name.clone();
    let bad = |m: String| format!("check {name} does not fit Environment {}: {m}", scope.environment);
    for query in check.queries_mut() {
        *query = render(query, scope).map_err(bad)?;
    }
    let least = Duration::seconds(prometheus.scrape_interval.as_seconds() * crate::analysis::SCRAPES_PER_WINDOW);
    match check.window() {
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
    let within = |o: &TargetPlan| object(o) == object(target) && o.place.container == target.place.container;
    let names = |t: &TargetPlan| [Some(t.place.key.clone()), t.percent_key.clone()].into_iter().flatten();
    let taken = others.iter().filter(|o| within(o)).flat_map(names).chain([target.place.key.clone()]);
    if let Some(percent) = &target.percent_key
        && taken.into_iter().any(|name| name == *percent)
    {
        return Err(format!(
            "Environment {key} lists {percent} for the percentage of {}, which is written as something else",
            target.place
        ));
    }
    if others.iter().any(|o| within(o) && o.percent_key.as_ref() == Some(&target.place.key)) {
        return Err(format!("Environment {key} lists {} also for a percentage", target.place));
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

pub(super) fn target_plan(flag: &Flag, key: &EnvironmentKey, target: &Target) -> Result<TargetPlan, String> {
    let place = |kind, name: &str, container: Option<&String>, entry: Option<&String>| TargetPlace {
        kind,
        namespace: key.namespace.clone(),
        name: name.to_owned(),
        container: container.cloned(),
        key: entry.unwrap_or(&flag.name).clone(),
    };
    let (place, percent_key, workloads) = match (&target.config_map, &target.workload_env) {
        (Some(t), None) => {
            let place = place(PlaceKind::ConfigMap, &t.name, None, t.key.as_ref());
            (place, t.percent_key.clone(), t.restarts.clone())
        }
        (None, Some(t)) => {
            let place = place(PlaceKind::WorkloadEnv(t.kind), &t.name, Some(&t.container), t.env.as_ref());
            (place, t.percent_name.clone(), vec![WorkloadRef { kind: t.kind, name: t.name.clone() }])
        }
        _ => {
            return Err(format!(
                "Environment {key}: a target of flag {} needs exactly one of configMap and workloadEnv",
                flag.name
            ));
        }
    };
    let forbidden = [Some(&place.key), percent_key.as_ref()].into_iter().flatten().find(|name| is_forbidden(name));
    if let Some(name) = forbidden.filter(|_| place.kind.workload().is_some()) {
        return Err(format!("Environment {key}: variable {name} changes how programs run, so it is never written"));
    }
    let (name, requires) = (flag.name.clone(), flag.requires.clone());
    Ok(TargetPlan { flag: name, requires, values: flag.values.clone(), place, percent_key, workloads })
}

fn is_forbidden(name: &str) -> bool {
    let variable = name.to_ascii_uppercase();
    FORBIDDEN_VARIABLES.contains(&variable.as_str())
        || FORBIDDEN_PREFIXES.iter().any(|p| variable.starts_with(p))
        || variable.ends_with("_OPTIONS")
        || variable.ends_with("_PROXY")
}
