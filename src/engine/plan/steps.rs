//! The steps in which a flag reaches more of its users.

use crate::api::{ArmedStep, Duration, EnvironmentKey, MigrationScheduleSpec, PercentageStep, Phase, Soak};
use crate::engine::target::TargetPlan;

use super::problems::Problems;

/// The soak of a phase, or of a step of it: its own, else that of what it is a part of.
pub(super) fn soak<'a>(
    spec: &'a MigrationScheduleSpec,
    phase: &'a Phase,
    step: Option<&'a PercentageStep>,
) -> &'a Soak {
    step.and_then(|step| step.soak.as_ref()).or(phase.soak.as_ref()).unwrap_or(&spec.soak)
}

/// The steps of a phase, each with its soak.
pub(super) fn of(spec: &MigrationScheduleSpec, phase: &Phase) -> Vec<ArmedStep> {
    let steps = phase.steps.iter().map(|step| {
        let soak = soak(spec, phase, Some(step)).clone();
        ArmedStep { percent: step.percent, soak }
    });
    steps.collect()
}

/// Whether a target can go in the steps that a phase has.
pub(super) fn takes_steps(key: &EnvironmentKey, phase: &Phase, target: &TargetPlan) -> Result<(), String> {
    if phase.steps.is_empty() || target.percent_key.is_some() {
        return Ok(());
    }
    let field = if target.place.kind.workload().is_some() { "percentName" } else { "percentKey" };
    Err(format!(
        "phase {} goes in steps, and {} takes no percentage; give that target of Environment {key} a {field}, or the phase no steps",
        phase.name, target.place
    ))
}

impl Problems {
    pub(super) fn check_steps(&mut self, spec: &MigrationScheduleSpec) {
        for (i, phase) in spec.phases.iter().enumerate() {
            let path = format!("spec.phases[{i}].steps");
            for (j, pair) in phase.steps.windows(2).enumerate() {
                let [before, step] = pair else { continue };
                if step.percent <= before.percent {
                    let message =
                        format!("{} % does not reach more users than {} % before it", step.percent, before.percent);
                    self.add(
                        format!("{path}[{}].percent", j + 1),
                        message,
                        "each step reaches more than the one before",
                    );
                }
            }
        }
    }

    /// What is wrong in any of the soaks.
    pub(super) fn check_soaks(&mut self, spec: &MigrationScheduleSpec) {
        let mut all = vec![("spec.soak".to_owned(), &spec.soak)];
        for (i, phase) in spec.phases.iter().enumerate() {
            all.extend(phase.soak.as_ref().map(|soak| (format!("spec.phases[{i}].soak"), soak)));
            let steps = phase.steps.iter().enumerate().filter_map(|(j, step)| Some((j, step.soak.as_ref()?)));
            all.extend(steps.map(|(j, soak)| (format!("spec.phases[{i}].steps[{j}].soak"), soak)));
        }
        for (path, soak) in all {
            if soak.duration == Duration::default() {
                let message = "a soak of no time measures nothing".to_owned();
                self.add(format!("{path}.duration"), message, "give the evidence time to come, such as 24h");
            }
            let falls = soak.updates.windows(2).position(|pair| pair.first() >= pair.last());
            if let Some(at) = falls {
                let message = "comes no later than the one before it".to_owned();
                self.add(format!("{path}.updates[{}]", at + 1), message, "such as [1h, 4h, 24h]");
            }
        }
    }
}
