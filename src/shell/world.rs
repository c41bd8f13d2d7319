//! What a pass works with: caches, clients, and what is remembered between passes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::Namespace;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{ObjectRef, Store as Cache};
use kube::{Client, ResourceExt};

use super::cache::Grouped;
use super::elsewhere::Waiting;
pub use super::guard::Guarded;
use super::lanes::Lanes;
use super::lease::Leadership;
use super::prometheus::Prometheus;
use super::store::{ENVIRONMENT_NAMESPACE_LABEL, SCHEDULE_LABEL, Store};
use super::targets::Targets;
use super::telemetry::Telemetry;
use super::versions::Versions;
use super::written::Written;
use crate::api::{Environment, EnvironmentKey, Freeze, Intervention, MigrationRun, MigrationSchedule};
use crate::engine::{ReadRuns, Run, RunLedger, State};

/// The caches that watches fill.
pub struct Caches {
    /// The schedules.
    pub schedules: Cache<Guarded<MigrationSchedule>>,
    /// The Environments.
    pub environments: Cache<Guarded<Environment>>,
    /// The runs, by [`of_schedule`] and by [`of_environments`].
    pub runs: Grouped<Guarded<MigrationRun>>,
    /// The orders, by namespace.
    pub orders: Grouped<Guarded<Intervention>>,
    /// The Freezes.
    pub freezes: Cache<Guarded<Freeze>>,
    /// The namespaces, labels only.
    pub namespaces: Cache<PartialObjectMeta<Namespace>>,
}

/// Everything that a pass needs. One for the whole process.
pub struct World {
    /// For calls; never retries by itself.
    pub client: Client,
    /// Who may call when.
    pub lanes: Lanes,
    /// Whether every cache has seen the whole of its list once.
    pub filled: Arc<AtomicBool>,
    /// Whether resource versions went back.
    pub versions: Arc<Versions>,
    /// What watches have seen.
    pub caches: Caches,
    /// Hoist's own objects.
    pub store: Store,
    /// Where flags live.
    pub targets: Targets,
    /// The same for what takes flags down: over connections of its own, behind nobody else's calls.
    pub retreat: Targets,
    /// Where evidence comes from.
    pub prometheus: Prometheus,
    /// Schedules as this process last wrote them.
    pub written: Written,
    /// What is counted.
    pub telemetry: Arc<Telemetry>,
    /// The evidence of each schedule's runs, by uid. Lost with the process; Prometheus has it still.
    pub memory: Memory,
    /// Changes whenever a person's order is seen, so that a pass that waits for answers notices.
    pub arrivals: tokio::sync::watch::Sender<()>,
    /// Which schedules wait for phases of others.
    pub waiting: Waiting,
    /// Passes that failed in a row, by schedule.
    pub failures: Mutex<BTreeMap<String, u32>>,
    /// Whether this process may act.
    pub leadership: Leadership,
    /// One lock for each Environment: between "nobody else is at work here" and "we are" nobody may come in.
    pub turns: Mutex<BTreeMap<EnvironmentKey, Arc<tokio::sync::Mutex<()>>>>,
}

impl World {
    /// A world behind a client for most calls and one for what takes flags down, with these caches.
    pub fn new(
        client: Client,
        retreat: Client,
        caches: Caches,
        leadership: Leadership,
        versions: Arc<Versions>,
    ) -> Self {
        Self {
            caches,
            lanes: Lanes::default(),
            filled: Arc::default(),
            failures: Mutex::default(),
            waiting: Waiting::default(),
            store: Store::new(client.clone(), Arc::clone(&versions)),
            targets: Targets::new(client.clone()),
            retreat: Targets::retreating(retreat),
            versions,
            prometheus: Prometheus::new(client.clone()),
            telemetry: Arc::new(Telemetry::default()),
            written: Written::default(),
            memory: Memory::default(),
            arrivals: tokio::sync::watch::Sender::new(()),
            leadership,
            turns: Mutex::default(),
            client,
        }
    }

    /// Forgets what was remembered of schedules that are gone, and what is too old.
    pub fn sweep(&self) {
        self.prometheus.sweep();
        let all = self.caches.schedules.state();
        let living: BTreeSet<String> = all.iter().filter_map(|s| s.uid()).collect();
        self.waiting.sweep(&all.iter().map(|s| (s.namespace().unwrap_or_default(), s.name_any())).collect());
        self.memory.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|uid, _| living.contains(uid));
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).retain(|uid, _| living.contains(uid));
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
    }

    /// Notes a schedule as this process has just written it.
    pub fn wrote(&self, object: Guarded<MigrationSchedule>) -> Arc<Guarded<MigrationSchedule>> {
        let seen = self.caches.schedules.get(&ObjectRef::from_obj(&object));
        self.written.note(object, seen)
    }

    /// The lock of an Environment.
    pub fn turn(&self, key: &EnvironmentKey) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(key.clone()).or_default())
    }
}

/// What is remembered of all schedules between passes, by uid.
#[derive(Debug, Default)]
pub struct Memory(Mutex<BTreeMap<String, Remembered>>);

#[derive(Debug, Default)]
struct Remembered {
    ledgers: BTreeMap<String, RunLedger>,
    runs: ReadRuns<Guarded<MigrationRun>>,
}

impl Memory {
    /// A schedule's runs of these objects, with what is remembered of each; and of those that cannot be read why.
    pub fn recall(&self, uid: &str, objects: &[Arc<Guarded<MigrationRun>>]) -> (State, Vec<String>) {
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if objects.is_empty() && !memory.contains_key(uid) {
            return <_>::default();
        }
        let known = memory.entry(uid.to_owned()).or_default();
        let objects = objects.iter().map(|object| (object.name_any(), object.clone()));
        let (runs, unreadable) = known.runs.read(objects, |object| {
            let run = object.0.as_ref();
            run.map_err(|e| format!("run {} cannot be read: {}", object.name_any(), e.error)).and_then(Run::read)
        });
        (State { runs, ledgers: known.ledgers.clone() }, unreadable)
    }

    /// Remembers; nothing is kept where there is nothing.
    pub fn keep(&self, uid: &str, ledgers: BTreeMap<String, RunLedger>) {
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = memory.entry(uid.to_owned()).or_default();
        known.ledgers = ledgers;
        if known.ledgers.is_empty() && known.runs.is_empty() {
            memory.remove(uid);
        }
    }
}

/// The group of a schedule's runs.
pub fn of_schedule(uid: &str) -> String {
    format!("schedule {uid}")
}

/// The group of the runs in the Environments of a namespace.
pub fn of_environments(namespace: &str) -> String {
    format!("environments of {namespace}")
}

/// The groups of a run, as its labels have them: also of one that cannot be read.
pub fn groups_of_run(run: &Guarded<MigrationRun>) -> Vec<String> {
    let labels = run.labels();
    let schedule = labels.get(SCHEDULE_LABEL).map(|uid| of_schedule(uid));
    let environments = labels.get(ENVIRONMENT_NAMESPACE_LABEL).map(|namespace| of_environments(namespace));
    schedule.into_iter().chain(environments).collect()
}
