//! The custom resource definitions, as the API server takes them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;

use super::{Environment, Freeze, Intervention, MigrationRun, MigrationSchedule};

/// Every definition, in the order in which people meet the kinds. The only source of `crds/`, of `hoist crd` and of
/// what `hoist validate` holds files against.
///
/// What the derive cannot say is said here, each in a function of its own.
pub fn crds() -> Vec<CustomResourceDefinition> {
    let mut crds =
        vec![MigrationSchedule::crd(), Environment::crd(), MigrationRun::crd(), Intervention::crd(), Freeze::crd()];
    for crd in &mut crds {
        let schemas = crd.spec.versions.iter_mut().filter_map(|v| v.schema.as_mut()?.open_api_v3_schema.as_mut());
        for schema in schemas {
            each(schema, &mut nothing_is_null);
            each(schema, &mut keys_have_a_value);
            status_says_only_what_was_written(schema);
        }
    }
    crds
}

/// Calls `change` with a schema and with every schema in it.
fn each(schema: &mut JSONSchemaProps, change: &mut impl FnMut(&mut JSONSchemaProps)) {
    change(schema);
    for property in schema.properties.iter_mut().flat_map(|p| p.values_mut()) {
        each(property, change);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = schema.items.as_mut() {
        each(items, change);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = schema.additional_properties.as_mut() {
        each(values, change);
    }
}

/// Takes `nullable` away.
///
/// The derive writes it for every optional field. A stored `null` would satisfy `has()` in the rules and yet be
/// nothing to the types; without `nullable` the API server drops it before it looks at anything.
fn nothing_is_null(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
}

/// Gives keys of list-maps that may be left out the default `""`, which the API server demands and our types read as
/// left out.
fn keys_have_a_value(schema: &mut JSONSchemaProps) {
    let keys = schema.x_kubernetes_list_map_keys.clone().unwrap_or_default();
    let Some(JSONSchemaPropsOrArray::Schema(items)) = schema.items.as_mut() else { return };
    let required = items.required.clone().unwrap_or_default();
    for key in keys.iter().filter(|key| !required.contains(key)) {
        if let Some(property) = items.properties.as_mut().and_then(|p| p.get_mut(key)) {
            property.default.get_or_insert_with(|| JSON("".into()));
        }
    }
}

/// Takes defaults out of statuses, and gives a fresh object the status `observedGeneration: -1` where the kind observes
/// generations.
///
/// # Source
/// kstatus takes an object without status for finished; Flux's kinds have this default for the same reason.
fn status_says_only_what_was_written(schema: &mut JSONSchemaProps) {
    let Some(status) = schema.properties.as_mut().and_then(|p| p.get_mut("status")) else { return };
    each(status, &mut |schema| schema.default = None);
    if status.properties.as_ref().is_some_and(|p| p.contains_key("observedGeneration")) {
        status.default = Some(JSON(serde_json::json!({ "observedGeneration": -1 })));
    }
}
