//! The structure of the source: rooms use only what the crate docs say, files do not use each other
//! in circles, and the methods of a type are in one file.
//!
//! Everything is read from the source itself. An import counts for the file that defines the name,
//! even if other files re-export it; code for tests does not count.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use super::tidy::{code, source_files};

/// A path in the source, such as `crate::store::Error`, in segments.
type Names = Vec<String>;

/// A file of the source, without its code for tests.
#[derive(Debug)]
struct Source {
    /// Its module, below the crate.
    module: Names,
    code: String,
    /// The paths that it imports or names, from the crate root.
    paths: Vec<Names>,
    /// Its re-exports: the name, and where it comes from.
    handed_on: BTreeMap<String, Names>,
}

/// The crate, by its files.
#[derive(Debug)]
struct House(BTreeMap<Names, Source>);

impl House {
    fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut sources = BTreeMap::new();
        for (path, text) in source_files("src") {
            let below = path.strip_prefix(&root).unwrap().with_extension("");
            let mut module: Names = below
                .iter()
                .map(|part| part.to_str().unwrap().to_owned())
                .collect();
            let is_test = module
                .iter()
                .any(|part| part == "tests" || part == "testing");
            if is_test || ["lib", "main"].contains(&&*module[0]) {
                continue;
            }
            if module.last().unwrap() == "mod" {
                module.pop();
            }
            let code = without_tests(&code(&text));
            let (paths, handed_on) = paths_in(&code, &module);
            let source = Source {
                module: module.clone(),
                code,
                paths,
                handed_on,
            };
            sources.insert(module, source);
        }
        Self(sources)
    }

    /// The module whose file defines what `path` names.
    fn file_of(&self, path: &[String]) -> Option<Names> {
        let length = (1..=path.len()).rev();
        let mut prefixes = length.map(|length| &path[..length]);
        let module = prefixes.find(|prefix| self.0.contains_key(*prefix))?;
        let next = path.get(module.len());
        match next.and_then(|name| self.0[module].handed_on.get(name)) {
            Some(from) => self.file_of(from),
            None => Some(module.to_vec()),
        }
    }

    /// Which files each file uses.
    fn arrows(&self) -> BTreeMap<&Names, BTreeSet<Names>> {
        let used = |source: &Source| {
            let files = source.paths.iter().filter_map(|path| self.file_of(path));
            files.filter(|file| *file != source.module).collect()
        };
        self.0.iter().map(|(name, it)| (name, used(it))).collect()
    }
}

/// `code` without the lines that are only for tests.
fn without_tests(code: &str) -> String {
    let code = code.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let mut kept = String::new();
    let mut lines = code.lines().peekable();
    while let Some(line) = lines.next() {
        let is_for_tests = ["#[cfg(test)]", "#[cfg(all(test", "#[cfg(shuttle)]"]
            .iter()
            .any(|begin| line.trim_start().starts_with(begin));
        if !is_for_tests {
            kept += line;
            kept.push('\n');
            continue;
        }
        // The following item, to its end at the same depth.
        let mut depth = 0_i32;
        for line in lines.by_ref() {
            let count = |wanted: &[char]| i32::try_from(line.matches(wanted).count()).unwrap();
            depth += count(&['{', '(', '[']) - count(&['}', ')', ']']);
            let is_attribute = line.trim_start().starts_with("#[");
            if depth <= 0 && !is_attribute && line.trim_end().ends_with([';', '}', ',']) {
                break;
            }
        }
    }
    kept
}

/// The paths in a tree of imports below `prefix`, each with its local name.
fn spread(tree: &str, prefix: &[String], into: &mut Vec<(Names, String)>) {
    let tree = tree.trim();
    if let Some((before, inner)) = tree.split_once('{') {
        let mut prefix = prefix.to_vec();
        prefix.extend(segments(before));
        let inner = inner.trim_end().strip_suffix('}').unwrap_or(inner);
        let (mut depth, mut begin) = (0_u32, 0);
        for (at, character) in inner.char_indices() {
            match character {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    spread(&inner[begin..at], &prefix, into);
                    begin = at + 1;
                }
                _ => {}
            }
        }
        spread(&inner[begin..], &prefix, into);
    } else if !tree.is_empty() {
        let (path, alias) = tree.split_once(" as ").unwrap_or((tree, ""));
        let mut names = prefix.to_vec();
        names.extend(segments(path));
        if names.last().is_some_and(|last| last == "self") {
            names.pop();
        }
        let name = match alias.trim() {
            "" | "_" => names.last().cloned().unwrap_or_default(),
            alias => alias.to_owned(),
        };
        into.push((names, name));
    }
}

fn segments(path: &str) -> impl Iterator<Item = String> {
    let segments = path.split("::").map(str::trim);
    segments.filter(|it| !it.is_empty()).map(str::to_owned)
}

/// The absolute form of `path` in `module`; `None` if it is not in the crate.
fn absolute(path: &[String], module: &[String], children: &BTreeSet<String>) -> Option<Names> {
    let mut base = module.to_vec();
    let mut rest = path;
    match rest.first()?.as_str() {
        "crate" => {
            base.clear();
            rest = &rest[1..];
        }
        "self" => rest = &rest[1..],
        "super" => {
            while rest.first().is_some_and(|it| it == "super") {
                base.pop();
                rest = &rest[1..];
            }
        }
        first if children.contains(first) => {}
        _ => return None,
    }
    base.extend_from_slice(rest);
    Some(base)
}

/// The crate's paths that the code of `module` names, and its re-exports.
fn paths_in(code: &str, module: &[String]) -> (Vec<Names>, BTreeMap<String, Names>) {
    let children: BTreeSet<String> = code
        .lines()
        .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod "))
        .filter_map(|rest| rest.strip_suffix(';').map(str::to_owned))
        .collect();
    let (mut paths, mut handed_on) = (Vec::new(), BTreeMap::new());
    // The code without its imports.
    let mut body = String::new();
    let mut rest = code;
    while let Some(at) = rest.find("use ") {
        let before = rest[..at].rsplit('\n').next().unwrap();
        let statement = &rest[at + 4..];
        let end = statement.find(';').unwrap_or(statement.len());
        let is_handed_on = before.trim_start().starts_with("pub");
        if !is_handed_on && !before.trim().is_empty() {
            body += &rest[..at + 4];
            rest = statement;
            continue;
        }
        body += &rest[..at];
        rest = &statement[end..];
        let mut found = Vec::new();
        spread(&statement[..end], &[], &mut found);
        for (names, name) in found {
            if let Some(path) = absolute(&names, module, &children) {
                if is_handed_on {
                    handed_on.insert(name, path);
                } else {
                    paths.push(path);
                }
            }
        }
    }
    body += rest;
    // A re-export counts as used only if the code names it too; strings do not count.
    let body: String = body.split('"').step_by(2).collect();
    let words: BTreeSet<&str> = body
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .collect();
    let used = handed_on
        .iter()
        .filter(|(name, _)| words.contains(name.as_str()));
    paths.extend(used.map(|(_, path)| path.clone()));
    for begin in ["crate::", "super::"] {
        for (at, _) in body.match_indices(begin) {
            let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
            if body[..at].ends_with(is_path) || body[..at].ends_with("pub(in ") {
                continue;
            }
            let path = body[at..].split(|c| !is_path(c)).next().unwrap();
            let names: Names = segments(path).collect();
            paths.extend(absolute(&names, module, &children));
        }
    }
    (paths, handed_on)
}

/// The room of a module: its first part, or the first two in `system`.
fn room_of(module: &[String]) -> String {
    let length = if module[0] == "system" { 2 } else { 1 };
    module[..length.min(module.len())].join("::")
}

/// Which rooms each room may use, according to the crate docs.
fn rooms() -> BTreeMap<String, BTreeSet<String>> {
    let docs = include_str!("../../src/lib.rs");
    let docs = docs.split("# The rooms").nth(1).unwrap();
    let docs = docs.split("//! # ").next().unwrap().replace("//!", "");
    let rows = docs.split("\n - [`").skip(1).map(|row| {
        let (room, rest) = row.split_once("`]").unwrap();
        let used = rest.split_once("Uses ").map_or("", |(_, used)| used);
        let used = used.split('`').skip(1).step_by(2).map(str::to_owned);
        (room.to_owned(), used.collect())
    });
    rows.collect()
}

#[test]
fn paths_are_found_in_trees_and_in_code() {
    let module = ["a".to_owned(), "b".to_owned()];
    let (paths, handed_on) = paths_in(
        "mod c;\npub use c::{D, E as F};\nuse super::{g::{self, H}, i};\nuse std::io;\n\
         fn f() -> F { crate::j::k() }\n",
        &module,
    );
    let paths: Vec<String> = paths.iter().map(|path| path.join("::")).collect();
    assert_eq!(paths, ["a::g", "a::g::H", "a::i", "a::b::c::E", "j::k"]);
    assert_eq!(handed_on["F"], ["a", "b", "c", "E"]);
    let code = without_tests("a\n#[cfg(test)]\nfn b() {\n    c();\n}\nd\n");
    assert_eq!(code, "a\nd\n");
}

#[test]
fn rooms_use_what_the_crate_docs_say_and_nothing_else() {
    let (house, rooms) = (House::read(), rooms());
    let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (module, files) in house.arrows() {
        let room = room_of(module);
        let others = files.iter().map(|file| room_of(file));
        let others: Vec<String> = others.filter(|other| *other != room).collect();
        used.entry(room).or_default().extend(others);
    }
    // This room consists of rooms.
    used.remove("system");
    let mut faults = Vec::new();
    for (room, used) in &used {
        let Some(allowed) = rooms.get(room) else {
            faults.push(format!("{room} is not in the crate docs"));
            continue;
        };
        let is_allowed = |other: &String| {
            allowed.contains(other) || allowed.contains(other.split("::").next().unwrap())
        };
        let more = used.iter().filter(|other| !is_allowed(other));
        faults.extend(more.map(|other| format!("{room} may not use {other}")));
        let is_used = |other: &&String| {
            let begin = format!("{other}::");
            used.contains(*other) || used.iter().any(|it| it.starts_with(&begin))
        };
        let less = allowed.iter().filter(|other| !is_used(other));
        faults.extend(less.map(|other| format!("{room} does not use {other}")));
    }
    let unknown = rooms.keys().filter(|room| !used.contains_key(*room));
    faults.extend(unknown.map(|room| format!("{room} does not exist")));
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// All files that `begin` uses, directly and indirectly.
fn reach(arrows: &BTreeMap<&Names, BTreeSet<Names>>, begin: &Names) -> BTreeSet<Names> {
    let (mut reached, mut next) = (BTreeSet::new(), vec![begin]);
    while let Some(file) = next.pop() {
        let used = arrows.get(file).into_iter().flatten();
        next.extend(used.filter(|file| reached.insert((*file).clone())));
    }
    reached
}

#[test]
fn there_is_no_circle_of_files() {
    let house = House::read();
    let arrows = house.arrows();
    assert!(arrows.values().map(BTreeSet::len).sum::<usize>() > 300);
    let mut circles = Vec::new();
    for (module, files) in &arrows {
        let back = |file: &&Names| reach(&arrows, file).contains(*module);
        let files: Vec<String> = files
            .iter()
            .filter(back)
            .map(|file| file.join("::"))
            .collect();
        if !files.is_empty() {
            circles.push(format!("{} -> {}", module.join("::"), files.join(", ")));
        }
    }
    assert!(circles.is_empty(), "{}", circles.join("\n"));
}

#[test]
fn the_methods_of_a_type_are_in_one_file() {
    let house = House::read();
    let mut files: BTreeMap<(Names, String), BTreeSet<String>> = BTreeMap::new();
    for source in house.0.values() {
        for line in source.code.lines() {
            let Some(rest) = line.strip_prefix("impl") else {
                continue;
            };
            if line.contains(" for ") || !rest.starts_with([' ', '<']) {
                continue;
            }
            let rest = rest.strip_prefix('<').map_or(rest, |generics| {
                generics.split_once("> ").map_or(generics, |(_, rest)| rest)
            });
            let is_name = |c: char| c.is_alphanumeric() || c == '_';
            let name = rest.trim_start().split(|c| !is_name(c)).next().unwrap();
            let imported = source
                .paths
                .iter()
                .find(|path| path.ends_with(&[name.to_owned()]));
            let path = imported.map_or_else(|| source.module.clone(), Clone::clone);
            let defined = house.file_of(&path).unwrap();
            let file = source.module.join("::");
            files
                .entry((defined, name.to_owned()))
                .or_default()
                .insert(file);
        }
    }
    assert!(files.len() > 150);
    let faults = files.iter().filter(|(_, files)| files.len() > 1);
    let faults: Vec<_> = faults
        .map(|((_, name), files)| format!("{name}: {files:?}"))
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
