//! `hoist validate`: every problem of a file at once.

use std::process::ExitCode;

/// Arguments of `hoist validate`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

/// Runs the verb.
pub(super) fn run(_: &Args) -> ExitCode {
    ExitCode::SUCCESS
}
