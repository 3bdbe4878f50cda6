//! The house, held to its promises by a machine that reads its source text.
//!
//! Each promise is a test whose name says it; one that is broken lists every place, as `path:line: what`. The
//! rules behind the promises are functions from a path and a text to a list of violations, and the module
//! [`red`] shows each of them a breach. Code that breaks a rule is changed; the rule stays.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The architecture, lowest floor first. A module uses modules of lower floors, and never its neighbours.
const FLOORS: &[&[&str]] = &[
    &["error", "sync"],
    &["model"],
    &["config", "clock", "file_name", "partitioner"],
    &["record_batch", "vfs"],
    &["segment", "ends_file"],
    &["partition_log"],
    &["broker"],
    &["producer", "consumer"],
    &["lib", "internals"],
];

/// The only door to locks, conditions, atomics and threads.
const SYNC: &str = "src/sync.rs";
/// The only reader of the time.
const CLOCK: &str = "src/clock.rs";
/// The only place with `unsafe`.
const MAP: &str = "src/vfs/map.rs";
/// With [`MAP`], the only caller of the operating system.
const OS: &str = "src/vfs/os.rs";

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
    holds(sleeps, &["src", "tests"]);
}

#[test]
fn an_exception_from_a_lint_carries_its_reason() {
    holds(reasons, &["src"]);
}

#[test]
fn a_source_file_is_one_noun_long() {
    holds(length, &["src"]);
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
    if own == "lib" {
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
    if [OS, MAP].contains(&file) {
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
        // A timed wait ends at an instant, which the clock has read.
        SYNC => &["SystemTime", "Instant::now"],
        _ => &["SystemTime", "Instant"],
    };
    banned(file, &tokens(text), names, CLOCK)
}

fn synchronisation(file: &str, text: &str) -> Vec<String> {
    if file == SYNC {
        return Vec::new();
    }
    let tokens = tokens(text);
    let names = ["parking_lot", "thread_local", "thread::spawn", "thread::Builder"];
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

// ---- Reading Rust ----

/// A word, a `::`, or any other single character of the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Token<'a> {
    line: usize,
    text: &'a str,
}

/// A path of the code, taken out of its group: `use a::{b, c::d}` is `a::b` and `a::c::d`.
#[derive(Debug)]
struct CodePath<'a> {
    /// The number of the path's last token.
    at: usize,
    line: usize,
    segments: Vec<&'a str>,
}

impl<'a> CodePath<'a> {
    /// True if the segments of `name` stand in the path, one behind the other.
    fn holds(&self, name: &str) -> bool {
        let name: Vec<_> = name.split("::").collect();
        self.segments.windows(name.len()).any(|window| window == name)
    }

    /// The path without the `self::` that it may begin with.
    fn without_self(&self) -> &[&'a str] {
        self.segments.strip_prefix(&["self"]).unwrap_or(&self.segments)
    }
}

/// Every path of the code; a word that stands alone is one, too.
fn paths<'a>(tokens: &[Token<'a>]) -> Vec<CodePath<'a>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        at = if word_len(tokens[at].text) > 0 { read_path(tokens, at, &[], &mut found) } else { at + 1 };
    }
    found
}

/// Reads the path, or the group of paths, that begins at `at`; returns the place behind it.
fn read_path<'a>(
    tokens: &[Token<'a>],
    mut at: usize,
    prefix: &[&'a str],
    found: &mut Vec<CodePath<'a>>,
) -> usize {
    let mut segments = prefix.to_vec();
    loop {
        match tokens.get(at) {
            Some(token) if token.text == "{" => return read_group(tokens, at + 1, &segments, found),
            Some(token) if token.text == "*" || word_len(token.text) > 0 => segments.push(token.text),
            _ => break,
        }
        at += 1;
        if !begins(&tokens[at..], &["::"]) {
            break;
        }
        at += 1;
    }
    // A path that stops at its `::<` has this one as its last token.
    let last = at - 1;
    found.push(CodePath { at: last, line: tokens[last].line, segments });
    at
}

/// Reads the paths of a group up to its end; returns the place behind it.
fn read_group<'a>(
    tokens: &[Token<'a>],
    mut at: usize,
    prefix: &[&'a str],
    found: &mut Vec<CodePath<'a>>,
) -> usize {
    while let Some(token) = tokens.get(at) {
        at = match token.text {
            "}" => return at + 1,
            "," => at + 1,
            "as" => at + 2,
            text if text == "{" || text == "*" || word_len(text) > 0 => read_path(tokens, at, prefix, found),
            _ => at + 1,
        };
    }
    at
}

/// How many inline modules stand around each token.
fn inline_depths(tokens: &[Token<'_>]) -> Vec<usize> {
    // For each open brace: is it a module's?
    let mut braces = Vec::new();
    let mut depths = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        match token.text {
            "{" => braces.push(at >= 2 && tokens[at - 2].text == "mod"),
            "}" => _ = braces.pop(),
            _ => {}
        }
        depths.push(braces.iter().filter(|is_module| **is_module).count());
    }
    depths
}

/// The tokens of the library itself: nothing of a file of tests, nor of a `#[cfg(test)] mod … { … }`.
fn production<'a>(file: &str, tokens: &[Token<'a>]) -> Vec<Token<'a>> {
    let mut kept = Vec::new();
    let mut rest = if is_test_file(file) { &[] } else { tokens };
    while let Some((first, behind)) = rest.split_first() {
        rest = match test_module_len(rest) {
            0 => {
                kept.push(*first);
                behind
            }
            len => &rest[len..],
        };
    }
    kept
}

/// The length of the test module that `tokens` begin with; 0 if they do not.
fn test_module_len(tokens: &[Token<'_>]) -> usize {
    const ATTRIBUTE: [&str; 8] = ["#", "[", "cfg", "(", "test", ")", "]", "mod"];
    let body = ATTRIBUTE.len() + 1;
    if begins(tokens, &ATTRIBUTE) && tokens.get(body).is_some_and(|token| token.text == "{") {
        body + enclosed(&tokens[body..]).len()
    } else {
        0
    }
}

/// The parenthesis of each `allow(…)` and `expect(…)` in an attribute.
fn lint_exceptions<'t, 'a>(tokens: &'t [Token<'a>]) -> Vec<&'t [Token<'a>]> {
    let mut exceptions = Vec::new();
    for attribute in attributes(tokens) {
        for at in 0..attribute.len() {
            let rest = &attribute[at..];
            if begins(rest, &["allow", "("]) || begins(rest, &["expect", "("]) {
                exceptions.push(enclosed(&rest[1..]));
            }
        }
    }
    exceptions
}

/// Each attribute, from its bracket to the closing one.
fn attributes<'t, 'a>(tokens: &'t [Token<'a>]) -> Vec<&'t [Token<'a>]> {
    let bracket = |at| match &tokens[at..] {
        rest if begins(rest, &["#", "["]) => Some(at + 1),
        rest if begins(rest, &["#", "!", "["]) => Some(at + 2),
        _ => None,
    };
    (0..tokens.len()).filter_map(bracket).map(|at| enclosed(&tokens[at..])).collect()
}

/// The tokens from the bracket at the front to the one that closes it.
fn enclosed<'t, 'a>(tokens: &'t [Token<'a>]) -> &'t [Token<'a>] {
    let mut open = 0;
    for (at, token) in tokens.iter().enumerate() {
        match token.text {
            "(" | "[" | "{" => open += 1,
            ")" | "]" | "}" => open -= 1,
            _ => {}
        }
        if open == 0 {
            return &tokens[..=at];
        }
    }
    tokens
}

fn begins(tokens: &[Token<'_>], texts: &[&str]) -> bool {
    tokens.len() >= texts.len() && tokens.iter().zip(texts).all(|(token, text)| token.text == *text)
}

/// The tokens of the code; comments, strings and characters are passed over.
fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut rest = text;
    while !rest.is_empty() {
        let prose = prose_len(rest);
        let (piece, behind) = rest.split_at(if prose > 0 { prose } else { token_len(rest) });
        if prose == 0 {
            tokens.push(Token { line, text: piece });
        }
        line += piece.matches('\n').count();
        rest = behind;
    }
    tokens
}

fn token_len(rest: &str) -> usize {
    match word_len(rest) {
        0 if rest.starts_with("::") => 2,
        0 => rest.chars().next().map_or(0, char::len_utf8),
        len => len,
    }
}

/// The length of the white space, comment or literal that `rest` begins with; 0 if it begins with code.
fn prose_len(rest: &str) -> usize {
    if rest.starts_with(char::is_whitespace) {
        rest.len() - rest.trim_start().len()
    } else if rest.starts_with("//") {
        rest.find('\n').unwrap_or(rest.len())
    } else if rest.starts_with("/*") {
        block_comment_len(rest)
    } else if rest.starts_with("b'") {
        character_len(&rest[1..]).map_or(0, |len| len + 1)
    } else if rest.starts_with('\'') {
        character_len(rest).unwrap_or(0)
    } else {
        string_len(rest).unwrap_or(0)
    }
}

/// Comments nest.
fn block_comment_len(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while let Some(next) = rest[at..].find(['/', '*']) {
        at += next;
        let step = match &rest.as_bytes()[at..] {
            [b'/', b'*', ..] => 1,
            [b'*', b'/', ..] => -1,
            _ => 0,
        };
        depth += step;
        at += if step == 0 { 1 } else { 2 };
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// The length of a character with its quotes; `None` for a lifetime.
fn character_len(rest: &str) -> Option<usize> {
    let first = rest.chars().nth(1)?;
    let behind = 1 + first.len_utf8();
    if first == '\\' {
        // What is escaped may be a quote.
        let escaped = rest[behind..].chars().next()?.len_utf8();
        Some(behind + escaped + rest[behind + escaped..].find('\'')? + 1)
    } else {
        rest[behind..].starts_with('\'').then_some(behind + 1)
    }
}

/// The length of a string of any kind, from its prefix on; `None` if there is none.
fn string_len(rest: &str) -> Option<usize> {
    let unprefixed = rest.strip_prefix(['b', 'c']).unwrap_or(rest);
    let (body_len, body) = match unprefixed.strip_prefix('r') {
        None => (quoted_len(unprefixed)?, unprefixed),
        Some(raw) => (raw_len(raw)?, raw),
    };
    Some(rest.len() - body.len() + body_len)
}

fn quoted_len(rest: &str) -> Option<usize> {
    let body = rest.strip_prefix('"')?;
    let mut escaped = false;
    for (at, c) in body.char_indices() {
        match c {
            '"' if !escaped => return Some(at + 2),
            _ => escaped = c == '\\' && !escaped,
        }
    }
    Some(rest.len())
}

fn raw_len(rest: &str) -> Option<usize> {
    let body = rest.trim_start_matches('#').strip_prefix('"')?;
    let opening = rest.len() - body.len();
    let closing = format!("\"{}", &rest[..opening - 1]);
    Some(body.find(&closing).map_or(rest.len(), |at| opening + at + closing.len()))
}

/// The length of the word or number that `rest` begins with; 0 if it begins with something else.
fn word_len(rest: &str) -> usize {
    rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
}

/// The lines of a text, counted from 1.
fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines())
}

// ---- Reading the repository ----

/// The files and folders right below `src`; a folder ends with a slash.
fn modules() -> Vec<String> {
    let mut modules = Vec::new();
    for entry in entries(&root().join("src")) {
        let slash = if entry.is_dir() { "/" } else { "" };
        modules.push(format!("{}{slash}", relative(&entry)));
    }
    modules
}

/// The top-level module that a file or a folder of `src` belongs to.
fn module_of(path: &str) -> &str {
    let inside = path.strip_prefix("src/").unwrap_or(path);
    inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs")
}

/// How deep below the root of the crate the module of a file lies: 1 for `src/vfs/mod.rs`, 2 for `src/vfs/os.rs`.
fn depth_of(file: &str) -> usize {
    file.matches('/').count() - usize::from(file.ends_with("/mod.rs"))
}

fn is_test_file(file: &str) -> bool {
    file.ends_with("/tests.rs") || file.contains("/tests/")
}

/// The files of a folder and of the folders in it, without what git ignores.
fn files_below(folder: &Path) -> Vec<String> {
    const IGNORED: [&str; 4] = [".git", "data", "fuzz/corpus", "fuzz/artifacts"];
    let mut files = Vec::new();
    for path in entries(folder) {
        let name = relative(&path);
        if IGNORED.contains(&name.as_str()) || path.ends_with("target") {
            continue;
        }
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(name);
        }
    }
    files
}

/// What stands in a folder, sorted; nothing if there is no such folder.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// The text of a file; bytes that are no UTF-8 are replaced.
fn read(file: &str) -> String {
    let bytes = fs::read(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The path from the root of the repository on.
fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// What a service compiles that takes the crate with its default features; one crate a line, its name in front.
fn dependency_tree() -> String {
    // Without the network where that is possible.
    let tree =
        cargo_tree(&["--offline"]).or_else(|_| cargo_tree(&[])).unwrap_or_else(|error| panic!("{error}"));
    tree.lines().filter(|line| !line.starts_with("ottla ")).map(|line| format!("{line}\n")).collect()
}

fn cargo_tree(options: &[&str]) -> Result<String, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let mut command = Command::new(cargo);
    command.args(["tree", "-p", "ottla", "-e", "normal,build", "--prefix", "none", "--format", "{p}"]);
    let output = command.args(options).current_dir(root()).output().map_err(|error| error.to_string())?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// Each rule reports what it must, and nothing else.
mod red {
    use super::*;

    /// The rule reports each line that ends with `// red`, and no other.
    #[track_caller]
    fn check(rule: Rule, file: &str, text: &str) {
        let expected: BTreeSet<_> =
            numbered(text).filter(|(_, line)| line.ends_with("// red")).map(|(number, _)| number).collect();
        let violations = rule(file, text);
        let reported: BTreeSet<_> = violations.iter().map(|violation| line_of(file, violation)).collect();
        assert_eq!(reported, expected, "{violations:#?}");
    }

    fn line_of(file: &str, violation: &str) -> usize {
        let (line, _) = violation.strip_prefix(file).unwrap()[1..].split_once(':').unwrap();
        line.parse().unwrap()
    }

    #[test]
    fn a_higher_floor() {
        let text = r#"
            //! Not a use: crate::broker::Broker.
            use crate::model::{self as numbers, Offset};
            use crate::{error::Error, file_name as name, record_batch::{BatchHeader, RecordBatch}};
            use crate::segment::SegmentDir;
            use crate::broker::Broker; // red
            use crate::{
                error::{Error, Result},
                partition_log::PartitionLog, // red
                vfs::{self, Vfs},
            };
            use crate::Error; // red
            use crate::*; // red
            use crate as root; // red
            pub(crate) fn name() -> &'static str { "crate::broker" }
            fn inline() { let _ = ::std::mem::take(&mut crate::producer::deliveries::<u8>()); } // red
            macro_rules! reach { () => { $crate::consumer::Consumer } } // red
        "#;
        check(floors, "src/segment/active.rs", text);
        check(floors, "src/lib.rs", "use crate::broker::Broker;");
    }

    #[test]
    fn a_neighbour() {
        check(floors, "src/vfs/os.rs", "use crate::vfs::Vfs;\nuse crate::record_batch::RecordBatch; // red");
        check(floors, "src/sync.rs", "use crate::error::Error; // red");
        check(floors, "src/internals.rs", "use crate::broker::Broker;\nuse crate::Topic; // red");
    }

    #[test]
    fn super_that_leaves_the_module() {
        let single = r#"
            use super::error::Error; // red
            use self::super::error::Error; // red
            pub(super) fn ours() {}
            mod tests {
                use super::*;
                use super::super::error::Error; // red
            }
            fn behind() { super::error::raise() } // red
        "#;
        check(floors, "src/model.rs", single);
        check(floors, "src/vfs/mod.rs", single);
        let inside = r#"
            use super::{Vfs, map};
            use super::super::error::Error; // red
            use super::{super::error::Error}; // red
            use super as folder; // red
            fn inline() { super::map::map() }
        "#;
        check(floors, "src/vfs/os.rs", inside);
    }

    #[test]
    fn a_module_without_a_floor_and_a_floor_without_its_module() {
        let paths = |names: &[&str]| -> Vec<_> { names.iter().map(|name| format!("src/{name}/")).collect() };
        let all = FLOORS.concat();
        assert_eq!(misplaced_modules(&paths(&all)), [""; 0]);
        assert_eq!(misplaced_modules(&paths(&all[1..])), ["tests/tidy.rs:1: there is no module error"]);
        let more = [&all[..], &["cellar"]].concat();
        assert_eq!(misplaced_modules(&paths(&more)), ["src:1: cellar stands on no floor"]);
    }

    #[test]
    fn a_file_that_does_not_say_what_it_is() {
        check(introduction, "src/model.rs", "//! The nouns.\n");
        for text in ["", "\n", "//!\n", "use std::fmt;\n//! Too late.", "// A comment.\n//! Too late."] {
            let expected = "src/model.rs:1: does not begin with a `//!` line that says what it is";
            assert_eq!(introduction("src/model.rs", text), [expected], "{text:?}");
        }
    }

    #[test]
    fn unsafe_elsewhere() {
        let text = r#"
            #![deny(unsafe_code)]
            #[expect(unsafe_code, reason = "speed")] // red
            fn read() { unsafe { peek() } } // red
            // unsafe is a word, and "unsafe" is a string.
            const WORD: &str = "unsafe";
            #![cfg_attr(test, allow(dead_code, unsafe_code))] // red
        "#;
        check(unsafe_code, "src/vfs/os.rs", text);
        assert_eq!(unsafe_code(MAP, text), [""; 0]);
    }

    #[test]
    fn the_operating_system_elsewhere() {
        let text = r#"
            use std::fs::File; // red
            use std::{fs, io}; // red
            use std::io;
            fn lock() { nix::fcntl::flock() } // red
            fn map() -> memmap2::Mmap { fs() } // red
            #[cfg(test)]
            mod tests {
                use std::fs;
                use memmap2::Mmap; // red
            }
            fn behind() { std::fs::read("path") } // red
        "#;
        check(operating_system, "src/segment/active.rs", text);
        assert_eq!(operating_system(OS, text), [""; 0]);
        check(operating_system, "src/segment/tests.rs", "use std::fs;\nuse nix::libc; // red");
    }

    #[test]
    fn the_time_elsewhere() {
        check(
            time,
            "src/broker/handle.rs",
            "use std::time::{Duration, Instant}; // red\nuse std::time::Duration;",
        );
        check(time, "src/broker/handle.rs", "let now = std::time::SystemTime::now(); // red");
        check(time, SYNC, "fn wait(until: Instant) {\nInstant::now(); // red\nSystemTime::now(); // red\n}");
        assert_eq!(time(CLOCK, "Instant::now(); SystemTime::now();"), [""; 0]);
    }

    #[test]
    fn a_lock_beside_the_door() {
        let text = r#"
            use std::sync::{Arc, Weak};
            use crate::sync::{Mutex, atomic};
            use parking_lot::Mutex; // red
            use std::sync::{
                Arc,
                Mutex, // red
                atomic::{AtomicU64, Ordering}, // red
            };
            use std::sync::mpsc; // red
            use std::{sync, time::Duration}; // red
            static ONCE: std::sync::OnceLock<u8> = std::sync::OnceLock::new(); // red
            thread_local! { static SEEN: u8 = 0 } // red
            fn start() { std::thread::spawn(run); } // red
            fn named() { thread::Builder::new() } // red
            fn give_way() { std::thread::yield_now() }
        "#;
        check(synchronisation, "src/broker/shared.rs", text);
        assert_eq!(synchronisation(SYNC, text), [""; 0]);
    }

    #[test]
    fn a_panic_or_a_print_in_the_library() {
        let text = r#"
            #![warn(clippy::unwrap_used, clippy::panic)]
            fn a() { first.unwrap_or_default(); "never .unwrap()"; }
            fn b() { first.unwrap() } // red
            fn c() { first.expect("a first") } // red
            fn d() { firsts.map(Option::unwrap) } // red
            #[expect(clippy::module_inception, reason = "the folder is the layer")]
            fn e() { panic!("{first}") } // red
            fn f() { todo!() } // red
            fn g() { unimplemented!() } // red
            fn h() { unreachable!() } // red
            fn i() { dbg!(first) } // red
            fn j() { println!("{first}") } // red
            fn k() { eprintln!("{first}") } // red
            fn l() { print!("{first}") } // red
            fn m() { eprint!("{first}") } // red
            #[cfg(test)]
            mod tests {
                fn n() { if true { panic!() } first.unwrap() }
            }
            #[cfg(test)]
            mod more_tests;
            fn o(panic: bool) -> bool { first.unwrap_err(); panic != true } // red
        "#;
        check(panics_and_prints, "src/broker/shared.rs", text);
        assert_eq!(panics_and_prints("src/broker/tests.rs", text), [""; 0]);
    }

    #[test]
    fn work_that_was_put_off() {
        check(unfinished, "tests/day_one.rs", "#[test]\nfn ignore() {}\n// Nothing to do.");
        check(unfinished, "tests/day_one.rs", "#[test]\n#[ignore = \"slow\"] // red\nfn slow() {}");
        check(unfinished, "tests/day_one.rs", "#[cfg_attr(miri, ignore)] // red");
        for mark in [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")] {
            check(unfinished, "src/model.rs", &format!("/// Later: {mark} // red\nstruct Record;"));
        }
    }

    #[test]
    fn a_sleep() {
        check(sleeps, "tests/day_one.rs", "std::thread::sleep(BRIEFLY); // red\n// thread::sleep\nsleep();");
        check(
            sleeps,
            "tests/day_one.rs",
            "use std::thread::{self, sleep}; // red\nthread::sleep(BRIEFLY); // red",
        );
    }

    #[test]
    fn an_exception_without_a_reason() {
        let text = r#"
            #![allow(missing_docs)] // red
            #[expect(clippy::cast_sign_loss)] // red
            #[expect(
                clippy::cast_sign_loss,
                reason = "it is positive"
            )]
            #[cfg_attr(test, allow(dead_code))] // red
            #[warn(missing_docs)]
            fn expect(reason: u8) { expect(reason) }
        "#;
        check(reasons, "src/config.rs", text);
    }

    #[test]
    fn a_file_of_many_nouns() {
        let lines = |count| "\n".repeat(count);
        assert_eq!(length("src/model.rs", &lines(MAX_LINES)), [""; 0]);
        assert_eq!(length("src/model.rs", &lines(MAX_LINES + 1)).len(), 1);
        assert_eq!(length("src/broker/tests.rs", &lines(MAX_LINES + 1)), [""; 0]);
    }

    #[test]
    fn a_place_that_nobody_else_has() {
        for place in
            [concat!("https://index.", "crates.io"), concat!("/wo", "rk/main"), concat!("/ro", "ot/.bashrc")]
        {
            check(foreign_places, "README.md", &format!("The network\n{place} // red"));
        }
        check(foreign_places, "README.md", "crates.io, docs.rs, work/, root/");
    }

    #[test]
    fn a_readme_that_states_another_tree() {
        let tree = "bytes v1.12.2\nnix v0.31.3\nlibc v0.2.191\nlibc v0.2.191 (*)\n";
        let readme =
            |names: &str| format!("# ottla\n\n<!-- dependency-tree -->\n```text\n{names}\n```\nMore.\n");
        assert_eq!(dependencies(&readme("bytes libc\nnix"), tree), [""; 0]);
        assert_eq!(
            dependencies(&readme("bytes nix tokio"), tree),
            [
                "README.md:3: does not state the dependency libc",
                "README.md:3: states tokio, which is no dependency",
            ]
        );
        let missing = "README.md:1: no line `<!-- dependency-tree -->` with a ```text block behind it";
        assert_eq!(dependencies("# ottla\n", tree), [missing]);
        assert_eq!(dependencies("<!-- dependency-tree -->\nbytes libc nix\n", tree), [missing]);
    }

    #[test]
    fn a_map_of_another_house() {
        let modules = ["src/model.rs".to_owned(), "src/vfs/".to_owned()];
        let exists = |path: &str| ["src/", "src/model.rs", "src/vfs/", "src/vfs/os.rs"].contains(&path);
        let map =
            "Below `src/`: [`src/model.rs`](src/model.rs), then src/vfs/os.rs. Not ours: kafka/src/main.\n";
        assert_eq!(code_map(map, &modules, exists), [""; 0]);
        assert_eq!(
            code_map("# The house\n`src/vfs/`\n`src/vfs/cloud.rs`", &modules, exists),
            [
                "ARCHITECTURE.md:1: does not mention src/model.rs",
                "ARCHITECTURE.md:3: there is no src/vfs/cloud.rs"
            ]
        );
    }

    #[test]
    fn prose_is_no_code() {
        for (text, code) in [
            ("a // b\nc", "a1 c2"),
            ("a /* b /* c */ \n d */ e", "a1 e2"),
            ("a /*/ b */ c", "a1 c1"),
            (r#"a "b \" c" d"#, "a1 d1"),
            ("a \"b\n\\\\\" c", "a1 c2"),
            (r##"a r#"b " c"# d"##, "a1 d1"),
            (r#"a r"b\" c"#, "a1 c1"),
            (r##"a br#"b"# b"c" c"d" e"##, "a1 e1"),
            (r"a '\'' b'x' '\u{1F600}' 'ж' b", "a1 b1"),
            ("<'a, 'b>", "<1 '1 a1 ,1 '1 b1 >1"),
            ("r#type::a / b", "r1 #1 type1 ::1 a1 /1 b1"),
            ("a \"unending", "a1"),
            ("a /* unending", "a1"),
        ] {
            let found: Vec<_> =
                tokens(text).iter().map(|token| format!("{}{}", token.text, token.line)).collect();
            assert_eq!(found.join(" "), code, "{text}");
        }
    }

    #[test]
    fn paths_leave_their_groups() {
        let written_out = |text: &str| -> Vec<_> {
            let tokens = tokens(text);
            paths(&tokens).into_iter().map(|path| (path.line, path.segments.join("::"))).collect()
        };
        let expected = [(1, "use"), (1, "a::b"), (2, "a::c::d"), (2, "a::c::*"), (2, "a::f"), (3, "g")];
        let expected: Vec<_> = expected.into_iter().map(|(line, path)| (line, path.to_owned())).collect();
        assert_eq!(written_out("use a::{b,\nc::{d as e, *}, {f}};\ng"), expected);
        let generic: Vec<_> = written_out("::a::b::<c>::d { e }").into_iter().map(|(_, path)| path).collect();
        assert_eq!(generic, ["a::b", "c", "d", "e"]);
    }
}
