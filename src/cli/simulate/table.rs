//! A simulated life for people: what happens when, what is waited for, and how it ends.

use std::fmt::Write as _;

use super::super::described::sentences;
use super::super::scene::{Staged, label};
use crate::api::Time;
use crate::sim::{Move, Outcome, Story, Waited};

/// Something that happens.
pub(super) struct Line {
    pub at: Time,
    pub who: String,
    pub what: String,
    pub why: String,
}

pub(super) fn table(staged: &Staged, story: &Story, seed: u64) -> String {
    let mut text = String::new();
    // Writing into a String does not fail.
    let _ = writeln!(text, "Schedule {} in the world {}, seed {seed}", staged.planned.name(), staged.world);
    let _ = writeln!(text, "from {} on; all times are those of {}", staged.minute(story.from), staged.zone.name());
    for sentence in sentences(staged) {
        let _ = writeln!(text, "{sentence}");
    }
    text.push('\n');
    for note in staged.notes() {
        let _ = writeln!(text, "warning: {note}\n");
    }
    let lines = lines(staged, story, states, gate);
    let who = lines.iter().map(|l| l.who.chars().count()).max().unwrap_or(0);
    let what = lines.iter().map(|l| l.what.chars().count()).max().unwrap_or(0);
    for line in lines {
        let at = staged.read(line.at);
        let told = format!("{at}  {:<who$}  {:<what$}  {}", line.who, line.what, line.why);
        let _ = writeln!(text, "{}", told.trim_end());
    }
    text.push('\n');
    text.push_str(&end(staged, story));
    text
}

/// Everything that happens and is waited for, in the order of time, with words for both.
pub(super) fn lines(
    staged: &Staged,
    story: &Story,
    moved: fn(&Move) -> String,
    waits: fn(&Waited) -> String,
) -> Vec<Line> {
    let moves = story.moves.iter().map(|m| Line {
        at: m.at,
        who: label(&m.step),
        what: moved(m),
        why: if m.actor == "hoist" { m.reason.clone() } else { format!("{} (by {})", m.reason, m.actor) },
    });
    let waits = story.waits.iter().map(|w| {
        let until = match w.to {
            // The calendar says it itself.
            Some(_) if w.gate == "Calendar" => String::new(),
            Some(to) => format!(" (until {})", staged.read(to)),
            None => " (still so at the end)".to_owned(),
        };
        Line { at: w.from, who: label(&w.step), what: waits(w), why: format!("{}{until}", w.message) }
    });
    let mut lines: Vec<Line> = moves.chain(waits).collect();
    lines.sort_by_key(|l| l.at);
    lines
}

fn states(m: &Move) -> String {
    format!("{} → {}", m.from, m.to)
}

fn gate(w: &Waited) -> String {
    if w.gate.starts_with("Held") { w.gate.clone() } else { format!("waits: {}", w.gate) }
}

/// How it ended, in a sentence.
pub(super) fn ended(staged: &Staged, story: &Story) -> String {
    let at = staged.read(story.to);
    match story.outcome {
        Outcome::Completed => format!("Completed {at}: every environment is complete."),
        Outcome::RolledBack => format!("Rolled back, as of {at}: {}.", story.told),
        Outcome::Held => format!("Held, as of {at}: {}.", story.told),
    }
}

fn end(staged: &Staged, story: &Story) -> String {
    let mut text = ended(staged, story) + "\n";
    let who = story.ends.iter().map(|e| label(&e.step).chars().count()).max().unwrap_or(0);
    for end in &story.ends {
        let value = if end.value.is_empty() { String::new() } else { format!("  the flag is {}", end.value) };
        let _ = writeln!(text, "  {:<who$}  {:<11}{value}", label(&end.step), end.state);
    }
    text
}
