//! Reading a workload: is its rollout complete, and on which value do its pods run?

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use kube::api::{Api, ListParams};

use crate::engine::{FoundWorkload, WorkloadKey, WorkloadReading};

use super::{RESTART_PREFIX, Targets};
use crate::shell::error::{CALL, Error, found, within};

/// The most pods that are looked at when a rollout is not complete.
const MOST_PODS: u32 = 500;

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
        let Some(spec) = &deployment.spec else { return Ok(()) };
        let labels: Vec<String> =
            spec.selector.match_labels.iter().flatten().map(|(name, value)| format!("{name}={value}")).collect();
        if labels.is_empty() {
            return Ok(());
        }
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let params = ListParams::default().labels(&labels.join(",")).limit(MOST_PODS);
        for pod in within("list a workload's pods", CALL, api.list(&params)).await? {
            if pod.metadata.deletion_timestamp.is_some() {
                continue;
            }
            let name = pod.metadata.name.clone().unwrap_or_default();
            if is_older(&pod, &spec.template) {
                reading.lagging.push(format!("pod {name}"));
            } else if let Some(how) = crash(&pod) {
                reading.crashing.push(format!("pod {name} {how}"));
            }
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
    let observed = status.observed_generation.unwrap_or(0) >= deployment.metadata.generation.unwrap_or(0);
    let (total, updated, ready) =
        (count(status.replicas), count(status.updated_replicas), count(status.ready_replicas));
    let condition = |type_: &str| status.conditions.iter().flatten().find(|c| c.type_ == type_);
    let paused = spec.paused == Some(true);
    FoundWorkload {
        complete: observed
            && updated == desired
            && ready == desired
            && total == desired
            && count(status.available_replicas) == desired,
        desired,
        ready: updated.min(ready),
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

/// Whether a pod was made from an older template, as far as flags go: its restart marks or its variables differ.
fn is_older(pod: &Pod, template: &PodTemplateSpec) -> bool {
    let wanted = marks(template);
    let annotations = pod.metadata.annotations.clone().unwrap_or_default();
    let marked =
        wanted.iter().all(|(flag, decision)| annotations.get(&format!("{RESTART_PREFIX}{flag}")) == Some(decision));
    let env = |spec: Option<&k8s_openapi::api::core::v1::PodSpec>| {
        let containers = spec.into_iter().flat_map(|s| &s.containers);
        containers.map(|c| (c.name.clone(), c.env.clone().unwrap_or_default())).collect::<BTreeMap<_, _>>()
    };
    let (has, wants) = (env(pod.spec.as_ref()), env(template.spec.as_ref()));
    !marked || wants.iter().any(|(name, vars)| has.get(name).is_some_and(|h| !vars.iter().all(|v| h.contains(v))))
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
