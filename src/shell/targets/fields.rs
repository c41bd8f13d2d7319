//! Who owns what, as managedFields tell.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde_json::Value;

use crate::api::{PlaceKind, TargetPlace, Time};
use crate::engine::Owner;

/// The managedFields path of an annotation on the object's own metadata.
pub(super) fn annotation_path(name: &str) -> Vec<String> {
    vec!["f:metadata".to_owned(), "f:annotations".to_owned(), format!("f:{name}")]
}

/// The managedFields path of a target's value.
pub(super) fn value_path(place: &TargetPlace) -> Vec<String> {
    let keyed = |name: &str| format!("k:{}", serde_json::json!({ "name": name }));
    match place.kind {
        PlaceKind::ConfigMap => vec!["f:data".to_owned(), format!("f:{}", place.key)],
        PlaceKind::WorkloadEnv(_) => vec![
            "f:spec".to_owned(),
            "f:template".to_owned(),
            "f:spec".to_owned(),
            "f:containers".to_owned(),
            keyed(place.container.as_deref().unwrap_or_default()),
            "f:env".to_owned(),
            keyed(&place.key),
            // Whoever loses the value to another manager goes on owning the entry and its name.
            "f:value".to_owned(),
        ],
    }
}

fn owns(entry: &ManagedFieldsEntry, path: &[String]) -> bool {
    let mut at: Option<&Value> = entry.fields_v1.as_ref().map(|f| &f.0);
    for step in path {
        at = at.and_then(|v| v.get(step));
    }
    at.is_some()
}

/// The managers of a path, the latest first. Nobody owns what is not there: a removal leaves no trace of who did it.
pub(super) fn owners(fields: &[ManagedFieldsEntry], path: &[String]) -> Vec<Owner> {
    let owner = |e: &ManagedFieldsEntry| Owner {
        manager: e.manager.clone().unwrap_or_default(),
        at: e.time.as_ref().and_then(|t| Time::from_timestamp(t.0.as_second(), 0)),
    };
    let mut owners: Vec<Owner> = fields.iter().filter(|e| owns(e, path)).map(owner).collect();
    owners.sort_by_key(|o| std::cmp::Reverse(o.at));
    owners
}
