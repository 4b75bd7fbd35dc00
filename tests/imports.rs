//! The one-way import rule of `docs/ARCHITECTURE.md`, checked on the text of `src/`:
//! reactor -> connection, secure -> session -> protocol; reactor -> worker -> storage, catalog, protocol. Session and worker
//! meet only in the plain data of `job`. Going round through another module does not help.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Who may not reach whom. `main.rs`, `lib.rs` and modules that are not named here may use everything, as long as
/// nobody named here uses them to get where they may not.
const FORBIDDEN: [(&str, &[&str]); 7] = [
    ("secure", &["reactor", "worker", "storage", "catalog"]),
    ("connection", &["reactor", "worker", "storage", "catalog"]),
    ("session", &["reactor", "connection", "worker", "storage", "catalog"]),
    ("worker", &["reactor", "connection", "session"]),
    ("storage", &["reactor", "connection", "session", "worker"]),
    ("catalog", &["reactor", "connection", "session", "worker"]),
    ("job", &["reactor", "connection", "session", "worker"]),
];

/// What session and worker share. It is checked for itself, and who uses it does not thereby use what it is made of.
const SHARED: &str = "job";

/// Which top-level modules each top-level module uses. The crate's own files are `main` and `lib`.
type Uses = BTreeMap<String, BTreeSet<String>>;

/// A source file: its path below `src`, and its text.
type Source = (PathBuf, String);

#[test]
fn imports_run_one_way() {
    let sources = sources();
    let uses = uses(&sources);
    for folder in modules_on_disk() {
        assert!(uses.contains_key(&folder), "src/{folder} was not inspected");
    }
    let violations = violations(&uses);
    assert!(violations.is_empty(), "imports against the rule:\n{}", violations.join("\n"));
}

/// Top-level modules by what lies in `src`, found in another way than the sources are.
fn modules_on_disk() -> Vec<String> {
    let entries = fs::read_dir(root()).expect("there is a src");
    let stems = entries.map(|entry| PathBuf::from(entry.expect("it can be read").file_name()));
    stems.map(|name| name.with_extension("").to_string_lossy().into_owned()).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn sources() -> Vec<Source> {
    let mut sources = vec![];
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder can be read") {
            let path = entry.expect("an entry can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source is text");
                let below = path.strip_prefix(root()).expect("it lies in src").to_owned();
                sources.push((below, text));
            }
        }
    }
    sources
}

fn uses(sources: &[Source]) -> Uses {
    let modules: BTreeSet<String> =
        sources.iter().map(|(path, _)| module_path(path)[0].clone()).collect();
    let exported = reexports(sources, &modules);
    let mut uses: Uses = modules.iter().map(|module| (module.clone(), BTreeSet::new())).collect();
    for (path, text) in sources {
        let own = module_path(path);
        for name in roots(&tokens(text), own.len()) {
            let module = exported.get(&name).unwrap_or(&name);
            if modules.contains(module) && *module != own[0] {
                uses.get_mut(&own[0]).expect("every module has an entry").insert(module.clone());
            }
        }
    }
    uses
}

/// What `lib.rs` exports under a name of the crate's root, and the module that it comes from.
fn reexports(sources: &[Source], modules: &BTreeSet<String>) -> BTreeMap<String, String> {
    let text =
        sources.iter().find(|(path, _)| path == Path::new("lib.rs")).map(|(_, text)| tokens(text));
    let tokens = text.unwrap_or_default();
    let mut exported = BTreeMap::new();
    for statement in tokens.split(|token| token == ";") {
        let Some(start) = statement.iter().position(|token| token == "use") else { continue };
        let Some(module) = statement[start..].iter().find(|token| modules.contains(*token)) else {
            continue;
        };
        for name in statement[start..].iter().filter(|token| is_name(token)) {
            exported.insert(name.clone(), module.clone());
        }
    }
    exported.retain(|name, _| !modules.contains(name));
    exported
}

/// `session/open.rs` is `[session, open]`, `session/mod.rs` is `[session]`.
fn module_path(path: &Path) -> Vec<String> {
    let names = path.with_extension("");
    let mut names: Vec<String> =
        names.iter().map(|name| name.to_string_lossy().into_owned()).collect();
    if names.len() > 1 && names.last().is_some_and(|name| name == "mod") {
        names.pop();
    }
    names
}

/// The first names behind `crate::`, `cofferd::`, and as many `super::` as lead out of a module `depth` deep.
fn roots(tokens: &[String], depth: usize) -> Vec<String> {
    let mut found = vec![];
    let mut at = 0;
    while at < tokens.len() {
        let supers = tokens[at..].chunks(2).take_while(|pair| *pair == ["super", "::"]).count();
        if matches!(tokens[at].as_str(), "crate" | "cofferd") && follows(tokens, at + 1, "::") {
            found.extend(heads(&tokens[at + 2..]));
            at += 2;
        } else if supers > 0 {
            at += 2 * supers;
            if supers >= depth {
                found.extend(heads(&tokens[at..]));
            }
        } else {
            at += 1;
        }
    }
    found
}

/// The first name of a path, or of each path in a group.
fn heads(tokens: &[String]) -> Vec<String> {
    if !follows(tokens, 0, "{") {
        return tokens.first().cloned().into_iter().collect();
    }
    let mut heads = vec![];
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate() {
        match token.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ if depth == 1 && matches!(tokens[at - 1].as_str(), "{" | ",") => {
                heads.push(token.clone());
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    heads
}

fn follows(tokens: &[String], at: usize, wanted: &str) -> bool {
    tokens.get(at).is_some_and(|token| token == wanted)
}

fn is_name(token: &str) -> bool {
    token.starts_with(|letter: char| letter.is_alphabetic() || letter == '_')
}

/// Names, `::` and single signs; no comments, and of strings only the quotes.
fn tokens(text: &str) -> Vec<String> {
    let text = without_comments_and_strings(text);
    let mut tokens: Vec<String> = vec![];
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
        let length = if rest.starts_with("::") {
            2
        } else if is_part(first) {
            rest.find(|letter| !is_part(letter)).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        tokens.push(rest[..length].to_owned());
        rest = rest[length..].trim_start();
    }
    tokens
}

/// Good enough for our own sources: a raw string or a character that holds a quote could hide what follows in its
/// line, but no line below it.
fn without_comments_and_strings(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    for line in text.lines() {
        let line = line.replace("\\\"", "").replace("'\"'", "");
        for (n, part) in line.split('"').enumerate() {
            if n % 2 == 0 {
                let (before, comment) =
                    part.split_once("//").map_or((part, false), |(b, _)| (b, true));
                code.push_str(before);
                if comment {
                    break;
                }
            }
        }
        code.push('\n');
    }
    code
}

/// Every forbidden way, one a line, with all the modules on it.
fn violations(uses: &Uses) -> Vec<String> {
    let mut violations = vec![];
    for (from, targets) in FORBIDDEN {
        let ways = ways(uses, from);
        for target in targets {
            if let Some(way) = ways.get(*target) {
                violations.push(way.join(" -> "));
            }
        }
    }
    violations
}

/// A shortest way from a module to each that it reaches, not through what is shared.
fn ways(uses: &Uses, from: &str) -> BTreeMap<String, Vec<String>> {
    let mut ways = BTreeMap::from([(from.to_owned(), vec![from.to_owned()])]);
    let mut open = vec![from.to_owned()];
    while !open.is_empty() {
        let mut next = vec![];
        for module in open.iter().filter(|module| from == SHARED || *module != SHARED) {
            for used in uses.get(module).into_iter().flatten() {
                if !ways.contains_key(used) {
                    let way = [ways[module].clone(), vec![used.clone()]].concat();
                    ways.insert(used.clone(), way);
                    next.push(used.clone());
                }
            }
        }
        open = next;
    }
    ways
}

/// The same check on sources made up for it.
fn found(sources: &[(&str, &str)]) -> Vec<String> {
    let names =
        ["reactor", "connection", "session", "worker", "storage", "catalog", "job", "limits"];
    let mut all: Vec<Source> =
        names.iter().map(|name| (PathBuf::from(format!("{name}/mod.rs")), String::new())).collect();
    all.extend(sources.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned())));
    violations(&uses(&all))
}

#[test]
fn what_the_rule_allows_passes() {
    let sources = [
        ("reactor/tick.rs", "use crate::{connection::Connection, worker, job::Job};"),
        ("connection/windows.rs", "use crate::session::Session;"),
        ("session/mod.rs", "use crate::job::{Job, worker};\nuse super::limits;"),
        ("worker/pool.rs", "use crate::{storage, catalog::{self, Change}, job};"),
        ("job.rs", "use crate::storage::BlobId;"),
        ("main.rs", "use cofferd::reactor; fn main() { cofferd::session::f() }"),
        (
            "session/words.rs",
            "// use crate::worker\nconst W: &str = \"crate::worker\";\nuse super::worker;",
        ),
    ];
    assert_eq!(found(&sources), Vec::<String>::new());
}

#[test]
fn every_form_of_a_forbidden_import_is_found() {
    let forms = [
        ("session/mod.rs", "use crate::worker::Pool;"),
        ("session/mod.rs", "use crate::{\n    limits::A,\n    worker::{self, Pool},\n};"),
        ("session/open.rs", "fn f() { crate::worker::run() }"),
        ("session/open.rs", "use super::super::worker;"),
        ("session.rs", "use super::{job, worker};"),
        ("session/open.rs", "use cofferd::worker::Pool;"),
        ("session/open.rs", "const A: &str = \"//\"; use crate::worker;"),
    ];
    for form in forms {
        assert_eq!(found(&[form]), ["session -> worker"], "{form:?}");
    }
}

#[test]
fn a_way_round_is_found() {
    let round =
        [("session/mod.rs", "use crate::limits::A;"), ("limits.rs", "use crate::worker::B;")];
    assert_eq!(found(&round), ["session -> limits -> worker"]);
    let exported =
        [("lib.rs", "pub use worker::{Pool, Crew as Team};"), ("session/a.rs", "use crate::Team;")];
    assert_eq!(found(&exported), ["session -> worker"]);
    let shared = [("job.rs", "use crate::worker::Pool;")];
    assert_eq!(found(&shared), ["job -> worker"]);
}

#[test]
fn nobody_named_may_use_the_reactor() {
    for name in ["connection", "session", "worker", "storage", "catalog", "job"] {
        let path = format!("{name}/x.rs");
        assert_eq!(found(&[(&path, "use crate::reactor::Tick;")]), [format!("{name} -> reactor")]);
    }
}
