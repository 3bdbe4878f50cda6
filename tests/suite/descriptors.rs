//! The budget of descriptors: how many files are open, which are closed for others, and that none is closed with
//! something in it that nobody has synced.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ottla::internals::{
    DirEntry, EntryKind, MemoryVfs, OpenMode, Vfs, VfsFile, VfsLock, open_on, open_ticked_on,
};
use ottla::{
    Broker, BrokerOptions, Durability, ErrorKind, ManualClock, PartitionId, Record, Start, Topic, TopicConfig,
};

use crate::support::{ROOT, TempDir, options, values};

const TIMEOUT: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_secs(1);
const LEVELS: [Durability; 3] = [Durability::Synced, Durability::Interval(INTERVAL), Durability::Os];

/// A file system that knows which files are open, and what was written to them and not synced.
#[derive(Debug)]
struct WatchedVfs {
    inner: MemoryVfs,
    watch: Arc<Watch>,
}

#[derive(Debug, Default)]
struct Watch {
    open: AtomicUsize,
    most: AtomicUsize,
    /// `operation path`, the path below the root.
    calls: Mutex<Vec<String>>,
    /// Syncs of this file fail.
    failing: Mutex<Option<String>>,
    /// Files of partitions that were closed before what was written to them was synced.
    closed_unsynced: Mutex<Vec<String>>,
}

impl WatchedVfs {
    fn new() -> Arc<Self> {
        Arc::new(Self { inner: MemoryVfs::new(), watch: Arc::default() })
    }

    fn broker(self: &Arc<Self>, options: BrokerOptions) -> Broker {
        open_on(options, Arc::clone(self) as Arc<dyn Vfs>, Path::new(ROOT)).unwrap()
    }

    fn open_files(&self) -> usize {
        self.watch.open.load(Ordering::SeqCst)
    }

    /// The most files that were open at once since this was last asked.
    fn take_most(&self) -> usize {
        self.watch.most.swap(self.open_files(), Ordering::SeqCst)
    }

    fn take_calls(&self) -> Vec<String> {
        std::mem::take(&mut self.watch.calls.lock().unwrap())
    }

    fn closed_unsynced(&self) -> Vec<String> {
        self.watch.closed_unsynced.lock().unwrap().clone()
    }
}

fn below_root(path: &Path) -> String {
    path.strip_prefix(ROOT).unwrap_or(path).to_string_lossy().into_owned()
}

impl Watch {
    fn call(&self, operation: &str, file: &str) {
        self.calls.lock().unwrap().push(format!("{operation} {file}"));
    }
}

impl Vfs for WatchedVfs {
    fn open(&self, path: &Path, how: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        let inner = self.inner.open(path, how)?;
        let (watch, path) = (Arc::clone(&self.watch), below_root(path));
        watch.call("open", &path);
        watch.most.fetch_max(watch.open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        Ok(Arc::new(WatchedFile { inner, path, watch, is_unsynced: AtomicBool::new(false) }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.create_dir(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.inner.read_dir(path)
    }

    fn kind(&self, path: &Path) -> io::Result<Option<EntryKind>> {
        self.inner.kind(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.watch.call("sync", &below_root(path));
        self.inner.sync_dir(path)
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        self.inner.is_locked(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn VfsLock>>> {
        self.inner.lock(path)
    }
}

#[derive(Debug)]
struct WatchedFile {
    inner: Arc<dyn VfsFile>,
    path: String,
    watch: Arc<Watch>,
    is_unsynced: AtomicBool,
}

impl WatchedFile {
    fn change(&self) {
        self.is_unsynced.store(true, Ordering::SeqCst);
    }

    fn sync(&self, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        if self.watch.failing.lock().unwrap().as_deref() == Some(&self.path) {
            return Err(io::ErrorKind::Other.into());
        }
        self.watch.call("sync", &self.path);
        // What is written while it runs is not covered.
        self.is_unsynced.store(false, Ordering::SeqCst);
        sync()
    }
}

impl VfsFile for WatchedFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.inner.read_at(buffer, position)
    }

    fn write_at(&self, buffer: &[u8], position: u64) -> io::Result<usize> {
        self.watch.call("write", &self.path);
        self.change();
        self.inner.write_at(buffer, position)
    }

    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change();
        self.inner.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.inner.allocate(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync(|| self.inner.sync_data())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync(|| self.inner.sync_all())
    }

    fn map(&self) -> io::Result<bytes::Bytes> {
        self.inner.map()
    }

    fn drop_cache(&self) -> io::Result<()> {
        self.inner.drop_cache()
    }

    fn read_uncached_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.inner.read_uncached_at(buffer, position)
    }
}

impl Drop for WatchedFile {
    fn drop(&mut self) {
        self.watch.call("close", &self.path);
        self.watch.open.fetch_sub(1, Ordering::SeqCst);
        if self.is_unsynced.load(Ordering::SeqCst) && self.path.contains('/') {
            self.watch.closed_unsynced.lock().unwrap().push(self.path.clone());
        }
    }
}

/// Numbers that look random, the same ones each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(self.0 >> 33).unwrap() % end
    }
}

fn log_of(partition: PartitionId) -> String {
    format!("t-{partition}/00000000000000000000.log")
}

fn append(topic: &Topic, partition: PartitionId, value: &str) -> ottla::Result<()> {
    topic.producer().send(Record::new(value).partition(partition))?.wait().map(|_| ())
}

const PARTITIONS: PartitionId = 120;
const BUDGET: usize = 16;
/// What one thread has open at most beyond the budget, for what it cannot close itself.
const HEADROOM: usize = 2;

/// Appends to and reads from partitions by chance; what each has to hold.
fn work(broker: &Broker, topic: &Topic, clock: &ManualClock, numbers: &mut Numbers) -> Vec<Vec<Vec<u8>>> {
    let mut sent = vec![Vec::new(); PARTITIONS as usize];
    let producer = topic.producer();
    for number in 0..1200 {
        // Some partitions are at work more often than others.
        let most = 1 + numbers.below(PARTITIONS);
        let at = numbers.below(most);
        let partition = topic.partition(at).unwrap();
        match numbers.below(8) {
            0 => {
                let found = values(&partition).unwrap();
                let visible = usize::try_from(partition.high_watermark()).unwrap();
                assert_eq!(found, sent[at as usize][..visible], "partition {at}");
            }
            1 => {
                clock.advance(INTERVAL / 20);
                broker.tick().unwrap();
            }
            kind => {
                let value = format!("{number:0>300}").into_bytes();
                let delivery = producer.send(Record::new(&value).partition(at)).unwrap();
                sent[at as usize].push(value);
                if kind > 3 {
                    delivery.wait().unwrap();
                } else {
                    drop(delivery);
                }
            }
        }
    }
    sent
}

fn assert_holds(topic: &Topic, sent: &[Vec<Vec<u8>>]) {
    for (partition, expected) in (0..).zip(sent) {
        assert_eq!(values(&topic.partition(partition).unwrap()).unwrap(), *expected, "partition {partition}");
    }
}

#[test]
fn many_partitions_live_in_a_budget_of_a_few_files_and_keep_every_record() {
    let ways = LEVELS.into_iter().flat_map(|level| [true, false].map(|maps| (level, maps)));
    for (seed, (level, maps)) in (0..).zip(ways) {
        let (vfs, clock) = (WatchedVfs::new(), ManualClock::at(0));
        let opening = || options().open_files(BUDGET).memory_maps(maps).clock(clock.clock());
        // With what threads do behind a roll, in the ticks.
        let broker = open_ticked_on(opening(), Arc::clone(&vfs) as Arc<dyn Vfs>, Path::new(ROOT)).unwrap();
        let config = TopicConfig::new().partitions(PARTITIONS).durability(level).segment_bytes(1024);
        let topic = broker.create_topic("t", config).unwrap();
        let sent = work(&broker, &topic, &clock, &mut Numbers(seed));
        topic.producer().flush().unwrap();
        assert_holds(&topic, &sent);
        broker.close(TIMEOUT).unwrap();
        assert_eq!(vfs.open_files(), 1, "all but the ends file, though there are handles");
        drop((topic, broker));
        let rolled = sent.iter().filter(|values| values.len() > 3).count();
        assert!(rolled > 50, "{rolled} partitions have rolled");

        let broker = vfs.broker(opening());
        assert!(broker.recovery_report().is_clean());
        assert_eq!(vfs.open_files(), 1, "opening leaves no file of a partition open");
        let topic = broker.topic("t").unwrap();
        assert_holds(&topic, &sent);
        broker.close(TIMEOUT).unwrap();
        let most = vfs.take_most();
        assert!((BUDGET / 2..=BUDGET + HEADROOM).contains(&most), "{level:?}, maps {maps}: {most} were open");
        assert_eq!(vfs.closed_unsynced(), [""; 0], "{level:?}, maps {maps}");
    }
}

#[test]
fn the_file_that_was_not_used_for_the_longest_time_is_closed() {
    let vfs = WatchedVfs::new();
    let broker = vfs.broker(options().open_files(16));
    let topic = broker.create_topic("t", TopicConfig::new().partitions(64)).unwrap();
    vfs.take_calls();
    let busy = log_of(0);
    for partition in 1..64 {
        append(&topic, partition, "one of many").unwrap();
        append(&topic, 0, "always the same").unwrap();
        let calls = vfs.take_calls();
        assert!(!calls.contains(&format!("close {busy}")), "partition {partition}: {calls:?}");
    }
    assert_eq!(vfs.closed_unsynced(), [""; 0]);
}

#[test]
fn a_partition_that_is_not_synced_is_synced_and_says_so_before_it_is_closed_for_another() {
    for level in [Durability::Os, Durability::Interval(INTERVAL)] {
        let vfs = WatchedVfs::new();
        let broker = vfs.broker(options().open_files(16).clock(ManualClock::at(0).clock()));
        let config = TopicConfig::new().partitions(40).durability(level);
        let topic = broker.create_topic("t", config).unwrap();
        append(&topic, 0, "written").unwrap();
        vfs.take_calls();
        for partition in 1..40 {
            append(&topic, partition, "another").unwrap();
        }
        let log = log_of(0);
        let calls = vfs.take_calls();
        let relevant: Vec<_> =
            calls.iter().skip_while(|call| **call != format!("sync {log}")).take(3).cloned().collect();
        assert_eq!(relevant, [format!("sync {log}"), "write ottla.ends".to_owned(), format!("close {log}")]);
        // And once more, with a record behind those that were synced.
        append(&topic, 0, "written later").unwrap();
        assert_eq!(values(&topic.partition(0).unwrap()).unwrap(), [&b"written"[..], b"written later"]);
        assert_eq!(vfs.closed_unsynced(), [""; 0]);
    }
}

#[test]
fn a_sync_that_fails_before_closing_stops_that_partition_and_no_other() {
    let vfs = WatchedVfs::new();
    let broker = vfs.broker(options().open_files(16));
    let config = TopicConfig::new().partitions(40).durability(Durability::Os);
    let topic = broker.create_topic("t", config).unwrap();
    append(&topic, 3, "acknowledged").unwrap();
    *vfs.watch.failing.lock().unwrap() = Some(log_of(3));
    for partition in (0..40).filter(|partition| *partition != 3) {
        append(&topic, partition, "another").unwrap();
    }
    *vfs.watch.failing.lock().unwrap() = None;
    for partition in 0..40 {
        let appended = append(&topic, partition, "later").map_err(|error| error.kind());
        let expected = if partition == 3 { Err(ErrorKind::StorageError) } else { Ok(()) };
        assert_eq!(appended, expected, "partition {partition}");
    }
    // What was visible stays so.
    assert_eq!(values(&topic.partition(3).unwrap()).unwrap(), [b"acknowledged"]);
    let synced_again = vfs.take_calls().contains(&format!("sync {}", log_of(3)));
    assert!(!synced_again, "after a failed sync, no later one is believed");
    assert!(broker.close(TIMEOUT).is_err());
}

/// Entries of an index are written long before the segment is sealed, and synced with it.
#[test]
fn an_index_that_was_written_is_synced_before_it_is_closed_for_another_file() {
    let vfs = WatchedVfs::new();
    let broker = vfs.broker(options().open_files(16).batch_size(0));
    let config = TopicConfig::new().partitions(40).index_interval_bytes(0);
    let topic = broker.create_topic("t", config).unwrap();
    let producer = topic.producer();
    for number in 0..1500 {
        _ = producer.send(Record::new(&number.to_string()).partition(0)).unwrap();
    }
    producer.flush().unwrap();
    let index = log_of(0).replace(".log", ".index");
    assert!(vfs.take_calls().contains(&format!("write {index}")));
    for partition in 1..40 {
        append(&topic, partition, "another").unwrap();
    }
    let calls = vfs.take_calls();
    let at = |call: &str| calls.iter().position(|made| *made == format!("{call} {index}"));
    assert!(at("sync").is_some() && at("sync") < at("close"), "{calls:?}");
    append(&topic, 0, "last").unwrap();
    let found: Vec<_> = topic.partition(0).unwrap().read(Start::At(1200)).unwrap().collect();
    assert_eq!(found.len(), 301);
    broker.close(TIMEOUT).unwrap();
    drop((producer, topic, broker));
    assert_eq!(vfs.closed_unsynced(), [""; 0]);
    let broker = vfs.broker(options());
    assert!(broker.recovery_report().is_clean());
    assert_eq!(values(&broker.topic("t").unwrap().partition(0).unwrap()).unwrap().len(), 1501);
}

#[test]
fn closing_partitions_that_nobody_wrote_to_opens_and_syncs_none_of_their_files() {
    for level in LEVELS {
        let vfs = WatchedVfs::new();
        let broker = vfs.broker(options());
        let config = TopicConfig::new().partitions(20).durability(level);
        let topic = broker.create_topic("t", config).unwrap();
        (0..20).for_each(|partition| append(&topic, partition, "a record").unwrap());
        broker.close(TIMEOUT).unwrap();
        drop((topic, broker));

        let broker = vfs.broker(options());
        let topic = broker.topic("t").unwrap();
        // Reading opens files, and leaves nothing to be synced.
        (0..10)
            .for_each(|partition| assert_eq!(values(&topic.partition(partition).unwrap()).unwrap().len(), 1));
        append(&topic, 19, "another").unwrap();
        vfs.take_calls();
        broker.close(TIMEOUT).unwrap();
        let mut calls = BTreeMap::<_, usize>::new();
        for call in vfs.take_calls() {
            let (operation, file) = call.split_once(' ').unwrap();
            if let Some((dir, _)) = file.split_once('/').filter(|_| operation != "close") {
                *calls.entry(dir.to_owned()).or_default() += 1;
            }
        }
        assert_eq!(calls.into_keys().collect::<Vec<_>>(), ["t-19"], "{level:?}");
    }
}

#[test]
fn a_budget_without_room_for_one_roll_is_refused() {
    for files in [0, 15] {
        let opened = open_on(options().open_files(files), WatchedVfs::new(), Path::new(ROOT));
        assert_eq!(opened.unwrap_err().kind(), ErrorKind::InvalidConfig);
    }
    let broker = WatchedVfs::new().broker(options().open_files(16));
    broker.create_topic("t", TopicConfig::new()).unwrap();
}

/// Appenders and readers on threads of their own close each other's files: nobody hangs, and nothing is lost.
#[test]
fn threads_that_close_each_others_files_do_not_wait_for_each_other() {
    const THREADS: PartitionId = 8;
    const EACH: PartitionId = 12;
    for level in LEVELS {
        let vfs = WatchedVfs::new();
        let broker = vfs.broker(options().background(true).open_files(16).memory_maps(false));
        let config = TopicConfig::new().partitions(THREADS * EACH).durability(level).segment_bytes(1024);
        let topic = broker.create_topic("t", config).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let topic = &topic;
                scope.spawn(move || {
                    for round in 0..20 {
                        for partition in (0..EACH).map(|at| at * THREADS + thread) {
                            append(topic, partition, &format!("{round:0>200}")).unwrap();
                            let other = topic.partition((partition + round) % (THREADS * EACH)).unwrap();
                            assert!(values(&other).unwrap().len() <= 20);
                        }
                    }
                });
            }
        });
        for partition in 0..THREADS * EACH {
            assert_eq!(values(&topic.partition(partition).unwrap()).unwrap().len(), 20);
        }
        broker.close(TIMEOUT).unwrap();
        let most = vfs.take_most();
        // Each thread may have those of a roll in use, and those of a read.
        assert!(most <= 16 + 8 * THREADS as usize, "{level:?}: {most} were open");
        assert_eq!(vfs.closed_unsynced(), [""; 0], "{level:?}");
    }
}

/// Runs the test of this name in a process of its own with so many descriptors; returns what it printed.
fn with_descriptors(limit: u64, partitions: PartitionId, dir: &Path) -> String {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["descriptors::lives_under_a_limit", "--exact", "--nocapture", "--test-threads=1"])
        .env("OTTLA_DESCRIPTORS", format!("{limit} {partitions} {}", dir.display()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn two_thousand_partitions_work_under_the_usual_limit_of_descriptors() {
    let dir = TempDir::new("many-partitions");
    let output = with_descriptors(1024, 2000, dir.path());
    assert!(output.contains("2000 partitions under 1024 descriptors"), "{output}");
    println!("{output}");
}

/// Where the host has used up the descriptors before the budget is: files are closed all the same.
#[test]
fn a_process_that_runs_out_of_descriptors_within_the_budget_closes_files() {
    let dir = TempDir::new("few-descriptors");
    let output = with_descriptors(48, 200, dir.path());
    assert!(output.contains("200 partitions under 48 descriptors"), "{output}");
}

/// The child of the tests above; alone it does nothing.
#[test]
fn lives_under_a_limit() {
    let Ok(arguments) = std::env::var("OTTLA_DESCRIPTORS") else { return };
    let mut arguments = arguments.splitn(3, ' ');
    let limit: u64 = arguments.next().unwrap().parse().unwrap();
    let partitions: PartitionId = arguments.next().unwrap().parse().unwrap();
    let dir = PathBuf::from(arguments.next().unwrap()).join("data");
    lower_limit(limit);

    let began = std::time::Instant::now();
    let lap = |what: &str| println!("{what}: {:?}", began.elapsed());
    let broker = Broker::open(&dir).unwrap();
    // Rolls, and with them thousands of syncs, only where there are few.
    let segment_bytes = if partitions < 1000 { 1024 } else { 1024 * 1024 };
    let config =
        TopicConfig::new().partitions(partitions).segment_bytes(segment_bytes).durability(Durability::Os);
    let topic = broker.create_topic("t", config).unwrap();
    lap("created");
    for round in 0..2 {
        (0..partitions).for_each(|partition| append(&topic, partition, &format!("{round:0>600}")).unwrap());
        lap("appended");
    }
    broker.close(TIMEOUT).unwrap();
    drop((topic, broker));
    lap("closed");
    // Sealed segments with descriptors of their own, too.
    let broker = Broker::options().memory_maps(false).open(&dir).unwrap();
    lap("opened");
    let topic = broker.topic("t").unwrap();
    for partition in 0..partitions {
        assert_eq!(values(&topic.partition(partition).unwrap()).unwrap().len(), 2);
    }
    lap("read");
    broker.close(TIMEOUT).unwrap();
    lap("closed");
    println!("{partitions} partitions under {limit} descriptors");
}

#[expect(unsafe_code, reason = "there is no safe way to lower a limit")]
fn lower_limit(descriptors: u64) {
    let limit = libc::rlimit { rlim_cur: descriptors, rlim_max: descriptors };
    // SAFETY: the call reads the structure, which lives as long as it does.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
}
