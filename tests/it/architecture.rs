//! The house's rules, held by tests: who may import whom, how long things may grow, what may be depended upon.

mod dependencies;
mod imports;

use std::path::{Path, PathBuf};

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::visit::Visit;

const LONGEST_FUNCTION: usize = 70;
const LONGEST_FILE: usize = 500;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files below a folder of the package whose names end so, each with its text.
fn files(folder: &str, extensions: &[&str]) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the package") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| extensions.iter().any(|wanted| e == *wanted)) {
                let text = std::fs::read_to_string(&path).expect("a readable file");
                found.push((path.strip_prefix(root()).expect("a file of the package").to_owned(), text));
            }
        }
    }
    found.sort();
    found
}

fn rust_files(folders: &[&str]) -> Vec<(PathBuf, String)> {
    folders.iter().flat_map(|folder| files(folder, &["rs"])).collect()
}

/// Counts the lines of every function, from its signature to its closing brace.
#[derive(Default)]
struct Functions {
    found: Vec<(String, usize, usize)>,
}

impl Functions {
    fn note(&mut self, signature: &syn::Signature, end: Span) {
        let start = signature.span().start().line;
        self.found.push((signature.ident.to_string(), start, end.end().line - start + 1));
    }
}

impl Visit<'_> for Functions {
    fn visit_item_fn(&mut self, function: &syn::ItemFn) {
        self.note(&function.sig, function.block.span());
        syn::visit::visit_item_fn(self, function);
    }
    fn visit_impl_item_fn(&mut self, function: &syn::ImplItemFn) {
        self.note(&function.sig, function.block.span());
        syn::visit::visit_impl_item_fn(self, function);
    }
    fn visit_trait_item_fn(&mut self, function: &syn::TraitItemFn) {
        self.note(&function.sig, function.span());
        syn::visit::visit_trait_item_fn(self, function);
    }
}

#[test]
fn functions_stay_short() {
    let mut long = Vec::new();
    for (path, text) in rust_files(&["src", "tests", "benches"]) {
        let mut functions = Functions::default();
        functions.visit_file(&syn::parse_file(&text).expect("Rust"));
        let too_long = functions.found.into_iter().filter(|(_, _, lines)| *lines >= LONGEST_FUNCTION);
        long.extend(too_long.map(|(name, line, lines)| format!("{}:{line} {name} has {lines} lines", path.display())));
    }
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn files_stay_short() {
    let all = ["src", "tests", "benches"].into_iter().flat_map(|folder| files(folder, &["rs", "sh"]));
    let long: Vec<String> = all
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines >= LONGEST_FILE)
        .map(|(path, lines)| format!("{} has {lines} lines", path.display()))
        .collect();
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn nothing_is_left_for_later() {
    // Put together here, so that this file does not find itself.
    let marks = [concat!("to", "do!("), concat!("unimpl", "emented!("), concat!("FIX", "ME"), concat!("TO", "DO")];
    let mut found = Vec::new();
    for (path, text) in ["src", "tests", "benches"].into_iter().flat_map(|folder| files(folder, &["rs", "sh"])) {
        for (number, line) in text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark)) {
                found.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn the_licence_is_ours() {
    let licence = std::fs::read_to_string(root().join("LICENSE")).expect("LICENSE");
    assert!(licence.contains("Apache License") && licence.contains("Version 2.0, January 2004"));
}
