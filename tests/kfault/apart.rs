//! Plans that take the whole control plane are played by a process of their own, which starts one for itself.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::judge::Reference;
use crate::plan::Plan;

/// How many control planes are up at once, besides the shared one.
pub const AT_ONCE: usize = 2;

/// Set for such a process.
const APART: &str = "HOIST_FAULTS_APART";

/// What such a process said.
pub struct Told {
    pub well: bool,
    pub text: String,
    pub took: Duration,
}

/// Whether this is such a process.
pub fn is_apart() -> bool {
    std::env::var_os(APART).is_some()
}

/// Plays a plan on a control plane of its own.
///
/// # Errors
/// Where the process cannot be run.
pub async fn play(plan: &Plan, reference: &Reference) -> Result<Told, String> {
    let (plan, reference) = (file(&plan.yaml())?, file(&serde_json::to_string(&[reference]).unwrap_or_default())?);
    let begun = Instant::now();
    let run = move || {
        // It ends with this one, however that ends; the thread that waits for it is the one that has begun it.
        let mut command = std::process::Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(std::env::current_exe()?);
        command.env(APART, "1").env_remove("HOIST_TEST_STATE");
        command.arg("--plan").arg(plan.path()).arg("--reference").arg(reference.path()).output()
    };
    let output = tokio::task::spawn_blocking(run).await.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    Ok(Told { well: output.status.success(), text: said.concat(), took: begun.elapsed() })
}

fn file(text: &str) -> Result<tempfile::NamedTempFile, String> {
    let mut file = tempfile::NamedTempFile::new().map_err(|e| e.to_string())?;
    file.write_all(text.as_bytes()).map_err(|e| e.to_string())?;
    Ok(file)
}
