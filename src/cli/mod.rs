//! The command line: one file per verb.

mod crd;
mod validate;

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

/// Carries a feature flag through environments on evidence, and puts it back by itself.
#[derive(Debug, Parser)]
#[command(name = "hoist", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Print the custom resource definitions, to be applied with kubectl.
    Crd(crd::Args),
    /// Check schedules, environments and interventions in files; says all problems at once.
    Validate(validate::Args),
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

/// Runs the command line and says how the process ends: 0 done, 1 refused or found wanting, 2 used wrongly.
pub fn main() -> ExitCode {
    match Cli::parse().verb {
        Verb::Crd(args) => crd::run(&args),
        Verb::Validate(args) => validate::run(&args),
    }
}
