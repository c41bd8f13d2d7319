//! What the environments run: a Deployment `conduit` each, some with their flag in a ConfigMap.

use serde_json::{Value, json};

use crate::fixture::Cluster;

const FLAG: &str = "CONDUIT_USE_REPOSITORY_PATTERN";

/// The environments, and whether their flag lives in a ConfigMap.
const ENVIRONMENTS: [(&str, bool); 6] =
    [("staging", true), ("dev-prod", false), ("eu", false), ("apac", false), ("us-east", false), ("us-west", true)];

/// Brings every application to its start, with the flag down, as the team that owns it would.
pub async fn applications() {
    let mut objects = vec![namespace("conduit", None)];
    for (name, in_config_map) in ENVIRONMENTS {
        let space = format!("conduit-{name}");
        objects.push(namespace(&space, Some(name)));
        let value = if in_config_map {
            objects.push(json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "conduit-flags", "namespace": space },
                "data": { FLAG: "false" },
            }));
            json!({ "name": FLAG, "valueFrom": { "configMapKeyRef": { "name": "conduit-flags", "key": FLAG } } })
        } else {
            json!({ "name": FLAG, "value": "false" })
        };
        objects.push(deployment(&space, &value));
    }
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects }).to_string();
    let apply = ["apply", "--server-side", "--force-conflicts", "--field-manager", "team", "-f", "-"];
    Cluster::shared().kubectl_with_input(&apply, &list).await.expect("the applications are applied");
    println!("  kubectl apply                                        six applications, the flag down everywhere");
    for (name, _) in ENVIRONMENTS {
        let space = format!("conduit-{name}");
        let wait = ["-n", &space, "rollout", "status", "deployment/conduit", "--timeout=60s"];
        Cluster::shared().kubectl(&wait).await.expect("the application is rolled out");
    }
}

/// Makes the new code fail in one environment.
pub async fn misbehave(namespace: &str, errors: &str) {
    let errors = format!("--from-literal=errors-when-enabled={errors}");
    let create = ["-n", namespace, "create", "configmap", "conduit-behaviour", &errors];
    Cluster::shared().kubectl(&create).await.expect("the application is told to misbehave");
}

fn namespace(name: &str, environment: Option<&str>) -> Value {
    let labels = environment.map(|e| json!({ "environment": e }));
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels.unwrap_or(json!({})) } })
}

fn deployment(namespace: &str, variable: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "conduit", "namespace": namespace, "labels": { "hoist.dev/flags": "allowed" } },
        "spec": {
            "replicas": 3,
            "selector": { "matchLabels": { "app": "conduit" } },
            "template": {
                "metadata": { "labels": { "app": "conduit" } },
                "spec": { "containers": [{ "name": "conduit", "image": "conduit.example/conduit:1.0.0", "env": [variable] }] },
            },
        },
    })
}
