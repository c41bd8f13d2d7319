//! What people let pass: a point of no return, what is left out, a wait or a check.

use crate::api::{OverrideStatus, PromotionStatus, Time};

use super::{Orders, actor, names, something_is_meant};
use crate::engine::gate::is_latest;
use crate::engine::hint::did_you_mean;
use crate::engine::latest::Latest;
use crate::engine::state::{Run, Stage, State};
use crate::engine::view::{Order, View};

/// The most overrides that a status holds.
const MOST_OVERRIDES: usize = 32;

impl Orders {
    pub(super) fn promote(&mut self, view: &View, order: &Order) -> Result<String, String> {
        let name = order.spec.phase.as_deref().unwrap_or_default();
        let Ok(plan) = &view.plan else {
            return Err("the schedule is invalid; promote the phase once it is mended".into());
        };
        let phase = plan.phases.iter().find(|p| p.name == name);
        let phase = phase.ok_or_else(|| format!("this schedule has no phase {name}"))?;
        if phase.point_of_no_return.is_none() {
            return Err(format!("phase {name} is no point of no return, so it needs no Promote"));
        }
        self.promotions.retain(|p| p.phase != name);
        let intervention = order.name.clone();
        self.promotions.push(PromotionStatus { phase: name.to_owned(), intervention, at: order.at });
        Ok(format!("phase {name} may pass its point of no return"))
    }

    pub(super) fn skip(&mut self, view: &View, state: &State, order: &Order, now: Time) -> Result<String, String> {
        let by = actor(order);
        let own = |run: &&Run| {
            let last = run.transitions.last();
            run.stage == Stage::Skipped && last.is_some_and(|t| t.actor == by) && super::meant(order, run)
        };
        let mut left_out: Vec<String> = state.all().filter(own).map(Run::label).collect();
        if view.deleting {
            return Err("the schedule is being deleted".to_owned());
        }
        let reason = format!("left out: {}", order.spec.reason);
        let gating = |run: &&Run| run.stage == Stage::Gating && is_latest(state, run) && super::meant(order, run);
        for run in state.all().filter(gating) {
            left_out.push(run.label());
            self.skipped.push((run.name.clone(), reason.clone(), by.clone()));
        }
        if let Ok(plan) = &view.plan {
            let latest = Latest::of(plan, state);
            for place in plan.places().filter(|place| latest.run(*place).is_none()) {
                let Some((phase, environment)) = plan.step(place) else { continue };
                if !names(order, &phase.name, &environment.key.name) {
                    continue;
                }
                let mut run = Run::first(view, phase, environment, now);
                run.go(Stage::Skipped, &reason, &by, now);
                left_out.push(run.label());
                self.opened.push(run);
            }
        }
        if left_out.is_empty() {
            something_is_meant(view, state, order)?;
            return Err("all that is meant was begun already; only what was not raised can be left out".to_owned());
        }
        Ok(format!("leaves out {}", left_out.join(", ")))
    }

    pub(super) fn overriding(
        &mut self,
        view: &View,
        state: &State,
        order: &Order,
        now: Time,
    ) -> Result<String, String> {
        let what = order.spec.what.clone().ok_or("it does not say what it overrides")?;
        let until = what.until.format("%Y-%m-%d %H:%M:%S UTC");
        let told = match (&what.wait, &what.check) {
            (Some(wait), _) => format!("{wait:?} is not waited for until {until}"),
            (None, Some(check)) => format!("check {check} neither stops nor rolls back anything until {until}"),
            (None, None) => return Err("it does not say what it overrides".to_owned()),
        };
        if self.overrides.iter().any(|o| o.intervention == order.name) {
            return Ok(told);
        }
        if what.until <= now {
            return Err(format!("it ended at {until}, before it was read"));
        }
        something_is_meant(view, state, order)?;
        if let Some(check) = &what.check {
            known(view, state, check)?;
        }
        if self.overrides.len() >= MOST_OVERRIDES {
            let over = self.overrides.iter().enumerate().filter(|(_, o)| o.what.until <= now);
            let oldest = over.min_by_key(|(_, o)| o.what.until).map(|(i, _)| i);
            self.overrides.remove(oldest.ok_or_else(|| format!("{MOST_OVERRIDES} overrides are in force already"))?);
        }
        self.overrides.push(OverrideStatus {
            intervention: order.name.clone(),
            reason: order.spec.reason.clone(),
            phase: order.spec.phase.clone(),
            environment: order.spec.environment.clone(),
            at: order.at,
            what,
        });
        Ok(told)
    }
}

/// Refuses the name of a check that neither the plan nor anything raised has.
fn known(view: &View, state: &State, check: &str) -> Result<(), String> {
    let planned = view.plan.iter().flat_map(|plan| plan.steps()).filter_map(|(_, e)| e.flip.as_ref().ok());
    let planned = planned.flat_map(|f| &f.checks);
    let armed = state.all().filter_map(|r| r.stage.flip()).flat_map(|f| &f.armed.checks);
    let names: Vec<&str> = planned.chain(armed).map(|c| c.name.as_str()).collect();
    if names.contains(&check) {
        return Ok(());
    }
    let near = did_you_mean(check, names).map(|near| format!("; {near}")).unwrap_or_default();
    Err(format!("this schedule has no check {check}{near}"))
}
