//! `hoist controller`: the daemon.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use super::{Connection, online};
use crate::engine::digest;
use crate::shell;
use crate::shell::controller::Options;
use crate::shell::lease::Election;

/// Arguments of `hoist controller`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    connection: Connection,
    /// Serve the schedules of this namespace alone; those of all namespaces where not given.
    #[arg(long, short, env = "HOIST_NAMESPACE")]
    namespace: Option<String>,
    /// Act only while holding a Lease, so that several replicas can run: one acts, the others keep their caches warm.
    #[arg(long, env = "HOIST_LEADER_ELECT", default_value_t = true, action = clap::ArgAction::Set)]
    leader_elect: bool,
    /// The namespace of the Lease; the served one, or the process's own, where not given.
    #[arg(long, env = "HOIST_LEASE_NAMESPACE")]
    lease_namespace: Option<String>,
    /// The name of the Lease. Controllers that share schedules must share it.
    #[arg(long, env = "HOIST_LEASE_NAME", default_value = "hoist")]
    lease_name: String,
    /// How often everything is listed from scratch, in case that a watch has missed something: 10s, 5m, 1h.
    #[arg(long, env = "HOIST_RESYNC", default_value = "5m", value_parser = resync)]
    resync: std::time::Duration,
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
            let options = options(args, &config);
            Box::pin(shell::controller::run(config, options, stop)).await?;
            Ok(ExitCode::SUCCESS)
        },
        &args.connection,
    )
}

fn options(args: &Args, config: &kube::Config) -> Options {
    let namespace = args.lease_namespace.clone().or_else(|| args.namespace.clone());
    let election = args.leader_elect.then(|| Election {
        namespace: namespace.unwrap_or_else(|| config.default_namespace.clone()),
        name: args.lease_name.clone(),
        identity: identity(),
    });
    Options { scope: args.namespace.clone(), listen: args.listen, election, resync: args.resync }
}

fn resync(text: &str) -> Result<std::time::Duration, String> {
    match crate::api::Duration::parse(text)?.as_seconds() {
        seconds @ 1.. => Ok(std::time::Duration::from_secs(seconds.unsigned_abs())),
        _ => Err("at least 1s".to_owned()),
    }
}

/// The host, which is the pod in a cluster, and what tells processes on one host apart.
fn identity() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let (pid, born) = (std::process::id().to_string(), format!("{:?}", shell::clock::monotonic()));
    format!("{}_{}", host.trim(), digest(&[host.trim(), &pid, &born]))
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
