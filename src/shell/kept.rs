//! What runs stand on and never changes: immutable, compressed ConfigMaps beside them.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::{Api, PostParams};

use super::error::{CALL, Error, within};
use crate::analysis::Baselines;
use crate::engine::{Keep, KeptKey};

/// The key that holds it.
const KEY: &str = "data.json.gz";

/// The label and the annotation that carry the run that something is kept for: its digest, and its name.
const RUN: &str = "hoist.dev/run";

/// The most that is unpacked: what is kept is a tenth of this, and what others put there may be a bomb.
const LARGEST: u64 = 16 << 20;

/// Keeps something. That it is there already is well: its name says what is in it.
///
/// # Errors
/// The API server's refusal.
pub async fn keep(client: &Client, keep: &Keep) -> Result<(), Error> {
    let Keep { key, text } = keep;
    let mut object = ConfigMap::default();
    object.metadata.name = Some(key.kept.name.clone());
    object.metadata.namespace = Some(key.namespace.clone());
    object.metadata.labels = Some([(RUN.to_owned(), crate::engine::digest(&[&key.run]))].into());
    object.metadata.annotations = Some([(RUN.to_owned(), key.run.clone())].into());
    object.immutable = Some(true);
    object.binary_data = Some([(KEY.to_owned(), ByteString(packed(text)))].into());
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), &key.namespace);
    let params = PostParams { field_manager: Some("hoist".to_owned()), ..PostParams::default() };
    match within("keep what was seen before the flip", CALL, api.create(&params, &object)).await {
        Ok(_) => Ok(()),
        Err(error) if error.code() == Some(409) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Reads what was kept.
///
/// # Errors
/// A sentence, where it is not there, or not what was kept.
pub async fn kept(client: &Client, key: &KeptKey) -> Result<Baselines, String> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), &key.namespace);
    let place = format!("ConfigMap {}/{}", key.namespace, key.kept.name);
    let object = within("read what was seen before the flip", CALL, api.get(&key.kept.name)).await;
    let object = object.map_err(|error| match error.code() {
        Some(404) => {
            format!("{place} is gone, and with it what was seen before the flip; Override the check, or Retry")
        }
        _ => format!("{place}: {error}"),
    })?;
    let data = object.binary_data.and_then(|mut data| data.remove(KEY));
    let data = data.ok_or_else(|| format!("{place} has no key {KEY}"))?;
    let text = unpacked(&data.0).map_err(|error| format!("{place} cannot be unpacked: {error}"))?;
    Baselines::read(&text, &key.kept.sha256).map_err(|why| format!("{place}: {why}"))
}

fn packed(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    // Writing to memory does not fail.
    let _ = encoder.write_all(text.as_bytes());
    encoder.finish().unwrap_or_default()
}

fn unpacked(data: &[u8]) -> std::io::Result<String> {
    let mut text = String::new();
    GzDecoder::new(data).take(LARGEST).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked_and_never_without_bounds() {
        let text = "[0.1,null],".repeat(10_000);
        let small = packed(&text);
        assert!(small.len() < text.len() / 20, "{}", small.len());
        assert_eq!(unpacked(&small).expect("text"), text);
        assert!(unpacked(&small[..small.len() / 2]).is_err());
        let bomb = packed(&"0".repeat(LARGEST as usize + 1_000));
        assert_eq!(unpacked(&bomb).expect("a part").len() as u64, LARGEST);
    }
}
