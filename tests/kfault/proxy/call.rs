//! A request to the API server, taken apart.

use std::time::Instant;

use axum::body::Bytes;
use axum::http::{HeaderMap, Method};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::law::{About, about};
use super::{Actor, Gone};

/// A request as it came, and what it is about.
#[derive(Clone, Debug)]
pub struct Call {
    pub actor: Actor,
    /// Which of the actor's processes it is, where that ended and was started again.
    pub life: usize,
    pub method: Method,
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub verb: &'static str,
    /// With its part, as `migrationruns/status`.
    pub resource: String,
    pub namespace: String,
    pub name: String,
    /// When it was here.
    pub came: Instant,
    /// Whether whoever sent it has gone.
    pub left: CancellationToken,
}

/// Headers that are about one connection, or that would keep an answer from being read on its way.
const NOT_FORWARDED: [&str; 5] = ["host", "content-length", "connection", "transfer-encoding", "accept-encoding"];

impl Call {
    pub async fn read(
        (actor, life): (Actor, usize),
        request: axum::http::Request<hyper::body::Incoming>,
    ) -> Result<Call, Gone> {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(axum::body::Body::new(body), 8 << 20).await.map_err(|_| Gone)?;
        let path = parts.uri.path().to_owned();
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let mut headers = parts.headers;
        for name in NOT_FORWARDED {
            headers.remove(name);
        }
        let About { resource, namespace, name } = about(&path);
        let verb = match (&parts.method, query.contains("watch=true"), name.is_empty()) {
            (&Method::GET, true, _) => "watch",
            (&Method::GET, false, true) => "list",
            (&Method::GET, false, false) => "get",
            (&Method::POST, ..) => "create",
            (&Method::PUT, ..) => "update",
            (&Method::PATCH, ..) => "patch",
            (&Method::DELETE, ..) => "delete",
            _ => "other",
        };
        let name = if verb == "create" { name_in(&body).unwrap_or(name) } else { name };
        let left = parts.extensions.get().cloned().unwrap_or_default();
        let (method, came) = (parts.method, Instant::now());
        Ok(Call { actor, life, method, path, query, headers, body, verb, resource, namespace, name, came, left })
    }

    /// What it is about.
    pub fn about(&self) -> About {
        About { resource: self.resource.clone(), namespace: self.namespace.clone(), name: self.name.clone() }
    }

    /// What is counted besides: writes of a run by the state that they tell, as `migrationruns/status/Flipping`.
    pub fn telling(&self) -> Option<String> {
        let status = self.writes() && self.resource == "migrationruns/status";
        let body: Value = status.then(|| serde_json::from_slice(&self.body).ok()).flatten()?;
        Some(format!("{}/{}", self.resource, body.pointer("/status/state")?.as_str()?))
    }

    /// Path and query.
    pub fn url(&self) -> String {
        if self.query.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, self.query) }
    }

    pub fn writes(&self) -> bool {
        matches!(self.verb, "create" | "update" | "patch" | "delete")
    }

    /// One parameter of the query.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, v)| v)
    }

    /// Whether a watcher asks for the whole of what it follows: its lists alone are asked for in such pages.
    pub fn fills_a_cache(&self) -> bool {
        self.verb == "list" && self.parameter("limit") == Some("500") && self.parameter("continue").is_none()
    }

    /// As people would say it.
    pub fn told(&self) -> String {
        format!("{} {} {}/{}", self.verb, self.resource, self.namespace, self.name)
    }
}

fn name_in(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    body.pointer("/metadata/name")?.as_str().map(str::to_owned)
}
