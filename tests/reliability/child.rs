//! Child processes: this very program, started again in a role, which reports in lines.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child as Process, ChildStdin, ChildStdout, Command, ExitCode, ExitStatus, Stdio};

use crate::posix::{self, Pid};

/// What a child can be.
pub type Role = (&'static str, fn(&[String]));

const MARK: &str = "--child";

/// If this process was started as a child, plays its role.
pub fn play(roles: &[&[Role]]) -> Option<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mark, name, rest @ ..] = arguments.as_slice() else { return None };
    if mark != MARK {
        return None;
    }
    posix::die_with_parent();
    // Of whatever thread it is, the parent learns of it, and nothing goes on as if nothing had happened.
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("{panic}");
        tell(&format!("panic {}", panic.to_string().replace('\n', " ")));
        std::process::abort();
    }));
    let (_, role) = roles.iter().copied().flatten().find(|(known, _)| known == name).expect("a role");
    role(rest);
    Some(ExitCode::SUCCESS)
}

/// Tells the parent a line, in one write, which a pipe keeps whole. Without a parent there is nothing to do any more.
pub fn tell(line: &str) {
    let written = std::io::stdout().lock().write_all(format!("{line}\n").as_bytes());
    if written.is_err() {
        std::process::exit(3);
    }
}

/// Waits for the parent to say something, or to go.
pub fn listen() -> Option<String> {
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line).unwrap_or(0);
    (read > 0).then(|| line.trim_end().to_owned())
}

/// A running child; it is killed when this goes.
pub struct Child {
    process: Process,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Child {
    pub fn start(role: &str, arguments: &[String]) -> Self {
        Self::spawn(&mut command(role, arguments))
    }

    /// A command that ends in this program's own, a `strace` of it for one.
    pub fn spawn(command: &mut Command) -> Self {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().unwrap());
        Self { process, input, output }
    }

    pub fn pid(&self) -> Pid {
        self.process.id()
    }

    /// The next line; `None` once it is gone and everything was read.
    pub fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        // A line without its end was cut off by the kill.
        let line = line.strip_suffix('\n')?;
        assert!(!line.starts_with("panic"), "the child: {line}");
        Some(line.to_owned())
    }

    /// Waits for this line; panics if the child goes before.
    pub fn expect(&mut self, wanted: &str) {
        loop {
            let line = self.line();
            match line {
                Some(line) if line == wanted => return,
                Some(_) => {}
                None => panic!("the child is gone before it said {wanted:?}"),
            }
        }
    }

    pub fn say(&mut self, line: &str) {
        let input = self.input.as_mut().expect("it was not closed");
        _ = writeln!(input, "{line}");
    }

    /// Says that nothing more will be said.
    pub fn close_input(&mut self) {
        self.input = None;
    }

    /// What it has said, and nobody has heard yet.
    pub fn said(&mut self) -> Vec<String> {
        posix::set_blocking(self.output.get_ref(), false);
        let (mut lines, mut line) = (Vec::new(), String::new());
        // A line is in the pipe as a whole.
        while self.output.read_line(&mut line).is_ok_and(|read| read > 0) {
            lines.push(std::mem::take(&mut line).trim_end().to_owned());
        }
        posix::set_blocking(self.output.get_ref(), true);
        lines
    }

    /// Stops it where it stands: when this returns, no thread of it does anything any more but to end a system call.
    pub fn stop(&self) {
        posix::signal(self.pid(), libc::SIGSTOP);
        let tasks = format!("/proc/{}/task", self.pid());
        let is_still = |task: std::fs::DirEntry| {
            let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            // Behind the name, which is in brackets.
            stat.rsplit_once(") ").is_none_or(|(_, state)| state.starts_with(['T', 'D', 'Z', 'X']))
        };
        while !std::fs::read_dir(&tasks).unwrap().flatten().all(is_still) {
            std::thread::yield_now();
        }
    }

    pub fn kill(&mut self) {
        _ = self.process.kill();
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        self.process.wait().unwrap()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
        _ = self.process.wait();
    }
}

/// The command that starts this program in a role.
pub fn command(role: &str, arguments: &[String]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([MARK, role]).args(arguments);
    command
}

/// A path as an argument.
pub fn argument(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
