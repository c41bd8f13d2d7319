//! Tests of the engine in a simulated world.

mod calendar;
mod courses;
mod crash;
mod edits;
mod elsewhere;
mod evidence;
mod exhaustive;
mod flags;
mod found;
mod gates;
mod leap;
mod leave;
mod phases;
pub mod reached;
mod steps;
mod stories;
mod timelines;
mod trial;
mod waits;

use chrono::TimeDelta;
use serde_json::json;

use super::World;
use crate::api::{Environment, MigrationSchedule, Time};

/// When every simulated world begins.
pub fn start() -> Time {
    Time::from_timestamp(1_746_435_600, 0).expect("a time")
}

/// So many minutes after the beginning.
pub fn minute(minutes: i64) -> Time {
    start() + TimeDelta::minutes(minutes)
}

/// So many seconds after the beginning.
pub fn second(seconds: i64) -> Time {
    start() + TimeDelta::seconds(seconds)
}

/// A schedule of one phase for each environment, with a soak of 30 minutes.
pub fn schedule(environments: &[&str]) -> MigrationSchedule {
    let phases: Vec<_> = environments
        .iter()
        .enumerate()
        .map(|(i, name)| json!({ "name": name, "number": (i + 1).to_string(), "environments": [{ "name": name }] }))
        .collect();
    let object = json!({
        "apiVersion": "hoist.dev/v1alpha1",
        "kind": "MigrationSchedule",
        "metadata": { "name": "plan", "namespace": "conduit" },
        "spec": {
            "flags": [{ "name": "FLAG", "values": { "enabled": "true", "disabled": "false" } }],
            "soak": { "duration": "30m" },
            "checks": [
                { "name": "errors", "interval": "30s", "settle": "1m", "threshold": {
                    "ratio": { "bad": "sum(increase(bad[{{ window }}]))", "total": "sum(increase(all[{{ window }}]))" },
                    "max": "0.05", "target": "0.01", "window": "5m", "for": "1m", "minSamples": 100 } },
            ],
            "phases": phases,
        },
    });
    serde_json::from_value(object).expect("a schedule")
}

/// An Environment with one ConfigMap key, and one Deployment that reads it.
pub fn config_map(name: &str) -> Environment {
    let targets = json!([{ "configMap": { "name": format!("flags-{name}"), "restarts": [{ "kind": "Deployment", "name": format!("app-{name}") }] } }]);
    environment(name, &targets)
}

/// An Environment with one variable of one Deployment.
pub fn variable(name: &str) -> Environment {
    environment(
        name,
        &json!([{ "workloadEnv": { "kind": "Deployment", "name": format!("app-{name}"), "container": "main" } }]),
    )
}

/// An Environment whose flag lives in two ConfigMaps and one variable.
pub fn many(name: &str) -> Environment {
    let targets = json!([
        { "configMap": { "name": format!("flags-{name}"), "restarts": [{ "kind": "Deployment", "name": format!("app-{name}") }] } },
        { "configMap": { "name": format!("more-{name}") } },
        { "workloadEnv": { "kind": "Deployment", "name": format!("app-{name}"), "container": "main" } },
    ]);
    environment(name, &targets)
}

/// The same Environment, whose targets take percentages.
pub fn in_parts(mut environment: Environment) -> Environment {
    for target in environment.spec.flags.iter_mut().flat_map(|f| &mut f.targets) {
        target.config_map.iter_mut().for_each(|t| t.percent_key = Some("FLAG_PERCENT".to_owned()));
        target.workload_env.iter_mut().for_each(|t| t.percent_name = Some("FLAG_PERCENT".to_owned()));
    }
    environment
}

fn environment(name: &str, targets: &serde_json::Value) -> Environment {
    let object = json!({
        "apiVersion": "hoist.dev/v1alpha1",
        "kind": "Environment",
        "metadata": { "name": name, "namespace": "conduit" },
        "spec": {
            "flags": [{ "name": "FLAG", "targets": targets }],
            "prometheus": { "address": "http://prometheus:9090", "scrapeInterval": "15s" },
        },
    });
    serde_json::from_value(object).expect("an Environment")
}

/// A healthy world with a ConfigMap target in each environment.
pub fn world(environments: &[&str]) -> World {
    World::new(&schedule(environments), environments.iter().map(|e| config_map(e)).collect(), start(), 1)
}
