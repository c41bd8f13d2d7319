//! Restarts, the proof of a rollout, and what makes a target or its workload unfit, in sentences.

use hoist::api::{FlagValue, FlagValues, PlaceKind};
use hoist::engine::{FoundWorkload, WorkloadReading};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use serde_json::{Value, json};

use super::ground::{A, B, Ground};
use crate::fixture::eventually;

impl Ground {
    /// The Deployment with running pods.
    async fn running(flags: &[(&str, &str)]) -> Ground {
        let ground = Ground::of(PlaceKind::WorkloadEnv).await;
        ground.create(flags).await;
        ground.patch(&json!({ "spec": { "replicas": 2 } })).await;
        ground.complete().await;
        ground
    }

    async fn patch(&self, patch: &Value) {
        let resource = if self.kind == PlaceKind::ConfigMap { "configmap" } else { "deployment" };
        self.kubectl(&["patch", resource, "app", "-p", &patch.to_string()]).await.expect("patched");
    }

    /// How pods that start from now on behave; nothing: well.
    async fn behave(&self, behaviour: Option<&str>) {
        let labels = json!({ "sim.hoist.dev/behaviour": behaviour });
        self.patch(&json!({ "spec": { "template": { "metadata": { "labels": labels } } } })).await;
    }

    async fn rollout(&self) -> FoundWorkload {
        match self.targets.workload(&self.workload()).await.expect("a reading") {
            WorkloadReading::Found(found) => found,
            WorkloadReading::Missing => panic!("the Deployment is there"),
        }
    }

    async fn rollout_that(&self, what: &str, is: impl Fn(&FoundWorkload) -> bool) -> FoundWorkload {
        eventually(what, async || {
            let found = self.rollout().await;
            if is(&found) { Ok(found) } else { Err(format!("{found:?}")) }
        })
        .await
    }

    async fn complete(&self) -> FoundWorkload {
        self.rollout_that("a complete rollout", |f| f.complete).await
    }

    async fn pods(&self) -> Vec<Pod> {
        let api: Api<Pod> = Api::namespaced(self.client(), &self.workload().namespace);
        api.list(&ListParams::default()).await.expect("pods").items
    }

    async fn pod_names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.pods().await.iter().map(|p| format!("pod {}", p.metadata.name.clone().unwrap_or_default())).collect();
        names.sort();
        names
    }
}

/// One manager for all restarts would take the other flag's mark away: a rollout that nobody asked for, and a decision
/// that is never proven.
#[tokio::test]
async fn restarts_of_two_flags_do_not_undo_each_other() {
    let ground = Ground::of(PlaceKind::WorkloadEnv).await;
    ground.apply(&[(A, "false")], &[]).await.expect("applied");
    ground.restart(A, "a1").await.expect("restarted");
    ground.restart(B, "b1").await.expect("restarted");
    ground.restart(A, "a2").await.expect("restarted");
    let marks = |f: &FoundWorkload| f.restarts.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>();
    assert_eq!(marks(&ground.rollout().await), ["FLAG_A=a2", "FLAG_B=b1"]);

    // A restart that is sent again after a crash restarts nothing.
    let version = ground.version().await;
    ground.restart(A, "a2").await.expect("restarted");
    ground.restart(B, "b1").await.expect("restarted");
    assert_eq!(ground.version().await, version);

    for how in [&[][..], &["--server-side", "--force-conflicts"][..]] {
        ground.apply(&[(A, "false")], how).await.expect("applied");
        assert_eq!(marks(&ground.rollout().await), ["FLAG_A=a2", "FLAG_B=b1"], "an apply by others keeps the marks");
    }
}

/// The counts in the status belong to an older template until the controller has observed the new one: right after a
/// restart they say that everything is ready.
#[tokio::test]
async fn a_rollout_is_complete_when_every_pod_carries_the_decision_and_not_before() {
    let ground = Ground::running(&[(A, "false")]).await;
    for decision in ["d1", "d2", "d3"] {
        ground.restart(A, decision).await.expect("restarted");
        let found = ground.complete().await;
        assert_eq!(found.restarts.get(A).map(String::as_str), Some(decision));
        assert_eq!((found.desired, found.ready, found.lagging.len()), (2, 2, 0), "{found:?}");
        for pod in ground.pods().await.iter().filter(|p| p.metadata.deletion_timestamp.is_none()) {
            let mark = pod.metadata.annotations.as_ref().and_then(|a| a.get("restart.hoist.dev/FLAG_A"));
            assert_eq!(mark.map(String::as_str), Some(decision));
        }
    }
}

#[tokio::test]
async fn pods_that_still_run_the_old_value_are_named() {
    let present = FlagValues { enabled: FlagValue::Text("true".into()), disabled: FlagValue::Absent };
    for (values, by_restart) in [(None, true), (None, false), (Some(present), false)] {
        let told = format!("{values:?}, restarted: {by_restart}");
        let ground = Ground::running(&[(A, "true"), (B, "false")]).await;
        let old = ground.pod_names().await;
        // New pods never get ready, so the old ones stay. The change of the template that brings this is not the flag's.
        let armed = match values {
            Some(values) => ground.armed_with(A, values).await,
            None => ground.armed(A).await,
        };
        ground.behave(Some("never-ready")).await;
        if by_restart {
            ground.restart(A, "b1").await.expect("restarted");
        } else {
            ground.lower(&armed, "b1").await.expect("lowered");
        }
        let surplus = ground.rollout_that("a new pod", |f| f.lagging.len() == 2).await;
        let mut lagging = surplus.lagging.clone();
        lagging.sort();
        assert!(lagging.iter().all(|p| old.contains(p)), "{told}: {lagging:?} of {old:?}");
        assert_eq!((surplus.desired, surplus.ready), (2, 0), "{told}: what is ready is not up to date");
        assert!(!surplus.complete && surplus.crashing.is_empty(), "{told}: {surplus:?}");
        ground.behave(None).await;
        assert_eq!(ground.complete().await.lagging, Vec::<String>::new(), "{told}");
    }
}

#[tokio::test]
async fn crashing_pods_are_named_with_how() {
    let ground = Ground::running(&[(A, "false")]).await;
    ground.behave(Some("crash-when-enabled")).await;
    ground.complete().await;
    let armed = ground.armed(A).await;
    ground.raise(&armed, "r1").await;
    let found = ground.rollout_that("a crash", |f| !f.crashing.is_empty()).await;
    assert!(!found.complete);
    let crash = &found.crashing[0];
    assert!(crash.starts_with("pod app-") && crash.ends_with(" container main is in CrashLoopBackOff"), "{crash}");
    ground.lower(&armed, "b1").await.expect("lowered");
    assert_eq!(ground.complete().await.crashing, Vec::<String>::new());
}

#[tokio::test]
async fn a_paused_deployment_is_blocked_and_one_without_replicas_is_complete() {
    let ground = Ground::running(&[(A, "false")]).await;
    ground.patch(&json!({ "spec": { "paused": true } })).await;
    let armed = ground.armed(A).await;
    ground.lower(&armed, "b1").await.expect("lowered");
    ground.restart(A, "b1").await.expect("restarted");
    let found = ground.rollout_that("its old pods", |f| f.lagging.len() == 2).await;
    assert_eq!(found.blocked.as_deref(), Some("is paused (spec.paused), so no rollout happens"));
    assert!(!found.complete, "{found:?}");
    ground.patch(&json!({ "spec": { "paused": false, "replicas": 0 } })).await;
    let found = ground.complete().await;
    assert_eq!((found.desired, found.ready, found.blocked), (0, 0, None));
}

/// Each of these would be refused by the API server, or written without effect, only after the flip was decided.
#[tokio::test]
async fn a_target_that_cannot_be_written_says_why() {
    let ground = Ground::of(PlaceKind::ConfigMap).await;
    ground.create(&[(A, "false")]).await;
    ground.patch(&json!({ "immutable": true })).await;
    assert_eq!(
        ground.found(A).await.value,
        Err("the ConfigMap is immutable, so its keys cannot be written".to_owned())
    );

    let ground = Ground::of(PlaceKind::WorkloadEnv).await;
    ground.create(&[(A, "false")]).await;
    let mut place = ground.place(A);
    place.container = Some("other".into());
    let reading = ground.targets.read(&place, A).await.expect("a reading");
    assert!(format!("{reading:?}").contains("it has no container other"), "{reading:?}");
    ground.refer(A).await;
    let why = "variable FLAG_A takes its value from elsewhere (valueFrom); make that place the target";
    assert_eq!(ground.found(A).await.value, Err(why.to_owned()));
    ground.patch(&json!({ "metadata": { "labels": { "hoist.dev/flags": null } } })).await;
    let why = "the workload has not opted in; its owner can label it hoist.dev/flags: allowed";
    assert_eq!(ground.found(A).await.barred.as_deref(), Some(why));
}

impl Ground {
    /// Makes a variable a reference to a ConfigMap, by hand.
    pub async fn refer(&self, flag: &str) {
        let reference = json!({ "configMapKeyRef": { "name": "elsewhere", "key": flag } });
        let container = json!({ "name": "main", "env": [{ "name": flag, "value": null, "valueFrom": reference }] });
        self.patch(&json!({ "spec": { "template": { "spec": { "containers": [container] } } } })).await;
    }
}
