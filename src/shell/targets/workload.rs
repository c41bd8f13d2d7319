//! Reading a workload: is its rollout complete, and on which value do its pods run?

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, ListParams};
use kube::core::Selector;

use crate::engine::{FoundWorkload, WorkloadKey, WorkloadReading};

use super::{RESTART_PREFIX, Targets};
use crate::shell::error::{CALL, Error, found, within};

/// The most pods that are looked at when a rollout is not complete.
const MOST_PODS: u32 = 500;

/// Where the Deployment controller numbers templates, on the Deployment and on each ReplicaSet.
const REVISION: &str = "deployment.kubernetes.io/revision";

/// From this many restarts on, a container that is not ready counts as crashing.
const CRASHES: i32 = 3;

impl Targets {
    /// Reads a workload, and its pods where the rollout is not complete.
    pub async fn workload(&self, key: &WorkloadKey) -> Result<WorkloadReading, Error> {
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), &key.namespace);
        let Some(deployment) = found(within("read a workload", CALL, api.get(&key.workload.name)).await)? else {
            return Ok(WorkloadReading::Missing);
        };
        let mut reading = rollout(&deployment);
        if !reading.complete {
            self.pods(&key.namespace, &deployment, &mut reading).await?;
        }
        Ok(WorkloadReading::Found(reading))
    }

    async fn pods(&self, namespace: &str, deployment: &Deployment, reading: &mut FoundWorkload) -> Result<(), Error> {
        let selector = deployment.spec.as_ref().and_then(|s| Selector::try_from(s.selector.clone()).ok());
        let Some(selector) = selector else { return Ok(()) };
        let params = ListParams::default().labels_from(&selector);
        let (pods, sets): (Api<Pod>, Api<ReplicaSet>) =
            (Api::namespaced(self.client.clone(), namespace), Api::namespaced(self.client.clone(), namespace));
        let pods = within("list a workload's pods", CALL, pods.list(&params.clone().limit(MOST_PODS))).await?;
        // After the pods: a pod's ReplicaSet is there before it.
        let sets = within("list a workload's ReplicaSets", CALL, sets.list(&params)).await?;
        reading.ready = 0;
        for pod in pods.items.iter().filter(|p| p.metadata.deletion_timestamp.is_none()) {
            let Some(set) = sets.items.iter().find(|s| controls(&s.metadata, &pod.metadata)) else { continue };
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            if is_older(set, deployment) {
                reading.lagging.push(format!("pod {name}"));
            } else if let Some(how) = crash(pod) {
                reading.crashing.push(format!("pod {name} {how}"));
            }
            reading.ready += i32::from(is_current(set, deployment) && is_ready(pod));
        }
        Ok(())
    }
}

/// The rollout as `kubectl rollout status` judges it.
fn rollout(deployment: &Deployment) -> FoundWorkload {
    let spec = deployment.spec.clone().unwrap_or_default();
    let status = deployment.status.clone().unwrap_or_default();
    let desired = spec.replicas.unwrap_or(1);
    let count = |n: Option<i32>| n.unwrap_or(0);
    let (total, updated, ready) =
        (count(status.replicas), count(status.updated_replicas), count(status.ready_replicas));
    let condition = |type_: &str| status.conditions.iter().flatten().find(|c| c.type_ == type_);
    let paused = spec.paused == Some(true);
    FoundWorkload {
        generation: deployment.metadata.generation.unwrap_or(0),
        complete: observed(deployment)
            && updated == desired
            && ready == desired
            && total == desired
            && count(status.available_replicas) == desired,
        desired,
        ready,
        unavailable: condition("Available").is_some_and(|c| c.status == "False"),
        stuck: condition("Progressing").is_some_and(|c| c.reason.as_deref() == Some("ProgressDeadlineExceeded")),
        blocked: paused.then(|| "is paused (spec.paused), so no rollout happens".to_owned()),
        restarts: marks(&spec.template),
        crashing: Vec::new(),
        lagging: Vec::new(),
    }
}

fn marks(template: &PodTemplateSpec) -> BTreeMap<String, String> {
    let annotations = template.metadata.as_ref().and_then(|m| m.annotations.as_ref());
    let mark = |(name, value): (&String, &String)| Some((name.strip_prefix(RESTART_PREFIX)?.to_owned(), value.clone()));
    annotations.into_iter().flatten().filter_map(mark).collect()
}

/// Whether the Deployment controller has seen the template that is there now.
fn observed(deployment: &Deployment) -> bool {
    let seen = deployment.status.as_ref().and_then(|s| s.observed_generation);
    seen.unwrap_or(0) >= deployment.metadata.generation.unwrap_or(0)
}

fn controls(owner: &ObjectMeta, owned: &ObjectMeta) -> bool {
    let references = owned.owner_references.iter().flatten();
    references.filter(|r| r.controller == Some(true)).any(|r| Some(&r.uid) == owner.uid.as_ref())
}

/// Whether a ReplicaSet is that of the template that is there now.
fn is_current(set: &ReplicaSet, deployment: &Deployment) -> bool {
    let revision = |m: &ObjectMeta| m.annotations.as_ref().and_then(|a| a.get(REVISION)).cloned();
    observed(deployment) && revision(&set.metadata).is_some_and(|r| Some(r) == revision(&deployment.metadata))
}

/// Whether a ReplicaSet's pods are on an older value, as far as flags go: their restart marks or variables differ. The
/// ReplicaSet and not the pod is compared, because a pod may carry what an admission webhook put into it.
fn is_older(set: &ReplicaSet, deployment: &Deployment) -> bool {
    let set = set.spec.as_ref().and_then(|s| s.template.as_ref());
    let wanted = deployment.spec.as_ref().map(|s| &s.template);
    let variables = |template: Option<&PodTemplateSpec>| {
        let containers = template.and_then(|t| t.spec.as_ref()).into_iter().flat_map(|s| &s.containers);
        containers.map(|c| (c.name.clone(), c.env.clone().unwrap_or_default())).collect::<BTreeMap<_, _>>()
    };
    set.map(marks) != wanted.map(marks) || variables(set) != variables(wanted)
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
    conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True")
}

fn crash(pod: &Pod) -> Option<String> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    statuses.iter().find_map(|s| {
        let waiting = s.state.as_ref().and_then(|st| st.waiting.as_ref()).and_then(|w| w.reason.as_deref());
        match waiting {
            Some(
                reason @ ("CrashLoopBackOff" | "ImagePullBackOff" | "ErrImagePull" | "CreateContainerConfigError"),
            ) => Some(format!("container {} is in {reason}", s.name)),
            _ if !s.ready && s.restart_count >= CRASHES => {
                Some(format!("container {} has restarted {} times", s.name, s.restart_count))
            }
            _ => None,
        }
    })
}
