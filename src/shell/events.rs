//! Kubernetes Events, one for each transition.
//!
//! Written directly and not through kube's recorder, which merges events whose action and reason agree within six
//! minutes and keeps the first note. The name is made of the transition, so that one is told once, crash or no crash.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};

use super::error::{CALL, Error, within};
use crate::api::{GROUP, RunState, Transition, VERSION};
use crate::engine::{Run, digest};

/// Tells a transition on the schedule's object.
pub async fn tell(client: &Client, run: &Run, transition: &Transition) -> Result<(), Error> {
    let unique = digest(&[&run.reference(), transition.from.name(), transition.to.name(), &transition.at.to_rfc3339()]);
    let schedule = &run.spec.schedule;
    let event = Event {
        metadata: ObjectMeta {
            name: Some(format!("{}.{unique}", schedule.name)),
            namespace: Some(run.namespace.clone()),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(Timestamp::from_second(transition.at.timestamp()).unwrap_or_default())),
        action: Some(format!("{} {} epoch {}", transition.to, run.label(), run.spec.epoch)),
        reason: Some(transition.to.name().to_owned()),
        note: Some(note(run, transition)),
        type_: Some(kind(transition.to).to_owned()),
        reporting_controller: Some(format!("{GROUP}/hoist")),
        reporting_instance: Some("hoist".to_owned()),
        regarding: Some(ObjectReference {
            api_version: Some(format!("{GROUP}/{VERSION}")),
            kind: Some("MigrationSchedule".to_owned()),
            name: Some(schedule.name.clone()),
            namespace: Some(run.namespace.clone()),
            uid: Some(schedule.uid.clone()),
            ..ObjectReference::default()
        }),
        ..Event::default()
    };
    let api: Api<Event> = Api::namespaced(client.clone(), &run.namespace);
    match within("write an event", CALL, api.create(&PostParams::default(), &event)).await {
        Err(error) if error.code() != Some(409) => Err(error),
        _ => Ok(()),
    }
}

fn kind(to: RunState) -> &'static str {
    if matches!(to, RunState::RollingBack | RunState::RolledBack) { "Warning" } else { "Normal" }
}

fn note(run: &Run, transition: &Transition) -> String {
    let text = format!("{}: {} to {}: {}", run.label(), transition.from, transition.to, transition.reason);
    text.chars().take(1_000).collect()
}
