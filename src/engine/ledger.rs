//! What is remembered of a run that is watched, and how the answers of a pass come into it.

use std::sync::Arc;

use crate::analysis::{Baselines, CheckLedger, HistoryLedger, Judged, QuietLedger};
use crate::api::{Armed, Check, Time};

use super::history::alpha_of;
use super::probe::{Measured, WorkloadReading};
use super::soak::TARGET_POLL;
use super::state::{Flip, Run, Stage};
use super::step::Pass;
use super::target::{Standing, standing};

/// The evidence of one run since its rollout was complete.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunLedger {
    /// When the rollout was complete that this speaks of; nothing before there was one. A ledger of another rollout is
    /// never used.
    pub rolled_out: Option<Time>,
    /// One for each armed check. Shared as a whole and each, because most passes change few of them.
    checks: Arc<Vec<Arc<CheckLedger>>>,
    /// Since when a workload has been unavailable without a break.
    pub unavailable_since: Option<Time>,
    /// Since when a pod has been crashing without a break.
    pub crashing_since: Option<Time>,
    /// What is known of the old path that must be quiet before the run begins.
    pub quiet: Option<QuietLedger>,
    /// What is known of the time before the flip, while gates are looked at.
    pub history: Vec<Arc<HistoryLedger>>,
    /// What was kept of it at the flip.
    pub baselines: Option<Arc<Baselines>>,
    /// When it could not be kept, and why.
    pub unkept: Option<(Time, String)>,
    /// Where every check passes: when the newest measurement was taken, and when the next is due. Most passes find most
    /// runs so, and need not look at each of their checks.
    calm: Option<(Time, Time)>,
}

impl RunLedger {
    /// That of a flip whose rollout is complete and of which nothing was measured yet.
    pub(super) fn new(flip: &Flip, rolled_out: Time, baselines: Result<&Arc<Baselines>, &str>) -> Self {
        let new = |check| Arc::new(new_check(&flip.armed, check, rolled_out, baselines.map(AsRef::as_ref)));
        let checks = Arc::new(flip.armed.checks.iter().map(new).collect());
        let baselines = baselines.ok().cloned();
        Self { checks, baselines, rolled_out: Some(rolled_out), ..Self::default() }
    }

    /// Begins the checks that lacked what was kept before the flip.
    fn found(&mut self, flip: &Flip, rolled_out: Time, baselines: Result<&Arc<Baselines>, &str>) {
        self.baselines = baselines.ok().cloned();
        for check in self.checks_mut().filter(|c| c.is_without_past()) {
            *check = Arc::new(new_check(&flip.armed, check.check(), rolled_out, baselines.map(AsRef::as_ref)));
        }
    }

    /// Those of the checks.
    pub fn checks(&self) -> impl Iterator<Item = &CheckLedger> {
        self.checks.iter().map(AsRef::as_ref)
    }

    /// The same, to be changed.
    pub fn checks_mut(&mut self) -> impl Iterator<Item = &mut Arc<CheckLedger>> {
        self.calm = None;
        Arc::make_mut(&mut self.checks).iter_mut()
    }

    /// Notes whether every check passes and none is due.
    fn note_calm(&mut self, now: Time) {
        let calm = |c: &CheckLedger| c.latched().is_none() && c.hold().is_none() && c.next() > now;
        let newest = self.checks().filter_map(|c| c.latest()).map(|l| l.at).max();
        let next = self.checks().map(CheckLedger::next).min();
        let all = self.checks().all(calm);
        self.calm = newest.zip(next).filter(|(newest, _)| all && *newest <= now);
    }

    /// Whether a check looked at moments that lie ahead.
    fn is_ahead_of(&self, now: Time) -> bool {
        self.calm.is_none_or(|(newest, _)| newest > now) && self.checks().any(|c| c.is_ahead_of(now))
    }

    /// Until when nothing of the checks changes, where they were found calm and the clock is not behind that.
    fn calm_until(&self, rolled_out: Time, now: Time) -> Option<Time> {
        let (newest, next) = self.calm.filter(|_| self.rolled_out == Some(rolled_out))?;
        (newest <= now && now < next).then_some(next)
    }
}

/// An empty ledger of one check of an armed plan; without what was kept before the flip, `baselines` says why.
pub fn new_check(armed: &Armed, check: &Check, rolled_out: Time, baselines: Result<&Baselines, &str>) -> CheckLedger {
    let captured = baselines.and_then(|b| b.of(check).ok_or("this check is not in it"));
    CheckLedger::new(check, &armed.prometheus, rolled_out, alpha_of(armed), captured)
}

impl Pass<'_> {
    /// Begins to measure what a completed rollout has brought.
    pub(super) fn begin(&mut self, run: &Run, flip: &Flip, rolled_out: Time) {
        let known = self.state.ledgers.get(&run.name).and_then(|l| l.baselines.clone());
        let baselines = known.as_ref().ok_or("what was kept of the time before the flip is not read yet");
        self.state.ledgers.insert(run.name.clone(), RunLedger::new(flip, rolled_out, baselines));
    }

    /// Takes what was measured into the ledgers of the runs that are watched.
    pub(super) fn take_in(&mut self) {
        let all: Vec<Arc<Run>> = self.state.runs.values().cloned().collect();
        for run in all {
            if let Stage::Soaking(flip, rolled_out) | Stage::Completed(flip, rolled_out) = &run.stage {
                self.absorb(&run, flip, *rolled_out);
            }
        }
    }

    /// Takes the answers of this pass into the run's ledger, which is made anew after a restart.
    fn absorb(&mut self, run: &Run, flip: &Flip, rolled_out: Time) {
        let measured = self.seen.measurements.get(&run.name);
        let forgives = !self.view.status.overrides.is_empty();
        let known = self.state.ledgers.get_mut(&run.name);
        let kept = self.seen.baselines.get(&run.name);
        if let Some(ledger) = &known
            && measured.is_none()
            && kept.is_none()
            && !forgives
            && ledger.calm_until(rolled_out, self.now).is_some()
        {
            return;
        }
        let ledger = match known {
            Some(ledger) => ledger,
            None => self.state.ledgers.entry(run.name.clone()).or_default(),
        };
        if ledger.rolled_out != Some(rolled_out) || ledger.is_ahead_of(self.now) {
            let RunLedger { unavailable_since, crashing_since, quiet, baselines, .. } = std::mem::take(ledger);
            let baselines = match (&baselines, kept) {
                (Some(known), _) | (None, Some(Ok(known))) => Ok(known),
                (None, Some(Err(why))) => Err(why.as_str()),
                (None, None) => Err("what was kept of the time before the flip is not read yet"),
            };
            let new = RunLedger::new(flip, rolled_out, baselines);
            *ledger = RunLedger { unavailable_since, crashing_since, quiet, ..new };
        } else if let Some(kept) = kept {
            ledger.found(flip, rolled_out, kept.as_ref().map_err(String::as_str));
        }
        if measured.is_some() || forgives {
            for check in ledger.checks_mut() {
                let name = &check.check().name;
                let (until, measured) = (self.view.forgiven(run, name), measured.and_then(|of_run| of_run.get(name)));
                if let Some(until) = until {
                    Arc::make_mut(check).forgive(until);
                }
                if let Some(measured) = measured {
                    take(Arc::make_mut(check), measured, self.now);
                }
            }
        }
        ledger.note_calm(self.now);
    }

    /// Until when nothing of a run's checks can change, where all of them pass and nothing is about to come of them.
    pub(super) fn calm_until(&self, run: &Run, rolled_out: Time) -> Option<Time> {
        let ledger = self.state.ledgers.get(&run.name).filter(|_| run.pending.is_none())?;
        ledger.calm_until(rolled_out, self.now)
    }

    /// Whether a run that is only watched was looked at whole and is as it was: most are, in most passes. Nothing of it
    /// changes then but when it is looked at next.
    pub(super) fn rests(&mut self, run: &Run) -> bool {
        let Stage::Completed(flip, rolled_out) = &run.stage else { return false };
        let told = run.held.is_some() || !run.checks.is_empty();
        let asked = self.view.deleting || self.orders.rollbacks.contains_key(&run.name);
        let Some(ledger) = self.state.ledgers.get(&run.name).filter(|_| !told && !asked && run.pending.is_none())
        else {
            return false;
        };
        let shaken = ledger.crashing_since.is_some() || ledger.unavailable_since.is_some();
        let Some(next) = ledger.calm_until(*rolled_out, self.now).filter(|_| !shaken) else { return false };
        if !self.is_up(run, flip) || !self.is_steady(flip) {
            return false;
        }
        self.wake_every(TARGET_POLL);
        self.wake_at(next);
        true
    }

    /// Whether every target was seen and is as it was raised.
    fn is_up(&self, run: &Run, flip: &Flip) -> bool {
        let reference = run.reference();
        let expected = Self::expected(&reference, run, flip);
        flip.armed.targets.iter().all(|target| match self.seen.targets.get(&target.place) {
            Some(Ok(reading)) => standing(target, &expected, reading) == Standing::Up,
            _ => false,
        })
    }

    /// Whether every workload was seen, is rolled out and has no trouble.
    fn is_steady(&self, flip: &Flip) -> bool {
        flip.workloads().iter().all(|key| match self.seen.workloads.get(key) {
            Some(Ok(WorkloadReading::Found(found))) => {
                found.complete && !found.unavailable && found.crashing.is_empty()
            }
            _ => false,
        })
    }
}

fn take(check: &mut CheckLedger, measured: &Measured, now: Time) {
    for answers in &measured.answers {
        check.absorb(answers);
    }
    check.conclude();
    if let Some((error, sentence)) = &measured.failed {
        check.fail(now, Judged::failed(*error, sentence.clone()));
    }
}
