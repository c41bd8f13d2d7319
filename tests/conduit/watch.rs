//! Follows the cluster: pods, the namespaces' labels and the ConfigMaps that say how pods behave.

use std::task::Context;

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use kube::api::{Patch, PatchParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::traffic::Behaviour;
use crate::{Shared, environment, hold};

/// The label by which a pod chooses how it fares (see `tests/env/stages.yaml`).
const BEHAVIOUR_LABEL: &str = "sim.hoist.dev/behaviour";

pub async fn namespaces(client: Client, world: Shared) -> anyhow::Result<()> {
    let mut events = follow::<Namespace>(Api::all(client), watcher::Config::default())?;
    while let Some(event) = events.next().await {
        let (namespace, exists) = match &event {
            Event::Apply(namespace) | Event::InitApply(namespace) => (namespace, true),
            Event::Delete(namespace) => (namespace, false),
            Event::Init | Event::InitDone => continue,
        };
        let environment = namespace.labels().get("environment").filter(|_| exists);
        hold(&world).set_environment(&namespace.name_any(), environment);
    }
    Ok(())
}

pub async fn behaviours(client: Client, world: Shared) -> anyhow::Result<()> {
    let selected = watcher::Config::default().fields("metadata.name=conduit-behaviour");
    let mut events = follow::<ConfigMap>(Api::all(client), selected)?;
    while let Some(event) = events.next().await {
        let (map, behaviour) = match &event {
            Event::Apply(map) | Event::InitApply(map) => {
                (map, Some(Behaviour::read(&map.data.clone().unwrap_or_default())))
            }
            Event::Delete(map) => (map, None),
            Event::Init | Event::InitDone => continue,
        };
        hold(&world).set_behaviour(&map.namespace().unwrap_or_default(), behaviour);
    }
    Ok(())
}

pub async fn pods(client: Client, world: Shared) -> anyhow::Result<()> {
    let mut events = follow::<Pod>(Api::all(client.clone()), watcher::Config::default().labels("app=conduit"))?;
    let mut listed = Vec::new();
    while let Some(event) = events.next().await {
        match event {
            Event::Init => listed.clear(),
            Event::InitApply(pod) => {
                listed.extend(pod.uid());
                take(&pod, &client, &world);
            }
            // Pods may have gone while nobody watched.
            Event::InitDone => hold(&world).keep_only(&listed),
            Event::Apply(pod) => take(&pod, &client, &world),
            Event::Delete(pod) => hold(&world).end(&pod.uid().unwrap_or_default()),
        }
    }
    Ok(())
}

/// Takes in what is known about a pod now; the first time that it is seen running fixes its environment variables.
fn take(pod: &Pod, client: &Client, world: &Shared) {
    let uid = pod.uid().unwrap_or_default();
    if has_started(pod) && hold(world).begin(&uid) {
        // Beside the watch: where the API server is slow, one pod's start must not delay what is seen of the others.
        tokio::spawn(start(pod.clone(), client.clone(), world.clone()));
    }
    hold(world).set_ready(&uid, is_ready(pod));
}

async fn start(pod: Pod, client: Client, world: Shared) {
    let variables = environment::of(&pod, &client).await;
    let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
    hold(&world).start(&pod.uid().unwrap_or_default(), &namespace, &name, variables.clone());
    let behaviour = hold(&world).behaviour(&namespace);
    if crashes_when_enabled(&pod) && behaviour.is_enabled(&variables) {
        announce_enabled(&pod, &client).await;
    }
}

/// A pod that may crash is looked at as soon as it has a node: it decides before it runs.
fn has_started(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let placed = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
    phase == Some("Running") || (placed && crashes_when_enabled(pod))
}

fn crashes_when_enabled(pod: &Pod) -> bool {
    pod.labels().get(BEHAVIOUR_LABEL).is_some_and(|behaviour| behaviour == "crash-when-enabled")
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    ready && pod.metadata.deletion_timestamp.is_none()
}

/// Tells whoever plays the pod that its flag is on: from a ConfigMap, that cannot be seen in the pod itself.
async fn announce_enabled(pod: &Pod, client: &Client) {
    let api: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    let patch = Patch::Merge(json!({ "metadata": { "annotations": { "sim.hoist.dev/enabled": "true" } } }));
    if let Err(error) = api.patch(&pod.name_any(), &PatchParams::default(), &patch).await {
        eprintln!("pod {}: {error}", pod.name_any());
    }
}

/// A watch that goes on after errors, which it reports, and that lists everything anew on SIGHUP.
fn follow<K>(api: Api<K>, selected: watcher::Config) -> anyhow::Result<impl Stream<Item = Event<K>> + Unpin>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
    K::DynamicType: Default,
{
    let begin = move || Box::pin(watcher(api.clone(), selected.clone()).default_backoff());
    let mut called = signal(SignalKind::hangup())?;
    let mut events = begin();
    let next = move |context: &mut Context<'_>| {
        while called.poll_recv(context).is_ready() {
            events = begin();
        }
        events.poll_next_unpin(context)
    };
    let events = futures::stream::poll_fn(next);
    Ok(Box::pin(events.filter_map(|event| async { event.map_err(|error| eprintln!("watch: {error}")).ok() })))
}
