//! One self-contained page for `plan` and `simulate`: a picture in SVG, and the same as a table. It needs no script and
//! fetches nothing, and is read in the dark, in the light, on paper and on a phone.

mod picture;

use std::fmt::{self, Write as _};

use crate::api::{EnvironmentKey, RunState, Time};
use crate::engine::calendar::{Calendar, Zone};
use crate::sim::Story;

const STYLE: &str = include_str!("page/style.css");

/// What is shown of one schedule.
pub(super) struct Section {
    /// The schedule.
    pub title: String,
    /// Around it, a sentence each.
    pub about: Vec<String>,
    /// What it comes to, in a sentence.
    pub finish: String,
    /// Where times are read.
    pub zone: Zone,
    /// A line of the picture for each environment.
    pub rows: Vec<Row>,
    /// What does not fit, with what to do about it and where.
    pub warnings: Vec<(String, String)>,
    /// What the table is about.
    pub caption: String,
    /// The table's columns.
    pub head: Vec<&'static str>,
    /// The table.
    pub table: Vec<Vec<String>>,
}

/// A line of the picture.
pub(super) struct Row {
    /// The environment.
    pub label: String,
    /// Its phase.
    pub phase: String,
    /// What is seen.
    pub bars: Vec<Bar>,
}

/// A stretch of time.
pub(super) struct Bar {
    pub from: Time,
    pub to: Time,
    pub kind: Kind,
}

/// What a stretch of time is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing may be raised.
    Frozen,
    /// A flip is waited for.
    Waits,
    /// A flag moves.
    Moves,
    /// The flag is up, and evidence is gathered.
    Soaks,
    /// The flag is up for good.
    Up,
    /// The flag went back.
    Back,
}

impl Kind {
    const ALL: [Self; 6] = [Self::Waits, Self::Moves, Self::Soaks, Self::Up, Self::Back, Self::Frozen];

    const fn class(self) -> &'static str {
        match self {
            Self::Frozen => "frozen",
            Self::Waits => "waits",
            Self::Moves => "moves",
            Self::Soaks => "soaks",
            Self::Up => "up",
            Self::Back => "back",
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Frozen => "frozen: nothing may be raised",
            Self::Waits => "waits for its turn or its window",
            Self::Moves => "the flag is being switched",
            Self::Soaks => "flag on, being watched",
            Self::Up => "flag on, done",
            Self::Back => "rolled back: flag off again",
        }
    }
}

/// The line of an environment in a life, up to a moment.
pub(super) fn row(
    story: &Story,
    phase: &str,
    label: (String, String),
    key: &EnvironmentKey,
    calendar: Option<&Calendar>,
) -> Row {
    let own = |p: &str, e: &EnvironmentKey| p == phase && e == key;
    let last = last(story);
    let mut edges: Vec<(Time, Option<Kind>)> = Vec::new();
    let waits = story.waits.iter().filter(|w| own(&w.step.phase, &w.step.environment));
    if let Some(first) = waits.map(|w| w.from).min() {
        edges.push((first, Some(Kind::Waits)));
    }
    for m in story.moves.iter().filter(|m| own(&m.step.phase, &m.step.environment)) {
        // What is back as planned is off, and all is well.
        edges.push((m.at, kind(m.to).filter(|_| m.from != RunState::Lowering || m.to != RunState::Finished)));
    }
    edges.sort_by_key(|(at, _)| *at);
    edges.dedup_by_key(|(_, kind)| *kind);
    let ends = edges.iter().skip(1).map(|(at, _)| *at).chain([last]);
    let bars = edges.iter().zip(ends).filter_map(|((from, kind), to)| Some(Bar { from: *from, to, kind: (*kind)? }));
    let mut all = calendar.map(|c| frozen(c, story.from, last)).unwrap_or_default();
    all.extend(bars.filter(|bar| bar.to >= bar.from));
    Row { label: label.0, phase: label.1, bars: all }
}

/// The last moment that is shown: a little later than the last that is told of, so that its end is seen too.
fn last(story: &Story) -> Time {
    story.to + (story.to - story.from) / 20
}

const fn kind(state: RunState) -> Option<Kind> {
    match state {
        RunState::Pending | RunState::Gating => Some(Kind::Waits),
        RunState::Flipping | RunState::Verifying | RunState::Lowering | RunState::RollingBack => Some(Kind::Moves),
        RunState::Soaking => Some(Kind::Soaks),
        RunState::Completed | RunState::Finished => Some(Kind::Up),
        RunState::RolledBack => Some(Kind::Back),
        RunState::Skipped => None,
    }
}

/// The freezes of a calendar.
fn frozen(calendar: &Calendar, from: Time, to: Time) -> Vec<Bar> {
    let mut bars: Vec<Bar> = Vec::new();
    let mut at = from;
    while at < to {
        let end = calendar.freezes(at).into_iter().map(|(_, end)| end).max();
        if let Some(end) = end {
            bars.push(Bar { from: at, to: end.min(to), kind: Kind::Frozen });
        }
        let Some(next) = end.or_else(|| calendar.edge(at, to)).filter(|next| *next > at) else { break };
        at = next;
    }
    bars
}

/// A text in which nothing is markup.
pub(super) struct Plain<'a>(pub &'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                // Marks that turn the direction of writing would let a name disguise itself.
                '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
                c if c.is_control() => f.write_char(' ')?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// The page.
pub(super) fn page(title: &str, sections: &[Section]) -> String {
    let mut body = String::new();
    for (index, section) in sections.iter().enumerate() {
        write_section(&mut body, section, index);
    }
    document(title, &body)
}

/// A page of this title, around what is well-formed already.
pub(super) fn document(title: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <meta name=\"color-scheme\" content=\"light dark\"/>\n\
         <title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n",
        Plain(title)
    )
}

fn write_section(html: &mut String, section: &Section, index: usize) {
    let _ = writeln!(html, "<section>\n<h1>{}</h1>", Plain(&section.title));
    for about in &section.about {
        let _ = writeln!(html, "<p class=\"about\">{}</p>", Plain(about));
    }
    let _ = writeln!(html, "<p class=\"finish\">{}</p>", Plain(&section.finish));
    let count = section.warnings.len();
    if count > 0 {
        let things = if count == 1 { "thing does" } else { "things do" };
        let _ = writeln!(html, "<p class=\"finish\"><a href=\"#warnings-{index}\">{count} {things} not fit</a></p>");
    }
    for (class, width) in [("wide", picture::Shape::Wide), ("narrow", picture::Shape::Narrow)] {
        let _ = writeln!(html, "<figure class=\"{class}\">");
        picture::draw(html, section, width, &format!("{class}-{index}"));
        html.push_str("</figure>\n");
    }
    legend(html, section);
    write_warnings(html, section, index);
    write_table(html, section);
    html.push_str("</section>\n");
}

fn write_warnings(html: &mut String, section: &Section, index: usize) {
    if section.warnings.is_empty() {
        return;
    }
    let _ = writeln!(html, "<div class=\"warnings\" id=\"warnings-{index}\">\n<h2>What does not fit</h2>\n<ul>");
    for (what, place) in &section.warnings {
        let _ = writeln!(html, "<li>{}<br/><span class=\"place\">{}</span></li>", Plain(what), Plain(place));
    }
    html.push_str("</ul>\n</div>\n");
}

fn legend(html: &mut String, section: &Section) {
    html.push_str("<ul class=\"legend\">\n");
    let seen = |kind: Kind| section.rows.iter().flat_map(|r| &r.bars).any(|b| b.kind == kind);
    for kind in Kind::ALL.into_iter().filter(|kind| seen(*kind)) {
        let _ = writeln!(
            html,
            "<li><svg width=\"22\" height=\"12\" aria-hidden=\"true\"><rect class=\"{}\" width=\"22\" height=\"12\" rx=\"3\"/></svg> {}</li>",
            kind.class(),
            kind.words()
        );
    }
    html.push_str("</ul>\n");
}

fn write_table(html: &mut String, section: &Section) {
    let _ = writeln!(html, "<table>\n<caption>{}</caption>\n<thead><tr>", Plain(&section.caption));
    for head in &section.head {
        let _ = write!(html, "<th scope=\"col\">{head}</th>");
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    for row in &section.table {
        html.push_str("<tr>");
        for (head, cell) in section.head.iter().zip(row) {
            let _ = write!(html, "<td data-head=\"{head}\">{}</td>", Plain(cell));
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody>\n</table>\n");
}
