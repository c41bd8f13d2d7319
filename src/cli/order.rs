//! `hoist pause | resume | rollback | retry | promote | skip | override`: a person's order, written as an Intervention.

use std::process::ExitCode;
use std::time::Duration;

use kube::api::{Api, PostParams};
use kube::{Client, ResourceExt};

use super::{Connection, Known, Output, PATIENCE, named, online, runs, schedule};
use crate::api::{
    Action, Intervention, InterventionSpec, MigrationRun, OrderOutcome, OverriddenWait, Override, RunState, ScheduleRef,
};
use crate::shell::clock;
use crate::shell::error::within;

/// How long the answer is waited for.
const ANSWER: Duration = Duration::from_secs(20);

/// Arguments of the verbs that order something.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The schedule: NAMESPACE/NAME, or NAME in the context's own namespace.
    schedule: String,
    /// Why; everybody who asks later reads it.
    #[arg(long, short)]
    reason: String,
    /// The phase that is meant; all where not given.
    #[arg(long)]
    phase: Option<String>,
    /// The environment that is meant; all where not given.
    #[arg(long)]
    environment: Option<String>,
    /// How the answer is printed.
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

/// Arguments of `hoist override`.
#[derive(Debug, clap::Args)]
pub(super) struct OverrideArgs {
    #[command(flatten)]
    order: Args,
    /// The wait that is not waited for.
    #[arg(long, value_enum, required_unless_present = "check", conflicts_with = "check")]
    wait: Option<WaitArg>,
    /// The check that neither stops nor rolls back anything.
    #[arg(long)]
    check: Option<String>,
    /// For how long: 90s, 30m, 2h, 1d.
    #[arg(long = "for", value_name = "DURATION", value_parser = crate::api::Duration::parse)]
    lasts: crate::api::Duration,
}

/// A wait as it is named on the command line.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum WaitArg {
    /// Windows, freezes and a missed start.
    Calendar,
    /// The rest of a soak.
    Soak,
}

impl From<WaitArg> for OverriddenWait {
    fn from(wait: WaitArg) -> Self {
        match wait {
            WaitArg::Calendar => Self::Calendar,
            WaitArg::Soak => Self::Soak,
        }
    }
}

/// Runs the verb.
pub(super) fn run(args: &Args, action: Action) -> ExitCode {
    online(|config| order(args, action, None, config), &args.connection)
}

/// Runs `hoist override`.
pub(super) fn overriding(args: &OverrideArgs) -> ExitCode {
    let until = clock::now() + args.lasts.delta();
    let what = Override { wait: args.wait.map(Into::into), check: args.check.clone(), until };
    online(|config| order(&args.order, Action::Override, Some(what), config), &args.order.connection)
}

async fn order(args: &Args, action: Action, what: Option<Override>, config: kube::Config) -> Result<ExitCode, String> {
    let (namespace, name) = named(&args.schedule, &config.default_namespace);
    let client = Client::try_from(config).map_err(|e| e.to_string())?;
    let schedule = schedule(&client, &namespace, &name).await?;
    let spec = InterventionSpec { what, ..spec(args, action, &schedule, &client).await? };
    let verb = format!("{action:?}").to_lowercase();
    let stamp = format!("{:x}", clock::now().timestamp());
    let nonce = std::process::id();
    let short: String = name.chars().take(200).collect();
    let object = Intervention::new(&format!("{short}-{verb}-{stamp}-{nonce:x}"), spec);
    let orders: Api<Intervention> = Api::namespaced(client, &namespace);
    let created = within("write the order", PATIENCE, orders.create(&PostParams::default(), &object))
        .await
        .map_err(|e| e.to_string())?;
    let answered = answer(&orders, &created.name_any()).await?;
    print(args, &answered);
    let applied = answered.status.as_ref().is_some_and(|s| s.outcome == OrderOutcome::Applied);
    Ok(if applied { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn spec(args: &Args, action: Action, schedule: &Known, client: &Client) -> Result<InterventionSpec, String> {
    let mut spec = InterventionSpec {
        schedule: ScheduleRef {
            name: schedule.metadata.name.clone().unwrap_or_default(),
            uid: schedule.metadata.uid.clone().unwrap_or_default(),
        },
        action,
        reason: args.reason.clone(),
        phase: None,
        environment: None,
        pauses: None,
        run: None,
        what: None,
    };
    match action {
        Action::Promote | Action::Skip if args.phase.is_none() => {
            return Err(format!("{action:?} names its phase: say which with --phase"));
        }
        Action::Pause | Action::Rollback | Action::Promote | Action::Skip | Action::Override => {
            spec.phase.clone_from(&args.phase);
            spec.environment.clone_from(&args.environment);
        }
        Action::Resume => spec.pauses = Some(pauses(args, schedule)?),
        Action::Retry => spec.run = Some(closed_run(args, schedule, client).await?),
    }
    Ok(spec)
}

fn pauses(args: &Args, schedule: &Known) -> Result<Vec<String>, String> {
    let all = schedule.status.iter().flat_map(|s| &s.pauses);
    let meant = all.filter(|p| {
        (args.phase.is_none() || p.phase == args.phase)
            && (args.environment.is_none() || p.environment == args.environment)
    });
    let names: Vec<String> = meant.map(|p| p.intervention.clone()).collect();
    if names.is_empty() { Err("no pause is in force that could be ended".to_owned()) } else { Ok(names) }
}

/// The one run that a retry can mean: the latest of its environment, rolled back or held.
async fn closed_run(args: &Args, schedule: &Known, client: &Client) -> Result<String, String> {
    let (own, _) = runs(client, schedule).await?;
    let latest = |run: &&MigrationRun| {
        !own.iter().any(|o| {
            o.spec.phase == run.spec.phase
                && o.spec.environment == run.spec.environment
                && o.spec.epoch > run.spec.epoch
        })
    };
    let meant = |run: &&MigrationRun| {
        args.phase.as_ref().is_none_or(|p| *p == run.spec.phase)
            && args.environment.as_ref().is_none_or(|e| *e == run.spec.environment.name)
    };
    let closed = |run: &&MigrationRun| {
        let status = run.status.as_ref();
        status.is_some_and(|s| {
            let over = matches!(s.state, RunState::RolledBack | RunState::Skipped);
            over || (s.state == RunState::Gating && s.held.is_some())
        })
    };
    let found: Vec<&MigrationRun> = own.iter().filter(latest).filter(meant).filter(closed).collect();
    match found.as_slice() {
        [run] => Ok(run.name_any()),
        [] => Err("no environment that is meant was rolled back, is held before its flip or was left out".to_owned()),
        many => {
            let names: Vec<&str> = many.iter().map(|r| r.spec.environment.name.as_str()).collect();
            Err(format!("several environments could be meant ({}); name one with --environment", names.join(", ")))
        }
    }
}

async fn answer(orders: &Api<Intervention>, name: &str) -> Result<Intervention, String> {
    let until = clock::monotonic() + ANSWER;
    loop {
        let order = within("read the answer", PATIENCE, orders.get(name)).await.map_err(|e| e.to_string())?;
        if order.status.is_some() {
            return Ok(order);
        }
        if clock::monotonic() > until {
            return Err(format!(
                "the order {name} is written, but no controller has answered it within {}s; it will be carried out when one runs",
                ANSWER.as_secs()
            ));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn print(args: &Args, order: &Intervention) {
    let Some(status) = &order.status else { return };
    match args.output {
        Output::Json => {
            let value = serde_json::json!({ "intervention": order.name_any(), "status": status });
            anstream::println!("{value:#}");
        }
        Output::Text => {
            anstream::println!("{:?}: {}", status.outcome, status.message);
            anstream::println!("Intervention {} ({})", order.name_any(), status.identity);
        }
    }
}
