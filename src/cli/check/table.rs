//! What came of the checks, for people.

use std::fmt::Write as _;

use super::Checked;
use super::asked::{Asked, Standing};

pub(super) fn table(checked: &Checked) -> String {
    let watched = &checked.watched;
    let at = watched.zone.local(checked.at).format("%a %Y-%m-%d %H:%M:%S");
    // Writing into a String does not fail.
    let mut text = String::new();
    let _ = writeln!(text, "{}, {}: Environment {}", watched.schedule, watched.label, watched.key);
    let _ = writeln!(text, "asked {at} ({})", watched.zone.name());
    for asked in &checked.asked {
        text.push('\n');
        write_one(&mut text, asked);
    }
    let count = |standing| checked.asked.iter().filter(|a| a.standing == standing).count();
    let (all, passes) = (checked.asked.len(), count(Standing::Passes));
    let _ = write!(text, "\n{passes} of {all} checks pass and can be judged");
    for (standing, what) in [(Standing::Breaches, "breach"), (Standing::Undecidable, "cannot be judged")] {
        if count(standing) > 0 {
            let _ = write!(text, ", {} {what}", count(standing));
        }
    }
    text.push('\n');
    text
}

fn write_one(text: &mut String, asked: &Asked) {
    let word = match asked.standing {
        Standing::Passes => "ok",
        Standing::Undecidable => "UNDECIDABLE",
        Standing::Breaches => "BREACH",
    };
    let _ = writeln!(text, "{word}  {} ({}, {})", asked.name, asked.kind, asked.bound);
    let _ = writeln!(text, "  {}", asked.sentence);
    if let Some((there, wanted)) = asked.blocks {
        let _ = writeln!(text, "  {there} of {wanted} blocks before now are there");
    }
    for hint in &asked.hints {
        let _ = writeln!(text, "  could help: {hint}");
    }
    for (field, query) in &asked.queries {
        let _ = writeln!(text, "  {field}: {}", query.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    if let Some(answer) = asked.answer {
        let _ = writeln!(text, "  answer: {}", crate::analysis::number(answer));
    }
}
