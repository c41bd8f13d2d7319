//! A reverse proxy between daemons on the one side and the API server and Prometheus on the other: it does what a plan
//! says, and keeps the trace of everything that came through.
//!
//! Each daemon has a listener of its own, by which it is told apart; they share one state.

#![allow(dead_code, reason = "the suite and the bench each use a part")]

mod call;
mod door;
mod evidence;
mod law;
mod past;
mod shared;
mod trace;
mod watch;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::fixture::Cluster;
use crate::plan::{Deed, Moment, Plan, length};
pub use law::Law;
use shared::Shared;
#[allow(unused_imports, reason = "the bench does not count raises")]
pub use trace::{RESTORED, RESUMED, Record, raises};

/// Which daemon: the first is 0.
pub type Actor = usize;

/// The connection is closed and nothing is answered.
#[derive(Debug)]
pub struct Gone;

impl std::fmt::Display for Gone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("closed without an answer")
    }
}

impl std::error::Error for Gone {}

type Answered = Result<Response<Body>, Gone>;

/// A running proxy.
pub struct Proxy {
    shared: Arc<Shared>,
    doors: Vec<SocketAddr>,
    evidence: SocketAddr,
    folder: tempfile::TempDir,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

impl Proxy {
    /// Starts a proxy for so many daemons.
    pub async fn start(plan: &Plan, daemons: usize) -> Proxy {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let shared = Arc::new(Shared::new(plan));
        let (mut doors, mut tasks) = (Vec::new(), Vec::new());
        for actor in 0..daemons {
            let (address, task) = listen(&shared, move |shared, request| door::api(shared, actor, request)).await;
            doors.push(address);
            tasks.push(task);
        }
        let (evidence, task) = listen(&shared, evidence::prometheus).await;
        tasks.push(task);
        Proxy { shared, doors, evidence, folder: tempfile::tempdir().expect("a folder"), tasks }
    }

    /// A kubeconfig whose context `hoist` goes through this daemon's door.
    pub fn kubeconfig(&self, actor: Actor) -> PathBuf {
        let path = self.folder.path().join(format!("kubeconfig-{actor}"));
        let token = Cluster::shared().var("HOIST_TOKEN");
        let config = serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "hoist",
            "clusters": [{ "name": "proxy", "cluster": { "server": format!("http://{}", self.doors[actor]) } }],
            "users": [{ "name": "hoist", "user": { "token": token } }],
            "contexts": [{ "name": "hoist", "context": { "cluster": "proxy", "user": "hoist" } }],
        });
        std::fs::write(&path, config.to_string()).expect("a kubeconfig");
        path
    }

    /// Where Prometheus is asked through this proxy.
    pub fn prometheus_url(&self) -> String {
        format!("http://{}", self.evidence)
    }

    /// Tells which process a daemon is now; nothing while it does not run.
    pub fn aim(&self, actor: Actor, pid: Option<u32>) {
        self.shared.aim(actor, pid);
    }

    /// Begins to count the time for faults that come at a time.
    pub fn begin(&mut self, plan: &Plan) {
        for fault in &plan.faults {
            let Moment::Time(after) = &fault.at else { continue };
            let (shared, after, deed) = (Arc::clone(&self.shared), length(*after), fault.deed.clone());
            self.tasks.push(tokio::spawn(async move {
                tokio::time::sleep(after).await;
                shared.struck(deed.to_string());
                match deed {
                    Deed::BlackHole(lasts) => shared.dig(length(lasts)),
                    deed => drop(shared.ask(deed)),
                }
            }));
        }
    }

    /// Everything that came through, in the order in which it was answered.
    pub fn records(&self) -> Vec<Record> {
        self.shared.records()
    }

    /// When the last write was answered that is no lease's.
    pub fn last_write(&self) -> Option<std::time::Instant> {
        self.shared.last_write()
    }

    /// What was done so far, each with what it hit.
    pub fn done(&self) -> Vec<String> {
        self.shared.done()
    }

    /// How often this daemon was killed by the plan.
    pub fn kills(&self, actor: Actor) -> usize {
        self.shared.kills(actor)
    }

    /// Whether nothing is kept on the way any more and every disturbance that lasts is over.
    pub fn at_rest(&self) -> bool {
        self.shared.at_rest()
    }

    /// Waits until more than so much is due for the whole cluster, and gives what comes next; what came before is done.
    pub async fn due(&self, done: usize) -> Deed {
        self.shared.due(done).await
    }

    /// Puts something into the trace that did not come through: [`RESTORED`] or [`RESUMED`].
    pub fn note(&self, what: &'static str) {
        self.shared.record(Record::beside(what));
    }
}

/// Listens on a free port, and hands every request to `serve`, in a task of its own: a request that was read goes its
/// way though whoever sent it is gone.
async fn listen<S, F>(shared: &Arc<Shared>, serve: S) -> (SocketAddr, tokio::task::JoinHandle<()>)
where
    S: Fn(Arc<Shared>, Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Answered> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let shared = Arc::clone(shared);
    let task = tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let _ = stream.set_nodelay(true);
            let (shared, serve) = (Arc::clone(&shared), serve.clone());
            let service = service_fn(move |mut request: Request<Incoming>| {
                let left = CancellationToken::new();
                request.extensions_mut().insert(left.clone());
                let (answer, waits) = (tokio::spawn(serve(Arc::clone(&shared), request)), left.drop_guard());
                async move {
                    let answer = answer.await.unwrap_or(Err(Gone));
                    drop(waits.disarm());
                    answer
                }
            });
            tokio::spawn(async move {
                // What goes wrong on one connection is its client's to notice.
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    (address, task)
}
