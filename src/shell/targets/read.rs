//! Reading a target, fresh from the API server.

use kube::api::DynamicObject;
use serde_json::Value;

use crate::api::{FlagValue, OPT_IN_LABEL, OPT_IN_VALUE, PlaceKind, TargetPlace};
use crate::engine::{FoundTarget, Stamp, StampKind, TargetReading};

use super::fields::{annotation_path, owners, value_path};
use super::{Targets, stamp_annotation, value_manager};
use crate::shell::error::{CALL, Error, found, within};

impl Targets {
    /// Reads a target of a flag, with its percentage where it has one.
    pub async fn read(&self, place: &TargetPlace, carried: &Carried) -> Result<TargetReading, Error> {
        let api = self.api(place);
        let object = found(within("read a target", CALL, api.get(&place.name)).await)?;
        Ok(object.map_or(TargetReading::Missing, |o| TargetReading::Found(reading(&o, place, carried))))
    }
}

/// What is written at a place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// The flag.
    pub flag: String,
    /// The key or variable of its percentage.
    pub percent_key: Option<String>,
}

fn reading(object: &DynamicObject, place: &TargetPlace, Carried { flag, percent_key }: &Carried) -> FoundTarget {
    let metadata = &object.metadata;
    let fields = metadata.managed_fields.as_deref().unwrap_or_default();
    let value = value(object, place);
    let manager = value_manager(flag);
    let annotation = stamp_annotation(flag);
    let stamp = metadata.annotations.as_ref().and_then(|a| a.get(&annotation)).and_then(|text| Stamp::parse(text));
    let mut owning = owners(fields, &value_path(place));
    let value_owned = owning.iter().any(|o| o.manager == manager) || value == Ok(FlagValue::Absent);
    let stamp_owned = owners(fields, &annotation_path(&annotation)).iter().any(|o| o.manager == manager);
    let beside = percent_key.as_ref().map(|key| place.beside(key));
    // Whoever changed the percentage is to be named, too.
    owning.extend(beside.iter().flat_map(|place| owners(fields, &value_path(place))));
    let sealed = stamp.as_ref().is_some_and(|s| s.kind == StampKind::Sealed);
    FoundTarget {
        uid: metadata.uid.clone().unwrap_or_default(),
        resource_version: metadata.resource_version.clone().unwrap_or_default(),
        generation: metadata.generation.unwrap_or(0),
        deleting: metadata.deletion_timestamp.is_some(),
        owner: owning.iter().find(|o| o.manager != manager).or(owning.first()).cloned(),
        // A seal leaves the value to whoever owns it.
        stamp_counts: stamp_owned && (value_owned || sealed),
        stamp,
        percent: beside.map(|place| self::value(object, &place).unwrap_or(FlagValue::Absent)),
        value,
        barred: (place.kind.workload().is_some() && !opted_in(object))
            .then(|| format!("the workload has not opted in; its owner can label it {OPT_IN_LABEL}: {OPT_IN_VALUE}")),
    }
}

/// Whether the workload's owner consents to its variables being raised. Whoever withdraws that does not bar the way back.
fn opted_in(object: &DynamicObject) -> bool {
    object.metadata.labels.as_ref().and_then(|l| l.get(OPT_IN_LABEL)).map(String::as_str) == Some(OPT_IN_VALUE)
}

fn value(object: &DynamicObject, place: &TargetPlace) -> Result<FlagValue, String> {
    match place.kind {
        PlaceKind::ConfigMap => config_map_value(object, place),
        PlaceKind::WorkloadEnv(_) => env_value(object, place),
    }
}

fn config_map_value(object: &DynamicObject, place: &TargetPlace) -> Result<FlagValue, String> {
    if object.data.get("immutable").and_then(Value::as_bool) == Some(true) {
        return Err("the ConfigMap is immutable, so its keys cannot be written".to_owned());
    }
    Ok(FlagValue::of(object.data.pointer("/data").and_then(|d| d.get(&place.key)).and_then(Value::as_str)))
}

fn env_value(object: &DynamicObject, place: &TargetPlace) -> Result<FlagValue, String> {
    let container = place.container.as_deref().unwrap_or_default();
    let named = |v: &&Value, name: &str| v.get("name").and_then(Value::as_str) == Some(name);
    let containers = object.data.pointer("/spec/template/spec/containers").and_then(Value::as_array);
    let found = containers.into_iter().flatten().find(|c| named(c, container));
    let found = found.ok_or_else(|| format!("it has no container {container}"))?;
    let env = found.get("env").and_then(Value::as_array).into_iter().flatten().find(|e| named(e, &place.key));
    match env {
        None => Ok(FlagValue::Absent),
        Some(entry) if entry.get("valueFrom").is_some_and(|v| !v.is_null()) => Err(format!(
            "variable {} takes its value from elsewhere (valueFrom); make that place the target",
            place.key
        )),
        Some(entry) => Ok(FlagValue::of(Some(entry.get("value").and_then(Value::as_str).unwrap_or_default()))),
    }
}
