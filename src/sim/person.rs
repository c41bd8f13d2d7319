//! People: their orders, their edits, and what their hands do to targets.

use chrono::TimeDelta;

use crate::api::{
    Action, Duration, EnvironmentCalendar, EnvironmentKey, FlagValue, FlagValues, FreezeSpec, HeldReason,
    InterventionSpec, Mode, OnDelete, OverriddenWait, Override, RunState, ScheduleCalendar, ScheduleRef,
};

use crate::engine::laws::Trace;

use super::cluster::Entry;
use super::world::World;

/// A value that a hand sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hand {
    /// The flag's `enabled`.
    Enabled,
    /// The flag's `disabled`.
    Disabled,
    /// Something that is neither.
    Third,
    /// Another percentage beside it.
    Share,
}

impl Hand {
    /// What is set, of these values.
    pub(super) fn value(self, values: &FlagValues) -> FlagValue {
        match self {
            Self::Enabled => values.enabled.clone(),
            Self::Disabled => values.disabled.clone(),
            Self::Third => FlagValue::Text("maybe".to_owned()),
            Self::Share => FlagValue::Text("33".to_owned()),
        }
    }
}

/// What a person does. Environments go by name, targets by their place in the Environment's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Orders a Pause of everything, or of one environment.
    Pause(Option<&'static str>),
    /// Resumes whatever is paused.
    Resume,
    /// Orders a Rollback of everything, or of one environment.
    Rollback(Option<&'static str>),
    /// Retries the run that is rolled back or held before its flip.
    Retry,
    /// Lets a phase pass its point of no return.
    Promote(&'static str),
    /// Leaves out what of a phase was not raised yet.
    Skip(&'static str),
    /// Overrides a check for so many seconds.
    OverrideCheck(&'static str, i64),
    /// Overrides a wait for so many seconds.
    OverrideWait(OverriddenWait, i64),
    /// Suspends the schedule, or ends that.
    Suspend(bool),
    /// Makes the spec invalid.
    Spoil,
    /// Makes the stored spec unreadable.
    Garble,
    /// Puts the spec back as it was applied.
    Mend,
    /// Gives every phase another soak.
    Soak(Duration),
    /// Gives the schedule another calendar, or none.
    Calendar(Option<ScheduleCalendar>),
    /// The owner gives an Environment another calendar, or none.
    Hours(&'static str, Option<EnvironmentCalendar>),
    /// Writes a Freeze, or takes it away.
    Freeze(&'static str, Option<FreezeSpec>),
    /// Changes the mode.
    Mode(Mode),
    /// Takes an environment out of the plan.
    Strike(&'static str),
    /// Deletes the schedule with this policy.
    Delete(OnDelete),
    /// Applies the schedule anew, if it is gone.
    Recreate,
    /// Sets the value of a target by hand.
    Set(&'static str, usize, Hand),
    /// Undoes the last change of a target's object.
    Undo(&'static str, usize),
    /// Deletes a target's object.
    Remove(&'static str, usize),
    /// Makes a target's object anew.
    Create(&'static str, usize, Hand),
    /// Makes a target's value unreadable, or readable again.
    Lock(&'static str, usize, bool),
    /// The owner suspends an Environment, or ends that.
    SuspendEnvironment(&'static str, bool),
    /// Deletes the Environment object, or puts it back.
    Vanish(&'static str, bool),
    /// Kills the daemon.
    Kill,
    /// Backs up the cluster: Hoist's own objects and the targets.
    Backup,
    /// Puts back what was backed up, versions and all.
    Restore,
}

impl World {
    /// A person acts.
    pub fn act(&mut self, act: &Act) {
        let now = self.now;
        match act {
            Act::Pause(_)
            | Act::Resume
            | Act::Rollback(_)
            | Act::Retry
            | Act::Promote(_)
            | Act::Skip(_)
            | Act::OverrideCheck(..)
            | Act::OverrideWait(..) => self.orders(act),
            Act::Suspend(suspend) => self.store.edit(now, |spec| spec.suspend = *suspend),
            Act::Spoil => self.store.edit(now, |spec| {
                for flag in &mut spec.flags {
                    flag.values.disabled = flag.values.enabled.clone();
                }
            }),
            Act::Garble => self.store.garble(true, now),
            Act::Mend => {
                let original = self.original.spec.clone();
                self.store.garble(false, now);
                self.store.edit(now, |spec| *spec = original);
            }
            Act::Soak(soak) => self.store.edit(now, |spec| {
                spec.soak.duration = *soak;
                for phase in &mut spec.phases {
                    phase.soak = None;
                }
            }),
            Act::Calendar(calendar) => self.store.edit(now, |spec| spec.calendar.clone_from(calendar)),
            Act::Hours(name, calendar) => self.environment(name, |e| {
                e.spec.calendar.clone_from(calendar);
                true
            }),
            Act::Freeze(name, freeze) => self.store.freeze(name, freeze.clone(), now),
            Act::Mode(mode) => self.store.edit(now, |spec| spec.mode = *mode),
            Act::Strike(environment) => self.store.edit(now, |spec| {
                let before = spec.phases.clone();
                for phase in &mut spec.phases {
                    phase.environments.retain(|e| e.name != *environment);
                }
                spec.phases.retain(|p| !p.environments.is_empty());
                // The API refuses a schedule without phases.
                if spec.phases.is_empty() {
                    spec.phases = before;
                }
            }),
            Act::Delete(policy) => {
                self.store.edit(now, |spec| spec.on_delete = *policy);
                self.store.delete(now);
            }
            Act::Recreate => self.recreate(),
            Act::SuspendEnvironment(name, suspend) => self.environment(name, |e| {
                e.spec.suspend = *suspend;
                true
            }),
            Act::Vanish(name, gone) => self.environment(name, |_| !gone),
            Act::Kill => self.kill(),
            Act::Backup => self.backup = Some(Box::new((self.store.clone(), self.cluster.clone()))),
            Act::Restore => self.restore(),
            Act::Set(..) | Act::Undo(..) | Act::Remove(..) | Act::Create(..) | Act::Lock(..) => self.hand(act),
        }
        if !matches!(act, Act::Set(..) | Act::Undo(..) | Act::Remove(..) | Act::Create(..) | Act::Lock(..)) {
            self.notify();
        }
    }

    /// A person writes an Intervention.
    fn orders(&mut self, act: &Act) {
        let now = self.now;
        match act {
            Act::Pause(environment) => self.order(Action::Pause, None, *environment, None),
            Act::Rollback(environment) => self.order(Action::Rollback, None, *environment, None),
            Act::Resume => self.order(Action::Resume, None, None, None),
            Act::Retry => self.order(Action::Retry, None, None, None),
            Act::Promote(phase) => self.order(Action::Promote, Some(phase), None, None),
            Act::Skip(phase) => self.order(Action::Skip, Some(phase), None, None),
            Act::OverrideCheck(check, seconds) => {
                let until = now + TimeDelta::seconds(*seconds);
                let what = Override { wait: None, check: Some((*check).to_owned()), until };
                self.order(Action::Override, None, None, Some(what));
            }
            Act::OverrideWait(wait, seconds) => {
                let what = Override { wait: Some(*wait), check: None, until: now + TimeDelta::seconds(*seconds) };
                self.order(Action::Override, None, None, Some(what));
            }
            _ => {}
        }
    }

    /// A daemon that lives sees it; one that is down has nothing to compare with.
    fn restore(&mut self) {
        let Some(backup) = self.backup.clone() else { return };
        (self.store, self.cluster) = *backup;
        self.trace.push(Trace::Restored);
        if self.down_until <= self.now {
            self.went_back = Some(self.now);
        }
    }

    fn hand(&mut self, act: &Act) {
        let now = self.now;
        let (Act::Set(e, i, _) | Act::Undo(e, i) | Act::Remove(e, i) | Act::Create(e, i, _) | Act::Lock(e, i, _)) = act
        else {
            return;
        };
        let Some(entry) = self.entry(e, *i).cloned() else { return };
        match act {
            Act::Set(_, _, hand) => self.cluster.set_by_hand(&entry, *hand, now),
            Act::Undo(..) => self.cluster.undo(&entry.place, now),
            Act::Remove(..) => self.cluster.remove(&entry.place),
            Act::Create(_, _, hand) => self.cluster.create(&entry.place, &hand.value(&entry.values), now),
            Act::Lock(_, _, locked) => {
                let why = locked.then_some("it has no such container");
                self.cluster.lock(&entry.place, why, now);
            }
            _ => {}
        }
    }

    /// A declared target of an environment.
    pub fn entry(&self, environment: &str, index: usize) -> Option<&Entry> {
        self.cluster.entries.iter().filter(|e| e.environment.name == environment).nth(index)
    }

    fn environment(&mut self, name: &str, change: impl FnOnce(&mut crate::api::Environment) -> bool) {
        let Some((key, original)) = self.environments.iter().find(|(k, _)| k.name == name) else { return };
        let key: EnvironmentKey = key.clone();
        let mut environment = self.store.now.environments.get(&key).map_or_else(|| original.clone(), |e| (**e).clone());
        let stays = change(&mut environment);
        self.store.environment(&key, stays.then_some(environment), self.now);
    }

    pub(super) fn order(
        &mut self,
        action: Action,
        phase: Option<&str>,
        environment: Option<&str>,
        what: Option<Override>,
    ) {
        let Some(schedule) = self.store.now.schedule.clone() else { return };
        let paused = schedule.status.as_ref().map(|s| s.pauses.as_slice()).unwrap_or_default();
        let open = self.store.now.orders.values().filter(|o| o.spec.action == Action::Pause && o.status.is_none());
        let mut pauses: Vec<String> = paused.iter().map(|p| p.intervention.clone()).collect();
        pauses.extend(open.filter_map(|o| o.metadata.name.clone()));
        pauses.truncate(32);
        let run = (action == Action::Retry).then(|| self.retriable()).flatten();
        if (action == Action::Retry && run.is_none()) || (action == Action::Resume && pauses.is_empty()) {
            return;
        }
        self.orders += 1;
        let name = format!("order-{}", self.orders);
        let schedule =
            ScheduleRef { name: self.original.name.clone(), uid: schedule.metadata.uid.clone().unwrap_or_default() };
        let reason = format!("{action:?} by a person");
        let spec = InterventionSpec {
            schedule,
            action,
            reason,
            phase: phase.map(str::to_owned),
            environment: environment.map(str::to_owned),
            pauses: (action == Action::Resume).then_some(pauses),
            run,
            what,
        };
        self.store.order(&name, spec, self.now);
    }

    fn retriable(&self) -> Option<String> {
        let uid = self.store.now.schedule.as_ref()?.metadata.uid.clone()?;
        let own = self.store.now.runs.iter().filter(|(_, r)| r.spec.schedule.uid == uid);
        let open = own.filter(|(_, r)| {
            r.status.as_ref().is_some_and(|s| {
                let reasons = [HeldReason::PreviouslyRolledBack, HeldReason::RaisedBefore, HeldReason::StartMissed];
                let released = s.held.as_ref().is_some_and(|h| reasons.contains(&h.reason));
                matches!(s.state, RunState::RolledBack | RunState::Skipped) || (s.state == RunState::Gating && released)
            })
        });
        open.max_by_key(|(_, r)| r.spec.epoch).map(|(name, _)| name.clone())
    }

    fn recreate(&mut self) {
        if self.store.now.schedule.is_some() {
            return;
        }
        self.uids += 1;
        let uid = format!("schedule-{}", self.uids);
        let original = self.original.clone();
        self.store.apply(&original.name, &original.namespace, &uid, original.spec, self.now);
    }

    /// The daemon dies; it comes back after a while with nothing but what is stored.
    pub fn kill(&mut self) {
        self.ledgers.clear();
        self.went_back = None;
        let away = 1 + i64::try_from(self.random.below(20)).unwrap_or(0);
        self.down_until = self.now + chrono::TimeDelta::seconds(away);
        self.wake = self.down_until;
    }
}

/// What a person once applied.
#[derive(Clone, Debug)]
pub(super) struct Original {
    pub name: String,
    pub namespace: String,
    pub spec: crate::api::MigrationScheduleSpec,
}
