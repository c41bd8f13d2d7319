//! The time before a flip, for checks that compare with it: gathered at the gate, kept at the flip, read back after.

use std::sync::Arc;

use chrono::TimeDelta;

use super::decision::Keep;
use super::plan::FlipPlan;
use super::probe::{GATE_POLL, KeptKey, Measure, Probe, Question};
use super::room;
use super::state::{Flip, Run, Stage, State};
use super::step::{Pass, steady};
use super::target::{TargetReading, digest};
use super::view::View;
use crate::analysis::{Baselines, HistoryLedger, sha256};
use crate::api::{Armed, Check, Duration, Kept, OnBreach, Preflight, RunState, Share, Time};

/// How likely all checks of a run together may roll a harmless flip back, where nothing is said.
const BUDGET: f64 = 0.05;

/// After how long something that could not be kept is tried again.
const TRIED_AGAIN: TimeDelta = TimeDelta::minutes(1);

/// Each check's part of what may go wrong: those that can roll a flag back share it, and every step of a flip is judged anew.
pub fn alpha(budget: Option<&Share>, checks: &[Check], steps: usize) -> f64 {
    let sharing = checks.iter().filter(|c| c.block().is_some() && c.on_breach == OnBreach::Rollback && !c.dry_run);
    budget.map_or(BUDGET, Share::value) / (sharing.count().max(1) * steps.max(1)) as f64
}

impl FlipPlan {
    fn ledgers(&self, known: &[Arc<HistoryLedger>], now: Time) -> Vec<Arc<HistoryLedger>> {
        let Some(prometheus) = &self.prometheus else { return Vec::new() };
        let ledger = |check: &Check| {
            let known = known.iter().find(|k| k.is_about(check, self.alpha, prometheus, self.soaks));
            known.cloned().or_else(|| HistoryLedger::new(check, self.alpha, prometheus, self.soaks, now).map(Arc::new))
        };
        self.checks.iter().filter_map(ledger).collect()
    }
}

fn ledgers(state: &State, run: &Run, flip: &FlipPlan, now: Time) -> Vec<Arc<HistoryLedger>> {
    let known = state.ledgers.get(&run.name).map(|l| l.history.as_slice()).unwrap_or_default();
    flip.ledgers(known, now)
}

/// Asks about the blocks that are due.
pub(super) fn ask(state: &State, run: &Run, flip: &FlipPlan, now: Time) -> Vec<Probe> {
    let Some(prometheus) = &flip.prometheus else { return Vec::new() };
    let ask = |ledger: &Arc<HistoryLedger>| {
        let check = ledger.check();
        let question = |(from, count)| Question { count, ..Question::new(check, check.window(), from) };
        let questions: Vec<Question> = ledger.due(now).into_iter().map(question).collect();
        (!questions.is_empty()).then(|| {
            Probe::Measure(Measure {
                run: run.name.clone(),
                check: check.name.clone(),
                environment: run.spec.environment.clone(),
                prometheus: prometheus.clone(),
                questions,
            })
        })
    };
    ledgers(state, run, flip, now).iter().filter_map(ask).collect()
}

/// Asks for what was kept before the flip, where it is not known any more.
pub(super) fn ask_kept(state: &State, run: &Run, flip: &Flip) -> Option<Probe> {
    let kept = flip.armed.baseline.clone()?;
    let known = state.ledgers.get(&run.name).is_some_and(|l| l.baselines.is_some());
    let namespace = run.namespace.clone();
    let judges = matches!(run.stage, Stage::Soaking(..) | Stage::Completed(..));
    (!known && judges).then(|| Probe::Kept(KeptKey { namespace, run: run.name.clone(), kept }))
}

/// What is missing of the time before the flip, in sentences.
pub(super) fn missing(view: &View, state: &State, run: &Run, now: Time) -> Vec<String> {
    let Some(ledger) = state.ledgers.get(&run.name) else { return Vec::new() };
    if let Some((_, why)) = ledger.unkept.as_ref().filter(|(at, _)| now < *at + TRIED_AGAIN) {
        return vec![format!("what was seen before the flip could not be kept: {why}")];
    }
    let counts = |ledger: &&Arc<HistoryLedger>| view.counts(run, ledger.check(), now);
    ledger.history.iter().filter(counts).filter_map(|ledger| ledger.missing(now)).collect()
}

impl Pass<'_> {
    /// Takes in what was answered about the time before the flip, and looks again when the next block ends.
    pub(super) fn read_history(&mut self, run: &mut Run) {
        let Some(flip) = self.view.flip_plan(run) else { return };
        let mut all = ledgers(&self.state, run, flip, self.now);
        let up = self.was_up(run, flip);
        for ledger in &mut all {
            let before = ledger.next();
            if let Some(measured) = self.seen.measured(&run.name, &ledger.check().name) {
                let ledger = Arc::make_mut(ledger);
                measured.answers.iter().for_each(|answers| ledger.absorb(answers));
                if let Some((_, sentence)) = &measured.failed {
                    ledger.fail(sentence);
                }
                if ledger.next() != before {
                    ledger.conclude(&up);
                }
            }
            match ledger.next() {
                next if next > self.now => self.wake_at(next),
                // The rest of what is due is asked for at once; what was not answered, a little later.
                next if next != before => self.wake_at(self.now),
                _ => self.wake_every(GATE_POLL),
            }
        }
        let each = room::each(all.len());
        let told = all.iter().filter_map(|ledger| {
            let (message, blind) = ledger.preview()?;
            let blinded =
                "; its limit is narrower, so a change of that size may never be found, nor shown not to be there";
            let mut message = format!("{message}{}", if blind { blinded } else { "" });
            room::shorten(&mut message, each);
            Some(Preflight { check: ledger.check().name.clone(), message, blind })
        });
        let told: Vec<Preflight> = told.take(room::MOST).collect();
        // Written anew when it says something else, not because a number moved.
        let same = |(a, b): (&Preflight, &Preflight)| {
            (&a.check, a.blind, steady(&a.message)) == (&b.check, b.blind, steady(&b.message))
        };
        if told.len() != run.preflight.len() || !told.iter().zip(&run.preflight).all(same) {
            run.preflight = told;
        }
        match self.state.ledgers.get_mut(&run.name) {
            Some(ledger) => ledger.history = all,
            None if all.is_empty() => {}
            None => self.state.ledgers.entry(run.name.clone()).or_default().history = all,
        }
    }

    /// When the flags of a run were up in its environment, as far as is known: raised by other runs of the schedule, or by
    /// others. What was measured then is no time before a flip.
    fn was_up(&self, run: &Run, flip: &FlipPlan) -> Vec<(Time, Time)> {
        let here = |o: &&Arc<Run>| o.name != run.name && o.environment() == run.environment();
        let others = self.state.runs.values().filter(here).filter_map(|other| {
            let armed = other.stage.flip().map(|f| f.armed.at)?;
            let lowered = other.transitions.last().is_some_and(|t| t.from == RunState::Lowering);
            let down = matches!(other.stage, Stage::RolledBack(..)) || lowered;
            Some((armed, if down { other.since } else { self.now }))
        });
        let by_others = flip.targets.iter().filter_map(|target| {
            let Some(Ok(TargetReading::Found(found))) = self.seen.targets.get(&target.place) else { return None };
            let up = found.value.as_ref().is_ok_and(|value| *value == target.values.enabled);
            let since = found.owner.as_ref().and_then(|o| o.at).unwrap_or_default();
            up.then_some((since, self.now))
        });
        others.chain(by_others).collect()
    }

    /// What must be stored before this run is armed; nothing where no check compares with the time before.
    pub(super) fn keep(&mut self, run: &Run) -> Option<Kept> {
        let ledger = self.state.ledgers.get_mut(&run.name).filter(|ledger| !ledger.history.is_empty())?;
        let baselines = Baselines::new(ledger.history.iter().map(|ledger| ledger.captured()).collect());
        let text = baselines.text();
        let sha256 = sha256(&text);
        // A run is armed again after its Retry, or after a pass that was not stored: each keeps its own.
        let kept = Kept { name: format!("hoist-baseline-{}", digest(&[&run.name, &sha256])), sha256 };
        ledger.baselines = Some(Arc::new(baselines));
        let (namespace, run) = (run.namespace.clone(), run.name.clone());
        self.keeps.push(Keep { key: KeptKey { namespace, run, kept: kept.clone() }, text });
        Some(kept)
    }
}

/// The part of what may go wrong that each check of an armed run has.
pub fn alpha_of(armed: &Armed) -> f64 {
    alpha(armed.false_rollback_budget.as_ref(), &armed.checks, armed.steps.len())
}

/// How long the soaks of a flip last together, without the waits between them.
pub(super) fn soaks<'a>(soaks: impl IntoIterator<Item = &'a crate::api::Soak>) -> Duration {
    Duration::seconds(soaks.into_iter().map(|s| s.duration.as_seconds()).sum())
}
