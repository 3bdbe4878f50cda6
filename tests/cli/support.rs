//! What the tests share: a directory that goes with the test, and the binary in it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A directory to work in.
pub struct Place(PathBuf);

/// What a call has answered.
#[derive(Debug)]
pub struct Answer {
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Place {
    pub fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cli-{name}-{}", std::process::id()));
        _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The default data directory.
    pub fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
        command.args(args).current_dir(&self.0).env_remove("OTTLA_DIR");
        command
    }

    /// What the shell makes of a line.
    pub fn shell(&self, line: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", line]).current_dir(&self.0).env_remove("OTTLA_DIR");
        command
    }

    pub fn call(&self, args: &[&str], stdin: impl AsRef<[u8]>) -> Answer {
        self.feed(self.command(args), stdin)
    }

    pub fn feed(&self, mut command: Command, stdin: impl AsRef<[u8]>) -> Answer {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let bytes = stdin.as_ref().to_vec();
        // A command that fails early reads no further.
        let feeder = std::thread::spawn(move || _ = input.write_all(&bytes));
        let answer = Answer::from(child.wait_with_output().unwrap());
        feeder.join().unwrap();
        answer
    }

    /// The call, which must succeed; returns what it prints.
    pub fn ok(&self, args: &[&str], stdin: impl AsRef<[u8]>) -> String {
        let answer = self.call(args, stdin);
        assert_eq!(answer.code, 0, "{args:?}: {answer:?}");
        answer.text()
    }

    /// Every file with its bytes, but for the text of the lock, which names the last holder.
    pub fn content(&self) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
        let mut content = BTreeMap::new();
        let mut paths = vec![self.0.clone()];
        while let Some(path) = paths.pop() {
            if path.is_dir() {
                paths.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
                content.insert(path, None);
            } else if !path.ends_with(".lock") {
                let bytes = fs::read(&path).unwrap();
                content.insert(path, Some(bytes));
            }
        }
        content
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8(self.stdout.clone()).unwrap()
    }
}

/// Whoever is at the command line does not know Rust's names: none of them stands in what he is told.
pub fn assert_without_rust(message: &str) {
    assert!(!message.contains("::") && !message.contains("()") && !message.contains("(true)"), "{message}");
    for (number, quoted) in message.split('`').enumerate() {
        assert!(number % 2 == 0 || quoted.starts_with("ottla "), "{quoted} is no command: {message}");
    }
    // Settings have dots and arguments have hyphens; what has an underscore is these words or a name of the library.
    const WORDS: [&str; 5] = ["_", "a_b", "read_committed", "read_uncommitted", "OTTLA_DIR"];
    let is_of_a_word = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '.' | '/' | '-');
    for word in message.split(|letter| !is_of_a_word(letter)) {
        let is_plain = !word.contains('_') || word.contains(['.', '/', '-']);
        assert!(is_plain || word.starts_with("__") || WORDS.contains(&word), "{word} is no word: {message}");
    }
}

impl From<Output> for Answer {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: output.stdout,
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}
