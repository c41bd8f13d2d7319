//! What is to be expected of a schedule: the dates of one life, and when it finishes in many.

use crate::api::{EnvironmentKey, Percent, PhaseKind, RunState, Time};
use crate::engine::laws::Violation;
use crate::engine::{EnvironmentPlan, PhasePlan};

use super::course::{Pace, Scene};
use super::declared::Declared;
use super::story::{Story, Waited};

/// How many lives the quantiles are taken from.
pub const LIVES: u64 = 200;

/// When a schedule is complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Finish {
    /// Where chance is kind all the time; nothing where it is not complete then.
    pub earliest: Option<Time>,
    /// By then, every other life is complete; nothing where fewer are.
    pub p50: Option<Time>,
    /// By then, nine lives of ten are.
    pub p90: Option<Time>,
}

/// When an environment is to do what, in one life.
#[derive(Clone, Debug, PartialEq)]
pub struct Dates {
    /// The environment.
    pub environment: EnvironmentKey,
    /// The first moment, once its turn has come, at which its calendar lets a flag go up.
    pub opens: Option<Time>,
    /// When its flag goes up.
    pub flips: Option<Time>,
    /// When its soak is over; that of its last step. Where it goes back by plan, when it is back.
    pub soak_ends: Option<Time>,
    /// When it goes back by plan.
    pub lowers: Option<Time>,
    /// Its steps; none where all users are reached at once.
    pub steps: Vec<StepDates>,
    /// What it waits for before its flip.
    pub gates: Vec<Waited>,
    /// Whether it is Work: nothing goes up, and `soak_ends` is when it is complete.
    pub work: bool,
}

/// When a step is to do what, in one life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepDates {
    /// How many of the users it reaches.
    pub percent: Percent,
    /// When it is raised to that.
    pub flips: Option<Time>,
    /// When its soak is over.
    pub soak_ends: Option<Time>,
}

impl Scene {
    /// When one life is complete.
    ///
    /// # Errors
    /// A law that was broken, which is a bug of Hoist's.
    pub fn finish(&self, declared: &Declared, seed: u64) -> Result<Option<Time>, Violation> {
        self.live(declared, seed, Pace::Leap, &mut |_| {}).map(|story| story.finish())
    }
}

/// By when so many of a hundred are complete; those that never are come last.
pub fn quantile(finishes: &[Option<Time>], percent: usize) -> Option<Time> {
    let mut sorted: Vec<Time> = finishes.iter().flatten().copied().collect();
    sorted.sort_unstable();
    let rank = (finishes.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

impl Dates {
    /// The dates of an environment of a phase in a life.
    pub fn of(story: &Story, phase: &PhasePlan, environment: &EnvironmentPlan) -> Self {
        let key = &environment.key;
        let own = |phase_name: &str, other: &EnvironmentKey| phase_name == phase.name && other == key;
        let moved =
            |to| story.moves.iter().find(|m| own(&m.step.phase, &m.step.environment) && m.to == to).map(|m| m.at);
        let flips = moved(RunState::Flipping);
        let gates: Vec<Waited> = story
            .waits
            .iter()
            .filter(|w| own(&w.step.phase, &w.step.environment) && w.step.epoch <= 1)
            .cloned()
            .collect();
        let before = |w: &&Waited| flips.is_none_or(|flips| w.from <= flips);
        let gates: Vec<Waited> = gates.iter().filter(before).cloned().collect();
        // A soak that was cut short by a rollback ends when the one that followed it does.
        let ends = story.moves.iter().filter(|m| own(&m.step.phase, &m.step.environment) && m.completes());
        let soak_ends = ends.map(|m| m.at).max();
        let work = phase.kind == PhaseKind::Work;
        let turn = gates.iter().map(|w| w.from).chain(flips).chain(soak_ends.filter(|_| work)).min();
        let calendar = environment.calendar.as_ref().ok();
        let opens = turn.and_then(|turn| calendar?.next_open(turn));
        let steps = phase.steps.iter().map(|step| StepDates::of(story, phase, key, step.percent)).collect();
        let lowers = moved(RunState::Lowering);
        Self { environment: key.clone(), opens, flips, soak_ends, lowers, steps, gates, work }
    }
}

impl StepDates {
    /// The dates of the first time that a step was reached.
    fn of(story: &Story, phase: &PhasePlan, environment: &EnvironmentKey, percent: Percent) -> Self {
        let own = story.moves.iter().filter(|m| m.step.phase == phase.name && m.step.environment == *environment);
        let flipped = own.clone().find(|m| m.to == RunState::Flipping && m.percent == Some(percent));
        let flips = flipped.map(|m| m.at);
        let mut ends = own.filter(|m| m.from == RunState::Soaking && flips.is_some_and(|flips| m.at > flips));
        let soak_ends =
            ends.find(|m| matches!(m.to, RunState::Flipping | RunState::Completed | RunState::Lowering)).map(|m| m.at);
        Self { percent, flips, soak_ends }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_count_what_never_finishes() {
        let at = |n: i64| Time::from_timestamp(n, 0);
        let ten: Vec<Option<Time>> = (1..=10).map(at).collect();
        assert_eq!((quantile(&ten, 50), quantile(&ten, 90), quantile(&ten, 100)), (at(5), at(9), at(10)));
        let half: Vec<Option<Time>> = (1..=10).map(|n| at(n).filter(|_| n <= 6)).collect();
        assert_eq!((quantile(&half, 50), quantile(&half, 90)), (at(5), None));
        assert_eq!(quantile(&[], 50), None);
        assert_eq!(quantile(&[at(3)], 90), at(3));
    }
}
