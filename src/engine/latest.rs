//! Where each environment of a plan stands: its latest epoch.

use crate::api::{PhaseMark, Time};

use super::plan::{Plan, Step};
use super::state::{Run, State};

/// The latest run of every step that has one.
pub(super) struct Latest<'a> {
    /// Every run with its place, where the plan has it, by name.
    placed: Vec<(&'a Run, Option<Step>)>,
    runs: Vec<Vec<Option<&'a Run>>>,
    /// Whether every step of each phase is complete, or left out.
    done: Vec<bool>,
}

impl<'a> Latest<'a> {
    /// Looks at every run once.
    pub fn of(plan: &Plan, state: &'a State) -> Self {
        let mut runs: Vec<Vec<Option<&Run>>> = plan.phases.iter().map(|p| vec![None; p.environments.len()]).collect();
        let placed: Vec<_> = state.all().map(|run| (run, plan.place_of(&run.spec))).collect();
        for (run, place) in &placed {
            let slot = (*place).and_then(|(phase, environment)| runs.get_mut(phase)?.get_mut(environment));
            if let Some(slot) = slot.filter(|slot| slot.is_none_or(|other| run.spec.epoch > other.spec.epoch)) {
                *slot = Some(*run);
            }
        }
        let done = runs.iter().map(|steps| steps.iter().all(|run| run.is_some_and(|run| run.stage.is_done())));
        let done = done.collect();
        Self { placed, runs, done }
    }

    /// Every run by its name, each with whether the plan has its place.
    pub fn all(&self) -> impl Iterator<Item = (&'a Run, bool)> {
        self.placed.iter().map(|(run, place)| (*run, place.is_some()))
    }

    /// The latest run of a step.
    pub fn run(&self, step: Step) -> Option<&'a Run> {
        *self.runs.get(step.0)?.get(step.1)?
    }

    /// Whether a step is complete, or was left out.
    pub fn is_done(&self, step: Step) -> bool {
        self.run(step).is_some_and(|run| run.stage.is_done())
    }

    /// The steps that must be complete before this one is begun, and are not.
    pub fn missing_before(&self, plan: &Plan, step: Step) -> Vec<Step> {
        let in_work = |s| self.run(s).is_some_and(|run| run.stage.state().is_in_work());
        plan.missing_before(step, |phase| self.is_whole(phase), |s| self.is_done(s), in_work)
    }

    /// Whether all that must be complete before a step is begun is.
    pub fn is_next(&self, plan: &Plan, step: Step) -> bool {
        let before = plan.phases.get(step.0).into_iter().flat_map(|phase| &phase.before);
        before.into_iter().all(|phase| self.is_whole(*phase)) && self.missing_before(plan, step).is_empty()
    }

    fn is_whole(&self, phase: usize) -> bool {
        self.done.get(phase).copied().unwrap_or_default()
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
