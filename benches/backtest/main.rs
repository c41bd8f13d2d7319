//! Five weeks of a service in six places in a real Prometheus, and the checks of schedules/repository-pattern.yaml over
//! them, as if the flag had been raised every six hours: how often they would have rolled back a flip that did nothing, and
//! what they would have found of one that did harm.
//!
//! `cargo bench --bench backtest`; `-- --seed N` for other weeks, `--only eu` for one place, `-o json` for programs.
//! docs/evidence.md has the figures.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench that cannot go on says why"
)]
#![allow(clippy::disallowed_methods, reason = "a bench reads the real clock")]
#![allow(dead_code, reason = "the tests' fixture has more than is needed here")]

#[path = "../../tests/it/fixture/mod.rs"]
mod fixture;
#[path = "../evidence/noise.rs"]
mod noise;
#[path = "../evidence/report.rs"]
mod report;
mod service;

use std::collections::BTreeMap;
use std::process::Command;

use fixture::Prometheus;
use hoist::analysis::statistics::{lower_bound, upper_bound};
use report::Row;
use serde_json::Value;
use service::{Families, PLACES, Place, Service};

/// Monday, 2026-03-02, at midnight UTC.
const MONDAY: i64 = 1_772_409_600;
const DAYS: usize = 35;
const SPAN: [&str; 4] = ["--from", "2026-03-02", "--to", "2026-04-06"];
const FILES: [&str; 2] = ["schedules/repository-pattern.yaml", "schedules/repository-pattern-environments.yaml"];

/// Requests a minute in places that the gates about errors speak of.
const BUSY: f64 = 600.0;

/// How often something happened.
#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    count: usize,
    of: usize,
}

impl Rate {
    fn read(rate: &Value) -> Rate {
        let number = |v: &Value| usize::try_from(v.as_u64().expect("a number")).expect("a number");
        Rate { count: number(&rate["count"]), of: number(&rate["of"]) }
    }

    fn add(&mut self, other: Rate) {
        *self = Rate { count: self.count + other.count, of: self.of + other.of };
    }

    fn percent(self) -> f64 {
        100.0 * self.count as f64 / self.of as f64
    }

    /// So many of so many, and the bounds of the rate at 95 %, for flips that do not depend on each other.
    fn told(self) -> String {
        let (bad, total) = (self.count as f64, self.of as f64);
        let (low, high) = (lower_bound(bad, total, 0.025) * 100.0, upper_bound(bad, total, 0.025) * 100.0);
        format!("{} of {}, {low:.1} to {high:.1} %", self.count, self.of)
    }
}

/// What was found of an effect in the places that a gate speaks of.
#[derive(Default)]
struct Found {
    rate: Rate,
    within: usize,
    /// Minutes until it was, of each.
    after: Vec<i64>,
}

#[tokio::main]
async fn main() {
    let Options { seed, only, as_json } = Options::read();
    eprintln!("writing {DAYS} days of {} places ...", PLACES.len());
    let mut services: Vec<Service> =
        PLACES.iter().enumerate().map(|(n, place)| Service::new(*place, seed * 100 + n as u64)).collect();
    let days = (0..DAYS).map(|day| {
        let mut families = Families::default();
        let start = MONDAY + day as i64 * 86_400;
        for service in &mut services {
            service.day(day, start, &mut families);
        }
        families.text()
    });
    let prometheus = Prometheus::with_days(&[], days).await;
    let folder = tempfile::tempdir().expect("a folder");
    let (mut checks, mut schedules) = (BTreeMap::<String, Rate>::new(), Rate::default());
    let (mut slower, mut failing) = (Found::default(), Found::default());
    for place in PLACES.into_iter().filter(|p| only.as_ref().is_none_or(|only| p.environment == only)) {
        eprintln!("{} ...", place.environment);
        let record = folder.path().join(place.environment);
        let record = record.to_str().expect("UTF-8");
        let told = backtest(&place, &[&["--prometheus", &prometheus.url(), "--record", record], &SPAN[..]].concat());
        for check in told["checks"].as_array().expect("checks") {
            let name = check["name"].as_str().expect("a name").to_owned();
            let rate = Rate::read(&check["summary"]["breached"]);
            if rate.count > 0 {
                eprintln!("  {name}: {} of {} false, {}", rate.count, rate.of, when(&check["flips"]));
            }
            checks.entry(name).or_default().add(rate);
        }
        schedules.add(Rate::read(&told["rolledBack"]));
        slower.take(&place, "api-latency", &backtest(&place, &["--replay", record, "--inject", "relative=20%"]), 90);
        if place.requests >= BUSY {
            failing.take(
                &place,
                "more-errors",
                &backtest(&place, &["--replay", record, "--inject", "absolute=0.009"]),
                30,
            );
        }
    }
    let mut rows: Vec<Row> = checks
        .iter()
        .map(|(name, rate)| {
            Row::new("", format!("{name}: false"), rate.percent(), "%").at_most(2.0).detail(rate.told())
        })
        .collect();
    rows.push(Row::new("", "the schedule: false", schedules.percent(), "%").at_most(5.0).detail(schedules.told()));
    let median = |found: &mut Found| {
        found.after.sort_unstable();
        found.after.get(found.after.len() / 2).copied().unwrap_or(i64::MAX) as f64
    };
    let of = slower.rate;
    rows.push(Row::new("Y5", "+20 % latency: found", of.percent(), "%").at_least(93.0).detail(of.told()));
    rows.push(Row::new("Y5", "+20 % latency: median", median(&mut slower), "min").at_most(90.0));
    let soon = Rate { count: failing.within, of: failing.rate.of };
    rows.push(
        Row::new("Y7", "errors 0.1 to 1 %: found in 30 min", soon.percent(), "%").at_least(99.0).detail(soon.told()),
    );
    report::print(&rows, seed, as_json);
    std::process::exit(i32::from(rows.iter().any(|row| row.met() == Some(false))));
}

/// What was asked for on the command line.
struct Options {
    seed: u64,
    only: Option<String>,
    as_json: bool,
}

impl Options {
    fn read() -> Options {
        let mut options = Options { seed: 20_261_123, only: None, as_json: false };
        // `cargo bench` adds `--bench` of its own.
        let mut arguments = std::env::args().skip(1).filter(|a| a != "--bench");
        while let Some(argument) = arguments.next() {
            match (argument.as_str(), arguments.next().unwrap_or_default().as_str()) {
                ("--seed", number) if number.parse::<u32>().is_ok() => options.seed = number.parse().expect("a number"),
                ("--only", name) if PLACES.iter().any(|p| p.environment == name) => {
                    options.only = Some(name.to_owned());
                }
                ("-o", "json") => options.as_json = true,
                (name, value) => {
                    eprintln!("not understood: {name} {value}; --seed N; --only ENVIRONMENT; -o json");
                    std::process::exit(64);
                }
            }
        }
        options
    }
}

/// On which days of the week flips breached, by the flip's own time in UTC.
fn when(flips: &Value) -> String {
    let breached = flips.as_array().expect("flips").iter().filter(|f| f["outcome"] == "Breached");
    let mut days: BTreeMap<String, usize> = BTreeMap::new();
    for flip in breached {
        let at: hoist::api::Time = serde_json::from_value(flip["at"].clone()).expect("a time");
        *days.entry(at.format("%a %H:%M").to_string()).or_default() += 1;
    }
    days.iter().map(|(day, count)| format!("{count} raised {day}")).collect::<Vec<_>>().join(", ")
}

/// What `hoist backtest` says of a place.
fn backtest(place: &Place, more: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_hoist"))
        .arg("backtest")
        .args(FILES)
        .args(["--environment", place.environment, "-o", "json"])
        .args(more)
        .output()
        .expect("hoist runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

impl Found {
    /// What a check found of the effect; so soon is asked for. Only of flips that it could judge.
    fn take(&mut self, place: &Place, check: &str, told: &Value, minutes: i64) {
        let checks = told["checks"].as_array().expect("checks");
        let check = checks.iter().find(|c| c["name"] == check).expect("the check");
        let injected = &check["injected"];
        let rate = Rate::read(&injected["summary"]["breached"]);
        self.rate.add(rate);
        let flips = injected["flips"].as_array().expect("flips");
        let after = |flip: &Value| flip["after"].as_str().and_then(|text| hoist::api::Duration::parse(text).ok());
        let after: Vec<i64> = flips.iter().filter_map(after).map(|after| after.as_seconds() / 60).collect();
        self.within += after.iter().filter(|m| **m <= minutes).count();
        eprintln!("  {}: {} of {} found", place.environment, rate.count, rate.of);
        self.after.extend(after);
    }
}
