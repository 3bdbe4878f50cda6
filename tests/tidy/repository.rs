//! Reading the repository: its files, its modules, its dependency tree.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The files and folders right below `src`; a folder ends with a slash.
pub fn modules() -> Vec<String> {
    let mut modules = Vec::new();
    for entry in entries(&root().join("src")) {
        let slash = if entry.is_dir() { "/" } else { "" };
        modules.push(format!("{}{slash}", relative(&entry)));
    }
    modules
}

/// The top-level module that a file or a folder of `src` belongs to.
pub fn module_of(path: &str) -> &str {
    let inside = path.strip_prefix("src/").unwrap_or(path);
    inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs")
}

/// How deep below the root of the crate the module of a file lies: 1 for `src/vfs/mod.rs`, 2 for `src/vfs/os.rs`.
pub fn depth_of(file: &str) -> usize {
    file.matches('/').count() - usize::from(file.ends_with("/mod.rs"))
}

pub fn is_test_file(file: &str) -> bool {
    file.ends_with("/tests.rs") || file.contains("/tests/")
}

/// The files of a folder and of the folders in it, without what git ignores.
pub fn files_below(folder: &Path) -> Vec<String> {
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
pub fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// The text of a file; bytes that are no UTF-8 are replaced.
pub fn read(file: &str) -> String {
    let bytes = fs::read(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The path from the root of the repository on.
pub fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned()
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// What a service compiles that takes the crate with its default features; one crate a line, its name in front.
pub fn dependency_tree() -> String {
    // Without the network where that is possible.
    let tree =
        cargo_tree(&["--offline"]).or_else(|_| cargo_tree(&[])).unwrap_or_else(|error| panic!("{error}"));
    tree.lines().filter(|line| !line.starts_with("ottla ")).map(|line| format!("{line}\n")).collect()
}

pub fn cargo_tree(options: &[&str]) -> Result<String, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let mut command = Command::new(cargo);
    command.args(["tree", "-p", "ottla", "-e", "normal,build", "--prefix", "none", "--format", "{p}"]);
    let output = command.args(options).current_dir(root()).output().map_err(|error| error.to_string())?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}
