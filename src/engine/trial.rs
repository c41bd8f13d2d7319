//! A trial: a flag that goes back by plan, which ends its run in good order and closes nothing.

use crate::api::{ArmedTarget, Duration, Gate, RollbackRecord, RollbackScope, RunState, Time};

use super::state::{Flip, Run, Stage, clip};
use super::step::Pass;
use super::target::{StampKind, Standing, TargetReading};

impl Pass<'_> {
    /// Ends a soak after which the flag goes back: it stays up, watched as before, until its time has come.
    pub(super) fn ends_as_planned(
        &mut self,
        run: &mut Run,
        flip: Flip,
        (rolled_out, after): (Time, Duration),
        cut_short: bool,
        reason: &str,
    ) {
        let due = rolled_out + after.delta();
        let at = due.format("%Y-%m-%d %H:%M:%S UTC");
        if self.now < due && !cut_short {
            self.wake_at(due);
            self.wait(run, vec![(Gate::Soak, format!("goes back as planned at {at}"))]);
            return run.waits.iter_mut().for_each(|w| w.until = Some(due));
        }
        if !run.writes(self.view.mode()) {
            let message =
                format!("was to go back as planned at {at}; mode is Observe, so Hoist waits until others put it back");
            return self.wait(run, vec![(Gate::Mode, message)]);
        }
        let when =
            if self.now < due { "goes back now".to_owned() } else { format!("goes back after {after} as planned") };
        self.goes_back(run, flip, &format!("{reason}; {when}"));
    }

    /// Whether others put a flag back that Hoist may not write, when that was planned.
    pub(super) fn put_back_by_others(&mut self, run: &mut Run, flip: &Flip) -> bool {
        let due = flip.armed.lower_after.zip(run.stage.rolled_out()).map(|(after, at)| at + after.delta());
        let planned = due.is_some_and(|due| due <= self.now) && flip.next_percent().is_none();
        if !planned || run.writes(self.view.mode()) {
            return false;
        }
        self.goes_back(run, flip.clone(), "others put the flag back, as planned");
        true
    }

    fn goes_back(&mut self, run: &mut Run, flip: Flip, reason: &str) {
        let record = RollbackRecord {
            decision: run.decision("p", 1),
            at: self.now,
            reason: clip(reason),
            actor: "hoist".to_owned(),
            scope: RollbackScope::Environment,
        };
        self.begin_lowering(run, flip, &record);
    }

    fn begin_lowering(&mut self, run: &mut Run, flip: Flip, record: &RollbackRecord) {
        run.go(Stage::Lowering(flip.clone(), record.clone()), &record.reason, "hoist", self.now);
        run.pending = None;
        self.lowering(run, flip, record);
    }

    /// Joins a run with what a stamp says: a lowering that was sent but not recorded was planned, and is nobody's rollback.
    pub(super) fn lowered_already(&mut self, run: &mut Run, flip: &Flip, standings: &[Option<Standing>]) -> bool {
        let stamp = standings.iter().flatten().find_map(|s| match s {
            Standing::Lowered(stamp) => Some(stamp.clone()),
            _ => None,
        });
        let Some(stamp) = stamp else { return false };
        let record = RollbackRecord {
            decision: stamp.decision,
            // The deadline counts from it, and another machine's clock may be ahead.
            at: stamp.at.min(self.now),
            reason: stamp.why.unwrap_or_else(|| "goes back as planned".to_owned()),
            actor: "hoist".to_owned(),
            scope: RollbackScope::Environment,
        };
        self.begin_lowering(run, flip.clone(), &record);
        true
    }

    /// Puts back what has had its time. People may still make a rollback of it, which closes.
    pub(super) fn lowering(&mut self, run: &mut Run, flip: Flip, record: &RollbackRecord) {
        if self.ordered_back(run, &flip) {
            return;
        }
        if self.view.deleting && self.deletion_lowers(run) {
            let reason = "the schedule was deleted, and its onDelete is Rollback";
            return self.retreat(run, &flip, reason, "hoist");
        }
        let standings = self.standings(run, &flip);
        if self.closed_already(run, &flip, &standings) {
            return;
        }
        let up = |target: &ArmedTarget| {
            let mut all = flip.armed.targets.iter().zip(&standings);
            all.any(|(t, s)| t.needs(target) && !s.as_ref().is_some_and(Standing::is_down))
        };
        // Nothing presses: what is not seen is not written, and what another flag needs stays up until that is down.
        let sent = |pass: &Self, target: &ArmedTarget, standing: Option<&Standing>| {
            let Some(Ok(TargetReading::Found(found))) = pass.seen.targets.get(&target.place) else { return None };
            let readable = !matches!(standing, None | Some(Standing::Unreadable(_)));
            (readable && !up(target)).then(|| Some(found.resource_version.clone()))
        };
        if let Some(proof) = self.put_back(run, &flip, record, StampKind::Lowered, sent) {
            let told = told(run, &flip, record);
            run.go(Stage::Finished(Some(flip)), &format!("{told}: {proof}"), "hoist", self.now);
        }
    }
}

/// What was done, against what was planned.
fn told(run: &Run, flip: &Flip, record: &RollbackRecord) -> String {
    let soaked = run.transitions.iter().rev().find(|t| t.to == RunState::Soaking).map(|t| t.at);
    match (flip.armed.lower_after, soaked) {
        (Some(after), Some(at)) if record.at < at + after.delta() => format!("put back before its {after} were over"),
        (Some(after), _) => format!("put back after {after} as planned"),
        (None, _) => "put back as planned".to_owned(),
    }
}
