//! What a backtest asked and was answered, in a file: one JSON document, compressed in pieces (RFC 1952 allows several members
//! in a row), so that what was answered before an interruption is there after it.
//!
//! The first line names the questions, each further line is a piece of an answer, and the last one closes the document.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};

use crate::analysis::backtest::{MOST_SAMPLES, Past, RangeQuery, Sample};
use crate::api::{Duration, FORMAT_VERSION, Time};

/// The most moments in a piece: Prometheus refuses more than 11,000, and long before that one takes long.
pub const PIECE: usize = 1_000;

/// The most that is unpacked: the samples of the largest backtest are a quarter of this.
const LARGEST: u64 = 2 << 30;

/// What follows the questions, and what closes the document.
const OPEN: &str = "\"answers\":[";
const CLOSE: &str = "null]}";

/// What was asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Header {
    /// The version of this format.
    pub format_version: i32,
    /// From when on.
    pub from: Time,
    /// Until when.
    pub to: Time,
    /// How far apart flips are.
    pub every: Duration,
    /// The questions.
    pub questions: Vec<RangeQuery>,
}

/// A piece of an answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Piece {
    question: usize,
    /// The place of its first moment.
    first: usize,
    samples: String,
}

/// What is known of the answers so far.
#[derive(Clone, Debug)]
pub struct Recording {
    header: Header,
    /// For each question, one for each moment.
    answers: Vec<Vec<Option<Sample>>>,
    /// Whether the document was closed.
    closed: bool,
}

/// A recording that is written while it grows.
#[derive(Debug)]
pub struct Recorder {
    recording: Recording,
    file: Option<(PathBuf, File)>,
}

impl Header {
    /// That of questions over a span.
    pub fn new((from, to): (Time, Time), every: Duration, questions: Vec<RangeQuery>) -> Self {
        Self { format_version: FORMAT_VERSION, from, to, every, questions }
    }
}

impl Recording {
    /// Nothing is known yet.
    pub fn new(header: Header) -> Self {
        let answers = header.questions.iter().map(|q| vec![None; q.count]).collect();
        Self { header, answers, closed: false }
    }

    /// Reads a file, as far as it goes.
    ///
    /// # Errors
    /// A sentence, where it cannot be read or is no recording.
    pub fn read(path: &Path) -> Result<Self, String> {
        let name = path.display();
        let file = File::open(path).map_err(|e| format!("{name}: {e}"))?;
        let mut bytes = Vec::new();
        match MultiGzDecoder::new(file).take(LARGEST + 1).read_to_end(&mut bytes) {
            Err(error) if error.kind() != ErrorKind::UnexpectedEof => {
                return Err(format!("{name} is no recording: {error}"));
            }
            _ if bytes.len() as u64 > LARGEST => return Err(format!("{name} is larger than any recording")),
            _ => {}
        }
        let text = String::from_utf8_lossy(&bytes);
        let mut lines = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        let header = lines.next().and_then(|line| line.strip_suffix(OPEN)).and_then(|line| line.strip_suffix(','));
        let header = header.ok_or_else(|| format!("{name} is no recording of hoist backtest"))?;
        let header: Header = serde_json::from_str(&format!("{header}}}"))
            .map_err(|e| format!("{name} is no recording of hoist backtest: {e}"))?;
        if header.format_version > FORMAT_VERSION {
            return Err(format!("{name}: a later version of Hoist wrote it; upgrade this one"));
        }
        let most: usize = header.questions.iter().map(|q| q.count).fold(0, usize::saturating_add);
        if most > MOST_SAMPLES {
            return Err(format!("{name} is larger than any recording"));
        }
        let mut recording = Self::new(header);
        for line in lines {
            if line == CLOSE {
                recording.closed = true;
                break;
            }
            let piece = line.strip_suffix(',').and_then(|line| serde_json::from_str::<Piece>(line).ok());
            let taken =
                piece.and_then(|piece| recording.take(piece.question, piece.first, Sample::read(&piece.samples)?));
            taken.ok_or_else(|| format!("{name}: a line of it cannot be read; record it anew"))?;
        }
        Ok(recording)
    }

    /// What was asked.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The pieces that are not answered yet: which question, the place of the first moment, and what to ask.
    pub fn missing(&self) -> Vec<(usize, usize, RangeQuery)> {
        let mut missing = Vec::new();
        for (index, (question, answers)) in self.header.questions.iter().zip(&self.answers).enumerate() {
            for (piece, samples) in answers.chunks(PIECE).enumerate() {
                if samples.iter().any(Option::is_none) {
                    let first = piece * PIECE;
                    let behind = question.step.delta() * i32::try_from(first).unwrap_or(i32::MAX);
                    let start = question.start + behind;
                    missing.push((index, first, RangeQuery { start, count: samples.len(), ..question.clone() }));
                }
            }
        }
        missing
    }

    /// How many pieces there are.
    pub fn pieces(&self) -> usize {
        self.answers.iter().map(|samples| samples.len().div_ceil(PIECE)).sum()
    }

    /// The answers to these questions, which may be fewer than were recorded.
    ///
    /// # Errors
    /// The first question that has no full answer here.
    pub fn past(self, questions: &[RangeQuery]) -> Result<Past, &RangeQuery> {
        let full = self.header.questions.into_iter().zip(self.answers);
        let full =
            full.filter_map(|(question, samples)| Some((question, samples.into_iter().collect::<Option<Vec<_>>>()?)));
        let mut past: Past = full.collect();
        past.retain(|question, _| questions.binary_search(question).is_ok());
        match questions.iter().find(|q| !past.contains_key(q)) {
            Some(missing) => Err(missing),
            None => Ok(past),
        }
    }

    fn take(&mut self, question: usize, first: usize, samples: Vec<Sample>) -> Option<()> {
        let slots = self.answers.get_mut(question)?.get_mut(first..first.checked_add(samples.len())?)?;
        slots.iter_mut().zip(samples).for_each(|(slot, sample)| *slot = Some(sample));
        Some(())
    }
}

impl Recorder {
    /// One that keeps what it is told, and nothing else.
    pub fn in_memory(header: Header) -> Self {
        Self { recording: Recording::new(header), file: None }
    }

    /// One that writes to a file. What an interrupted one with the same questions wrote there is kept.
    ///
    /// # Errors
    /// A sentence, where the file cannot be written, or holds anything else.
    pub fn to(path: &Path, header: &Header) -> Result<Self, String> {
        let there = path.try_exists().unwrap_or(true);
        let recording = if there { Recording::read(path)? } else { Recording::new(header.clone()) };
        if recording.header != *header {
            return Err(format!(
                "{} holds a recording of other queries or of another span; name another file, or remove it",
                path.display()
            ));
        }
        let told = |e: std::io::Error| format!("{}: {e}", path.display());
        if recording.closed {
            return Ok(Self { recording, file: None });
        }
        // What broke off in the middle of a piece is written anew without it.
        let mut fresh = path.as_os_str().to_owned();
        fresh.push(".part");
        let fresh = PathBuf::from(fresh);
        std::fs::write(&fresh, packed(&recording.written())).map_err(told)?;
        std::fs::rename(&fresh, path).map_err(told)?;
        let file = OpenOptions::new().append(true).open(path).map_err(told)?;
        Ok(Self { recording, file: Some((path.to_owned(), file)) })
    }

    /// What is known so far.
    pub fn recording(&self) -> &Recording {
        &self.recording
    }

    /// Takes in a piece of an answer.
    ///
    /// # Errors
    /// A sentence, where it cannot be written.
    pub fn take(&mut self, question: usize, first: usize, samples: Vec<Sample>) -> Result<(), String> {
        self.append(&line(question, first, &samples))?;
        self.recording.take(question, first, samples);
        Ok(())
    }

    /// Closes the document, once all is answered.
    ///
    /// # Errors
    /// A sentence, where it cannot be written.
    pub fn close(mut self) -> Result<Recording, String> {
        self.append(&format!("{CLOSE}\n"))?;
        Ok(self.recording)
    }

    fn append(&mut self, text: &str) -> Result<(), String> {
        let Some((path, file)) = &mut self.file else { return Ok(()) };
        file.write_all(&packed(text)).map_err(|e| format!("{}: {e}", path.display()))
    }
}

impl Recording {
    /// The questions, and the pieces that are whole.
    fn written(&self) -> String {
        let header = serde_json::to_string(&self.header).unwrap_or_default();
        let mut text = format!("{},{OPEN}\n", header.trim_end_matches('}'));
        for (index, samples) in self.answers.iter().enumerate() {
            for (piece, samples) in samples.chunks(PIECE).enumerate() {
                if let Some(samples) = samples.iter().cloned().collect::<Option<Vec<_>>>() {
                    text.push_str(&line(index, piece * PIECE, &samples));
                }
            }
        }
        text
    }
}

fn line(question: usize, first: usize, samples: &[Sample]) -> String {
    let piece = Piece { question, first, samples: Sample::text(samples) };
    format!("{},\n", serde_json::to_string(&piece).unwrap_or_default())
}

fn packed(text: &str) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    // Writing into memory does not fail.
    let _ = packed.write_all(text.as_bytes());
    packed.finish().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        let at = |s| Time::from_timestamp(s, 0).expect("a time");
        let question = |query: &str, count| RangeQuery {
            query: query.to_owned(),
            start: at(60),
            step: Duration::seconds(60),
            count,
        };
        Header::new((at(0), at(90_000)), Duration::seconds(3_600), vec![question("a", 1_500), question("b", 2)])
    }

    fn samples(count: usize) -> Vec<Sample> {
        (0..count).map(|i| if i % 7 == 0 { Sample::Nothing } else { Sample::One(i as f64 / 3.0) }).collect()
    }

    fn unpacked(path: &Path) -> String {
        let mut text = String::new();
        MultiGzDecoder::new(File::open(path).expect("a file")).read_to_string(&mut text).expect("gzip");
        text
    }

    #[test]
    fn what_was_interrupted_goes_on_and_ends_as_one_document() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("record.json.gz");
        let mut recorder = Recorder::to(&path, &header()).expect("a new file");
        assert_eq!(recorder.recording().missing().len(), 3);
        recorder.take(0, 0, samples(PIECE)).expect("written");
        drop(recorder);
        // Broken off in the middle of the next piece.
        let mut bytes = std::fs::read(&path).expect("a file");
        let whole = bytes.len();
        bytes.extend_from_slice(&packed(&line(0, PIECE, &samples(500))));
        bytes.truncate(whole + 40);
        std::fs::write(&path, bytes).expect("written");

        let mut recorder = Recorder::to(&path, &header()).expect("it goes on");
        let missing = recorder.recording().missing();
        let places: Vec<_> = missing.iter().map(|(question, first, range)| (*question, *first, range.count)).collect();
        assert_eq!(places, [(0, PIECE, 500), (1, 0, 2)]);
        assert_eq!(missing[0].2.start, Time::from_timestamp(60 + 60_000, 0).expect("a time"));
        recorder.take(0, PIECE, samples(500)).expect("written");
        recorder.take(1, 0, samples(2)).expect("written");
        let questions = header().questions;
        let kept = recorder.close().expect("written").past(&questions).expect("all of it");
        let document: serde_json::Value = serde_json::from_str(&unpacked(&path)).expect("one document");
        assert_eq!(document["answers"].as_array().map(Vec::len), Some(4));
        let read = Recording::read(&path).expect("a recording").past(&questions);
        assert_eq!(read, Ok(kept));
    }

    #[test]
    fn other_questions_and_other_files_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("record.json.gz");
        drop(Recorder::to(&path, &header()).expect("a new file"));
        let other = Header { every: Duration::seconds(60), ..header() };
        assert!(Recorder::to(&path, &other).expect_err("another").contains("other queries or of another span"));
        let header = header();
        let missing = Recording::read(&path).expect("a recording").past(&header.questions);
        assert_eq!(missing.expect_err("nothing is answered").query, "a");
        std::fs::write(&path, "not gzip at all").expect("written");
        assert!(Recording::read(&path).expect_err("no gzip").contains("no recording"));
        std::fs::write(&path, packed("{}\n")).expect("written");
        assert!(Recording::read(&path).expect_err("no header").contains("no recording of hoist backtest"));
    }
}
