//! Watching: the soak after a flip, and the calmer time until the schedule completes.

use chrono::TimeDelta;

use crate::api::{
    Action, ArmedTarget, Check, CheckOutcome, Duration, Gate, HeldReason, OnBreach, PendingAction, Soak, Time,
};

use super::calendar::{Zone, covered_at};
use super::decision::Update;
use super::drift::drift_of;
use super::gate::end_gates;
use super::ledger::RunLedger;
use super::probe::{FoundWorkload, WorkloadReading};
use super::state::{Flip, Run, Stage, clip};
use super::step::Pass;
use super::target::{StampKind, Standing, TargetReading};
use crate::analysis::{Breach, CheckLedger};

/// A workload may be unavailable for this long before that counts as a breach: node drains and restarts take time.
const UNAVAILABLE_FOR: TimeDelta = TimeDelta::minutes(2);

/// Pods may crash for this long before that counts as a breach.
const CRASHING_FOR: TimeDelta = TimeDelta::seconds(20);

/// How often targets are read where no check asks more often.
pub(super) const TARGET_POLL: TimeDelta = TimeDelta::seconds(30);

impl Pass<'_> {
    pub(super) fn soaking(&mut self, run: &mut Run, flip: Flip, rolled_out: Time) {
        if !self.evidence(run, &flip, rolled_out) {
            return;
        }
        let Soak { duration: soak, covers, .. } = flip.soak();
        let ledger = self.state.ledgers.get(&run.name).cloned().unwrap_or_default();
        let asked = ledger.checks().filter(|c| self.view.counts(run, c.check(), self.now));
        let asked: Vec<&CheckLedger> = asked.collect();
        let mut waits = Vec::new();
        // A check that only says something says nothing more once it has breached.
        let told = |c: &CheckLedger| c.check().on_breach == OnBreach::Notify && c.latched().is_some();
        let missing = asked.iter().filter(|c| !told(c)).find_map(|c| c.missing(*soak, self.now));
        let over = rolled_out + soak.delta();
        let zone = flip.armed.time_zone.as_deref().and_then(|name| Zone::find(name).ok()).unwrap_or(Zone::UTC);
        let covered = covered_at(covers, zone, rolled_out).filter(|(_, at)| *at > over);
        let time = covered.map_or(over, |(_, at)| at);
        let of = covered.map(|(cover, _)| format!(", to have seen six hours of {cover:?}")).unwrap_or_default();
        let later_step = (flip.step > 0).then_some(rolled_out);
        let cut_short = self.view.soak_cut_short(run, later_step, self.now);
        if let Some(why) = missing
            .or_else(|| (self.now < time).then(|| format!("soaks until {}{of}", time.format("%Y-%m-%d %H:%M:%S UTC"))))
            .filter(|_| !cut_short)
        {
            waits.push((Gate::Soak, why));
        }
        waits.extend(asked.iter().filter(|c| c.check().on_breach != OnBreach::Notify).filter_map(|c| {
            let (_, sentence) = c.hold()?;
            Some((Gate::Evidence, format!("check {}: {sentence}", c.check().name)))
        }));
        waits.extend(run.pending.as_ref().map(|p| {
            let (why, check, at) = (&p.message, &p.check, p.at.format("%Y-%m-%d %H:%M:%S UTC"));
            (Gate::Evidence, format!("{why}; rolls back at {at} unless a person orders an Override of check {check}"))
        }));
        waits.extend(self.unseen(&flip).map(|why| (Gate::Target, why)));
        waits.extend(self.shaky(&flip).map(|why| (Gate::Workload, why)));
        waits.extend(end_gates(self.view, &self.stops(), run));
        self.wake_at(time);
        self.update(run, &flip, rolled_out);
        if !waits.is_empty() || run.held.is_some() {
            return self.wait(run, waits);
        }
        let seen: Vec<String> = covers.iter().map(|c| format!("{c:?}")).collect();
        let seen = if seen.is_empty() { String::new() } else { format!(" and saw {}", seen.join(", ")) };
        let reason = if cut_short {
            "a person ended the soak with an Override".to_owned()
        } else {
            format!("soaked for {soak}{}{seen}: every check passes", flip.share())
        };
        if let Some(next) = flip.next_percent() {
            return self.rise(run, flip, rolled_out, &format!("{reason}; goes to {next} %"));
        }
        if let Some(after) = flip.armed.lower_after {
            return self.ends_as_planned(run, flip, (rolled_out, after), cut_short, &reason);
        }
        run.go(Stage::Completed(flip, rolled_out), &reason, "hoist", self.now);
    }

    /// Tells people where the soak stands, once for each time at which they want to know; of several that came due, as
    /// after a restart, only the last.
    fn update(&mut self, run: &mut Run, flip: &Flip, rolled_out: Time) {
        let at = |after: &Duration| rolled_out + after.delta();
        let updates = &flip.soak().updates;
        let due = updates.iter().filter(|after| at(after) <= self.now).count();
        updates.get(due).into_iter().for_each(|next| self.wake_at(at(next)));
        if due <= run.updates {
            return;
        }
        run.updates = due;
        let so_far = Duration::seconds((self.now - rolled_out).num_seconds());
        let how = match (&run.held, run.checks.first()) {
            (Some(held), _) => format!("held: {}", held.message),
            (None, Some(check)) => format!("check {}: {}", check.name, check.message),
            (None, None) => "every check passes".to_owned(),
        };
        let sentence = format!("has soaked for {so_far} of {}{}: {how}", flip.soak().duration, flip.share());
        self.updates.push((run.name.clone(), Update { at: self.now, number: due, sentence }));
    }

    pub(super) fn completed(&mut self, run: &mut Run, flip: &Flip, rolled_out: Time) {
        self.evidence(run, flip, rolled_out);
    }

    /// Watches targets, rollout and checks; says whether the run is still up and was looked at whole.
    fn evidence(&mut self, run: &mut Run, flip: &Flip, rolled_out: Time) -> bool {
        self.wake_every(TARGET_POLL);
        let calm = self.calm_until(run, rolled_out);
        if !self.watch(run, flip) || self.rollout_breaches(run, flip) {
            return false;
        }
        if let Some(next) = calm.filter(|_| run.held.is_none()) {
            self.wake_at(next);
            return self.looked_at(flip) && self.finds(run, flip, Vec::new());
        }
        let ledger = self.state.ledgers.get(&run.name).cloned().unwrap_or_default();
        for check in ledger.checks().filter(|c| c.latched().is_none()) {
            // One that could not be asked is asked again when the next is due, not every second.
            let failed = check.next() <= self.now && self.tried(check);
            self.wake_at(if failed { check.next_after(self.now) } else { check.next() });
        }
        if self.acts_on(run, flip, &ledger) {
            return false;
        }
        // What was asked only in part, or is asked again after a restart, says nothing yet.
        if !self.looked_at(flip) || self.behind(&ledger) {
            return false;
        }
        let holds = ledger.checks().filter_map(|c| {
            let (outcome, sentence) = c.hold()?;
            let told = match (c.latched(), c.check().dry_run) {
                (Some(breach), true) => format!("{}; dryRun: nothing comes of it", breach.sentence),
                (Some(breach), false) => breach.sentence.clone(),
                (None, _) => sentence.to_owned(),
            };
            Some((c.check().name.clone(), outcome, told))
        });
        self.finds(run, flip, holds.collect())
    }

    /// Notes what does not pass, the rollout too; always true.
    fn finds(&mut self, run: &mut Run, flip: &Flip, mut holds: Vec<(String, CheckOutcome, String)>) -> bool {
        holds.extend(self.shaky(flip).map(|why| ("rollout".to_owned(), CheckOutcome::Inconclusive, why)));
        self.note_checks(run, holds);
        true
    }

    /// Does what the checks that have breached ask for; says whether the flag goes back.
    fn acts_on(&mut self, run: &mut Run, flip: &Flip, ledger: &RunLedger) -> bool {
        let mut breaches: Vec<(&Check, &Breach)> =
            ledger.checks().filter(|c| !c.check().dry_run).filter_map(|c| Some((c.check(), c.latched()?))).collect();
        breaches.sort_by_key(|(_, breach)| breach.at);
        let stopped = |p: &PendingAction| self.view.is_overridden(run, &p.check, self.now);
        if run.pending.as_ref().is_some_and(stopped) {
            run.pending = None;
        }
        let observes = !run.writes(self.view.mode()) || run.no_return.is_some();
        let soon = |check: &Check| check.countdown.filter(|_| !observes);
        let goes_back = |check: &Check| check.on_breach == OnBreach::Rollback;
        if let Some((_, breach)) = breaches.iter().find(|(c, _)| goes_back(c) && soon(c).is_none()) {
            self.breach(run, flip, &breach.sentence);
            return run.stage.rollback().is_some();
        }
        if let Some((check, breach)) = breaches.iter().find(|(c, _)| goes_back(c)).filter(|_| run.pending.is_none()) {
            let at = self.now + check.countdown.unwrap_or_default().delta();
            run.pending = Some(PendingAction {
                run: run.name.clone(),
                action: Action::Rollback,
                check: check.name.clone(),
                at,
                message: clip(&breach.sentence),
            });
        }
        if let Some(pending) = run.pending.clone() {
            self.wake_at(pending.at);
            if pending.at <= self.now {
                let why = format!("{}; nobody stopped the countdown", pending.message);
                self.breach(run, flip, &why);
                return run.stage.rollback().is_some();
            }
        }
        let holds = breaches.iter().find(|(c, _)| c.on_breach == OnBreach::Hold);
        match holds {
            Some((check, breach)) => {
                let message = format!(
                    "{}; onBreach is Hold: order a Rollback, or an Override of check {}",
                    breach.sentence, check.name
                );
                run.hold(HeldReason::Breached, &message, self.now);
                run.message.clone_from(&message);
            }
            None if run.held.as_ref().is_some_and(|h| h.reason == HeldReason::Breached) => run.held = None,
            None => {}
        }
        false
    }

    /// Whether a moment is due that was neither answered nor refused in this pass.
    fn behind(&self, ledger: &RunLedger) -> bool {
        ledger.checks().any(|c| c.latched().is_none() && c.next() <= self.now && !self.tried(c))
    }

    /// Whether a check was asked in this pass, for better or worse.
    fn tried(&self, check: &CheckLedger) -> bool {
        check.latest().is_some_and(|l| l.at >= self.now)
    }

    /// The run that has raised or sealed a target since this one was armed: then this one is over, and only a cache that lags
    /// shows it as up.
    pub(super) fn successor(&self, run: &Run, flip: &Flip, target: &ArmedTarget) -> Option<&str> {
        let Some(Ok(TargetReading::Found(found))) = self.seen.targets.get(&target.place) else { return None };
        let stamp = found.stamp.as_ref().filter(|s| found.stamp_counts && s.at > flip.armed.at)?;
        let live = matches!(stamp.kind, StampKind::Raised | StampKind::Sealed) && stamp.run != run.reference();
        live.then_some(stamp.run.as_str())
    }

    /// Looks at orders, deletion and what others did to the targets; says whether the run is still up.
    pub(super) fn watch(&mut self, run: &mut Run, flip: &Flip) -> bool {
        if self.ordered_back(run, flip) || self.deleted(run, flip, false) {
            return false;
        }
        let standings = self.standings(run, flip);
        if self.closed_already(run, flip, &standings) || self.lowered_already(run, flip, &standings) {
            return false;
        }
        let mut drift = None;
        let mut seen = 0;
        for (target, standing) in flip.armed.targets.iter().zip(standings) {
            let place = &target.place;
            seen += usize::from(standing.is_some());
            match standing {
                None => {}
                Some(Standing::Down(_)) if self.put_back_by_others(run, flip) => return false,
                Some(Standing::Down(owner)) => match self.successor(run, flip, target) {
                    None => {
                        self.retreat_of_person(run, flip, target, owner.as_ref());
                        return false;
                    }
                    Some(later) => {
                        let message = format!(
                            "{place} is down, and run {later} has written it since. Order a Rollback to close this epoch"
                        );
                        drift = Some((HeldReason::Drifted, message));
                    }
                },
                Some(Standing::Sealed(_)) => {
                    self.retreat(run, flip, &format!("{place} is down under a seal"), "hoist");
                    return false;
                }
                Some(other) => drift = drift_of(target, other).or(drift),
            }
        }
        let by_evidence = [HeldReason::WouldRollBack, HeldReason::Breached, HeldReason::PointOfNoReturn];
        let latched = run.held.as_ref().is_some_and(|h| by_evidence.contains(&h.reason));
        match drift {
            Some(_) if latched => {}
            Some((reason, message)) => run.hold(reason, &message, self.now),
            None if seen == flip.armed.targets.len() && !latched => run.held = None,
            None => {}
        }
        if let Some(held) = &run.held {
            run.message.clone_from(&held.message);
        }
        true
    }

    /// Judges the rollout itself, from the first second on; says whether it rolled back.
    pub(super) fn rollout_breaches(&mut self, run: &mut Run, flip: &Flip) -> bool {
        let mut crashing = None;
        let mut unavailable = None;
        let mut stuck = None;
        let mut read_all = true;
        for key in flip.workloads() {
            let reading = self.seen.workloads.get(key);
            read_all &= matches!(reading, Some(Ok(_)));
            let Some(Ok(WorkloadReading::Found(found))) = reading else { continue };
            crashing = crashing.or_else(|| found.crashing.first().map(|pod| format!("rollout: {key}: {pod}")));
            unavailable = unavailable.or_else(|| {
                found.unavailable.then(|| {
                    format!("rollout: {key} has too few available pods ({} of {} ready)", found.ready, found.desired)
                })
            });
            stuck = stuck.or_else(|| found.stuck.as_ref().map(|how| format!("rollout: {key} {how}")));
        }
        let now = self.now;
        let ledger = self.state.ledgers.entry(run.name.clone()).or_default();
        let since = |slot: &mut Option<Time>, seen: bool| {
            // What could not be read has not recovered.
            *slot = if seen || !read_all { slot.or(seen.then_some(now)) } else { None };
            slot.map_or(TimeDelta::zero(), |since| now - since)
        };
        let crashed_for = since(&mut ledger.crashing_since, crashing.is_some());
        let unavailable_for = since(&mut ledger.unavailable_since, unavailable.is_some());
        let soaking = run.stage.rolled_out().is_some();
        let why = crashing
            .filter(|_| crashed_for >= CRASHING_FOR)
            .or_else(|| unavailable.filter(|_| soaking && unavailable_for >= UNAVAILABLE_FOR))
            .or_else(|| stuck.filter(|_| !soaking));
        if crashed_for > TimeDelta::zero() || unavailable_for > TimeDelta::zero() {
            self.wake_in(TimeDelta::seconds(5));
        }
        let Some(why) = why else { return false };
        self.breach(run, flip, &why);
        run.stage.rollback().is_some()
    }

    /// Which target cannot be read, and why. It does not let a soak end.
    pub(super) fn unseen(&self, flip: &Flip) -> Option<String> {
        flip.armed.targets.iter().find_map(|t| match self.seen.targets.get(&t.place) {
            Some(Err(why)) => Some(format!("{} cannot be read: {why}", t.place)),
            _ => None,
        })
    }

    /// A workload that is not complete does not let a soak end, and is no breach by itself.
    fn shaky(&self, flip: &Flip) -> Option<String> {
        flip.workloads().iter().find_map(|key| match self.seen.workloads.get(key) {
            Some(Ok(WorkloadReading::Found(FoundWorkload { complete: true, crashing, .. }))) if crashing.is_empty() => {
                None
            }
            Some(Ok(WorkloadReading::Found(_))) => Some(format!("{key} is not fully ready")),
            Some(Ok(WorkloadReading::Missing)) => Some(format!("{key} does not exist any more")),
            Some(Err(why)) => Some(format!("{key} cannot be read: {why}")),
            None => Some(format!("{key} is not read yet")),
        })
    }

    /// Acts on a breach: rolls back, or says that it would.
    fn breach(&mut self, run: &mut Run, flip: &Flip, sentence: &str) {
        run.pending = None;
        if let Some(since) = run.no_return {
            let since = since.format("%Y-%m-%d %H:%M:%S UTC");
            let runbook = self.runbook(run).map(|at| format!("; what to do: {at}")).unwrap_or_default();
            let message = format!(
                "{sentence}; past the point of no return since {since}, so nothing is rolled back by itself{runbook}"
            );
            run.hold(HeldReason::PointOfNoReturn, &message, self.now);
            return run.message = clip(&message);
        }
        if run.writes(self.view.mode()) {
            return self.retreat_as_far_as(flip.armed.scope, run, flip, sentence, "hoist");
        }
        if run.held.as_ref().is_none_or(|h| h.reason != HeldReason::WouldRollBack) {
            let message = format!("{sentence}; mode is Observe, so Hoist only says that it would roll back now");
            run.hold(HeldReason::WouldRollBack, &message, self.now);
            run.message.clone_from(&message);
        }
    }
}
