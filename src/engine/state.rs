//! What Hoist knows of a schedule: its runs, in a form in which a state carries just what is true in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::api::{
    Armed, ArmedStep, Attempt, CheckStatus, EnvironmentKey, FORMAT_VERSION, FlagValue, Gate, Held, HeldReason,
    MigrationRun, MigrationRunSpec, MigrationRunStatus, Mode, PendingAction, Percent, Preflight, RollbackRecord,
    RunState, ScheduleRef, Soak, StepStatus, Time, Transition, Wait,
};

use super::ledger::RunLedger;
use super::plan::{EnvironmentPlan, PhasePlan};
use super::probe::WorkloadKey;
use super::room;
use super::target::{Owner, digest};
use super::view::View;

/// The most transitions that a run keeps.
const KEPT_TRANSITIONS: usize = 20;

/// All that is remembered between passes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// The schedule's runs, by name. Shared, because most passes change few of them.
    pub runs: BTreeMap<String, Arc<Run>>,
    /// What is known of each run's evidence. Not stored: a restart reads it again from Prometheus.
    pub ledgers: BTreeMap<String, RunLedger>,
}

impl State {
    /// Every run, by name.
    pub fn all(&self) -> impl Iterator<Item = &Run> {
        self.runs.values().map(AsRef::as_ref)
    }

    /// The runs of which no later epoch exists, one for each phase and environment.
    pub(super) fn newest(&self) -> Vec<&Run> {
        let is_newest = self.is_newest();
        self.all().filter(|run| is_newest(run)).collect()
    }

    /// Tells of a run whether no later epoch of it exists.
    pub(super) fn is_newest(&self) -> impl Fn(&Run) -> bool {
        fn step(run: &Run) -> (&str, &EnvironmentKey) {
            (&run.spec.phase, run.environment())
        }
        // Few are of a later epoch than their first.
        let mut epochs = BTreeMap::new();
        for run in self.all().filter(|run| run.spec.epoch > 1) {
            let newest = epochs.entry(step(run)).or_insert(run.spec.epoch);
            *newest = run.spec.epoch.max(*newest);
        }
        move |run| epochs.get(&step(run)).is_none_or(|newest| run.spec.epoch == *newest)
    }
}

/// A flip with all that was armed for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Flip {
    /// What watching and rolling back need.
    pub armed: Arc<Armed>,
    /// The attempt that is in work or that succeeded; nothing in `Observe`, or between two attempts.
    pub attempt: Option<Attempt>,
    /// The step that it is at, or is being raised to; 0 for the first, and where there are none.
    pub step: usize,
    /// While it is being raised to the next step, when the rollout of the step before was complete.
    pub before: Option<Time>,
    /// The workloads that must see it, each once. Kept, because every pass looks for each.
    pub(super) workloads: Arc<[WorkloadKey]>,
}

impl Flip {
    /// A flip at its first step that nothing was sent of.
    pub fn new(armed: Arc<Armed>) -> Self {
        let mut workloads: Vec<WorkloadKey> = Vec::new();
        for target in &armed.targets {
            for key in target.workloads.iter().map(|w| WorkloadKey::beside(&target.place, w)) {
                if !workloads.contains(&key) {
                    workloads.push(key);
                }
            }
        }
        Self { armed, attempt: None, step: 0, before: None, workloads: workloads.into() }
    }

    /// The workloads that must see it, each once.
    pub fn workloads(&self) -> &[WorkloadKey] {
        &self.workloads
    }

    /// The decision id of the raise.
    pub fn decision(&self) -> Option<&str> {
        self.attempt.as_ref().map(|a| a.decision.as_str())
    }

    fn armed_step(&self) -> Option<&ArmedStep> {
        self.armed.steps.get(self.step)
    }

    /// How many of the users it reaches.
    pub fn percent(&self) -> Percent {
        self.armed_step().map_or(Percent::ALL, |step| step.percent)
    }

    /// How many it reached at the step before, while it is being raised to the next; once that is up, finding the percentage
    /// of the one before is somebody else's doing.
    pub fn percent_before(&self) -> Option<Percent> {
        self.before?;
        Some(self.armed.steps.get(self.step.checked_sub(1)?)?.percent)
    }

    /// How many it reaches next.
    pub fn next_percent(&self) -> Option<Percent> {
        Some(self.armed.steps.get(self.step + 1)?.percent)
    }

    /// How it soaks where it is.
    pub fn soak(&self) -> &Soak {
        self.armed_step().map_or(&self.armed.soak, |step| &step.soak)
    }

    /// ` at 10 %`, where it goes in steps.
    pub(super) fn share(&self) -> String {
        self.armed_step().map(|step| format!(" at {} %", step.percent)).unwrap_or_default()
    }

    fn step_status(&self) -> Option<StepStatus> {
        let number = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        let percent = self.armed_step()?.percent;
        Some(StepStatus { number: number(self.step + 1), of: number(self.armed.steps.len()), percent })
    }
}

/// The stages of a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Stage {
    /// What must hold before the flip is watched.
    Gating,
    /// The flip is written down and being sent.
    Flipping(Flip),
    /// The flag is up; the rollout is not complete.
    Verifying(Flip),
    /// The rollout was complete at this time; evidence is gathered.
    Soaking(Flip, Time),
    /// The soak is over; watched until the schedule completes.
    Completed(Flip, Time),
    /// Work whose gates were open: it is complete, and nothing of it is up.
    Worked,
    /// The soak is over and the flag goes back, as planned.
    Lowering(Flip, RollbackRecord),
    /// Nobody watches any more.
    Finished(Option<Flip>),
    /// The flag goes back.
    RollingBack(Flip, RollbackRecord),
    /// The flag is back, proven.
    RolledBack(Flip, RollbackRecord),
    /// Superseded before it raised anything.
    Skipped,
}

impl Stage {
    /// The name of the stage.
    pub fn state(&self) -> RunState {
        match self {
            Self::Gating => RunState::Gating,
            Self::Flipping(_) => RunState::Flipping,
            Self::Verifying(_) => RunState::Verifying,
            Self::Soaking(..) => RunState::Soaking,
            Self::Completed(..) | Self::Worked => RunState::Completed,
            Self::Lowering(..) => RunState::Lowering,
            Self::Finished(_) => RunState::Finished,
            Self::RollingBack(..) => RunState::RollingBack,
            Self::RolledBack(..) => RunState::RolledBack,
            Self::Skipped => RunState::Skipped,
        }
    }

    /// The flip, once armed.
    pub fn flip(&self) -> Option<&Flip> {
        match self {
            Self::Gating | Self::Worked | Self::Skipped => None,
            Self::Finished(flip) => flip.as_ref(),
            Self::Flipping(f)
            | Self::Verifying(f)
            | Self::Soaking(f, _)
            | Self::Completed(f, _)
            | Self::Lowering(f, _)
            | Self::RollingBack(f, _)
            | Self::RolledBack(f, _) => Some(f),
        }
    }

    /// The flip of a flag that may be up because of this run.
    pub fn raised(&self) -> Option<&Flip> {
        self.flip().filter(|_| self.state().is_raised())
    }

    /// Whether nothing more is waited for here: what comes after it may begin.
    pub fn is_done(&self) -> bool {
        self.state().is_done()
    }

    /// The rollback, once decided.
    pub fn rollback(&self) -> Option<&RollbackRecord> {
        match self {
            Self::RollingBack(_, r) | Self::RolledBack(_, r) => Some(r),
            _ => None,
        }
    }

    /// What was decided where the flag goes back: a rollback, or what was planned.
    pub fn way_back(&self) -> Option<&RollbackRecord> {
        match self {
            Self::Lowering(_, r) => Some(r),
            _ => self.rollback(),
        }
    }

    /// When the rollout of the raised value was complete.
    pub fn rolled_out(&self) -> Option<Time> {
        match self {
            Self::Soaking(_, at) | Self::Completed(_, at) => Some(*at),
            _ => None,
        }
    }
}

/// One attempt at one environment.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// The object's name.
    pub name: String,
    /// The namespace, the schedule's own.
    pub namespace: String,
    /// The version that was read; nothing for a run that is not stored yet.
    pub version: Option<String>,
    /// What the run is about.
    pub spec: Arc<MigrationRunSpec>,
    /// The stage beneath every overlay.
    pub stage: Stage,
    /// Since when.
    pub since: Time,
    /// How many attempts at sending the flip there were.
    pub attempts: i64,
    /// In one sentence, what it waits for or has come to.
    pub message: String,
    /// Why it does not go on without a person.
    pub held: Option<Held>,
    /// What must still hold.
    pub waits: Vec<Wait>,
    /// The rollback that is sent soon if nobody stops it.
    pub pending: Option<PendingAction>,
    /// Since when nothing is rolled back by itself.
    pub no_return: Option<Time>,
    /// How many of the soak's updates were told.
    pub updates: usize,
    /// The checks that do not pass.
    pub checks: Vec<CheckStatus>,
    /// What its checks will be able to tell.
    pub preflight: Vec<Preflight>,
    /// The last transitions.
    pub transitions: Arc<Vec<Transition>>,
}

impl Run {
    /// The first epoch of an environment of a phase, in `Gating`.
    pub(super) fn first(view: &View, phase: &PhasePlan, environment: &EnvironmentPlan, now: Time) -> Self {
        let spec = MigrationRunSpec {
            format_version: FORMAT_VERSION,
            schedule: ScheduleRef { name: view.name.clone(), uid: view.uid.clone() },
            phase: phase.name.clone(),
            number: phase.number.clone(),
            environment: environment.key.clone(),
            epoch: 1,
            opened_by: None,
        };
        Self::open(&view.namespace, spec, now)
    }

    /// A new run in `Gating`.
    pub fn open(namespace: &str, spec: MigrationRunSpec, now: Time) -> Self {
        Self {
            name: run_name(&spec),
            namespace: namespace.to_owned(),
            version: None,
            spec: Arc::new(spec),
            stage: Stage::Gating,
            since: now,
            attempts: 0,
            message: String::new(),
            held: None,
            waits: Vec::new(),
            pending: None,
            no_return: None,
            updates: 0,
            checks: Vec::new(),
            preflight: Vec::new(),
            transitions: Arc::default(),
        }
    }

    /// Whether a `Retry` opened this epoch that takes over a value which others had set before it was ordered.
    ///
    /// Nobody owns what is absent, so nobody can say since when; a `Retry` takes it as it is.
    pub(super) fn takes_over(&self, value: &FlagValue, owner: Option<&Owner>) -> bool {
        let Some(opened) = &self.spec.opened_by else { return false };
        owner.and_then(|o| o.at).map_or(*value == FlagValue::Absent, |since| opened.at >= since)
    }

    /// Reads a stored run.
    ///
    /// # Errors
    /// A sentence, where what is stored makes no sense or was written by a later version.
    pub fn read(object: &MigrationRun) -> Result<Self, String> {
        let name = object.metadata.name.clone().unwrap_or_default();
        if object.spec.format_version > FORMAT_VERSION {
            return Err(format!("run {name} was written by a later version of Hoist; upgrade this one"));
        }
        let created =
            object.metadata.creation_timestamp.as_ref().and_then(|t| Time::from_timestamp(t.0.as_second(), 0));
        let mut run = Self::open("", object.spec.clone(), created.unwrap_or_default());
        run.name.clone_from(&name);
        run.namespace = object.metadata.namespace.clone().unwrap_or_default();
        run.version.clone_from(&object.metadata.resource_version);
        if let Some(status) = &object.status {
            run.stage =
                stage(status).ok_or_else(|| format!("run {name} is {} but lacks what that needs", status.state))?;
            run.attempts = status.attempts.max(status.attempt.as_ref().map_or(0, |a| a.number));
            run.since = status.since;
            run.message.clone_from(&status.message);
            run.held.clone_from(&status.held);
            run.waits.clone_from(&status.waits);
            run.pending.clone_from(&status.pending);
            run.no_return = status.no_return;
            run.updates = usize::try_from(status.updates).unwrap_or(0);
            run.checks.clone_from(&status.checks);
            run.preflight.clone_from(&status.preflight);
            run.transitions = Arc::new(status.transitions.clone());
        }
        Ok(run)
    }

    /// The status as it is stored.
    pub fn status(&self) -> MigrationRunStatus {
        let flip = self.stage.flip();
        MigrationRunStatus {
            state: self.stage.state(),
            since: self.since,
            message: self.message.clone(),
            held: self.held.clone(),
            waits: self.waits.clone(),
            armed: flip.map(|f| (*f.armed).clone()),
            attempt: flip.and_then(|f| f.attempt.clone()),
            updates: i64::try_from(self.updates).unwrap_or(0),
            attempts: self.attempts,
            step: flip.and_then(Flip::step_status),
            rolled_out: self.stage.rolled_out().or(flip.and_then(|f| f.before)),
            rollback: self.stage.way_back().cloned(),
            pending: self.pending.clone(),
            no_return: self.no_return,
            checks: self.checks.clone(),
            preflight: self.preflight.clone(),
            transitions: self.transitions.to_vec(),
        }
    }

    /// Moves to another stage and remembers why.
    pub fn go(&mut self, stage: Stage, reason: &str, actor: &str, now: Time) {
        let transition = Transition {
            at: now,
            from: self.stage.state(),
            to: stage.state(),
            reason: clip_to(reason, room::REASON),
            actor: clip_to(actor, room::ACTOR),
        };
        self.stage = stage;
        self.since = now;
        self.message = clip(reason);
        self.held = None;
        self.waits.clear();
        self.checks.clear();
        if !self.stage.state().is_raised() {
            self.pending = None;
        }
        let transitions = Arc::make_mut(&mut self.transitions);
        transitions.push(transition);
        let surplus = transitions.len().saturating_sub(KEPT_TRANSITIONS);
        transitions.drain(..surplus);
    }

    /// When it was complete, where it is.
    pub(super) fn completed_at(&self) -> Option<Time> {
        let turned = self.transitions.iter().rev().find(|t| t.to == RunState::Completed);
        self.stage.is_done().then(|| turned.map_or(self.since, |t| t.at))
    }

    /// Notes when the calendar lets it go on.
    pub(super) fn opens(&mut self, until: Option<Time>) {
        for wait in self.waits.iter_mut().filter(|w| w.gate == Gate::Calendar) {
            wait.until = until;
        }
    }

    /// Lays a hold over the stage; one that says the same already keeps its time.
    pub fn hold(&mut self, reason: HeldReason, message: &str, now: Time) {
        let since = self.held.as_ref().filter(|h| h.reason == reason).map_or(now, |h| h.since);
        self.held = Some(Held { reason, message: clip(message), since });
    }

    /// The run's namespace and name, as stamps carry them.
    pub fn reference(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// The Environment.
    pub fn environment(&self) -> &EnvironmentKey {
        &self.spec.environment
    }

    /// Whether Hoist may write for this run: it was armed in `Act`, and the schedule is not in `Observe` now.
    pub fn writes(&self, mode: Option<Mode>) -> bool {
        let armed = self.stage.flip().map_or(Mode::Act, |f| f.armed.mode);
        armed == Mode::Act && mode.unwrap_or(armed) == Mode::Act
    }

    /// The decision id for something new.
    pub fn decision(&self, kind: &str, number: i64) -> String {
        format!("{}-{kind}{number}", digest(&[&self.namespace, &self.name]))
    }

    /// The phase as people say it.
    pub fn label(&self) -> String {
        let number = self.spec.number.as_ref().map(|n| format!("{n} ")).unwrap_or_default();
        number + &place_label(&self.spec.phase, &self.spec.environment.name)
    }
}

/// A phase and an environment as people say them; Work may have no environment.
pub(super) fn place_label(phase: &str, environment: &str) -> String {
    format!("{phase} {environment}").trim_end().to_owned()
}

/// Cuts a sentence to what a status field may hold.
pub fn clip(text: &str) -> String {
    clip_to(text, room::SENTENCE)
}

fn clip_to(text: &str, most: usize) -> String {
    let mut text = text.to_owned();
    room::shorten(&mut text, most);
    text
}

fn stage(status: &MigrationRunStatus) -> Option<Stage> {
    let flip = || {
        Some(Flip {
            attempt: status.attempt.clone(),
            step: status.step.as_ref().and_then(|s| usize::try_from(s.number - 1).ok()).unwrap_or(0),
            before: status.rolled_out.filter(|_| status.state == RunState::Flipping),
            ..Flip::new(Arc::new(status.armed.clone()?))
        })
    };
    Some(match status.state {
        RunState::Pending | RunState::Gating => Stage::Gating,
        RunState::Flipping => Stage::Flipping(flip()?),
        RunState::Verifying => Stage::Verifying(flip()?),
        RunState::Soaking => Stage::Soaking(flip()?, status.rolled_out?),
        RunState::Completed if status.armed.is_none() => Stage::Worked,
        RunState::Completed => Stage::Completed(flip()?, status.rolled_out?),
        RunState::Lowering => Stage::Lowering(flip()?, status.rollback.clone()?),
        RunState::Finished => Stage::Finished(flip()),
        RunState::RollingBack => Stage::RollingBack(flip()?, status.rollback.clone()?),
        RunState::RolledBack => Stage::RolledBack(flip()?, status.rollback.clone()?),
        RunState::Skipped => Stage::Skipped,
    })
}

/// The name of a run: readable first, and made unique by the schedule's uid and the Environment's namespace, so that
/// creating it twice is harmless and a schedule recreated under the same name never finds its predecessor's.
fn run_name(spec: &MigrationRunSpec) -> String {
    let e = &spec.environment;
    let unique = digest(&[&spec.schedule.uid, &spec.phase, &e.namespace, &e.name, &spec.epoch.to_string()]);
    let schedule: String = spec.schedule.name.chars().take(60).collect();
    let place = if e.name.is_empty() { String::new() } else { format!("-{}", e.name) };
    format!("{schedule}-{}{place}-{}-{unique}", spec.phase, spec.epoch)
}
