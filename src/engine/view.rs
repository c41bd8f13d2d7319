//! What people and neighbours say: the schedule, its plan, the orders, and who else is at work.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::api::{
    Check, EnvironmentKey, InterventionSpec, MigrationScheduleStatus, Mode, OnDelete, OverriddenWait, OverrideStatus,
    PauseStatus, PhaseKind, TargetPlace, Time,
};

use super::elsewhere::ElsewherePhase;
use super::plan::{EnvironmentPlan, FlipPlan, PhasePlan, Plan, Problem};
use super::state::Run;

/// Everything that one pass is told, apart from what it remembers and what it sees.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// The schedule's namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The generation of its spec.
    pub generation: i64,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whether the finalizer is on it.
    pub finalizer: bool,
    /// The plan, or what is wrong with it: then only watching and retreat are possible.
    pub plan: Result<Arc<Plan>, Vec<Problem>>,
    /// What of the spec acts at once, where the spec can be read at all.
    pub policy: Option<Policy>,
    /// What was said of it last.
    pub status: MigrationScheduleStatus,
    /// The orders that were not answered yet, oldest first.
    pub orders: Vec<Order>,
    /// Who else is at work.
    pub neighbours: Neighbours,
    /// Runs that are stored but cannot be read, in sentences.
    pub unreadable: Vec<String>,
    /// When resource versions went back, until the status says that the schedule is paused for it.
    pub went_back: Option<Time>,
}

/// The parts of a spec that act at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whether Hoist writes.
    pub mode: Mode,
    /// Whether anything advances.
    pub suspend: bool,
    /// What becomes of raised flags.
    pub on_delete: OnDelete,
}

/// A person's order that was not answered yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// The Intervention's name.
    pub name: String,
    /// When it was written.
    pub at: Time,
    /// What it orders.
    pub spec: InterventionSpec,
}

/// What other schedules hold, and how far they are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Neighbours {
    /// Places that another schedule claims before this one, with who.
    pub claimed: BTreeMap<TargetPlace, String>,
    /// Environments in which another flip is in work, with which.
    pub busy: BTreeMap<EnvironmentKey, String>,
    /// The phases of other schedules that are waited for: complete, or why not, in a sentence. One that is not here was not
    /// looked at, and is waited for.
    pub elsewhere: BTreeMap<ElsewherePhase, Result<(), String>>,
}

impl View {
    /// The pauses that are in force.
    pub fn pauses(&self) -> &[PauseStatus] {
        &self.status.pauses
    }

    /// The mode, where the spec can be read.
    pub fn mode(&self) -> Option<Mode> {
        self.policy.map(|p| p.mode)
    }

    /// Until when a person overrode a wait, or a check, of a run; the latest of them, also where it is over.
    fn overridden(&self, run: &Run, what: impl Fn(&OverrideStatus) -> bool) -> Option<Time> {
        let all = self.status.overrides.iter().filter(|o| what(o));
        let of_run = all.filter(|o| is_about(o.phase.as_ref(), o.environment.as_ref(), run));
        of_run.map(|o| o.what.until).max()
    }

    /// Until when a wait of a run is not waited for, where it is not now.
    pub fn overridden_wait(&self, run: &Run, wait: OverriddenWait, now: Time) -> Option<Time> {
        self.overridden(run, |o| o.what.wait == Some(wait)).filter(|until| now < *until)
    }

    /// Whether a person ended the soak; of a later step, which began then, only by an order that came since.
    pub fn soak_cut_short(&self, run: &Run, later_step: Option<Time>, now: Time) -> bool {
        let since = |at: Time| later_step.is_none_or(|began| at >= began);
        let soak = |o: &OverrideStatus| o.what.wait == Some(OverriddenWait::Soak) && since(o.at);
        self.overridden(run, soak).is_some_and(|until| now < until)
    }

    /// Until when what a check of a run finds is forgiven, also where that is over.
    pub fn forgiven(&self, run: &Run, check: &str) -> Option<Time> {
        self.overridden(run, |o| o.what.check.as_deref() == Some(check))
    }

    /// Whether a check of a run is overridden now: it neither stops nor rolls back anything.
    pub fn is_overridden(&self, run: &Run, check: &str, now: Time) -> bool {
        self.forgiven(run, check).is_some_and(|until| now < until)
    }

    /// Whether what a check of a run finds has consequences now.
    pub fn counts(&self, run: &Run, check: &Check, now: Time) -> bool {
        !check.dry_run && !self.is_overridden(run, &check.name, now)
    }

    /// When a person let the phase of a run pass its point of no return, for the run's epoch.
    pub fn promoted(&self, phase: &PhasePlan, run: &Run) -> Option<Time> {
        let this_epoch = |at: Time| run.spec.opened_by.as_ref().is_none_or(|o| o.at <= at);
        self.status.promotions.iter().find(|p| p.phase == phase.name && this_epoch(p.at)).map(|p| p.at)
    }

    /// The phase and the environment that a run serves, where the plan still has them.
    pub fn step_of(&self, run: &Run) -> Option<(&PhasePlan, &EnvironmentPlan)> {
        let plan = self.plan.as_ref().ok()?;
        plan.step(plan.place_of(&run.spec)?)
    }

    /// Whether a run is one of Work, as far as the plan says.
    pub fn is_work(&self, run: &Run) -> bool {
        self.step_of(run).is_some_and(|(phase, _)| phase.kind == PhaseKind::Work)
    }

    /// What a flip of this run needs, where everything is there.
    pub fn flip_plan(&self, run: &Run) -> Option<&FlipPlan> {
        self.step_of(run)?.1.flip.as_ref().ok()
    }
}

/// The pause that holds a run, where there is one.
pub fn pause_of<'a>(pauses: &'a [PauseStatus], run: &Run) -> Option<&'a PauseStatus> {
    pauses.iter().find(|p| is_about(p.phase.as_ref(), p.environment.as_ref(), run))
}

/// Whether something that is limited to a phase or an environment, or to neither, is about a run.
fn is_about(phase: Option<&String>, environment: Option<&String>, run: &Run) -> bool {
    phase.is_none_or(|phase| *phase == run.spec.phase) && environment.is_none_or(|e| *e == run.spec.environment.name)
}
