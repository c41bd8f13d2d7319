//! The environment variables that a pod's containers get when they start.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Container, Pod};
use kube::{Api, Client};

type Variables = BTreeMap<String, String>;

/// Reads what the pod names, now: this is the moment of its start. Of several containers the first one's value counts.
pub async fn of(pod: &Pod, client: &Client) -> Variables {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let mut all = Variables::new();
    for container in pod.spec.iter().flat_map(|spec| &spec.containers) {
        for (name, value) in of_container(container, &maps).await {
            all.entry(name).or_insert(value);
        }
    }
    all
}

async fn of_container(container: &Container, maps: &Api<ConfigMap>) -> Variables {
    let mut variables = Variables::new();
    for source in container.env_from.iter().flatten() {
        let Some(reference) = &source.config_map_ref else { continue };
        let prefix = source.prefix.as_deref().unwrap_or_default();
        for (key, value) in data(maps, &reference.name).await {
            variables.insert(format!("{prefix}{key}"), value);
        }
    }
    // A variable of its own wins over one from a whole ConfigMap.
    for variable in container.env.iter().flatten() {
        let reference = variable.value_from.as_ref().and_then(|from| from.config_map_key_ref.as_ref());
        let value = match reference {
            Some(reference) => data(maps, &reference.name).await.remove(&reference.key),
            None => variable.value.clone(),
        };
        if let Some(value) = value {
            variables.insert(variable.name.clone(), value);
        }
    }
    variables
}

async fn data(maps: &Api<ConfigMap>, name: &str) -> Variables {
    match maps.get_opt(name).await {
        Ok(map) => map.and_then(|map| map.data).unwrap_or_default(),
        Err(error) => {
            eprintln!("ConfigMap {name}: {error}");
            Variables::new()
        }
    }
}
