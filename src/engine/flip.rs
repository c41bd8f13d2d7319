//! Raising: from open gates through the fence to a completed rollout.

use std::sync::Arc;

use chrono::TimeDelta;

use crate::api::{
    Armed, ArmedTarget, Attempt, FORMAT_VERSION, Gate, HeldReason, Mode, PlaceKind, RollbackScope, Time, WorkloadRef,
};

use super::decision::{Raise, Restart, Seal};
use super::drift::meddled;
use super::gate::{Gates, gates, rest_gates};
use super::order::observes;
use super::plan::FlipPlan;
use super::probe::{FoundWorkload, GATE_POLL, WorkloadKey, WorkloadReading, next_gate};
use super::start::closes;
use super::state::{Flip, Run, Stage};
use super::step::Pass;
use super::target::{Expected, Stamp, StampKind, Standing, TargetPlan, TargetReading, standing};

/// A raise that was not sent within this is not sent any more.
const SEND_WITHIN: TimeDelta = TimeDelta::seconds(10);

/// How long a flip may stay in part: nobody has planned that state, and its checks speak of neither value.
const IN_PART_FOR: TimeDelta = TimeDelta::minutes(10);

/// While the calendar stays closed for longer than this, and stands alone in the way, the gates are looked at seldom.
const NEAR: TimeDelta = TimeDelta::minutes(10);

/// How seldom.
const SELDOM: TimeDelta = TimeDelta::minutes(5);

/// The longest pause between two attempts at a flip.
const LONGEST_BACKOFF: TimeDelta = TimeDelta::minutes(5);

/// The same where part of it is up: all of it goes back soon if it is not completed.
const LONGEST_IN_PART: TimeDelta = TimeDelta::minutes(1);

/// When a run that has given up an attempt at this time may make the next: the first may have met a harmless conflict, a
/// target that refuses for good must not be written to all day.
pub(super) fn again_at(run: &Run, given_up: Time) -> Time {
    given_up
        + match u32::try_from(run.attempts).unwrap_or(0) {
            0 | 1 => TimeDelta::zero(),
            n => TimeDelta::seconds(5 << (n - 2).min(6)).min(LONGEST_BACKOFF),
        }
}

impl Pass<'_> {
    pub(super) fn gating(&mut self, run: &mut Run) {
        if self.view.deleting {
            return run.go(Stage::Finished(None), "the schedule was deleted before the flip", "hoist", self.now);
        }
        if self.view.flip_plan(run).is_some_and(|flip| !self.answered(run, flip)) {
            return self.wake_every(GATE_POLL);
        }
        self.listen(run);
        self.read_history(run);
        let found = gates(self.view, &self.stops(), &self.state, run, self.seen, self.now);
        if found.open() && self.view.is_work(run) {
            return run.go(Stage::Worked, "every gate is open; the work may count as done", "hoist", self.now);
        }
        if found.open() && self.raises.is_empty() {
            return self.flip(run, found);
        }
        // One flip in a pass: each is decided on what became of the one before.
        if found.open() {
            return self.wake_in(TimeDelta::seconds(1));
        }
        match &found.held {
            Some((reason, message)) => run.hold(*reason, message, self.now),
            None => run.held = None,
        }
        let near = |opens: Time| opens - self.now <= NEAR;
        let only = found.held.is_none() && found.waits.iter().all(|(gate, _)| *gate == Gate::Calendar);
        let far = only && !found.timing.until.is_some_and(near) && !observes(self.view);
        self.note_checks(run, found.checks);
        self.wait(run, found.waits);
        run.opens(found.timing.until);
        let checks = self.view.flip_plan(run).map(|f| f.checks.as_slice()).unwrap_or_default();
        match next_gate(checks, self.now) {
            Some(next) if !far => self.wake_at(next),
            _ => self.wake_every(if far { SELDOM } else { GATE_POLL }),
        }
        found.timing.next.into_iter().for_each(|at| self.wake_at(at));
        let again = again_at(run, run.since);
        if self.now < again {
            self.wake_at(again);
        }
    }

    /// Arms the run and, in `Act`, writes down the first attempt.
    fn flip(&mut self, run: &mut Run, found: Gates) {
        let (Some((phase, step)), Some(plan), Ok(whole)) =
            (self.view.step_of(run), self.view.flip_plan(run), &self.view.plan)
        else {
            return;
        };
        let Some(prometheus) = plan.prometheus.clone() else { return };
        let observe = observes(self.view);
        let baseline = self.keep(run);
        let covers = phase.soaks().iter().any(|soak| !soak.covers.is_empty());
        let armed = Arc::new(Armed {
            at: self.now,
            mode: if observe { Mode::Observe } else { Mode::Act },
            targets: found.targets.iter().map(|(t, _)| t.clone()).collect(),
            checks: plan.checks.clone(),
            prometheus,
            soak: phase.soak.clone(),
            false_rollback_budget: whole.false_rollback_budget.clone(),
            baseline,
            time_zone: covers.then(|| step.zone.name().to_owned()),
            // What others raise is not Hoist's to share out.
            steps: if observe { Vec::new() } else { phase.steps.clone() },
            lower_after: phase.lower_after,
            deadline: whole.deadline,
            scope: whole.scope,
        });
        let flip = Flip::new(armed);
        if observe {
            run.go(
                Stage::Verifying(flip),
                "others raised the flag; mode is Observe, so it is only watched",
                "others",
                self.now,
            );
            return self.wake_in(TimeDelta::seconds(1));
        }
        let versions: Vec<String> = found.targets.into_iter().map(|(_, version)| version).collect();
        let reason = match &run.spec.opened_by {
            None => "every gate is open".to_owned(),
            Some(opened) => format!("every gate is open; epoch opened by Intervention {}", opened.intervention),
        };
        run.go(Stage::Flipping(flip.clone()), &reason, "hoist", self.now);
        let all: Vec<usize> = (0..versions.len()).collect();
        self.attempt(run, flip, &all, &versions);
    }

    /// Writes down an attempt and what it sends.
    pub(super) fn attempt(&mut self, run: &mut Run, mut flip: Flip, which: &[usize], versions: &[String]) {
        run.attempts += 1;
        run.waits.clear();
        run.held = None;
        let within = self.now + SEND_WITHIN;
        // The last second in which the calendar is open: what is not sent by then is not sent outside it either.
        let closes = closes(self.view, &self.state, run, self.now, within + TimeDelta::seconds(1));
        let attempt = Attempt {
            number: run.attempts,
            decision: run.decision("r", run.attempts),
            send_by: closes.map_or(within, |at| at - TimeDelta::seconds(1)),
        };
        for (index, version) in which.iter().zip(versions) {
            let Some(target) = flip.armed.targets.get(*index) else { continue };
            let reading = self.seen.targets.get(&target.place);
            let reads = |value| matches!(reading, Some(Ok(TargetReading::Found(f))) if f.value.as_ref() == Ok(value));
            self.raises.push(Raise {
                target: target.clone(),
                resource_version: version.clone(),
                percent: flip.percent(),
                // A flag that is up already is joined: its value is taken from nobody, an earlier seal's stamp is.
                force: reads(&target.values.disabled) || reads(&target.values.enabled),
                stamp: self.stamp(run, StampKind::Raised, &attempt.decision, None),
                send_by: attempt.send_by,
            });
        }
        flip.attempt = Some(attempt);
        run.stage = Stage::Flipping(flip);
        self.wake_in(TimeDelta::seconds(1));
    }

    pub(super) fn stamp(&self, run: &Run, kind: StampKind, decision: &str, why: Option<&str>) -> Stamp {
        Stamp {
            v: FORMAT_VERSION,
            kind,
            run: run.reference(),
            schedule: self.view.uid.clone(),
            epoch: run.spec.epoch,
            decision: decision.to_owned(),
            at: self.now,
            why: why.and_then(Stamp::why),
            scope: RollbackScope::Environment,
        }
    }

    /// What a run that goes by this reference expects to find at its targets.
    pub(super) fn expected<'r>(reference: &'r str, run: &Run, flip: &Flip) -> Expected<'r> {
        Expected {
            run: reference,
            epoch: run.spec.epoch,
            observes: flip.armed.mode == Mode::Observe,
            percent: flip.percent(),
            before: flip.percent_before(),
        }
    }

    /// How each armed target stands; nothing for one that was not seen or could not be read.
    pub(super) fn standings(&self, run: &Run, flip: &Flip) -> Vec<Option<Standing>> {
        let reference = run.reference();
        let expected = Self::expected(&reference, run, flip);
        let one = |t: &ArmedTarget| {
            let reading = self.seen.targets.get(&t.place)?.as_ref().ok()?;
            Some(standing(t, &expected, reading))
        };
        flip.armed.targets.iter().map(one).collect()
    }

    pub(super) fn flipping(&mut self, run: &mut Run, flip: Flip) {
        self.wake_in(TimeDelta::seconds(1));
        if self.ordered_back(run, &flip) || self.deleted(run, &flip, true) {
            return;
        }
        let standings = self.standings(run, &flip);
        if self.closed_already(run, &flip, &standings) || self.lowered_already(run, &flip, &standings) {
            return;
        }
        if standings.iter().any(Option::is_none) {
            if let Some(why) = self.unseen(&flip) {
                self.wait(run, vec![(Gate::Target, why)]);
            }
            return;
        }
        let standings: Vec<Standing> = standings.into_iter().flatten().collect();
        if self.lowered_in_flight(run, &flip, &standings) || self.stays_in_part(run, &flip, &standings) {
            return;
        }
        if standings.iter().all(|s| *s == Standing::Up) {
            let flip = Flip { before: None, ..flip };
            let reason = format!("the flag is up{}; its pods are not proven yet", flip.share());
            run.go(Stage::Verifying(flip.clone()), &reason, "hoist", self.now);
            return self.verifying(run, flip);
        }
        match &flip.attempt {
            Some(attempt) => {
                let decision = attempt.decision.clone();
                self.seal(run, flip, &decision, &standings);
            }
            None => self.again(run, flip, &standings),
        }
    }

    /// A stamp of this run's raise over `disabled` proves that the raise had arrived: somebody lowered the flag since.
    fn lowered_in_flight(&mut self, run: &mut Run, flip: &Flip, standings: &[Standing]) -> bool {
        for (target, standing) in flip.armed.targets.iter().zip(standings) {
            let Some(Ok(TargetReading::Found(found))) = self.seen.targets.get(&target.place) else { continue };
            let raised = |s: &Stamp| s.kind == StampKind::Raised && s.run == run.reference();
            if let (Standing::Down(owner), true) = (standing, found.stamp.as_ref().is_some_and(raised)) {
                self.retreat_of_person(run, flip, target, owner.as_ref());
                return true;
            }
        }
        false
    }

    /// Watches the part of a flip that is up, and puts it back where the rest does not follow.
    fn stays_in_part(&mut self, run: &mut Run, flip: &Flip, standings: &[Standing]) -> bool {
        if !standings.iter().any(Standing::is_up) {
            return false;
        }
        if self.rollout_breaches(run, flip) {
            return true;
        }
        let part = standings.contains(&Standing::Up) && standings.iter().any(|s| *s != Standing::Up);
        if part && self.now - run.since >= IN_PART_FOR {
            let reason =
                format!("the flip arrived in part and was not completed within {} minutes", IN_PART_FOR.num_minutes());
            self.retreat(run, flip, &reason, "hoist");
            return true;
        }
        false
    }

    /// Makes sure that nothing of an unfinished attempt can arrive any more.
    ///
    /// A target that stands as it was armed, without this attempt's seal, may still take a late raise. Every other
    /// standing means that the object has changed since, so that its version refuses one.
    fn seal(&mut self, run: &mut Run, mut flip: Flip, decision: &str, standings: &[Standing]) {
        let seal = format!("{decision}-sealed");
        let mut foreign = None;
        let mut open = false;
        for (target, standing) in flip.armed.targets.iter().zip(standings) {
            let Some(Ok(TargetReading::Found(found))) = self.seen.targets.get(&target.place) else {
                foreign = foreign.or_else(|| meddled(target, standing));
                continue;
            };
            let sealed = found.stamp.as_ref().is_some_and(|s| s.run == run.reference() && s.decision == seal);
            if !may_rise(run, target, standing) {
                foreign = foreign.or_else(|| meddled(target, standing));
            } else if !sealed {
                open = true;
                let stamp = self.stamp(run, StampKind::Sealed, &seal, None);
                let resource_version = found.resource_version.clone();
                self.seals.push(Seal { target: target.clone(), resource_version, stamp });
            }
        }
        if open {
            return;
        }
        flip.attempt = None;
        run.stage = Stage::Flipping(flip.clone());
        match foreign {
            Some(message) => self.give_up(run, flip, &message, standings),
            None if standings.contains(&Standing::Up) => {
                let message = "the flip arrived in part; what is missing is sent again".to_owned();
                self.wait(run, vec![(Gate::Target, message)]);
            }
            None => {
                let reason = "the flip did not arrive; its targets are sealed against a late write";
                self.give_up(run, flip, reason, standings);
            }
        }
    }

    /// Goes back to the gates where nothing of the flip is up, or to the step before; else waits for a person.
    fn give_up(&mut self, run: &mut Run, flip: Flip, reason: &str, standings: &[Standing]) {
        if standings.contains(&Standing::Up) {
            run.hold(HeldReason::Drifted, reason, self.now);
        } else if let Some(rolled_out) = flip.before {
            let before = Flip { step: flip.step.saturating_sub(1), before: None, ..flip };
            run.go(Stage::Soaking(before, rolled_out), reason, "hoist", self.now);
        } else {
            run.go(Stage::Gating, reason, "hoist", self.now);
        }
    }

    /// Sends what is missing of a flip that arrived in part.
    fn again(&mut self, run: &mut Run, flip: Flip, standings: &[Standing]) {
        let found = rest_gates(self.view, &self.stops(), &self.state, run, self.now);
        if !found.open() {
            self.wait(run, found.waits);
            return run.opens(found.timing.until);
        }
        let sealed = run.waits.iter().find(|w| w.gate == Gate::Target).map(|w| w.since);
        if sealed.is_some_and(|at| self.now < again_at(run, at).min(at + LONGEST_IN_PART)) {
            return;
        }
        let mut which = Vec::new();
        let mut versions = Vec::new();
        for (index, (target, standing)) in flip.armed.targets.iter().zip(standings).enumerate() {
            match (standing, self.seen.targets.get(&target.place)) {
                (Standing::Up, _) => {}
                (standing, Some(Ok(TargetReading::Found(found))))
                    if found.barred.is_none() && may_rise(run, target, standing) =>
                {
                    which.push(index);
                    versions.push(found.resource_version.clone());
                }
                (other, _) => {
                    let message =
                        meddled(target, other).unwrap_or_else(|| format!("{} cannot be raised", target.place));
                    let message = format!(
                        "the flip is up elsewhere; {message}. Set it to {} or order a Rollback",
                        target.values.disabled
                    );
                    return run.hold(HeldReason::Drifted, &message, self.now);
                }
            }
        }
        self.attempt(run, flip, &which, &versions);
    }

    pub(super) fn verifying(&mut self, run: &mut Run, flip: Flip) {
        let young = self.now - run.since < TimeDelta::minutes(1);
        self.wake_in(TimeDelta::seconds(if young { 1 } else { 5 }));
        if !self.watch(run, &flip) || self.rollout_breaches(run, &flip) || !self.looked_at(&flip) {
            return;
        }
        if let Some(decision) = flip.decision().filter(|_| run.writes(self.view.mode())) {
            let missing = restarts(&flip, decision).into_iter().filter(|r| self.to_be_restarted(r));
            self.raise_restarts.extend(missing.collect::<Vec<_>>());
        }
        if let Some(why) = self.unproven(&flip, flip.decision()) {
            return self.wait(run, vec![(Gate::Workload, why)]);
        }
        if run.held.is_some() {
            return;
        }
        self.begin(run, &flip, self.now);
        let reason = format!("the rollout is complete{}; soaks for {}", flip.share(), flip.soak().duration);
        run.go(Stage::Soaking(flip, self.now), &reason, "hoist", self.now);
        run.updates = 0;
    }

    /// Whether everything that a flip's gates look at was asked and answered, for better or worse.
    fn answered(&self, run: &Run, flip: &FlipPlan) -> bool {
        let workload = |t: &TargetPlan, w: &WorkloadRef| {
            let key = WorkloadKey::beside(&t.place, w);
            self.seen.workloads.contains_key(&key)
        };
        flip.targets
            .iter()
            .all(|t| self.seen.targets.contains_key(&t.place) && t.workloads.iter().all(|w| workload(t, w)))
            && flip
                .checks
                .iter()
                .filter(|c| c.threshold.is_some())
                .all(|c| self.seen.measured(&run.name, &c.name).is_some())
    }

    /// Whether every target and workload of a flip was looked at in this pass. One that a retreat elsewhere cut short
    /// says nothing about this run.
    pub(super) fn looked_at(&self, flip: &Flip) -> bool {
        flip.armed.targets.iter().all(|t| self.seen.targets.contains_key(&t.place))
            && flip.workloads().iter().all(|key| self.seen.workloads.contains_key(key))
    }

    /// Why the workloads are not yet proven to run on the value, where they are not.
    pub(super) fn unproven(&self, flip: &Flip, decision: Option<&str>) -> Option<String> {
        for restart in decision.map(|d| restarts(flip, d)).unwrap_or_default() {
            if self.to_be_restarted(&restart) {
                return Some(format!("{:?} {} is to be restarted", restart.workload.kind, restart.workload.name));
            }
        }
        for key in flip.workloads() {
            let why = match self.seen.workloads.get(key) {
                None => "is not read yet".to_owned(),
                Some(Err(why)) => format!("cannot be read: {why}"),
                Some(Ok(WorkloadReading::Missing)) => continue,
                Some(Ok(WorkloadReading::Found(found))) if !self.of_one_spec(flip, key, found) => {
                    "was changed while it was read".to_owned()
                }
                Some(Ok(WorkloadReading::Found(found))) if found.complete => continue,
                Some(Ok(WorkloadReading::Found(found))) => rollout_sentence(found),
            };
            return Some(format!("{key} {why}"));
        }
        None
    }

    /// Whether a workload and the variables in it were read of the same spec: they are asked for apart, and a rollout of
    /// the spec before proves nothing about the value that was read.
    fn of_one_spec(&self, flip: &Flip, key: &WorkloadKey, found: &FoundWorkload) -> bool {
        let kind = PlaceKind::WorkloadEnv(key.workload.kind);
        let places = flip.armed.targets.iter().map(|t| &t.place);
        let mut places =
            places.filter(|p| p.kind == kind && p.namespace == key.namespace && p.name == key.workload.name);
        places.all(|place| match self.seen.targets.get(place) {
            Some(Ok(TargetReading::Found(target))) => target.generation == found.generation,
            _ => true,
        })
    }

    /// Whether a workload was read that a restart has not reached. One that cannot be read is not sent to blindly.
    pub(super) fn to_be_restarted(&self, restart: &Restart) -> bool {
        matches!(
            self.seen.workloads.get(&restart.key()),
            Some(Ok(WorkloadReading::Found(found))) if found.restarts.get(&restart.flag) != Some(&restart.decision)
        )
    }
}

/// Whether a raise of this run could still arrive at a target, or be sent to it: the value is as it was armed.
fn may_rise(run: &Run, target: &ArmedTarget, standing: &Standing) -> bool {
    match standing {
        Standing::Down(_) | Standing::Sealed(_) | Standing::Behind => true,
        Standing::UpByOthers(by) => run.takes_over(&target.values.enabled, by.owner.as_ref()),
        _ => false,
    }
}

/// The rollout in words that do not change with every pod.
fn rollout_sentence(found: &FoundWorkload) -> String {
    match (&found.blocked, found.lagging.first()) {
        (Some(why), _) => why.clone(),
        (None, Some(pod)) => format!("is not rolled out: {pod} still runs the old value"),
        (None, None) => "is not rolled out yet".to_owned(),
    }
}

/// The restarts that a decision asks for: those of ConfigMap targets, once for each workload and flag.
pub(super) fn restarts(flip: &Flip, decision: &str) -> Vec<Restart> {
    let mut all: Vec<Restart> = Vec::new();
    for target in flip.armed.targets.iter().filter(|t| t.place.kind == PlaceKind::ConfigMap) {
        for workload in &target.workloads {
            let restart = Restart {
                namespace: target.place.namespace.clone(),
                workload: workload.clone(),
                flag: target.flag.clone(),
                decision: decision.to_owned(),
            };
            if !all.contains(&restart) {
                all.push(restart);
            }
        }
    }
    all
}
