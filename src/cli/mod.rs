//! The command line: one file per verb.

mod backtest;
mod check;
mod controller;
mod crd;
mod described;
mod elsewhere;
mod explain;
mod order;
mod page;
mod plan;
mod scene;
mod simulate;
mod validate;
mod watched;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use kube::api::Api;
use kube::{Client, Resource, ResourceExt};

use crate::api::{MigrationRun, MigrationSchedule, MigrationScheduleStatus};
use crate::shell::error::within;
use crate::shell::guard::Guarded;
use crate::shell::store::Store;

/// Carries a feature flag through environments on evidence, and puts it back by itself.
#[derive(Debug, Parser)]
#[command(name = "hoist", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the controller: watch schedules, raise flags, put them back.
    Controller(controller::Args),
    /// Print the custom resource definitions, to be applied with kubectl.
    Crd(crd::Args),
    /// Check schedules, environments and interventions in files; says all problems at once.
    Validate(validate::Args),
    /// Say when each environment's turn comes, what it waits for, when all is done, and what does not fit together.
    Plan(plan::Args),
    /// Live through a schedule in a simulated world, with the controller's own engine: every transition with its reason.
    Simulate(simulate::Args),
    /// Ask every check of an environment once, now: what it answers, and what it could tell after a flip.
    Check(check::Args),
    /// Raise a flag at many moments of the past: how often the checks would have rolled it back, and why.
    Backtest(backtest::Args),
    /// Say why a schedule waits, what was seen, and what comes next.
    Explain(explain::Args),
    /// Stop all advance of a schedule; watching and rollback go on.
    Pause(order::Args),
    /// End the pauses of a schedule.
    Resume(order::Args),
    /// Put a schedule's raised flags back at once.
    Rollback(order::Args),
    /// Open the next epoch of an environment that was rolled back, is held, or was left out.
    Retry(order::Args),
    /// Let a phase pass its point of no return.
    Promote(order::Args),
    /// Leave out what was not raised yet; what comes after it goes on.
    Skip(order::Args),
    /// Override one wait or one check for a while.
    Override(order::OverrideArgs),
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Runs the command line and says how the process ends: 0 done, 1 refused or found wanting, 2 used wrongly;
/// `simulate` also 3 rolled back, 4 held, and `check` 3 breaches, 4 cannot be judged.
pub fn main() -> ExitCode {
    match Cli::parse().verb {
        Verb::Controller(args) => controller::run(&args),
        Verb::Crd(args) => crd::run(&args),
        Verb::Validate(args) => validate::run(&args),
        Verb::Plan(args) => plan::run(&args),
        Verb::Simulate(args) => simulate::run(&args),
        Verb::Check(args) => check::run(&args),
        Verb::Backtest(args) => backtest::run(&args),
        Verb::Explain(args) => explain::run(&args),
        Verb::Pause(args) => order::run(&args, crate::api::Action::Pause),
        Verb::Resume(args) => order::run(&args, crate::api::Action::Resume),
        Verb::Rollback(args) => order::run(&args, crate::api::Action::Rollback),
        Verb::Retry(args) => order::run(&args, crate::api::Action::Retry),
        Verb::Promote(args) => order::run(&args, crate::api::Action::Promote),
        Verb::Skip(args) => order::run(&args, crate::api::Action::Skip),
        Verb::Override(args) => order::overriding(&args),
    }
}

/// Runs a verb that talks to the API server, and prints what went wrong.
fn online<F>(verb: impl FnOnce(kube::Config) -> F, connection: &Connection) -> ExitCode
where
    F: Future<Output = Result<ExitCode, String>>,
{
    running(async { verb(connection.config().await?).await }).unwrap_or_else(|error| failed(&error))
}

/// Runs what asks others to its end.
fn running<T>(verb: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    // kube and reqwest must agree on one provider before the first connection.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| format!("no runtime could be started: {error}"))?.block_on(verb)
}

fn failed(error: &str) -> ExitCode {
    anstream::eprintln!("hoist: {error}");
    ExitCode::FAILURE
}

/// Which API server is talked to.
#[derive(Debug, clap::Args)]
pub(crate) struct Connection {
    /// The kubeconfig; $KUBECONFIG, ~/.kube/config or the pod's own account where not given.
    #[arg(long, global = true)]
    kubeconfig: Option<std::path::PathBuf>,
    /// The context of the kubeconfig.
    #[arg(long, global = true)]
    context: Option<String>,
}

impl Connection {
    async fn config(&self) -> Result<kube::Config, String> {
        let options = kube::config::KubeConfigOptions { context: self.context.clone(), ..Default::default() };
        let told = |e: &dyn std::fmt::Display| format!("no API server to talk to: {e}");
        match &self.kubeconfig {
            Some(path) => {
                let file = kube::config::Kubeconfig::read_from(path).map_err(|e| told(&e))?;
                kube::Config::from_custom_kubeconfig(file, &options).await.map_err(|e| told(&e))
            }
            None if self.context.is_some() => kube::Config::from_kubeconfig(&options).await.map_err(|e| told(&e)),
            None => kube::Config::infer().await.map_err(|e| told(&e)),
        }
    }
}

/// How long one answer of the API server is waited for: a person who waits sees that it is slow.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is known of a schedule, also of one whose spec cannot be read: people must be able to roll that back too.
struct Known {
    metadata: kube::api::ObjectMeta,
    status: Option<MigrationScheduleStatus>,
}

async fn schedule(client: &Client, namespace: &str, name: &str) -> Result<Known, String> {
    let api: Api<Guarded<MigrationSchedule>> = Api::namespaced(client.clone(), namespace);
    let object = within("read the schedule", PATIENCE, api.get(name)).await.map_err(|e| e.to_string())?;
    Ok(Known { metadata: object.meta().clone(), status: object.status() })
}

/// The runs of a schedule, and what is wrong with those that cannot be read.
async fn runs(client: &Client, schedule: &Known) -> Result<(Vec<MigrationRun>, Vec<String>), String> {
    let (namespace, uid) = (schedule.metadata.namespace.as_deref(), schedule.metadata.uid.as_deref());
    let store = Store::new(client.clone(), Arc::default());
    let found = store.runs_of(namespace.unwrap_or_default(), uid.unwrap_or_default()).await;
    let (mut runs, mut unreadable) = (Vec::new(), Vec::new());
    for run in found.map_err(|e| e.to_string())? {
        let name = run.name_any();
        match Arc::unwrap_or_clone(run).0 {
            Ok(run) => runs.push(run),
            Err(error) => unreadable.push(format!("run {name} cannot be read: {}", error.error)),
        }
    }
    Ok((runs, unreadable))
}

/// A schedule as people name it: `NAMESPACE/NAME`, or a name in the context's own namespace.
fn named(text: &str, default_namespace: &str) -> (String, String) {
    match text.split_once('/') {
        Some((namespace, name)) => (namespace.to_owned(), name.to_owned()),
        None => (default_namespace.to_owned(), text.to_owned()),
    }
}
