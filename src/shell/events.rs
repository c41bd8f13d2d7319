//! Kubernetes Events, one for each transition and for each update of a soak.
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
use crate::api::{GROUP, RunState, Time, Transition, VERSION};
use crate::engine::{Run, Update, digest};

/// What an event says, apart from what it is about.
struct Said {
    /// Made of what happened, so that it is told once.
    unique: String,
    at: Time,
    action: String,
    reason: &'static str,
    note: String,
    kind: &'static str,
}

/// Tells a transition on the schedule's object.
pub async fn tell(client: &Client, run: &Run, transition: &Transition) -> Result<(), Error> {
    let Transition { at, from, to, reason, .. } = transition;
    let said = Said {
        unique: digest(&[&run.reference(), from.name(), to.name(), &at.to_rfc3339()]),
        at: *at,
        action: format!("{to} {} epoch {}", run.label(), run.spec.epoch),
        reason: to.name(),
        note: format!("{}: {from} to {to}: {reason}", run.label()),
        kind: kind(*to),
    };
    write(client, run, said).await
}

/// Tells where a soak stands.
pub async fn update(client: &Client, run: &Run, update: &Update) -> Result<(), Error> {
    let percent = run.status().step.map_or(String::new(), |step| step.percent.to_string());
    let said = Said {
        unique: digest(&[&run.reference(), "update", &percent, &update.number.to_string()]),
        at: update.at,
        action: format!("Update {} {} epoch {}", update.number, run.label(), run.spec.epoch),
        reason: "SoakUpdate",
        note: format!("{} {}", run.label(), update.sentence),
        kind: "Normal",
    };
    write(client, run, said).await
}

async fn write(client: &Client, run: &Run, said: Said) -> Result<(), Error> {
    let schedule = &run.spec.schedule;
    let event = Event {
        metadata: ObjectMeta {
            name: Some(format!("{}.{}", schedule.name, said.unique)),
            namespace: Some(run.namespace.clone()),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(Timestamp::from_second(said.at.timestamp()).unwrap_or_default())),
        action: Some(said.action),
        reason: Some(said.reason.to_owned()),
        note: Some(said.note.chars().take(1_000).collect()),
        type_: Some(said.kind.to_owned()),
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
