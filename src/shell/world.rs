//! What a pass works with: caches, clients, and what is remembered between passes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::reflector::Store as Cache;

use super::lease::Leadership;
use super::prometheus::Prometheus;
use super::store::Store;
use super::targets::Targets;
use super::telemetry::Telemetry;
use crate::api::{Environment, EnvironmentKey, Intervention, MigrationRun, MigrationSchedule};
use crate::engine::RunLedger;

/// An object as it was stored, or what is wrong with it: one malformed object must not blind a list.
pub type Guarded<K> = DeserializeGuard<K>;

/// The caches that watches fill.
#[derive(Clone)]
pub struct Caches {
    /// The schedules.
    pub schedules: Cache<Guarded<MigrationSchedule>>,
    /// The Environments.
    pub environments: Cache<Guarded<Environment>>,
    /// The runs.
    pub runs: Cache<Guarded<MigrationRun>>,
    /// The orders.
    pub orders: Cache<Guarded<Intervention>>,
    /// The namespaces, labels only.
    pub namespaces: Cache<PartialObjectMeta<Namespace>>,
}

/// Everything that a pass needs. One for the whole process.
pub struct World {
    /// For calls; never retries by itself.
    pub client: Client,
    /// What watches have seen.
    pub caches: Caches,
    /// Hoist's own objects.
    pub store: Store,
    /// Where flags live.
    pub targets: Targets,
    /// Where evidence comes from.
    pub prometheus: Prometheus,
    /// What is counted.
    pub telemetry: Arc<Telemetry>,
    /// The evidence of each schedule's runs, by uid. Lost with the process; Prometheus has it still.
    pub memory: Memory,
    /// Changes whenever a person's order is seen, so that a pass that waits for answers notices.
    pub arrivals: tokio::sync::watch::Sender<()>,
    /// Whether this process may act.
    pub leadership: Leadership,
    /// One lock for each Environment: between "nobody else is at work here" and "we are" nobody may come in.
    pub turns: Mutex<BTreeMap<EnvironmentKey, Arc<tokio::sync::Mutex<()>>>>,
}

impl World {
    /// A world behind a client, with these caches.
    pub fn new(client: Client, caches: Caches, leadership: Leadership) -> Self {
        Self {
            caches,
            store: Store::new(client.clone()),
            targets: Targets::new(client.clone()),
            prometheus: Prometheus::new(client.clone()),
            telemetry: Arc::new(Telemetry::default()),
            memory: Memory::default(),
            arrivals: tokio::sync::watch::Sender::new(()),
            leadership,
            turns: Mutex::default(),
            client,
        }
    }

    /// The lock of an Environment.
    pub fn turn(&self, key: &EnvironmentKey) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(key.clone()).or_default())
    }
}

/// The ledgers of all schedules, by uid and run.
#[derive(Debug, Default)]
pub struct Memory(Mutex<BTreeMap<String, BTreeMap<String, RunLedger>>>);

impl Memory {
    /// What is remembered of a schedule.
    pub fn recall(&self, uid: &str) -> BTreeMap<String, RunLedger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(uid).cloned().unwrap_or_default()
    }

    /// Remembers; nothing is kept where there is nothing.
    pub fn keep(&self, uid: &str, ledgers: BTreeMap<String, RunLedger>) {
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ledgers.is_empty() {
            memory.remove(uid);
        } else {
            memory.insert(uid.to_owned(), ledgers);
        }
    }
}
