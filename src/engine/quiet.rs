//! The old path that must be quiet before a phase begins.

use super::plan::FlipPlan;
use super::probe::{GATE_POLL, Measure, Probe, Question};
use super::state::{Run, State};
use super::step::Pass;
use super::view::View;
use crate::analysis::{Judged, QuietLedger};
use crate::api::Time;

/// What is known of the old path so far; nothing where the phase asks for none.
fn ledger(state: &State, run: &Run, flip: &FlipPlan) -> Option<QuietLedger> {
    let (check, wanted) = flip.quiet.as_ref()?;
    let known = state.ledgers.get(&run.name).and_then(|l| l.quiet.clone());
    let known = known.filter(|known| known.is_about(check, *wanted));
    known.or_else(|| Some(QuietLedger::new(check, *wanted, flip.prometheus.as_ref()?, run.since)))
}

/// Asks about the moments that are due.
pub(super) fn ask(state: &State, run: &Run, flip: &FlipPlan, now: Time) -> Option<Probe> {
    let ledger = ledger(state, run, flip)?;
    let check = ledger.check();
    let count = ledger.due(now);
    let question = Question { count, ..Question::new(check, check.window(), ledger.next()) };
    (count > 0).then_some(Probe::Measure(Measure {
        run: run.name.clone(),
        check: check.name.clone(),
        environment: run.spec.environment.clone(),
        prometheus: flip.prometheus.clone()?,
        questions: vec![question],
    }))
}

/// What is missing, in a sentence.
pub(super) fn missing(view: &View, state: &State, run: &Run, now: Time) -> Option<String> {
    ledger(state, run, view.flip_plan(run)?)?.missing(now)
}

impl Pass<'_> {
    /// Takes in what was answered, and looks again when the next moment is due.
    pub(super) fn listen(&mut self, run: &Run) {
        let Some(flip) = self.view.flip_plan(run) else { return };
        let Some(mut quiet) = ledger(&self.state, run, flip) else { return };
        let before = quiet.next();
        if let Some(measured) = self.seen.measured(&run.name, &quiet.check().name) {
            for answers in &measured.answers {
                quiet.absorb(answers);
            }
            if let Some((error, sentence)) = &measured.failed {
                quiet.fail(self.now, Judged::failed(*error, sentence.clone()));
            }
        }
        let stuck = quiet.next() == before && before <= self.now;
        if stuck {
            self.wake_every(GATE_POLL);
        } else {
            self.wake_at(quiet.next());
        }
        self.state.ledgers.entry(run.name.clone()).or_default().quiet = Some(quiet);
    }
}
