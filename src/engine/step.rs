//! The one decision function: what changes, what is sent, and when to look again.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::TimeDelta;

use crate::analysis::Grid;
use crate::api::{CheckOutcome, CheckStatus, Gate, OnDelete, PauseStatus, Time, Wait};

use super::condition::report;
use super::decision::{Decision, Finalizer, Keep, Lower, Motion, Raise, Restart, Seal, Update};
use super::latest::Latest;
use super::order::{Orders, orders};
use super::plan::{EnvironmentPlan, PhasePlan, Step};
use super::probe::Observations;
use super::room;
use super::start::{Begins, begins};
use super::state::{Run, Stage, State};
use super::view::View;

/// How long to sleep where nothing is due.
const LONGEST_SLEEP: TimeDelta = TimeDelta::hours(1);

/// Decides.
///
/// Equal inputs give an equal decision. Observations may be partial: a probe without an answer delays what depends on
/// it and nothing else, so a shell may call this after every answer and act on the first retreat.
pub fn step(view: &View, state: &State, seen: &Observations, now: Time) -> Decision {
    let mut pass = Pass::new(view, state, seen, now);
    pass.people();
    pass.open_next();
    pass.note_points_of_no_return();
    pass.take_in();
    pass.stages();
    pass.spread(state);
    pass.end();
    pass.decide(state)
}

/// One pass in the making.
pub(super) struct Pass<'a> {
    pub view: &'a View,
    pub seen: &'a Observations,
    pub now: Time,
    pub state: State,
    pub orders: Orders,
    pub lowers: Vec<Lower>,
    pub raises: Vec<Raise>,
    pub seals: Vec<Seal>,
    pub lower_restarts: Vec<Restart>,
    pub raise_restarts: Vec<Restart>,
    pub updates: Vec<(String, Update)>,
    pub keeps: Vec<Keep>,
    finalizer: Finalizer,
    wake: Time,
    /// Where its moments lie, or those of all schedules would fall together.
    grid: Grid,
}

impl<'a> Pass<'a> {
    fn new(view: &'a View, state: &State, seen: &'a Observations, now: Time) -> Self {
        Self {
            view,
            seen,
            now,
            state: state.clone(),
            orders: Orders::default(),
            lowers: Vec::new(),
            raises: Vec::new(),
            seals: Vec::new(),
            lower_restarts: Vec::new(),
            raise_restarts: Vec::new(),
            updates: Vec::new(),
            keeps: Vec::new(),
            finalizer: Finalizer::Leave,
            wake: now + LONGEST_SLEEP,
            grid: Grid::of(&view.uid),
        }
    }

    /// Looks again at this time, or a second from now where it has passed.
    pub fn wake_at(&mut self, at: Time) {
        self.wake = self.wake.min(at.max(self.now + TimeDelta::seconds(1)));
    }

    pub fn wake_in(&mut self, delta: TimeDelta) {
        self.wake_at(self.now + delta);
    }

    /// Looks again at the next of the schedule's moments that lie this far apart. Passes made for other reasons do not shift
    /// them, so that when something is noticed does not depend on what else was looked at; and all of its runs have the
    /// same, since a pass looks at every one.
    pub fn wake_every(&mut self, apart: TimeDelta) {
        self.wake_at(self.grid.last(apart, self.now) + apart);
    }

    fn people(&mut self) {
        self.orders = orders(self.view, &self.state, self.now);
        for (name, reason, actor) in std::mem::take(&mut self.orders.skipped) {
            if let Some(run) = self.state.runs.get_mut(&name) {
                Arc::make_mut(run).go(Stage::Skipped, &reason, &actor, self.now);
            }
        }
        for run in std::mem::take(&mut self.orders.opened) {
            self.must_be_kept();
            self.state.runs.insert(run.name.clone(), Arc::new(run));
        }
    }

    /// Opens the runs whose turn has come: all that must be complete before them is, and their start has come.
    fn open_next(&mut self) {
        let Ok(plan) = &self.view.plan else { return };
        if self.view.deleting || !self.view.unreadable.is_empty() {
            return;
        }
        let latest = Latest::of(plan, &self.state);
        let mut open = Vec::new();
        let mut later = None;
        for place in plan.places().filter(|place| latest.run(*place).is_none()) {
            let Some((phase, environment)) = plan.step(place) else { continue };
            if !latest.is_next(plan, place) {
                continue;
            }
            match begins(plan, &latest, phase) {
                Begins::At(start) if start > self.now => later = later.into_iter().chain([start]).min(),
                Begins::Unknown(_) => {}
                Begins::Anytime | Begins::At(_) => open.push((phase, environment)),
            }
        }
        if let Some(at) = later {
            self.wake_at(at);
        }
        for (phase, environment) in open {
            self.open(phase, environment);
        }
    }

    /// A schedule with runs does not go before its deletion was seen to.
    fn must_be_kept(&mut self) {
        if !self.view.finalizer {
            self.finalizer = Finalizer::Add;
        }
    }

    fn open(&mut self, phase: &PhasePlan, environment: &EnvironmentPlan) {
        self.must_be_kept();
        let run = Run::first(self.view, phase, environment, self.now);
        self.state.runs.insert(run.name.clone(), Arc::new(run));
    }

    fn stages(&mut self) {
        // Whoever raises looks at what became of the others in this very pass, so they come last.
        let mut turns: Vec<(u8, Option<Step>, Arc<Run>)> = Vec::new();
        for run in self.state.runs.values().cloned().collect::<Vec<_>>() {
            let turn = match run.stage {
                Stage::Finished(_) | Stage::Skipped => {
                    self.state.ledgers.remove(&run.name);
                    continue;
                }
                Stage::Gating => 2,
                Stage::Flipping(_) => 1,
                _ if self.rests(&run) => {
                    #[cfg(test)]
                    self.would_rest(&run);
                    continue;
                }
                _ => 0,
            };
            let place = self.view.plan.as_ref().ok().and_then(|plan| plan.place_of(&run.spec));
            turns.push((turn, place, run));
        }
        turns.sort_by(|(turn, place, run), other| (turn, place, &run.name).cmp(&(&other.0, &other.1, &other.2.name)));
        for (.., found) in turns {
            let (name, mut run) = (found.name.clone(), Run::clone(&found));
            match run.stage.clone() {
                Stage::Gating => self.gating(&mut run),
                Stage::Flipping(flip) => self.flipping(&mut run, flip),
                Stage::Verifying(flip) => self.verifying(&mut run, flip),
                Stage::Soaking(flip, at) => self.soaking(&mut run, flip, at),
                Stage::Completed(flip, at) => self.completed(&mut run, &flip, at),
                Stage::Lowering(flip, record) => self.lowering(&mut run, flip, &record),
                Stage::RollingBack(flip, record) => self.rolling_back(&mut run, flip, record, false),
                Stage::RolledBack(flip, _) => self.rolled_back(&mut run, &flip),
                Stage::Worked if self.view.deleting => {
                    run.go(Stage::Finished(None), "the schedule was deleted", "hoist", self.now);
                }
                Stage::Worked | Stage::Finished(_) | Stage::Skipped => {}
            }
            // On its way back nothing is judged any more.
            let judged = run.stage.raised().is_some() && run.stage.way_back().is_none();
            if !judged && run.stage != Stage::Gating {
                self.state.ledgers.remove(&name);
            }
            self.state.runs.insert(name, Arc::new(run));
        }
    }

    /// Looks at a run that rests as if it did not: that must come to the same.
    #[cfg(test)]
    fn would_rest(&mut self, found: &Run) {
        let (wake, mut run) = (self.wake, found.clone());
        if let Stage::Completed(flip, at) = &found.stage {
            self.completed(&mut run, flip, *at);
        }
        assert_eq!((self.wake, run), (wake, found.clone()));
    }

    /// Ends the watch where the schedule is complete, and lets a deleted schedule go.
    fn end(&mut self) {
        self.wake_at_ends();
        // Where steps are left that never began, there is no end yet.
        let plan = self.view.plan.as_ref().ok().filter(|plan| self.state.runs.len() >= plan.places().count());
        let over = plan.and_then(|plan| Latest::of(plan, &self.state).watched_until(plan));
        if let Some(over) = over.filter(|over| *over > self.now) {
            self.wake_at(over);
        } else if over.is_some() {
            for run in self.state.runs.values_mut() {
                let flip = match &run.stage {
                    Stage::Completed(flip, _) => Some(flip.clone()),
                    Stage::Worked => None,
                    _ => continue,
                };
                Arc::make_mut(run).go(Stage::Finished(flip), "the schedule is complete", "hoist", self.now);
            }
        }
        let done = self.view.unreadable.is_empty() && self.state.runs.values().all(|r| self.is_done_with(r));
        if self.view.deleting && self.view.finalizer && done {
            self.finalizer = Finalizer::Remove;
        }
    }

    /// Looks again when a phase is meant to be complete, to say so.
    fn wake_at_ends(&mut self) {
        let ends = self.view.plan.iter().flat_map(|plan| &plan.phases).filter_map(|p| Some(p.end?.at));
        if let Some(next) = ends.filter(|at| *at > self.now).min() {
            self.wake_at(next);
        }
    }

    /// Whether a deleted schedule need not wait for this run: it is over, or its way back has had all its time.
    fn is_done_with(&self, run: &Run) -> bool {
        match &run.stage {
            Stage::RollingBack(flip, record) | Stage::Lowering(flip, record) => {
                self.now >= record.at + flip.armed.deadline.delta()
            }
            stage => stage.state().is_over(),
        }
    }

    /// The pauses that stop advance: those in force, also one that a `Resume` of this pass ends, because that is not
    /// stored yet, and those that are ordered only now.
    pub fn stops(&self) -> Vec<PauseStatus> {
        let mut all = self.view.pauses().to_vec();
        all.extend(self.orders.pauses.iter().filter(|p| !self.view.pauses().contains(p)).cloned());
        all
    }

    /// Whether deletion asks for the flag to go back.
    pub fn deletion_lowers(&self, run: &Run) -> bool {
        let asked = self.view.policy.is_some_and(|p| p.on_delete == OnDelete::Rollback);
        asked && run.writes(self.view.mode())
    }

    /// Notes what a run waits for; what it waited for already keeps its time.
    pub fn wait(&mut self, run: &mut Run, waits: Vec<(Gate, String)>) {
        let old = std::mem::take(&mut run.waits);
        let each = room::each(waits.len());
        for (gate, mut message) in waits {
            room::shorten(&mut message, each);
            // What a calendar says does not move by itself: another time in it is news.
            let same = |w: &Wait| match gate {
                Gate::Calendar => w.message == message,
                _ => steady(&w.message) == steady(&message),
            };
            let before = old.iter().find(|w| w.gate == gate && same(w)).cloned();
            let since = old.iter().find(|w| w.gate == gate).map_or(self.now, |w| w.since);
            run.waits.push(before.unwrap_or(Wait { gate, message, since, until: None }));
        }
        run.waits.sort_by_key(|w| w.gate);
        run.waits.truncate(room::MOST);
        if let Some(first) = run.held.as_ref().map(|h| &h.message).or(run.waits.first().map(|w| &w.message)) {
            run.message.clone_from(first);
        }
    }

    /// Notes the checks that do not pass; one that says the same but for its numbers stays as it was, so that nothing
    /// is written because a value moved.
    pub fn note_checks(&mut self, run: &mut Run, checks: Vec<(String, CheckOutcome, String)>) {
        let old = std::mem::take(&mut run.checks);
        let each = room::each(checks.len());
        for (name, outcome, mut message) in checks {
            room::shorten(&mut message, each);
            let before = old.iter().find(|c| c.name == name && c.outcome == outcome);
            let same = before.filter(|c| steady(&c.message) == steady(&message)).cloned();
            let since = before.map_or(self.now, |c| c.since);
            run.checks.push(same.unwrap_or(CheckStatus { name, outcome, since, message }));
        }
        run.checks.truncate(room::MOST);
    }

    fn decide(mut self, before: &State) -> Decision {
        let retreats = !self.lowers.is_empty() || !self.lower_restarts.is_empty();
        let advances = !self.raises.is_empty() || !self.raise_restarts.is_empty();
        if retreats && !self.raises.is_empty() {
            self.give_up_raises(before);
        }
        self.last_raised_first();
        let motion = match (retreats, advances) {
            (true, _) => Motion::Retreat(self.lowers, self.lower_restarts),
            (false, true) => Motion::Advance(self.raises, self.raise_restarts),
            (false, false) => Motion::Still,
        };
        // What a flip would have stood on that is given up is not kept either.
        let armed = |keep: &Keep| {
            let run = self.state.runs.get(&keep.key.run).and_then(|run| run.stage.flip());
            run.is_some_and(|flip| flip.armed.baseline.as_ref() == Some(&keep.key.kept))
        };
        let keeps = self.keeps.iter().filter(|keep| armed(keep)).cloned().collect();
        let mut transitions = Vec::new();
        for run in self.state.runs.values() {
            let known = before.runs.get(&run.name).map(|r| &r.transitions);
            if known.is_some_and(|known| Arc::ptr_eq(known, &run.transitions)) {
                continue;
            }
            let known = known.map(|known| known.as_slice()).unwrap_or_default();
            let new = run.transitions.iter().filter(|t| !known.contains(t));
            transitions.extend(new.map(|t| (run.name.clone(), t.clone())));
        }
        let status = report(self.view, &self.state, &self.orders, self.now);
        Decision {
            status,
            state: self.state,
            answers: self.orders.answers,
            seals: self.seals,
            keeps,
            motion,
            finalizer: self.finalizer,
            transitions,
            updates: self.updates,
            wake: self.wake,
        }
    }

    /// Order is the order of sending: what was raised last has the least to lose (law 8).
    fn last_raised_first(&mut self) {
        if self.lowers.len() < 2 {
            return;
        }
        let raised = |run: &Run| Some((run.reference(), run.stage.flip()?.armed.at));
        let raised: BTreeMap<String, Time> = self.state.all().filter_map(raised).collect();
        self.lowers.sort_by_key(|lower| Reverse(raised.get(&lower.stamp.run).copied()));
    }

    /// A pass that retreats never advances: what it wanted to raise waits for the next.
    fn give_up_raises(&mut self, before: &State) {
        self.raises.clear();
        self.raise_restarts.clear();
        for run in self.state.runs.values_mut() {
            if let (Stage::Flipping(_), Some(old)) = (&run.stage, before.runs.get(&run.name))
                && matches!(old.stage, Stage::Gating | Stage::Soaking(..))
            {
                *run = old.clone();
            }
        }
    }
}

/// A sentence without its numbers, durations and times: what must change before it is worth a write.
pub fn steady(text: &str) -> String {
    let number = |word: &&str| word.trim_start_matches(|c: char| !c.is_alphanumeric()).starts_with(char::is_numeric);
    text.split_whitespace().filter(|word| !number(word)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::steady;

    #[test]
    fn a_sentence_whose_numbers_move_stays_the_same() {
        let of = |value, age, at| steady(&format!("{value} is above max 0.05 over {age}, pod web-{at} since {at}"));
        assert_eq!(steady("1.06 is above max 0.05 over 59s"), steady("2.000e-9 is above max 0.05 over 1m30s"));
        assert_eq!(steady("-3 is below min 0 (1 of 3 ready)"), steady("-0.5 is below min 0 (2 of 3 ready)"));
        assert_ne!(of("1", "3m", "a"), of("1", "3m", "b"));
    }
}
