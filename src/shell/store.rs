//! Reading and writing Hoist's own objects. Every status is written against the version that was read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::json;

use super::clock;
use super::error::{CALL, Error, within};
use super::joint::{Joint, Joints};
use super::versions::Versions;
use super::world::Guarded;
use crate::api::{
    Environment, EnvironmentKey, FINALIZER, Freeze, Intervention, InterventionStatus, MigrationRun, MigrationRunSpec,
    MigrationSchedule, MigrationScheduleStatus,
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
/// See [`RUNS`].
pub const FREEZES: &str = "freezes";

/// Proof that the state which a raise needs is stored. Only [`Store::persist`] makes one, so that no raise can be sent
/// without it (law 2).
#[derive(Debug)]
pub struct Fence(());

/// Hoist's own objects behind one API server.
#[derive(Clone)]
pub struct Store {
    client: Client,
    versions: Arc<Versions>,
    runs_of: Arc<Joints<Vec<Arc<Guarded<MigrationRun>>>>>,
    runs_in: Arc<Joint<Vec<Arc<Guarded<MigrationRun>>>>>,
    orders_in: Arc<Joints<Vec<Arc<Guarded<Intervention>>>>>,
    freezes: Arc<Joint<Vec<Arc<Guarded<Freeze>>>>>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}

impl Store {
    /// Objects behind this client, which must not retry by itself.
    pub fn new(client: Client, versions: Arc<Versions>) -> Self {
        Self {
            client,
            versions,
            runs_of: Arc::default(),
            runs_in: Arc::default(),
            orders_in: Arc::default(),
            freezes: Arc::default(),
        }
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

    /// Stores every run that differs from what was read, each guarded by its version; `stored` is given what came of it.
    ///
    /// # Errors
    /// The first write that was refused. The others are tried all the same, so that one run cannot keep another's
    /// rollback from being stored; the next pass goes on from there.
    pub async fn persist(
        &self,
        before: &[&Run],
        after: &[&Run],
        stored: impl Fn(MigrationRun),
    ) -> Result<Fence, Error> {
        let mut refused = Ok(Fence(()));
        for run in after {
            if before.iter().any(|b| b == run) {
                continue;
            }
            let result = match &run.version {
                Some(version) => self.replace(run, version).await,
                None => self.create(run).await,
            };
            match result {
                Ok(run) => stored(run),
                Err(error) if refused.is_ok() => refused = Err(error),
                Err(_) => {}
            }
        }
        refused
    }

    async fn create(&self, run: &Run) -> Result<MigrationRun, Error> {
        let api = self.runs(&run.namespace);
        let mut object = MigrationRun::new(&run.name, MigrationRunSpec::clone(&run.spec));
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

    async fn replace(&self, run: &Run, version: &str) -> Result<MigrationRun, Error> {
        let mut object = MigrationRun::new(&run.name, MigrationRunSpec::clone(&run.spec));
        object.metadata.namespace = Some(run.namespace.clone());
        object.metadata.resource_version = Some(version.to_owned());
        object.status = Some(run.status());
        let api = self.runs(&run.namespace);
        within("store a run", CALL, api.replace_status(&run.name, &post(), &object)).await
    }

    /// Writes a schedule's status against the version that was read, and gives the schedule as it is then.
    pub async fn report(
        &self,
        namespace: &str,
        name: &str,
        version: &str,
        status: &MigrationScheduleStatus,
    ) -> Result<Guarded<MigrationSchedule>, Error> {
        let body = json!({ "metadata": { "resourceVersion": version }, "status": status });
        let api = self.schedules(namespace);
        within("report a schedule", CALL, api.patch_status(name, &params(), &Patch::Merge(&body))).await
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

    /// Puts the finalizer on a schedule, or takes it away, against the version that was read, and gives the schedule as it
    /// is then.
    pub async fn finalizer(
        &self,
        schedule: &impl ResourceExt,
        present: bool,
    ) -> Result<Guarded<MigrationSchedule>, Error> {
        let mut finalizers = schedule.finalizers().to_vec();
        finalizers.retain(|f| f != FINALIZER);
        if present {
            finalizers.push(FINALIZER.to_owned());
        }
        let body = json!({ "metadata": { "resourceVersion": schedule.resource_version(), "finalizers": finalizers } });
        let namespace = schedule.namespace().unwrap_or_default();
        let api = self.schedules(&namespace);
        within("set the finalizer", CALL, api.patch(&schedule.name_any(), &params(), &Patch::Merge(&body))).await
    }

    /// The runs of a schedule, fresh: one list for all schedules of a namespace that ask at the same time.
    pub async fn runs_of(&self, namespace: &str, uid: &str) -> Result<Vec<Arc<Guarded<MigrationRun>>>, Error> {
        let api: Api<Guarded<MigrationRun>> = Api::namespaced(self.client.clone(), namespace);
        let ask = async |uids: &BTreeSet<String>| {
            let theirs = ListParams::default().labels(&one_of(SCHEDULE_LABEL, uids));
            let mut all: BTreeMap<String, Vec<_>> = BTreeMap::new();
            for run in self.list("list runs", RUNS, api, theirs).await? {
                let uid = run.labels().get(SCHEDULE_LABEL).cloned().unwrap_or_default();
                all.entry(uid).or_default().push(run);
            }
            Ok(all)
        };
        self.runs_of.to(namespace).part(uid, ask).await
    }

    /// The runs of all schedules in an Environment, fresh: one list for all who ask at the same time.
    ///
    /// # Errors
    /// No answer from the API server. A run that is malformed is in the list as such: it could be one that is in work.
    pub async fn runs_in(&self, key: &EnvironmentKey) -> Result<Vec<Arc<Guarded<MigrationRun>>>, Error> {
        let api: Api<Guarded<MigrationRun>> = Api::all(self.client.clone());
        let ask = async |keys: &BTreeSet<String>| {
            let part = |which: fn((&str, &str)) -> String| -> BTreeSet<String> {
                keys.iter().filter_map(|key| key.split_once('/')).map(which).collect()
            };
            let (namespaces, names) = (part(|(n, _)| n.to_owned()), part(|(_, n)| n.to_owned()));
            // Every name in every namespace, so it may be more than was asked for.
            let labels = [one_of(ENVIRONMENT_NAMESPACE_LABEL, &namespaces), one_of(ENVIRONMENT_LABEL, &names)];
            let here = ListParams::default().labels(&labels.join(","));
            let mut all: BTreeMap<String, Vec<_>> = BTreeMap::new();
            for run in self.list("list an Environment's runs", RUNS, api, here).await? {
                let label = |name: &str| run.labels().get(name).cloned().unwrap_or_default();
                let key = format!("{}/{}", label(ENVIRONMENT_NAMESPACE_LABEL), label(ENVIRONMENT_LABEL));
                all.entry(key).or_default().push(run);
            }
            Ok(all)
        };
        self.runs_in.part(&key.to_string(), ask).await
    }

    /// A schedule, fresh, or what is wrong with it.
    pub async fn schedule(&self, namespace: &str, name: &str) -> Result<Option<Guarded<MigrationSchedule>>, Error> {
        super::error::found(within("read a schedule", CALL, self.schedules(namespace).get(name)).await)
    }

    /// An Environment, fresh, or what is wrong with it.
    pub async fn environment(&self, key: &EnvironmentKey) -> Result<Option<Guarded<Environment>>, Error> {
        let api: Api<Guarded<Environment>> = Api::namespaced(self.client.clone(), &key.namespace);
        super::error::found(within("read an Environment", CALL, api.get(&key.name)).await)
    }

    /// The Freezes, fresh: one list for all who ask at the same time.
    ///
    /// # Errors
    /// No answer from the API server.
    pub async fn freezes(&self) -> Result<Vec<Arc<Guarded<Freeze>>>, Error> {
        let api = Api::all(self.client.clone());
        let ask = async |all: &BTreeSet<String>| {
            let freezes = self.list("list Freezes", FREEZES, api, ListParams::default()).await?;
            Ok(all.iter().map(|key| (key.clone(), freezes.clone())).collect())
        };
        self.freezes.part("", ask).await
    }

    /// The orders of a namespace, fresh: one list for all who ask at the same time.
    pub async fn orders_in(&self, namespace: &str) -> Result<Vec<Arc<Guarded<Intervention>>>, Error> {
        let api = Api::namespaced(self.client.clone(), namespace);
        let ask = async |all: &BTreeSet<String>| {
            let orders = self.list("list orders", ORDERS, api, ListParams::default()).await?;
            Ok(all.iter().map(|key| (key.clone(), orders.clone())).collect())
        };
        self.orders_in.to(namespace).part("", ask).await
    }

    fn runs(&self, namespace: &str) -> Api<MigrationRun> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Patches also reach a schedule that this version cannot read whole.
    fn schedules(&self, namespace: &str) -> Api<Guarded<MigrationSchedule>> {
        Api::namespaced(self.client.clone(), namespace)
    }
}

/// A selector for whatever has one of these values.
fn one_of(label: &str, values: &BTreeSet<String>) -> String {
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    format!("{label} in ({})", values.join(","))
}

fn params() -> PatchParams {
    PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() }
}

fn post() -> PostParams {
    PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() }
}
