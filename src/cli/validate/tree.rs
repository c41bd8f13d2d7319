//! YAML as a tree whose every node knows where it stands.

use std::collections::BTreeMap;
use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};
use serde_json::{Number, Value};

use super::scalar::{Reading, read};

/// A file with more nodes than this, with aliases followed, is no file that people wrote.
const MOST_NODES: usize = 100_000;

/// No resource is nested deeper than a dozen levels.
const DEEPEST: usize = 64;

/// A node, and the bytes of the file where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub span: Range<usize>,
    pub content: Content,
    height: usize,
    size: usize,
}

/// What a node is.
#[derive(Clone, Debug)]
pub(super) enum Content {
    Null,
    Bool(bool),
    /// A number, and how it is written.
    Number(Number, String),
    Text(String),
    /// An unquoted scalar that YAML 1.1 and 1.2 read differently: as it is written, and what YAML 1.1 reads.
    Disputed(String, String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One entry of a mapping.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub key: String,
    pub key_span: Range<usize>,
    /// What YAML 1.1 reads the key as, where that differs.
    pub disputed: Option<String>,
    pub value: Node,
}

/// Something that makes a file no good YAML.
#[derive(Debug)]
pub(super) struct Fault {
    pub span: Range<usize>,
    pub message: String,
    pub hint: Option<String>,
}

impl Node {
    fn new(span: Range<usize>, content: Content) -> Self {
        let (height, size) = match &content {
            Content::List(items) => measure(items.iter()),
            Content::Map(entries) => measure(entries.iter().map(|e| &e.value)),
            _ => (0, 1),
        };
        Self { span, content, height, size }
    }

    /// The value of a key of a mapping.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    fn entry(&self, key: &str) -> Option<&Entry> {
        let Content::Map(entries) = &self.content else { return None };
        entries.iter().find(|entry| entry.key == key)
    }

    pub(super) fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Text(text) | Content::Disputed(text, _) => Some(text),
            _ => None,
        }
    }

    /// The value as the API server would read it.
    pub(super) fn value(&self) -> Value {
        match &self.content {
            Content::Null => Value::Null,
            Content::Bool(bool) => Value::Bool(*bool),
            Content::Number(number, _) => Value::Number(number.clone()),
            Content::Text(text) | Content::Disputed(text, _) => Value::String(text.clone()),
            Content::List(items) => Value::Array(items.iter().map(Node::value).collect()),
            // What is left empty is left out, as the API server does it.
            Content::Map(entries) => {
                let given = entries.iter().filter(|e| !matches!(e.value.content, Content::Null));
                Value::Object(given.map(|e| (e.key.clone(), e.value.value())).collect())
            }
        }
    }

    /// Where a path such as `spec.phases[0].start` leads, or the part of it that is there: a scalar itself, a list or a
    /// mapping by its key.
    pub(super) fn locate(&self, path: &str) -> Range<usize> {
        let mut at = self;
        let mut span = self.span.clone();
        for step in path.split(['.', '[']).filter(|step| !step.is_empty()) {
            if let Some(index) = step.strip_suffix(']') {
                let Content::List(items) = &at.content else { break };
                let Some(item) = index.parse::<usize>().ok().and_then(|i| items.get(i)) else { break };
                (at, span) = (item, item.span.clone());
            } else {
                let Some(entry) = at.entry(step) else { break };
                at = &entry.value;
                span = entry.place();
            }
        }
        span
    }
}

impl Entry {
    /// Where to point at for the entry: its value, or its key where the value goes over several lines.
    pub(super) fn place(&self) -> Range<usize> {
        match self.value.content {
            Content::List(_) | Content::Map(_) | Content::Null => self.key_span.clone(),
            _ => self.value.span.clone(),
        }
    }
}

fn measure<'a>(nodes: impl Iterator<Item = &'a Node>) -> (usize, usize) {
    nodes.fold((1, 1), |(height, size), node| (height.max(node.height + 1), size + node.size))
}

/// Reads all documents of a file. What cannot be read is a fault; the documents around it are read all the same.
pub(super) fn documents(text: &str) -> (Vec<Node>, Vec<Fault>) {
    let mut options = granit_parser::options! { emit_unresolved_aliases: true };
    options.set_emit_comments(false);
    let mut parser = Parser::new_from_str_with_options(text, options);
    let (mut documents, mut faults) = (Vec::new(), Vec::new());
    loop {
        let mut builder = Builder { faults: std::mem::take(&mut faults), ..Builder::default() };
        let ended = builder.document(&mut parser);
        faults = builder.faults;
        match ended {
            Ok(Ended::Document) => documents.extend(builder.root),
            Ok(Ended::Stream) => return (documents, faults),
            Err(stop) => {
                let enough = matches!(stop, Stop::Enough);
                if let Stop::Scan(error) = stop {
                    faults.push(scan_fault(text, &error));
                }
                if enough || !parser.proceed_next_document().is_ok_and(|more| more) {
                    return (documents, faults);
                }
            }
        }
    }
}

fn scan_fault(text: &str, error: &ScanError) -> Fault {
    let at = error.marker().byte_offset().unwrap_or(0).min(text.len());
    let tab = text.get(..at).is_some_and(|t| t.ends_with('\t')) || text.get(at..).is_some_and(|t| t.starts_with('\t'));
    let hint = tab.then(|| "YAML is indented with spaces, not with tabs".to_owned());
    Fault { span: at..at, message: format!("not YAML: {}", error.info()), hint }
}

enum Ended {
    Document,
    Stream,
}

enum Stop {
    Scan(ScanError),
    /// Already among the faults; the next document may be fine.
    Told,
    /// Already among the faults; nothing more is looked at.
    Enough,
}

#[derive(Default)]
struct Builder {
    open: Vec<Frame>,
    root: Option<Node>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
    faults: Vec<Fault>,
}

/// A list or mapping that is not complete yet.
struct Frame {
    start: Range<usize>,
    anchor: usize,
    /// A mapping has its key while it waits for the value.
    kind: FrameKind,
}

enum FrameKind {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, merged: Vec<Entry>, key: Option<Key> },
}

struct Key {
    text: String,
    span: Range<usize>,
    disputed: Option<String>,
    is_merge: bool,
}

impl Builder {
    fn document<'a>(&mut self, events: &mut Parser<'a, granit_parser::StrInput<'a>>) -> Result<Ended, Stop> {
        loop {
            let (event, span) = match events.next_event() {
                None => return Ok(Ended::Stream),
                Some(event) => event.map_err(Stop::Scan)?,
            };
            let at = range(span);
            match event {
                Event::StreamEnd => return Ok(Ended::Stream),
                Event::DocumentEnd => return Ok(Ended::Document),
                Event::Scalar(text, style, anchor, tag) => self.scalar(&text, style, anchor, tag.as_deref(), at)?,
                Event::Alias(id) => {
                    let node = self.anchors.get(&id).cloned();
                    self.alias(node, &at)?;
                }
                Event::UnresolvedAlias(_) => self.alias(None, &at)?,
                Event::SequenceStart(_, anchor, _) => self.enter(at, anchor, FrameKind::List(Vec::new()))?,
                Event::MappingStart(_, anchor, _) => {
                    let map = FrameKind::Map { entries: Vec::new(), merged: Vec::new(), key: None };
                    self.enter(at, anchor, map)?;
                }
                Event::SequenceEnd | Event::MappingEnd => self.leave(at.end)?,
                _ => {}
            }
        }
    }

    fn fault(&mut self, span: Range<usize>, message: &str, hint: &str) {
        self.faults.push(Fault { span, message: message.to_owned(), hint: Some(hint.to_owned()) });
    }

    fn alias(&mut self, node: Option<Node>, at: &Range<usize>) -> Result<(), Stop> {
        let node = node.unwrap_or_else(|| {
            self.fault(at.clone(), "this alias stands for nothing", "an anchor `&name` must come before it");
            Node::new(at.clone(), Content::Null)
        });
        self.place(node, 0, None)
    }

    fn enter(&mut self, start: Range<usize>, anchor: usize, kind: FrameKind) -> Result<(), Stop> {
        if self.open.len() >= DEEPEST {
            self.fault(start, "nested too deep", "no resource is nested deeper than a dozen levels");
            return Err(Stop::Told);
        }
        self.open.push(Frame { start, anchor, kind });
        Ok(())
    }

    fn leave(&mut self, end: usize) -> Result<(), Stop> {
        let Some(frame) = self.open.pop() else { return Ok(()) };
        let content = match frame.kind {
            FrameKind::List(items) => Content::List(items),
            FrameKind::Map { mut entries, merged, .. } => {
                for entry in merged {
                    if entries.iter().all(|e| e.key != entry.key) {
                        entries.push(entry);
                    }
                }
                Content::Map(entries)
            }
        };
        self.place(Node::new(frame.start.start..end.max(frame.start.end), content), frame.anchor, None)
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        span: Range<usize>,
    ) -> Result<(), Stop> {
        let reading = match (style, tag) {
            (ScalarStyle::Plain, None) => read(text),
            (_, None) => Reading::Text,
            (_, Some(tag)) if tag.core_suffix() == Some("str") => Reading::Text,
            (_, Some(tag)) => {
                let message = format!("the tag {} is not understood here", tag.original());
                self.fault(span.clone(), &message, "leave the tag out; quotes make a text");
                Reading::Text
            }
        };
        let is_merge = style == ScalarStyle::Plain && text == "<<";
        let disputed = if let Reading::Disputed(other) = &reading { Some(other.clone()) } else { None };
        let key = Key { text: text.to_owned(), span: span.clone(), disputed, is_merge };
        let content = match reading {
            Reading::Null => Content::Null,
            Reading::Bool(bool) => Content::Bool(bool),
            Reading::Number(number) => Content::Number(number, text.to_owned()),
            Reading::Text => Content::Text(text.to_owned()),
            Reading::Disputed(other) => Content::Disputed(text.to_owned(), other),
        };
        self.place(Node::new(span, content), anchor, Some(key))
    }

    /// Puts a complete node where it belongs; `key` is what it would be as the key of a mapping.
    fn place(&mut self, node: Node, anchor: usize, key: Option<Key>) -> Result<(), Stop> {
        self.nodes += node.size;
        if self.nodes > MOST_NODES {
            self.fault(node.span, "too much for one document", "aliases count as what they stand for");
            return Err(Stop::Enough);
        }
        if self.open.len() + node.height > DEEPEST {
            self.fault(node.span, "nested too deep", "no resource is nested deeper than a dozen levels");
            return Err(Stop::Told);
        }
        if anchor != 0 {
            self.nodes += node.size;
            self.anchors.insert(anchor, node.clone());
        }
        let odd_key = match self.open.last_mut().map(|frame| &mut frame.kind) {
            None => {
                self.root = Some(node);
                None
            }
            Some(FrameKind::List(items)) => {
                items.push(node);
                None
            }
            Some(FrameKind::Map { entries, merged, key: waiting }) => match (waiting.take(), key) {
                (Some(key), _) if key.is_merge => {
                    merged.extend(merges(node));
                    None
                }
                (Some(key), _) => {
                    entries.push(Entry { key: key.text, key_span: key.span, disputed: key.disputed, value: node });
                    None
                }
                (None, Some(key)) => {
                    *waiting = Some(key);
                    None
                }
                (None, None) => {
                    let span = node.span;
                    *waiting = Some(Key { text: String::new(), span: span.clone(), disputed: None, is_merge: false });
                    Some(span)
                }
            },
        };
        if let Some(span) = odd_key {
            self.fault(span, "a key must be a plain text", "write `key: value`");
            return Err(Stop::Told);
        }
        Ok(())
    }
}

/// The entries that `<<: *anchor` or `<<: [*a, *b]` brings, the first mapping first.
fn merges(node: Node) -> Vec<Entry> {
    match node.content {
        Content::Map(entries) => entries,
        Content::List(items) => items.into_iter().flat_map(merges).collect(),
        _ => Vec::new(),
    }
}

fn range(span: Span) -> Range<usize> {
    span.byte_range().unwrap_or_default()
}
