//! What came through, and what it means to the laws.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Instant;

use hoist::api::RunState;
use hoist::engine::StampKind;
use hoist::engine::laws::Trace;
use serde_json::Value;

use super::Actor;
use super::call::Call;
use super::law::{Law, law};

/// Stands where a backup was restored: versions count anew from there.
pub const RESTORED: &str = "restored";

/// Stands where a person's `Resume` was written after that.
pub const RESUMED: &str = "resumed";

/// A request that came through, or an event.
#[derive(Clone, Debug)]
pub struct Record {
    pub seq: usize,
    pub actor: Actor,
    pub life: usize,
    pub verb: &'static str,
    pub resource: String,
    pub namespace: String,
    pub name: String,
    /// The version that a write was bound to.
    pub version_in: Option<String>,
    /// The version that came of it: the place of a write in the order in which the API server took them.
    pub version_out: Option<u64>,
    /// Tells equal bodies apart from others.
    pub body_hash: u64,
    /// What the API server said, whatever the daemon was told; 0 where it was sent and is disturbed on its way.
    pub status: u16,
    /// The field manager of a write.
    pub manager: String,
    /// When it was sent, and when it was answered.
    pub came: Instant,
    pub at: Instant,
    /// The run whose flag it was to put back, whether or not it was taken.
    pub lowers: Option<String>,
    /// The state that a run was to be stored in, whether or not it was.
    pub tells: Option<RunState>,
    pub law: Option<Law>,
}

impl Record {
    /// The record of a call that was answered.
    pub fn of(call: &Call, status: u16, answer: &[u8]) -> Record {
        let body: Option<Value> = serde_json::from_slice(&call.body).ok();
        let answer: Option<Value> = call.writes().then(|| serde_json::from_slice(answer).ok()).flatten();
        let version = |value: &Option<Value>| {
            let version = value.as_ref()?.pointer("/metadata/resourceVersion")?.as_str()?;
            Some(version.to_owned())
        };
        let mut hasher = DefaultHasher::new();
        call.body.hash(&mut hasher);
        let meaning = body.as_ref().filter(|_| call.writes()).and_then(|body| law(&call.about(), body));
        let took = call.writes() && (200..300).contains(&status);
        Record {
            seq: 0,
            actor: call.actor,
            life: call.life,
            verb: call.verb,
            resource: call.resource.clone(),
            namespace: call.namespace.clone(),
            name: call.name.clone(),
            version_in: version(&body),
            version_out: version(&answer).and_then(|v| v.parse().ok()),
            body_hash: hasher.finish(),
            status,
            manager: call.parameter("fieldManager").unwrap_or_default().replace("%2F", "/"),
            came: call.came,
            at: Instant::now(),
            tells: body.as_ref().and_then(|body| serde_json::from_value(body.pointer("/status/state")?.clone()).ok()),
            lowers: lowers(meaning.as_ref()),
            law: meaning.filter(|_| took),
        }
    }

    /// The record of something that did not come through.
    pub fn beside(what: &'static str) -> Record {
        Record {
            seq: 0,
            actor: 0,
            life: 0,
            verb: what,
            resource: String::new(),
            namespace: String::new(),
            name: String::new(),
            version_in: None,
            version_out: None,
            body_hash: 0,
            status: 0,
            manager: String::new(),
            came: Instant::now(),
            at: Instant::now(),
            lowers: None,
            tells: None,
            law: None,
        }
    }

    /// Whether it raises a flag.
    pub fn is_raise(&self) -> bool {
        matches!(&self.law, Some(Law { trace: Trace::Written(write), .. }) if write.kind == StampKind::Raised)
    }

    /// An event that a watch told.
    pub fn event(call: &Call, object: &Value) -> Record {
        let text = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        Record {
            verb: "event",
            namespace: text("/object/metadata/namespace"),
            name: text("/object/metadata/name"),
            version_out: text("/object/metadata/resourceVersion").parse().ok(),
            ..Record::of(call, 200, &[])
        }
    }

    /// Whether the API server took it and something may have changed by it.
    pub fn is_taken_write(&self) -> bool {
        self.is_write() && (200..300).contains(&self.status)
    }

    pub fn is_write(&self) -> bool {
        matches!(self.verb, "create" | "update" | "patch" | "delete")
    }

    /// As people read it.
    pub fn told(&self) -> String {
        let daemon = char::from(b'a' + u8::try_from(self.actor).unwrap_or(25));
        let version = |v: Option<String>| v.map(|v| format!(" {v}")).unwrap_or_default();
        let from = version(self.version_in.clone());
        let to = version(self.version_out.map(|v| v.to_string()));
        let law = self.law.as_ref().map(|law| format!(" {}", in_words(&law.trace))).unwrap_or_default();
        let Record { verb, resource, namespace, name, status, .. } = self;
        format!("{:>4} {daemon} {status} {verb} {resource} {namespace}/{name}{from} ->{to}{law}", self.seq)
    }
}

fn lowers(law: Option<&Law>) -> Option<String> {
    match &law?.trace {
        Trace::Written(write) if matches!(write.kind, StampKind::Closed | StampKind::Lowered) => {
            Some(write.run.clone())
        }
        _ => None,
    }
}

fn in_words(trace: &Trace) -> String {
    match trace {
        Trace::Stored { epoch, state, decision, .. } => {
            format!("[epoch {epoch} {state} {}]", decision.as_deref().unwrap_or("-"))
        }
        Trace::Written(write) => format!("[{:?} {}]", write.kind, write.decision),
        Trace::Restored => "[restored]".to_owned(),
    }
}

/// How often each run has raised each target.
pub fn raises(records: &[Record]) -> BTreeMap<(String, String), usize> {
    let mut count = BTreeMap::new();
    for record in records {
        if let Some(Law { trace: Trace::Written(write), .. }) = &record.law
            && write.kind == StampKind::Raised
        {
            *count.entry((write.place.to_string(), write.run.clone())).or_default() += 1;
        }
    }
    count
}
