//! What a backtest found, for people.

use std::fmt::Write as _;

use super::report::{Checked, Report, instead};
use crate::analysis::backtest::{Often, Rate};
use crate::analysis::number;
use crate::api::{Duration, Time};

pub(super) fn table(report: &Report) -> String {
    let mut text = String::new();
    // Writing into a String does not fail.
    for line in about(report) {
        let _ = writeln!(text, "{line}");
    }
    text.push('\n');
    let rows: Vec<Vec<String>> = report.checks.iter().map(row).collect();
    let widths: Vec<usize> = (0..HEAD.len())
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            cells.chain(HEAD.get(column).map(|h| h.len())).max().unwrap_or(0)
        })
        .collect();
    let write = |text: &mut String, cells: &[String]| {
        let line =
            cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect::<Vec<_>>().join("  ");
        let _ = writeln!(text, "{}", line.trim_end());
    };
    write(&mut text, &HEAD.map(str::to_uppercase));
    for (checked, row) in report.checks.iter().zip(&rows) {
        write(&mut text, row);
        for note in notes(report, checked) {
            let _ = writeln!(text, "  {note}");
        }
    }
    let _ = writeln!(text, "\n{}", finish(report).join("\n"));
    text
}

/// The columns.
pub(super) const HEAD: [&str; 7] = ["Check", "Kind", "Flips", "Breached", "95 % bounds", "Median", "Undecided"];

/// What was replayed, a sentence each.
pub(super) fn about(report: &Report) -> Vec<String> {
    let (watched, backtest) = (&report.watched, &report.backtest);
    let moments = backtest.moments();
    let (first, last) = (moments.first().copied(), moments.last().copied());
    let at = |at: Option<Time>| at.map(|at| minute(report, at)).unwrap_or_default();
    vec![
        format!("Backtest of {}, {}: Environment {}", watched.schedule, watched.label, watched.key),
        format!("{} flips from {} to {}, every {}", moments.len(), at(first), at(last), backtest.every()),
        format!("each soaks for {}; times are those of {}", backtest.soak(), watched.zone.name()),
    ]
}

pub(super) fn minute(report: &Report, at: Time) -> String {
    report.watched.zone.local(at).format("%a %Y-%m-%d %H:%M").to_string()
}

/// A check in the table.
pub(super) fn row(checked: &Checked) -> Vec<String> {
    let summary = &checked.summary;
    let undecided = summary.flips - summary.breached.of;
    vec![
        checked.check.name.clone(),
        checked.check.queries().kind.to_owned(),
        summary.flips.to_string(),
        summary.breached.count.to_string(),
        bounds(&summary.breached),
        median(summary.median),
        undecided.to_string(),
    ]
}

/// What else is known of a check, a sentence each.
pub(super) fn notes(report: &Report, checked: &Checked) -> Vec<String> {
    let mut notes = Vec::new();
    let (summary, check) = (&checked.summary, &checked.check);
    if let Some(what) = instead(check).filter(|_| summary.breached.count > 0) {
        notes.push(what.to_owned());
    }
    if !summary.often.is_empty() {
        notes.push(format!("most often: {}", summary.often.iter().map(often).collect::<Vec<_>>().join(", ")));
    }
    if let Some(suggestion) = &checked.suggestion {
        let bound = super::super::check::bound(check);
        notes.push(format!("{bound} fired; {suggestion} is the nearest that would not have"));
    }
    for (why, count) in &summary.undecided {
        notes.push(format!("{count} undecided: {why}"));
    }
    if let Some(told) = &checked.told {
        let limit = super::super::check::bound(check);
        let blind = match told.blind {
            0 => String::new(),
            blind => format!("; at {blind} of {} flips that is less than the limit asks for", summary.flips),
        };
        notes.push(format!("{}, its limit is {limit}{blind}", told.last));
    }
    if let (Some((effect, _)), Some((_, with))) = (&report.injected, &checked.injected) {
        let after = with.median.map(|m| format!(", after {m} in the median")).unwrap_or_default();
        notes.push(format!("with {effect}: found at {} of {} flips{after}", with.breached.count, with.flips));
    }
    notes
}

/// What it comes to, in sentences.
pub(super) fn finish(report: &Report) -> Vec<String> {
    let rate = &report.rolled_back;
    let mut lines =
        vec![format!("Would have rolled back {} of {} times (95 %: {}).", rate.count, rate.of, bounds(rate))];
    if let Some((effect, rate)) = &report.injected {
        lines.push(format!("With {effect}: {} of {} times.", rate.count, rate.of));
    }
    lines
}

fn often(often: &Often) -> String {
    format!("{} of them {}s at {:02}:00", often.count, day(often.weekday), often.hour)
}

fn day(weekday: chrono::Weekday) -> &'static str {
    use chrono::Weekday::{Fri, Mon, Sat, Sun, Thu, Tue, Wed};
    match weekday {
        Mon => "Monday",
        Tue => "Tuesday",
        Wed => "Wednesday",
        Thu => "Thursday",
        Fri => "Friday",
        Sat => "Saturday",
        Sun => "Sunday",
    }
}

fn bounds(rate: &Rate) -> String {
    let percent = |part: f64| number((part * 1_000.0).round() / 10.0);
    if rate.of == 0 { "unknown".to_owned() } else { format!("{} to {} %", percent(rate.lower), percent(rate.upper)) }
}

fn median(median: Option<Duration>) -> String {
    median.map_or_else(|| "-".to_owned(), |median| median.to_string())
}
