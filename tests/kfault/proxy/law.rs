//! What a request is about, and what a write means to the laws.

use hoist::api::{MigrationRun, PlaceKind, TargetPlace, WorkloadKind};
use hoist::engine::Stamp;
use hoist::engine::laws::{TargetWrite, Trace};
use serde_json::Value;

/// What a request is about.
#[derive(Clone, Debug)]
pub struct About {
    /// With its part, as `migrationruns/status`.
    pub resource: String,
    pub namespace: String,
    pub name: String,
}

/// Reads it from a path.
pub fn about(path: &str) -> About {
    let mut parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty()).collect();
    match parts.first() {
        Some(&"api") if parts.len() > 2 => drop(parts.drain(..2)),
        Some(&"apis") if parts.len() > 3 => drop(parts.drain(..3)),
        _ => return About { resource: path.to_owned(), namespace: String::new(), name: String::new() },
    }
    let namespaced = parts[0] == "namespaces" && parts.len() > 2 && !["status", "finalize"].contains(&parts[2]);
    let namespace = if namespaced { parts[1].to_owned() } else { String::new() };
    if namespaced {
        parts.drain(..2);
    }
    let part = parts.get(2).map(|part| format!("/{part}")).unwrap_or_default();
    let name = parts.get(1).copied().unwrap_or_default().to_owned();
    About { resource: format!("{}{part}", parts[0]), namespace, name }
}

/// What a write means to the laws, and the schedule that it is of.
#[derive(Clone, Debug)]
pub struct Law {
    pub schedule: String,
    pub trace: Trace,
}

/// Reads it from a write's body.
pub fn law(about: &About, body: &Value) -> Option<Law> {
    if about.resource == "migrationruns/status" {
        let run: MigrationRun = serde_json::from_value(body.clone()).ok()?;
        let status = run.status?;
        let trace = Trace::Stored {
            run: format!("{}/{}", run.metadata.namespace?, run.metadata.name?),
            phase: run.spec.phase,
            environment: run.spec.environment,
            epoch: run.spec.epoch,
            opened_at: run.spec.opened_by.map(|o| o.at),
            state: status.state,
            step: status.step.as_ref().map_or(0, |s| s.number),
            steps: status.step.map_or(0, |s| s.of),
            decision: status.attempt.map(|a| a.decision),
        };
        return Some(Law { schedule: run.spec.schedule.uid, trace });
    }
    let annotations = body.pointer("/metadata/annotations")?.as_object()?;
    let stamped = |(name, text): (&String, &Value)| {
        Some((name.strip_prefix("stamp.hoist.dev/")?.to_owned(), Stamp::parse(text.as_str()?)?))
    };
    let (flag, stamp) = annotations.iter().find_map(stamped)?;
    let kind = match about.resource.as_str() {
        "configmaps" => PlaceKind::ConfigMap,
        "statefulsets" => PlaceKind::WorkloadEnv(WorkloadKind::StatefulSet),
        "daemonsets" => PlaceKind::WorkloadEnv(WorkloadKind::DaemonSet),
        _ => PlaceKind::WorkloadEnv(WorkloadKind::Deployment),
    };
    let place =
        TargetPlace { kind, namespace: about.namespace.clone(), name: about.name.clone(), container: None, key: flag };
    let Stamp { kind, run, schedule, epoch, decision, at, .. } = stamp;
    Some(Law { schedule, trace: Trace::Written(TargetWrite { place, kind, run, epoch, decision, at }) })
}
