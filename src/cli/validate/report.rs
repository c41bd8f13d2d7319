//! What was found, for people and for programs.

use std::io::{self, Write};
use std::ops::Range;

use anstyle::{AnsiColor, Style};
use serde_json::json;

use super::source::{Source, Unreadable};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    /// The API server or the controller would refuse it.
    Error,
    /// It works, and is probably not what was meant.
    Warning,
    /// Something that was not looked at.
    Note,
}

impl Severity {
    const fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }

    const fn style(self) -> Style {
        match self {
            Self::Error => AnsiColor::Red.on_default().bold(),
            Self::Warning => AnsiColor::Yellow.on_default().bold(),
            Self::Note => AnsiColor::Cyan.on_default(),
        }
    }
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub severity: Severity,
    /// Which of the sources.
    pub source: usize,
    pub span: Range<usize>,
    /// Where in the object: `spec.phases[0].start`; empty for what concerns the file.
    pub path: String,
    pub message: String,
    pub hint: Option<String>,
}

/// All that was found and looked at.
#[derive(Debug)]
pub(super) struct Report {
    pub sources: Vec<Source>,
    pub unreadable: Vec<Unreadable>,
    pub findings: Vec<Finding>,
    /// How many objects were held against their definition.
    pub objects: usize,
}

const DIM: Style = Style::new().dimmed();
const BOLD: Style = Style::new().bold();

/// A line of a snippet that is longer than this is shown around the caret only.
const WIDEST: usize = 110;

impl Report {
    pub(super) fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|f| f.severity == severity).count()
    }

    pub(super) fn json(&self, to: &mut impl Write) -> io::Result<()> {
        let unreadable = self.unreadable.iter().map(|u| {
            json!({ "file": u.name, "line": 0, "column": 0, "path": "", "message": u.why, "hint": null, "severity": "error" })
        });
        let findings = self.findings.iter().filter_map(|finding| {
            let source = self.sources.get(finding.source)?;
            let place = source.place(finding.span.start);
            Some(json!({
                "file": source.name, "line": place.line, "column": place.column, "path": finding.path,
                "message": finding.message, "hint": finding.hint, "severity": finding.severity.word(),
            }))
        });
        let all: Vec<_> = unreadable.chain(findings).collect();
        writeln!(to, "{:#}", serde_json::Value::Array(all))
    }

    pub(super) fn text(&self, to: &mut impl Write) -> io::Result<()> {
        for file in &self.unreadable {
            heading(to, Severity::Error, &file.why)?;
            writeln!(to, "  {DIM}-->{DIM:#} {}\n", file.name)?;
        }
        let mut findings = self.findings.iter().peekable();
        while let Some(finding) = findings.next() {
            if let Some(source) = self.sources.get(finding.source) {
                print(to, finding, source)?;
            }
            // Notes are one line each and stand together.
            let next = findings.peek().map_or(Severity::Error, |next| next.severity);
            if (finding.severity, next) != (Severity::Note, Severity::Note) {
                writeln!(to)?;
            }
        }
        self.summary(to)
    }

    fn summary(&self, to: &mut impl Write) -> io::Result<()> {
        let looked_at = format!(
            "{} in {}",
            counted(self.objects, "object", "objects"),
            counted(self.sources.len(), "file", "files")
        );
        let errors = self.count(Severity::Error) + self.unreadable.len();
        let found: Vec<String> = [
            (errors, "error", "errors"),
            (self.count(Severity::Warning), "warning", "warnings"),
            (self.count(Severity::Note), "note", "notes"),
        ]
        .into_iter()
        .filter(|(count, ..)| *count > 0)
        .map(|(count, one, many)| counted(count, one, many))
        .collect();
        match (errors, found.is_empty()) {
            (0, true) => writeln!(to, "{looked_at}: all well"),
            (0, false) => writeln!(to, "{looked_at}: all well, {}", found.join(", ")),
            _ => writeln!(to, "{looked_at}: {}", found.join(", ")),
        }
    }
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn heading(to: &mut impl Write, severity: Severity, message: &str) -> io::Result<()> {
    let style = severity.style();
    writeln!(to, "{style}{}{style:#}: {BOLD}{}{BOLD:#}", severity.word(), tame(message))
}

/// A text from a file, without what a terminal would obey.
fn tame(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn print(to: &mut impl Write, finding: &Finding, source: &Source) -> io::Result<()> {
    let place = source.place(finding.span.start);
    let at = format!("{}:{}:{}", source.name, place.line, place.column);
    // A note says what was not looked at; there is nothing to mend at its place.
    if finding.severity == Severity::Note {
        let style = finding.severity.style();
        return writeln!(to, "{style}note{style:#}: {} {DIM}({at}){DIM:#}", tame(&finding.message));
    }
    let gutter = " ".repeat(place.line.to_string().len());
    heading(to, finding.severity, &finding.message)?;
    write!(to, "{gutter}{DIM}-->{DIM:#} {at}")?;
    if !finding.path.is_empty() {
        write!(to, "  {DIM}{}{DIM:#}", tame(&finding.path))?;
    }
    let (line, before, meant) = source.line(&finding.span);
    let (line, column, meant) = cut(line, before.chars().count(), meant);
    let (style, carets) = (finding.severity.style(), "^".repeat(meant));
    writeln!(to, "\n{DIM}{gutter} |{DIM:#}")?;
    writeln!(to, "{DIM}{} |{DIM:#} {line}", place.line)?;
    writeln!(to, "{DIM}{gutter} |{DIM:#} {:column$}{style}{carets}{style:#}", "")?;
    if let Some(hint) = &finding.hint {
        writeln!(to, "{DIM}{gutter} ={DIM:#} {}", tame(hint))?;
    }
    Ok(())
}

/// A line as it is shown, the column of the caret in it, and how many carets: only what is around the caret where the
/// line is long.
fn cut(line: &str, column: usize, meant: usize) -> (String, usize, usize) {
    let line = tame(line);
    let length = line.chars().count();
    if length <= WIDEST {
        let column = column.min(length);
        return (line, column, meant.min((length - column).max(1)));
    }
    let first = column.saturating_sub(WIDEST / 3).min(length - WIDEST);
    let middle: String = line.chars().skip(first).take(WIDEST).collect();
    let (head, tail) = (if first > 0 { "…" } else { "" }, if first + WIDEST < length { "…" } else { "" });
    let column = column.min(length) - first.min(column);
    (format!("{head}{middle}{tail}"), column + head.chars().count(), meant.min((WIDEST - column.min(WIDEST)).max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_cut_around_the_caret() {
        assert_eq!(cut("a: \tb", 3, 9), ("a:  b".to_owned(), 3, 2));
        let long = "x".repeat(500);
        let (line, column, carets) = cut(&long, 300, 4);
        assert_eq!((line.chars().count(), column, carets), (WIDEST + 2, WIDEST / 3 + 1, 4));
        let (line, column, _) = cut(&long, 499, 1);
        assert_eq!((line.chars().count(), column), (WIDEST + 1, WIDEST));
        assert_eq!(cut("", 7, 1), (String::new(), 0, 1));
    }
}
