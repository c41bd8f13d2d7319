//! What in a schedule does not fit together, with its place in the file.

use chrono::TimeDelta;

use super::super::scene::Staged;
use super::super::validate::files::{Files, Warning};
use super::Phase;
use crate::api::Window;
use crate::engine::{IN_TIME, PhasePlan, Plan};
use crate::sim::{Outcome, Story};

struct Look<'a> {
    files: &'a Files,
    staged: &'a Staged<'a>,
    found: Vec<Warning>,
}

/// Everything that works and is probably not what was meant: what `hoist validate` says, and what the dates show.
pub(super) fn warnings(
    files: &Files,
    staged: &Staged,
    plan: Option<&Plan>,
    story: &Story,
    phases: &[Phase],
) -> Vec<Warning> {
    let mut look = Look { files, staged, found: files.warnings(staged.planned) };
    look.found.extend(files.unlisted(staged.planned));
    look.windows();
    for (phase, planned) in phases.iter().zip(plan.into_iter().flat_map(|p| &p.phases)) {
        look.freezes(phase, planned);
        look.start(phase, planned, story);
        look.end(phase, planned);
        look.reach(phase, story);
    }
    look.found
}

impl Look<'_> {
    fn warn(&mut self, path: &str, message: String, hint: &str) {
        // What was said of a place already is not said again in other words.
        if self.found.iter().all(|w| w.path != path) {
            self.found.extend(self.files.at(self.staged.planned, path, message, hint));
        }
    }

    /// Windows in which a flip has hardly time to be done.
    fn windows(&mut self) {
        let staged = self.staged;
        let spec = &staged.planned.schedule.spec;
        let rollouts = staged.declared.rollouts.iter().map(|r| r.up_to.unwrap_or(r.takes).delta());
        let needed = rollouts.chain([IN_TIME]).max().unwrap_or(IN_TIME);
        let own = spec.calendar.as_ref().map(|c| ("spec.calendar".to_owned(), &c.windows));
        let phases = spec.phases.iter().enumerate();
        let phases =
            phases.filter_map(|(i, p)| Some((format!("spec.phases[{i}].calendar"), &p.calendar.as_ref()?.windows)));
        for (path, windows) in own.into_iter().chain(phases) {
            for (i, window) in windows.iter().enumerate() {
                let open = open_for(window);
                if open < needed {
                    let message = format!(
                        "window {} is open for {} minutes, and a flip may need {} from its first write to its proof",
                        window.name,
                        open.num_minutes(),
                        needed.num_minutes()
                    );
                    let hint = "what is missing of a flip when its window closes is not sent before the next";
                    self.warn(&format!("{path}.windows[{i}]"), message, hint);
                }
            }
        }
    }

    /// Phases whose turn comes in a freeze.
    fn freezes(&mut self, phase: &Phase, planned: &PhasePlan) {
        for (dates, environment) in phase.environments.iter().zip(&planned.environments) {
            let turn = dates.gates.iter().map(|g| g.from).chain(dates.flips).min();
            let (Some(turn), Ok(calendar)) = (turn, &environment.calendar) else { continue };
            for (name, end) in calendar.freezes(turn) {
                let message = format!(
                    "{} lands in the freeze {name}: its turn comes {}, and nothing may be raised before {}",
                    environment.key.name,
                    self.staged.minute(turn),
                    self.staged.minute(end)
                );
                let field = if planned.start.is_some() { ".start" } else { "" };
                // Beside what `hoist validate` says of the day, for a freeze can be moved.
                let path = format!("{}{field}", phase.path);
                self.found.extend(self.files.at(self.staged.planned, &path, message, "choose another day"));
            }
        }
    }

    /// Phases that do not begin when they are to, because of what comes before them.
    fn start(&mut self, phase: &Phase, planned: &PhasePlan, story: &Story) {
        let (Some(start), Some(first)) = (planned.start, phase.environments.iter().filter_map(|e| e.flips).min())
        else {
            return;
        };
        let from = start.at.max(story.from);
        let calendars = planned.environments.iter().filter_map(|e| e.calendar.as_ref().ok());
        let Some(open) = calendars.filter_map(|c| c.next_open(from)).min() else { return };
        if first > open + IN_TIME {
            let message = format!(
                "phase {} is to start {} {start}, and goes up only {}: what comes before it takes until then",
                phase.name,
                start.preposition(),
                self.staged.minute(first)
            );
            self.warn(&format!("{}.start", phase.path), message, "start it later, or what comes before it earlier");
        }
    }

    /// Phases that are not complete when they are to be.
    fn end(&mut self, phase: &Phase, planned: &PhasePlan) {
        let last = phase.environments.iter().map(|e| e.soak_ends).max().flatten();
        let (Some(end), Some(last)) = (planned.end, last) else { return };
        if last > end.at {
            let message =
                format!("phase {} is to be complete by {end}, and is only {}", phase.name, self.staged.minute(last));
            self.warn(&format!("{}.end", phase.path), message, "the end is only said, nothing comes of it");
        }
    }

    /// Environments that are not reached, or not completed.
    fn reach(&mut self, phase: &Phase, story: &Story) {
        if story.outcome == Outcome::Completed {
            return;
        }
        for (i, dates) in phase.environments.iter().enumerate() {
            let still_down = dates.flips.is_none() && !dates.work;
            let (verb, done) = if still_down { ("goes up", None) } else { ("is complete", dates.soak_ends) };
            if done.is_none() {
                let message = format!("{} never {verb} in this world: {}", dates.environment.name, story.told);
                self.warn(&format!("{}.environments[{i}]", phase.path), message, "");
            }
        }
    }
}

fn open_for(window: &Window) -> TimeDelta {
    let day = 24 * 60;
    TimeDelta::minutes((window.to.minutes() - window.from.minutes() + day - 1).rem_euclid(day) + 1)
}
