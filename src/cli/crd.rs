//! `hoist crd`: the custom resource definitions, to be applied with kubectl.

use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::{Number, Value};

use super::Output;
use crate::api::crds;

/// Arguments of `hoist crd`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// YAML documents, or one JSON list.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// Runs the verb.
pub(super) fn run(args: &Args) -> ExitCode {
    match print(args.output, &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads no further (`hoist crd | head`) wants no more.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hoist crd: {error}");
            ExitCode::FAILURE
        }
    }
}

fn print(output: Output, to: &mut impl Write) -> io::Result<()> {
    let mut crds = crds().iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>()?;
    crds.iter_mut().for_each(tidy);
    match output {
        Output::Text => {
            for crd in &crds {
                write!(to, "---\n{}", serde_yaml::to_string(crd).map_err(io::Error::other)?)?;
            }
        }
        Output::Json => {
            let list = serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": crds });
            writeln!(to, "{list:#}")?;
        }
    }
    to.flush()
}

/// Writes whole numbers as such: the schema type holds `maximum: 60` as a float, which would be printed as `60.0`.
fn tidy(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Some(float) = number.as_f64().filter(|f| number.is_f64() && f.fract() == 0.0) {
                *number = Number::from(float as i64);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::Object(entries) => entries.values_mut().for_each(tidy),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}
