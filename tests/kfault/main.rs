//! kfault: Hoist's daemon on a real control plane, while everything that can go wrong between the two goes wrong.
//!
//! Without arguments a choice of some minutes; `--all` for all plans. docs/verification.md says how to read and replay.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a suite that cannot go on says why, and plans are played apart"
)]
#![allow(clippy::disallowed_methods, reason = "the suite waits for real processes by the real clock")]

mod apart;
mod control;
mod derive;
#[path = "../it/fixture/mod.rs"]
mod fixture;
mod judge;
mod plan;
mod play;
mod proxy;
mod report;
mod scene;
#[path = "../it/stage.rs"]
mod stage;
mod workload;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use futures::StreamExt;

use judge::Reference;
use plan::Plan;
use play::play;
use report::Report;

/// How many plans the choice has: about three minutes with eight at once.
const CHOICE: usize = 32;

/// How often a workload runs undisturbed: what differs between the runs is no fault's doing.
const UNDISTURBED: usize = 2;

/// Plays fault plans against the real daemon.
#[derive(Debug, Parser)]
struct Args {
    /// Play every plan, not a choice.
    #[arg(long)]
    all: bool,
    /// Name the plans that would be played, and play none.
    #[arg(long)]
    list: bool,
    /// Play the plans of this workload only; all of them.
    #[arg(long)]
    workload: Vec<String>,
    /// Play the plan in this file; may be repeated.
    #[arg(long)]
    plan: Vec<PathBuf>,
    /// Play plans whose name contains this only; of all plans.
    #[arg(long)]
    only: Option<String>,
    /// How many plans are played at once: they mostly wait.
    #[arg(long, default_value_t = 8)]
    at_once: usize,
    /// How many seconds a workload may take, besides what its faults last.
    #[arg(long, default_value_t = 120)]
    patience: u64,
    /// How results are printed: text or json.
    #[arg(long, short, default_value = "text")]
    output: String,
    /// Read the undisturbed runs from this file, or write them there where it is missing.
    #[arg(long, env = "HOIST_FAULTS_REFERENCE")]
    reference: Option<PathBuf>,
    /// Which choice is made, how long a killed daemon stays away, how soon people act.
    #[arg(long, env = "HOIST_FAULTS_SEED", default_value_t = 1)]
    seed: u64,
    /// As `--only`, where it names a workload: what `cargo test NAME` hands to every test binary.
    filter: Option<String>,
    #[command(flatten)]
    libtest: Libtest,
}

/// What `cargo test` hands on to every test binary. Nothing is ever captured or left out here.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "these are another program's switches")]
struct Libtest {
    #[arg(long, hide = true)]
    nocapture: bool,
    #[arg(long, hide = true)]
    show_output: bool,
    #[arg(long, hide = true)]
    exact: bool,
    #[arg(long, hide = true)]
    include_ignored: bool,
    #[arg(long, hide = true)]
    ignored: bool,
    #[arg(long, short, hide = true)]
    quiet: bool,
    #[arg(long, hide = true)]
    test_threads: Option<usize>,
    #[arg(long, hide = true)]
    color: Option<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    match faults(&args).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("kfault: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all is well.
async fn faults(args: &Args) -> Result<bool, String> {
    let begun = Instant::now();
    let meant = |filter: &String| workload::ALL.iter().any(|w| filter.contains(w.name));
    if args.libtest.ignored || args.filter.as_ref().is_some_and(|filter| !meant(filter)) {
        println!("kfault: 0 plans are meant");
        return Ok(true);
    }
    let given = args.plan.iter().map(|file| read(file)).collect::<Result<Vec<Plan>, String>>()?;
    let names: Vec<&str> = match (given.is_empty(), args.workload.is_empty()) {
        (false, _) => given.iter().map(|p| p.workload.as_str()).collect(),
        (true, false) => args.workload.iter().map(String::as_str).collect(),
        (true, true) => workload::ALL.iter().map(|w| w.name).collect(),
    };
    if let Some(unknown) = names.iter().find(|name| workload::named(name).is_none()) {
        let all: Vec<&str> = workload::ALL.iter().map(|w| w.name).collect();
        return Err(format!("there is no workload {unknown}; there are {}", all.join(", ")));
    }
    let lonely = |plan: &&Plan| plan.restores() && !workload::named(&plan.workload).is_some_and(|w| w.attended);
    if let Some(plan) = given.iter().find(lonely) {
        return Err(format!("{plan}: nobody in {} knows what to do after a restored backup", plan.workload));
    }
    let references = references(args, &names).await?;
    let plans = if given.is_empty() { chosen(args, &references) } else { given };
    if args.list {
        for plan in &plans {
            println!("{plan}");
        }
        println!("{} plans", plans.len());
        return Ok(true);
    }
    let patience = Duration::from_secs(args.patience);
    let mut report = Report::new(args.output == "json", plans.len());
    let (apart, shared): (Vec<&Plan>, Vec<&Plan>) =
        plans.iter().partition(|plan| plan.takes_the_cluster() && !apart::is_apart());
    let played = shared.iter().map(async |plan| (play(plan, patience).await, &references[plan.workload.as_str()]));
    let mut played = futures::stream::iter(played).buffer_unordered(args.at_once.max(1));
    while let Some((played, reference)) = played.next().await {
        report.note(&played, &judge::violations(&played, reference), judge::excess(&played, reference));
    }
    let played = apart.iter().map(async |plan| (*plan, apart::play(plan, &references[plan.workload.as_str()]).await));
    let mut played = futures::stream::iter(played).buffer_unordered(apart::AT_ONCE);
    while let Some((plan, told)) = played.next().await {
        report.note_apart(plan, &told?);
    }
    Ok(report.end(begun.elapsed()))
}

fn read(file: &std::path::Path) -> Result<Plan, String> {
    let text = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
    Plan::parse(&text).map_err(|e| format!("{}: {e}", file.display()))
}

fn chosen(args: &Args, references: &BTreeMap<String, Reference>) -> Vec<Plan> {
    let references: Vec<Reference> = references.values().cloned().collect();
    let mut plans = derive::plans(&references, args.seed);
    // A file of undisturbed runs may know more workloads than are asked for.
    plans.retain(|plan| args.workload.is_empty() || args.workload.contains(&plan.workload));
    let only = [&args.only, &args.filter].into_iter().flatten();
    for part in only.clone() {
        plans.retain(|plan| plan.to_string().contains(part.as_str()));
    }
    let some = args.all || !args.workload.is_empty() || only.count() > 0;
    if some { plans } else { derive::choice(&plans, CHOICE, args.seed) }
}

/// What each workload is where nothing goes wrong.
async fn references(args: &Args, names: &[&str]) -> Result<BTreeMap<String, Reference>, String> {
    let kept = args.reference.as_ref().and_then(|file| std::fs::read_to_string(file).ok());
    let kept: Vec<Reference> = match kept {
        Some(text) => serde_json::from_str(&text).map_err(|e| format!("the undisturbed runs: {e}"))?,
        None => Vec::new(),
    };
    let mut references: BTreeMap<String, Reference> = kept.into_iter().map(|r| (r.workload.clone(), r)).collect();
    let mut missing: Vec<&str> = names.iter().copied().filter(|name| !references.contains_key(*name)).collect();
    missing.sort_unstable();
    missing.dedup();
    let undisturbed = missing.iter().flat_map(|name| vec![Plan::undisturbed(name, args.seed); UNDISTURBED]);
    let (begun, patience) = (Instant::now(), Duration::from_secs(args.patience));
    let runs = undisturbed.map(async |plan| play(&plan, patience).await);
    let runs: Vec<play::Played> = futures::stream::iter(runs).buffered(args.at_once.max(1)).collect().await;
    if !runs.is_empty() {
        eprintln!("kfault: {} undisturbed runs took {} s", runs.len(), begun.elapsed().as_secs());
    }
    for (name, runs) in missing.iter().zip(runs.chunks(UNDISTURBED)) {
        let reference = Reference::of(runs)?;
        let lawless: Vec<String> = runs.iter().flat_map(|run| judge::violations(run, &reference)).collect();
        if !lawless.is_empty() {
            return Err(format!("{name} is at fault though nothing disturbs it:\n{}", lawless.join("\n")));
        }
        for run in runs {
            drop(std::fs::remove_file(&run.log));
        }
        references.insert((*name).to_owned(), reference);
    }
    if let (Some(file), false) = (&args.reference, missing.is_empty()) {
        let all: Vec<&Reference> = references.values().collect();
        let text = serde_json::to_string_pretty(&all).map_err(|e| e.to_string())?;
        std::fs::write(file, text).map_err(|e| format!("{}: {e}", file.display()))?;
    }
    Ok(references)
}
