//! A reverse proxy between one daemon and the API server that counts: every request, and every write with what it means.
//! Faults are kfault's business.

#![allow(dead_code, reason = "the tests and the bench each use a part")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use hoist::engine::laws::Trace;

use crate::fixture::Cluster;
use law::{about, law};

#[path = "../tests/kfault/proxy/law.rs"]
mod law;

/// One write that the API server took: how people would name it.
#[derive(Clone, Debug)]
pub struct Write {
    pub what: String,
    /// When the API server acknowledged it.
    pub at: std::time::Instant,
    pub trace: Option<Trace>,
    /// The request as it was sent, for whoever sends its like again: path with query, content type, body.
    pub path: String,
    pub content_type: String,
    pub body: axum::body::Bytes,
}

struct Shared {
    upstream: String,
    client: reqwest::Client,
    taken: Mutex<Vec<Write>>,
    asked: Mutex<Vec<Asked>>,
}

/// Any request that came, reads and watches too.
#[derive(Clone, Debug)]
pub struct Asked {
    pub at: std::time::Instant,
    pub method: String,
    pub path: String,
}

/// A running proxy.
pub struct Proxy {
    shared: Arc<Shared>,
    address: SocketAddr,
    folder: tempfile::TempDir,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    pub async fn start() -> Proxy {
        let cluster = Cluster::shared();
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let builder = reqwest::Client::builder().tls_danger_accept_invalid_certs(true);
        let shared = Arc::new(Shared {
            upstream: cluster.var("APISERVER_URL").to_owned(),
            client: builder.build().expect("a client"),
            taken: Mutex::default(),
            asked: Mutex::default(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let routes = axum::Router::new().fallback(any(forward)).with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move { axum::serve(listener, routes).await.expect("the proxy serves") });
        Proxy { shared, address, folder: tempfile::tempdir().expect("a folder"), task }
    }

    /// A kubeconfig whose context `hoist` goes through this proxy.
    pub fn kubeconfig(&self) -> PathBuf {
        let path = self.folder.path().join("kubeconfig");
        let token = Cluster::shared().var("HOIST_TOKEN");
        // As in a pod: with a CA of the cluster's own, and not with those of the whole world.
        let given = std::fs::read_to_string(Cluster::shared().var("KUBECONFIG")).expect("the cluster's kubeconfig");
        let given: serde_json::Value = serde_yaml::from_str(&given).expect("YAML");
        let ca = &given["clusters"][0]["cluster"]["certificate-authority-data"];
        let server = format!("http://{}", self.address);
        let config = serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "hoist",
            "clusters": [{ "name": "proxy", "cluster": { "server": server, "certificate-authority-data": ca } }],
            "users": [{ "name": "hoist", "user": { "token": token } }],
            "contexts": [{ "name": "hoist", "context": { "cluster": "proxy", "user": "hoist" } }],
        });
        std::fs::write(&path, config.to_string()).expect("a kubeconfig");
        path
    }

    /// Where this proxy is asked.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every request that came, in order.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().expect("no panic").clone()
    }

    /// When the API server took such writes, in order.
    pub fn when(&self, is: impl Fn(&Write) -> bool) -> Vec<std::time::Instant> {
        self.shared.taken.lock().expect("no panic").iter().filter(|w| is(w)).map(|w| w.at).collect()
    }

    /// Everything that the API server took, in order.
    pub fn taken(&self) -> Vec<Write> {
        self.shared.taken.lock().expect("no panic").clone()
    }
}

async fn forward(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let body = axum::body::to_bytes(body, 8 << 20).await.unwrap_or_default();
    let asked = Asked { at: std::time::Instant::now(), method: parts.method.to_string(), path: path.clone() };
    shared.asked.lock().expect("no panic").push(asked);
    let writes = matches!(parts.method, Method::POST | Method::PUT | Method::PATCH | Method::DELETE);
    let what = format!("{} {}", parts.method, path.split('?').next().unwrap_or_default());
    let mut outgoing = shared.client.request(parts.method.clone(), format!("{}{path}", shared.upstream));
    for (name, value) in parts.headers.iter().filter(|(n, _)| !["host", "content-length"].contains(&n.as_str())) {
        outgoing = outgoing.header(name, value);
    }
    let Ok(answer) = outgoing.body(body.clone()).send().await else { return gone() };
    if writes && answer.status().is_success() {
        let content_type =
            parts.headers.get("content-type").and_then(|t| t.to_str().ok()).unwrap_or_default().to_owned();
        let read = serde_json::from_slice(&body).ok();
        let law = read.and_then(|body| law(&about(parts.uri.path()), &body));
        let (at, trace) = (std::time::Instant::now(), law.map(|law| law.trace));
        let taken = Write { what, at, trace, path: path.clone(), content_type, body };
        shared.taken.lock().expect("no panic").push(taken);
    }
    let mut response = Response::builder().status(answer.status());
    for (name, value) in answer.headers().iter().filter(|(n, _)| n.as_str() != "transfer-encoding") {
        response = response.header(name, value);
    }
    response.body(Body::from_stream(answer.bytes_stream())).unwrap_or_else(|_| gone())
}

fn gone() -> Response {
    StatusCode::BAD_GATEWAY.into_response()
}
