//! Which files of a crate import which.
//!
//! An import is whatever path leads to another file of the crate, in `use` or in code, in macros too. It is followed to the file that
//! defines the name, through whoever passes it on by `pub use`. No imports are: a parent's `mod child;`, its `pub use child::…` of
//! names that it does not use itself, methods (no path names their file), documentation, and what is under `#[cfg(test)]`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, ExprCall, Item, ItemMod, ItemUse, Macro, UseTree, Visibility};

/// More steps than this no name takes to its definition.
const STEPS_MOST: usize = 16;

/// The files of a crate, each by its module's path.
pub struct Modules(BTreeMap<Vec<String>, File>);

/// What one file defines and names.
#[derive(Default)]
struct File {
    path: String,
    defined: BTreeSet<String>,
    uses: Vec<Use>,
    named: BTreeSet<Vec<String>>,
}

/// One name that `use` brings.
struct Use {
    passed_on: bool,
    name: String,
    path: Vec<String>,
}

/// An import of one file from another, with the names that it takes.
type Imports<'a> = BTreeMap<&'a str, BTreeMap<&'a str, BTreeSet<String>>>;

impl Modules {
    /// Of the crate whose sources are in this directory.
    pub fn read(sources: &Path) -> Self {
        let mut files = Vec::new();
        collect(sources, sources, &mut files);
        Self::of(files)
    }

    /// Of files with their paths below the sources.
    pub fn of(files: impl IntoIterator<Item = (String, String)>) -> Self {
        let modules = files.into_iter().map(|(path, text)| {
            let mut module: Vec<String> = path
                .trim_end_matches(".rs")
                .split('/')
                .map(str::to_owned)
                .collect();
            module.pop_if(|last| ["lib", "main", "mod"].contains(&last.as_str()));
            let syntax = syn::parse_file(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
            let mut file = File {
                path,
                ..File::default()
            };
            file.visit_file(&syntax);
            (module, file)
        });
        Self(modules.collect())
    }

    /// The imports that lie on circles, a line each; none where there is no circle.
    pub fn circles(&self) -> Vec<String> {
        let mut imports = self.imports();
        // Whoever imports nobody, or is imported by nobody, is on no circle: what is left when all of them are gone is.
        loop {
            let importing: BTreeSet<&str> = imports.keys().copied().collect();
            let imported: BTreeSet<&str> =
                imports.values().flat_map(BTreeMap::keys).copied().collect();
            let before = imports.values().map(BTreeMap::len).sum::<usize>();
            imports.retain(|from, to| {
                to.retain(|to, _| importing.contains(to));
                !to.is_empty() && imported.contains(from)
            });
            if imports.values().map(BTreeMap::len).sum::<usize>() == before {
                break;
            }
        }
        let lines = imports.iter().flat_map(|(from, to)| {
            to.iter().map(move |(to, names)| {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                format!("{from} -> {to}: {}", names.join(", "))
            })
        });
        lines.collect()
    }

    fn imports(&self) -> Imports<'_> {
        let mut imports = Imports::new();
        for (module, file) in &self.0 {
            let used = file.uses.iter().filter(|one| !one.passed_on);
            for path in used.map(|one| &one.path).chain(&file.named) {
                if let Some((home, Some(name))) = self.find(module, path, STEPS_MOST)
                    && home != *module
                {
                    let to = &self.0[&home].path;
                    let names = imports.entry(file.path.as_str()).or_default();
                    names.entry(to.as_str()).or_default().insert(name);
                }
            }
        }
        imports
    }

    /// The module that defines what a path in `module` leads to, and its name there; no name where it is a module itself.
    fn find(
        &self,
        module: &[String],
        path: &[String],
        steps: usize,
    ) -> Option<(Vec<String>, Option<String>)> {
        let steps = steps.checked_sub(1)?;
        let mut at = module.to_vec();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => {
                at.clear();
                rest = &path[1..];
            }
            "self" => rest = &path[1..],
            "super" => {
                while rest.first().is_some_and(|part| part == "super") {
                    at.pop()?;
                    rest = &rest[1..];
                }
            }
            first if self.is_module(&at, first) => {}
            first => {
                let brought = self.0.get(&at)?.uses.iter().find(|one| one.name == first)?;
                let longer = [brought.path.as_slice(), &path[1..]].concat();
                return (longer != path).then(|| self.find(module, &longer, steps))?;
            }
        }
        while let Some(part) = rest.first()
            && self.is_module(&at, part)
        {
            at.push(part.clone());
            rest = &rest[1..];
        }
        let file = self.0.get(&at)?;
        let Some(name) = rest.first() else {
            return Some((at, None));
        };
        if !file.defined.contains(name)
            && let Some(brought) = file.uses.iter().find(|one| one.name == *name)
        {
            let longer = [brought.path.as_slice(), &rest[1..]].concat();
            if let Some(found) = self.find(&at, &longer, steps) {
                return Some(found);
            }
        }
        Some((at, Some(name.clone())))
    }

    fn is_module(&self, parent: &[String], name: &str) -> bool {
        self.0.contains_key(&[parent, &[name.to_owned()]].concat())
    }
}

/// Files of tests are no part of it.
fn collect(sources: &Path, dir: &Path, files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.file_stem().is_some_and(|name| name == "tests") {
            continue;
        }
        if path.is_dir() {
            collect(sources, &path, files);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let below = path.strip_prefix(sources).unwrap().to_str().unwrap();
            files.push((below.to_owned(), fs::read_to_string(&path).unwrap()));
        }
    }
}

impl File {
    /// A path in code. A small word alone is a variable, unless it is called.
    fn name(&mut self, path: Vec<String>, called: bool) {
        let is_variable = |name: &String| name.starts_with(|c: char| c.is_lowercase() || c == '_');
        match path.as_slice() {
            [] => {}
            [one] if is_variable(one) && !called => {}
            _ => {
                self.named.insert(path);
            }
        }
    }

    fn brings(&mut self, tree: &UseTree, before: &[String], passed_on: bool) {
        let longer = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        let (name, path) = match tree {
            UseTree::Path(path) => return self.brings(&path.tree, &longer(&path.ident), passed_on),
            UseTree::Group(group) => {
                return group
                    .items
                    .iter()
                    .for_each(|tree| self.brings(tree, before, passed_on));
            }
            UseTree::Name(name) if name.ident == "self" => {
                (before.last().cloned().unwrap_or_default(), before.to_vec())
            }
            UseTree::Name(name) => (name.ident.to_string(), longer(&name.ident)),
            UseTree::Rename(rename) => (rename.rename.to_string(), longer(&rename.ident)),
            UseTree::Glob(_) => ("*".to_owned(), [before, &["*".to_owned()]].concat()),
        };
        self.uses.push(Use {
            passed_on,
            name,
            path,
        });
    }

    fn tokens(&mut self, tokens: TokenStream) {
        let (mut path, mut colons) = (Vec::new(), 0);
        for token in tokens {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.name(std::mem::take(&mut path), false);
                    }
                    colons = 0;
                    path.push(ident.to_string());
                }
                TokenTree::Group(group) => {
                    let called = group.delimiter() == Delimiter::Parenthesis;
                    self.name(std::mem::take(&mut path), called);
                    colons = 0;
                    self.tokens(group.stream());
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {
                    self.name(std::mem::take(&mut path), false);
                    colons = 0;
                }
            }
        }
        self.name(path, false);
    }
}

impl<'ast> Visit<'ast> for File {
    fn visit_item(&mut self, item: &'ast Item) {
        let defined = match item {
            Item::Const(item) => Some(&item.ident),
            Item::Enum(item) => Some(&item.ident),
            Item::Fn(item) => Some(&item.sig.ident),
            Item::Macro(item) => item.ident.as_ref(),
            Item::Static(item) => Some(&item.ident),
            Item::Struct(item) => Some(&item.ident),
            Item::Trait(item) => Some(&item.ident),
            Item::Type(item) => Some(&item.ident),
            _ => None,
        };
        self.defined.extend(defined.map(ToString::to_string));
        visit::visit_item(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if !item.attrs.iter().any(is_of_tests) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if !item.attrs.iter().any(is_of_tests) {
            let passed_on = !matches!(item.vis, Visibility::Inherited);
            self.brings(&item.tree, &[], passed_on);
        }
    }

    fn visit_expr_call(&mut self, call: &'ast ExprCall) {
        if let Expr::Path(called) = &*call.func {
            self.name(parts(&called.path), true);
        }
        visit::visit_expr_call(self, call);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.name(parts(path), false);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'ast Macro) {
        self.tokens(called.tokens.clone());
        visit::visit_macro(self, called);
    }
}

fn parts(path: &syn::Path) -> Vec<String> {
    path.segments
        .iter()
        .map(|part| part.ident.to_string())
        .collect()
}

fn is_of_tests(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg")
        && attribute
            .parse_args::<syn::Path>()
            .is_ok_and(|on| on.is_ident("test"))
}
