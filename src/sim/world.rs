//! The world: time, what happens in it, and what reaches the store and the targets.

use std::collections::BTreeMap;

use chrono::TimeDelta;

use crate::api::{Environment, EnvironmentKey, MigrationRun, MigrationSchedule, Time};
use crate::engine::laws::{Sent, TargetWrite, Trace, Turn, Violation};
use crate::engine::{
    EnvironmentPlan, Neighbours, Places, Plan, ReadRuns, RunLedger, Stamp, StampKind, TargetPlan, Update, WorkloadKey,
};

use super::cluster::{Cluster, Entry, Refusal};
use super::daemon::PlanCache;
use super::elsewhere::Elsewhere;
use super::fault::{Fate, Faults, Request};
use super::metric::Metrics;
use super::person::{Act, Original};
use super::random::Random;
use super::store::Store;

/// More passes than this in one run mean that the daemon does not come to rest.
const MOST_PASSES: u64 = 2_000_000;

/// A simulated world. Public parts may be set up before and between runs.
#[derive(Clone, Debug)]
pub struct World {
    /// The time.
    pub now: Time,
    /// Hoist's own objects.
    pub store: Store,
    /// Targets and workloads.
    pub cluster: Cluster,
    /// What Prometheus answers.
    pub metrics: Metrics,
    /// What goes wrong.
    pub faults: Faults,
    /// What other schedules hold.
    pub neighbours: Neighbours,
    /// What becomes of the phases of other schedules.
    pub elsewhere: Elsewhere,
    /// What people will do.
    pub acts: Vec<(Time, Act)>,
    /// What reached the store and the targets.
    pub trace: Vec<Trace>,
    /// The raises that were sent, whatever became of them.
    pub sent: Vec<Sent>,
    pub(super) turns: Vec<Turn>,
    /// Where soaks stood, as people were told.
    pub updates: Vec<Update>,
    /// How many passes there were.
    pub passes: u64,
    /// How many writes the daemon sent.
    pub requests: usize,
    /// The first law that was broken.
    pub broken: Option<Violation>,
    pub(super) late: Vec<(Time, Request)>,
    pub(super) random: Random,
    pub(super) original: Original,
    pub(super) environments: BTreeMap<EnvironmentKey, Environment>,
    /// The labels of the schedule's namespace.
    pub(super) labels: BTreeMap<String, String>,
    pub(super) ledgers: BTreeMap<String, RunLedger>,
    pub(super) plans: PlanCache,
    pub(super) runs: ReadRuns<MigrationRun>,
    pub(super) wake: Time,
    pub(super) down_until: Time,
    pub(super) orders: u64,
    pub(super) uids: u64,
    pub(super) checked: usize,
    pub(super) backup: Option<Box<(Store, Cluster)>>,
    /// When the daemon saw versions go back, until the schedule's status says so.
    pub(super) went_back: Option<Time>,
}

/// What the daemon learns of a request that did not go well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// It failed, or nobody knows.
    Failed,
    /// The daemon is dead.
    Crashed,
}

impl World {
    /// A healthy world in which this schedule was just applied. Every target of its flags is there at `disabled`.
    pub fn new(schedule: &MigrationSchedule, environments: Vec<Environment>, now: Time, seed: u64) -> Self {
        Self::of_namespace(schedule, environments, BTreeMap::new(), now, seed)
    }

    /// The same, where the schedule's namespace has labels by which Environments of others let it in.
    pub fn of_namespace(
        schedule: &MigrationSchedule,
        environments: Vec<Environment>,
        labels: BTreeMap<String, String>,
        now: Time,
        seed: u64,
    ) -> Self {
        let namespace = schedule.metadata.namespace.clone().unwrap_or_else(|| "default".to_owned());
        let original = Original {
            name: schedule.metadata.name.clone().unwrap_or_default(),
            namespace,
            spec: schedule.spec.clone(),
        };
        let key = |e: &Environment| EnvironmentKey {
            namespace: e.metadata.namespace.clone().unwrap_or_else(|| original.namespace.clone()),
            name: e.metadata.name.clone().unwrap_or_default(),
        };
        let environments: BTreeMap<_, _> = environments.into_iter().map(|e| (key(&e), e)).collect();
        let mut world = Self {
            now,
            store: Store::default(),
            cluster: Cluster::default(),
            metrics: Metrics::default(),
            faults: Faults::default(),
            neighbours: Neighbours::default(),
            elsewhere: Elsewhere::new(),
            acts: Vec::new(),
            trace: Vec::new(),
            sent: Vec::new(),
            turns: Vec::new(),
            updates: Vec::new(),
            passes: 0,
            requests: 0,
            broken: None,
            late: Vec::new(),
            random: Random::new(seed),
            original,
            environments,
            labels,
            ledgers: BTreeMap::new(),
            plans: PlanCache::default(),
            runs: ReadRuns::default(),
            wake: now,
            down_until: now,
            orders: 0,
            uids: 1,
            checked: 0,
            backup: None,
            went_back: None,
        };
        world.furnish();
        world
    }

    fn furnish(&mut self) {
        for (key, environment) in self.environments.clone() {
            self.store.environment(&key, Some(environment), self.now);
        }
        let o = self.original.clone();
        self.store.apply(&o.name, &o.namespace, "schedule-1", o.spec.clone(), self.now);
        let places = Places {
            environments: self.environments.iter().map(|(k, e)| (k.clone(), Ok(e.clone()))).collect(),
            namespace_labels: self.labels.clone(),
            ..Places::default()
        };
        let Ok(plan) = Plan::parse(&o.namespace, &o.spec, &places) else { return };
        for (_, step) in plan.steps() {
            self.declare(step);
        }
    }

    fn declare(&mut self, step: &EnvironmentPlan) {
        let Ok(flip) = &step.flip else { return };
        // A later phase may raise again what a trial has put back.
        let new = |target: &&TargetPlan| self.cluster.entries.iter().all(|e| e.place != target.place);
        for target in flip.targets.iter().filter(new).collect::<Vec<_>>() {
            let entry = Entry {
                environment: step.key.clone(),
                flag: target.flag.clone(),
                values: target.values.clone(),
                place: target.place.clone(),
                percent_key: target.percent_key.clone(),
                workloads: target.workloads.iter().map(|w| WorkloadKey::beside(&target.place, w)).collect(),
            };
            self.cluster.declare(entry, self.now);
        }
        for check in flip.asked() {
            self.metrics.bounds.insert((step.key.clone(), check.name.clone()), check.clone());
        }
    }

    /// Lets a person act later.
    pub fn plan(&mut self, at: Time, act: Act) {
        self.acts.push((at, act));
        self.acts.sort_by_key(|(at, _)| *at);
    }

    /// Lives on until a moment, or until a law is broken.
    ///
    /// # Errors
    /// The first violation.
    pub fn run_until(&mut self, end: Time) -> Result<(), Violation> {
        let limit = self.passes + MOST_PASSES;
        while let Some(at) = self.next(end) {
            self.now = self.now.max(at);
            self.arrivals();
            while self.acts.first().is_some_and(|(at, _)| *at <= self.now) {
                let (_, act) = self.acts.remove(0);
                self.act(&act);
            }
            if self.wake.max(self.down_until) <= self.now {
                self.pass();
            }
            self.check()?;
            if self.passes > limit {
                return Err(Violation { law: 12, what: "the daemon does not come to rest".to_owned() });
            }
        }
        self.now = end;
        Ok(())
    }

    fn next(&self, end: Time) -> Option<Time> {
        let act = self.acts.first().map(|(at, _)| *at);
        let late = self.late.iter().map(|(at, _)| *at).min();
        let pass = Some(self.wake.max(self.down_until));
        [act, late, pass].into_iter().flatten().min().filter(|at| *at < end)
    }

    /// A watch tells the daemon that something changed.
    pub(super) fn notify(&mut self) {
        self.wake = self.wake.min(self.now);
    }

    fn arrivals(&mut self) {
        let now = self.now;
        while let Some(index) = self.late.iter().position(|(at, _)| *at <= now) {
            let (_, request) = self.late.remove(index);
            let _ = self.apply(&request);
        }
    }

    /// Sends a request into whatever fate awaits it.
    pub(super) fn send(&mut self, request: Request) -> Result<(), Stop> {
        let number = self.requests;
        self.requests += 1;
        let fate = self.faults.fate(&request, number, self.now, &mut self.random);
        let failed = |_| Stop::Failed;
        match fate {
            Fate::Sound => self.apply(&request).map_err(failed),
            Fate::Conflict | Fate::Lost => Err(Stop::Failed),
            Fate::Unanswered => self.apply(&request).map_err(failed).and(Err(Stop::Failed)),
            Fate::Late(seconds) => {
                self.late.push((self.now + TimeDelta::seconds(seconds), request));
                Err(Stop::Failed)
            }
            Fate::CrashBefore => Err(Stop::Crashed),
            Fate::CrashAfter => {
                let _ = self.apply(&request);
                Err(Stop::Crashed)
            }
        }
    }

    /// Carries a request out, as the API server does, and writes down what reached its place.
    fn apply(&mut self, request: &Request) -> Result<(), Refusal> {
        let now = self.now;
        match request {
            Request::Raise(raise) => {
                let before = self.cluster.value(&raise.target.place);
                self.cluster.raise(raise, now)?;
                self.raised_over(raise, before.as_ref());
                self.written(&raise.target.place, &raise.stamp, StampKind::Raised);
            }
            Request::Lower(lower) => {
                self.cluster.lower(lower, now)?;
                self.written(&lower.target.place, &lower.stamp, lower.stamp.kind);
            }
            Request::Seal(seal) => {
                self.cluster.seal(seal, now)?;
                self.written(&seal.target.place, &seal.stamp, StampKind::Sealed);
            }
            Request::Restart(restart) => self.cluster.restart(restart, now)?,
            Request::Keep(keep) => drop(self.store.kept.insert(keep.key.kept.name.clone(), keep.text.clone())),
            Request::Create(run) => self.store.create(run, now)?,
            Request::Replace(name, version, status) => {
                self.store.replace(name, version, (**status).clone(), now)?;
                self.stored(name);
            }
            Request::Report(uid, version, status) => {
                self.store.report(uid, version, (**status).clone(), now)?;
                #[cfg(test)]
                super::tests::reached::reported(status);
            }
            Request::Finalizer(uid, version, present) => self.store.finalizer(uid, version, *present, now)?,
            Request::Answer(name, status) => self.store.answer(name, (**status).clone(), now)?,
        }
        Ok(())
    }

    fn written(&mut self, place: &crate::api::TargetPlace, stamp: &Stamp, kind: StampKind) {
        self.trace.push(Trace::Written(TargetWrite {
            place: place.clone(),
            kind,
            run: stamp.run.clone(),
            epoch: stamp.epoch,
            decision: stamp.decision.clone(),
            at: stamp.at,
        }));
    }

    fn stored(&mut self, name: &str) {
        let Some(run) = self.store.now.runs.get(name) else { return };
        let Some(status) = &run.status else { return };
        #[cfg(test)]
        super::tests::reached::stored(status);
        let namespace = run.metadata.namespace.as_deref().unwrap_or_default();
        self.trace.push(Trace::Stored {
            run: format!("{namespace}/{name}"),
            phase: run.spec.phase.clone(),
            environment: run.spec.environment.clone(),
            epoch: run.spec.epoch,
            opened_at: run.spec.opened_by.as_ref().map(|o| o.at),
            state: status.state,
            step: status.step.as_ref().map_or(0, |s| s.number),
            steps: status.step.as_ref().map_or(0, |s| s.of),
            decision: status.attempt.as_ref().map(|a| a.decision.clone()),
        });
    }
}
