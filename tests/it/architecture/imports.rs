//! Arrows point inward only.

use std::collections::BTreeMap;
use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::Visit;
use syn::{ItemMod, ItemUse, Macro, UseTree};

use super::rust_files;

/// The table of `src/lib.rs`: a module of the house, and what it may import besides itself.
const TABLE: [(&str, &[&str]); 6] = [
    ("api", &[]),
    ("analysis", &["api"]),
    ("engine", &["api", "analysis"]),
    ("sim", &["api", "analysis", "engine"]),
    ("shell", &["api", "analysis", "engine", "sim"]),
    ("cli", &["api", "analysis", "engine", "sim", "shell"]),
];

/// Collects the house modules that a file speaks of in paths, whether they begin with `crate`, `super` or `self`.
struct Imports {
    /// The module that is being read, from the crate's root.
    module: Vec<String>,
    found: Vec<String>,
}

impl Imports {
    /// Resolves a path to the house module that it leads to.
    fn note(&mut self, segments: &[String]) {
        let mut at = self.module.clone();
        let mut rest = segments.iter().map(String::as_str);
        match rest.next() {
            Some("crate" | "hoist") => at.clear(),
            Some("super") => drop(at.pop()),
            _ => return,
        }
        let mut rest = rest.peekable();
        while rest.next_if_eq(&"super").is_some() {
            at.pop();
        }
        let target = at.first().map(String::as_str).or_else(|| rest.next());
        self.found.extend(target.map(str::to_owned));
    }

    fn tree(&mut self, prefix: &mut Vec<String>, tree: &UseTree) {
        match tree {
            UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                self.tree(prefix, &path.tree);
                prefix.pop();
            }
            UseTree::Group(group) => group.items.iter().for_each(|item| self.tree(prefix, item)),
            UseTree::Name(_) | UseTree::Rename(_) | UseTree::Glob(_) => {
                let last = match tree {
                    UseTree::Name(name) => name.ident.to_string(),
                    UseTree::Rename(rename) => rename.ident.to_string(),
                    _ => "*".to_owned(),
                };
                prefix.push(last);
                self.note(prefix);
                prefix.pop();
            }
        }
    }

    /// Macros keep their paths as bare tokens: `format!("{}", crate::shell::x())`.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => path.push(ident.to_string()),
                TokenTree::Punct(punct) if punct.as_char() == ':' => {}
                other => {
                    self.note(&std::mem::take(&mut path));
                    if let TokenTree::Group(group) = other {
                        self.tokens(group.stream());
                    }
                }
            }
        }
        self.note(&path);
    }
}

impl Visit<'_> for Imports {
    fn visit_item_use(&mut self, item: &ItemUse) {
        self.tree(&mut Vec::new(), &item.tree);
    }
    fn visit_path(&mut self, path: &syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        self.note(&segments);
        syn::visit::visit_path(self, path);
    }
    fn visit_macro(&mut self, item: &Macro) {
        self.tokens(item.tokens.clone());
        syn::visit::visit_macro(self, item);
    }
    fn visit_item_mod(&mut self, item: &ItemMod) {
        self.module.push(item.ident.to_string());
        syn::visit::visit_item_mod(self, item);
        self.module.pop();
    }
}

/// `src/engine/plan.rs` is `engine::plan`, `src/engine/mod.rs` is `engine`.
fn module_of(path: &Path) -> Vec<String> {
    let inside = path.strip_prefix("src").expect("a file of src").with_extension("");
    let mut module: Vec<String> = inside.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    module.pop_if(|last| ["mod", "lib", "main"].contains(&last.as_str()));
    module
}

fn imports(module: Vec<String>, text: &str) -> Vec<String> {
    let mut imports = Imports { module, found: Vec::new() };
    imports.visit_file(&syn::parse_file(text).expect("Rust"));
    imports.found
}

#[test]
fn arrows_point_inward_only() {
    let table: BTreeMap<&str, &[&str]> = TABLE.into_iter().collect();
    let mut outward = Vec::new();
    for (path, text) in rust_files(&["src"]) {
        let module = module_of(&path);
        let Some(own) = module.first().cloned() else { continue };
        let allowed = table.get(own.as_str()).unwrap_or_else(|| panic!("module {own} is not in the table"));
        for import in imports(module, &text) {
            if import != own && !allowed.contains(&import.as_str()) {
                outward.push(format!("{} imports {import}", path.display()));
            }
        }
    }
    outward.dedup();
    assert!(outward.is_empty(), "{outward:#?}");
}

#[test]
fn the_guard_sees_every_way_to_write_an_import() {
    for (text, expected) in [
        ("use crate::shell::clock;", "shell"),
        ("use crate::{api::Time, shell};", "shell"),
        ("use super::super::shell::x;", "shell"),
        ("mod tests { use super::super::super::shell; }", "shell"),
        ("fn f() { crate::shell::x(); }", "shell"),
        ("fn f(x: &crate::shell::X) {}", "shell"),
        ("fn f() { println!(\"{}\", crate::shell::x()); }", "shell"),
        ("use super::target::X;", "engine"),
    ] {
        let found = imports(vec!["engine".into(), "plan".into()], text);
        assert!(found.iter().any(|module| module == expected), "{text}: {found:?}");
    }
}
