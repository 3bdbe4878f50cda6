//! Which call fails, and how: calls are counted, and one of them is told to.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A call of the file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "each is the method of that name; `Create` opens what may not exist yet")]
pub enum Operation {
    Open,
    Create,
    CreateDir,
    ReadDir,
    Kind,
    Rename,
    RemoveFile,
    RemoveDir,
    SyncDir,
    Lock,
    WriteText,
    Read,
    ReadUncached,
    Write,
    Size,
    SetLen,
    Allocate,
    SyncData,
    SyncAll,
    Map,
    DropCache,
}

impl Operation {
    /// True for what can change the state of the disk, or how much of it is durable.
    #[must_use]
    pub fn changes(self) -> bool {
        use Operation::{DropCache, Kind, Map, Open, Read, ReadDir, ReadUncached, Size};
        !matches!(self, Open | ReadDir | Kind | Read | ReadUncached | Size | Map | DropCache)
    }

    /// True for what makes something durable.
    #[must_use]
    pub fn syncs(self) -> bool {
        matches!(self, Self::SyncData | Self::SyncAll | Self::SyncDir)
    }
}

/// One call: which of all, what, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its number, counted from 1.
    pub number: u64,
    /// What was called.
    pub operation: Operation,
    /// The path that the caller gave, or opened the file with; of a rename the new one.
    pub path: PathBuf,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call {}, {:?} {}", self.number, self.operation, self.path.display())
    }
}

/// How many calls there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallCounts {
    /// All of them, those that failed as well.
    pub all: u64,
    /// Those that [change](Operation::changes) something.
    pub changing: u64,
}

/// What goes wrong with a call. A call that it cannot happen to, as a short transfer to a rename, succeeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// EIO. A sync of a file that fails with it loses the bytes it was to sync: reads see them still, later
    /// syncs succeed, and the disk never gets them.
    Io,
    /// ENOSPC, of calls that may take space; of a sync it has the effect of [`Io`](Self::Io).
    NoSpace,
    /// EINTR, of calls that may wait.
    Interrupted,
    /// EMFILE, of calls that open.
    TooManyFiles,
    /// EROFS, of calls that change something.
    ReadOnly,
    /// Reads and writes move at most so many bytes.
    Short(usize),
}

impl Fault {
    /// True if a call can fail in this way.
    #[must_use]
    pub fn fits(self, operation: Operation) -> bool {
        use Operation::{
            Create, CreateDir, Kind, Lock, Map, Open, Read, ReadDir, ReadUncached, RemoveDir, RemoveFile,
            Rename, Size, SyncDir, Write,
        };
        match self {
            Self::Io => true,
            Self::NoSpace => operation.changes() && !matches!(operation, RemoveFile | RemoveDir),
            Self::Interrupted => {
                let at_once = [CreateDir, ReadDir, Kind, Rename, RemoveFile, RemoveDir, Size, Map];
                !at_once.contains(&operation)
            }
            Self::TooManyFiles => [Open, Create, ReadDir, SyncDir, Lock, ReadUncached].contains(&operation),
            Self::ReadOnly => operation.changes(),
            Self::Short(_) => matches!(operation, Read | ReadUncached | Write),
        }
    }

    /// The number that Linux gives the error; a short transfer is none.
    fn errno(self) -> i32 {
        match self {
            Self::Io => 5,
            Self::NoSpace => 28,
            Self::Interrupted => 4,
            Self::TooManyFiles => 24,
            Self::ReadOnly => 30,
            Self::Short(_) => 0,
        }
    }
}

/// How often a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Once, if the call is one that it can happen to.
    Once,
    /// At that call and all behind it that it can happen to.
    Forever,
}

/// Why a call was not carried out.
#[derive(Debug)]
pub enum Refusal {
    /// The process was stopped before it.
    Stopped,
    Fault(Fault),
}

impl Refusal {
    /// True if a sync that fails in this way has lost what it was to sync.
    pub fn loses_data(&self) -> bool {
        matches!(self, Self::Fault(Fault::Io | Fault::NoSpace))
    }
}

impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Stopped => Self::other("the process was stopped here"),
            Refusal::Fault(fault) => Self::from_raw_os_error(fault.errno()),
        }
    }
}

/// Counts the calls, and tells which of them fail.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    pub counts: CallCounts,
    /// The first call that a fault struck, or that came after the stop.
    pub failed: Option<Call>,
    plan: Option<Plan>,
    /// So many changing calls are carried out.
    stop_after: Option<u64>,
    pub stopped: bool,
    /// Whether a fault has struck a sync.
    pub failed_sync: bool,
}

/// A fault that waits for its call.
#[derive(Clone, Copy, Debug)]
struct Plan {
    /// So many calls that are meant come before it.
    before: u64,
    /// Which calls are meant; all of them, or those of one operation.
    of: Option<Operation>,
    fault: Fault,
    repeat: Repeat,
}

impl Plan {
    /// Whether the next call fails, and what is planned behind it.
    fn meet(self, operation: Operation) -> (bool, Option<Self>) {
        if self.of.is_some_and(|of| of != operation) {
            return (false, Some(self));
        }
        match (self.before.checked_sub(1), self.repeat) {
            (Some(before), _) => (false, Some(Self { before, ..self })),
            (None, Repeat::Once) => (self.fault.fits(operation), None),
            (None, Repeat::Forever) => (self.fault.fits(operation), Some(self)),
        }
    }
}

impl Gate {
    pub fn fail_nth(&mut self, n: u64, of: Option<Operation>, fault: Fault, repeat: Repeat) {
        self.plan = n.checked_sub(1).map(|before| Plan { before, of, fault, repeat });
        self.failed = None;
    }

    pub fn fail_no_more(&mut self) {
        self.plan = None;
    }

    pub fn stop_after(&mut self, changing: u64) {
        self.stop_after = Some(self.counts.changing + changing);
        self.failed = None;
    }

    /// Every call comes through here; returns how many bytes it may move.
    pub fn enter(&mut self, operation: Operation, path: &Path) -> Result<usize, Refusal> {
        self.count(operation);
        if self.stopped {
            self.note_failed(operation, path);
            return Err(Refusal::Stopped);
        }
        let Some(plan) = self.plan else { return Ok(usize::MAX) };
        let (strikes, behind) = plan.meet(operation);
        self.plan = behind;
        if !strikes {
            return Ok(usize::MAX);
        }
        self.note_failed(operation, path);
        self.failed_sync |= operation.syncs();
        if let Fault::Short(most) = plan.fault { Ok(most) } else { Err(Refusal::Fault(plan.fault)) }
    }

    fn count(&mut self, operation: Operation) {
        self.counts.all += 1;
        self.counts.changing += u64::from(operation.changes());
        self.stopped |= self.stop_after.is_some_and(|most| self.counts.changing > most);
    }

    fn note_failed(&mut self, operation: Operation, path: &Path) {
        let number = self.counts.all;
        self.failed.get_or_insert_with(|| Call { number, operation, path: path.to_owned() });
    }
}
