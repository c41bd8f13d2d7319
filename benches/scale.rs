//! What thousands of schedules cost, and how fast the daemon acts among them. `make bench`; docs/benchmarks.md says how to
//! read it. `cargo bench --bench scale -- idle due -o json` runs some scenarios only.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench that cannot go on says why"
)]
#![allow(clippy::disallowed_methods, reason = "a bench reads the real clock")]
#![allow(dead_code, reason = "the bench stands on the tests' fixture and uses a part of it")]

#[path = "scale/churn.rs"]
mod churn;
#[path = "scale/daemon.rs"]
mod daemon;
#[path = "scale/due.rs"]
mod due;
#[path = "scale/estate.rs"]
mod estate;
#[path = "../tests/it/fixture/mod.rs"]
mod fixture;
#[path = "scale/idle.rs"]
mod idle;
#[path = "scale/leader.rs"]
mod leader;
mod proxy;
#[path = "scale/report.rs"]
mod report;
#[path = "../tests/it/stage.rs"]
mod stage;
#[path = "scale/watched.rs"]
mod watched;

use std::time::{Duration, Instant};

use hoist::engine::StampKind;
use hoist::engine::laws::Trace;
use proxy::Proxy;

/// How much is measured, and for how long.
pub struct Sizes {
    schedules: Option<usize>,
    /// How long idle schedules are looked at.
    pub watch: Duration,
    /// How many intervals of shared queries are counted.
    pub intervals: u32,
    /// How often a leader is killed.
    pub tries: usize,
    /// How long schedules come and go.
    pub churn: Duration,
}

impl Sizes {
    /// From the environment; the targets' own where it says nothing.
    fn read() -> Sizes {
        let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<f64>().expect("a number"));
        let churn = std::env::var("HOIST_BENCH_CHURN").unwrap_or_else(|_| "10m".to_owned());
        let churn = hoist::api::Duration::parse(&churn).expect("HOIST_BENCH_CHURN is a duration such as 1h");
        Sizes {
            schedules: number("HOIST_BENCH_SCHEDULES").map(|n| n as usize),
            watch: Duration::from_secs_f64(60.0 * number("HOIST_BENCH_MINUTES").unwrap_or(10.0)),
            intervals: number("HOIST_BENCH_INTERVALS").unwrap_or(12.0) as u32,
            tries: number("HOIST_BENCH_TRIES").unwrap_or(50.0) as usize,
            churn: Duration::from_secs(churn.as_seconds().unsigned_abs()),
        }
    }

    /// How many schedules: as asked for, or as the target has it.
    pub fn schedules(&self, target: usize) -> usize {
        self.schedules.unwrap_or(target)
    }
}

/// When a target of that prefix took a write of this kind, in order.
pub fn written_as(proxy: &Proxy, kind: StampKind, prefix: &str) -> Vec<Instant> {
    proxy.when(|w| matches!(&w.trace, Some(Trace::Written(t)) if t.kind == kind && t.place.name.starts_with(prefix)))
}

/// A length of time as people say it.
pub fn written(time: Duration) -> String {
    let seconds = i64::try_from(time.as_secs()).expect("some hours");
    hoist::api::Duration::seconds(seconds).to_string()
}

const SCENARIOS: [&str; 8] = ["empty", "idle", "cold", "due", "leader", "missed", "shared", "churn"];

async fn run(scenario: &str, sizes: &Sizes) -> Vec<report::Row> {
    match scenario {
        "empty" => idle::empty(sizes).await,
        "idle" => idle::idle(sizes).await,
        "cold" => idle::cold(sizes).await,
        "due" => due::due(sizes).await,
        "leader" => leader::leader(sizes).await,
        "missed" => watched::missed(sizes).await,
        "shared" => watched::shared(sizes).await,
        _ => churn::churn(sizes).await,
    }
}

#[tokio::main]
async fn main() {
    let (mut chosen, mut as_json) = (Vec::new(), false);
    // `cargo bench` adds `--bench` of its own.
    let mut arguments = std::env::args().skip(1).filter(|a| a != "--bench");
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "-o" => as_json = arguments.next().as_deref() == Some("json"),
            name if SCENARIOS.contains(&name) => chosen.push(name.to_owned()),
            other => {
                eprintln!("unknown: {other}; scenarios: {}; -o json", SCENARIOS.join(", "));
                std::process::exit(64);
            }
        }
    }
    if chosen.is_empty() {
        chosen = SCENARIOS.map(ToOwned::to_owned).to_vec();
    }
    let sizes = Sizes::read();
    let mut rows = Vec::new();
    for scenario in &chosen {
        eprintln!("{scenario} ...");
        rows.extend(Box::pin(run(scenario, &sizes)).await);
    }
    report::print(&rows, as_json);
}
