//! Writing past the API server: what is stored this way was never validated.

use k8s_openapi::ByteString;
use serde_json::{Value, json};

use crate::fixture::{Cluster, Namespace};

/// Changes an object of ours where it lies in etcd. Whoever watches the API server sees it at once.
pub async fn alter(kind: &str, namespace: &Namespace, name: &str, change: impl FnOnce(&mut Value)) {
    let key = format!("/registry/hoist.dev/{kind}/{namespace}/{name}");
    let found = ask("range", json!({ "key": encoded(key.as_bytes()) })).await;
    let stored = found["kvs"][0]["value"].as_str().unwrap_or_else(|| panic!("{key} is not stored: {found}"));
    let bytes: ByteString = serde_json::from_value(json!(stored)).expect("base64");
    let mut object: Value = serde_json::from_slice(&bytes.0).expect("custom resources are stored as JSON");
    change(&mut object);
    let value = encoded(object.to_string().as_bytes());
    ask("put", json!({ "key": encoded(key.as_bytes()), "value": value })).await;
}

fn encoded(bytes: &[u8]) -> Value {
    serde_json::to_value(ByteString(bytes.to_vec())).expect("base64")
}

async fn ask(verb: &str, body: Value) -> Value {
    let url = format!("{}/v3/kv/{verb}", Cluster::shared().var("ETCD_URL"));
    let answer = reqwest::Client::new().post(url).body(body.to_string()).send().await.expect("etcd answers");
    let text = answer.text().await.expect("etcd answers");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
