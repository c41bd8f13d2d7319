//! Restarts, the proof of a rollout, and what makes a target or its workload unfit, in sentences.

use std::time::Duration;

use hoist::api::{FlagValue, FlagValues, PlaceKind, WorkloadKind};
use hoist::engine::{FoundWorkload, WorkloadReading};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use serde_json::{Value, json};

use hoist::shell::targets::Carried;

use super::ground::{A, B, Ground, WORKLOADS};
use crate::fixture::eventually;

impl Ground {
    /// The workload with two running pods.
    async fn running(kind: WorkloadKind, flags: &[(&str, &str)]) -> Ground {
        let ground = Ground::with(kind).await;
        ground.create(flags).await;
        ground.run_pods().await;
        ground.rollout_that("two pods", |f| f.complete && f.desired == 2).await;
        ground
    }

    /// How pods that start from now on behave; nothing: well.
    async fn behave(&self, behaviour: Option<&str>) {
        let labels = json!({ "sim.hoist.dev/behaviour": behaviour });
        self.patch(&json!({ "spec": { "template": { "metadata": { "labels": labels } } } })).await;
    }

    async fn rollout(&self) -> FoundWorkload {
        match self.targets.workload(&self.workload()).await.expect("a reading") {
            WorkloadReading::Found(found) => found,
            WorkloadReading::Missing => panic!("{:?} is there", self.kind),
        }
    }

    async fn rollout_that(&self, what: &str, is: impl Fn(&FoundWorkload) -> bool) -> FoundWorkload {
        let what = format!("{:?}: {what}", self.kind);
        eventually(&what, async || {
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
        let pods = api.list(&ListParams::default()).await.expect("pods").items;
        pods.into_iter().filter(|p| p.metadata.deletion_timestamp.is_none()).collect()
    }

    async fn pod_names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.pods().await.iter().map(|p| format!("pod {}", p.metadata.name.clone().unwrap_or_default())).collect();
        names.sort();
        names
    }

    /// The value with which each pod started.
    async fn pod_values(&self, flag: &str) -> Vec<Option<String>> {
        let value = |pod: &Pod| {
            let containers = pod.spec.iter().flat_map(|s| &s.containers);
            containers.flat_map(|c| c.env.iter().flatten()).find(|e| e.name == flag).and_then(|e| e.value.clone())
        };
        self.pods().await.iter().map(value).collect()
    }
}

/// One manager for all restarts would take the other flag's mark away: a rollout that nobody asked for, and a decision
/// that is never proven.
#[tokio::test]
async fn restarts_of_two_flags_do_not_undo_each_other() {
    for kind in WORKLOADS {
        let ground = Ground::with(kind).await;
        ground.apply(&[(A, "false")], &[]).await.expect("applied");
        ground.restart(A, "a1").await.expect("restarted");
        ground.restart(B, "b1").await.expect("restarted");
        ground.restart(A, "a2").await.expect("restarted");
        let marks = |f: &FoundWorkload| f.restarts.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>();
        assert_eq!(marks(&ground.rollout().await), ["FLAG_A=a2", "FLAG_B=b1"], "{kind:?}");

        // A restart that is sent again after a crash restarts nothing.
        let version = ground.version().await;
        ground.restart(A, "a2").await.expect("restarted");
        ground.restart(B, "b1").await.expect("restarted");
        assert_eq!(ground.version().await, version, "{kind:?}");

        for how in [&[][..], &["--server-side", "--force-conflicts"][..]] {
            ground.apply(&[(A, "false")], how).await.expect("applied");
            let told = "an apply by others keeps the marks";
            assert_eq!(marks(&ground.rollout().await), ["FLAG_A=a2", "FLAG_B=b1"], "{kind:?}: {told}");
        }
    }
}

/// The counts in the status belong to an older template until the controller has observed the new one: right after a
/// restart they say that everything is ready.
#[tokio::test]
async fn a_rollout_is_complete_when_every_pod_carries_the_decision_and_not_before() {
    for kind in WORKLOADS {
        let ground = Ground::running(kind, &[(A, "false")]).await;
        for decision in ["d1", "d2", "d3"] {
            ground.restart(A, decision).await.expect("restarted");
            let found = ground.complete().await;
            assert_eq!(found.restarts.get(A).map(String::as_str), Some(decision), "{kind:?}");
            assert_eq!((found.desired, found.ready, found.lagging.len()), (2, 2, 0), "{found:?}");
            for pod in ground.pods().await {
                let mark = pod.metadata.annotations.as_ref().and_then(|a| a.get("restart.hoist.dev/FLAG_A"));
                assert_eq!(mark.map(String::as_str), Some(decision), "{kind:?}");
            }
        }
    }
}

/// All but one pod on the value is not the value.
#[tokio::test]
async fn the_proof_waits_for_the_last_pod() {
    futures::future::join_all(WORKLOADS.map(last_pod)).await;
}

async fn last_pod(kind: WorkloadKind) {
    let ground = Ground::running(kind, &[(A, "false")]).await;
    ground.behave(Some("slow")).await;
    ground.complete().await;
    let armed = ground.armed(A).await;
    ground.raise(&armed, "r1").await;
    let last = ground.rollout_that("one pod left", |f| f.lagging.len() == 1).await;
    assert!(!last.complete && last.ready < 2, "{kind:?}: {last:?}");
    let found = ground.complete().await;
    assert_eq!((found.desired, found.ready, found.lagging.len()), (2, 2, 0), "{found:?}");
    assert_eq!(ground.pod_values(A).await, [Some("true".to_owned()), Some("true".to_owned())], "{kind:?}");
}

/// How many of two pods still run the old value when a new one does not get ready: a Deployment keeps both until then, a
/// StatefulSet has taken one away to make room, a DaemonSet one on a node.
const LEFT: [(WorkloadKind, usize); 3] =
    [(WorkloadKind::Deployment, 2), (WorkloadKind::StatefulSet, 1), (WorkloadKind::DaemonSet, 1)];

#[tokio::test]
async fn pods_that_still_run_the_old_value_are_named() {
    let text = |t: &str| FlagValue::Text(t.into());
    let changed = FlagValues { enabled: text("true"), disabled: text("false") };
    let present = FlagValues { enabled: text("true"), disabled: FlagValue::Absent };
    for (kind, left) in LEFT {
        for values in [None, Some(changed.clone()), Some(present.clone())] {
            let told = format!("{kind:?} {values:?}");
            let ground = Ground::running(kind, &[(A, "true"), (B, "false")]).await;
            let old = ground.pod_names().await;
            let behaviour = json!({ "sim.hoist.dev/behaviour": "never-ready" });
            // In one write with the flag's, so that no rollout of its own begins before.
            let mut container = json!({ "name": "main", "env": [{ "name": A, "value": "false" }] });
            let mut template = json!({ "metadata": { "labels": behaviour } });
            match values.as_ref().map(|v| &v.disabled) {
                None => template["metadata"]["annotations"] = json!({ "restart.hoist.dev/FLAG_A": "b1" }),
                Some(FlagValue::Absent) => container["env"][0] = json!({ "name": A, "$patch": "delete" }),
                Some(FlagValue::Text(_)) => {}
            }
            if values.is_some() {
                template["spec"] = json!({ "containers": [container] });
            }
            ground.patch(&json!({ "spec": { "template": template } })).await;
            let found = ground.rollout_that("a new pod", |f| f.lagging.len() == left).await;
            assert!(found.lagging.iter().all(|p| old.contains(p)), "{told}: {:?} of {old:?}", found.lagging);
            assert_eq!((found.desired, found.ready), (2, 0), "{told}: what is ready is not up to date");
            assert!(!found.complete && found.crashing.is_empty(), "{told}: {found:?}");
            assert_eq!(found.stuck, None, "{told}: it has just begun");
        }
    }
}

/// Only what flags change makes a pod old: a rollout for another reason leaves it on its value.
#[tokio::test]
async fn pods_of_another_template_on_the_same_value_are_not_named() {
    for kind in WORKLOADS {
        let ground = Ground::running(kind, &[(A, "false")]).await;
        ground.behave(Some("never-ready")).await;
        let found = ground.rollout_that("a new pod", |f| !f.complete && f.ready == 0).await;
        assert_eq!(found.lagging, Vec::<String>::new(), "{kind:?}");
        if kind != WorkloadKind::StatefulSet {
            ground.behave(None).await;
            assert_eq!(ground.complete().await.lagging, Vec::<String>::new(), "{kind:?}");
        }
    }
}

#[tokio::test]
async fn crashing_pods_are_named_with_how() {
    for kind in WORKLOADS {
        let ground = Ground::running(kind, &[(A, "false")]).await;
        ground.behave(Some("crash-when-enabled")).await;
        ground.complete().await;
        let armed = ground.armed(A).await;
        ground.raise(&armed, "r1").await;
        let found = ground.rollout_that("a crash", |f| !f.crashing.is_empty()).await;
        assert!(!found.complete, "{kind:?}");
        let crash = &found.crashing[0];
        assert!(
            crash.starts_with("pod app-") && crash.ends_with(" container main is in CrashLoopBackOff"),
            "{kind:?}: {crash}"
        );
        ground.lower(&armed, "b1").await.expect("lowered");
        if kind == WorkloadKind::StatefulSet {
            delete_what_it_waits_for(&ground).await;
        }
        assert_eq!(ground.complete().await.crashing, Vec::<String>::new(), "{kind:?}");
    }
}

/// The StatefulSet controller waits for a broken pod even where the template that broke it is gone: without a word of it
/// the way back would stand still for ever.
async fn delete_what_it_waits_for(ground: &Ground) {
    let told = ["pod app-1 (it is not ready, and its StatefulSet waits for it: delete it)"];
    ground.rollout_that("the pod that it waits for", |f| f.lagging == told).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(ground.rollout().await.lagging, told, "it would come back by itself");
    // Without waiting: kubectl can miss that the pod which is there now is another of the same name.
    ground.kubectl(&["delete", "pod", "app-1", "--wait=false"]).await.expect("deleted");
}

#[tokio::test]
async fn a_paused_deployment_is_blocked_and_a_workload_without_pods_is_complete() {
    let ground = Ground::running(WorkloadKind::Deployment, &[(A, "false")]).await;
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
    for kind in [WorkloadKind::StatefulSet, WorkloadKind::DaemonSet] {
        let ground = Ground::with(kind).await;
        ground.create(&[(A, "false")]).await;
        ground.restart(A, "b1").await.expect("restarted");
        let found = ground.complete().await;
        assert_eq!((found.desired, found.ready, found.unavailable), (0, 0, false), "{kind:?}");
    }
}

/// Taken for a rollout that takes its time, it would be waited for without an end, with the flag up on some pods.
#[tokio::test]
async fn an_update_strategy_that_does_not_roll_all_pods_is_blocked() {
    let strategy = |type_: &str, rolling: Value| json!({ "type": type_, "rollingUpdate": rolling });
    let on_delete = "replaces pods only when they are deleted (its update strategy is OnDelete); set spec.updateStrategy.type to RollingUpdate";
    let partition =
        "keeps its pods below number 1 as they are (spec.updateStrategy.rollingUpdate.partition); set partition to 0";
    let cases = [
        (WorkloadKind::StatefulSet, strategy("OnDelete", Value::Null), 2, on_delete),
        (WorkloadKind::DaemonSet, strategy("OnDelete", Value::Null), 2, on_delete),
        (WorkloadKind::StatefulSet, strategy("RollingUpdate", json!({ "partition": 1 })), 1, partition),
    ];
    for (kind, stopped, left, why) in cases {
        let ground = Ground::running(kind, &[(A, "false")]).await;
        ground.patch(&json!({ "spec": { "updateStrategy": stopped } })).await;
        ground.rollout_that("the strategy", |f| f.blocked.as_deref() == Some(why)).await;
        let armed = ground.armed(A).await;
        ground.raise(&armed, "r1").await;
        ground.rollout_that("the pods that stay", |f| !f.complete && f.lagging.len() == left).await;
        ground
            .patch(&json!({ "spec": { "updateStrategy": strategy("RollingUpdate", json!({ "partition": null })) } }))
            .await;
        let found = ground.complete().await;
        assert_eq!((found.blocked, found.ready), (None, 2), "{kind:?}");
    }
}

/// Too few by the standards of the workload: less than what it leaves when it rolls.
#[tokio::test]
async fn a_workload_that_has_lost_its_pods_is_unavailable() {
    for kind in WORKLOADS {
        let ground = Ground::running(kind, &[(A, "false")]).await;
        assert!(!ground.rollout().await.unavailable, "{kind:?}");
        if kind == WorkloadKind::Deployment {
            let strategy = json!({ "type": "Recreate", "rollingUpdate": null });
            ground.patch(&json!({ "spec": { "strategy": strategy } })).await;
        }
        ground.behave(Some("never-ready")).await;
        ground.rollout_that("a new pod", |f| !f.complete && f.ready == 0).await;
        // The last of those that are ready too.
        ground.kubectl(&["delete", "pods", "-l", "app=app"]).await.expect("deleted");
        let found = ground.rollout_that("too few pods", |f| f.unavailable).await;
        assert_eq!(found.ready, 0, "{kind:?}");
    }
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

    for kind in WORKLOADS {
        let ground = Ground::with(kind).await;
        ground.create(&[(A, "false")]).await;
        assert_eq!(ground.found(A).await.barred, None, "{kind:?}");
        let mut place = ground.place(A);
        place.container = Some("other".into());
        let carried = Carried { flag: A.to_owned(), percent_key: None };
        let reading = ground.targets.read(&place, &carried).await.expect("a reading");
        assert!(format!("{reading:?}").contains("it has no container other"), "{reading:?}");
        ground.refer(A).await;
        let why = "variable FLAG_A takes its value from elsewhere (valueFrom); make that place the target";
        assert_eq!(ground.found(A).await.value, Err(why.to_owned()), "{kind:?}");
        ground.patch(&json!({ "metadata": { "labels": { "hoist.dev/flags": null } } })).await;
        let why = "the workload has not opted in; its owner can label it hoist.dev/flags: allowed";
        assert_eq!(ground.found(A).await.barred.as_deref(), Some(why), "{kind:?}");
    }
}

impl Ground {
    /// Makes a variable a reference to a ConfigMap, by hand.
    pub async fn refer(&self, flag: &str) {
        let reference = json!({ "configMapKeyRef": { "name": "elsewhere", "key": flag } });
        let container = json!({ "name": "main", "env": [{ "name": flag, "value": null, "valueFrom": reference }] });
        self.patch(&json!({ "spec": { "template": { "spec": { "containers": [container] } } } })).await;
    }
}
