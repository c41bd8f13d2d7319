//! `hoist explain`: why a schedule waits, what was seen, and what comes next, in sentences.

use std::process::ExitCode;

use futures::future::join_all;
use kube::{Client, ResourceExt};
use serde::Serialize;

use super::{Connection, Known, Output, named, online, runs, schedule};
use crate::analysis::{CheckLedger, Outcome, judge};
use crate::api::{Armed, ConditionStatus, MigrationRun, OverrideStatus, PendingAction, Percent, RunState, Time, Wait};
use crate::engine::calendar::distance;
use crate::engine::{KeptKey, Measure, Measured, Question, due_questions, new_check};
use crate::shell::kept;
use crate::shell::prometheus::Prometheus;

/// Arguments of `hoist explain`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The schedule: NAMESPACE/NAME, or NAME in the context's own namespace.
    schedule: String,
    /// How it is printed.
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

/// What is explained.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Explanation {
    schedule: String,
    /// In one sentence: how it stands.
    summary: String,
    environments: Vec<Environment>,
    pauses: Vec<String>,
    /// What people have overridden and is still in force.
    overrides: Vec<String>,
    /// What happens soon if nobody stops it.
    pending: Vec<String>,
    /// Runs that are stored but cannot be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unreadable: Vec<String>,
    /// What comes next, in a sentence.
    next: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Environment {
    phase: String,
    environment: String,
    epoch: i64,
    state: RunState,
    /// How many of the users the flag reaches, where it goes in steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    percent: Option<Percent>,
    since: Option<Time>,
    /// Why it does not go on without a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<String>,
    /// What it waits for.
    waits: Vec<String>,
    /// What was seen of the checks that do not pass.
    checks: Vec<String>,
    /// What the checks say this moment, asked by this command itself.
    evidence: Vec<String>,
    /// How it came here.
    history: Vec<String>,
}

/// Runs the verb.
pub(super) fn run(args: &Args) -> ExitCode {
    online(
        |config| async {
            let (namespace, name) = named(&args.schedule, &config.default_namespace);
            let client = Client::try_from(config).map_err(|e| e.to_string())?;
            let explanation = gather(&client, &namespace, &name).await?;
            match args.output {
                Output::Json => {
                    anstream::println!("{:#}", serde_json::to_value(&explanation).map_err(|e| e.to_string())?);
                }
                Output::Text => anstream::print!("{}", told(&explanation)),
            }
            Ok(ExitCode::SUCCESS)
        },
        &args.connection,
    )
}

async fn gather(client: &Client, namespace: &str, name: &str) -> Result<Explanation, String> {
    let schedule = schedule(client, namespace, name).await?;
    let (own, unreadable) = runs(client, &schedule).await?;
    let mut explanation = Explanation { unreadable, ..explain(&schedule, &own) };
    let prometheus = Prometheus::new(client.clone());
    // All at once: a person asks most when a Prometheus does not answer.
    let all = join_all(own.iter().map(|run| evidence(client, &prometheus, run))).await;
    for (run, evidence) in own.iter().zip(all) {
        let key = place(&run.spec.environment.namespace, &run.spec.environment.name);
        let of = explanation.environments.iter_mut();
        if let Some(e) =
            of.into_iter().find(|e| e.phase == run.spec.phase && e.environment == key && e.epoch == run.spec.epoch)
        {
            e.evidence = evidence;
        }
    }
    Ok(explanation)
}

/// What the checks of an environment will be able to tell, before its flip; afterwards they are asked, as the controller would.
async fn evidence(client: &Client, prometheus: &Prometheus, run: &MigrationRun) -> Vec<String> {
    if let Some(status) = run.status.as_ref().filter(|s| s.state == RunState::Gating) {
        return status.preflight.iter().map(|p| format!("{}: {}", p.check, p.message)).collect();
    }
    let status = run.status.as_ref().filter(|s| matches!(s.state, RunState::Soaking | RunState::Completed));
    let Some((armed, rolled_out)) = status.and_then(|s| Some((s.armed.as_ref()?, s.rolled_out?))) else {
        return Vec::new();
    };
    let baselines = match &armed.baseline {
        None => Err("nothing was kept of the time before the flip".to_owned()),
        Some(kept) => {
            let (namespace, run) = (run.namespace().unwrap_or_default(), run.name_any());
            kept::kept(client, &KeptKey { namespace, run, kept: kept.clone() }).await
        }
    };
    join_all(armed.checks.iter().map(|check| {
        let ledger = new_check(armed, check, rolled_out, baselines.as_ref().map_err(String::as_str));
        asked(prometheus, run, armed, ledger)
    }))
    .await
}

async fn asked(prometheus: &Prometheus, run: &MigrationRun, armed: &Armed, mut ledger: CheckLedger) -> String {
    let now = crate::shell::clock::now();
    let check = ledger.check().clone();
    if ledger.is_without_past() {
        let why = ledger.latest().map(|l| l.judged.sentence.clone()).unwrap_or_default();
        return format!("{} cannot be judged: {why}", check.name);
    }
    if now < ledger.next() {
        let at = clock(ledger.next());
        return format!("{} is first asked at {at}: nothing from before the flip is looked at", check.name);
    }
    let measure = Measure {
        run: run.name_any(),
        check: check.name.clone(),
        environment: run.spec.environment.clone(),
        prometheus: armed.prometheus.clone(),
        // A threshold is asked about this moment, what judges by blocks about all of them.
        questions: match check.block() {
            None => vec![Question::new(&check, ledger.window_at(now), now)],
            Some(_) => due_questions(&ledger, now),
        },
    };
    let mut measured = prometheus.measure(&measure).await;
    let judged = match (&check.threshold, measured.answers.first()) {
        (_, None) => None,
        (Some(threshold), Some(answers)) => {
            Some(judge(threshold, answers, CheckLedger::max_age(armed.prometheus.scrape_interval)))
        }
        (None, Some(_)) => {
            // A range holds a thousand blocks, and a soak may have more.
            while !measured.answers.is_empty() {
                measured.answers.iter().for_each(|answers| ledger.absorb(answers));
                let questions = due_questions(&ledger, now);
                let rest = Measure { questions, ..measure.clone() };
                measured =
                    if rest.questions.is_empty() { Measured::default() } else { prometheus.measure(&rest).await };
            }
            ledger.conclude();
            ledger.latest().map(|l| l.judged.clone())
        }
    };
    if let Some(judged) = judged {
        return format!("{} {}: {}", check.name, word(judged.outcome), judged.sentence);
    }
    let why = measured.failed.map(|(_, why)| why).unwrap_or_default();
    format!("{} could not be asked from here: {why}", check.name)
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "passes",
        Outcome::Breach => "breaches",
        Outcome::Inconclusive(_) => "is inconclusive",
        Outcome::Error(_) => "has no usable answer",
    }
}

fn explain(schedule: &Known, runs: &[MigrationRun]) -> Explanation {
    let status = schedule.status.clone().unwrap_or_default();
    let environments = status.environments.iter().map(|e| {
        let run = runs.iter().find(|r| {
            r.spec.phase == e.phase
                && r.spec.environment.name == e.environment
                && r.spec.environment.namespace == e.namespace
                && r.spec.epoch == e.epoch
        });
        let of = run.and_then(|r| r.status.as_ref());
        Environment {
            phase: e.phase.clone(),
            environment: place(&e.namespace, &e.environment),
            epoch: e.epoch,
            state: e.state,
            percent: e.percent,
            since: e.since,
            held: of.and_then(|s| s.held.as_ref()).map(|h| format!("{:?}: {}", h.reason, h.message)),
            waits: match of {
                Some(s) => s.waits.iter().map(|w| format!("{:?}: {}{}", w.gate, w.message, still(w))).collect(),
                None => Some(e.message.clone()).filter(|m| !m.is_empty()).into_iter().collect(),
            },
            checks: of
                .map(|s| {
                    s.checks
                        .iter()
                        .map(|c| format!("{} {:?} since {}: {}", c.name, c.outcome, clock(c.since), c.message))
                        .collect()
                })
                .unwrap_or_default(),
            evidence: Vec::new(),
            history: of
                .map(|s| {
                    s.transitions
                        .iter()
                        .map(|t| format!("{}  {} to {}, by {}: {}", clock(t.at), t.from, t.to, t.actor, t.reason))
                        .collect()
                })
                .unwrap_or_default(),
        }
    });
    Explanation {
        schedule: format!(
            "{}/{}",
            schedule.metadata.namespace.as_deref().unwrap_or_default(),
            schedule.metadata.name.as_deref().unwrap_or_default()
        ),
        summary: summary(schedule),
        environments: environments.collect(),
        pauses: status
            .pauses
            .iter()
            .map(|p| format!("{} since {}: {}", p.intervention, clock(p.since), p.reason))
            .collect(),
        overrides: overrides(&status.overrides),
        pending: status.pending_actions.iter().map(pending).collect(),
        unreadable: Vec::new(),
        next: next(schedule),
    }
}

/// An Environment as it is named; Work may have none.
fn place(namespace: &str, name: &str) -> String {
    if name.is_empty() { "-".to_owned() } else { format!("{namespace}/{name}") }
}

fn overrides(all: &[OverrideStatus]) -> Vec<String> {
    let now = crate::shell::clock::now();
    let in_force = all.iter().filter(|o| o.what.until > now);
    let told = in_force.map(|o| {
        let what = match (&o.what.wait, &o.what.check) {
            (Some(wait), _) => format!("{wait:?}"),
            (None, check) => format!("check {}", check.as_deref().unwrap_or_default()),
        };
        format!("{what} until {} by {}: {}", clock(o.what.until), o.intervention, o.reason)
    });
    told.collect()
}

fn pending(action: &PendingAction) -> String {
    let left = distance(crate::shell::clock::now(), action.at);
    let (check, at) = (&action.check, clock(action.at));
    format!("{:?} of {} at {at} (in {left}), for check {check}: {}", action.action, action.run, action.message)
}

fn summary(schedule: &Known) -> String {
    let Some(status) = schedule.status.as_ref().filter(|s| !s.conditions.is_empty()) else {
        return "no controller has looked at it yet".to_owned();
    };
    let stale = schedule.metadata.generation.is_some_and(|g| g != status.observed_generation);
    let note = if stale { " (the spec was edited since; the controller has not looked at the edit yet)" } else { "" };
    let ready = status.conditions.iter().find(|c| c.type_ == "Ready");
    let said =
        ready.map(|c| if c.message.is_empty() { c.reason.clone() } else { format!("{}: {}", c.reason, c.message) });
    format!("{}{note}", said.unwrap_or_default())
}

/// What comes next, told from where the schedule stands.
fn next(schedule: &Known) -> String {
    let status = schedule.status.clone().unwrap_or_default();
    let holds = |type_: &str| status.conditions.iter().any(|c| c.type_ == type_ && c.status == ConditionStatus::True);
    if holds("Completed") {
        return "nothing: every environment is complete".to_owned();
    }
    if holds("Stalled") {
        return "nothing, before a person corrects what is said above".to_owned();
    }
    let first = status.environments.iter().find(|e| !e.state.is_done());
    match first {
        None if !status.environments.is_empty() => "the end of the watch".to_owned(),
        None => "the controller's first look".to_owned(),
        Some(e) => match e.state {
            RunState::Pending => format!(
                "{} {}: {}",
                e.phase,
                e.environment,
                if e.message.is_empty() { "its turn comes" } else { &e.message }
            ),
            RunState::Gating if e.environment.is_empty() => {
                format!("the turn of {}, as soon as nothing is waited for", e.phase)
            }
            RunState::Gating => format!("the turn of {} {}, as soon as nothing is waited for", e.phase, e.environment),
            RunState::Flipping | RunState::Verifying => {
                format!("the soak of {} {}, once its pods run on the new value", e.phase, e.environment)
            }
            RunState::Soaking if e.message.starts_with("goes back as planned") => {
                format!("{} {} {}", e.phase, e.environment, e.message)
            }
            RunState::Lowering => {
                format!("proof that the pods of {} {} are back on the old value, as planned", e.phase, e.environment)
            }
            RunState::Soaking => {
                format!("the end of the soak of {} {}, then the next environment", e.phase, e.environment)
            }
            RunState::RollingBack => {
                format!("proof that the pods of {} {} are back on the old value", e.phase, e.environment)
            }
            state => format!("{} {} is {state}", e.phase, e.environment),
        },
    }
}

/// How long a wait still takes, where a calendar says so.
fn still(wait: &Wait) -> String {
    let until = wait.until.map(|until| distance(crate::shell::clock::now(), until));
    until.map(|time| format!(" (in {time})")).unwrap_or_default()
}

fn clock(at: Time) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn told(explanation: &Explanation) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    // Writing into a String does not fail.
    let _ = writeln!(text, "{}\n  {}\n", explanation.schedule, explanation.summary);
    for e in &explanation.environments {
        let epoch = if e.epoch > 1 { format!(" (epoch {})", e.epoch) } else { String::new() };
        let since = e.since.map(|at| format!("  since {}", clock(at))).unwrap_or_default();
        let percent = e.percent.map(|p| format!("  at {p} %")).unwrap_or_default();
        let _ = writeln!(text, "{:<14} {:<28} {:<12}{percent}{since}{epoch}", e.phase, e.environment, e.state.name());
        let over = matches!(e.state, RunState::Completed | RunState::Finished | RunState::Pending);
        for line in e.held.iter().map(|h| format!("held, {h}")).chain(e.waits.iter().map(|w| format!("waits, {w}"))) {
            let _ = writeln!(text, "    {line}");
        }
        for line in &e.checks {
            let _ = writeln!(text, "    check {line}");
        }
        for line in &e.evidence {
            let _ = writeln!(text, "    now, {line}");
        }
        let kept = if over { 1 } else { 5 };
        for line in e.history.iter().skip(e.history.len().saturating_sub(kept)) {
            let _ = writeln!(text, "    {line}");
        }
    }
    for line in &explanation.unreadable {
        let _ = writeln!(text, "{line}");
    }
    for pause in &explanation.pauses {
        let _ = writeln!(text, "paused by {pause}");
    }
    for line in &explanation.overrides {
        let _ = writeln!(text, "overridden: {line}");
    }
    for line in &explanation.pending {
        let _ = writeln!(text, "pending: {line}");
    }
    let _ = writeln!(text, "\nnext: {}", explanation.next);
    text
}
