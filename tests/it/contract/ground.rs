//! What the tests of the contract stand on: one object with two flags, for each kind of target.

use std::time::Duration;

use hoist::api::{
    ArmedTarget, FlagValue, FlagValues, Percent, PlaceKind, TargetPlace, Time, WorkloadKind, WorkloadRef,
};
use hoist::engine::{
    Expected, FoundTarget, Lower, Owner, Raise, Restart, Seal, Stamp, StampKind, Standing, TargetReading, WorkloadKey,
    standing,
};
use hoist::shell::error::{CALL, Error};
use hoist::shell::targets::{Carried, Targets};
use k8s_openapi::api::apps::v1 as apps;
use kube::api::{Api, ApiResource, DynamicObject};
use serde_json::{Value, json};

use crate::fixture::{Cluster, Namespace, Output, eventually};

pub const A: &str = "FLAG_A";
pub const B: &str = "FLAG_B";

/// The run that every stamp names.
const RUN: &str = "home/run";

/// The key of a percentage.
pub const SHARE: &str = "FLAG_A_PERCENT";

/// A label that no node has.
const NOWHERE: &str = "contract.example/nowhere";

/// An object that holds flags, in a namespace of its own, and the targets' reader and writer as user `hoist`.
pub struct Ground {
    pub kind: PlaceKind,
    pub targets: Targets,
    namespace: Namespace,
    client: kube::Client,
}

/// The kinds of workloads.
pub const WORKLOADS: [WorkloadKind; 3] = [WorkloadKind::Deployment, WorkloadKind::StatefulSet, WorkloadKind::DaemonSet];

/// All kinds of targets: the contract is one table.
pub async fn grounds() -> Vec<Ground> {
    let mut grounds = vec![Ground::of(PlaceKind::ConfigMap).await];
    for kind in WORKLOADS {
        grounds.push(Ground::with(kind).await);
    }
    grounds
}

/// A stamp of the run, decided now.
pub fn stamp(kind: StampKind, decision: &str) -> Stamp {
    Stamp {
        scope: hoist::api::RollbackScope::Environment,
        v: 1,
        kind,
        run: RUN.into(),
        schedule: "a-uid".into(),
        epoch: 1,
        decision: decision.into(),
        at: Time::UNIX_EPOCH,
        why: None,
    }
}

/// The HTTP status of a refused write.
pub fn code(result: Result<(), Error>) -> u16 {
    result.expect_err("a refused write").code().expect("an answer of the API server")
}

/// The name of an owner.
pub fn manager(owner: Option<&Owner>) -> &str {
    owner.map_or("", |o| o.manager.as_str())
}

impl Ground {
    pub async fn of(kind: PlaceKind) -> Ground {
        let client = Cluster::shared().hoist().await;
        let namespace = Namespace::fresh("contract").await;
        Ground { kind, targets: Targets::new(client.clone()), namespace, client }
    }

    /// A workload's variables.
    pub async fn with(kind: WorkloadKind) -> Ground {
        Ground::of(PlaceKind::WorkloadEnv(kind)).await
    }

    /// The object with these flags, as its owner would write it. No pod runs before [`Ground::run_pods`].
    pub fn manifest(&self, flags: &[(&str, &str)]) -> Value {
        let metadata = json!({ "name": "app", "labels": { "hoist.dev/flags": "allowed" } });
        match self.kind {
            PlaceKind::ConfigMap => {
                let data: serde_json::Map<String, Value> =
                    flags.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
                json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data })
            }
            PlaceKind::WorkloadEnv(kind) => {
                let env: Vec<Value> = flags.iter().map(|(n, v)| json!({ "name": n, "value": v })).collect();
                let container = json!({ "name": "main", "image": "app.example/app:1", "env": env });
                let mut spec = json!({
                    "selector": { "matchLabels": { "app": "app" } },
                    "template": { "metadata": { "labels": { "app": "app" } }, "spec": { "containers": [container] } },
                });
                match kind {
                    WorkloadKind::Deployment => spec["replicas"] = json!(0),
                    WorkloadKind::StatefulSet => {
                        spec["replicas"] = json!(0);
                        spec["serviceName"] = json!("app");
                    }
                    WorkloadKind::DaemonSet => spec["template"]["spec"]["nodeSelector"] = json!({ NOWHERE: "true" }),
                }
                json!({ "apiVersion": "apps/v1", "kind": format!("{kind:?}"), "metadata": metadata, "spec": spec })
            }
        }
    }

    /// Lets a workload have two pods.
    pub async fn run_pods(&self) {
        let two = json!({ "matchExpressions": [{
            "key": "kubernetes.io/hostname", "operator": "In", "values": ["node-1", "node-2"],
        }] });
        let affinity = json!({ "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": [two] } });
        let pods = json!({ "nodeSelector": null, "affinity": { "nodeAffinity": affinity } });
        self.patch(&match self.kind {
            PlaceKind::WorkloadEnv(WorkloadKind::DaemonSet) => json!({ "spec": { "template": { "spec": pods } } }),
            _ => json!({ "spec": { "replicas": 2 } }),
        })
        .await;
    }

    /// Changes the object by hand.
    pub async fn patch(&self, patch: &Value) {
        self.kubectl(&["patch", self.resource(), "app", "-p", &patch.to_string()]).await.expect("patched");
    }

    /// Creates the object as a person would, under the manager `team`.
    pub async fn create(&self, flags: &[(&str, &str)]) {
        self.write(&["create", "--field-manager", "team", "-f", "-"], &self.manifest(flags)).await.expect("created");
    }

    /// kubectl with an object for its input.
    pub async fn write(&self, args: &[&str], object: &Value) -> Output {
        let args = [&["-n", self.namespace.name()], args].concat();
        Cluster::shared().kubectl_with_input(&args, &object.to_string()).await
    }

    pub async fn kubectl(&self, args: &[&str]) -> Output {
        Cluster::shared().kubectl(&[&["-n", self.namespace.name()], args].concat()).await
    }

    /// `kubectl apply` with these flags; `how` is for example `--server-side`.
    pub async fn apply(&self, flags: &[(&str, &str)], how: &[&str]) -> Output {
        self.write(&[&["apply"], how, &["-f", "-"]].concat(), &self.manifest(flags)).await
    }

    /// Sets one flag by hand with `kubectl patch`.
    pub async fn set(&self, flag: &str, value: &str) {
        let patch = match self.kind {
            PlaceKind::ConfigMap => json!({ "data": { flag: value } }),
            PlaceKind::WorkloadEnv(_) => {
                let container = json!({ "name": "main", "env": [{ "name": flag, "value": value }] });
                json!({ "spec": { "template": { "spec": { "containers": [container] } } } })
            }
        };
        let patch = patch.to_string();
        self.kubectl(&["patch", self.resource(), "app", "-p", &patch]).await.expect("patched by hand");
    }

    pub async fn delete(&self) {
        self.kubectl(&["delete", self.resource(), "app", "--cascade=foreground"]).await.expect("deleted");
    }

    pub fn client(&self) -> kube::Client {
        self.client.clone()
    }

    /// The object's kind, as kubectl takes it.
    pub fn resource(&self) -> &'static str {
        match self.kind.workload() {
            None => "configmap",
            Some(WorkloadKind::Deployment) => "deployment",
            Some(WorkloadKind::StatefulSet) => "statefulset",
            Some(WorkloadKind::DaemonSet) => "daemonset",
        }
    }

    /// The object as it is stored, if it is.
    pub async fn object(&self) -> Option<Value> {
        let resource = match self.kind.workload() {
            None => ApiResource::erase::<k8s_openapi::api::core::v1::ConfigMap>(&()),
            Some(WorkloadKind::Deployment) => ApiResource::erase::<apps::Deployment>(&()),
            Some(WorkloadKind::StatefulSet) => ApiResource::erase::<apps::StatefulSet>(&()),
            Some(WorkloadKind::DaemonSet) => ApiResource::erase::<apps::DaemonSet>(&()),
        };
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), self.namespace.name(), &resource);
        let object = api.get_opt("app").await.expect("the object can be read");
        object.map(|o| serde_json::to_value(o).expect("an object is JSON"))
    }

    /// The version, once the controllers have written what they have to say about the last change.
    pub async fn version(&self) -> String {
        let mut before = None;
        eventually("the object to rest", async || {
            let object = self.object().await.expect("the object is there");
            let version = object["metadata"]["resourceVersion"].as_str().expect("a version").to_owned();
            let observed = object["status"]["observedGeneration"] == object["metadata"]["generation"];
            if self.kind == PlaceKind::ConfigMap || (observed && before.as_ref() == Some(&version)) {
                return Ok(version);
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
            before = Some(version.clone());
            Err(version)
        })
        .await
    }

    /// The stored value of a flag, without the code under test.
    pub async fn value(&self, flag: &str) -> Option<String> {
        let object = self.object().await.expect("the object is there");
        let value = match self.kind {
            PlaceKind::ConfigMap => object["data"][flag].clone(),
            PlaceKind::WorkloadEnv(_) => {
                let env = object["spec"]["template"]["spec"]["containers"][0]["env"].clone();
                let env = env.as_array().cloned().unwrap_or_default();
                env.into_iter().find(|e| e["name"] == flag).map_or(Value::Null, |e| e["value"].clone())
            }
        };
        value.as_str().map(ToOwned::to_owned)
    }

    pub fn place(&self, flag: &str) -> TargetPlace {
        TargetPlace {
            kind: self.kind,
            namespace: self.namespace.name().to_owned(),
            name: "app".into(),
            container: self.kind.workload().map(|_| "main".into()),
            key: flag.into(),
        }
    }

    /// A flag with the values true and false, armed on the object that is there now.
    pub async fn armed(&self, flag: &str) -> ArmedTarget {
        let text = |t: &str| FlagValue::Text(t.into());
        self.armed_with(flag, FlagValues { enabled: text("true"), disabled: text("false") }).await
    }

    pub async fn armed_with(&self, flag: &str, values: FlagValues) -> ArmedTarget {
        let uid = self.found(flag).await.uid;
        let place = self.place(flag);
        ArmedTarget {
            flag: flag.into(),
            requires: vec![],
            values,
            place,
            percent_key: None,
            uid,
            workloads: vec![],
            taken_from: None,
        }
    }

    /// The same with a percentage under [`SHARE`].
    pub async fn armed_in_steps(&self, flag: &str) -> ArmedTarget {
        ArmedTarget { percent_key: Some(SHARE.into()), ..self.armed(flag).await }
    }

    pub async fn read(&self, flag: &str) -> TargetReading {
        let percent_key = (flag == A).then(|| SHARE.to_owned());
        let carried = Carried { flag: flag.to_owned(), percent_key };
        self.targets.read(&self.place(flag), &carried).await.expect("a reading")
    }

    pub async fn found(&self, flag: &str) -> FoundTarget {
        match self.read(flag).await {
            TargetReading::Found(found) => found,
            TargetReading::Missing => panic!("{:?} is missing", self.place(flag)),
        }
    }

    /// How a target stands to the run.
    pub async fn standing(&self, armed: &ArmedTarget) -> Standing {
        self.standing_at(armed, Percent::ALL, None).await
    }

    /// How it stands to a step.
    pub async fn standing_at(&self, armed: &ArmedTarget, percent: Percent, before: Option<Percent>) -> Standing {
        let expected = Expected { run: RUN, epoch: 1, observes: false, percent, before };
        standing(armed, &expected, &self.read(&armed.flag).await)
    }

    /// Raises on the version that is there now, as the engine does: forced, and again where a controller was quicker.
    pub async fn raise(&self, armed: &ArmedTarget, decision: &str) {
        eventually("the raise", async || {
            let version = self.found(&armed.flag).await.resource_version;
            self.raise_on(armed, decision, &version, true).await.map_err(|e| e.to_string())
        })
        .await;
    }

    pub async fn raise_on(&self, armed: &ArmedTarget, decision: &str, version: &str, force: bool) -> Result<(), Error> {
        let raise = Raise {
            target: armed.clone(),
            resource_version: version.into(),
            percent: Percent::ALL,
            force,
            stamp: stamp(StampKind::Raised, decision),
            send_by: Time::MAX_UTC,
        };
        self.targets.raise(&raise).await
    }

    /// Raises to a step, as [`Ground::raise`] does.
    pub async fn raise_to(&self, armed: &ArmedTarget, percent: Percent, decision: &str) {
        eventually("the step", async || {
            let resource_version = self.found(&armed.flag).await.resource_version;
            let stamp = stamp(StampKind::Raised, decision);
            let raise =
                Raise { target: armed.clone(), resource_version, percent, force: true, stamp, send_by: Time::MAX_UTC };
            self.targets.raise(&raise).await.map_err(|e| e.to_string())
        })
        .await;
    }

    pub async fn lower(&self, armed: &ArmedTarget, decision: &str) -> Result<(), Error> {
        let stamp = stamp(StampKind::Closed, decision);
        self.targets.lower(&Lower { target: armed.clone(), resource_version: None, stamp }).await
    }

    /// Puts it back by plan, on this version alone.
    pub async fn lower_on(&self, armed: &ArmedTarget, decision: &str, version: &str) -> Result<(), Error> {
        let (resource_version, stamp) = (Some(version.to_owned()), stamp(StampKind::Lowered, decision));
        self.targets.lower(&Lower { target: armed.clone(), resource_version, stamp }).await
    }

    /// Seals on the version that is there now, again where a controller was quicker.
    pub async fn seal(&self, armed: &ArmedTarget, decision: &str) {
        eventually("the seal", async || {
            let version = self.found(&armed.flag).await.resource_version;
            self.seal_on(armed, decision, &version).await.map_err(|e| e.to_string())
        })
        .await;
    }

    pub async fn seal_on(&self, armed: &ArmedTarget, decision: &str, version: &str) -> Result<(), Error> {
        let stamp = stamp(StampKind::Sealed, decision);
        self.targets.seal(&Seal { target: armed.clone(), resource_version: version.into(), stamp }).await
    }

    pub async fn restart(&self, flag: &str, decision: &str) -> Result<(), Error> {
        let WorkloadKey { namespace, workload } = self.workload();
        let restart = Restart { namespace, workload, flag: flag.into(), decision: decision.into() };
        self.targets.restart(&restart, CALL).await
    }

    /// The object as a workload.
    pub fn workload(&self) -> WorkloadKey {
        let workload = WorkloadRef { kind: self.kind.workload().expect("a workload"), name: "app".into() };
        WorkloadKey { namespace: self.namespace.name().to_owned(), workload }
    }
}
