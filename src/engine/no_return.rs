//! Points of no return: from where on nothing is rolled back by itself.

use std::sync::Arc;

use crate::api::{PhaseMark, Time};

use super::latest::Latest;
use super::plan::Plan;
use super::state::Run;
use super::step::Pass;

impl Pass<'_> {
    /// Notes which runs are past a point of no return: those of its phase, and of all phases that it came after. Once noted
    /// it stays, whatever the plan says later.
    pub(super) fn note_points_of_no_return(&mut self) {
        let Ok(plan) = &self.view.plan else { return };
        if plan.phases.iter().all(|p| p.point_of_no_return.is_none()) {
            return;
        }
        let passed = passed(plan, &Latest::of(plan, &self.state));
        for (phase, at) in passed {
            if at > self.now {
                self.wake_at(at);
                continue;
            }
            let open = |r: &Run| r.stage.raised().is_some() && r.no_return.is_none();
            for run in self.state.runs.values_mut().filter(|r| open(r)) {
                let place = plan.place_of(&run.spec);
                let reached = plan
                    .phases
                    .get(phase)
                    .zip(place)
                    .is_some_and(|(p, (own, _))| own == phase || p.before.contains(&own));
                if reached {
                    Arc::make_mut(run).no_return = Some(at);
                }
            }
        }
    }

    /// What people can do where something breaches past the point of no return.
    pub(super) fn runbook(&self, run: &Run) -> Option<&str> {
        let plan = self.view.plan.as_ref().ok()?;
        let (own, _) = plan.place_of(&run.spec)?;
        let mut reaching = plan.phases.iter().enumerate().filter(|(i, p)| *i == own || p.before.contains(&own));
        reaching.find_map(|(_, p)| p.point_of_no_return.as_ref()?.runbook.as_deref())
    }
}

/// The phases whose point of no return is known, and when it is, or was, passed.
fn passed(plan: &Plan, latest: &Latest<'_>) -> Vec<(usize, Time)> {
    let points = plan.phases.iter().enumerate().filter_map(|(i, p)| Some((i, p.point_of_no_return.as_ref()?)));
    points
        .filter_map(|(i, point)| {
            let begun = latest.mark(plan, i, PhaseMark::Start)?;
            Some((i, begun + point.after.unwrap_or_default().delta()))
        })
        .collect()
}
