//! The daemon: one pass as the shell makes it, over a world that may fail at every step.

use std::sync::Arc;

use chrono::TimeDelta;

use crate::analysis::Baselines;
use crate::api::{FINALIZER, InterventionStatus, Time};
use crate::engine::{
    Decision, Finalizer, Lower, Motion, Observations, Order, Places, Plan, Policy, Probe, Problem, Raise, Run, State,
    View, probes, step,
};

use super::fault::Request;
use super::store::Snapshot;
use super::world::{Stop, World};

/// How soon a pass that failed is repeated.
const RETRY: TimeDelta = TimeDelta::seconds(2);

/// How soon the watch on its own writes wakes the daemon.
const ECHO: TimeDelta = TimeDelta::seconds(1);

type Parsed = (Result<Arc<Plan>, Vec<Problem>>, Option<Policy>);

/// The last parsed plan: parsing is the slowest part of a pass, and its input seldom changes.
#[derive(Clone, Debug, Default)]
pub(super) struct PlanCache(Option<(u64, Parsed)>);

/// What one pass is told.
pub(super) struct Told {
    pub view: View,
    pub state: State,
    pub version: String,
}

impl World {
    /// One pass; afterwards the daemon knows when to look again.
    pub fn pass(&mut self) {
        self.passes += 1;
        let sent = self.requests;
        match self.go_through() {
            Ok(wake) if self.requests > sent => self.wake = wake.min(self.now + ECHO),
            Ok(wake) => {
                self.wake = wake;
                self.quiet();
            }
            Err(Stop::Failed) => self.wake = self.now + RETRY,
            Err(Stop::Crashed) => self.kill(),
        }
    }

    fn go_through(&mut self) -> Result<Time, Stop> {
        let now = self.now;
        let lags = self.faults.lags(now, &mut self.random);
        let Some(mut told) = self.told(lags) else { return Ok(now + TimeDelta::hours(1)) };
        let seen = self.observe(&told);
        let mut decision = step(&told.view, &told.state, &seen, now);
        self.judge(&decision);
        let mut lowered = Vec::new();
        self.retreat(&decision, &mut lowered)?;
        let advances = matches!(decision.motion, Motion::Advance(..));
        if advances || !decision.seals.is_empty() || !decision.answers.is_empty() || decision.completes_work() {
            // What raises, seals or answers is decided on what is true, not on what a cache shows.
            let Some(fresh) = self.told([TimeDelta::zero(); 3]) else { return Ok(now + TimeDelta::hours(1)) };
            told = fresh;
            decision = step(&told.view, &told.state, &seen, now);
            self.judge(&decision);
            self.retreat(&decision, &mut lowered)?;
        }
        for seal in &decision.seals {
            self.try_send(Request::Seal(seal.clone()))?;
        }
        if decision.finalizer == Finalizer::Add {
            // It must be there before a run is made; the watch on it wakes the daemon again.
            self.send(Request::Finalizer(told.view.uid.clone(), told.version.clone(), true))?;
            return Ok(decision.wake);
        }
        for keep in &decision.keeps {
            self.send(Request::Keep(keep.clone()))?;
        }
        self.persist(&told, &decision)?;
        self.advance(&decision)?;
        self.report(&told, &decision)?;
        Ok(decision.wake)
    }

    /// Sends what may fail without stopping the pass; only a crash does.
    fn try_send(&mut self, request: Request) -> Result<(), Stop> {
        match self.send(request) {
            Err(Stop::Crashed) => Err(Stop::Crashed),
            Ok(()) | Err(Stop::Failed) => Ok(()),
        }
    }

    /// Flags down: now, asking nobody.
    fn retreat(&mut self, decision: &Decision, sent: &mut Vec<Lower>) -> Result<(), Stop> {
        let Motion::Retreat(lowers, restarts) = &decision.motion else { return Ok(()) };
        for lower in lowers {
            if !sent.contains(lower) {
                self.needed_by_nothing(lower, sent);
                self.has_had_its_time(lower);
                sent.push(lower.clone());
                self.try_send(Request::Lower(lower.clone()))?;
            }
        }
        for restart in restarts {
            self.try_send(Request::Restart(restart.clone()))?;
        }
        Ok(())
    }

    /// Stores what changed, each run against the version that was read. Only after that are raises sent (law 2).
    fn persist(&mut self, told: &Told, decision: &Decision) -> Result<(), Stop> {
        for run in decision.state.runs.values() {
            if told.state.runs.get(&run.name) == Some(run) {
                continue;
            }
            let version = match &run.version {
                Some(version) => version.clone(),
                None => self.create(run)?,
            };
            self.send(Request::Replace(run.name.clone(), version, Box::new(run.status())))?;
        }
        self.ledgers.clone_from(&decision.state.ledgers);
        Ok(())
    }

    fn create(&mut self, run: &Run) -> Result<String, Stop> {
        // One that exists is this very run, made before a crash, if it has no status yet.
        let found = |world: &Self| world.store.now.runs.get(&run.name).cloned();
        if found(self).is_none() {
            self.send(Request::Create(Box::new(run.clone())))?;
        }
        let object = found(self).filter(|o| o.status.is_none()).ok_or(Stop::Failed)?;
        object.metadata.resource_version.clone().ok_or(Stop::Failed)
    }

    /// Flags up, once the state is stored.
    fn advance(&mut self, decision: &Decision) -> Result<(), Stop> {
        let Motion::Advance(raises, restarts) = &decision.motion else { return Ok(()) };
        let mut failed: Vec<Raise> = Vec::new();
        for raise in raises.iter().filter(|r| self.now <= r.send_by).cloned().collect::<Vec<_>>() {
            if failed.iter().any(|f| raise.target.needs(&f.target)) {
                failed.push(raise);
                continue;
            }
            self.people_win(&raise);
            self.remember(&raise);
            self.needs_what_is_up(&raise);
            match self.send(Request::Raise(raise.clone())) {
                Err(Stop::Crashed) => return Err(Stop::Crashed),
                Err(Stop::Failed) => failed.push(raise),
                Ok(()) => {}
            }
        }
        if !failed.is_empty() {
            return Ok(());
        }
        for restart in restarts {
            self.try_send(Request::Restart(restart.clone()))?;
        }
        Ok(())
    }

    /// Says what happened: the schedule's status, then the orders' answers in their order, then the finalizer.
    fn report(&mut self, told: &Told, decision: &Decision) -> Result<(), Stop> {
        self.updates.extend(decision.updates.iter().map(|(_, update)| update.clone()));
        let mut version = told.version.clone();
        let uid = told.view.uid.clone();
        let current = |world: &Self| {
            let schedule = world.store.now.schedule.as_ref()?;
            schedule.metadata.resource_version.clone()
        };
        if decision.status != told.view.status {
            self.send(Request::Report(uid.clone(), version, Box::new(decision.status.clone())))?;
            version = current(self).ok_or(Stop::Failed)?;
        }
        // The status says it from here on.
        self.went_back = self.went_back.filter(|_| told.view.went_back.is_none());
        for answer in &decision.answers {
            let status = InterventionStatus {
                outcome: answer.outcome,
                message: answer.message.clone(),
                at: self.now,
                identity: "identity not verified".to_owned(),
            };
            self.send(Request::Answer(answer.name.clone(), Box::new(status)))?;
        }
        if decision.finalizer == Finalizer::Remove {
            self.send(Request::Finalizer(uid, version, false))?;
        }
        Ok(())
    }

    /// Asks what the engine wants to know.
    fn observe(&mut self, told: &Told) -> Observations {
        let mut seen = Observations::default();
        let asked = probes(&told.view, &told.state, self.now);
        self.judge_questions(told, &asked);
        for probe in asked {
            if self.faults.unread(self.now, &mut self.random) {
                let why = Err("the simulated API server does not answer".to_owned());
                match probe {
                    Probe::Target(place) if self.random.chance(500) => drop(seen.targets.insert(place, why)),
                    Probe::Workload(key) if self.random.chance(500) => {
                        seen.workloads.insert(key, Err("the simulated API server does not answer".to_owned()));
                    }
                    _ => {}
                }
                continue;
            }
            self.answer(&mut seen, probe);
        }
        seen
    }

    pub(super) fn answer(&self, seen: &mut Observations, probe: Probe) {
        match probe {
            Probe::Target(place) => {
                let reading = self.cluster.target(&place);
                seen.targets.insert(place, Ok(reading));
            }
            Probe::Workload(key) => {
                let reading = self.cluster.workload(&key, self.now);
                seen.workloads.insert(key, Ok(reading));
            }
            Probe::Measure(measure) => {
                let measured = self.metrics.measure(&measure, &self.cluster, self.now);
                seen.note(measure, measured);
            }
            Probe::Kept(key) => {
                let text = self.store.kept.get(&key.kept.name).ok_or_else(|| "there is none".to_owned());
                let read = text.and_then(|text| Baselines::read(text, &key.kept.sha256)).map(Arc::new);
                seen.baselines.insert(key.run, read);
            }
        }
    }

    /// Puts together what a pass is told, from caches that lag behind.
    pub(super) fn told(&mut self, lags: [TimeDelta; 3]) -> Option<Told> {
        let [schedules, runs, orders] = lags.map(|lag| {
            if lag == TimeDelta::zero() { self.store.now.clone() } else { self.store.as_of(self.now - lag).clone() }
        });
        let schedule = schedules.schedule.clone()?;
        let uid = schedule.metadata.uid.clone().unwrap_or_default();
        let (plan, policy) = self.parsed(&schedules);
        let neighbours = self.neighbours_at(plan.as_deref().ok(), self.now - lags[1]);
        let own = runs.runs.iter().filter(|(_, r)| r.spec.schedule.uid == uid);
        let own = own.map(|(name, run)| (name.clone(), run.clone()));
        let (runs, unreadable) = self.runs.read(own, Run::read);
        let state = State { runs, ledgers: self.ledgers.clone() };
        let finalizers = schedule.metadata.finalizers.as_deref().unwrap_or_default();
        let view = View {
            namespace: self.original.namespace.clone(),
            name: self.original.name.clone(),
            uid,
            generation: schedule.metadata.generation.unwrap_or(0),
            deleting: schedule.metadata.deletion_timestamp.is_some(),
            finalizer: finalizers.iter().any(|f| f == FINALIZER),
            plan,
            policy,
            status: schedule.status.clone().unwrap_or_default(),
            orders: open_orders(&orders),
            neighbours,
            unreadable,
            went_back: self.went_back,
        };
        Some(Told { view, state, version: schedule.metadata.resource_version.clone().unwrap_or_default() })
    }

    fn parsed(&mut self, seen: &Snapshot) -> Parsed {
        if let Some((_, parsed)) = self.plans.0.as_ref().filter(|(edits, _)| *edits == seen.edits) {
            return parsed.clone();
        }
        let parsed = match &seen.schedule {
            Some(schedule) if !seen.unreadable => {
                let spec = &schedule.spec;
                let environments = seen.environments.iter().map(|(k, e)| (k.clone(), Ok((**e).clone())));
                let freezes = seen.freezes.iter().map(|(name, freeze)| (name.clone(), Ok(freeze.clone())));
                let places = Places {
                    schedule: self.original.name.clone(),
                    environments: environments.collect(),
                    namespace_labels: self.labels.clone(),
                    freezes: freezes.collect(),
                };
                let policy = Policy { mode: spec.mode, suspend: spec.suspend, on_delete: spec.on_delete };
                (Plan::parse(&self.original.namespace, spec, &places).map(Arc::new), Some(policy))
            }
            _ => {
                let message = "the stored object cannot be read".to_owned();
                (Err(vec![Problem { path: "spec".to_owned(), message, hint: None }]), None)
            }
        };
        self.plans.0 = Some((seen.edits, parsed.clone()));
        parsed
    }
}

/// The orders that were not answered yet, oldest first.
fn open_orders(seen: &Snapshot) -> Vec<Order> {
    let mut open: Vec<Order> = seen
        .orders
        .iter()
        .filter(|(_, o)| o.status.is_none())
        .map(|(name, o)| {
            let at = o.metadata.creation_timestamp.as_ref();
            let at = at.and_then(|t| Time::from_timestamp(t.0.as_second(), 0)).unwrap_or_default();
            Order { name: name.clone(), at, spec: o.spec.clone() }
        })
        .collect();
    open.sort_by(|a, b| (a.at, &a.name).cmp(&(b.at, &b.name)));
    open
}
