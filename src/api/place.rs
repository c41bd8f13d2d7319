//! `TargetPlace`: where a value is written, as a run remembers it.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::WorkloadKind;

/// Where a value is written: one key of one object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "StoredPlace", into = "StoredPlace")]
pub struct TargetPlace {
    /// The kind of the object.
    pub kind: PlaceKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The container; nothing for a ConfigMap.
    pub container: Option<String>,
    /// The key or variable.
    pub key: String,
}

impl TargetPlace {
    /// The same object and container, at another key or variable.
    pub fn beside(&self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self.clone() }
    }
}

impl std::fmt::Display for TargetPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, namespace, name, container, key } = self;
        match kind {
            PlaceKind::ConfigMap => write!(f, "ConfigMap {namespace}/{name} key {key}"),
            PlaceKind::WorkloadEnv(kind) => {
                let container = container.as_deref().unwrap_or("?");
                write!(f, "{kind:?} {namespace}/{name} container {container} variable {key}")
            }
        }
    }
}

/// The kinds of places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PlaceKind {
    /// A key of a ConfigMap.
    ConfigMap,
    /// An environment variable of a container of a workload of this kind.
    WorkloadEnv(WorkloadKind),
}

impl PlaceKind {
    /// The kind of the workload whose variable it is.
    pub const fn workload(self) -> Option<WorkloadKind> {
        match self {
            Self::ConfigMap => None,
            Self::WorkloadEnv(kind) => Some(kind),
        }
    }
}

/// A place as a run stores it.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct StoredPlace {
    /// The kind of the object.
    kind: StoredKind,
    /// The kind of the workload whose variable it is; Deployment where a run was stored before there were others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "WorkloadKind")]
    workload: Option<WorkloadKind>,
    /// Its namespace.
    #[schemars(length(max = 63))]
    namespace: String,
    /// Its name.
    #[schemars(length(max = 253))]
    name: String,
    /// The container; nothing for a ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    container: Option<String>,
    /// The key or variable.
    #[schemars(length(max = 253))]
    key: String,
}

/// The word for a kind of place.
#[derive(Serialize, Deserialize, JsonSchema)]
enum StoredKind {
    /// A key of a ConfigMap.
    ConfigMap,
    /// An environment variable of a container of a workload.
    WorkloadEnv,
}

impl From<StoredPlace> for TargetPlace {
    fn from(stored: StoredPlace) -> Self {
        let StoredPlace { kind, workload, namespace, name, container, key } = stored;
        let kind = match kind {
            StoredKind::ConfigMap => PlaceKind::ConfigMap,
            StoredKind::WorkloadEnv => PlaceKind::WorkloadEnv(workload.unwrap_or(WorkloadKind::Deployment)),
        };
        Self { kind, namespace, name, container, key }
    }
}

impl From<TargetPlace> for StoredPlace {
    fn from(place: TargetPlace) -> Self {
        let TargetPlace { kind, namespace, name, container, key } = place;
        let stored = match kind {
            PlaceKind::ConfigMap => StoredKind::ConfigMap,
            PlaceKind::WorkloadEnv(_) => StoredKind::WorkloadEnv,
        };
        Self { kind: stored, workload: kind.workload(), namespace, name, container, key }
    }
}

impl JsonSchema for TargetPlace {
    fn schema_name() -> Cow<'static, str> {
        "TargetPlace".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        StoredPlace::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(kind: PlaceKind) -> TargetPlace {
        let container = kind.workload().map(|_| "c".to_owned());
        TargetPlace { kind, namespace: "n".into(), name: "a".into(), container, key: "F".into() }
    }

    #[test]
    fn places_are_stored_with_the_kind_of_their_workload() {
        let kinds = [WorkloadKind::Deployment, WorkloadKind::StatefulSet, WorkloadKind::DaemonSet];
        let kinds = kinds.map(PlaceKind::WorkloadEnv).into_iter().chain([PlaceKind::ConfigMap]);
        let all: std::collections::BTreeSet<TargetPlace> = kinds.map(place).collect();
        assert_eq!(all.len(), 4, "objects of one name and different kinds are different places");
        for place in all {
            let text = serde_json::to_string(&place).expect("JSON");
            assert_eq!(serde_json::from_str::<TargetPlace>(&text).expect(&text), place);
        }
        let text = serde_json::to_string(&place(PlaceKind::WorkloadEnv(WorkloadKind::DaemonSet))).expect("JSON");
        assert!(text.starts_with(r#"{"kind":"WorkloadEnv","workload":"DaemonSet","#), "{text}");
    }

    #[test]
    fn runs_of_the_time_when_there_were_only_deployments_are_read() {
        let old = r#"{"kind":"WorkloadEnv","namespace":"n","name":"a","container":"c","key":"F"}"#;
        let read: TargetPlace = serde_json::from_str(old).expect("the old form");
        assert_eq!(read, place(PlaceKind::WorkloadEnv(WorkloadKind::Deployment)));
        assert_eq!(read.to_string(), "Deployment n/a container c variable F");
        let old = r#"{"kind":"ConfigMap","namespace":"n","name":"a","key":"F"}"#;
        assert_eq!(serde_json::from_str::<TargetPlace>(old).expect("the old form"), place(PlaceKind::ConfigMap));
    }
}
