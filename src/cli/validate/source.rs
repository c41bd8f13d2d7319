//! The files that are looked at.

use std::fs;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// More than a hundred times what an object in etcd may have.
const LARGEST: u64 = 16 << 20;

/// A file, or what came on the standard input.
#[derive(Debug)]
pub(super) struct Source {
    pub name: String,
    pub text: String,
    /// The byte at which each line begins.
    lines: Vec<usize>,
}

/// A place in a source: lines and columns from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub line: usize,
    pub column: usize,
}

/// A file that could not be looked at, and why.
#[derive(Debug)]
pub(super) struct Unreadable {
    pub name: String,
    pub why: String,
}

impl Source {
    pub(super) fn new(name: String, text: String) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { name, text, lines }
    }

    pub(super) fn place(&self, at: usize) -> Place {
        let line = self.lines.partition_point(|start| *start <= at).max(1);
        let start = self.lines.get(line - 1).copied().unwrap_or(0);
        let column = self.text.get(start..at).map_or(1, |before| before.chars().count() + 1);
        Place { line, column }
    }

    /// The line in which a span begins, what comes before the span in it, and how many of its characters are meant.
    pub(super) fn line(&self, span: &Range<usize>) -> (&str, &str, usize) {
        let number = self.lines.partition_point(|start| *start <= span.start).max(1);
        let start = self.lines.get(number - 1).copied().unwrap_or(0);
        let end = self.lines.get(number).map_or(self.text.len(), |next| next - 1);
        let line = self.text.get(start..end).unwrap_or_default().trim_end_matches('\r');
        let before = self.text.get(start..span.start.min(start + line.len())).unwrap_or_default();
        let meant = self.text.get(span.start..span.end.min(start + line.len())).unwrap_or_default();
        (line, before, meant.trim_end().chars().count().max(1))
    }
}

/// Reads files, folders of YAML and JSON files, and `-` for the standard input, in the order in which they are named.
pub(super) fn read_all(names: &[PathBuf]) -> (Vec<Source>, Vec<Unreadable>) {
    let (mut sources, mut unreadable) = (Vec::new(), Vec::new());
    for name in names {
        match expand(name) {
            Err(why) => unreadable.push(Unreadable { name: name.display().to_string(), why }),
            Ok(files) => {
                for file in files {
                    let name = file.display().to_string();
                    match read(&file) {
                        Ok(text) => sources.push(Source::new(name, text)),
                        Err(why) => unreadable.push(Unreadable { name, why }),
                    }
                }
            }
        }
    }
    (sources, unreadable)
}

fn expand(name: &Path) -> Result<Vec<PathBuf>, String> {
    if name == Path::new("-") || !name.is_dir() {
        return Ok(vec![name.to_owned()]);
    }
    let entries = fs::read_dir(name).and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(|e| e.to_string())?;
    let is_ours =
        |path: &PathBuf| path.extension().is_some_and(|e| ["yaml", "yml", "json"].iter().any(|ours| e == *ours));
    let mut files: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).filter(is_ours).collect();
    files.sort();
    if files.is_empty() {
        return Err("there is no .yaml, .yml or .json file in this folder".to_owned());
    }
    Ok(files)
}

fn read(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        io::stdin().lock().take(LARGEST + 1).read_to_end(&mut bytes)
    } else {
        fs::File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes))
    };
    read.map_err(|error| error.to_string())?;
    if bytes.len() as u64 > LARGEST {
        return Err("larger than 16 MiB, which no resource is".to_owned());
    }
    String::from_utf8(bytes).map_err(|error| format!("not UTF-8: {}", error.utf8_error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let source = Source::new("x".into(), "a: é1\r\nbb: 2\n".into());
        assert_eq!(source.place(0), Place { line: 1, column: 1 });
        assert_eq!(source.place(5), Place { line: 1, column: 5 });
        assert_eq!(source.place(8), Place { line: 2, column: 1 });
        assert_eq!(source.place(14), Place { line: 3, column: 1 });
        assert_eq!(source.line(&(12..13)), ("bb: 2", "bb: ", 1));
        assert_eq!(source.line(&(3..13)), ("a: é1", "a: ", 2));
        assert_eq!(source.line(&(14..14)), ("", "", 1));
        assert_eq!(source.line(&(99..99)).2, 1);
    }
}
