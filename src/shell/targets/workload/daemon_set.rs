//! DaemonSets: a pod on every node that is meant.

use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet};

use super::revisions::{ON_DELETE, Revisions, stuck};
use super::{count, is_observed, marks, too_few};
use crate::engine::{FoundWorkload, WorkloadKey};
use crate::shell::clock;
use crate::shell::error::Error;
use crate::shell::targets::Targets;

impl Targets {
    pub(super) async fn daemon_set(&self, key: &WorkloadKey) -> Result<Option<FoundWorkload>, Error> {
        let Some(set) = self.get::<DaemonSet>(key).await? else { return Ok(None) };
        let mut reading = rollout(&set);
        if let Some(spec) = set.spec.as_ref().filter(|_| !reading.complete) {
            let (pods, made) = self.pods::<ControllerRevision>(&key.namespace, &spec.selector).await?;
            let revisions = Revisions::of(&set.metadata, &spec.template, is_seen(&set), &made);
            count(&pods, |pod| revisions.origin(pod), &mut reading);
            reading.stuck = stuck(&pods, &revisions, spec.min_ready_seconds, clock::now());
        }
        Ok(Some(reading))
    }
}

/// The rollout as `kubectl rollout status` judges it. How many pods are wanted is what the controller has counted.
fn rollout(set: &DaemonSet) -> FoundWorkload {
    let spec = set.spec.clone().unwrap_or_default();
    let status = set.status.clone().unwrap_or_default();
    let desired = status.desired_number_scheduled;
    let (updated, available) = (status.updated_number_scheduled.unwrap_or(0), status.number_available.unwrap_or(0));
    let strategy = spec.update_strategy.unwrap_or_default();
    let rolling = strategy.rolling_update.unwrap_or_default();
    FoundWorkload {
        generation: set.metadata.generation.unwrap_or(0),
        complete: is_seen(set)
            && [status.current_number_scheduled, updated, status.number_ready, available] == [desired; 4],
        desired,
        ready: status.number_ready,
        unavailable: too_few(available, desired, rolling.max_unavailable.as_ref()),
        stuck: None,
        blocked: (strategy.type_.as_deref() == Some("OnDelete")).then(|| ON_DELETE.to_owned()),
        restarts: marks(&spec.template),
        crashing: Vec::new(),
        lagging: Vec::new(),
    }
}

fn is_seen(set: &DaemonSet) -> bool {
    is_observed(&set.metadata, set.status.as_ref().and_then(|s| s.observed_generation))
}
