//! What a backtest found, as one page.

use std::fmt::Write as _;

use super::super::page::{Plain, document};
use super::drawing::{self, Shape};
use super::report::{Checked, Report};
use super::table::{HEAD, about, finish, minute, notes, row};
use crate::analysis::backtest::{Past, Replayed};

/// The most rollbacks of a check that are written out.
const MOST_TOLD: usize = 20;

pub(super) fn page(report: &Report, past: &Past) -> String {
    let mut html = String::new();
    let (title, about) = (format!("Backtest of {}", report.watched.schedule), about(report));
    // Writing into a String does not fail.
    let _ = writeln!(html, "<section>\n<h1>{}</h1>", Plain(&title));
    for sentence in &about {
        let _ = writeln!(html, "<p class=\"about\">{}</p>", Plain(sentence));
    }
    for sentence in finish(report) {
        let _ = writeln!(html, "<p class=\"finish\">{}</p>", Plain(&sentence));
    }
    overview(&mut html, report);
    html.push_str("</section>\n");
    for (index, checked) in report.checks.iter().enumerate() {
        section(&mut html, report, checked, past, index);
    }
    document("hoist backtest", &html)
}

fn overview(html: &mut String, report: &Report) {
    html.push_str("<table>\n<caption>The checks</caption>\n<thead><tr>");
    for head in HEAD {
        let _ = write!(html, "<th scope=\"col\">{head}</th>");
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    for checked in &report.checks {
        html.push_str("<tr>");
        for (head, cell) in HEAD.iter().zip(row(checked)) {
            let _ = write!(html, "<td data-head=\"{head}\">{}</td>", Plain(&cell));
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody>\n</table>\n");
}

fn section(html: &mut String, report: &Report, checked: &Checked, past: &Past, index: usize) {
    let check = &checked.check;
    let _ = writeln!(html, "<section>\n<h1>{}</h1>", Plain(&check.name));
    let queries = check.queries();
    for (field, query) in [Some(queries.value), queries.beside].into_iter().flatten() {
        let _ = writeln!(html, "<p class=\"about\">{field}: {}</p>", Plain(query));
    }
    let lines = report.backtest.lines(past, check);
    let marks: Vec<_> = checked
        .flips
        .iter()
        .filter_map(|flip| match &flip.replayed {
            Replayed::Breached { after, sentence } => Some((flip.at, flip.at + after.delta(), sentence.as_str())),
            _ => None,
        })
        .collect();
    for (class, shape) in [("wide", Shape::Wide), ("narrow", Shape::Narrow)] {
        let _ = writeln!(html, "<figure class=\"{class}\">");
        drawing::draw(html, report, &check.name, &lines, &marks, shape, &format!("{class}-{index}"));
        html.push_str("</figure>\n");
    }
    legend(html, &lines, !marks.is_empty());
    for note in notes(report, checked) {
        let _ = writeln!(html, "<p>{}</p>", Plain(&note));
    }
    if !marks.is_empty() {
        html.push_str("<ul>\n");
        for (flip, breached, sentence) in marks.iter().take(MOST_TOLD) {
            let (flip, breached) = (minute(report, *flip), minute(report, *breached));
            let _ = writeln!(html, "<li>raised {flip}, breached {breached}: {}</li>", Plain(sentence));
        }
        let more = marks.len().saturating_sub(MOST_TOLD);
        if more > 0 {
            let _ = writeln!(html, "<li>and {more} more</li>");
        }
        html.push_str("</ul>\n");
    }
    html.push_str("</section>\n");
}

fn legend(html: &mut String, lines: &crate::analysis::backtest::Lines, breached: bool) {
    html.push_str("<ul class=\"legend\">\n");
    let mut item = |picture: &str, words: &str| {
        let _ = writeln!(
            html,
            "<li><svg width=\"22\" height=\"12\" aria-hidden=\"true\">{picture}</svg> {}</li>",
            Plain(words)
        );
    };
    for (index, line) in lines.measured.iter().enumerate() {
        let picture = format!("<rect class=\"{}\" width=\"22\" height=\"12\" rx=\"3\"/>", drawing::class(index));
        item(&picture, &line.name);
    }
    for line in &lines.bounds {
        item("<line class=\"bound\" x1=\"0\" x2=\"22\" y1=\"6\" y2=\"6\"/>", &line.name);
    }
    if breached {
        item("<circle class=\"mark back\" cx=\"11\" cy=\"6\" r=\"5\"/>", "a flip would have been found wanting here");
    }
    html.push_str("</ul>\n");
}
