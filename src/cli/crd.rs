//! `hoist crd`: the custom resource definitions.

use std::process::ExitCode;

/// Arguments of `hoist crd`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

/// Runs the verb.
pub(super) fn run(_: &Args) -> ExitCode {
    ExitCode::SUCCESS
}
