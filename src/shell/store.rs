//! Reading and writing Hoist's own objects. Every status is written against the version that was read.

use std::sync::Arc;

use kube::api::{Api, ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::json;

use super::clock;
use super::error::{CALL, Error, within};
use super::versions::Versions;
use super::world::Guarded;
use crate::api::{
    Environment, EnvironmentKey, FINALIZER, Intervention, InterventionStatus, MigrationRun, MigrationSchedule,
    MigrationScheduleStatus,
};
use crate::engine::{OrderAnswer, Run};

/// The label that carries a run's schedule, by uid.
pub const SCHEDULE_LABEL: &str = "hoist.dev/schedule-uid";

/// The labels that carry a run's Environment.
pub const ENVIRONMENT_LABEL: &str = "hoist.dev/environment";
/// See [`ENVIRONMENT_LABEL`].
pub const ENVIRONMENT_NAMESPACE_LABEL: &str = "hoist.dev/environment-namespace";

/// The manager of what Hoist writes to its own objects.
const MANAGER: &str = "hoist";

/// What identity an order has until the API server vouches for it.
const UNVERIFIED: &str = "identity not verified";

/// The kinds whose versions are compared.
pub const RUNS: &str = "migrationruns";
/// See [`RUNS`].
pub const ORDERS: &str = "interventions";

/// Proof that the state which a raise needs is stored. Only [`Store::persist`] makes one, so that no raise can be sent
/// without it (law 2).
#[derive(Debug)]
pub struct Fence(());

/// Hoist's own objects behind one API server.
#[derive(Clone)]
pub struct Store {
    client: Client,
    versions: Arc<Versions>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}

impl Store {
    /// Objects behind this client, which must not retry by itself.
    pub fn new(client: Client, versions: Arc<Versions>) -> Self {
        Self { client, versions }
    }

    /// Lists what is there now, and notices where that is older than what was there before.
    async fn list<K>(
        &self,
        what: &'static str,
        kind: &'static str,
        api: Api<K>,
        params: ListParams,
    ) -> Result<Vec<Arc<K>>, Error>
    where
        K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
    {
        let mark = self.versions.mark(kind);
        let list = within(what, CALL, api.list(&params)).await?;
        self.versions.compare(kind, mark, list.metadata.resource_version.as_deref());
        Ok(list.items.into_iter().map(Arc::new).collect())
    }

    /// Stores every run that differs from what was read, each guarded by its version.
    ///
    /// # Errors
    /// The first write that was refused. The others are tried all the same, so that one run cannot keep another's
    /// rollback from being stored; the next pass goes on from there.
    pub async fn persist(&self, before: &[&Run], after: &[&Run]) -> Result<Fence, Error> {
        let mut refused = Ok(Fence(()));
        for run in after {
            if before.iter().any(|b| b == run) {
                continue;
            }
            let stored = match &run.version {
                Some(version) => self.replace(run, version).await,
                None => self.create(run).await,
            };
            if let (Err(error), true) = (stored, refused.is_ok()) {
                refused = Err(error);
            }
        }
        refused
    }

    async fn create(&self, run: &Run) -> Result<(), Error> {
        let api = self.runs(&run.namespace);
        let mut object = MigrationRun::new(&run.name, run.spec.clone());
        let e = &run.spec.environment;
        object.metadata.namespace = Some(run.namespace.clone());
        object.metadata.labels = Some(
            [
                (SCHEDULE_LABEL, run.spec.schedule.uid.clone()),
                (ENVIRONMENT_LABEL, e.name.clone()),
                (ENVIRONMENT_NAMESPACE_LABEL, e.namespace.clone()),
            ]
            .map(|(k, v)| (k.to_owned(), v))
            .into(),
        );
        let created = match within("create a run", CALL, api.create(&post(), &object)).await {
            Ok(created) => created,
            // The name is made of what the run is about, so one that exists is this very run, made before a crash.
            Err(error) if error.code() == Some(409) => within("read a run", CALL, api.get(&run.name)).await?,
            Err(error) => return Err(error),
        };
        if created.status.is_some() {
            return Err(Error::Stale { what: "the run exists already" });
        }
        self.replace(run, &created.metadata.resource_version.unwrap_or_default()).await
    }

    async fn replace(&self, run: &Run, version: &str) -> Result<(), Error> {
        let mut object = MigrationRun::new(&run.name, run.spec.clone());
        object.metadata.namespace = Some(run.namespace.clone());
        object.metadata.resource_version = Some(version.to_owned());
        object.status = Some(run.status());
        let api = self.runs(&run.namespace);
        within("store a run", CALL, api.replace_status(&run.name, &post(), &object)).await.map(drop)
    }

    /// Writes a schedule's status against the version that was read.
    pub async fn report(
        &self,
        namespace: &str,
        name: &str,
        version: &str,
        status: &MigrationScheduleStatus,
    ) -> Result<(), Error> {
        let body = json!({ "metadata": { "resourceVersion": version }, "status": status });
        let api = self.schedules(namespace);
        within("report a schedule", CALL, api.patch_status(name, &params(), &Patch::Merge(&body))).await.map(drop)
    }

    /// Answers an order, once.
    pub async fn answer(&self, namespace: &str, answer: &OrderAnswer) -> Result<(), Error> {
        let status = InterventionStatus {
            outcome: answer.outcome,
            message: answer.message.chars().take(1_000).collect(),
            at: clock::now(),
            identity: UNVERIFIED.to_owned(),
        };
        let api: Api<Intervention> = Api::namespaced(self.client.clone(), namespace);
        let body = json!({ "status": status });
        within("answer an order", CALL, api.patch_status(&answer.name, &params(), &Patch::Merge(&body))).await.map(drop)
    }

    /// Puts the finalizer on a schedule, or takes it away, against the version that was read.
    pub async fn finalizer(&self, schedule: &impl ResourceExt, present: bool) -> Result<(), Error> {
        let mut finalizers = schedule.finalizers().to_vec();
        finalizers.retain(|f| f != FINALIZER);
        if present {
            finalizers.push(FINALIZER.to_owned());
        }
        let body = json!({ "metadata": { "resourceVersion": schedule.resource_version(), "finalizers": finalizers } });
        let namespace = schedule.namespace().unwrap_or_default();
        let api = self.schedules(&namespace);
        within("set the finalizer", CALL, api.patch(&schedule.name_any(), &params(), &Patch::Merge(&body)))
            .await
            .map(drop)
    }

    /// The runs of a schedule, fresh.
    pub async fn runs_of(&self, namespace: &str, uid: &str) -> Result<Vec<Arc<Guarded<MigrationRun>>>, Error> {
        let own = ListParams::default().labels(&format!("{SCHEDULE_LABEL}={uid}"));
        self.list("list runs", RUNS, Api::namespaced(self.client.clone(), namespace), own).await
    }

    /// The runs of all schedules in the Environments of a namespace, fresh.
    ///
    /// # Errors
    /// No answer from the API server. A run that is malformed is in the list as such: it could be one that is in work.
    pub async fn runs_in(&self, namespace: &str) -> Result<Vec<Arc<Guarded<MigrationRun>>>, Error> {
        let here = ListParams::default().labels(&format!("{ENVIRONMENT_NAMESPACE_LABEL}={namespace}"));
        self.list("list an Environment's runs", RUNS, Api::all(self.client.clone()), here).await
    }

    /// A schedule, fresh, or what is wrong with it.
    pub async fn schedule(&self, namespace: &str, name: &str) -> Result<Option<Guarded<MigrationSchedule>>, Error> {
        let api: Api<Guarded<MigrationSchedule>> = Api::namespaced(self.client.clone(), namespace);
        super::error::found(within("read a schedule", CALL, api.get(name)).await)
    }

    /// An Environment, fresh, or what is wrong with it.
    pub async fn environment(&self, key: &EnvironmentKey) -> Result<Option<Guarded<Environment>>, Error> {
        let api: Api<Guarded<Environment>> = Api::namespaced(self.client.clone(), &key.namespace);
        super::error::found(within("read an Environment", CALL, api.get(&key.name)).await)
    }

    /// The orders of a namespace, fresh.
    pub async fn orders_in(&self, namespace: &str) -> Result<Vec<Arc<Guarded<Intervention>>>, Error> {
        self.list("list orders", ORDERS, Api::namespaced(self.client.clone(), namespace), ListParams::default()).await
    }

    fn runs(&self, namespace: &str) -> Api<MigrationRun> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Schedules as dynamic objects: patches also reach one that this version cannot read whole.
    fn schedules(&self, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &ApiResource::erase::<MigrationSchedule>(&()))
    }
}

fn params() -> PatchParams {
    PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() }
}

fn post() -> PostParams {
    PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() }
}
