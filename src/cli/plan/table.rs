//! A plan for people.

use std::fmt::Write as _;

use super::super::described::sentences;
use super::super::scene::Staged;
use super::super::validate::files::Warning;
use super::Planning;
use crate::api::Time;
use crate::sim::Dates;

pub(super) fn table(planning: &Planning) -> String {
    let staged = &planning.staged;
    let mut text = String::new();
    // Writing into a String does not fail.
    let _ = writeln!(text, "Plan of {}, applied {}", staged.planned.name(), staged.minute(staged.scene.at));
    let _ = writeln!(text, "in the world {}; all times are those of {}", staged.world, staged.zone.name());
    for sentence in sentences(staged) {
        let _ = writeln!(text, "{sentence}");
    }
    text.push('\n');
    if let Some(note) = staged.note() {
        let _ = writeln!(text, "warning: {note}\n");
    }
    rows(planning, &mut text);
    let _ = writeln!(text, "\n{}", finish(planning));
    for warning in &planning.warnings {
        text.push('\n');
        text.push_str(&told(warning));
    }
    text
}

fn rows(planning: &Planning, text: &mut String) {
    let staged = &planning.staged;
    let mut rows = Vec::new();
    for phase in &planning.phases {
        for dates in &phase.environments {
            let phase = phase.number.as_ref().map_or_else(|| phase.name.clone(), |n| format!("{n} {}", phase.name));
            rows.push((phase, dates));
        }
    }
    let width = |of: fn(&(String, &Dates)) -> usize, least| rows.iter().map(of).max().unwrap_or(0).max(least);
    let (a, b) = (width(|r| r.0.chars().count(), 5), width(|r| r.1.environment.name.chars().count(), 11));
    let head = format!("{:<a$}  {:<b$}  {:<20}  {:<20}  COMPLETE", "PHASE", "ENVIRONMENT", "OPENS", "GOES UP");
    let _ = writeln!(text, "{head}");
    for (phase, dates) in &rows {
        let at = |at: Option<Time>| at.map_or_else(|| "never".to_owned(), |at| staged.minute(at));
        let flips = if dates.work { "nothing (Work)".to_owned() } else { at(dates.flips) };
        let (opens, ends) = (at(dates.opens), at(dates.soak_ends));
        let _ = writeln!(text, "{phase:<a$}  {:<b$}  {opens:<20}  {flips:<20}  {ends}", dates.environment.name);
        for line in steps(staged, dates) {
            let _ = writeln!(text, "{:<a$}  {line}", "");
        }
        for gate in &dates.gates {
            let until = gate.to.map_or_else(|| "the end".to_owned(), |to| staged.minute(to));
            let _ = writeln!(text, "{:<a$}  until {until}: {}", "", gate.message);
        }
    }
}

/// The steps of an environment, and when it goes back by plan, in sentences.
pub(super) fn steps(staged: &Staged, dates: &Dates) -> Vec<String> {
    let at = |at: Option<Time>| at.map_or_else(|| "never".to_owned(), |at| staged.minute(at));
    let told = dates.steps.iter().map(|step| match step.flips {
        None => format!("never reaches {} % of the users", step.percent),
        Some(flips) => {
            format!("{} % of the users from {}, soaks until {}", step.percent, staged.minute(flips), at(step.soak_ends))
        }
    });
    let lowers = dates.lowers.map(|at| format!("goes back as planned {}", staged.minute(at)));
    told.chain(lowers).collect()
}

/// When it is done, in sentences.
pub(super) fn finish(planning: &Planning) -> String {
    let staged: &Staged = &planning.staged;
    let finish = &planning.finish;
    let by = |at: Option<Time>| at.map_or_else(|| "never".to_owned(), |at| staged.minute(at));
    if finish.earliest.is_none() && finish.p50.is_none() {
        return format!("It does not finish in this world: {}.", planning.story.told);
    }
    if !staged.declared.has_chance() {
        return format!(
            "Finishes {}. Nothing in this world is left to chance, so P50 and P90 are the same.",
            by(finish.earliest)
        );
    }
    format!(
        "Finishes {} at the earliest (the dates above), with even odds by {} (P50), and nine times in ten by {} (P90), \
         as {} simulated lives went.",
        by(finish.earliest),
        by(finish.p50),
        by(finish.p90),
        planning.lives
    )
}

fn told(warning: &Warning) -> String {
    let hint = warning.hint.as_ref().map(|hint| format!("\n  {hint}")).unwrap_or_default();
    format!(
        "warning: {}\n  {}:{}:{} {}{hint}\n",
        warning.message, warning.file, warning.line, warning.column, warning.path
    )
}
