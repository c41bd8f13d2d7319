//! Reading a workload: is its rollout complete, and on which value do its pods run?

mod daemon_set;
mod deployment;
mod revisions;
mod stateful_set;

use std::collections::BTreeMap;
use std::fmt::Debug;

use k8s_openapi::api::core::v1::{EnvVar, Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{Api, ListParams};
use kube::core::{NamespaceResourceScope, Resource, Selector};
use serde::de::DeserializeOwned;

use crate::api::WorkloadKind;
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
        let reading = match key.workload.kind {
            WorkloadKind::Deployment => self.deployment(key).await?,
            WorkloadKind::StatefulSet => self.stateful_set(key).await?,
            WorkloadKind::DaemonSet => self.daemon_set(key).await?,
        };
        Ok(reading.map_or(WorkloadReading::Missing, WorkloadReading::Found))
    }

    async fn get<K>(&self, key: &WorkloadKey) -> Result<Option<K>, Error>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), &key.namespace);
        found(within("read a workload", CALL, api.get(&key.workload.name)).await)
    }

    /// A workload's pods and, listed after them, what they were made from: that is there before them.
    async fn pods<K>(&self, namespace: &str, labels: &LabelSelector) -> Result<(Vec<Pod>, Vec<K>), Error>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let Ok(selector) = Selector::try_from(labels.clone()) else { return Ok((Vec::new(), Vec::new())) };
        let params = ListParams::default().labels_from(&selector);
        let (pods, sources): (Api<Pod>, Api<K>) =
            (Api::namespaced(self.client.clone(), namespace), Api::namespaced(self.client.clone(), namespace));
        let pods = within("list a workload's pods", CALL, pods.list(&params.clone().limit(MOST_PODS))).await?;
        let sources = within("list what a workload's pods were made from", CALL, sources.list(&params)).await?;
        Ok((pods.items, sources.items))
    }
}

/// What a pod was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Origin {
    /// Whether that is the template that is there now.
    current: bool,
    /// Whether that is on an older value, as far as flags go.
    older: bool,
}

/// Takes the pods into a reading. A pod whose origin is not known is not the workload's.
fn count(pods: &[Pod], origin: impl Fn(&Pod) -> Option<Origin>, reading: &mut FoundWorkload) {
    reading.ready = 0;
    for pod in pods.iter().filter(|p| p.metadata.deletion_timestamp.is_none()) {
        let Some(origin) = origin(pod) else { continue };
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        if origin.older {
            reading.lagging.push(format!("pod {name}"));
        } else if let Some(how) = crash(pod) {
            reading.crashing.push(format!("pod {name} {how}"));
        }
        reading.ready += i32::from(origin.current && is_ready(pod));
    }
}

/// What flags change of a template.
#[derive(Debug, PartialEq)]
struct Face {
    marks: BTreeMap<String, String>,
    variables: BTreeMap<String, Vec<EnvVar>>,
}

impl Face {
    fn of(template: &PodTemplateSpec) -> Self {
        let containers = template.spec.iter().flat_map(|s| &s.containers);
        let variables = containers.map(|c| (c.name.clone(), c.env.clone().unwrap_or_default())).collect();
        Self { marks: marks(template), variables }
    }
}

fn marks(template: &PodTemplateSpec) -> BTreeMap<String, String> {
    let annotations = template.metadata.as_ref().and_then(|m| m.annotations.as_ref());
    let mark = |(name, value): (&String, &String)| Some((name.strip_prefix(RESTART_PREFIX)?.to_owned(), value.clone()));
    annotations.into_iter().flatten().filter_map(mark).collect()
}

/// Whether the workload's controller has seen the template that is there now.
fn is_observed(metadata: &ObjectMeta, seen: Option<i64>) -> bool {
    seen.unwrap_or(0) >= metadata.generation.unwrap_or(0)
}

fn controls(owner: &ObjectMeta, owned: &ObjectMeta) -> bool {
    let references = owned.owner_references.iter().flatten();
    references.filter(|r| r.controller == Some(true)).any(|r| Some(&r.uid) == owner.uid.as_ref())
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

/// Whether fewer pods are available than a rollout that keeps to its bound ever leaves. A bound that lets all of them go
/// is no reason to call none enough.
fn too_few(available: i32, desired: i32, most_unavailable: Option<&IntOrString>) -> bool {
    let gone = match most_unavailable {
        None => 1,
        Some(IntOrString::Int(n)) => *n,
        Some(IntOrString::String(text)) => share(text, desired),
    };
    available < desired.saturating_sub(gone).max(1).min(desired)
}

/// A percentage of the pods, rounded up as the controllers do.
fn share(text: &str, of: i32) -> i32 {
    let percent = text.strip_suffix('%').and_then(|n| n.parse::<i32>().ok()).unwrap_or(0);
    percent.saturating_mul(of).saturating_add(99) / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_is_fewer_than_a_rollout_leaves_and_none_is_never_enough() {
        let part = |text: &str| Some(IntOrString::String(text.to_owned()));
        for (available, desired, bound, few) in [
            (3, 3, None, false),
            (2, 3, None, false),
            (1, 3, None, true),
            (0, 1, None, true),
            (0, 0, None, false),
            (7, 10, Some(IntOrString::Int(3)), false),
            (6, 10, Some(IntOrString::Int(3)), true),
            (9, 10, Some(IntOrString::Int(0)), true),
            // A quarter of ten is three, rounded up.
            (7, 10, part("25%"), false),
            (6, 10, part("25%"), true),
            (1, 10, part("100%"), false),
            (0, 10, part("100%"), true),
        ] {
            assert_eq!(too_few(available, desired, bound.as_ref()), few, "{available} of {desired}, {bound:?}");
        }
    }
}
