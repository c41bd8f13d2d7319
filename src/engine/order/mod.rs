//! What people order, applied once each.

mod leave;

use std::collections::BTreeMap;

use crate::api::{
    Action, FORMAT_VERSION, HeldReason, MigrationRunSpec, Mode, OpenedBy, OrderOutcome, OverrideStatus, PauseStatus,
    PromotionStatus, RunState, Time,
};

use crate::engine::decision::OrderAnswer;
use crate::engine::gate::is_latest;
use crate::engine::state::{Run, Stage, State, place_label};
use crate::engine::target::digest;
use crate::engine::view::{Order, View};

/// The most pauses that people can have in force. A status holds one more.
const MOST_PAUSES: usize = 31;

/// What stands for the Intervention where Hoist pauses a schedule by itself, because resource versions went back.
pub const WENT_BACK: &str = "resource-versions-went-back";

/// What the orders of one pass come to.
#[derive(Debug, Default)]
pub(in crate::engine) struct Orders {
    /// The answers.
    pub answers: Vec<OrderAnswer>,
    /// The pauses in force afterwards.
    pub pauses: Vec<PauseStatus>,
    /// The phases that may pass their point of no return afterwards.
    pub promotions: Vec<PromotionStatus>,
    /// What is overridden afterwards.
    pub overrides: Vec<OverrideStatus>,
    /// Runs that must roll back: by which Intervention, and why.
    pub rollbacks: BTreeMap<String, (String, String)>,
    /// Runs that a `Retry` opens, or that are left out before they began.
    pub opened: Vec<Run>,
    /// Runs that are superseded or left out: name, reason, actor.
    pub skipped: Vec<(String, String, String)>,
}

/// Applies every order that was not answered yet, oldest first.
pub(in crate::engine) fn orders(view: &View, state: &State, now: Time) -> Orders {
    let mut orders = Orders {
        pauses: view.pauses().to_vec(),
        promotions: view.status.promotions.clone(),
        overrides: view.status.overrides.clone(),
        ..Orders::default()
    };
    if let Some(since) = view.went_back {
        orders.went_back(since);
    }
    for order in &view.orders {
        let result = match order.spec.action {
            _ if order.spec.schedule.uid != view.uid => {
                Err(format!("it names uid {}, which is not this schedule's", order.spec.schedule.uid))
            }
            Action::Pause => orders.pause(view, state, order),
            Action::Resume => orders.resume(order),
            Action::Rollback => orders.rollback(view, state, order),
            Action::Retry => orders.retry(view, state, order, now),
            Action::Promote => orders.promote(view, order),
            Action::Skip => orders.skip(view, state, order, now),
            Action::Override => orders.overriding(view, state, order, now),
        };
        let (outcome, message) = match result {
            Ok(message) => (OrderOutcome::Applied, message),
            Err(message) => (OrderOutcome::Refused, message),
        };
        orders.answers.push(OrderAnswer { name: order.name.clone(), outcome, message });
    }
    orders
}

fn meant(order: &Order, run: &Run) -> bool {
    names(order, &run.spec.phase, &run.spec.environment.name)
}

fn names(order: &Order, phase: &str, environment: &str) -> bool {
    order.spec.phase.as_ref().is_none_or(|p| p == phase)
        && order.spec.environment.as_ref().is_none_or(|e| e == environment)
}

impl Orders {
    /// What was stored may be older than what was done, so a person looks first (law 4).
    fn went_back(&mut self, since: Time) {
        self.pauses.retain(|p| p.intervention != WENT_BACK);
        self.pauses.push(PauseStatus {
            intervention: WENT_BACK.to_owned(),
            since,
            reason: "resource versions went back, as when a backup of the cluster is restored: what is stored may be \
                     older than what was done; look at the flags, then resume"
                .to_owned(),
            phase: None,
            environment: None,
        });
    }

    fn pause(&mut self, view: &View, state: &State, order: &Order) -> Result<String, String> {
        if self.pauses.iter().any(|p| p.intervention == order.name) {
            return Ok("nothing advances until a Resume names this Pause".to_owned());
        }
        if self.pauses.len() >= MOST_PAUSES {
            // The schedule is paused many times over already; refusing this one changes nothing for anybody's safety.
            return Err(format!("{MOST_PAUSES} pauses are in force already; resume some"));
        }
        something_is_meant(view, state, order)?;
        self.pauses.push(PauseStatus {
            intervention: order.name.clone(),
            since: order.at,
            reason: order.spec.reason.clone(),
            phase: order.spec.phase.clone(),
            environment: order.spec.environment.clone(),
        });
        Ok("nothing advances until a Resume names this Pause; watching and rollback go on".to_owned())
    }

    fn resume(&mut self, order: &Order) -> Result<String, String> {
        let named = order.spec.pauses.as_deref().unwrap_or_default();
        let before = self.pauses.len();
        self.pauses.retain(|p| !named.contains(&p.intervention));
        match before - self.pauses.len() {
            0 => Err(format!("none of the pauses that it names is in force ({})", named.join(", "))),
            1 => Ok("ended 1 pause".to_owned()),
            n => Ok(format!("ended {n} pauses")),
        }
    }

    fn rollback(&mut self, view: &View, state: &State, order: &Order) -> Result<String, String> {
        let actor = actor(order);
        let already = state.all().filter(|r| r.stage.rollback().is_some_and(|b| b.actor == actor));
        let mut names: Vec<String> = already.map(Run::label).collect();
        // An order from before the epoch is not about it, whatever a cache still shows.
        let older = |r: &Run| r.spec.opened_by.as_ref().is_some_and(|o| o.at > order.at);
        let is_meant = |r: &&Run| r.stage.raised().is_some() && meant(order, r) && !older(r);
        let raised: Vec<&Run> = state.all().filter(is_meant).collect();
        if let Some(run) = raised.iter().find(|r| !r.writes(view.mode())) {
            return Err(format!("mode is Observe, so Hoist never writes {}; set the flag back by hand", run.label()));
        }
        for run in raised {
            names.push(run.label());
            self.rollbacks.insert(run.name.clone(), (actor.clone(), order.spec.reason.clone()));
        }
        match names.as_slice() {
            [] if state.all().any(|r| r.stage.state() == RunState::Finished && meant(order, r)) => {
                Err("what is meant is finished and no longer watched; set the flag back by hand".to_owned())
            }
            [] => Err("no raised flag is meant; use Pause to stop what has not been raised yet".to_owned()),
            names => Ok(format!("rolls back {}", names.join(", "))),
        }
    }

    fn retry(&mut self, view: &View, state: &State, order: &Order, now: Time) -> Result<String, String> {
        let name = order.spec.run.as_deref().unwrap_or_default();
        let opened = |r: &Run| r.spec.opened_by.as_ref().is_some_and(|o| o.intervention == order.name);
        if let Some(run) = state.all().chain(&self.opened).find(|r| opened(r)) {
            return Ok(format!("opened epoch {} as run {}", run.spec.epoch, run.name));
        }
        let run = state.runs.get(name).ok_or_else(|| format!("this schedule has no run {name}"))?;
        let released = run.held.as_ref().is_some_and(|h| {
            let before_the_flip = [HeldReason::PreviouslyRolledBack, HeldReason::RaisedBefore, HeldReason::StartMissed];
            before_the_flip.contains(&h.reason) && run.stage == Stage::Gating
        });
        if !is_latest(state, run) || self.skipped.iter().any(|(name, ..)| *name == run.name) {
            return Err(format!("epoch {} is not the latest of {}", run.spec.epoch, run.label()));
        }
        if view.deleting {
            return Err("the schedule is being deleted".to_owned());
        }
        if !released && !matches!(run.stage, Stage::RolledBack(..) | Stage::Skipped) {
            return Err(format!(
                "{} is {}; only an epoch that is rolled back, held before its flip, or left out, can be retried",
                run.label(),
                run.stage.state()
            ));
        }
        let spec = MigrationRunSpec {
            format_version: FORMAT_VERSION,
            epoch: run.spec.epoch + 1,
            opened_by: Some(OpenedBy { intervention: order.name.clone(), at: order.at }),
            ..MigrationRunSpec::clone(&run.spec)
        };
        if released {
            self.skipped.push((run.name.clone(), "a Retry opened the next epoch".to_owned(), "hoist".to_owned()));
        }
        let next = Run::open(&view.namespace, spec, now);
        let message = format!("opened epoch {} as run {}", next.spec.epoch, next.name);
        self.opened.push(next);
        Ok(message)
    }
}

/// Refuses an order that is about nothing of the schedule.
fn something_is_meant(view: &View, state: &State, order: &Order) -> Result<(), String> {
    if let (Ok(plan), false) = (&view.plan, state.all().any(|run| meant(order, run)))
        && !plan.steps().any(|(phase, e)| names(order, &phase.name, &e.key.name))
    {
        let steps = plan.steps().map(|(phase, e)| place_label(&phase.name, &e.key.name));
        return Err(format!("nothing of this schedule is meant; it has {}", steps.collect::<Vec<_>>().join(", ")));
    }
    Ok(())
}

/// The actor that an order stands for in transitions.
pub(in crate::engine) fn actor(order: &Order) -> String {
    // What is cut must still be told apart.
    let mut name = order.name.clone();
    if name.len() > 60 {
        name.truncate(40);
        name = format!("{name}…{}", digest(&[&order.name]));
    }
    format!("Intervention {name}")
}

/// Whether a policy forbids all writing.
pub(in crate::engine) fn observes(view: &View) -> bool {
    view.mode() == Some(Mode::Observe)
}
