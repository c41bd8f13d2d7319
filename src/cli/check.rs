//! `hoist check`: every check of an environment, asked once.

mod asked;
mod table;

use std::io::Write;
use std::process::ExitCode;

use futures::StreamExt;
use serde_json::json;

use super::scene::{Stop, printed};
use super::watched::{Input, Watched};
use super::{Output, failed, running};
use crate::api::Time;
use crate::shell::clock;
use crate::shell::prometheus::Prometheus;
pub(super) use asked::bound;
use asked::{Asked, Standing};

/// How many checks are asked at once.
const AT_ONCE: usize = 2;

/// Arguments of `hoist check`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    input: Input,
    /// The address of the Prometheus that is asked, without a login; that of the Environment where not given.
    #[arg(long, value_name = "URL")]
    prometheus: Option<String>,
    /// How it is printed.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// All that was asked.
struct Checked {
    watched: Watched,
    at: Time,
    asked: Vec<Asked>,
}

/// Runs the verb: 0 where every check passes and can be judged, 3 where one breaches, 4 where one cannot be judged.
pub(super) fn run(args: &Args) -> ExitCode {
    check(args).unwrap_or_else(|stop| stop.print())
}

fn check(args: &Args) -> Result<ExitCode, Stop> {
    let watched = args.input.find(None)?;
    let source = watched.source(args.prometheus.as_deref())?;
    if watched.flip.asked().next().is_none() {
        return Err(Stop::Usage(format!("no check is asked in {}", watched.label)));
    }
    let at = clock::now();
    let prometheus = Prometheus::without_cluster();
    let asked = running(async {
        let (watched, source, prometheus) = (&watched, &source, &prometheus);
        let each = watched.flip.asked().map(|check| asked::ask(prometheus, watched, source, check, at));
        let each: Vec<_> = each.collect();
        Ok(futures::stream::iter(each).buffered(AT_ONCE).collect::<Vec<Asked>>().await)
    });
    match asked {
        Ok(asked) => {
            let checked = Checked { watched, at, asked };
            let worst = checked.asked.iter().map(|a| a.standing).max().unwrap_or(Standing::Passes);
            Ok(printed(print(args.output, &checked), ExitCode::from(worst.code())))
        }
        Err(error) => Ok(failed(&error)),
    }
}

fn print(output: Output, checked: &Checked) -> std::io::Result<()> {
    let mut out = anstream::stdout().lock();
    match output {
        Output::Text => out.write_all(table::table(checked).as_bytes())?,
        Output::Json => {
            let Checked { watched, at, asked } = checked;
            let told = json!({
                "schedule": watched.schedule, "phase": watched.phase, "environment": watched.key.to_string(), "at": at,
                "checks": asked,
            });
            writeln!(out, "{told:#}")?;
        }
    }
    out.flush()
}
