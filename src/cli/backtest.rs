//! `hoist backtest`: the checks of an environment, as if the flag had been raised at many moments of the past.

mod asked;
mod drawing;
mod html;
mod report;
mod table;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;

use super::scene::{Stop, printed};
use super::watched::Input;
use crate::analysis::backtest::Effect;
use crate::api::{Duration, Moment, PhaseKind};
use asked::Failure;
use report::Report;

/// Arguments of `hoist backtest`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    input: Input,
    /// The address of the Prometheus that is asked, without a login; that of the Environment where not given.
    #[arg(long, value_name = "URL", conflicts_with = "replay")]
    prometheus: Option<String>,
    /// The beginning of what is looked at: a moment such as 2025-05-05T09:00:00Z, or a date. The first flip is later by as
    /// much as the checks look back.
    #[arg(long, value_name = "TIME", value_parser = Moment::parse, required_unless_present = "replay", requires = "to")]
    from: Option<Moment>,
    /// Its end. The last flip is earlier by its soak.
    #[arg(long, value_name = "TIME", value_parser = Moment::parse, required_unless_present = "replay", requires = "from")]
    to: Option<Moment>,
    /// A file of `--record` that is looked at again, without a server.
    #[arg(long, value_name = "FILE", conflicts_with = "record")]
    replay: Option<PathBuf>,
    /// How far apart the flips are; 6h where not given, or as it was recorded.
    #[arg(long, value_name = "DURATION", value_parser = Duration::parse)]
    every: Option<Duration>,
    /// What the flag would have done to every measurement after it, to see whether it would have been found: relative=20%,
    /// or absolute=0.01, which of counts is a part of the total.
    #[arg(long, value_name = "EFFECT", value_parser = Effect::parse)]
    inject: Option<Effect>,
    /// A file in which all answers are kept. An interrupted run with the same file goes on where it was.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// How it is printed.
    #[arg(short, long, value_enum, default_value_t)]
    output: Form,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
    /// One page for a browser, with a picture of each check.
    Html,
}

/// Runs the verb: 0 where it was replayed, whatever was found; 1 where Prometheus did not answer.
pub(super) fn run(args: &Args) -> ExitCode {
    match backtest(args) {
        Ok(code) => code,
        Err(Failure::Stop(stop)) => stop.print(),
        Err(Failure::Unanswered(why)) => super::failed(&why),
    }
}

fn backtest(args: &Args) -> Result<ExitCode, Failure> {
    let watched = args.input.find(Some(PhaseKind::Flip)).map_err(Failure::Stop)?;
    let (backtest, past) = asked::past(args, &watched)?;
    let report = Report::new(watched, backtest, &past, args.inject.as_ref());
    let text = match args.output {
        Form::Table => table::table(&report),
        Form::Json => format!("{:#}\n", report::json(&report)),
        Form::Html => html::page(&report, &past),
    };
    let mut out = anstream::stdout().lock();
    Ok(printed(out.write_all(text.as_bytes()), ExitCode::SUCCESS))
}

fn usage(why: String) -> Failure {
    Failure::Stop(Stop::Usage(why))
}
