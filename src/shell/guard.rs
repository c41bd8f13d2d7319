//! Objects as they were stored, or what is wrong with them: one malformed object must not blind a list.

use std::borrow::Cow;

use kube::Resource;
use kube::api::ObjectMeta;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::api::{MigrationSchedule, MigrationScheduleStatus, PauseStatus};

/// An object, or what is wrong with it.
///
/// As kube's `DeserializeGuard`, which does not keep the status of an object whose spec cannot be read; what stands there
/// is in force all the same.
#[derive(Clone, Debug)]
pub struct Guarded<K>(pub Result<K, Malformed>);

/// An object that cannot be read.
#[derive(Clone, Debug)]
pub struct Malformed {
    /// What is wrong.
    pub error: String,
    /// Its metadata, which can always be read.
    pub metadata: ObjectMeta,
    /// Its status, as it is stored.
    status: Value,
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Guarded<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut stored = Value::deserialize(deserializer)?;
        let error = match K::deserialize(&stored) {
            Ok(object) => return Ok(Self(Ok(object))),
            Err(error) => error.to_string(),
        };
        let mut taken = |part| stored.get_mut(part).map(Value::take).unwrap_or_default();
        let status = taken("status");
        let metadata = ObjectMeta::deserialize(taken("metadata")).map_err(D::Error::custom)?;
        Ok(Self(Err(Malformed { error, metadata, status })))
    }
}

impl<K: Resource> Resource for Guarded<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(dt)
    }

    fn group(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::group(dt)
    }

    fn version(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::version(dt)
    }

    fn plural(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(dt)
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.as_ref().map_or_else(|malformed| &malformed.metadata, K::meta)
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.as_mut().map_or_else(|malformed| &mut malformed.metadata, K::meta_mut)
    }
}

impl Guarded<MigrationSchedule> {
    /// What stands in its status, also where the spec cannot be read. Of a status that cannot be read whole, the pauses
    /// that can: they are in force until a `Resume`.
    pub fn status(&self) -> Option<MigrationScheduleStatus> {
        let stored = match &self.0 {
            Ok(schedule) => return schedule.status.clone(),
            Err(malformed) => &malformed.status,
        };
        if stored.is_null() {
            return None;
        }
        let whole = MigrationScheduleStatus::deserialize(stored).ok();
        Some(whole.unwrap_or_else(|| {
            let pauses = stored.get("pauses").and_then(Value::as_array).into_iter().flatten();
            let pauses = pauses.filter_map(|pause| PauseStatus::deserialize(pause).ok()).collect();
            MigrationScheduleStatus { pauses, ..MigrationScheduleStatus::default() }
        }))
    }
}

#[cfg(test)]
mod tests {
    use kube::ResourceExt;
    use serde_json::json;

    use super::*;

    fn stored(soak: &Value, state: &str) -> Guarded<MigrationSchedule> {
        let pause = |name| json!({ "intervention": name, "since": "2025-01-01T00:00:00Z", "reason": "a person's" });
        let environment = json!({ "phase": "p", "namespace": "n", "environment": "eu", "state": state, "epoch": 1 });
        let object = json!({
            "apiVersion": "hoist.dev/v1alpha1", "kind": "MigrationSchedule",
            "metadata": { "name": "repo", "namespace": "conduit", "uid": "u" },
            "spec": {
                "flags": [{ "name": "F", "values": { "enabled": "true", "disabled": "false" } }],
                "soak": { "duration": soak }, "phases": [{ "name": "p", "environments": [{ "name": "eu" }] }],
            },
            "status": { "pauses": [pause("a"), { "intervention": 5 }, pause("b")], "environments": [environment] },
        });
        let mut object = object;
        if state == "Soaking" {
            // Whole.
            object["status"]["pauses"] = json!([pause("a"), pause("b")]);
        }
        serde_json::from_value(object).expect("its metadata can be read")
    }

    fn pauses(schedule: &Guarded<MigrationSchedule>) -> Vec<String> {
        schedule.status().unwrap_or_default().pauses.into_iter().map(|p| p.intervention).collect()
    }

    #[test]
    fn pauses_are_in_force_though_the_spec_cannot_be_read() {
        let sound = stored(&json!("1h"), "Soaking");
        let malformed = stored(&json!(60), "Soaking");
        assert!(sound.0.is_ok() && malformed.0.is_err());
        assert_eq!((malformed.name_any(), malformed.uid()), (sound.name_any(), sound.uid()));
        assert_eq!(malformed.status(), sound.status());
        assert_eq!(pauses(&malformed), ["a", "b"]);
    }

    #[test]
    fn pauses_are_in_force_though_the_status_cannot_be_read_whole() {
        let newer = stored(&json!("1h"), "Dancing");
        assert!(newer.0.is_err());
        assert_eq!(pauses(&newer), ["a", "b"]);
    }

    #[test]
    fn a_schedule_that_nobody_has_looked_at_has_no_status() {
        let object = json!({ "metadata": { "name": "repo" }, "spec": 5 });
        let schedule: Guarded<MigrationSchedule> = serde_json::from_value(object).expect("its metadata can be read");
        assert_eq!(schedule.status(), None);
        assert!(serde_json::from_value::<Guarded<MigrationSchedule>>(json!({ "metadata": 5 })).is_err());
    }
}
