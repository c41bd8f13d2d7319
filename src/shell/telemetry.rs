//! Metrics. Labels come from our own enums alone, so their number is bounded.

use std::sync::atomic::AtomicI64;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::error::{Class, Error};
use crate::api::RunState;
use crate::engine::Measured;

/// A label with one of a few words.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Word {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InState {
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State(RunState);

impl EncodeLabelValue for State {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        std::fmt::Write::write_str(encoder, self.0.name())
    }
}

/// Everything that is counted.
#[derive(Debug)]
pub struct Telemetry {
    registry: Registry,
    passes: Family<Word, Counter>,
    pass_seconds: Histogram,
    transitions: Family<InState, Counter>,
    runs: Family<InState, Gauge<i64, AtomicI64>>,
    writes: Family<Word, Counter>,
    measurements: Family<Word, Counter>,
    reaction_seconds: Histogram,
    unreadable: Gauge,
    leads: Gauge,
}

/// What a pass can come to.
const PASSES: [&str; 4] = ["done", "transient", "conflict", "invalid"];

/// What a write to a target can come to.
const WRITES: [&str; 8] =
    ["lowered", "lower_failed", "raised", "raise_failed", "sealed", "seal_failed", "restarted", "restart_failed"];

/// What a measurement can come to.
const MEASUREMENTS: [&str; 2] = ["answered", "failed"];

/// Shows a series from the first scrape on, at zero: a rate over one that appears with its first event misses that event.
fn known(family: &Family<Word, Counter>, words: &[&'static str]) {
    for result in words {
        drop(family.get_or_create(&Word { result }));
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("hoist");
        let passes = Family::<Word, Counter>::default();
        registry.register("passes", "Passes over schedules by result", passes.clone());
        known(&passes, &PASSES);
        let pass_seconds = Histogram::new([0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0]);
        registry.register_with_unit("pass_duration", "How long passes take", Unit::Seconds, pass_seconds.clone());
        let transitions = Family::<InState, Counter>::default();
        registry.register("transitions", "Transitions of runs by the state they lead to", transitions.clone());
        let runs = Family::<InState, Gauge<i64, AtomicI64>>::default();
        registry.register("runs", "Runs by state", runs.clone());
        let writes = Family::<Word, Counter>::default();
        registry.register("target_writes", "Writes to targets by kind and whether they were taken", writes.clone());
        known(&writes, &WRITES);
        let measurements = Family::<Word, Counter>::default();
        registry.register("measurements", "Measurements by whether they were answered", measurements.clone());
        known(&measurements, &MEASUREMENTS);
        let reaction_seconds = Histogram::new([0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0]);
        let help = "From the decision to roll back until the write is acknowledged";
        registry.register_with_unit("rollback_reaction", help, Unit::Seconds, reaction_seconds.clone());
        let unreadable = Gauge::default();
        registry.register(
            "unreadable_objects",
            "Stored objects of Hoist's kinds that cannot be read",
            unreadable.clone(),
        );
        let leads = Gauge::default();
        registry.register(
            "leader",
            "Whether this process acts: 1 for the leader, 0 for those that wait",
            leads.clone(),
        );
        registry.register("build", "The version that runs", Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]));
        Self {
            registry,
            passes,
            pass_seconds,
            transitions,
            runs,
            writes,
            measurements,
            reaction_seconds,
            unreadable,
            leads,
        }
    }
}

impl Telemetry {
    /// The metrics in OpenMetrics text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    /// Counts a pass.
    pub fn pass(&self, result: Result<(), Class>, took: Duration) {
        let word = match result {
            Ok(()) => "done",
            Err(Class::Transient) => "transient",
            Err(Class::Conflict) => "conflict",
            Err(Class::Invalid) => "invalid",
        };
        self.passes.get_or_create(&Word { result: word }).inc();
        self.pass_seconds.observe(took.as_secs_f64());
    }

    /// Counts a transition.
    pub fn transition(&self, to: RunState) {
        self.transitions.get_or_create(&InState { state: State(to) }).inc();
    }

    /// Counts a write to a target.
    pub fn write(&self, kind: &'static str, result: &Result<(), Error>) {
        let word = match (kind, result) {
            ("lower", Ok(())) => "lowered",
            ("lower", Err(_)) => "lower_failed",
            ("raise", Ok(())) => "raised",
            ("raise", Err(_)) => "raise_failed",
            ("seal", Ok(())) => "sealed",
            ("seal", Err(_)) => "seal_failed",
            (_, Ok(())) => "restarted",
            (_, Err(_)) => "restart_failed",
        };
        self.writes.get_or_create(&Word { result: word }).inc();
    }

    /// Notes how long a retreat took from its decision to the last acknowledged lowering.
    pub fn reaction(&self, took: Duration) {
        self.reaction_seconds.observe(took.as_secs_f64());
    }

    /// Counts a check's measurements.
    pub fn measured(&self, measured: &Measured) {
        self.measurements.get_or_create(&Word { result: "answered" }).inc_by(measured.answers.len() as u64);
        if measured.failed.is_some() {
            self.measurements.get_or_create(&Word { result: "failed" }).inc();
        }
    }

    /// Sets whether this process acts.
    pub fn leading(&self, leads: bool) {
        self.leads.set(i64::from(leads));
    }

    /// Sets how many runs are in each state, and how many stored objects cannot be read.
    pub fn stored(&self, states: impl Iterator<Item = RunState>, unreadable: usize) {
        self.runs.clear();
        for state in states {
            self.runs.get_or_create(&InState { state: State(state) }).inc();
        }
        self.unreadable.set(i64::try_from(unreadable).unwrap_or(i64::MAX));
    }
}
