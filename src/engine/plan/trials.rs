//! Phases that put back by plan what they raise, and what may come after them.

use std::collections::BTreeSet;

use crate::api::{EnvironmentKey, MigrationScheduleSpec, Phase, PhaseKind};

use super::steps::soak;
use super::{Problems, resolve};

impl Problems {
    /// What is wrong in any `lowerAfter`, and where an Environment is raised that another phase keeps raised. `before` has
    /// every phase that comes before each.
    pub(super) fn check_trials(&mut self, namespace: &str, spec: &MigrationScheduleSpec, before: &[BTreeSet<usize>]) {
        for (i, phase) in spec.phases.iter().enumerate() {
            let Some(after) = phase.lower_after else { continue };
            let path = format!("spec.phases[{i}].lowerAfter");
            // That after which nothing more is raised.
            let soak = soak(spec, phase, phase.steps.last()).duration;
            if phase.kind == PhaseKind::Work {
                let message = "a Work phase raises nothing, so it puts nothing back".to_owned();
                self.add(path, message, "leave it out");
            } else if phase.point_of_no_return.is_some() {
                let message = "what goes back by plan has no point of no return".to_owned();
                self.add(path, message, "keep one of lowerAfter and pointOfNoReturn");
            } else if after < soak {
                let message = format!("{after} is shorter than the soak of {soak}, which must be over first");
                self.add(path, message, "give it a longer lowerAfter, or a shorter soak");
            }
        }
        let flips = spec.phases.iter().enumerate().filter(|(_, p)| p.kind == PhaseKind::Flip);
        let flips: Vec<(usize, &Phase)> = flips.collect();
        for (at, (i, phase)) in flips.iter().enumerate() {
            for (j, reference) in phase.environments.iter().enumerate() {
                let key = resolve(namespace, &reference.namespace, &reference.name);
                let names = |p: &Phase| p.environments.iter().any(|e| resolve(namespace, &e.namespace, &e.name) == key);
                let mut others = flips.iter().take(at).filter(|(_, other)| names(other));
                let wrong = others.find_map(|other| both(spec, before, &key, (*i, phase), *other));
                if let Some((message, hint)) = wrong {
                    self.add(format!("spec.phases[{i}].environments[{j}]"), message, &hint);
                }
            }
        }
    }
}

/// Why two phases cannot both flip an Environment, and what to do.
fn both(
    spec: &MigrationScheduleSpec,
    before: &[BTreeSet<usize>],
    key: &EnvironmentKey,
    (i, phase): (usize, &Phase),
    (o, other): (usize, &Phase),
) -> Option<(String, String)> {
    let leads = |first: usize, then: usize| before.get(then).is_some_and(|all| all.contains(&first));
    let first = if leads(o, i) {
        o
    } else if leads(i, o) {
        i
    } else {
        let message =
            format!("environment {key} is flipped by phase {} already, and neither comes before the other", other.name);
        return Some((message, format!("name {} in `after` of {}, or the environment once", other.name, phase.name)));
    };
    let first = spec.phases.get(first)?;
    if first.lower_after.is_some() {
        return None;
    }
    let message = format!("environment {key} is flipped by phase {} already", other.name);
    let hint = format!("name each environment once, or give {}, which comes first, a lowerAfter", first.name);
    Some((message, hint))
}
