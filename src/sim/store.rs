//! Hoist's own objects: versions that guard writes, and the past that stale caches still serve.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time as MetaTime;
use k8s_openapi::jiff::Timestamp;

use crate::api::{
    Environment, EnvironmentKey, FINALIZER, FreezeSpec, Intervention, InterventionSpec, InterventionStatus,
    MigrationRun, MigrationRunSpec, MigrationRunStatus, MigrationSchedule, MigrationScheduleSpec,
    MigrationScheduleStatus, Time,
};
use crate::engine::Run;

use super::cluster::Refusal;

/// How much of the past is kept for stale reads.
const KEPT_LOOKS: usize = 256;

/// All objects as they were at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// The schedule, where there is one.
    pub schedule: Option<Arc<MigrationSchedule>>,
    /// Whether its spec can be read at all.
    pub unreadable: bool,
    /// Every run, also those of schedules that are gone.
    pub runs: BTreeMap<String, Arc<MigrationRun>>,
    /// Every order.
    pub orders: BTreeMap<String, Arc<Intervention>>,
    /// The Environments.
    pub environments: BTreeMap<EnvironmentKey, Arc<Environment>>,
    /// The Freezes, by name.
    pub freezes: BTreeMap<String, FreezeSpec>,
    /// Grows with each change of the spec or of an Environment.
    pub edits: u64,
}

/// The store behind the API server.
#[derive(Clone, Debug, Default)]
pub struct Store {
    /// What is true now.
    pub now: Snapshot,
    /// What is kept beside runs, by name. It never changes, so no cache shows it otherwise.
    pub kept: BTreeMap<String, String>,
    past: VecDeque<(Time, Snapshot)>,
    versions: u64,
}

fn meta_time(at: Time) -> MetaTime {
    MetaTime(Timestamp::from_second(at.timestamp()).unwrap_or_default())
}

impl Store {
    /// What a cache shows that lags behind by so much: whole objects as they were then.
    pub fn as_of(&self, then: Time) -> &Snapshot {
        let old = self.past.iter().rev().find(|(at, _)| *at <= then).or_else(|| self.past.front());
        old.map_or(&self.now, |(_, s)| s)
    }

    fn version(&mut self) -> String {
        self.versions += 1;
        self.versions.to_string()
    }

    /// Remembers what is true from `at` on.
    fn keep(&mut self, at: Time) {
        if self.past.back().is_some_and(|(last, _)| *last == at) {
            self.past.pop_back();
        }
        self.past.push_back((at, self.now.clone()));
        if self.past.len() > KEPT_LOOKS {
            self.past.pop_front();
        }
    }

    /// Applies a schedule under this uid.
    pub fn apply(&mut self, name: &str, namespace: &str, uid: &str, spec: MigrationScheduleSpec, at: Time) {
        let mut object = MigrationSchedule::new(name, spec);
        object.metadata.namespace = Some(namespace.to_owned());
        object.metadata.uid = Some(uid.to_owned());
        object.metadata.generation = Some(1);
        object.metadata.creation_timestamp = Some(meta_time(at));
        object.metadata.resource_version = Some(self.version());
        self.now.schedule = Some(Arc::new(object));
        self.now.unreadable = false;
        self.now.edits += 1;
        self.keep(at);
    }

    /// A person edits the schedule's spec.
    pub fn edit(&mut self, at: Time, change: impl FnOnce(&mut MigrationScheduleSpec)) {
        let version = Some(self.version());
        let Some(schedule) = &mut self.now.schedule else { return };
        let object = Arc::make_mut(schedule);
        change(&mut object.spec);
        object.metadata.generation = object.metadata.generation.map(|g| g + 1);
        object.metadata.resource_version = version;
        self.now.edits += 1;
        self.keep(at);
    }

    /// The stored spec becomes one that cannot be read, or a readable one again.
    pub fn garble(&mut self, unreadable: bool, at: Time) {
        self.now.unreadable = unreadable;
        self.edit(at, |_| {});
    }

    /// A person deletes the schedule; it goes once no finalizer holds it.
    pub fn delete(&mut self, at: Time) {
        let version = Some(self.version());
        let Some(schedule) = &mut self.now.schedule else { return };
        let object = Arc::make_mut(schedule);
        object.metadata.deletion_timestamp.get_or_insert_with(|| meta_time(at));
        object.metadata.resource_version = version;
        if object.metadata.finalizers.as_ref().is_none_or(Vec::is_empty) {
            self.now.schedule = None;
        }
        self.keep(at);
    }

    /// Puts an Environment there, or takes it away.
    pub fn environment(&mut self, key: &EnvironmentKey, environment: Option<Environment>, at: Time) {
        match environment {
            Some(environment) => self.now.environments.insert(key.clone(), Arc::new(environment)),
            None => self.now.environments.remove(key),
        };
        self.now.edits += 1;
        self.keep(at);
    }

    /// Puts a Freeze there, or takes it away.
    pub fn freeze(&mut self, name: &str, freeze: Option<FreezeSpec>, at: Time) {
        match freeze {
            Some(freeze) => self.now.freezes.insert(name.to_owned(), freeze),
            None => self.now.freezes.remove(name),
        };
        self.now.edits += 1;
        self.keep(at);
    }

    /// A person writes an order.
    pub fn order(&mut self, name: &str, spec: InterventionSpec, at: Time) {
        let mut object = Intervention::new(name, spec);
        object.metadata.creation_timestamp = Some(meta_time(at));
        object.metadata.resource_version = Some(self.version());
        self.now.orders.insert(name.to_owned(), Arc::new(object));
        self.keep(at);
    }

    /// Answers an order.
    pub fn answer(&mut self, name: &str, status: InterventionStatus, at: Time) -> Result<(), Refusal> {
        let version = Some(self.version());
        let object = Arc::make_mut(self.now.orders.get_mut(name).ok_or(Refusal::Missing)?);
        object.status = Some(status);
        object.metadata.resource_version = version;
        self.keep(at);
        Ok(())
    }

    /// Makes a run, without a status yet.
    pub fn create(&mut self, run: &Run, at: Time) -> Result<(), Refusal> {
        if self.now.runs.contains_key(&run.name) {
            return Err(Refusal::Conflict);
        }
        let mut object = MigrationRun::new(&run.name, MigrationRunSpec::clone(&run.spec));
        object.metadata.namespace = Some(run.namespace.clone());
        object.metadata.creation_timestamp = Some(meta_time(at));
        object.metadata.resource_version = Some(self.version());
        self.now.runs.insert(run.name.clone(), Arc::new(object));
        self.keep(at);
        Ok(())
    }

    /// Stores what a run says, if it still has the version that was read.
    pub fn replace(&mut self, name: &str, version: &str, status: MigrationRunStatus, at: Time) -> Result<(), Refusal> {
        let next = Some(self.version());
        let object = self.now.runs.get_mut(name).ok_or(Refusal::Missing)?;
        if object.metadata.resource_version.as_deref() != Some(version) {
            return Err(Refusal::Conflict);
        }
        let object = Arc::make_mut(object);
        object.status = Some(status);
        object.metadata.resource_version = next;
        self.keep(at);
        Ok(())
    }

    fn guarded(&mut self, uid: &str, version: &str) -> Result<&mut MigrationSchedule, Refusal> {
        let next = Some(self.version());
        let schedule = self.now.schedule.as_mut().ok_or(Refusal::Missing)?;
        if schedule.metadata.uid.as_deref() != Some(uid) {
            return Err(Refusal::Replaced);
        }
        if schedule.metadata.resource_version.as_deref() != Some(version) {
            return Err(Refusal::Conflict);
        }
        let object = Arc::make_mut(schedule);
        object.metadata.resource_version = next;
        Ok(object)
    }

    /// Stores a schedule's status, if it still has the version that was read.
    pub fn report(
        &mut self,
        uid: &str,
        version: &str,
        status: MigrationScheduleStatus,
        at: Time,
    ) -> Result<(), Refusal> {
        self.guarded(uid, version)?.status = Some(status);
        self.keep(at);
        Ok(())
    }

    /// Puts the finalizer on, or takes it away, if the schedule still has the version that was read.
    pub fn finalizer(&mut self, uid: &str, version: &str, present: bool, at: Time) -> Result<(), Refusal> {
        let object = self.guarded(uid, version)?;
        object.metadata.finalizers = present.then(|| vec![FINALIZER.to_owned()]);
        if !present && object.metadata.deletion_timestamp.is_some() {
            self.now.schedule = None;
        }
        self.keep(at);
        Ok(())
    }
}
