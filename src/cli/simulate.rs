//! `hoist simulate`: the same engine lives through weeks in milliseconds, in a world that somebody declares.

mod html;
mod table;

use std::io::Write;
use std::process::ExitCode;

use clap::ValueEnum;
use serde_json::{Value, json};

use super::page::page;
use super::scene::{Input, Progress, Staged, Stop, printed};
use crate::sim::{Outcome, Pace, Story};

/// Arguments of `hoist simulate`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    input: Input,
    /// Decides whatever the world leaves to chance: equal seeds, equal lives.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Make every pass of the daemon, instead of leaping over time in which nothing changes. It tells the same, and takes
    /// longer.
    #[arg(long)]
    every_pass: bool,
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
    /// One page for a browser, with a picture.
    Html,
}

/// Runs the verb: 0 where every schedule completes, 3 where one is rolled back, 4 where one is held.
pub(super) fn run(args: &Args) -> ExitCode {
    simulate(args).unwrap_or_else(|stop| stop.print())
}

fn simulate(args: &Args) -> Result<ExitCode, Stop> {
    let looked = args.input.look()?;
    let pace = if args.every_pass { Pace::Step } else { Pace::Leap };
    let mut lives = Vec::new();
    for staged in looked.stage()? {
        let mut progress = Progress::new();
        let mut tell = |at| progress.tell(|| format!("{} {}", staged.planned.name(), staged.minute(at)));
        let story = staged.scene.live(&staged.declared, args.seed, pace, &mut tell).map_err(Stop::Broken)?;
        lives.push((staged, story));
    }
    let code = match lives.iter().map(|(_, story)| story.outcome).max_by_key(|o| exit_code(*o).1) {
        Some(outcome) => ExitCode::from(exit_code(outcome).0),
        None => ExitCode::SUCCESS,
    };
    Ok(printed(print(args, &lives), code))
}

/// The exit code of an outcome, and how bad it is beside others.
const fn exit_code(outcome: Outcome) -> (u8, u8) {
    match outcome {
        Outcome::Completed => (0, 0),
        Outcome::Held => (4, 1),
        Outcome::RolledBack => (3, 2),
    }
}

fn print(args: &Args, lives: &[(Staged, Story)]) -> std::io::Result<()> {
    let mut out = anstream::stdout().lock();
    match args.output {
        Form::Table => {
            for (index, (staged, story)) in lives.iter().enumerate() {
                if index > 0 {
                    writeln!(out)?;
                }
                out.write_all(table::table(staged, story, args.seed).as_bytes())?;
            }
        }
        Form::Html => {
            let sections: Vec<_> =
                lives.iter().map(|(staged, story)| html::section(staged, story, args.seed)).collect();
            out.write_all(page("hoist simulate", &sections).as_bytes())?;
        }
        Form::Json => {
            for (staged, story) in lives {
                // What a program would not find in its answer is said beside it.
                for note in staged.notes() {
                    anstream::eprintln!("warning: {note}");
                }
                writeln!(out, "{:#}", as_json(staged, story, args.seed))?;
            }
        }
    }
    out.flush()
}

fn as_json(staged: &Staged, story: &Story, seed: u64) -> Value {
    let transitions = story.moves.iter().map(|m| {
        json!({
            "at": m.at, "phase": m.step.phase, "environment": m.step.environment.name, "epoch": m.step.epoch,
            "from": m.from, "to": m.to, "reason": m.reason,
        })
    });
    let end = story.ends.iter().map(|e| {
        json!({
            "phase": e.step.phase, "namespace": e.step.environment.namespace, "environment": e.step.environment.name,
            "epoch": e.step.epoch, "state": e.state, "value": e.value,
        })
    });
    json!({
        "schedule": staged.planned.name(), "seed": seed, "transitions": transitions.collect::<Vec<_>>(),
        "end": end.collect::<Vec<_>>(), "outcome": format!("{:?}", story.outcome),
    })
}
