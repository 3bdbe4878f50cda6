//! The house, held to its promises by a machine that reads its source text.
//!
//! Each promise is a test whose name says it; one that is broken lists every place, as `path:line: what`. The
//! rules behind the promises are functions from a path and a text to a list of violations, and the module
//! [`red`] shows each of them a breach. Code that breaks a rule is changed; the rule stays.

#[path = "tidy/red.rs"]
mod red;
#[path = "tidy/repository.rs"]
mod repository;
#[path = "tidy/rust.rs"]
mod rust;

use std::collections::BTreeSet;

use repository::{dependency_tree, depth_of, files_below, is_test_file, module_of, modules, read, root};
use rust::*;

/// The architecture, lowest floor first. A module uses modules of lower floors, and never its neighbours.
const FLOORS: &[&[&str]] = &[
    &["error", "sync"],
    &["model", "mutant"],
    &["config", "clock", "file_name", "partitioner", "checkpoint", "producer_snapshot"],
    &["record_batch", "vfs", "agenda"],
    &["group"],
    &["segment", "ends_file"],
    &["partition_log"],
    &["broker"],
    &["producer", "consumer", "inspect", "simulator"],
    &["lib", "internals", "defaults", "durability"],
    &["bin"],
];

/// The only door to locks, conditions, atomics and threads.
const SYNC: &str = "src/sync/";
/// The half of it that the model checker's build has, and no user's.
const CHECKED: &str = "src/sync/checked.rs";
/// The only reader of the time.
const CLOCK: &str = "src/clock.rs";
/// The only place with `unsafe`.
const MAP: &str = "src/vfs/map.rs";
/// With [`MAP`] and [`LOCK`], the only caller of the operating system.
const OS: &str = "src/vfs/os.rs";
const LOCK: &str = "src/vfs/lock.rs";

/// The command line: a crate of its own, which is a user of the library like any other.
const BIN: &str = "src/bin/";

/// A file with more lines is more than one noun.
const MAX_LINES: usize = 500;

// ---- The promises ----

#[test]
fn a_module_uses_only_lower_floors() {
    holds(floors, &["src"]);
}

#[test]
fn every_module_stands_on_a_floor_and_every_floor_holds_what_exists() {
    none(&misplaced_modules(&modules()));
}

#[test]
fn every_file_begins_by_saying_what_it_is() {
    holds(introduction, &["src", "tests", "examples", "benches", "fuzz/fuzz_targets"]);
}

#[test]
fn unsafe_stands_in_one_file() {
    holds(unsafe_code, &["src"]);
}

#[test]
fn only_the_real_file_system_calls_the_operating_system() {
    holds(operating_system, &["src"]);
}

#[test]
fn only_the_clock_reads_the_time() {
    holds(time, &["src"]);
}

#[test]
fn locks_conditions_atomics_and_threads_come_through_one_door() {
    holds(synchronisation, &["src"]);
}

#[test]
fn the_library_neither_panics_nor_prints() {
    holds(panics_and_prints, &["src"]);
}

#[test]
fn nothing_is_skipped_or_put_off() {
    holds(unfinished, &["."]);
}

#[test]
fn nothing_sleeps() {
    holds(sleeps, &["src", "tests", "examples"]);
}

#[test]
fn an_exception_from_a_lint_carries_its_reason() {
    holds(reasons, &["src"]);
}

#[test]
fn a_source_file_is_one_noun_long() {
    holds(length, &["src", "examples"]);
}

#[test]
fn no_file_names_a_package_registry_or_a_developers_machine() {
    let files = files_below(&root());
    none(&files.iter().flat_map(|file| foreign_places(file, &read(file))).collect::<Vec<_>>());
}

#[test]
fn the_readme_states_the_default_dependency_tree() {
    none(&dependencies(&read("README.md"), &dependency_tree()));
}

#[test]
fn the_architecture_page_maps_every_module() {
    none(&code_map(&read("ARCHITECTURE.md"), &modules(), |path| root().join(path).exists()));
}

/// Fails with every violation of the rule in the Rust files of the folders.
fn holds(rule: Rule, folders: &[&str]) {
    let files: Vec<_> = folders.iter().flat_map(|folder| files_below(&root().join(folder))).collect();
    let files: Vec<_> = files.iter().filter(|file| file.ends_with(".rs")).collect();
    assert!(!files.is_empty(), "no source in {folders:?}");
    none(&files.iter().flat_map(|file| rule(file, &read(file))).collect::<Vec<_>>());
}

fn none(violations: &[String]) {
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

// ---- The rules ----

/// Reads the text of the file at a path, relative to the repository; returns what is wrong with it.
type Rule = fn(&str, &str) -> Vec<String>;

fn floors(file: &str, text: &str) -> Vec<String> {
    let own = module_of(file);
    // What the command line calls `crate` is itself.
    if own == "lib" || own == "bin" {
        return Vec::new();
    }
    let tokens = tokens(text);
    let depths = inline_depths(&tokens);
    let mut violations = renamed_roots(file, &tokens);
    for path in paths(&tokens) {
        let above_root = depth_of(file) + depths[path.at] < 2;
        match path.without_self() {
            ["crate", used, ..] if !may_use(own, used) => {
                let what = format!("{own} uses crate::{used}, which stands on no lower floor");
                violations.push(violation(file, path.line, &what));
            }
            ["super", "super", ..] => {
                violations.push(violation(file, path.line, "super::super climbs too far"));
            }
            ["super", _, ..] if above_root => {
                violations.push(violation(file, path.line, "super:: leaves the module"));
            }
            _ => {}
        }
    }
    violations
}

/// `use crate as other` would hide what is used.
fn renamed_roots(file: &str, tokens: &[Token<'_>]) -> Vec<String> {
    let renamed =
        tokens.windows(2).filter(|pair| matches!(pair[0].text, "crate" | "super") && pair[1].text == "as");
    renamed
        .map(|pair| violation(file, pair[0].line, &format!("{} gets another name", pair[0].text)))
        .collect()
}

fn may_use(own: &str, used: &str) -> bool {
    // What is no module is an item of the crate's root.
    let used = if floor_of(used).is_some() { used } else { "lib" };
    own == used || floor_of(used) < floor_of(own)
}

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

fn misplaced_modules(modules: &[String]) -> Vec<String> {
    let exists: BTreeSet<_> = modules.iter().map(|path| module_of(path)).collect();
    let placed: BTreeSet<_> = FLOORS.iter().copied().flatten().copied().collect();
    let homeless = exists.difference(&placed).map(|module| format!("src:1: {module} stands on no floor"));
    let gone =
        placed.difference(&exists).map(|module| format!("tests/tidy.rs:1: there is no module {module}"));
    homeless.chain(gone).collect()
}

fn introduction(file: &str, text: &str) -> Vec<String> {
    let first = text.lines().next().unwrap_or_default();
    match first.strip_prefix("//! ") {
        Some(says) if !says.trim().is_empty() => Vec::new(),
        _ => vec![violation(file, 1, "does not begin with a `//!` line that says what it is")],
    }
}

fn unsafe_code(file: &str, text: &str) -> Vec<String> {
    if file == MAP {
        return Vec::new();
    }
    let tokens = tokens(text);
    let mut violations = banned(file, &tokens, &["unsafe"], MAP);
    for exception in lint_exceptions(&tokens) {
        violations.extend(banned(file, exception, &["unsafe_code"], MAP));
    }
    violations
}

fn operating_system(file: &str, text: &str) -> Vec<String> {
    if [OS, LOCK, MAP].contains(&file) || file.starts_with(BIN) {
        return Vec::new();
    }
    let tokens = tokens(text);
    let mut violations = banned(file, &tokens, &["nix", "memmap2"], OS);
    // Tests look behind the crate's back, at real files.
    violations.extend(banned(file, &production(file, &tokens), &["std::fs"], OS));
    violations
}

fn time(file: &str, text: &str) -> Vec<String> {
    let names: &[&str] = match file {
        CLOCK => &[],
        _ if file.starts_with(BIN) => &[],
        // A timed wait ends at an instant, which the clock has read.
        _ if file.starts_with(SYNC) => &["SystemTime", "Instant::now"],
        _ => &["SystemTime", "Instant"],
    };
    banned(file, &tokens(text), names, CLOCK)
}

fn synchronisation(file: &str, text: &str) -> Vec<String> {
    if file.starts_with(SYNC) || file.starts_with(BIN) {
        return Vec::new();
    }
    let tokens = tokens(text);
    let names = ["parking_lot", "shuttle", "thread_local", "thread::spawn", "thread::Builder"];
    let mut violations = banned(file, &tokens, &names, SYNC);
    for path in paths(&tokens) {
        match path.segments[..] {
            ["std" | "core", "sync", "Arc" | "Weak", ..] => {}
            ["std" | "core", "sync", ..] => violations.push(misplaced(file, path.line, "std::sync", SYNC)),
            _ => {}
        }
    }
    violations
}

fn panics_and_prints(file: &str, text: &str) -> Vec<String> {
    const METHODS: [&str; 4] = ["unwrap", "expect", "unwrap_err", "expect_err"];
    const MACROS: [&str; 9] =
        ["panic", "todo", "unimplemented", "unreachable", "dbg", "println", "eprintln", "print", "eprint"];
    if file == CHECKED {
        return Vec::new();
    }
    let tokens = production(file, &tokens(text));
    let found =
        tokens.windows(3).filter_map(|window| match [window[0].text, window[1].text, window[2].text] {
            ["." | "::", method, _] if METHODS.contains(&method) => Some((window[1].line, method)),
            [name, "!", "(" | "[" | "{"] if MACROS.contains(&name) => Some((window[0].line, name)),
            _ => None,
        });
    found.map(|(line, name)| violation(file, line, &format!("{name} in library code"))).collect()
}

fn unfinished(file: &str, text: &str) -> Vec<String> {
    // Written in parts, so that this file does not hold them.
    const MARKS: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")];
    let mut violations = lines_with(file, text, &MARKS);
    for attribute in attributes(&tokens(text)) {
        violations.extend(banned(file, attribute, &["ignore"], "no test"));
    }
    violations
}

fn sleeps(file: &str, text: &str) -> Vec<String> {
    banned(file, &tokens(text), &["thread::sleep"], "neither library nor tests: wait for what happens")
}

fn reasons(file: &str, text: &str) -> Vec<String> {
    let tokens = tokens(text);
    let bare = lint_exceptions(&tokens).into_iter().filter(|exception| {
        !exception.windows(2).any(|pair| pair[0].text == "reason" && pair[1].text == "=")
    });
    bare.map(|exception| violation(file, exception[0].line, "an exception from a lint without a reason"))
        .collect()
}

fn length(file: &str, text: &str) -> Vec<String> {
    let lines = text.lines().count();
    if lines <= MAX_LINES || is_test_file(file) {
        return Vec::new();
    }
    vec![violation(file, lines, &format!("more than {MAX_LINES} lines: is it one noun?"))]
}

fn foreign_places(file: &str, text: &str) -> Vec<String> {
    // Written in parts, so that this file does not hold them.
    const PLACES: [&str; 7] = [
        concat!("index.", "crates.io"),
        concat!("static.", "crates.io"),
        concat!("pypi", ".org"),
        concat!("registry.", "npmjs"),
        concat!("repo1.", "maven"),
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
    ];
    lines_with(file, text, &PLACES)
}

/// Compares the README with what `cargo tree` prints, one crate a line.
fn dependencies(readme: &str, tree: &str) -> Vec<String> {
    const MARK: &str = "<!-- dependency-tree -->";
    let list = readme.split_once(MARK).and_then(|(before, behind)| {
        let fenced = behind.trim_start().strip_prefix("```text")?.split_once("```")?.0;
        Some((before.lines().count() + 1, fenced))
    });
    let Some((line, fenced)) = list else {
        return vec![violation("README.md", 1, &format!("no line `{MARK}` with a ```text block behind it"))];
    };
    let stated: BTreeSet<_> = fenced.split_whitespace().collect();
    let real: BTreeSet<_> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let unstated = real.difference(&stated).map(|name| format!("does not state the dependency {name}"));
    let unreal = stated.difference(&real).map(|name| format!("states {name}, which is no dependency"));
    unstated.chain(unreal).map(|what| violation("README.md", line, &what)).collect()
}

/// Compares the paths that the page mentions with those that exist; `modules` ends each folder with a slash.
fn code_map(page: &str, modules: &[String], exists: impl Fn(&str) -> bool) -> Vec<String> {
    const PAGE: &str = "ARCHITECTURE.md";
    let mentions = source_paths(page);
    let unmapped =
        modules.iter().filter(|module| !mentions.iter().any(|(_, path)| path.starts_with(*module)));
    let gone = mentions.iter().filter(|(_, path)| !exists(path));
    let unmapped = unmapped.map(|module| violation(PAGE, 1, &format!("does not mention {module}")));
    unmapped.chain(gone.map(|(line, path)| violation(PAGE, *line, &format!("there is no {path}")))).collect()
}

/// Each `src/…` that a page mentions, with its line.
fn source_paths(page: &str) -> Vec<(usize, &str)> {
    let is_inside = |c: char| c.is_alphanumeric() || "_-./".contains(c);
    let words =
        numbered(page).flat_map(|(number, line)| line.split(|c| !is_inside(c)).map(move |w| (number, w)));
    let paths = words.filter(|(_, word)| word.starts_with("src/"));
    paths.map(|(number, word)| (number, word.trim_end_matches('.'))).collect()
}

/// Reports every path of the code that holds one of `names`, each a path as well.
fn banned(file: &str, tokens: &[Token<'_>], names: &[&str], place: &str) -> Vec<String> {
    let mut violations = Vec::new();
    for path in paths(tokens) {
        let held = names.iter().filter(|name| path.holds(name));
        violations.extend(held.map(|name| misplaced(file, path.line, name, place)));
    }
    violations
}

fn lines_with(file: &str, text: &str, marks: &[&str]) -> Vec<String> {
    let mut violations = Vec::new();
    for (number, line) in numbered(text) {
        let held = marks.iter().filter(|mark| line.contains(*mark));
        violations.extend(held.map(|mark| violation(file, number, &format!("holds {mark}"))));
    }
    violations
}

fn misplaced(file: &str, line: usize, name: &str, place: &str) -> String {
    violation(file, line, &format!("{name} belongs to {place}"))
}

fn violation(file: &str, line: usize, what: &str) -> String {
    format!("{file}:{line}: {what}")
}
