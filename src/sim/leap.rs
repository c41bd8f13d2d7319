//! Leaping over time in which nothing can change.
//!
//! Between two edges of what the world knows of (acts, curves, outages, rollouts, the engine's own deadlines) its
//! answers stay the same. Over such a stretch the ledgers take in all their measurements at once, and then the engine is
//! asked at its far end: where its decision there sends nothing and stores nothing, the passes in between would not have
//! either, and the world is there. Where it does, half the stretch is tried, and so on, and in the end every pass is made.
//! So nothing depends on whether the deadlines that are looked up here are all there are: one that is missed costs time.

use std::sync::Arc;

use chrono::TimeDelta;

use crate::analysis::{AnswerError, CheckLedger, Judged};
use crate::api::{EnvironmentKey, RunState, Time};
use crate::engine::laws::Violation;
use crate::engine::{Flip, Question, RunLedger, Stage, State, View, step};

use super::check::noise;
use super::metric::Sample;
use super::world::World;

/// A shorter stretch is lived pass by pass.
const SHORTEST: TimeDelta = TimeDelta::minutes(3);

/// Before what is noticed by looking now and then, the looks must be those that there would have been anyway.
const LOOKS: TimeDelta = TimeDelta::minutes(2);

/// So many failures to ask make a ledger as careful as it gets, and that is what an outage which is leapt over leaves.
const LONG_OUTAGE: TimeDelta = TimeDelta::minutes(12);

const SECOND: TimeDelta = TimeDelta::seconds(1);

/// As many failures in a row as make no more difference to a ledger.
const MANY: usize = 10;

/// What is remembered between two leaps.
#[derive(Clone, Debug, Default)]
pub struct Leaps {
    /// How many requests had been sent.
    sent: usize,
    /// No leap was possible, and none is tried before this.
    not_before: Option<Time>,
    /// How many in a row were not.
    failed: u32,
    /// Something changes up to here: a leap to it was tried.
    changes_by: Option<Time>,
}

impl Leaps {
    /// Lives on by one event, or leaps; never beyond `end`.
    ///
    /// # Errors
    /// The first violation of a law.
    pub fn go_on(&mut self, world: &mut World, end: Time) -> Result<(), Violation> {
        let rests = self.sent == world.requests && self.not_before.is_none_or(|at| at <= world.now);
        if rests && world.is_at_rest() {
            if world.leap(end, &mut self.changes_by) {
                *self = Self { sent: world.requests, changes_by: self.changes_by, ..Self::default() };
                return Ok(());
            }
            // After a restart the very next pass may do.
            self.not_before = Some(world.now + (SECOND * 2_i32.pow(self.failed.min(7))).min(SHORTEST));
            self.failed += 1;
        }
        self.sent = world.requests;
        world.go_on(end)
    }
}

/// When a soak's time is over, when people are told where it stands, and when the flag goes back as planned.
fn soak_edges(flip: &Flip, rolled_out: Time) -> Vec<Time> {
    let soak = flip.soak();
    let all = soak.updates.iter().chain([&soak.duration]).chain(&flip.armed.lower_after);
    all.map(|after| rolled_out + after.delta()).collect()
}

impl World {
    /// Lives on by one event; never beyond `end`.
    ///
    /// # Errors
    /// The first violation of a law.
    pub fn go_on(&mut self, end: Time) -> Result<(), Violation> {
        let act = self.acts.first().map(|(at, _)| *at);
        let late = self.late.iter().map(|(at, _)| *at).min();
        let pass = Some(self.wake.max(self.down_until));
        let next = [act, late, pass].into_iter().flatten().min().unwrap_or(end);
        self.run_until((next.max(self.now) + SECOND).min(end))
    }

    /// Whether nothing is on its way and no flag moves.
    fn is_at_rest(&self) -> bool {
        let moves = |state| {
            use RunState::{Flipping, Lowering, RollingBack, Verifying};
            matches!(state, Flipping | Verifying | Lowering | RollingBack)
        };
        let still = self.store.now.runs.values().all(|r| r.status.as_ref().is_some_and(|s| !moves(s.state)));
        let honest = self.faults.until.is_none_or(|until| until <= self.now)
            || (self.faults.stale == 0 && self.faults.unread == 0);
        still && honest && self.late.is_empty() && self.down_until <= self.now
    }

    /// Moves to the end of the stretch in which nothing changes; false where that is not worth it.
    fn leap(&mut self, end: Time, changes_by: &mut Option<Time>) -> bool {
        let Some(told) = self.told([TimeDelta::zero(); 3]) else { return false };
        let target = self.edges(&told.view, &told.state, end);
        let shortest = if self.metrics.away(self.now) { LONG_OUTAGE } else { SHORTEST };
        let half = |ahead: TimeDelta| TimeDelta::seconds(ahead.num_seconds() / 2);
        let known = changes_by.filter(|at| *at > self.now).map(|at| half(at - self.now));
        let mut ahead = known.into_iter().chain([target - self.now]).min().unwrap_or_default();
        while ahead >= shortest {
            if self.try_leap(self.now + ahead) {
                return true;
            }
            *changes_by = Some(self.now + ahead);
            ahead = half(ahead);
        }
        false
    }

    /// The moment before the first at which anything that is known of changes.
    fn edges(&self, view: &View, state: &State, end: Time) -> Time {
        let now = self.now;
        let noticed =
            self.acts.first().map(|(at, _)| *at).into_iter().chain(self.cluster.next_change(now)).chain([end]);
        let noticed = noticed.chain(self.next_elsewhere(now)).min().unwrap_or(end) - LOOKS;
        let curves = self.environments.keys().filter_map(|e| self.metrics.edge(e, &self.cluster, now));
        let outages = self.metrics.next_outage_edge(now);
        let phases = view.plan.iter().flat_map(|p| &p.phases).flat_map(|p| [p.start, p.end]).flatten().map(|d| d.at);
        let own = state.runs.values().flat_map(|run| {
            let soak = if let Stage::Soaking(flip, at) = &run.stage { soak_edges(flip, *at) } else { Vec::new() };
            let gating = matches!(run.stage, Stage::Gating).then(|| view.step_of(run)).flatten();
            let opens = gating.and_then(|(_, step)| step.calendar.as_ref().ok()?.edge(now, noticed));
            run.waits.iter().filter_map(|w| w.until).chain(soak).chain(opens)
        });
        let exact = curves.chain(outages).chain(phases).chain(own).filter(|at| *at > now).min();
        exact.map_or(noticed, |at| noticed.min(at - SECOND))
    }

    /// Asks the engine what it would do at a moment, and stays there where that is nothing.
    fn try_leap(&mut self, to: Time) -> bool {
        let (then, before) = (self.now, self.ledgers.clone());
        self.now = to;
        if self.fill(to)
            && let Some((told, seen)) = self.gather()
        {
            let decision = step(&told.view, &told.state, &seen, to);
            if noise(&told, &decision).is_none() && self.is_caught_up(&decision.state) {
                self.ledgers = decision.state.ledgers;
                self.wake = decision.wake;
                self.passes += 1;
                return true;
            }
        }
        (self.now, self.ledgers) = (then, before);
        false
    }

    /// Takes all measurements up to a moment into the ledgers; false where one of them breaches.
    fn fill(&mut self, to: Time) -> bool {
        let mut ledgers = std::mem::take(&mut self.ledgers);
        let filled = ledgers.iter_mut().all(|(name, ledger)| {
            let Some(run) = self.store.now.runs.get(name) else { return true };
            self.fill_one(&run.spec.environment, ledger, to)
        });
        self.ledgers = ledgers;
        filled
    }

    fn fill_one(&self, environment: &EnvironmentKey, ledger: &mut RunLedger, to: Time) -> bool {
        self.fill_quiet(environment, ledger, to);
        // A check that has said all it can, a week after its flip, is not asked and does not fail.
        let asked = |check: &&mut Arc<CheckLedger>| check.latched().is_none() && check.next() <= to;
        for check in ledger.checks_mut().filter(asked).map(Arc::make_mut) {
            if self.metrics.away(to) {
                let sentence = "the simulated Prometheus does not answer".to_owned();
                let judged = Judged::failed(AnswerError::Query, sentence);
                (0..MANY).for_each(|_| check.fail(to, judged.clone()));
                continue;
            }
            while check.next() <= to {
                let (next, name) = (check.next(), check.check().name.clone());
                let same = self.metrics.edge(environment, &self.cluster, next).map_or(to, |edge| to.min(edge - SECOND));
                let every = check.check().step().delta();
                let last = next + every * i32::try_from((same - next).num_seconds() / every.num_seconds()).unwrap_or(0);
                if self.metrics.sample_of(environment, &name, &self.cluster, next) == Sample::Bad {
                    return false;
                }
                let question = Question::new(check.check(), check.window_at(last), last);
                if !check.absorb_alike(&self.metrics.answer((environment, &name), &question, &self.cluster)) {
                    return false;
                }
            }
        }
        true
    }

    /// The same of an old path, whose breaches only begin its time anew.
    fn fill_quiet(&self, environment: &EnvironmentKey, ledger: &mut RunLedger, to: Time) {
        let Some(quiet) = ledger.quiet.as_mut().filter(|_| !self.metrics.away(to)) else { return };
        let check = quiet.check().clone();
        let every = check.interval.delta().max(SECOND);
        while quiet.next() <= to {
            let next = quiet.next();
            let same = self.metrics.edge(environment, &self.cluster, next).map_or(to, |edge| to.min(edge - SECOND));
            let last = next + every * i32::try_from((same - next).num_seconds() / every.num_seconds()).unwrap_or(0);
            let question = Question::new(&check, check.window(), last);
            if !quiet.absorb_alike(&self.metrics.answer((environment, &check.name), &question, &self.cluster)) {
                return;
            }
        }
    }

    /// Whether no measurement is due that could be taken.
    fn is_caught_up(&self, state: &State) -> bool {
        let away = self.metrics.away(self.now);
        let listened = state.ledgers.values().filter_map(|l| l.quiet.as_ref()).all(|q| q.next() > self.now);
        let read = state.ledgers.values().flat_map(|l| &l.history).all(|h| h.next() > self.now);
        away || listened
            && read
            && state.ledgers.values().flat_map(RunLedger::checks).all(|c| c.latched().is_some() || c.next() > self.now)
    }
}
