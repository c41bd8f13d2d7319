//! Which comes before which: the order that `after`, `maxParallel` and `barrier` make of phases and environments.

use std::collections::BTreeSet;

use super::{EnvironmentPlan, PhasePlan, Plan, Problems};
use crate::api::{MigrationRunSpec, MigrationScheduleSpec};
use crate::engine::elsewhere::ElsewherePhase;
use crate::engine::hint::did_you_mean;

/// A phase and one of its environments, by their places in the plan.
pub type Step = (usize, usize);

impl Plan {
    /// Every environment with its phase, in the order in which the plan names them.
    pub fn steps(&self) -> impl Iterator<Item = (&PhasePlan, &EnvironmentPlan)> {
        self.phases.iter().flat_map(|p| p.environments.iter().map(move |e| (p, e)))
    }

    /// The same by their places.
    pub fn places(&self) -> impl Iterator<Item = Step> {
        self.phases.iter().enumerate().flat_map(|(p, phase)| (0..phase.environments.len()).map(move |e| (p, e)))
    }

    /// What stands at a place.
    pub fn step(&self, (phase, environment): Step) -> Option<(&PhasePlan, &EnvironmentPlan)> {
        let phase = self.phases.get(phase)?;
        Some((phase, phase.environments.get(environment)?))
    }

    /// The place of a run, where the plan still has it.
    pub fn place_of(&self, run: &MigrationRunSpec) -> Option<Step> {
        let phase = self.phases.iter().position(|p| p.name == run.phase)?;
        let environments = &self.phases.get(phase)?.environments;
        Some((phase, environments.iter().position(|e| e.key == run.environment)?))
    }

    /// Whether a step must be complete before another is begun, whatever else is.
    pub fn precedes(&self, first: Step, then: Step) -> bool {
        let Some(phase) = self.phases.get(then.0) else { return false };
        let group = if phase.barrier { then.1 - then.1 % phase.max_parallel } else { 0 };
        let in_turn = if phase.max_parallel == 1 { then.1 } else { group };
        phase.before.contains(&first.0) || (first.0 == then.0 && first.1 < in_turn)
    }

    /// The steps that must be complete before this one is begun, and are not; where too many others of its phase are on
    /// their way, those. `whole` says of a phase what `done` says of all its steps.
    pub fn missing_before(
        &self,
        step: Step,
        whole: impl Fn(usize) -> bool,
        done: impl Fn(Step) -> bool,
        in_work: impl Fn(Step) -> bool,
    ) -> Vec<Step> {
        let Some(phase) = self.phases.get(step.0) else { return Vec::new() };
        let of = |p: usize| (0..self.phases.get(p).map_or(0, |p| p.environments.len())).map(move |e| (p, e));
        let before = phase.before.iter().copied().filter(|p| !whole(*p)).chain([step.0]).flat_map(of);
        let mut missing: Vec<Step> = before.filter(|s| self.precedes(*s, step) && !done(*s)).collect();
        let of_phase = of(step.0).filter(|s| s.1 != step.1);
        let beside: Vec<Step> = of_phase.filter(|s| if s.1 < step.1 { !done(*s) } else { in_work(*s) }).collect();
        if beside.len() >= phase.max_parallel {
            missing.extend(beside);
        }
        missing.sort_unstable();
        missing.dedup();
        missing
    }
}

impl Problems {
    /// Every phase that comes before each phase. Nothing of use where names are unknown or go round in a circle.
    pub(super) fn sequence(&mut self, spec: &MigrationScheduleSpec) -> Vec<BTreeSet<usize>> {
        let mut after = Vec::new();
        let mut counted = Vec::new();
        for (i, phase) in spec.phases.iter().enumerate() {
            let path = format!("spec.phases[{i}]");
            after.push(match &phase.after {
                None => i.checked_sub(1).into_iter().collect(),
                Some(names) => {
                    self.twice(&format!("{path}.after"), names, "name each phase once");
                    let named = names.iter().enumerate().filter(|(_, name)| !name.contains('/'));
                    named.filter_map(|(j, name)| self.named(format!("{path}.after[{j}]"), name, spec)).collect()
                }
            });
            let from = phase.start_after.as_ref();
            counted.push(from.and_then(|from| self.named(format!("{path}.startAfter.phase"), &from.phase, spec)));
        }
        closure(&after, &counted).unwrap_or_else(|circle| {
            let name = |i: &usize| spec.phases.get(*i).map_or("", |p| p.name.as_str());
            let told = circle.iter().map(name).collect::<Vec<_>>().join(" after ");
            let path = circle.first().map(|i| format!("spec.phases[{i}]")).unwrap_or_default();
            let message = format!("phases wait for one another in a circle: {told}");
            self.add(path, message, "take one of them out of `after` or `startAfter`");
            vec![BTreeSet::new(); spec.phases.len()]
        })
    }

    /// Every phase of another schedule that comes before each phase, whether it names it or it is named by one that comes
    /// before it. `own` is the schedule's namespace and name.
    pub(super) fn elsewhere(
        &mut self,
        own: (&str, &str),
        spec: &MigrationScheduleSpec,
        before: &[BTreeSet<usize>],
    ) -> Vec<BTreeSet<ElsewherePhase>> {
        let mut named = vec![BTreeSet::new(); spec.phases.len()];
        for ((i, phase), found) in spec.phases.iter().enumerate().zip(&mut named) {
            for (j, text) in phase.after.iter().flatten().enumerate() {
                let path = format!("spec.phases[{i}].after[{j}]");
                match ElsewherePhase::read(text, own.0) {
                    Ok(None) => {}
                    Err(why) => self.add(path, why, "write a phase, SCHEDULE/PHASE or NAMESPACE/SCHEDULE/PHASE"),
                    Ok(Some(other)) if (other.namespace.as_str(), other.schedule.as_str()) == own => {
                        let message = format!("`{text}` names a phase of this very schedule");
                        self.add(path, message, "write the phase's name alone");
                    }
                    Ok(Some(other)) => {
                        if !found.insert(other) {
                            self.add(path, format!("`{text}` is there twice"), "name each phase once");
                        }
                    }
                }
            }
        }
        let all = before.iter().zip(&named).map(|(before, own)| {
            let led = before.iter().filter_map(|i| named.get(*i)).flatten();
            own.iter().chain(led).cloned().collect()
        });
        all.collect()
    }

    fn named(&mut self, path: String, name: &str, spec: &MigrationScheduleSpec) -> Option<usize> {
        let found = spec.phases.iter().position(|p| p.name == name);
        if found.is_none() {
            let hint = did_you_mean(name, spec.phases.iter().map(|p| p.name.as_str()));
            self.add(path, format!("this schedule has no phase {name}"), &hint.unwrap_or_default());
        }
        found
    }

    pub(super) fn twice(&mut self, path: &str, names: &[String], hint: &str) {
        let mut seen = BTreeSet::new();
        let own = names.iter().enumerate().filter(|(_, name)| !name.contains('/'));
        for (j, name) in own.filter(|(_, name)| !seen.insert(name.as_str())) {
            self.add(format!("{path}[{j}]"), format!("`{name}` is there twice"), hint);
        }
    }
}

/// A circle in what comes after what, with its first node at both ends; nothing where there is none.
pub fn circle(after: &[Vec<usize>]) -> Option<Vec<usize>> {
    closure(after, &vec![None; after.len()]).err()
}

/// All that comes before each node, by the first kind of edges; both kinds must be free of circles.
pub(super) fn closure(after: &[Vec<usize>], counted: &[Option<usize>]) -> Result<Vec<BTreeSet<usize>>, Vec<usize>> {
    let mut before: Vec<Option<BTreeSet<usize>>> = vec![None; after.len()];
    let open = |before: &[Option<BTreeSet<usize>>], i: usize| -> Option<usize> {
        let direct = after.get(i).into_iter().flatten().copied();
        let mut edges = direct.chain(counted.get(i).copied().flatten());
        edges.find(|j| before.get(*j).is_none_or(Option::is_none))
    };
    loop {
        let waiting: Vec<usize> = (0..after.len()).filter(|i| before.get(*i).is_some_and(Option::is_none)).collect();
        let Some(next) = waiting.iter().copied().find(|i| open(&before, *i).is_none()) else {
            return match waiting.first() {
                None => Ok(before.into_iter().flatten().collect()),
                Some(first) => Err(round(*first, |i| open(&before, i))),
            };
        };
        let direct = after.get(next).into_iter().flatten();
        let all = direct.flat_map(|j| before.get(*j).into_iter().flatten().flatten().copied().chain([*j])).collect();
        if let Some(slot) = before.get_mut(next) {
            *slot = Some(all);
        }
    }
}

/// Walks along what is waited for until it comes round, and gives the circle with its first node at both ends.
fn round(first: usize, open: impl Fn(usize) -> Option<usize>) -> Vec<usize> {
    let mut path = vec![first];
    let mut at = first;
    while let Some(next) = open(at) {
        let seen = path.iter().position(|i| *i == next);
        path.push(next);
        if let Some(from) = seen {
            return path.split_off(from);
        }
        at = next;
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_before_is_all_that_leads_there() {
        let after = [vec![], vec![0], vec![0], vec![2, 1], vec![]];
        let before = closure(&after, &[None, None, None, None, Some(3)]).expect("no circle");
        let of = |i: usize| before[i].iter().copied().collect::<Vec<_>>();
        assert_eq!([of(0), of(1), of(3), of(4)], [vec![], vec![0], vec![0, 1, 2], vec![]]);
    }

    #[test]
    fn circles_are_named() {
        assert_eq!(closure(&[vec![0]], &[None]), Err(vec![0, 0]));
        assert_eq!(closure(&[vec![], vec![3], vec![1], vec![2]], &[None; 4]), Err(vec![1, 3, 2, 1]));
        assert_eq!(closure(&[vec![], vec![0]], &[Some(1), None]), Err(vec![0, 1, 0]));
    }
}
