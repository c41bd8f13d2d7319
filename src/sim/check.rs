//! What a world holds the daemon to, beyond the laws over its trace; and how it tells what happened.

use std::fmt::Write;
use std::sync::Arc;

use chrono::TimeDelta;

use crate::api::{ArmedTarget, FreezeSpec, MigrationRun, MigrationSchedule, OverriddenWait, RunState, Strength, Time};
use crate::engine::laws::{self, Sent, Turn, Violation};
use crate::engine::{
    Decision, Finalizer, Lower, Motion, Observations, Probe, Raise, Run, RunLedger, Stage, StampKind, TargetReading,
    pause_of, probes, step,
};

use super::daemon::Told;
use super::world::World;

/// Looking half-way doubles the work of a pass, so only some passes are looked at.
const QUIET_EVERY: u64 = 4;

impl World {
    fn breaks(&mut self, law: u8, what: String) {
        self.broken.get_or_insert(Violation { law, what });
    }

    /// Runs the laws over what has reached the store and the targets so far.
    pub(super) fn check(&mut self) -> Result<(), Violation> {
        if let Some(broken) = self.broken.clone() {
            return Err(broken);
        }
        if self.trace.len() > self.checked {
            self.checked = self.trace.len();
            let phases = &self.original.spec.phases;
            if phases.iter().all(|p| p.after.is_none() && p.max_parallel == 1) {
                laws::check(&self.trace)?;
            } else {
                laws::check_branching(&self.trace)?;
            }
        }
        laws::in_turn(&std::mem::take(&mut self.turns))?;
        laws::in_calendar(&std::mem::take(&mut self.sent))
    }

    /// Remembers a raise that is sent now, with the calendars that people had written by then.
    pub(super) fn remember(&mut self, raise: &Raise) {
        let name = raise.stamp.run.rsplit('/').next().unwrap_or_default();
        let (Some(run), Some(schedule)) = (self.store.now.runs.get(name), &self.store.now.schedule) else { return };
        let spec = &schedule.spec;
        let own = spec.calendar.as_ref();
        let zone = own.map_or("Etc/UTC", |c| c.time_zone.as_str()).to_owned();
        let phase = spec.phases.iter().find(|p| p.name == run.spec.phase).and_then(|p| p.calendar.as_ref());
        let place = self.store.now.environments.get(&run.spec.environment).and_then(|e| e.spec.calendar.as_ref());
        let mut calendars = Vec::new();
        calendars.extend(own.map(|c| (zone.clone(), c.windows.clone(), c.freezes.clone())));
        calendars.extend(phase.map(|c| (zone, c.windows.clone(), c.freezes.clone())));
        calendars.extend(place.map(|c| (c.time_zone.clone(), c.windows.clone(), c.freezes.clone())));
        let of_phase = |r: &MigrationRun| r.spec.phase == run.spec.phase && r.metadata.name != run.metadata.name;
        let begun =
            self.store.now.runs.values().any(|r| of_phase(r) && r.status.as_ref().is_some_and(|s| s.armed.is_some()));
        let retried = run.status.as_ref().is_some_and(|s| s.attempts > 1);
        let holds = |f: &&FreezeSpec| f.strength == Strength::Advance || !(begun || retried);
        calendars.extend(
            self.store
                .now
                .freezes
                .iter()
                .filter(|(_, f)| holds(f))
                .map(|(name, f)| (f.time_zone.clone(), Vec::new(), vec![f.time(name)])),
        );
        let status = schedule.status.as_ref();
        if overridden(schedule, run, OverriddenWait::Calendar).is_some_and(|until| raise.send_by <= until) {
            calendars.clear();
        }
        let state = |r: &MigrationRun| r.status.as_ref().map(|s| s.state).unwrap_or_default();
        let step = |r: &MigrationRun| (r.spec.phase.clone(), r.spec.environment.clone());
        let place = raise.target.place.clone();
        self.sent.push(Sent { place: place.clone(), at: self.now, send_by: raise.send_by, calendars });
        self.turns.push(Turn {
            place,
            namespace: self.original.namespace.clone(),
            step: step(run),
            phases: spec.phases.clone(),
            promoted: status.into_iter().flat_map(|s| &s.promotions).map(|p| p.phase.clone()).collect(),
            states: self.latest().into_iter().map(|r| (step(r), state(r))).collect(),
            at: self.now,
            soaks_until: self.soaks_until(run),
            open_elsewhere: self.open_elsewhere(run, raise),
        });
    }

    /// Until when the step before the one that a run is raised to soaks.
    fn soaks_until(&self, run: &MigrationRun) -> Option<Time> {
        let (status, schedule) = (run.status.as_ref()?, self.store.now.schedule.as_ref()?);
        let cut = overridden(schedule, run, OverriddenWait::Soak).is_some_and(|until| self.now < until);
        let before = usize::try_from(status.step.as_ref()?.number).ok()?.checked_sub(2)?;
        let soak = status.armed.as_ref()?.steps.get(before)?.soak.duration;
        Some(status.rolled_out? + soak.delta()).filter(|_| !cut)
    }

    /// Law 8: a flag is raised where those that it needs are up.
    pub(super) fn needs_what_is_up(&mut self, raise: &Raise) {
        let armed = self.armed_of(&raise.stamp.run);
        let up = |t: &ArmedTarget| self.cluster.value(&t.place).as_ref() == Some(&t.values.enabled);
        if let Some(needed) = armed.iter().find(|t| raise.target.needs(t) && !up(t)) {
            let (place, needed) = (&raise.target.place, &needed.place);
            self.breaks(8, format!("{place} was raised while {needed}, which it needs, was not up"));
        }
    }

    /// Law 3: a flag goes back after those that need it were sent down.
    pub(super) fn needed_by_nothing(&mut self, lower: &Lower, sent: &[Lower]) {
        let armed = self.armed_of(&lower.stamp.run);
        let up = |t: &ArmedTarget| match self.cluster.target(&t.place) {
            TargetReading::Found(found) => {
                let own = found.stamp.is_some_and(|s| s.run == lower.stamp.run && s.kind == StampKind::Raised);
                found.uid == t.uid && own && found.stamp_counts && found.value.as_ref() == Ok(&t.values.enabled)
            }
            TargetReading::Missing => false,
        };
        let left = |t: &ArmedTarget| t.needs(&lower.target) && up(t) && !sent.iter().any(|s| s.target.place == t.place);
        if let Some(left) = armed.iter().find(|t| left(t)) {
            let (place, left) = (&lower.target.place, &left.place);
            self.breaks(3, format!("{place} was lowered before {left}, which needs it"));
        }
    }

    /// Law 10: nothing goes back by plan before its time, unless a person ended its soak.
    pub(super) fn has_had_its_time(&mut self, lower: &Lower) {
        let name = lower.stamp.run.rsplit('/').next().unwrap_or_default();
        let (Some(run), Some(schedule)) = (self.store.now.runs.get(name), &self.store.now.schedule) else { return };
        let cut = overridden(schedule, run, OverriddenWait::Soak).is_some_and(|until| self.now < until);
        let status = run.status.as_ref().filter(|s| s.state == RunState::Soaking && !cut);
        let due = status.and_then(|s| Some(s.rolled_out? + s.armed.as_ref()?.lower_after?.delta()));
        if let Some(due) = due.filter(|due| lower.stamp.kind == StampKind::Lowered && self.now < *due) {
            self.breaks(10, format!("{} was put back by plan before {due}", lower.target.place));
        }
    }

    fn armed_of(&self, run: &str) -> Vec<ArmedTarget> {
        let name = run.rsplit('/').next().unwrap_or_default();
        let run = self.store.now.runs.get(name).and_then(|run| run.status.as_ref()?.armed.as_ref());
        run.map(|armed| armed.targets.clone()).unwrap_or_default()
    }

    /// Law 12: every decision says when to look again, and that is later than now.
    pub(super) fn judge(&mut self, decision: &Decision) {
        if decision.wake <= self.now {
            self.breaks(12, format!("wake {} is not later than {}", decision.wake, self.now));
        }
    }

    /// Law 6: no window reaches back before the rollout was complete and settled.
    pub(super) fn judge_questions(&mut self, told: &Told, asked: &[Probe]) {
        for probe in asked {
            let Probe::Measure(measure) = probe else { continue };
            let Some(run) = told.state.runs.get(&measure.run) else { continue };
            let (Some(rolled_out), Some(flip)) = (run.stage.rolled_out(), run.stage.flip()) else { continue };
            let Some(check) = flip.armed.checks.iter().find(|c| c.name == measure.check) else { continue };
            let settled = rolled_out + check.settle.delta();
            for question in &measure.questions {
                let back = question.window.map_or(TimeDelta::zero(), crate::api::Duration::delta);
                if question.from - back < settled {
                    let what = format!("{} asks at {} for {back} back", measure.check, question.from);
                    return self.breaks(6, what);
                }
            }
        }
    }

    /// Law 9: nothing is raised while somebody has stopped the schedule, as far as anybody could know at the moment of
    /// sending.
    pub(super) fn people_win(&mut self, raise: &Raise) {
        let name = raise.stamp.run.rsplit('/').next().unwrap_or_default().to_owned();
        let run = self.store.now.runs.get(&name).and_then(|r| crate::engine::Run::read(r).ok());
        let (Some(schedule), Some(run)) = (self.store.now.schedule.clone(), run) else {
            return self.breaks(9, format!("{name} raises for a schedule that is gone"));
        };
        let pauses = schedule.status.as_ref().map(|s| s.pauses.clone()).unwrap_or_default();
        let ordered = self.store.now.orders.values().any(|o| {
            o.status.is_none()
                && o.spec.action == crate::api::Action::Pause
                && Some(&o.spec.schedule.uid) == schedule.metadata.uid.as_ref()
                && o.spec.environment.as_ref().is_none_or(|e| *e == run.spec.environment.name)
        });
        let stop = if schedule.spec.suspend {
            "suspended"
        } else if schedule.metadata.deletion_timestamp.is_some() {
            "deleted"
        } else if self.store.now.unreadable {
            "unreadable"
        } else if pause_of(&pauses, &run).is_some() || ordered {
            "paused"
        } else {
            return;
        };
        self.breaks(9, format!("{name} raises while the schedule is {stop}"));
    }

    /// Law 5: a raise takes a field from its owner only where it read `disabled`, or joins one that is `enabled`.
    pub(super) fn raised_over(&mut self, raise: &Raise, before: Option<&crate::api::FlagValue>) {
        let values = &raise.target.values;
        if raise.force && before != Some(&values.disabled) && before != Some(&values.enabled) {
            self.breaks(5, format!("{} was raised over {before:?}", raise.target.place));
        }
    }

    /// Law 1: nothing new and nothing due, so nothing is sent and nothing is written. Looked at half-way to the moment
    /// for which the daemon asked to be woken.
    pub(super) fn quiet(&mut self) {
        let half = self.now + (self.wake - self.now) / 2;
        let busy = self.late.iter().any(|(at, _)| *at <= half)
            || self.acts.iter().any(|(at, _)| *at <= half)
            || self.next_elsewhere(self.now).is_some_and(|at| at <= half)
            || self.faults.until.is_some_and(|until| self.now < until)
            || !self.passes.is_multiple_of(QUIET_EVERY);
        let (then, wake) = (self.now, self.wake);
        if busy || half == then {
            return;
        }
        let before = self.gather();
        self.now = half;
        let after = self.gather();
        if let (Some((_, before)), Some((told, after))) = (before, after)
            && before.workloads == after.workloads
            && before.targets == after.targets
            && self.outcomes(then) == self.outcomes(half)
            && self.metrics.away(then) == self.metrics.away(half)
            && !self.catching_up(half)
        {
            let decision = step(&told.view, &told.state, &after, half);
            if let Some(what) = noise(&told, &decision) {
                self.breaks(1, format!("between {then} and {wake}, at {half}: {}", what()));
            }
        }
        self.now = then;
    }

    /// Whether a moment is due that was not asked for yet, as after a restart.
    fn catching_up(&self, at: Time) -> bool {
        let listening = self.ledgers.values().filter_map(|l| l.quiet.as_ref()).any(|q| q.next() <= at);
        listening || self.ledgers.values().flat_map(RunLedger::checks).any(|c| c.latched().is_none() && c.next() <= at)
    }

    pub(super) fn gather(&mut self) -> Option<(Told, Observations)> {
        let told = self.told([TimeDelta::zero(); 3])?;
        let mut seen = Observations::default();
        for probe in probes(&told.view, &told.state, self.now) {
            self.answer(&mut seen, probe);
        }
        Some((told, seen))
    }

    fn outcomes(&self, at: Time) -> Vec<super::metric::Sample> {
        self.environments.keys().flat_map(|e| self.metrics.samples(e, &self.cluster, at)).collect()
    }

    /// The latest run of each environment, in the order in which they began.
    pub fn latest(&self) -> Vec<&MigrationRun> {
        let uid = self.store.now.schedule.as_ref().and_then(|s| s.metadata.uid.clone());
        let own = |r: &&MigrationRun| uid.as_ref().is_none_or(|u| *u == r.spec.schedule.uid);
        let all: Vec<&MigrationRun> = self.store.now.runs.values().map(AsRef::as_ref).filter(own).collect();
        let newer = |a: &MigrationRun, b: &MigrationRun| {
            a.spec.phase == b.spec.phase && a.spec.environment == b.spec.environment && a.spec.epoch > b.spec.epoch
        };
        let mut latest: Vec<&MigrationRun> = all.iter().filter(|r| !all.iter().any(|o| newer(o, r))).copied().collect();
        latest.sort_by_key(|r| (r.metadata.creation_timestamp.as_ref().map(|t| t.0), r.spec.epoch));
        latest
    }

    /// What stands still without a reason that a person could read; nothing where all is well (law 12).
    pub fn unexplained(&self) -> Option<String> {
        let schedule = self.store.now.schedule.as_ref()?;
        let latest = self.latest();
        for run in &latest {
            let Some(status) = &run.status else { return Some(format!("{:?} has no status", run.metadata.name)) };
            let told = status.held.is_some() || !status.waits.is_empty();
            let fine = match status.state {
                RunState::RolledBack => true,
                state if state.is_done() => true,
                RunState::Pending => false,
                _ => told,
            };
            if !fine {
                return Some(format!("{} is {} and says nothing", run.spec.environment, status.state));
            }
        }
        let moving = latest.iter().all(|r| r.status.as_ref().is_some_and(|s| s.state.is_done()));
        // `Completed`, or `Stalled` with its sentence.
        let said = schedule.status.as_ref().is_some_and(|s| {
            let known = |c: &crate::api::Condition| matches!(c.type_.as_str(), "Completed" | "Stalled");
            let says =
                |c: &crate::api::Condition| c.status == crate::api::ConditionStatus::True || c.reason == "Watching";
            s.conditions.iter().any(|c| known(c) && says(c))
        });
        (moving && !said && schedule.metadata.deletion_timestamp.is_none())
            .then(|| "every run is complete, the schedule is not, and nothing goes on".to_owned())
    }

    /// Everything that happened, as people read it: transitions, then what still waits or is held.
    pub fn timeline(&self) -> String {
        let mut lines: Vec<(Time, usize, String)> = Vec::new();
        let mut tail = String::new();
        let mut runs: Vec<&MigrationRun> = self.store.now.runs.values().map(AsRef::as_ref).collect();
        runs.sort_by_key(|r| (r.metadata.creation_timestamp.as_ref().map(|t| t.0), r.spec.epoch));
        for (index, run) in runs.into_iter().enumerate() {
            let Some(status) = &run.status else { continue };
            let epoch = if run.spec.epoch > 1 { format!(" #{}", run.spec.epoch) } else { String::new() };
            let environment = &run.spec.environment.name;
            let label = format!(
                "{}{}{epoch}",
                run.spec.number.as_ref().map(|n| format!("{n} ")).unwrap_or_default(),
                if environment.is_empty() { &run.spec.phase } else { environment }
            );
            for t in &status.transitions {
                let by = if t.actor == "hoist" { String::new() } else { format!(" [{}]", t.actor) };
                let move_ = format!("{} → {}", t.from, t.to);
                let line = format!("{}  {label:<12} {move_:<26} {}{by}", t.at.format("%m-%d %H:%M:%S"), t.reason);
                lines.push((t.at, index, line));
            }
            if let Some(held) = &status.held {
                let _ = writeln!(tail, "{label} is {} and held: {:?}: {}", status.state, held.reason, held.message);
            } else if !status.state.is_over() && status.state != RunState::Completed {
                for wait in &status.waits {
                    let _ = writeln!(tail, "{label} is {} and waits: {:?}: {}", status.state, wait.gate, wait.message);
                }
            }
        }
        lines.sort_by_key(|(at, index, _)| (*at, *index));
        let mut text = String::new();
        for (_, _, line) in lines {
            let _ = writeln!(text, "{}", line.trim_end());
        }
        text + &tail
    }

    /// The value of every declared target, with the environment's name.
    pub fn values(&self) -> Vec<(String, String)> {
        let value = |e: &super::cluster::Entry| {
            self.cluster.value(&e.place).map_or_else(|| "gone".to_owned(), |v| v.to_string())
        };
        self.cluster.entries.iter().map(|e| (e.environment.name.clone(), value(e))).collect()
    }
}

/// What a decision does although nothing happened; in words only for whoever asks, because leaps ask often.
pub(super) fn noise<'a>(told: &'a Told, decision: &'a Decision) -> Option<Box<dyn Fn() -> String + 'a>> {
    if decision.motion != Motion::Still {
        return Some(Box::new(|| format!("{:?}", decision.motion)));
    }
    if !decision.seals.is_empty() || !decision.answers.is_empty() || decision.finalizer != Finalizer::Leave {
        return Some(Box::new(|| "a seal, an answer or a finalizer".to_owned()));
    }
    if decision.status != told.view.status {
        return Some(Box::new(|| format!("the status becomes {:?}, was {:?}", decision.status, told.view.status)));
    }
    let changed = |(name, run): &(&String, &Arc<Run>)| {
        told.state.runs.get(*name) != Some(*run) && !matches!(run.stage, Stage::Flipping(_))
    };
    let (name, run) = decision.state.runs.iter().find(changed)?;
    let before = told.state.runs.get(name).map(|run| run.status());
    Some(Box::new(move || format!("run {name} becomes {:?}, was {before:?}", run.status())))
}

/// Until when people overrode a wait of a run.
fn overridden(schedule: &MigrationSchedule, run: &MigrationRun, wait: OverriddenWait) -> Option<Time> {
    let all = schedule.status.iter().flat_map(|s| &s.overrides).filter(|o| o.what.wait == Some(wait));
    let of_run = all.filter(|o| {
        o.phase.as_ref().is_none_or(|p| *p == run.spec.phase)
            && o.environment.as_ref().is_none_or(|e| *e == run.spec.environment.name)
    });
    of_run.map(|o| o.what.until).max()
}
