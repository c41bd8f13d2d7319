//! A whole stage for one migration: environments with applications, a schedule, and a controller of its own.

#![allow(dead_code, reason = "the tests and the bench each use a part")]

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use hoist::api::{Environment, MigrationRun, MigrationSchedule, RunState, WorkloadKind};
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::fixture::{App, Cluster, Conduit, FLAG, FlagSource, Namespace, Output, PERCENT, Process, eventually_within};

/// Everything that a migration needs, in namespaces of its own.
pub struct Stage {
    /// One connection for all that this stage's tests ask.
    admin: kube::Client,
    pub home: Namespace,
    pub places: Vec<Place>,
    controller: Option<Process>,
}

/// One environment with its application.
pub struct Place {
    admin: kube::Client,
    pub name: String,
    pub namespace: Namespace,
    pub app: App,
}

/// What the schedule `repo` says, apart from its phases, which follow the environments.
#[derive(Clone)]
pub struct Plan {
    spec: Value,
}

impl Plan {
    /// One check on errors, asked every second, and a soak of some seconds.
    pub fn quick(soak: &str) -> Plan {
        Plan {
            spec: json!({
                "flags": [{ "name": FLAG, "values": { "enabled": "true", "disabled": "false" } }],
                "checks": [errors()],
                "soak": { "duration": soak },
                "rollback": { "deadline": "1m" },
            }),
        }
    }

    /// Puts something else at a path such as `/rollback/deadline`; the last part may be new.
    pub fn with(mut self, pointer: &str, value: Value) -> Plan {
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        let parent = self.spec.pointer_mut(parent).unwrap_or_else(|| panic!("{parent} is not there"));
        match parent {
            Value::Array(list) => list[key.parse::<usize>().expect("an index")] = value,
            other => other[key] = value,
        }
        self
    }

    fn for_places(&self, name: &str, home: &Namespace, places: &[Place]) -> Value {
        let mut spec = self.spec.clone();
        if spec.get("phases").is_none() {
            let phases = places.iter().enumerate().map(|(i, p)| {
                let environment = json!({ "name": p.name, "namespace": p.namespace.name() });
                json!({ "name": p.name, "number": (i + 1).to_string(), "environments": [environment] })
            });
            spec["phases"] = phases.collect();
        }
        let metadata = json!({ "name": name, "namespace": home.name() });
        json!({ "apiVersion": "hoist.dev/v1alpha1", "kind": "MigrationSchedule", "metadata": metadata, "spec": spec })
    }
}

/// The check on errors that every quick plan has.
pub fn errors() -> Value {
    let requests = |matchers: &str| {
        let own = "namespace=\"{{ environment.namespace }}\"";
        format!("sum(increase(http_requests_total{{{own}{matchers}}}[{{{{ window }}}}]))")
    };
    json!({
        "name": "errors", "interval": "1s", "settle": "1s",
        "threshold": {
            "ratio": { "bad": requests(",code=~\"5..\""), "total": requests("") },
            "max": "0.05", "window": "6s", "for": "2s", "minSamples": 5,
        },
    })
}

/// The resource definitions, once for the whole cluster.
pub async fn definitions() {
    static APPLIED: OnceCell<()> = OnceCell::const_new();
    APPLIED
        .get_or_init(|| async {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/crds");
            let cluster = Cluster::shared();
            cluster.kubectl(&["apply", "--server-side", "-f", folder]).await.expect("the definitions are applied");
            let wait = ["wait", "--for=condition=Established", "--timeout=30s", "-f", folder];
            cluster.kubectl(&wait).await.expect("the definitions are established");
        })
        .await;
}

impl Stage {
    /// Environments whose flag is a key of the ConfigMap `conduit-flags`.
    pub async fn with_config_maps(names: &[&str]) -> Stage {
        Stage::build(names, FlagSource::ConfigMapKey, 2).await
    }

    /// The same with one pod each, where hundreds of stages are built, and with Prometheus at this address.
    pub async fn small(names: &[&str], prometheus: &str) -> Stage {
        let all: Vec<_> = names.iter().map(|n| (*n, WorkloadKind::Deployment, FlagSource::ConfigMapKey)).collect();
        Stage::watched(&all, 1, prometheus).await
    }

    /// The same; the pods take all keys of the ConfigMap, so that one may be missing.
    pub async fn with_whole_config_maps(names: &[&str]) -> Stage {
        Stage::build(names, FlagSource::EnvFrom, 2).await
    }

    /// The same, with a percentage beside each flag, which the application heeds.
    pub async fn in_parts(names: &[&str]) -> Stage {
        let stage = Stage::with_whole_config_maps(names).await;
        for place in &stage.places {
            let mut target = target(WorkloadKind::Deployment, FlagSource::EnvFrom);
            target["configMap"]["percentKey"] = json!(PERCENT);
            let spec = json!({ "flags": [{ "name": FLAG, "targets": [target] }] });
            let patch = Patch::Merge(json!({ "spec": spec }));
            let environments = place.environments(place.admin.clone());
            environments.patch(&place.name, &PatchParams::default(), &patch).await.expect("the Environment is patched");
        }
        stage
    }

    /// Environments whose flag is a variable of the Deployment `conduit`.
    pub async fn with_variables(names: &[&str]) -> Stage {
        Stage::build(names, FlagSource::Literal, 2).await
    }

    async fn build(names: &[&str], source: FlagSource, replicas: u32) -> Stage {
        let all: Vec<_> = names.iter().map(|name| (*name, WorkloadKind::Deployment, source)).collect();
        Stage::of_kinds(&all, replicas).await
    }

    /// Environments with workloads of these kinds, whose pods come to their flag in these ways.
    pub async fn of_kinds(all: &[(&str, WorkloadKind, FlagSource)], replicas: u32) -> Stage {
        Stage::watched(all, replicas, Cluster::shared().prometheus_url()).await
    }

    async fn watched(all: &[(&str, WorkloadKind, FlagSource)], replicas: u32, prometheus: &str) -> Stage {
        definitions().await;
        Conduit::shared();
        let home = Namespace::fresh("home").await;
        let places = all.iter().map(|(name, kind, source)| place(&home, name, *kind, *source, replicas, prometheus));
        let places = futures::future::join_all(places).await;
        Stage { admin: Cluster::shared().admin().await, home, places, controller: None }
    }

    /// Starts the controller for this stage alone; one that runs is killed first.
    pub fn start_controller(&mut self) {
        self.start_controller_with(Cluster::shared().kubeconfig());
    }

    /// The same through another kubeconfig, whose context `hoist` is used.
    pub fn start_controller_with(&mut self, kubeconfig: &std::path::Path) {
        self.kill_controller();
        self.controller = Some(self.spawn_controller(kubeconfig, &["--leader-elect=false"]));
    }

    /// Another controller for this stage.
    pub fn spawn_controller(&self, kubeconfig: &std::path::Path, more: &[&str]) -> Process {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log_path()).expect("a log");
        // Another binary, for the suites that must find what is wrong with it.
        let binary = std::env::var("HOIST_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_hoist").to_owned());
        Process::spawn(&binary, |command| {
            command
                .args(["controller", "--context", "hoist", "--listen", "127.0.0.1:0", "--namespace", self.home.name()])
                .arg("--kubeconfig")
                .arg(kubeconfig)
                .args(["--log", "info,hoist=debug"])
                .args(more)
                .stdout(Stdio::null())
                .stderr(log);
        })
    }

    /// Where the controllers of this stage log.
    pub fn log_path(&self) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("hoist-it-{}-{}.log", std::process::id(), self.home.name()))
    }

    /// Kills the controller with SIGKILL.
    pub fn kill_controller(&mut self) {
        if let Some(mut controller) = self.controller.take() {
            controller.kill();
        }
    }

    /// Ends the controller and takes away what goes on costing time: pods that are scraped, and what controllers list.
    pub async fn strike(mut self) {
        self.kill_controller();
        for place in &self.places {
            place.workloads().delete("conduit", &DeleteParams::background()).await.expect("the workload is deleted");
            let environments: Api<Environment> = place.namespace.api(self.admin.clone());
            environments.delete(&place.name, &DeleteParams::default()).await.expect("the Environment is deleted");
        }
    }

    pub fn controller(&mut self) -> &mut Process {
        self.controller.as_mut().expect("a controller")
    }

    /// Applies the schedule with kubectl.
    pub async fn apply(&self, plan: &Plan) -> Output {
        self.apply_as("repo", plan).await
    }

    /// Creates the schedule without kubectl, where many are made.
    pub async fn create(&self, plan: &Plan) {
        let schedule = serde_json::from_value(self.object("repo", plan)).expect("a schedule");
        let api: Api<MigrationSchedule> = self.home.api(self.admin.clone());
        api.create(&PostParams::default(), &schedule).await.expect("the schedule is created");
    }

    /// Applies a schedule of another name.
    pub async fn apply_as(&self, name: &str, plan: &Plan) -> Output {
        Cluster::shared().kubectl_with_input(&["apply", "-f", "-"], &self.object(name, plan).to_string()).await
    }

    /// A schedule as it would be applied.
    pub fn object(&self, name: &str, plan: &Plan) -> Value {
        plan.for_places(name, &self.home, &self.places)
    }

    /// The schedule as it is stored.
    pub async fn schedule(&self) -> Option<MigrationSchedule> {
        let api: Api<MigrationSchedule> = self.home.api(self.admin.clone());
        api.get_opt("repo").await.expect("the schedule can be read")
    }

    /// The runs, the oldest first.
    pub async fn runs(&self) -> Vec<MigrationRun> {
        let api: Api<MigrationRun> = self.home.api(self.admin.clone());
        let mut runs = api.list(&ListParams::default()).await.expect("the runs can be listed").items;
        runs.sort_by_key(|r| (r.metadata.creation_timestamp.clone(), r.spec.epoch));
        runs
    }

    /// The Environments, as they are stored.
    pub async fn environments(&self) -> Vec<Environment> {
        let mut all = Vec::new();
        for place in &self.places {
            let api = place.environments(self.admin.clone());
            all.push(api.get(&place.name).await.expect("the Environment can be read"));
        }
        all
    }

    /// The labels by which Environments know the schedule's namespace.
    pub fn labels(&self) -> BTreeMap<String, String> {
        [("kubernetes.io/metadata.name".to_owned(), self.home.name().to_owned())].into()
    }

    /// The latest run of an environment.
    pub async fn run(&self, environment: &str) -> Option<MigrationRun> {
        let runs = self.runs().await;
        runs.into_iter().filter(|r| r.spec.environment.name == environment).max_by_key(|r| r.spec.epoch)
    }

    /// Waits until the latest run of an environment is in a state, and gives it.
    pub async fn reaches(&self, environment: &str, state: RunState) -> MigrationRun {
        self.run_that(&format!("{environment} to be {state}"), environment, |r| {
            r.status.as_ref().is_some_and(|s| s.state == state)
        })
        .await
    }

    /// Waits until the latest run of an environment is held for a reason, and gives what it says.
    pub async fn held(&self, environment: &str, reason: &str) -> String {
        let is = |r: &MigrationRun| {
            let held = r.status.as_ref().and_then(|s| s.held.as_ref());
            held.is_some_and(|h| format!("{:?}", h.reason) == reason)
        };
        let run = self.run_that(&format!("{environment} to be held: {reason}"), environment, is).await;
        run.status.and_then(|s| s.held).map(|h| h.message).unwrap_or_default()
    }

    /// Waits until the latest run of an environment waits at a gate, and gives what it says.
    pub async fn waits(&self, environment: &str, gate: &str) -> String {
        let at = |r: &MigrationRun| {
            let waits = r.status.iter().flat_map(|s| &s.waits);
            waits.clone().find(|w| format!("{:?}", w.gate) == gate).map(|w| w.message.clone())
        };
        let run = self.run_that(&format!("{environment} to wait at {gate}"), environment, |r| at(r).is_some()).await;
        at(&run).unwrap_or_default()
    }

    /// Waits until the latest run of an environment is as wanted.
    pub async fn run_that(&self, what: &str, environment: &str, is: impl Fn(&MigrationRun) -> bool) -> MigrationRun {
        eventually_within(Duration::from_secs(90), what, async || match self.run(environment).await {
            Some(run) if is(&run) => Ok(run),
            Some(run) => Err(format!("{:?}", run.status)),
            None => Err(format!("no run; {:?}", self.schedule().await.and_then(|s| s.status))),
        })
        .await
    }

    /// The value of the flag at an environment, as the API server has it.
    pub async fn value(&self, environment: &str) -> Option<String> {
        self.place(environment).value().await
    }

    /// The percentage beside the flag.
    pub async fn percent(&self, environment: &str) -> Option<String> {
        self.place(environment).key(PERCENT).await
    }

    pub fn place(&self, environment: &str) -> &Place {
        self.places.iter().find(|p| p.name == environment).expect("a place")
    }

    /// kubectl in the schedule's namespace.
    pub async fn kubectl(&self, args: &[&str]) -> Output {
        Cluster::shared().kubectl(&[&["-n", self.home.name()], args].concat()).await
    }

    /// The `hoist` binary against this cluster.
    #[allow(clippy::unused_self, reason = "it reads as what this stage's people do")]
    pub fn hoist(&self, args: &[&str]) -> std::process::Output {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_hoist"));
        command.args(args).env("KUBECONFIG", Cluster::shared().kubeconfig()).output().expect("hoist runs")
    }

    /// The schedule as the verbs name it.
    pub fn name(&self) -> String {
        format!("{}/repo", self.home.name())
    }
}

impl Place {
    /// kubectl in the environment's namespace.
    pub async fn kubectl(&self, args: &[&str]) -> Output {
        Cluster::shared().kubectl(&[&["-n", self.namespace.name()], args].concat()).await
    }

    /// The value of the flag, as the API server has it; nothing where it is absent.
    pub async fn value(&self) -> Option<String> {
        self.key(FLAG).await
    }

    async fn key(&self, name: &str) -> Option<String> {
        let config: Api<k8s_openapi::api::core::v1::ConfigMap> = self.namespace.api(self.admin.clone());
        if let Some(map) = config.get_opt("conduit-flags").await.expect("the ConfigMap can be read") {
            return map.data.unwrap_or_default().get(name).cloned();
        }
        let workload = self.workloads().get_opt("conduit").await.expect("the workload can be read")?;
        let env = workload.data.pointer("/spec/template/spec/containers/0/env")?.as_array()?;
        env.iter().find(|e| e["name"] == name)?["value"].as_str().map(ToOwned::to_owned)
    }

    fn workloads(&self) -> Api<DynamicObject> {
        Api::namespaced_with(self.admin.clone(), self.namespace.name(), &self.app.resource())
    }

    /// Lets people of the environment's own namespace change its Environment.
    pub fn environments(&self, client: kube::Client) -> Api<Environment> {
        self.namespace.api(client)
    }
}

/// The application's target as an Environment lists it.
fn target(kind: WorkloadKind, source: FlagSource) -> Value {
    let kind = format!("{kind:?}");
    match source {
        FlagSource::Literal => json!({ "workloadEnv": { "kind": kind, "name": "conduit", "container": "conduit" } }),
        _ => json!({ "configMap": { "name": "conduit-flags", "restarts": [{ "kind": kind, "name": "conduit" }] } }),
    }
}

async fn place(
    home: &Namespace,
    name: &str,
    kind: WorkloadKind,
    source: FlagSource,
    replicas: u32,
    prometheus: &str,
) -> Place {
    let namespace = Namespace::for_environment(name, name).await;
    let app = App::new(&namespace).of_kind(kind).source(source).replicas(replicas);
    app.apply().await.rolled_out().await;
    let cluster = Cluster::shared();
    let environment = json!({
        "apiVersion": "hoist.dev/v1alpha1", "kind": "Environment",
        "metadata": { "name": name, "namespace": namespace.name() },
        "spec": {
            "flags": [{ "name": FLAG, "targets": [target(kind, source)] }],
            "prometheus": { "address": prometheus, "scrapeInterval": "1s" },
            "allowedSchedules": { "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": home.name() } } },
        },
    });
    let admin = cluster.admin().await;
    let environments: Api<Environment> = namespace.api(admin.clone());
    let environment = serde_json::from_value(environment).expect("an Environment");
    environments.create(&PostParams::default(), &environment).await.expect("the Environment is created");
    Place { admin, name: name.to_owned(), namespace, app }
}
