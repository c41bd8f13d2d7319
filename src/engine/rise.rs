//! From one step to the next: more of the users, once the soak of those before is over.

use chrono::TimeDelta;

use crate::api::{Gate, Time};

use super::flip::again_at;
use super::gate::rise_gates;
use super::state::{Flip, Run, Stage};
use super::step::Pass;
use super::target::TargetReading;

impl Pass<'_> {
    /// Raises a flag whose soak is over to its next step, where people and the calendar let it. What keeps it from that is
    /// waited for where it is, watched as before.
    pub(super) fn rise(&mut self, run: &mut Run, flip: Flip, rolled_out: Time, reason: &str) {
        let found = rise_gates(self.view, &self.stops(), &self.state, run, self.now);
        let mut waits = found.waits.clone();
        let mut versions = Vec::new();
        for target in &flip.armed.targets {
            match self.seen.targets.get(&target.place) {
                Some(Ok(TargetReading::Found(found))) if found.barred.is_none() => {
                    versions.push(found.resource_version.clone());
                }
                Some(Ok(TargetReading::Found(found))) => {
                    let why = found.barred.as_deref().unwrap_or_default();
                    waits.push((Gate::Target, format!("{}: {why}", target.place)));
                }
                _ => waits.push((Gate::Target, format!("{} is not read yet", target.place))),
            }
        }
        found.timing.next.into_iter().for_each(|at| self.wake_at(at));
        let again = again_at(run, run.since);
        if self.now < again {
            self.wake_at(again);
            let at = again.format("%Y-%m-%d %H:%M:%S UTC");
            waits.push((Gate::Target, format!("the next step was sent and did not arrive; again at {at}")));
        }
        if !waits.is_empty() || !found.open() {
            self.wait(run, waits);
            return run.opens(found.timing.until);
        }
        // One flip in a pass: each is decided on what became of the one before.
        if !self.raises.is_empty() {
            return self.wake_in(TimeDelta::seconds(1));
        }
        let next = Flip { step: flip.step + 1, before: Some(rolled_out), attempt: None, ..flip };
        run.go(Stage::Flipping(next.clone()), reason, "hoist", self.now);
        let all: Vec<usize> = (0..versions.len()).collect();
        self.attempt(run, next, &all, &versions);
    }
}
