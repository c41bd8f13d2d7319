//! Putting a flag back: decided once, sent at once, proven afterwards.

use std::sync::Arc;

use chrono::TimeDelta;

use crate::api::{ArmedTarget, HeldReason, RollbackRecord, RollbackScope};

use super::decision::{Lower, Restart};
use super::flip::restarts;
use super::gate::is_latest;
use super::probe::WorkloadReading;
use super::state::{Flip, Run, Stage, State};
use super::step::Pass;
use super::target::{Owner, Stamp, StampKind, Standing};

/// How often a flag that was put back is looked at, to name those who raise it again.
const CLOSED_POLL: TimeDelta = TimeDelta::seconds(60);

impl Pass<'_> {
    /// Carries out a person's order, where there is one for this run.
    pub(super) fn ordered_back(&mut self, run: &mut Run, flip: &Flip) -> bool {
        let Some((actor, reason)) = self.orders.rollbacks.get(&run.name).cloned() else { return false };
        self.retreat(run, flip, &reason, &actor);
        true
    }

    /// Does what deletion asks for: puts the flag back, or leaves it, but never while a raise may still arrive.
    pub(super) fn deleted(&mut self, run: &mut Run, flip: &Flip, sending: bool) -> bool {
        if !self.view.deleting {
            return false;
        }
        if self.deletion_lowers(run) {
            self.retreat(run, flip, "the schedule was deleted, and its onDelete is Rollback", "hoist");
            return true;
        }
        // Where the spec cannot be read, nobody knows what deletion asks for: a person mends it or takes the finalizer off.
        if self.view.policy.is_none() || (sending && flip.attempt.is_some()) {
            return false;
        }
        run.go(
            Stage::Finished(Some(flip.clone())),
            "the schedule was deleted, and its onDelete is Keep: the flag stays as it is",
            "hoist",
            self.now,
        );
        true
    }

    /// Joins a run with what a stamp says: a rollback that was sent but not recorded is a rollback.
    pub(super) fn closed_already(&mut self, run: &mut Run, flip: &Flip, standings: &[Option<Standing>]) -> bool {
        let stamp = standings.iter().flatten().find_map(|s| match s {
            Standing::Closed(stamp) => Some(stamp.clone()),
            // Somebody set it again after that; it is closed all the same.
            Standing::UpByOthers(by) | Standing::Third(_, by) => by.closed.clone(),
            _ => None,
        });
        let Some(stamp) = stamp else { return false };
        let reason = stamp.why.unwrap_or_else(|| "a closing stamp is on the target".to_owned());
        let record = RollbackRecord {
            decision: stamp.decision,
            // The deadline counts from it, and another machine's clock may be ahead.
            at: stamp.at.min(self.now),
            reason: reason.clone(),
            actor: "hoist".to_owned(),
            scope: stamp.scope,
        };
        run.go(Stage::RollingBack(flip.clone(), record.clone()), &reason, "hoist", self.now);
        self.rolling_back(run, flip.clone(), record, false);
        true
    }

    /// A flag that somebody lowered: that closes the epoch.
    pub(super) fn retreat_of_person(
        &mut self,
        run: &mut Run,
        flip: &Flip,
        target: &ArmedTarget,
        owner: Option<&Owner>,
    ) {
        let who = owner.map_or_else(|| "somebody".to_owned(), ToString::to_string);
        let actor = owner.map_or("a person", |o| o.manager.as_str());
        let (place, disabled) = (&target.place, &target.values.disabled);
        let reason = format!("{place} was set to {disabled} by {who}: that is a rollback by a person");
        self.retreat(run, flip, &reason, actor);
    }

    /// Decides a rollback and sends it: waits for nothing, reads nothing that was not seen already.
    pub(super) fn retreat(&mut self, run: &mut Run, flip: &Flip, reason: &str, actor: &str) {
        self.retreat_as_far_as(RollbackScope::Environment, run, flip, reason, actor);
    }

    /// The same, and with it whatever else the scope reaches ([`Pass::spread`]).
    pub(super) fn retreat_as_far_as(
        &mut self,
        scope: RollbackScope,
        run: &mut Run,
        flip: &Flip,
        reason: &str,
        actor: &str,
    ) {
        let record = RollbackRecord {
            decision: run.decision("b", 1),
            at: self.now,
            reason: super::state::clip(reason),
            actor: actor.to_owned(),
            scope,
        };
        run.go(Stage::RollingBack(flip.clone(), record.clone()), reason, actor, self.now);
        self.rolling_back(run, flip.clone(), record, true);
    }

    /// Puts back what a rollback with a wider scope reaches: all that was raised before it was decided. Follows from what
    /// is stored or stamped alone, so that a crash between two lowerings forgets none.
    pub(super) fn spread(&mut self, before: &State) {
        let causes: Vec<(String, String, RollbackRecord)> = self
            .state
            .runs
            .values()
            .filter_map(|run| {
                let record = run.stage.rollback().filter(|r| !r.scope.is_environment())?;
                Some((run.spec.phase.clone(), run.label(), record.clone()))
            })
            .collect();
        if causes.is_empty() {
            return;
        }
        let names: Vec<String> = self.state.runs.keys().cloned().collect();
        for name in names {
            let Some(mut run) = self.state.runs.get(&name).map(|run| Run::clone(run)) else { continue };
            let reachable = run.writes(self.view.mode()) && run.no_return.is_none();
            let Some(flip) = run.stage.raised().cloned().filter(|_| reachable) else { continue };
            // What was to be raised in this very pass is not raised at all.
            let new = before.runs.get(&name).is_none_or(|old| old.stage == Stage::Gating);
            let reaches = |phase: &str, record: &RollbackRecord| {
                let in_scope = record.scope == RollbackScope::All || phase == run.spec.phase;
                in_scope && flip.armed.at <= record.at
            };
            let Some((_, label, record)) = causes.iter().find(|(phase, _, r)| !new && reaches(phase, r)) else {
                continue;
            };
            let reason =
                format!("{label} was rolled back, and rollback.scope is {:?}: {}", record.scope, record.reason);
            self.retreat(&mut run, &flip, &reason, "hoist");
            self.state.ledgers.remove(&name);
            self.state.runs.insert(name, Arc::new(run));
        }
    }

    /// Sends what is not down yet, and proves what is. A decision that is new (`blind`) is sent without a look; later
    /// on a target is looked at first, and written anew only where it is not closed or cannot be read.
    pub(super) fn rolling_back(&mut self, run: &mut Run, flip: Flip, record: RollbackRecord, blind: bool) {
        let sent = |pass: &Self, target: &ArmedTarget, standing: Option<&Standing>| match standing {
            None => (blind || pass.seen.targets.contains_key(&target.place)).then_some(None),
            Some(_) => Some(None),
        };
        if let Some(proof) = self.put_back(run, &flip, &record, StampKind::Closed, sent) {
            run.go(Stage::RolledBack(flip, record), &format!("proven: {proof}"), "hoist", self.now);
        }
    }

    /// The way back of a rollback and of what was planned: gives its proof, once there is one. `sent` says whether a target
    /// that is not back yet is written, and on which version alone.
    pub(super) fn put_back(
        &mut self,
        run: &mut Run,
        flip: &Flip,
        record: &RollbackRecord,
        kind: StampKind,
        sent: impl Fn(&Self, &ArmedTarget, Option<&Standing>) -> Option<Option<String>>,
    ) -> Option<String> {
        let young = self.now - record.at < TimeDelta::minutes(1);
        self.wake_in(TimeDelta::seconds(if young { 1 } else { 5 }));
        let writes = run.writes(self.view.mode());
        let standings = self.standings(run, flip);
        let mut down = true;
        let mut held = None;
        // A flag goes back before those that it needs.
        for (target, standing) in flip.armed.targets.iter().zip(&standings).rev() {
            if standing.as_ref().is_some_and(|s| is_back(target, s, kind, writes)) {
                continue;
            }
            // It was up, so whatever another run has written came after that.
            let planned = kind == StampKind::Lowered && matches!(standing, Some(Standing::Down(_)));
            if planned && self.successor(run, flip, target).is_some() {
                continue;
            }
            down = false;
            if let Some(why) = standing.as_ref().and_then(|s| left_alone(target, s, kind)) {
                held = Some(why);
            } else if let Some(resource_version) = sent(self, target, standing.as_ref()).filter(|_| writes) {
                // The time of the decision, not of the sending: sent again, it is the same write.
                let stamp = self.stamp(run, kind, &record.decision, Some(&record.reason));
                let stamp = Stamp { at: record.at, scope: record.scope, ..stamp };
                self.lowers.push(Lower { target: target.clone(), resource_version, stamp });
            }
        }
        let decision = writes.then_some(record.decision.as_str());
        if let Some(decision) = decision {
            self.restart_what_is_down(flip, &standings, decision);
        }
        let unproven = self.unproven(flip, decision).or_else(|| self.left_on_the_raise(flip, writes));
        if down && unproven.is_none() {
            return Some(self.proof(flip));
        }
        let deadline = record.at + flip.armed.deadline.delta();
        if self.now < deadline {
            self.wake_at(deadline);
        }
        if held.is_none() && self.now >= deadline {
            let what = self.lagging(flip).or(unproven).unwrap_or_else(|| "a target is not down yet".to_owned());
            held = Some((HeldReason::RollbackUnproven, format!("not proven within {}: {what}", flip.armed.deadline)));
        }
        match held {
            Some((reason, message)) => run.hold(reason, &message, self.now),
            None => run.held = None,
        }
        run.message = run.held.as_ref().map_or_else(|| record.reason.clone(), |h| h.message.clone());
        None
    }

    /// Pods that Hoist restarted for the raise, where it may not restart them for the way back.
    fn left_on_the_raise(&self, flip: &Flip, writes: bool) -> Option<String> {
        let raise = flip.decision().filter(|_| !writes)?;
        let left = restarts(flip, raise).into_iter().find(|r| match self.seen.workloads.get(&r.key()) {
            Some(Ok(WorkloadReading::Found(found))) => found.restarts.get(&r.flag) == Some(&r.decision),
            _ => false,
        })?;
        Some(format!(
            "{} was restarted for the raise and not since, and mode is Observe; set mode to Act, so that Hoist restarts it",
            left.key()
        ))
    }

    /// Restarts the workloads whose targets were all seen to be down: pods that restart before that start on the value
    /// that is being taken back, and would carry the mark of a proof all the same.
    fn restart_what_is_down(&mut self, flip: &Flip, standings: &[Option<Standing>], decision: &str) {
        let low = |r: &Restart| {
            let feeds = |t: &ArmedTarget| t.place.namespace == r.namespace && t.workloads.contains(&r.workload);
            let mut targets = flip.armed.targets.iter().zip(standings).filter(|(t, _)| feeds(t));
            targets.all(|(_, s)| s.as_ref().is_some_and(Standing::is_down))
        };
        let due = |r: &Restart| low(r) && self.to_be_restarted(r);
        let missing: Vec<_> = restarts(flip, decision).into_iter().filter(due).collect();
        self.lower_restarts.extend(missing);
    }

    /// Names who raised a flag again after it was put back. Nothing is written: only a `Retry` raises it for Hoist.
    pub(super) fn rolled_back(&mut self, run: &mut Run, flip: &Flip) {
        if !is_latest(&self.state, run) {
            run.held = None;
            return;
        }
        self.wake_every(CLOSED_POLL);
        let standings = self.standings(run, flip);
        let mut drift = None;
        for (target, standing) in flip.armed.targets.iter().zip(standings) {
            let (place, enabled) = (&target.place, &target.values.enabled);
            match standing {
                Some(Standing::UpByOthers(by)) => {
                    drift = Some(format!("{place} was set to {enabled} by {by} after the rollback; it is left alone"));
                }
                Some(Standing::Up | Standing::Behind | Standing::OtherShare(..)) => {
                    drift = Some(format!("{place} is {enabled} again after the rollback; it is left alone"));
                }
                Some(Standing::Third(value, by)) => {
                    drift = Some(format!("{place} was set to {value} by {by} after the rollback; it is left alone"));
                }
                Some(_) => {}
                None => return,
            }
        }
        match drift {
            Some(message) => run.hold(HeldReason::Drifted, &message, self.now),
            None => run.held = None,
        }
    }

    fn lagging(&self, flip: &Flip) -> Option<String> {
        let mut pods = Vec::new();
        for key in flip.workloads() {
            if let Some(Ok(WorkloadReading::Found(found))) = self.seen.workloads.get(key) {
                pods.extend(found.lagging.iter().map(String::as_str));
            }
        }
        let shown = pods.iter().take(5).copied().collect::<Vec<_>>().join(", ");
        let more = if pods.len() > 5 { format!(" and {} more", pods.len() - 5) } else { String::new() };
        (!pods.is_empty()).then(|| format!("still on the old value: {shown}{more}"))
    }

    fn proof(&self, flip: &Flip) -> String {
        let mut parts = Vec::new();
        for key in flip.workloads() {
            if let Some(Ok(WorkloadReading::Found(found))) = self.seen.workloads.get(key) {
                parts.push(format!("{} of {} pods of {key} are back on the old value", found.ready, found.desired));
            }
        }
        if parts.is_empty() { "the flag is down, and no workload reads it".to_owned() } else { parts.join("; ") }
    }
}

/// Whether nothing is left to be done at a target.
fn is_back(target: &ArmedTarget, standing: &Standing, kind: StampKind, writes: bool) -> bool {
    match standing {
        Standing::Closed(_) | Standing::Missing => true,
        Standing::Replaced(value) => value.as_ref() != Some(&target.values.enabled),
        Standing::Lowered(_) => kind == StampKind::Lowered || !writes,
        Standing::Down(_) => !writes,
        _ => false,
    }
}

/// Why a target that is not back is a person's to put back.
fn left_alone(target: &ArmedTarget, standing: &Standing, kind: StampKind) -> Option<(HeldReason, String)> {
    let (place, enabled, disabled) = (&target.place, &target.values.enabled, &target.values.disabled);
    let planned = kind == StampKind::Lowered;
    let drifted = |what: String| {
        let or = if planned { ", or order a Rollback" } else { "" };
        Some((HeldReason::Drifted, format!("{what}; it is left alone. Set it to {disabled} by hand{or}")))
    };
    match standing {
        Standing::Replaced(_) => Some((
            HeldReason::TargetReplaced,
            format!(
                "{place} was deleted and made anew at {enabled}; it is not the one that was armed and is not written. Set it to {disabled} by hand"
            ),
        )),
        Standing::UpByOthers(by) | Standing::Third(_, by) if by.closed.is_some() => {
            drifted(format!("{place} was rolled back, and then set again by {by}"))
        }
        Standing::UpByOthers(by) if planned => {
            drifted(format!("{place} is {enabled} by {by}, not by Hoist's own write"))
        }
        Standing::Third(value, by) if planned => drifted(format!("{place} was set to {value} by {by}")),
        Standing::OtherShare(share, by) if planned => {
            drifted(format!("the percentage beside {place} was set to {share} by {by}"))
        }
        _ => None,
    }
}
