//! The background scrub: reads what was sealed, at a bounded rate, round after round, and reports what the disk no longer
//! has.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::topic_logs::{Topics, all_logs};
use crate::agenda::{Chore, Reminder};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Offset, Timestamp};
use crate::partition_log::{Gap, PartitionLog, SegmentScrub};
use crate::sync::Mutex;

/// So much is read at once, between these; then others have their turn.
const MOST_AT_ONCE: u64 = 1024 * 1024;
const LEAST_AT_ONCE: u64 = 16 * 1024;
/// Of one file at most so many findings are kept.
const MOST_OF_A_FILE: usize = 100;
const NANOS: u128 = 1_000_000_000;

/// How often, and how fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrubSettings {
    pub interval: Duration,
    pub bytes_per_second: u64,
}

impl ScrubSettings {
    pub fn validate(self) -> Result<()> {
        if self.bytes_per_second > 0 && !self.interval.is_zero() {
            return Ok(());
        }
        let Self { interval, bytes_per_second } = self;
        let what = format!("scrub = every {interval:?}, {bytes_per_second} bytes a second, is not possible");
        Err(Error::new(ErrorKind::InvalidConfig, what)
            .advise("it takes a time between two rounds, and at least 1 byte a second"))
    }
}

/// What the background scrub has found; see [`BrokerOptions::scrub`](crate::BrokerOptions::scrub) and
/// [`Broker::scrub_report`](crate::Broker::scrub_report).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ScrubReport {
    rounds: u64,
    last_ended: Option<Timestamp>,
    bytes: u64,
    reads_disk: bool,
    findings: Vec<Gap>,
}

impl ScrubReport {
    /// How many rounds have ended since the broker was opened.
    #[must_use]
    pub fn rounds(&self) -> u64 {
        self.rounds
    }

    /// When the last round ended, if one has.
    #[must_use]
    pub fn last_round_ended(&self) -> Option<Timestamp> {
        self.last_ended
    }

    /// How many bytes of logs were read since the broker was opened.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.bytes
    }

    /// Whether what was read last came from the disk itself. It is `false` where the file system cannot read past the page
    /// cache: then a page that is cached hides what has become of it on the disk; and before anything was read.
    #[must_use]
    pub fn reads_past_cache(&self) -> bool {
        self.reads_disk
    }

    /// What is damaged, by file and position, as it was when its file was last read: each with topic, partition, offsets,
    /// file, position and reason. At most 100 of one file.
    #[must_use]
    pub fn findings(&self) -> &[Gap] {
        &self.findings
    }
}

/// Reads the sealed segments of a broker.
#[derive(Debug)]
pub struct Scrubber {
    settings: ScrubSettings,
    clock: Clock,
    topics: Arc<Topics>,
    state: Mutex<State>,
    /// Gone once the broker is closed.
    reminder: Mutex<Option<Reminder>>,
}

/// Findings, by the file in which they are.
type Found = BTreeMap<PathBuf, Vec<Gap>>;

#[derive(Debug, Default)]
struct State {
    report: ScrubReport,
    found: Found,
    /// The one under way, unless somebody is at it.
    round: Option<Round>,
}

#[derive(Debug)]
struct Round {
    began: Duration,
    left: VecDeque<(Arc<PartitionLog>, Range<Offset>)>,
    at: Option<SegmentScrub>,
    found: Found,
    reads_disk: bool,
}

impl Scrubber {
    pub fn new(settings: ScrubSettings, clock: Clock, topics: Arc<Topics>) -> Self {
        Self { settings, clock, topics, state: Mutex::default(), reminder: Mutex::default() }
    }

    /// Begins the first round.
    pub fn start(&self, reminder: Reminder) {
        reminder.set(self.clock.monotonic());
        *self.reminder.lock() = Some(reminder);
    }

    /// Reads nothing any more, and holds no file.
    pub fn end(&self) {
        let reminder = self.reminder.lock().take();
        let round = self.state.lock().round.take();
        drop((reminder, round));
    }

    pub fn report(&self) -> ScrubReport {
        let state = self.state.lock();
        let findings = state.found.values().flatten().cloned().collect();
        ScrubReport { findings, ..state.report.clone() }
    }

    fn begin(&self, now: Duration) -> Round {
        let logs = all_logs(&self.topics.read());
        let segments = logs.into_iter().filter(|log| log.damage().is_none()).flat_map(|log| {
            let segments = log.proven_segments();
            segments.into_iter().map(move |offsets| (Arc::clone(&log), offsets))
        });
        Round { began: now, left: segments.collect(), at: None, found: Found::new(), reads_disk: false }
    }

    /// How much is read at once.
    fn piece(&self) -> u64 {
        (self.settings.bytes_per_second / 4).clamp(LEAST_AT_ONCE, MOST_AT_ONCE)
    }

    /// After how long the next piece is due.
    fn pause(&self, bytes: u64) -> Duration {
        let nanos = u128::from(bytes) * NANOS / u128::from(self.settings.bytes_per_second.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

impl Round {
    /// Reads about so many bytes; returns how many, or `None` if nothing is left.
    fn read(&mut self, most: u64) -> Option<u64> {
        let mut read: u64 = 0;
        while read < most {
            let Some(at) = &mut self.at else {
                match self.left.pop_front() {
                    Some((log, offsets)) => self.open(&log, offsets),
                    None => return (read > 0).then_some(read),
                }
                continue;
            };
            self.reads_disk = at.is_past_cache;
            let (bytes, is_done) = at.advance(most - read);
            read = read.saturating_add(bytes);
            if is_done && let Some(done) = self.at.take() {
                self.keep(done.gaps);
            }
        }
        Some(read)
    }

    /// A topic that was deleted meanwhile has no files any more, and no damage.
    fn open(&mut self, log: &Arc<PartitionLog>, offsets: Range<Offset>) {
        if log.check_readable().is_err() {
            return;
        }
        match SegmentScrub::begin(log, offsets) {
            Ok(scrub) => self.at = Some(scrub),
            Err(gap) if log.check_readable().is_ok() => self.keep(vec![gap]),
            Err(_) => {}
        }
    }

    fn keep(&mut self, gaps: Vec<Gap>) {
        for gap in gaps {
            let file = gap.error().file().unwrap_or(Path::new("")).to_owned();
            let of_file = self.found.entry(file).or_default();
            if of_file.len() < MOST_OF_A_FILE {
                of_file.push(gap);
            }
        }
    }
}

impl Chore for Scrubber {
    fn run(&self, now: Duration) -> Option<Duration> {
        // Read without the lock: the disk may hang, and somebody asks for the report.
        let round = self.state.lock().round.take();
        let mut round = round.unwrap_or_else(|| self.begin(now));
        let read = round.read(self.piece());
        let mut state = self.state.lock();
        // What is damaged is told at once.
        state.found.extend(round.found.iter().map(|(file, gaps)| (file.clone(), gaps.clone())));
        if let Some(read) = read {
            state.report.bytes = state.report.bytes.saturating_add(read);
            state.report.reads_disk = round.reads_disk;
            state.round = Some(round);
            return Some(now.saturating_add(self.pause(read)));
        }
        // What was not found again is whole, or gone.
        state.found = round.found;
        state.report.rounds = state.report.rounds.saturating_add(1);
        state.report.last_ended = Some(self.clock.now());
        Some(round.began.saturating_add(self.settings.interval).max(now))
    }
}
