//! StatefulSets: one pod after the other, from the last to the first.

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::Pod;

use super::revisions::{Revisions, stuck};
use super::{count, is_observed, is_ready, marks, too_few};
use crate::engine::{FoundWorkload, WorkloadKey};
use crate::shell::clock;
use crate::shell::error::Error;
use crate::shell::targets::Targets;

impl Targets {
    pub(super) async fn stateful_set(&self, key: &WorkloadKey) -> Result<Option<FoundWorkload>, Error> {
        let Some(set) = self.get::<StatefulSet>(key).await? else { return Ok(None) };
        let mut reading = rollout(&set);
        if let Some(spec) = set.spec.as_ref().filter(|_| !reading.complete) {
            let (pods, made) = self.pods::<ControllerRevision>(&key.namespace, &spec.selector).await?;
            let revisions = Revisions::of(&set.metadata, &spec.template, is_seen(&set), &made);
            count(&pods, |pod| revisions.origin(pod), &mut reading);
            reading.stuck = stuck(&pods, &revisions, spec.min_ready_seconds, clock::now());
            if spec.pod_management_policy.as_deref() != Some("Parallel") {
                let broken = |pod: &&Pod| revisions.origin(pod).is_some_and(|o| o.older) && !is_ready(pod);
                waits_for(pods.iter().filter(broken), &mut reading);
            }
        }
        Ok(Some(reading))
    }
}

/// The controller goes no further while a pod is not ready, not even where a newer template would mend that pod.
fn waits_for<'a>(broken: impl Iterator<Item = &'a Pod>, reading: &mut FoundWorkload) {
    for pod in broken {
        let name = format!("pod {}", pod.metadata.name.as_deref().unwrap_or_default());
        if let Some(told) = reading.lagging.iter_mut().find(|l| **l == name) {
            told.push_str(" (it is not ready, and its StatefulSet waits for it: delete it)");
        }
    }
}

/// The rollout as `kubectl rollout status` judges it.
fn rollout(set: &StatefulSet) -> FoundWorkload {
    let spec = set.spec.clone().unwrap_or_default();
    let status = set.status.clone().unwrap_or_default();
    let desired = spec.replicas.unwrap_or(1);
    let (updated, ready) = (status.updated_replicas.unwrap_or(0), status.ready_replicas.unwrap_or(0));
    let available = status.available_replicas.unwrap_or(0);
    let strategy = spec.update_strategy.unwrap_or_default();
    let rolling = strategy.rolling_update.unwrap_or_default();
    FoundWorkload {
        generation: set.metadata.generation.unwrap_or(0),
        complete: is_seen(set)
            && status.update_revision == status.current_revision
            && [updated, ready, status.replicas, available] == [desired; 4],
        desired,
        ready,
        unavailable: too_few(available, desired, rolling.max_unavailable.as_ref()),
        stuck: None,
        blocked: blocked(strategy.type_.as_deref(), rolling.partition),
        restarts: marks(&spec.template),
        crashing: Vec::new(),
        lagging: Vec::new(),
    }
}

fn blocked(strategy: Option<&str>, partition: Option<i32>) -> Option<String> {
    match (strategy, partition) {
        (Some("OnDelete"), _) => Some(super::revisions::ON_DELETE.to_owned()),
        (_, Some(first)) if first > 0 => Some(format!(
            "keeps its pods below number {first} as they are (spec.updateStrategy.rollingUpdate.partition); set partition to 0"
        )),
        _ => None,
    }
}

fn is_seen(set: &StatefulSet) -> bool {
    is_observed(&set.metadata, set.status.as_ref().and_then(|s| s.observed_generation))
}
