//! Writing a target, to the letter of the write contract.

use std::time::Duration;

use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

use crate::api::{ArmedTarget, FlagValue, Percent, PlaceKind, TargetPlace};
use crate::engine::{Lower, Raise, Restart, Seal, Stamp};

use super::{Targets, resource, restart_annotation, restart_manager, stamp_annotation, value_manager};
use crate::shell::error::{CALL, Class, Error, RETREAT_CALL, class_of, within};

impl Targets {
    /// Raises a flag: value and stamp in one request, only on the object and the version that were read.
    pub async fn raise(&self, raise: &Raise) -> Result<(), Error> {
        let value = &raise.target.values.enabled;
        let write = Write {
            target: &raise.target,
            value,
            percent: raise.percent,
            stamp: &raise.stamp,
            version: Some(&raise.resource_version),
            force: raise.force,
        };
        let request = self.request(&write);
        self.call("raise a flag", &raise.target.place.namespace, CALL, async move { request.send().await }).await
    }

    /// Lowers a flag, whoever owns it: whatever its version, but for one that goes back by plan.
    pub async fn lower(&self, lower: &Lower) -> Result<(), Error> {
        let value = &lower.target.values.disabled;
        let percent = Percent::NOBODY;
        let version = lower.resource_version.as_deref();
        let write = Write { target: &lower.target, value, percent, stamp: &lower.stamp, version, force: true };
        let (place, apply, over) = (&lower.target.place, self.request(&write), self.over_reference(&write));
        let variable = place.kind.workload().is_some();
        let empty = value.text() == Some("");
        let call = async move {
            // An apply of an empty value over a reference is accepted and changes nothing.
            if variable && empty {
                return over.send().await;
            }
            match apply.send().await {
                // Somebody made the variable a reference, which an apply cannot take away.
                Err(error) if variable && class_of(&error) == Class::Invalid => over.send().await,
                result => result,
            }
        };
        self.call("lower a flag", &place.namespace, RETREAT_CALL, call).await
    }

    /// Writes a stamp without touching the value. A merge patch: an apply of the stamp alone would delete the value.
    pub async fn seal(&self, seal: &Seal) -> Result<(), Error> {
        let target = &seal.target;
        let metadata = metadata(target, &seal.stamp, Some(&seal.resource_version));
        let params = PatchParams { field_manager: Some(value_manager(&target.flag)), ..PatchParams::default() };
        let body = json!({ "metadata": metadata });
        let api = self.api(&target.place);
        within("seal a target", CALL, api.patch(&target.place.name, &params, &Patch::Merge(&body))).await.map(drop)
    }

    /// Restarts a workload by a mark on its pod template. Sent again it changes nothing.
    pub async fn restart(&self, restart: &Restart, deadline: Duration) -> Result<(), Error> {
        let place = TargetPlace {
            kind: PlaceKind::WorkloadEnv(restart.workload.kind),
            namespace: restart.namespace.clone(),
            name: restart.workload.name.clone(),
            container: None,
            key: String::new(),
        };
        let (api, namespace) = (self.api(&place), restart.namespace.as_str());
        let resource = resource(place.kind);
        let annotations = json!({ restart_annotation(&restart.flag): restart.decision });
        let params = PatchParams::apply(&restart_manager(&restart.flag)).force();
        let call = async move {
            // It keeps an apply from making a workload that vanished meanwhile.
            let Some(uid) = api.get(&place.name).await?.metadata.uid else { return Ok(()) };
            let body = json!({
                "apiVersion": resource.api_version, "kind": resource.kind,
                "metadata": { "name": place.name, "namespace": place.namespace, "uid": uid },
                "spec": { "template": { "metadata": { "annotations": annotations } } },
            });
            api.patch(&place.name, &params, &Patch::Apply(&body)).await.map(drop)
        };
        // Two calls.
        self.call("restart a workload", namespace, deadline * 2, call).await
    }

    fn over_reference(&self, write: &Write<'_>) -> Sending {
        let place = &write.target.place;
        let params = PatchParams { field_manager: Some(value_manager(&write.target.flag)), ..PatchParams::default() };
        let entry = json!({ "name": place.key, "value": write.value.text(), "valueFrom": null });
        let metadata = metadata(write.target, write.stamp, write.version);
        let body = json!({ "metadata": metadata, "spec": write.env(entry) });
        Sending { api: self.api(place), name: place.name.clone(), params, patch: Patch::Strategic(body) }
    }

    fn request(&self, write: &Write<'_>) -> Sending {
        let manager = value_manager(&write.target.flag);
        let (params, patch) = match write.value {
            FlagValue::Text(text) => {
                let params = PatchParams { force: write.force, ..PatchParams::apply(&manager) };
                (params, Patch::Apply(write.apply(text)))
            }
            // Leaving the key out of an apply would keep a co-owner's value and answer 200.
            FlagValue::Absent => {
                let params = PatchParams { field_manager: Some(manager), ..PatchParams::default() };
                let patch = match write.target.place.kind {
                    PlaceKind::ConfigMap => Patch::Merge(write.delete()),
                    PlaceKind::WorkloadEnv(_) => Patch::Strategic(write.delete()),
                };
                (params, patch)
            }
        };
        let place = &write.target.place;
        Sending { api: self.api(place), name: place.name.clone(), params, patch }
    }
}

/// A patch that is ready to go.
struct Sending {
    api: Api<DynamicObject>,
    name: String,
    params: PatchParams,
    patch: Patch<Value>,
}

impl Sending {
    async fn send(&self) -> Result<(), kube::Error> {
        self.api.patch(&self.name, &self.params, &self.patch).await.map(drop)
    }
}

struct Write<'a> {
    target: &'a ArmedTarget,
    value: &'a FlagValue,
    /// Written where the target takes one.
    percent: Percent,
    stamp: &'a Stamp,
    version: Option<&'a str>,
    force: bool,
}

impl Write<'_> {
    fn apply(&self, text: &str) -> Value {
        let place = &self.target.place;
        let resource = resource(place.kind);
        let mut body = json!({
            "apiVersion": resource.api_version, "kind": resource.kind,
            "metadata": metadata(self.target, self.stamp, self.version),
        });
        let key = place.key.as_str();
        let value = match place.kind {
            PlaceKind::ConfigMap => ("data", self.data(json!(text))),
            PlaceKind::WorkloadEnv(_) => ("spec", self.env(json!({ "name": key, "value": text }))),
        };
        if let Some(object) = body.as_object_mut() {
            object.insert(value.0.to_owned(), value.1);
        }
        body
    }

    fn delete(&self) -> Value {
        let key = self.target.place.key.as_str();
        let metadata = metadata(self.target, self.stamp, self.version);
        match self.target.place.kind {
            PlaceKind::ConfigMap => json!({ "metadata": metadata, "data": self.data(Value::Null) }),
            PlaceKind::WorkloadEnv(_) => {
                json!({ "metadata": metadata, "spec": self.env(json!({ "name": key, "$patch": "delete" })) })
            }
        }
    }

    fn data(&self, value: Value) -> Value {
        let mut data = serde_json::Map::from_iter([(self.target.place.key.clone(), value)]);
        data.extend(self.target.percent_key.clone().map(|key| (key, json!(self.percent.to_string()))));
        Value::Object(data)
    }

    fn env(&self, entry: Value) -> Value {
        let container = self.target.place.container.as_deref().unwrap_or_default();
        let percent = self.target.percent_key.as_ref();
        let percent = percent.map(|name| json!({ "name": name, "value": self.percent.to_string() }));
        let entries: Vec<Value> = [entry].into_iter().chain(percent).collect();
        json!({ "template": { "spec": { "containers": [ { "name": container, "env": entries } ] } } })
    }
}

fn metadata(target: &ArmedTarget, stamp: &Stamp, version: Option<&str>) -> Value {
    let place = &target.place;
    let mut metadata = json!({
        "name": place.name, "namespace": place.namespace, "uid": target.uid,
        "annotations": { stamp_annotation(&target.flag): stamp.text() },
    });
    if let (Some(version), Some(object)) = (version, metadata.as_object_mut()) {
        object.insert("resourceVersion".to_owned(), json!(version));
    }
    metadata
}
