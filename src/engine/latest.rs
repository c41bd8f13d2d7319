//! Where each environment of a plan stands: its latest epoch.

use std::collections::BTreeMap;

use crate::api::{EnvironmentKey, PhaseMark, Time};

use super::plan::{Plan, Step};
use super::state::{Run, State};

/// The latest run of every step that has one.
pub(super) struct Latest<'a>(BTreeMap<Step, &'a Run>);

impl<'a> Latest<'a> {
    /// Looks at every run once.
    pub fn of(plan: &Plan, state: &'a State) -> Self {
        let places = plan.places().filter_map(|place| {
            let (phase, environment) = plan.step(place)?;
            Some(((phase.name.as_str(), &environment.key), place))
        });
        let places: BTreeMap<(&str, &EnvironmentKey), Step> = places.collect();
        let mut latest: BTreeMap<Step, &Run> = BTreeMap::new();
        for run in state.runs.values() {
            let Some(place) = places.get(&(run.spec.phase.as_str(), run.environment())) else { continue };
            let slot = latest.entry(*place).or_insert(run);
            if run.spec.epoch > slot.spec.epoch {
                *slot = run;
            }
        }
        Self(latest)
    }

    /// The latest run of a step.
    pub fn run(&self, step: Step) -> Option<&'a Run> {
        self.0.get(&step).copied()
    }

    /// Whether a step is complete, or was left out.
    pub fn is_done(&self, step: Step) -> bool {
        self.run(step).is_some_and(|run| run.stage.is_done())
    }

    /// The steps that must be complete before this one is begun, and are not.
    pub fn missing_before(&self, plan: &Plan, step: Step) -> Vec<Step> {
        let in_work = |s| self.run(s).is_some_and(|run| run.stage.state().is_in_work());
        plan.missing_before(step, |s| self.is_done(s), in_work)
    }

    /// Until when everything is watched, once all of it is complete.
    pub fn watched_until(&self, plan: &Plan) -> Option<Time> {
        let complete = plan.places().map(|place| self.run(place)?.completed_at());
        let last = complete.collect::<Option<Vec<Time>>>()?.into_iter().max()?;
        Some(last + plan.watch.delta())
    }

    /// When a phase was begun or complete, where it was.
    pub fn mark(&self, plan: &Plan, phase: usize, of: PhaseMark) -> Option<Time> {
        let mut places = plan.places().filter(|(p, _)| *p == phase);
        match of {
            PhaseMark::Start => {
                let begun = |run: &Run| run.stage.flip().map(|f| f.armed.at).or_else(|| run.completed_at());
                places.filter_map(|place| begun(self.run(place)?)).min()
            }
            PhaseMark::Completion => places.try_fold(None, |last: Option<Time>, place| {
                let at = self.run(place)?.completed_at()?;
                Some(Some(last.map_or(at, |last| last.max(at))))
            })?,
        }
    }
}
