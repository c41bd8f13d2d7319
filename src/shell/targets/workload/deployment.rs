//! Deployments: templates are ReplicaSets, and the controller itself says when a rollout has failed.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Face, Origin, controls, count, is_observed, marks};
use crate::engine::{FoundWorkload, WorkloadKey};
use crate::shell::error::Error;
use crate::shell::targets::Targets;

/// Where the Deployment controller numbers templates, on the Deployment and on each ReplicaSet.
const REVISION: &str = "deployment.kubernetes.io/revision";

impl Targets {
    pub(super) async fn deployment(&self, key: &WorkloadKey) -> Result<Option<FoundWorkload>, Error> {
        let Some(deployment) = self.get::<Deployment>(key).await? else { return Ok(None) };
        let mut reading = rollout(&deployment);
        if let Some(spec) = deployment.spec.as_ref().filter(|_| !reading.complete) {
            let (pods, sets) = self.pods::<ReplicaSet>(&key.namespace, &spec.selector).await?;
            let origin = |set: &ReplicaSet| Origin {
                current: is_current(set, &deployment),
                older: set.spec.as_ref().and_then(|s| s.template.as_ref()).map(Face::of)
                    != Some(Face::of(&spec.template)),
            };
            // The ReplicaSet and not the pod is compared, because a pod may carry what an admission webhook put into it.
            count(&pods, |pod| sets.iter().find(|s| controls(&s.metadata, &pod.metadata)).map(origin), &mut reading);
        }
        Ok(Some(reading))
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
    let stuck = condition("Progressing").is_some_and(|c| c.reason.as_deref() == Some("ProgressDeadlineExceeded"));
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
        stuck: stuck.then(|| "made no progress within its progressDeadlineSeconds".to_owned()),
        blocked: paused.then(|| "is paused (spec.paused), so no rollout happens".to_owned()),
        restarts: marks(&spec.template),
        crashing: Vec::new(),
        lagging: Vec::new(),
    }
}

fn observed(deployment: &Deployment) -> bool {
    is_observed(&deployment.metadata, deployment.status.as_ref().and_then(|s| s.observed_generation))
}

/// Whether a ReplicaSet is that of the template that is there now.
fn is_current(set: &ReplicaSet, deployment: &Deployment) -> bool {
    let revision = |m: &ObjectMeta| m.annotations.as_ref().and_then(|a| a.get(REVISION)).cloned();
    observed(deployment) && revision(&set.metadata).is_some_and(|r| Some(r) == revision(&deployment.metadata))
}
