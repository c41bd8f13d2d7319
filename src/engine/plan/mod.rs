//! A plan that is right by type, or every problem at once.

mod checks;
mod flags;
mod place;
mod problems;
mod sequence;
mod steps;
mod trials;

use std::collections::{BTreeMap, BTreeSet};

use crate::api::{
    ArmedStep, Check, Duration, Environment, EnvironmentKey, Flag, FreezeSpec, Late, MigrationScheduleSpec, PhaseKind,
    PhaseMark, PointOfNoReturn, PrometheusSource, RollbackScope, Share, Soak, TargetPlace,
};

use super::calendar::{Calendar, Dated, Reading, Zone, freezes};
use super::elsewhere::ElsewherePhase;
use super::target::TargetPlan;
use place::target_plan;
pub(super) use problems::Problems;
pub use sequence::{Step, circle};

/// Something wrong in a spec, and how to put it right.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where: `spec.phases[0].checks[1].threshold.query`.
    pub path: String,
    /// What is wrong, in a sentence.
    pub message: String,
    /// What to do, where that can be said.
    pub hint: Option<String>,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path, self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, " ({hint})"))
    }
}

/// A schedule's parsed, valid form.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The rollback's deadline.
    pub deadline: Duration,
    /// How far a breach reaches.
    pub scope: RollbackScope,
    /// How likely the statistical checks of a run together may roll a harmless flip back.
    pub false_rollback_budget: Option<Share>,
    /// How long everything is watched after the last environment was complete.
    pub watch: Duration,
    /// Where dates are read.
    pub zone: Zone,
    /// The Freezes that let no phase begin.
    pub starts: Calendar,
    /// What becomes of a start that was missed.
    pub late: Late,
    /// The phases, in order.
    pub phases: Vec<PhasePlan>,
}

/// A phase of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct PhasePlan {
    /// Its name.
    pub name: String,
    /// Its number.
    pub number: Option<String>,
    /// What it does.
    pub kind: PhaseKind,
    /// Every phase that must be complete before it starts, whether it names them or they are named by one that it names.
    pub before: BTreeSet<usize>,
    /// The same of phases of other schedules.
    pub elsewhere: BTreeSet<ElsewherePhase>,
    /// When it may start.
    pub start: Option<Dated>,
    /// How long after a moment of another phase it may start.
    pub start_after: Option<(usize, PhaseMark, Duration)>,
    /// When it is meant to be complete.
    pub end: Option<Dated>,
    /// Its soak, where it reaches its users at once.
    pub soak: Soak,
    /// The steps in which it reaches its users; none where that is at once.
    pub steps: Vec<ArmedStep>,
    /// How long after its rollout a flag goes back by plan; nothing where it stays.
    pub lower_after: Option<Duration>,
    /// How many of its environments may be on their way at the same time.
    pub max_parallel: usize,
    /// Whether they go in groups of that many.
    pub barrier: bool,
    /// Where automatic rollback ends.
    pub point_of_no_return: Option<PointOfNoReturn>,
    /// Its environments, in order; for Work that names none a single one without a name.
    pub environments: Vec<EnvironmentPlan>,
}

impl PhasePlan {
    /// The soaks of one environment, one after the other. Work has none.
    pub fn soaks(&self) -> Vec<&Soak> {
        match self.kind {
            PhaseKind::Work => Vec::new(),
            PhaseKind::Flip if self.steps.is_empty() => vec![&self.soak],
            PhaseKind::Flip => self.steps.iter().map(|step| &step.soak).collect(),
        }
    }
}

/// An environment of a phase.
#[derive(Clone, Debug, PartialEq)]
pub struct EnvironmentPlan {
    /// Which.
    pub key: EnvironmentKey,
    /// What a flip, or Work, needs, or what is missing, in a sentence.
    pub flip: Result<FlipPlan, String>,
    /// Whether the owner suspended it.
    pub suspended: bool,
    /// When flags may be raised here, or what is wrong in the Environment's calendar.
    pub calendar: Result<Calendar, String>,
    /// Where the hours of this place are read.
    pub zone: Zone,
}

/// What a flip needs before it is armed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FlipPlan {
    /// Where the flags are written; nowhere for Work.
    pub targets: Vec<TargetPlan>,
    /// The checks, rendered.
    pub checks: Vec<Check>,
    /// How likely each statistical check may be wrong about a harmless flip.
    pub alpha: f64,
    /// How long the soaks last together.
    pub soaks: Duration,
    /// The check that must have been quiet, and for how long.
    pub quiet: Option<(Check, Duration)>,
    /// Where they are asked; nothing for Work that names no environment.
    pub prometheus: Option<PrometheusSource>,
}

/// What is known around a spec: the Environments, and the labels of the namespaces that may use them.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// The schedule's own name.
    pub schedule: String,
    /// The Environments; an error where one is there but cannot be read.
    pub environments: BTreeMap<EnvironmentKey, Result<Environment, String>>,
    /// The labels of the schedule's own namespace.
    pub namespace_labels: BTreeMap<String, String>,
    /// The Freezes that concern the schedule, by name; an error where one is there but cannot be read.
    pub freezes: BTreeMap<String, Result<FreezeSpec, String>>,
}

impl Plan {
    /// Parses a spec.
    ///
    /// # Errors
    /// Every problem that the spec itself has. An Environment that is missing or unfit is no problem of the spec: it
    /// is something to wait for, and stands in [`EnvironmentPlan::flip`].
    pub fn parse(namespace: &str, spec: &MigrationScheduleSpec, places: &Places) -> Result<Self, Vec<Problem>> {
        let mut problems = Problems::default();
        problems.check_flags(&spec.flags);
        problems.check_checks("spec.checks", &spec.checks, spec);
        problems.check_phases(namespace, spec);
        problems.limit(spec);
        problems.check_steps(spec);
        problems.check_soaks(spec);
        problems.check_evidence(spec);
        let sequence = problems.sequence(spec);
        problems.check_trials(namespace, spec, &sequence);
        let elsewhere = problems.elsewhere((namespace, &places.schedule), spec, &sequence);
        let calendars = Reading::of(spec);
        problems.0.extend(calendars.problems.iter().cloned());
        if !problems.0.is_empty() {
            return Err(problems.0);
        }
        let frozen = freezes(&places.freezes);
        let advance = frozen.as_ref().map(|(_, advance)| advance);
        let phases = spec.phases.iter().zip(sequence.into_iter().zip(elsewhere));
        let phases = phases.enumerate().map(|(i, (phase, (before, elsewhere)))| PhasePlan {
            name: phase.name.clone(),
            number: phase.number.clone(),
            kind: phase.kind,
            before,
            elsewhere,
            start: phase.start.map(|start| Dated::start(start, calendars.zone)),
            start_after: phase.start_after.as_ref().and_then(|after| {
                let of = spec.phases.iter().position(|p| p.name == after.phase)?;
                Some((of, after.of, after.delay))
            }),
            end: phase.end.map(|end| Dated::end(end, calendars.zone)),
            soak: steps::soak(spec, phase, None).clone(),
            steps: steps::of(spec, phase),
            lower_after: phase.lower_after,
            max_parallel: usize::try_from(phase.max_parallel).unwrap_or(1).max(1),
            barrier: phase.barrier,
            point_of_no_return: phase.point_of_no_return.clone(),
            environments: EnvironmentPlan::of_phase(namespace, i, spec, places, &calendars, advance),
        });
        Ok(Self {
            deadline: spec.rollback.deadline,
            scope: spec.rollback.scope,
            false_rollback_budget: spec.false_rollback_budget.clone(),
            watch: spec.watch.unwrap_or_default(),
            zone: calendars.zone,
            late: calendars.late,
            phases: phases.collect(),
            starts: frozen.map(|(starts, _)| starts).unwrap_or_default(),
        })
    }

    /// Whether a plan of this spec, if it is valid, may write a place: no more than a look at the names, for whoever has
    /// thousands of specs to sort out.
    pub fn may_write(namespace: &str, spec: &MigrationScheduleSpec, places: &Places, place: &TargetPlace) -> bool {
        let references = spec.phases.iter().flat_map(|p| &p.environments);
        let keys = references.map(|e| resolve(namespace, &e.namespace, &e.name));
        let writes = |environment: &Environment, key: &EnvironmentKey, flag: &Flag| {
            let listed = environment.spec.flags.iter().filter(|f| f.name == flag.name).flat_map(|f| &f.targets);
            listed.filter_map(|t| target_plan(flag, key, t).ok()).any(|t| t.place == *place)
        };
        keys.filter(|key| key.namespace == place.namespace).any(|key| {
            let environment = places.environments.get(&key).and_then(|e| e.as_ref().ok());
            environment.is_some_and(|e| spec.flags.iter().any(|flag| writes(e, &key, flag)))
        })
    }
}

pub(super) fn resolve(own: &str, namespace: &str, name: &str) -> EnvironmentKey {
    let namespace = if namespace.is_empty() { own } else { namespace };
    EnvironmentKey { namespace: namespace.to_owned(), name: name.to_owned() }
}

fn only_flag(spec: &MigrationScheduleSpec) -> Option<&str> {
    match spec.flags.as_slice() {
        [one] => Some(&one.name),
        _ => None,
    }
}
