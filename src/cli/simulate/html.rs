//! A simulated life as a part of a page.

use super::super::described::sentences;
use super::super::page::{Section, row};
use super::super::scene::{Staged, place_label};
use super::table::{ended, lines};
use crate::api::RunState;
use crate::engine::Plan;
use crate::sim::{Move, Story, Waited};

pub(super) fn section(staged: &Staged, story: &Story, seed: u64) -> Section {
    let plan = staged.scene.plan().ok();
    let rows = plan.iter().flat_map(Plan::steps).map(|(phase, environment)| {
        let key = &environment.key;
        let label = place_label(phase.number.as_ref(), &phase.name, &key.name);
        row(story, &phase.name, (label, phase.name.clone()), key, environment.calendar.as_ref().ok())
    });
    let told = lines(staged, story, happens, waits).into_iter().map(|l| vec![l.who, staged.read(l.at), l.what, l.why]);
    let mut about =
        vec![format!("Simulated in the world {}, seed {seed}, from {}.", staged.world, staged.minute(story.from))];
    about.push(format!("All times are those of {}.", staged.zone.name()));
    about.extend(sentences(staged));
    about.extend(staged.notes());
    Section {
        title: staged.planned.name(),
        about,
        finish: ended(staged, story),
        zone: staged.zone,
        rows: rows.collect(),
        warnings: Vec::new(),
        caption: "What happens, in the order of time".to_owned(),
        head: vec!["Environment", "When", "What", "Why"],
        table: told.collect(),
    }
}

/// What a transition is to somebody who does not know the states of a run.
fn happens(m: &Move) -> String {
    let words = match m.to {
        RunState::Pending | RunState::Gating => "waits again",
        RunState::Flipping => "is being switched on",
        RunState::Verifying => "is on",
        RunState::Soaking => "is watched",
        RunState::Completed => "is done",
        RunState::Lowering => "is being switched back, as planned",
        RunState::Finished if m.from == RunState::Lowering => "is off again, as planned",
        RunState::Finished => "is closed",
        RunState::RollingBack => "is being switched back",
        RunState::RolledBack => "is off again",
        RunState::Skipped => "gives way to another attempt",
    };
    words.to_owned()
}

fn waits(w: &Waited) -> String {
    if w.gate.starts_with("Held") { "needs a person".to_owned() } else { "waits".to_owned() }
}
