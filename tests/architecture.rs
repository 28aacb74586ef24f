//! The imports of `src/` against the arrows that ARCHITECTURE.md allows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use walkdir::WalkDir;

/// Used by every room.
const EVERYWHERE: &[&str] = &["error", "Error", "Result"];
/// Not rooms: the crate's front page and the binary.
const FRONT: &[&str] = &["lib", "main", "error"];
/// Crates that only the edge knows.
const EDGE: &[(&str, &[&str])] = &[("clap", &["cli", "main"]), ("anyhow", &["cli", "main"])];
const LONGEST: usize = 500;

type Arrows = BTreeMap<String, BTreeSet<String>>;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn page() -> String {
    std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap()
}

/// The rows below the table heading that starts with `first`, by cells without backticks.
fn table(page: &str, first: &str) -> Vec<Vec<String>> {
    let rows = page.lines().skip_while(|line| !line.starts_with(first));
    rows.skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells = line.trim_matches('|').split('|');
            cells.map(|cell| cell.trim().replace('`', "")).collect()
        })
        .collect()
}

fn names(cell: &str) -> BTreeSet<String> {
    let names = cell.split(',').map(str::trim);
    names.filter(|n| !n.is_empty()).map(String::from).collect()
}

/// A source file, its module path below the crate, and its text without comments.
struct Source {
    path: PathBuf,
    module: Vec<String>,
    code: String,
}

fn sources() -> Vec<Source> {
    let src = root().join("src");
    let files = WalkDir::new(&src).into_iter().map(Result::unwrap);
    files
        .filter(|entry| entry.path().extension().is_some_and(|e| e == "rs"))
        .map(|entry| {
            let relative = entry.path().strip_prefix(&src).unwrap().with_extension("");
            let mut module: Vec<String> = relative
                .iter()
                .map(|part| part.to_str().unwrap().to_string())
                .collect();
            if module.last().is_some_and(|last| last == "mod") {
                module.pop();
            }
            let text = std::fs::read_to_string(entry.path()).unwrap();
            let lines = text.lines().map(|l| l.split("//").next().unwrap_or(""));
            Source {
                path: entry.path().strip_prefix(root()).unwrap().to_path_buf(),
                module,
                code: lines.collect::<Vec<_>>().join("\n"),
            }
        })
        .collect()
}

/// The first names of every path that starts with `prefix` (`crate::`): of `crate::a::b` `a`, of
/// `crate::{a::{b, c}, d}` `a` and `d`.
fn firsts(code: &str, prefix: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        // `my_crate::x` is another path.
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &code[at + prefix.len()..];
        match rest.strip_prefix('{') {
            None => found.extend(identifier(rest)),
            Some(group) => {
                let mut depth = 0;
                let mut start = 0;
                for (i, c) in group.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth > 0 => depth -= 1,
                        ',' | '}' if depth == 0 => {
                            found.extend(identifier(group[start..i].trim_start()));
                            start = i + 1;
                            if c == '}' {
                                break;
                            }
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    found
}

fn identifier(text: &str) -> Option<String> {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
    let name = &text[..end.unwrap_or(text.len())];
    (!name.is_empty()).then(|| name.to_string())
}

/// The rooms a file reaches by `crate::` or by as many `super::` as lead to the crate's root.
fn reached(source: &Source, rooms: &BTreeSet<String>) -> BTreeSet<String> {
    let mut reached: BTreeSet<String> = firsts(&source.code, "crate::").into_iter().collect();
    let to_root = "super::".repeat(source.module.len());
    reached.extend(firsts(&source.code, &to_root));
    reached.retain(|name| rooms.contains(name));
    reached
}

fn allowed() -> Arrows {
    let rows = table(&page(), "| room |").into_iter();
    rows.map(|row| (row[0].clone(), names(&row[2]))).collect()
}

#[test]
fn the_page_names_every_room() {
    let rooms: BTreeSet<String> = sources()
        .iter()
        .map(|source| source.module[0].clone())
        .filter(|room| !FRONT.contains(&room.as_str()))
        .collect();
    let on_the_page: BTreeSet<String> = allowed().into_keys().collect();
    assert_eq!(rooms, on_the_page);
}

#[test]
fn arrows_go_up_the_page_only() {
    let mut above = BTreeSet::new();
    for row in table(&page(), "| room |") {
        let used = names(&row[2]);
        assert!(used.is_subset(&above), "`{}` uses a room below it", row[0]);
        above.insert(row[0].clone());
    }
}

#[test]
fn no_import_goes_where_the_page_has_no_arrow() {
    let allowed = allowed();
    let rooms: BTreeSet<String> = allowed.keys().cloned().collect();
    let mut faults = Vec::new();
    for source in sources() {
        let room = &source.module[0];
        let Some(allowed) = allowed.get(room) else {
            continue;
        };
        for used in reached(&source, &rooms) {
            let free = used == *room || EVERYWHERE.contains(&used.as_str());
            if !free && !allowed.contains(&used) {
                faults.push(format!("{}: {room} uses {used}", source.path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn only_the_edge_knows_the_command_line() {
    for source in sources() {
        for (outside, at) in EDGE {
            let known = source.code.contains(&format!("{outside}::"));
            let edge = at.contains(&source.module[0].as_str());
            assert!(!known || edge, "{} uses {outside}", source.path.display());
        }
    }
}

#[test]
fn a_family_of_models_uses_no_other() {
    let models: Vec<Source> = sources()
        .into_iter()
        .filter(|source| source.module[0] == "models" && source.module.len() > 1)
        .collect();
    // A family is what implements `Architecture`.
    let families: BTreeSet<String> = models
        .iter()
        .filter(|source| source.code.contains("impl Architecture for"))
        .map(|source| source.module[1].clone())
        .collect();
    assert!(families.len() > 5, "{families:?}");
    let rows = table(&page(), "| family |").into_iter();
    let allowed: Arrows = rows.map(|row| (row[0].clone(), names(&row[1]))).collect();
    let mut faults = Vec::new();
    for source in models.iter().filter(|s| families.contains(&s.module[1])) {
        let family = &source.module[1];
        let mut used = firsts(&source.code, "crate::models::");
        used.extend(firsts(
            &source.code,
            &"super::".repeat(source.module.len() - 1),
        ));
        for used in used {
            let free = used == *family || allowed.get(family).is_some_and(|a| a.contains(&used));
            if families.contains(&used) && !free {
                faults.push(format!("{}: {family} uses {used}", source.path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn no_file_is_long() {
    for source in sources() {
        let text = std::fs::read_to_string(root().join(&source.path)).unwrap();
        let lines = text.lines().count();
        assert!(lines <= LONGEST, "{}: {lines} lines", source.path.display());
    }
}

/// Byte order marks and UTF-16 are known in one place, `files::text`.
#[test]
fn text_files_are_read_in_one_place() {
    // What the system writes, what no editor touches, and what is read from a stream.
    const OTHERS: &[&str] = &[
        "src/files/text.rs",
        "src/distill/run/preflight.rs",
        "src/hub/cache.rs",
        "src/models/text/bpe.rs",
        "src/report/environment.rs",
        "src/tasks/latency/memory.rs",
    ];
    for source in sources() {
        let path = source.path.to_string_lossy();
        let code = source.code.split("#[cfg(test)]").next().unwrap();
        let free = path.starts_with("src/runtime/") || OTHERS.contains(&path.as_ref());
        let reads = code.contains("read_to_string(");
        assert!(
            free || !reads,
            "{path} reads a text file by itself; use crate::files::text"
        );
    }
}

#[test]
fn the_page_names_files_that_are_there() {
    let page = page();
    let quoted = page.split('`').skip(1).step_by(2);
    let paths = quoted.filter(|text| text.starts_with("src/") || text.starts_with("tests/"));
    let mut seen = 0;
    for path in paths {
        assert!(root().join(path).exists(), "{path} is not there");
        seen += 1;
    }
    assert!(seen > 10);
}

#[test]
fn imports_are_found_in_every_form() {
    let code = "use crate::{\n    Error, a::{b, c},\n    d,\n};\nuse crate::e::F;\nlet x = crate::g::h();\nuse my_crate::no;";
    assert_eq!(firsts(code, "crate::"), ["Error", "a", "d", "e", "g"]);
    let source = Source {
        path: PathBuf::new(),
        module: vec!["tasks".into(), "knn".into()],
        code: "use super::super::cli::Cli; use super::rows;".into(),
    };
    let rooms = ["cli", "rows"].map(String::from).into();
    assert_eq!(reached(&source, &rooms), ["cli".to_string()].into());
}
