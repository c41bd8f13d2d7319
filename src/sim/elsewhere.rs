//! Other schedules in the life of one: what becomes of the phases for which it waits.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::{EnvironmentKey, MigrationRun, MigrationScheduleSpec, RunState, Time};
use crate::engine::laws::Trace;
use crate::engine::{ElsewherePhase, Neighbours, Plan, Raise, StampKind};

use super::story::Story;
use super::world::World;

/// From when on phases of other schedules are complete, or why not, in a sentence; in the order of time. One of which
/// nothing is said is complete all the time.
pub type Elsewhere = BTreeMap<ElsewherePhase, Vec<(Time, Result<(), String>)>>;

impl World {
    /// What a pass is told of others at a moment.
    pub(super) fn neighbours_at(&self, plan: Option<&Plan>, at: Time) -> Neighbours {
        let named = plan.into_iter().flat_map(|p| &p.phases).flat_map(|p| &p.elsewhere);
        let elsewhere = named.map(|other| (other.clone(), self.standing(other, at))).collect();
        Neighbours { elsewhere, ..self.neighbours.clone() }
    }

    fn standing(&self, other: &ElsewherePhase, at: Time) -> Result<(), String> {
        let Some(known) = self.elsewhere.get(other) else { return Ok(()) };
        let last = known.iter().take_while(|(from, _)| *from <= at).last().or(known.first());
        last.map_or(Ok(()), |(_, standing)| standing.clone())
    }

    /// The next moment at which anything of this changes.
    pub(super) fn next_elsewhere(&self, now: Time) -> Option<Time> {
        self.elsewhere.values().flatten().map(|(at, _)| *at).filter(|at| *at > now).min()
    }

    /// The phases of others that are not complete while a flag goes up, and is not up by the same run already.
    pub(super) fn open_elsewhere(&self, run: &MigrationRun, raise: &Raise) -> BTreeSet<String> {
        let up = |t: &Trace| matches!(t, Trace::Written(w) if w.kind == StampKind::Raised && w.run == raise.stamp.run);
        if run.status.as_ref().is_some_and(|s| s.attempts > 1) && self.trace.iter().any(up) {
            return BTreeSet::new();
        }
        let open = self.elsewhere.keys().filter(|other| self.standing(other, self.now).is_err());
        open.map(ToString::to_string).collect()
    }
}

impl Story {
    /// What becomes of a phase of this life's schedule, for one of a namespace that waits for it.
    pub fn standings(
        &self,
        other: &ElsewherePhase,
        namespace: &str,
        spec: &MigrationScheduleSpec,
    ) -> Vec<(Time, Result<(), String>)> {
        let mut states: BTreeMap<&EnvironmentKey, RunState> = BTreeMap::new();
        let told = |states: &BTreeMap<&EnvironmentKey, RunState>| {
            other.complete_by(namespace, spec, |key| states.get(key).map(|state| (*state, false)))
        };
        let mut all = vec![(self.from, told(&states))];
        for moved in self.moves.iter().filter(|m| m.step.phase == other.phase) {
            states.insert(&moved.step.environment, moved.to);
            let now = told(&states);
            if all.last().is_none_or(|(_, last)| *last != now) {
                all.push((moved.at, now));
            }
        }
        all
    }
}
