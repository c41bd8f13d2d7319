//! What must be known: questions to targets, workloads and Prometheus, and the answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::TimeDelta;

use crate::analysis::{AnswerError, Answers, Baselines, CheckLedger, freshness_query, inspect, on_grid, with_window};
use crate::api::{Check, Duration, EnvironmentKey, Kept, PrometheusSource, TargetPlace, Time, WorkloadRef};

use super::gate::is_latest;
use super::history;
use super::quiet;
use super::state::{Flip, Run, Stage, State};
use super::target::TargetReading;
use super::view::View;

/// A question.
#[derive(Clone, Debug, PartialEq)]
pub enum Probe {
    /// What does this target read as?
    Target(TargetPlace),
    /// Is this workload rolled out, and on which value are its pods?
    Workload(WorkloadKey),
    /// What does this check measure?
    Measure(Measure),
    /// What was kept of the time before this run's flip?
    Kept(KeptKey),
}

/// What was kept beside a run, and the run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeptKey {
    /// Its namespace.
    pub namespace: String,
    /// The run.
    pub run: String,
    /// What.
    pub kept: Kept,
}

/// A workload with its namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WorkloadKey {
    /// Its namespace.
    pub namespace: String,
    /// Which.
    pub workload: WorkloadRef,
}

impl WorkloadKey {
    /// That of a workload which must see what is written at a place: it is in the same namespace.
    pub fn beside(place: &TargetPlace, workload: &WorkloadRef) -> Self {
        Self { namespace: place.namespace.clone(), workload: workload.clone() }
    }
}

/// The measurements of one check that are due.
#[derive(Clone, Debug, PartialEq)]
pub struct Measure {
    /// The run.
    pub run: String,
    /// The check.
    pub check: String,
    /// The Environment whose Secrets log in.
    pub environment: EnvironmentKey,
    /// Where to ask.
    pub prometheus: PrometheusSource,
    /// The questions, oldest first. Those with the same window are one.
    pub questions: Vec<Question>,
}

/// Queries to be evaluated at evenly spaced moments.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// The query, or a ratio's `bad`.
    pub value: String,
    /// A ratio's `total`.
    pub total: Option<String>,
    /// Whether the two are arms beside each other, and both must be fresh; of a ratio, errors may have been long ago.
    pub arms: bool,
    /// The window that was put in.
    pub window: Option<Duration>,
    /// The first moment.
    pub from: Time,
    /// How many moments.
    pub count: usize,
    /// How far apart.
    pub step: Duration,
}

impl Question {
    /// What a check asks about one moment, with this window.
    pub fn new(check: &Check, window: Option<Duration>, from: Time) -> Self {
        let put = |q: &str| window.map_or_else(|| q.to_owned(), |w| with_window(q, w));
        let queries = check.queries();
        let total = queries.beside.map(|(_, query)| put(query));
        let arms = check.comparison.is_some();
        Self { value: put(queries.value.1), total, arms, window, from, count: 1, step: check.step() }
    }

    /// The query for the time of the newest sample behind it. It has to be parsed for that, so only who asks it does.
    pub fn newest(&self) -> String {
        let of = |query: &String| inspect(query).map(|s| s.selectors).unwrap_or_default();
        let mut selectors = of(self.total.as_ref().unwrap_or(&self.value));
        if self.arms {
            selectors.extend(of(&self.value));
        }
        freshness_query(&selectors)
    }

    /// The moments, oldest first.
    pub fn moments(&self) -> impl Iterator<Item = Time> + '_ {
        (0..self.count).map(|i| self.from + TimeDelta::seconds(self.step.as_seconds().saturating_mul(i as i64)))
    }
}

/// What came back for a check.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// The answers, oldest first.
    pub answers: Vec<Answers>,
    /// Why the rest could not be asked.
    pub failed: Option<(AnswerError, String)>,
}

/// A workload as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkloadReading {
    /// It is not there.
    Missing,
    /// It is there.
    Found(FoundWorkload),
}

/// A workload that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundWorkload {
    /// Its `metadata.generation`, of which everything here speaks.
    pub generation: i64,
    /// Whether the rollout of the current template is complete: observed, updated = ready = desired, none surplus.
    pub complete: bool,
    /// How many pods are wanted.
    pub desired: i32,
    /// How many run the current template and are ready.
    pub ready: i32,
    /// Whether too few pods are available for the workload's own standards.
    pub unavailable: bool,
    /// That the rollout has made no progress for too long, in a sentence.
    pub stuck: Option<String>,
    /// Why no rollout can ever happen (paused, or left to people by its update strategy), in a sentence.
    pub blocked: Option<String>,
    /// The decision id of the last restart for each flag, on the pod template.
    pub restarts: BTreeMap<String, String>,
    /// Pods that crash, with how.
    pub crashing: Vec<String>,
    /// Pods that still run an older template.
    pub lagging: Vec<String>,
}

/// Everything that was seen in one pass. A probe that is not here was not answered yet; a failed one is an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observations {
    /// Targets; an error says why one could not be read.
    pub targets: BTreeMap<TargetPlace, Result<TargetReading, String>>,
    /// Workloads; an error says why one could not be read.
    pub workloads: BTreeMap<WorkloadKey, Result<WorkloadReading, String>>,
    /// What was kept of the time before a run's flip; an error says why it cannot be used.
    pub baselines: BTreeMap<String, Result<Arc<Baselines>, String>>,
    /// Measurements by run, and then by check.
    pub measurements: BTreeMap<String, BTreeMap<String, Measured>>,
}

impl Observations {
    /// What came back for a check of a run.
    pub fn measured(&self, run: &str, check: &str) -> Option<&Measured> {
        self.measurements.get(run)?.get(check)
    }

    /// Notes what came back for a question.
    pub fn note(&mut self, measure: Measure, measured: Measured) {
        self.measurements.entry(measure.run).or_default().insert(measure.check, measured);
    }
}

/// Says what must be known to decide at `now`.
pub fn probes(view: &View, state: &State, now: Time) -> Vec<Probe> {
    let mut asked = Asked::default();
    for run in state.runs.values() {
        match &run.stage {
            Stage::Gating => gating(view, state, run, now, &mut asked),
            Stage::Worked | Stage::Finished(_) | Stage::Skipped => {}
            Stage::RolledBack(..) if !is_latest(state, run) => {}
            Stage::RolledBack(flip, _) => targets(flip, &mut asked),
            Stage::Flipping(flip) | Stage::Verifying(flip) | Stage::Lowering(flip, _) | Stage::RollingBack(flip, _) => {
                targets(flip, &mut asked);
                workloads(flip, &mut asked);
            }
            Stage::Soaking(flip, _) | Stage::Completed(flip, _) => {
                targets(flip, &mut asked);
                workloads(flip, &mut asked);
                asked.probes.extend(history::ask_kept(state, run, flip));
                measures(run, flip, state, now, &mut asked);
            }
        }
    }
    asked.probes
}

/// What is asked, each target and each workload once.
#[derive(Default)]
struct Asked {
    probes: Vec<Probe>,
    targets: BTreeSet<TargetPlace>,
    workloads: BTreeSet<WorkloadKey>,
}

impl Asked {
    fn target(&mut self, place: &TargetPlace) {
        if !self.targets.contains(place) {
            self.targets.insert(place.clone());
            self.probes.push(Probe::Target(place.clone()));
        }
    }

    fn workload(&mut self, key: &WorkloadKey) {
        if !self.workloads.contains(key) {
            self.workloads.insert(key.clone());
            self.probes.push(Probe::Workload(key.clone()));
        }
    }
}

fn targets(flip: &Flip, asked: &mut Asked) {
    for target in &flip.armed.targets {
        asked.target(&target.place);
    }
}

fn workloads(flip: &Flip, asked: &mut Asked) {
    flip.workloads().iter().for_each(|key| asked.workload(key));
}

fn gating(view: &View, state: &State, run: &Run, now: Time, asked: &mut Asked) {
    let Some(flip) = view.flip_plan(run) else { return };
    for target in &flip.targets {
        asked.target(&target.place);
        for workload in &target.workloads {
            asked.workload(&WorkloadKey::beside(&target.place, workload));
        }
    }
    let Some(prometheus) = &flip.prometheus else { return };
    asked.probes.extend(quiet::ask(state, run, flip, now));
    asked.probes.extend(history::ask(state, run, flip, now));
    for check in flip.checks.iter().filter(|c| c.threshold.is_some()) {
        let question = Question::new(check, check.window(), gate_moment(check, now));
        asked.probes.push(Probe::Measure(Measure {
            run: run.name.clone(),
            check: check.name.clone(),
            environment: run.spec.environment.clone(),
            prometheus: prometheus.clone(),
            questions: vec![question],
        }));
    }
}

/// How often a gate is looked at, at least.
pub(super) const GATE_POLL: TimeDelta = TimeDelta::seconds(15);

/// How late a pass may come and still ask about the moment that it was meant for, as its neighbours do.
const LATE: TimeDelta = TimeDelta::seconds(2);

/// The moment that a gate asks a check about: now, or that of the grid if it has just passed.
fn gate_moment(check: &Check, now: Time) -> Time {
    let planned = on_grid(check, GATE_POLL.min(check.interval.delta()), now);
    if now - planned <= LATE { planned } else { now }
}

/// When a gate with these checks is looked at next; without checks every [`GATE_POLL`].
pub(super) fn next_gate(checks: &[Check], now: Time) -> Option<Time> {
    let next = checks.iter().map(|c| {
        let step = GATE_POLL.min(c.interval.delta()).max(TimeDelta::seconds(1));
        on_grid(c, step, now) + step
    });
    next.min()
}

fn measures(run: &Run, flip: &Flip, state: &State, now: Time, asked: &mut Asked) {
    let Some(ledger) = state.ledgers.get(&run.name).filter(|l| l.rolled_out == run.stage.rolled_out()) else { return };
    for check in ledger.checks().filter(|c| c.latched().is_none()) {
        let questions = due_questions(check, now);
        if !questions.is_empty() {
            asked.probes.push(Probe::Measure(Measure {
                run: run.name.clone(),
                check: check.check().name.clone(),
                environment: run.spec.environment.clone(),
                prometheus: flip.armed.prometheus.clone(),
                questions,
            }));
        }
    }
}

/// What a check asks about the moments that are due. Those with one window are one question: while it grows each stands
/// alone, afterwards one range asks for all.
pub fn due_questions(ledger: &CheckLedger, now: Time) -> Vec<Question> {
    let mut questions: Vec<Question> = Vec::new();
    for at in ledger.due(now) {
        let window = ledger.window_at(at);
        match questions.last_mut() {
            Some(last) if last.window == window => last.count += 1,
            _ => questions.push(Question::new(ledger.check(), window, at)),
        }
    }
    questions
}
