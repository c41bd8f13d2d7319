//! A plan as a part of a page.

use super::super::described::sentences;
use super::super::page::{Section, row};
use super::super::scene::place_label;
use super::Planning;
use super::table::{finish, steps};
use crate::api::Time;
use crate::engine::Plan;

pub(super) fn section(planning: &Planning) -> Section {
    let staged = &planning.staged;
    let plan = staged.scene.plan().ok();
    let rows = plan.iter().flat_map(Plan::steps).map(|(phase, environment)| {
        let label = place_label(phase.number.as_ref(), &phase.name, &environment.key.name);
        let calendar = environment.calendar.as_ref().ok();
        row(&planning.story, &phase.name, (label, phase.name.clone()), &environment.key, calendar)
    });
    let mut table = Vec::new();
    for phase in &planning.phases {
        for dates in &phase.environments {
            let at = |at: Option<Time>| at.map_or_else(|| "never".to_owned(), |at| staged.minute(at));
            let gates = dates.gates.iter().map(|g| {
                let until = g.to.map_or_else(|| "the end".to_owned(), |to| staged.minute(to));
                format!("{} (until {until})", g.message)
            });
            table.push(vec![
                place_label(phase.number.as_ref(), &phase.name, &dates.environment.name),
                phase.name.clone(),
                at(dates.opens),
                if dates.work { "nothing (Work)".to_owned() } else { at(dates.flips) },
                at(dates.soak_ends),
                steps(staged, dates).into_iter().chain(gates).collect::<Vec<_>>().join("; "),
            ]);
        }
    }
    let mut about = vec![format!("Planned from {} on, in the world {}.", staged.minute(staged.scene.at), staged.world)];
    about.push(format!("All times are those of {}.", staged.zone.name()));
    about.extend(sentences(staged));
    about.extend(staged.note());
    let warnings = planning.warnings.iter().map(|w| {
        let hint = w.hint.as_ref().map(|h| format!(" ({h})")).unwrap_or_default();
        (format!("{}{hint}", w.message), format!("{}:{}:{} {}", w.file, w.line, w.column, w.path))
    });
    Section {
        title: staged.planned.name(),
        about,
        finish: finish(planning),
        zone: staged.zone,
        rows: rows.collect(),
        warnings: warnings.collect(),
        caption: "The same in words".to_owned(),
        head: vec!["Environment", "Phase", "Opens", "Goes up", "Complete", "Steps, and what it waits for"],
        table,
    }
}
