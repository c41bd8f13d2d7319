//! The simulated service Conduit: one process that stands for all pods labelled `app=conduit` in the cluster.
//!
//! The test environment's pods do not really run. This program watches them and serves the metrics that they would
//! serve, each with the environment variables that it saw when it started: a pod keeps its flag until it is replaced.
//! A ConfigMap `conduit-behaviour` in a namespace says what goes wrong there (see `traffic::Behaviour`).

#![allow(clippy::disallowed_methods, reason = "a simulated service lives by the real clock")]

mod environment;
mod traffic;
mod watch;
mod world;

use std::io::Read;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use clap::Parser;
use tokio::net::TcpListener;

use world::World;

/// Plays the pods of the service Conduit and serves their metrics.
#[derive(Debug, Parser)]
struct Args {
    /// Where to serve /metrics; port 0 takes a free one. The address is printed on standard output.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: String,
}

type Shared = Arc<Mutex<World>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    end_with_the_parent();
    // Only fails where there is one already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client = kube::Client::try_default().await?;
    let world = Arc::new(Mutex::new(World::new(Instant::now())));
    let listener = TcpListener::bind(&args.listen).await?;
    println!("{}", listener.local_addr()?);
    let router = Router::new().route("/metrics", get(metrics)).with_state(world.clone());
    tokio::try_join!(
        watch::namespaces(client.clone(), world.clone()),
        watch::behaviours(client.clone(), world.clone()),
        watch::pods(client, world),
        async { Ok(axum::serve(listener, router).await?) },
    )?;
    Ok(())
}

async fn metrics(State(world): State<Shared>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], hold(&world).render())
}

/// The world, its counters brought up to this moment.
fn hold(world: &Shared) -> MutexGuard<'_, World> {
    let mut world = world.lock().unwrap_or_else(PoisonError::into_inner);
    world.advance(Instant::now());
    world
}

/// Ends this process when the other end of a piped standard input is closed, also because its holder was killed.
/// A terminal or /dev/null is no sign of a parent.
fn end_with_the_parent() {
    use std::os::unix::fs::FileTypeExt;
    let piped = std::fs::metadata("/dev/stdin").is_ok_and(|stdin| stdin.file_type().is_fifo());
    if !piped {
        return;
    }
    std::thread::spawn(|| {
        let mut stdin = std::io::stdin();
        let mut ignored = [0; 64];
        while stdin.read(&mut ignored).is_ok_and(|count| count > 0) {}
        std::process::exit(0);
    });
}
