//! One check, raised at many moments.

use super::known::Known;
use super::{Backtest, Effect, Past};
use crate::analysis::{Captured, CheckLedger, Inconclusive, Outcome};
use crate::api::{Check, Duration, Time};

/// A flip that could have been.
#[derive(Clone, Debug, PartialEq)]
pub struct Flip {
    /// When the flag would have been raised.
    pub at: Time,
    /// What would have come of it.
    pub replayed: Replayed,
}

/// What a check would have said by the end of the soak.
#[derive(Clone, Debug, PartialEq)]
pub enum Replayed {
    /// Nothing was found.
    Passed,
    /// A breach that counts.
    Breached {
        /// How long after the flip.
        after: Duration,
        /// What would have been told.
        sentence: String,
    },
    /// It could not be judged, for this reason.
    Undecided(String),
}

impl Backtest {
    /// Puts what was answered through the checks, with what the flag would have done where something is said: for each
    /// check, in their order, what would have come of each flip.
    pub fn replay(&self, past: &Past, effect: Option<&Effect>) -> Vec<Vec<Flip>> {
        let one = |check| {
            let known = Known::new(self, check, past);
            let flips = self.moments.iter().map(|at| self.flip(check, &known, *at, effect));
            flips.collect()
        };
        self.checks.iter().map(one).collect()
    }

    /// One flip. The check may have other bounds than the one whose past is known.
    pub(super) fn flip(&self, check: &Check, known: &Known<'_>, at: Time, effect: Option<&Effect>) -> Flip {
        let captured = known.captured(at);
        let captured = captured.as_ref().ok_or("nothing is known of the time before the flip");
        let mut replayed = Replayed::Passed;
        for (from, to) in self.soaks(at) {
            match self.soaked(check, known, (at, from, to), captured, effect) {
                Replayed::Passed => {}
                breached @ Replayed::Breached { .. } => {
                    replayed = breached;
                    break;
                }
                undecided @ Replayed::Undecided(_) => replayed = undecided,
            }
        }
        Flip { at, replayed }
    }

    /// One step of a flip: its ledger is driven as the controller drives it, moment by moment, and judges by blocks look once,
    /// at all blocks together, which finds the first breach.
    fn soaked(
        &self,
        check: &Check,
        known: &Known<'_>,
        (flip, from, to): (Time, Time, Time),
        captured: Result<&Captured, &str>,
        effect: Option<&Effect>,
    ) -> Replayed {
        let mut ledger = CheckLedger::new(check, &self.prometheus, from, self.alpha, captured);
        let (mut asked, mut seen, mut why) = (0_usize, 0_usize, None);
        while ledger.latched().is_none() && ledger.next() <= to {
            let at = ledger.next();
            ledger.absorb(&known.answers(at, ledger.window_at(at), effect));
            asked += 1;
            match ledger.latest().map(|l| &l.judged) {
                Some(judged) if judged.outcome.covers() => seen += 1,
                Some(judged) => why = Some(judged.sentence.clone()),
                None => {}
            }
        }
        ledger.conclude();
        if let Some(latched) = ledger.latched() {
            let after = Duration::seconds((latched.at - flip).num_seconds());
            return Replayed::Breached { after, sentence: latched.sentence.clone() };
        }
        let latest = ledger.latest().map(|l| &l.judged);
        if ledger.is_without_past() {
            return Replayed::Undecided(latest.map(|j| j.sentence.clone()).unwrap_or_default());
        }
        // A step that begins after all that a check can judge is watched by others.
        if asked == 0 && latest.is_some_and(|judged| judged.outcome.covers()) {
            return Replayed::Passed;
        }
        // As much of a soak must be covered before it ends.
        if asked == 0 || seen * 100 < asked * 95 {
            let why = why.map(|why| format!(": {why}")).unwrap_or_default();
            return Replayed::Undecided(format!("less than 95 % of the soak is covered by evidence{why}"));
        }
        match latest {
            Some(judged) if is_of_the_judge(judged.outcome) => Replayed::Undecided(judged.sentence.clone()),
            _ => Replayed::Passed,
        }
    }
}

/// Whether an outcome is about all blocks, rather than about the newest measurement, which the next one may mend.
fn is_of_the_judge(outcome: Outcome) -> bool {
    use Inconclusive::{NoBaseline, ReferenceMoved, TooFew, Unproven};
    matches!(outcome, Outcome::Inconclusive(NoBaseline | ReferenceMoved | TooFew | Unproven))
}
