//! `hoist validate`: every problem of a file at once, where it stands, and what to do about it.
//!
//! Four looks, each at what the one before let through: YAML with positions (`tree`), the structural schema of the CRDs
//! (`schema`), their rules (`kinds`), and the engine's own `Plan::parse` across all files (`meaning`).

mod across;
pub(super) mod files;
mod hint;
mod kinds;
mod meaning;
mod report;
mod scalar;
mod schema;
mod source;
mod tree;
mod world;

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use kinds::{Kinds, api_version};
use meaning::Object;
use report::{Finding, Report, Severity};
use tree::{Content, Node};

use super::Output;
use crate::api::{GROUP, Time};
use crate::shell::clock;

/// Arguments of `hoist validate`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// YAML or JSON files, folders of them, or `-` for the standard input. Environments and schedules in different
    /// files are held against each other.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The namespace of objects that name none.
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// Text for people, or one JSON list of findings.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// Runs the verb.
pub(super) fn run(args: &Args) -> ExitCode {
    let (report, _) = look_at(&args.files, &args.namespace, clock::now());
    let printed = match args.output {
        Output::Text => report.text(&mut anstream::stdout().lock()),
        Output::Json => report.json(&mut io::stdout().lock()),
    };
    match printed.and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("hoist validate: {error}");
            ExitCode::from(2)
        }
        _ if !report.unreadable.is_empty() => ExitCode::from(2),
        _ if report.count(Severity::Error) > 0 => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

fn look_at(files: &[PathBuf], namespace: &str, now: Time) -> (Report, Vec<Object>) {
    let (sources, unreadable) = source::read_all(files);
    let mut look =
        Look { kinds: Kinds::new(), namespace, objects: Vec::new(), findings: Vec::new(), broken: Vec::new() };
    for (index, source) in sources.iter().enumerate() {
        look.source(index, &source.text);
    }
    let across = meaning::findings(&look.objects, now);
    let count = look.objects.iter().filter(|object| look.kinds.find(&object.kind).is_some()).count();
    let objects = std::mem::take(&mut look.objects);
    (Report { sources, unreadable, findings: look.all(across), objects: count }, objects)
}

struct Look<'a> {
    kinds: Kinds,
    namespace: &'a str,
    objects: Vec<Object>,
    findings: Vec<Finding>,
    /// The rules that are broken.
    broken: Vec<Finding>,
}

impl Look<'_> {
    fn source(&mut self, source: usize, text: &str) {
        let (documents, faults) = tree::documents(text);
        let faulty = !faults.is_empty();
        for fault in faults {
            self.add(Severity::Error, source, fault.span, String::new(), fault.message, fault.hint);
        }
        let mut some = faulty;
        for document in documents {
            some |= !matches!(document.content, Content::Null);
            self.document(source, document);
        }
        if !some {
            self.add(Severity::Note, source, 0..0, String::new(), "there is nothing in this file".to_owned(), None);
        }
    }

    /// A document is an object, or a list of them as `kubectl get -o yaml` prints it.
    fn document(&mut self, source: usize, node: Node) {
        let is_list = node.get("kind").and_then(Node::text) == Some("List");
        match node.content {
            Content::Null => {}
            Content::Map(entries) if is_list => {
                for entry in entries.into_iter().filter(|entry| entry.key == "items") {
                    if let Content::List(items) = entry.value.content {
                        for item in items {
                            self.object(source, item);
                        }
                    }
                }
            }
            _ => self.object(source, node),
        }
    }

    fn object(&mut self, source: usize, node: Node) {
        let text = |path: &[&str]| path.iter().try_fold(&node, |at, key| at.get(key)).and_then(Node::text);
        let (Some(version), Some(kind)) = (text(&["apiVersion"]), text(&["kind"])) else {
            let hint = format!("begin with `apiVersion: {}` and `kind: MigrationSchedule`", api_version());
            let message = "not a Kubernetes object: apiVersion and kind are needed".to_owned();
            return self.add(Severity::Error, source, node.span, String::new(), message, Some(hint));
        };
        let ours = version.split('/').next() == Some(GROUP);
        let (version, kind) = (version.to_owned(), kind.to_owned());
        if ours && version != api_version() {
            let (span, hint) = (node.locate("apiVersion"), format!("write `{}`", api_version()));
            let message = format!("the version `{version}` is not known");
            return self.add(Severity::Error, source, span, "apiVersion".to_owned(), message, Some(hint));
        }
        if ours && kind == world::KIND {
            return self.world(source, &node);
        }
        if ours && self.kinds.find(&kind).is_none() {
            let (span, hint) = (node.locate("kind"), hint::did_you_mean(&kind, self.kinds.names()));
            let message = format!("the kind `{kind}` is not known");
            return self.add(Severity::Error, source, span, "kind".to_owned(), message, Some(hint));
        }
        let name = text(&["metadata", "name"]).unwrap_or_default().to_owned();
        let namespace = text(&["metadata", "namespace"]).unwrap_or(self.namespace).to_owned();
        if ours {
            self.against_definition(source, &kind, &node);
        } else if kind != "Namespace" {
            let message = format!("{kind} {name} is none of Hoist's kinds, so nothing is said about it");
            self.add(Severity::Note, source, node.locate("kind"), "kind".to_owned(), message, None);
        }
        if ours || kind == "Namespace" {
            self.objects.push(Object { source, node, kind, namespace, name });
        }
    }

    /// A world for `plan` and `simulate`: what it says of environments and checks is theirs to look at.
    fn world(&mut self, source: usize, node: &Node) {
        self.findings.extend(different(source, &world::schema(), node));
        let message = "this World goes with `--world` of plan and simulate, which look at the names in it".to_owned();
        self.add(Severity::Note, source, node.locate("kind"), "kind".to_owned(), message, None);
    }

    /// Holds an object against the schema and the rules of its kind.
    fn against_definition(&mut self, source: usize, kind: &str, node: &Node) {
        let Some(kind) = self.kinds.find(kind) else { return };
        self.findings.extend(different(source, &kind.schema, node));
        let broken = self.kinds.broken_rules(kind, &node.value()).into_iter().map(|rule| Finding {
            severity: Severity::Error,
            source,
            span: node.locate(&rule.path),
            path: rule.path,
            message: rule.message,
            hint: None,
        });
        self.broken.extend(broken);
        let named = ["name", "generateName"].iter().any(|key| node.get("metadata").and_then(|m| m.get(key)).is_some());
        if !named {
            let (span, hint) = (node.locate("metadata"), "write `metadata: { name: ... }`".to_owned());
            let message = format!("this {} has no name", kind.name);
            self.add(Severity::Error, source, span, "metadata".to_owned(), message, Some(hint));
        }
    }

    fn add(
        &mut self,
        severity: Severity,
        source: usize,
        span: std::ops::Range<usize>,
        path: String,
        message: String,
        hint: Option<String>,
    ) {
        self.findings.push(Finding { severity, source, span, path, message, hint });
    }

    /// Puts together what was found. What schema and engine both say of one place is said once: by the schema, whose
    /// hint is nearer to what was written. What a rule and the engine both say, by the engine, which knows what to do.
    fn all(mut self, across: Vec<Finding>) -> Vec<Finding> {
        let place = |f: &Finding| (f.source, f.span.start, f.span.end);
        let places = |found: &[Finding]| -> BTreeSet<_> {
            found.iter().filter(|f| f.severity == Severity::Error).map(place).collect()
        };
        let (by_schema, by_engine) = (places(&self.findings), places(&across));
        self.broken.retain(|f| !by_engine.contains(&place(f)));
        let news = across.into_iter().filter(|f| f.severity != Severity::Error || !by_schema.contains(&place(f)));
        let mut all = self.findings;
        all.extend(self.broken);
        all.extend(news);
        all.sort_by_key(|f| (f.source, f.span.start, f.severity));
        all
    }
}

/// Every difference of a node from a schema.
fn different(source: usize, schema: &serde_json::Value, node: &Node) -> impl Iterator<Item = Finding> + use<> {
    schema::differences(schema, node).into_iter().map(move |d| Finding {
        severity: d.severity,
        source,
        span: d.span,
        path: d.path,
        message: d.message,
        hint: d.hint,
    })
}
