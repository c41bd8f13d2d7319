//! `hoist controller`: the daemon.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use super::{Connection, online};
use crate::shell;

/// Arguments of `hoist controller`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    connection: Connection,
    /// Serve the schedules of this namespace alone; those of all namespaces where not given.
    #[arg(long, short, env = "HOIST_NAMESPACE")]
    namespace: Option<String>,
    /// Where /healthz, /readyz and /metrics are served.
    #[arg(long, env = "HOIST_LISTEN", default_value = "127.0.0.1:9091")]
    listen: SocketAddr,
    /// What is logged, as tracing's filter: `info`, `hoist=debug`.
    #[arg(long, env = "HOIST_LOG", default_value = "info,kube=warn,kube_client=off")]
    log: String,
    /// How it is logged; pretty on a terminal, JSON otherwise.
    #[arg(long, env = "HOIST_LOG_FORMAT")]
    log_format: Option<LogFormat>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum LogFormat {
    Pretty,
    Json,
}

/// Runs the verb.
pub(super) fn run(args: &Args) -> ExitCode {
    start_logging(args);
    online(
        |config| async {
            let stop = CancellationToken::new();
            tokio::spawn(stop_on_signals(stop.clone()));
            Box::pin(shell::controller::run(config, args.namespace.as_deref(), args.listen, stop)).await?;
            Ok(ExitCode::SUCCESS)
        },
        &args.connection,
    )
}

fn start_logging(args: &Args) {
    let filter = EnvFilter::try_new(&args.log).unwrap_or_else(|_| EnvFilter::new("info"));
    let terminal = std::io::stderr().is_terminal();
    let format = args.log_format.unwrap_or(if terminal { LogFormat::Pretty } else { LogFormat::Json });
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Pretty => builder.with_ansi(terminal).with_target(false).init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).init(),
    }
}

/// The first signal stops in good order: passes in work end, nothing new begins.
async fn stop_on_signals(stop: CancellationToken) {
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        return;
    };
    tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
    tracing::info!("stopping");
    stop.cancel();
}
