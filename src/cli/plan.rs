//! `hoist plan`: the dated timeline of a schedule, when it will finish, and what in it does not fit together.

mod html;
mod table;
mod warnings;

use std::io::Write;
use std::process::ExitCode;

use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Value, json};

use super::page::page;
use super::scene::{Input, Looked, Progress, Staged, Stop, printed};
use super::validate::files::Warning;
use crate::api::{PhaseKind, Time};
use crate::engine::laws::Violation;
use crate::engine::{PhasePlan, Plan};
use crate::sim::{Dates, Declared, Finish, LIVES, Pace, StepDates, Story, quantile};

/// Arguments of `hoist plan`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    input: Input,
    /// From how many simulated lives P50 and P90 are taken, where the world leaves something to chance.
    #[arg(long, value_name = "NUMBER", default_value_t = LIVES, value_parser = clap::value_parser!(u64).range(10..=10_000))]
    lives: u64,
    /// How it is printed.
    #[arg(short, long, value_enum, default_value_t)]
    output: Form,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For people.
    #[default]
    Table,
    /// For programs: one object for each schedule.
    Json,
    /// The same as YAML, one document for each schedule.
    Yaml,
    /// One page for a browser, with a picture.
    Html,
}

/// A schedule with its dates.
struct Planning<'a> {
    staged: Staged<'a>,
    /// The life in which chance is kind.
    story: Story,
    phases: Vec<Phase>,
    finish: Finish,
    lives: u64,
    warnings: Vec<Warning>,
}

/// A phase with its dates.
struct Phase {
    name: String,
    number: Option<String>,
    kind: PhaseKind,
    environments: Vec<Dates>,
    /// The path of the phase in the schedule, before which everything that is said of it begins.
    path: String,
}

/// Runs the verb.
pub(super) fn run(args: &Args) -> ExitCode {
    plan(args).unwrap_or_else(|stop| stop.print())
}

fn plan(args: &Args) -> Result<ExitCode, Stop> {
    let looked = args.input.look()?;
    let plannings = looked.stage()?.into_iter().map(|staged| planning(&looked, staged, args.lives));
    let plannings = plannings.collect::<Result<Vec<_>, _>>()?;
    Ok(printed(print(args, &plannings), ExitCode::SUCCESS))
}

fn planning<'a>(looked: &Looked, staged: Staged<'a>, lives: u64) -> Result<Planning<'a>, Stop> {
    let kindest = staged.declared.at_its_kindest();
    let story = staged.scene.live(&kindest, 1, Pace::Leap, &mut |_| {}).map_err(Stop::Broken)?;
    let earliest = story.finish();
    let finish = if staged.declared.has_chance() {
        let finishes = finishes(&staged, lives).map_err(Stop::Broken)?;
        Finish { earliest, p50: quantile(&finishes, 50), p90: quantile(&finishes, 90) }
    } else {
        Finish { earliest, p50: earliest, p90: earliest }
    };
    // What `hoist validate` lets through has a plan.
    let plan = staged.scene.plan().ok();
    let phases = phases(plan.as_ref(), &story);
    let warnings = warnings::warnings(&looked.files, &staged, plan.as_ref(), &story, &phases);
    Ok(Planning { staged, story, phases, finish, lives, warnings })
}

fn phases(plan: Option<&Plan>, story: &Story) -> Vec<Phase> {
    let of = |(i, phase): (usize, &PhasePlan)| Phase {
        name: phase.name.clone(),
        number: phase.number.clone(),
        kind: phase.kind,
        environments: phase.environments.iter().map(|e| Dates::of(story, phase, e)).collect(),
        path: format!("spec.phases[{i}]"),
    };
    plan.into_iter().flat_map(|p| &p.phases).enumerate().map(of).collect()
}

/// When each of many lives is complete, by all processors.
fn finishes(staged: &Staged, lives: u64) -> Result<Vec<Option<Time>>, Violation> {
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    let (scene, declared): (_, &Declared) = (&staged.scene, &staged.declared.without_crashes());
    let mut progress = Progress::new();
    let mut all = Vec::new();
    let mut first = 1;
    while first <= lives {
        let next = (first + workers * 4).min(lives + 1);
        progress.tell(|| format!("{}: {} of {lives} lives", staged.planned.name(), first - 1));
        let some: Vec<Result<Option<Time>, Violation>> = std::thread::scope(|scope| {
            let spawned = (0..workers).map(|worker| {
                let seeds = (first..next).filter(move |seed| seed % workers == worker);
                scope.spawn(move || seeds.map(|seed| scene.finish(declared, seed)).collect::<Vec<_>>())
            });
            let spawned: Vec<_> = spawned.collect();
            spawned.into_iter().flat_map(|life| life.join().unwrap_or_default()).collect()
        });
        for life in some {
            all.push(life?);
        }
        first = next;
    }
    Ok(all)
}

fn print(args: &Args, plannings: &[Planning]) -> std::io::Result<()> {
    let mut out = anstream::stdout().lock();
    if args.output == Form::Html {
        let sections: Vec<_> = plannings.iter().map(html::section).collect();
        out.write_all(page("hoist plan", &sections).as_bytes())?;
        return out.flush();
    }
    for (index, planning) in plannings.iter().enumerate() {
        match args.output {
            Form::Table => {
                if index > 0 {
                    writeln!(out)?;
                }
                out.write_all(table::table(planning).as_bytes())?;
            }
            Form::Html | Form::Json => writeln!(out, "{:#}", as_json(planning))?,
            Form::Yaml => {
                let text = serde_yaml::to_string(&as_json(planning)).map_err(std::io::Error::other)?;
                write!(out, "{}{text}", if index > 0 { "---\n" } else { "" })?;
            }
        }
    }
    out.flush()
}

#[derive(Serialize)]
struct Gate<'a> {
    gate: &'a str,
    message: &'a str,
    since: Time,
    until: Option<Time>,
}

fn as_json(planning: &Planning) -> Value {
    let phase = |phase: &Phase| {
        let environments = phase.environments.iter().map(|e| {
            let gates = e.gates.iter().map(|w| Gate { gate: &w.gate, message: &w.message, since: w.from, until: w.to });
            let mut told = json!({
                "name": e.environment.name, "opens": e.opens, "flips": e.flips, "soakEnds": e.soak_ends,
                "gates": gates.collect::<Vec<_>>(),
            });
            let step = |s: &StepDates| json!({ "percent": s.percent, "flips": s.flips, "soakEnds": s.soak_ends });
            if let Some(told) = told.as_object_mut() {
                if !e.steps.is_empty() {
                    told.insert("steps".to_owned(), e.steps.iter().map(step).collect());
                }
                told.extend(e.lowers.map(|at| ("lowers".to_owned(), json!(at))));
            }
            told
        });
        let within = |path: &str| path == phase.path || path.starts_with(&format!("{}.", phase.path));
        let own: Vec<&Warning> = planning.warnings.iter().filter(|w| within(&w.path)).collect();
        json!({
            "name": phase.name, "number": phase.number, "kind": phase.kind,
            "environments": environments.collect::<Vec<_>>(), "warnings": own,
        })
    };
    let finish = &planning.finish;
    json!({
        "schedule": planning.staged.planned.name(), "at": planning.staged.scene.at,
        "phases": planning.phases.iter().map(phase).collect::<Vec<_>>(),
        "finish": { "earliest": finish.earliest, "p50": finish.p50, "p90": finish.p90 },
        "warnings": planning.warnings,
    })
}
