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
        PlaceKind::WorkloadEnv => vec![
            "f:spec".to_owned(),
            "f:template".to_owned(),
            "f:spec".to_owned(),
            "f:containers".to_owned(),
            keyed(place.container.as_deref().unwrap_or_default()),
            "f:env".to_owned(),
            keyed(&place.key),
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

/// The managers of a path, the latest first.
pub(super) fn owners(fields: &[ManagedFieldsEntry], path: &[String]) -> Vec<Owner> {
    sorted(fields.iter().filter(|e| owns(e, path)))
}

/// Whoever wrote to the object last, leaving Hoist and status updates out: the best guess for who removed something.
pub(super) fn last_writer(fields: &[ManagedFieldsEntry]) -> Option<Owner> {
    let others = fields.iter().filter(|e| {
        e.subresource.as_deref().unwrap_or_default().is_empty()
            && !e.manager.as_deref().unwrap_or_default().starts_with("hoist/")
    });
    sorted(others).into_iter().next()
}

fn sorted<'a>(entries: impl Iterator<Item = &'a ManagedFieldsEntry>) -> Vec<Owner> {
    let mut owners: Vec<Owner> = entries
        .map(|e| Owner {
            manager: e.manager.clone().unwrap_or_default(),
            at: e.time.as_ref().and_then(|t| Time::from_timestamp(t.0.as_second(), 0)),
        })
        .collect();
    owners.sort_by_key(|o| std::cmp::Reverse(o.at));
    owners
}
