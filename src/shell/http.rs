//! `/healthz`, `/readyz` and `/metrics`. Nothing here changes anything or shows an object's contents.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What OpenMetrics text is called on the wire.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Listens, before anything else begins.
///
/// # Errors
/// A sentence, where the address cannot be listened on.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|e| format!("cannot listen on {address}: {e}"))
}

/// Serves until the token is cancelled.
///
/// # Errors
/// A sentence, where serving broke.
pub async fn serve(
    listener: TcpListener,
    metrics: impl Fn() -> String + Clone + Send + Sync + 'static,
    ready: Arc<AtomicBool>,
    stop: CancellationToken,
) -> Result<(), String> {
    let bound = listener.local_addr().map_err(|e| e.to_string())?;
    tracing::info!(address = %bound, "serving /healthz, /readyz and /metrics");
    let readiness = move || async move {
        if ready.load(Ordering::Relaxed) {
            (StatusCode::OK, "ready\n")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "caches are being filled\n")
        }
    };
    let metrics = move || async move { ([(header::CONTENT_TYPE, OPEN_METRICS)], metrics()) };
    let routes = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readiness))
        .route("/metrics", get(metrics));
    let end = async move { stop.cancelled().await };
    axum::serve(listener, routes).with_graceful_shutdown(end).await.map_err(|e| e.to_string())
}
