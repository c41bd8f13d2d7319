//! The past, for journeys in time: what the caches' lists said at a write, told again later as if it were now.
//!
//! The API server keeps every version for some minutes, so that a watch which begins in the past is given all that it
//! missed as soon as the journey ends.

use std::collections::BTreeMap;
use std::sync::Mutex;

use axum::body::Bytes;
use axum::http::HeaderMap;
use serde_json::Value;
use tokio::sync::watch;

use super::call::Call;

/// A list as it was.
#[derive(Clone)]
pub struct Page {
    pub content_type: Option<String>,
    pub body: Bytes,
    pub version: u64,
}

#[derive(Default)]
struct Lists {
    /// Which lists fill caches, by address, with the headers that they were asked with.
    asked: BTreeMap<String, (String, HeaderMap)>,
    /// What they said, by address.
    pages: BTreeMap<String, Page>,
}

pub struct Past {
    lists: Mutex<Lists>,
    told: watch::Sender<bool>,
}

impl Default for Past {
    fn default() -> Past {
        Past { lists: Mutex::default(), told: watch::Sender::new(false) }
    }
}

impl Past {
    /// Notes a list that fills a cache.
    pub fn note(&self, call: &Call) {
        let mut lists = self.lists.lock().expect("no panic");
        lists.asked.insert(call.url(), (call.path.clone(), call.headers.clone()));
    }

    /// Asks all lists that fill caches and keeps what they say now.
    pub async fn remember(&self, client: &reqwest::Client, upstream: &str) {
        let asked = self.lists.lock().expect("no panic").asked.clone();
        for (url, (_, headers)) in asked {
            let request = client.get(format!("{upstream}{url}")).headers(headers);
            let Ok(answer) = request.send().await else { continue };
            let content_type = answer.headers().get("content-type").and_then(|v| v.to_str().ok()).map(str::to_owned);
            let Ok(body) = answer.bytes().await else { continue };
            let version = serde_json::from_slice::<Value>(&body)
                .ok()
                .and_then(|list| list.pointer("/metadata/resourceVersion")?.as_str()?.parse().ok());
            let Some(version) = version else { continue };
            self.lists.lock().expect("no panic").pages.insert(url, Page { content_type, body, version });
        }
    }

    /// From now on the past is told.
    pub fn begin(&self) {
        if !self.lists.lock().expect("no panic").pages.is_empty() {
            self.told.send_replace(true);
        }
    }

    pub fn end(&self) {
        self.told.send_replace(false);
    }

    pub fn is_told(&self) -> bool {
        *self.told.borrow()
    }

    /// Tells when it begins and ends.
    pub fn changes(&self) -> watch::Receiver<bool> {
        self.told.subscribe()
    }

    /// What a list says while the past is told.
    pub fn page(&self, call: &Call) -> Option<Page> {
        let page = || self.lists.lock().expect("no panic").pages.get(&call.url()).cloned();
        (self.is_told() && call.fills_a_cache()).then(page).flatten()
    }

    /// The version up to which a watch knows everything while the past is told.
    pub fn version(&self, call: &Call) -> Option<u64> {
        let lists = self.lists.lock().expect("no panic");
        let url = lists.asked.iter().find(|(_, (path, _))| *path == call.path).map(|(url, _)| url)?;
        let version = lists.pages.get(url).map(|page| page.version);
        version.filter(|_| self.is_told())
    }
}
