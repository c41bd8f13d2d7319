//! Targets: where flags are read, raised, lowered, sealed, and how a rollout is proven.
//!
//! Serves the write contract: one field manager per flag and concern; every write carries the target's uid; a raise
//! also carries the version that was read; a lowering carries none and always forces; a seal changes the stamp alone.

mod fields;
mod read;
mod workload;
mod write;

pub use read::Carried;

use std::time::Duration;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject};

use super::error::{Error, within};
use super::linger::{Room, lingering};
use crate::api::{PlaceKind, TargetPlace, WorkloadKind};

/// The annotation that carries a flag's stamp, on the object's own metadata.
pub fn stamp_annotation(flag: &str) -> String {
    format!("stamp.hoist.dev/{flag}")
}

/// The annotation that carries a flag's last restart, on the pod template.
pub fn restart_annotation(flag: &str) -> String {
    format!("{RESTART_PREFIX}{flag}")
}

const RESTART_PREFIX: &str = "restart.hoist.dev/";

/// The field manager of a flag's value and stamp.
pub fn value_manager(flag: &str) -> String {
    format!("hoist/{flag}")
}

/// The field manager of a flag's restarts.
pub fn restart_manager(flag: &str) -> String {
    format!("hoist/restart/{flag}")
}

/// Reads and writes targets through one API server.
#[derive(Clone)]
pub struct Targets {
    client: Client,
    /// For calls that go on where they are not answered in time.
    room: Option<Room>,
}

impl std::fmt::Debug for Targets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Targets")
    }
}

impl Targets {
    /// Targets behind this client, which must not retry by itself.
    pub fn new(client: Client) -> Self {
        Self { client, room: None }
    }

    /// The same for what takes flags down: it is sent until it is done, and a call that is not answered in time goes on
    /// beside the next.
    pub fn retreating(client: Client) -> Self {
        Self { client, room: Some(Room::default()) }
    }

    /// Makes a call that is not answered for longer than the deadline only if it takes flags down.
    async fn call<T: Send + 'static>(
        &self,
        what: &'static str,
        namespace: &str,
        deadline: Duration,
        call: impl Future<Output = Result<T, kube::Error>> + Send + 'static,
    ) -> Result<T, Error> {
        match &self.room {
            Some(room) => lingering(what, deadline, room.enter(namespace), call).await,
            None => within(what, deadline, call).await,
        }
    }

    fn api(&self, place: &TargetPlace) -> Api<DynamicObject> {
        let resource = resource(place.kind);
        Api::namespaced_with(self.client.clone(), &place.namespace, &resource)
    }
}

fn resource(kind: PlaceKind) -> ApiResource {
    match kind {
        PlaceKind::ConfigMap => ApiResource::erase::<ConfigMap>(&()),
        PlaceKind::WorkloadEnv(WorkloadKind::Deployment) => ApiResource::erase::<Deployment>(&()),
        PlaceKind::WorkloadEnv(WorkloadKind::StatefulSet) => ApiResource::erase::<StatefulSet>(&()),
        PlaceKind::WorkloadEnv(WorkloadKind::DaemonSet) => ApiResource::erase::<DaemonSet>(&()),
    }
}
