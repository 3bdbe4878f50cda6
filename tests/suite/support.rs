//! What the suites share: directories that go with a test, records that own their parts, and a file system that
//! keeps a list of the calls and fails where it is told to.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::Wake;

use ottla::internals::{DirEntry, EntryKind, MemoryVfs, OpenMode, Vfs, VfsFile, VfsLock, open_on};
use ottla::{Broker, BrokerOptions, Offset, Partition, Record, Result, Start, Timestamp};

/// Where the in-memory brokers of the suites live.
pub const ROOT: &str = "/data";

/// A directory on the disk that goes with the test.
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ottla-suite-{name}-{}", std::process::id()));
        _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Every file below the directory with what it holds.
    pub fn content(&self) -> BTreeMap<PathBuf, Content> {
        let mut content = BTreeMap::new();
        let mut directories = vec![self.0.clone()];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                } else {
                    let bytes = std::fs::read(&path).unwrap();
                    content.insert(path, Content { len: bytes.len(), crc: crc32fast::hash(&bytes) });
                }
            }
        }
        content
    }
}

/// What a file holds, short enough for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    pub len: usize,
    pub crc: u32,
}

impl Drop for TempDir {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Tells threads that the test has ended, also where it ends by a panic.
pub struct EndGuard<'a>(pub &'a AtomicBool);

impl Drop for EndGuard<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Counts how often it was woken.
#[derive(Default)]
pub struct Counting(AtomicUsize);

impl Wake for Counting {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Counting {
    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// Settings under which nothing happens but what the test does, and little is set aside.
pub fn options() -> BrokerOptions {
    Broker::options().background(false).reserve_bytes(0)
}

/// A batch as a partition in its first leader epoch writes it.
pub fn encode_batch(base_offset: Offset, records: &[(Offset, Timestamp, Record<'_>)]) -> Vec<u8> {
    let mut batch = ottla::internals::encode_batch(base_offset, records);
    // The epoch stands outside the checksum.
    batch[12..16].copy_from_slice(&[0; 4]);
    batch
}

/// The values of a partition from its beginning to its high watermark.
pub fn values(partition: &Partition) -> Result<Vec<Vec<u8>>> {
    let mut values = Vec::new();
    for batch in partition.read(Start::Earliest)? {
        values.extend((&batch?).into_iter().map(|record| record.value().unwrap_or_default().to_vec()));
    }
    Ok(values)
}

/// Every file below a directory with what it holds, but for the lock.
pub fn tree(vfs: &MemoryVfs, dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut content = BTreeMap::new();
    for entry in vfs.read_dir(dir).unwrap() {
        let path = dir.join(&entry.name);
        match entry.kind {
            EntryKind::Directory => {
                content.insert(path.clone(), Vec::new());
                content.append(&mut tree(vfs, &path));
            }
            _ if entry.name == ".lock" => {}
            _ => {
                content
                    .insert(path.clone(), vfs.open(&path, OpenMode::Read).unwrap().map().unwrap().to_vec());
            }
        }
    }
    content
}

/// Puts a file in a directory of the broker's, durably.
pub fn put(vfs: &MemoryVfs, name: &str, bytes: &[u8]) {
    let path = Path::new(ROOT).join(name);
    let file = vfs.open(&path, OpenMode::CreateEmpty).unwrap();
    assert_eq!(file.write_at(bytes, 0).unwrap(), bytes.len());
    file.sync_all().unwrap();
    vfs.sync_dir(path.parent().unwrap()).unwrap();
}

/// What a file of the broker's directory holds.
pub fn get(vfs: &MemoryVfs, name: &str) -> Vec<u8> {
    vfs.open(&Path::new(ROOT).join(name), OpenMode::Read).unwrap().map().unwrap().to_vec()
}

/// Replaces bytes that stand once in a log of a directory that is closed, and mends the checksums, as if the other bytes had been
/// written.
pub fn rewrite(vfs: &MemoryVfs, log: &str, from: &[u8], to: &[u8]) {
    let mut bytes = get(vfs, log);
    let found: Vec<_> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(from)).collect();
    let [at] = found[..] else { panic!("{from:?} stands at {found:?} of {log}") };
    bytes[at..at + from.len()].copy_from_slice(to);
    let mut batch = 0;
    while batch < bytes.len() {
        let length = u32::from_be_bytes(bytes[batch + 8..batch + 12].try_into().unwrap()) as usize;
        let end = batch + 12 + length;
        let crc = crc_fast::crc32_iscsi(&bytes[batch + 21..end]);
        bytes[batch + 17..batch + 21].copy_from_slice(&crc.to_be_bytes());
        batch = end;
    }
    put(vfs, log, &bytes);
}

/// The same of a commit, an offset with its leader epoch, in the first file of the internal topic that holds it.
pub fn rewrite_commit(vfs: &MemoryVfs, from: (Offset, Option<u32>), to: (Offset, Option<u32>)) {
    let value = |(offset, epoch): (Offset, Option<u32>)| {
        let epoch = epoch.map_or([0xff; 4], u32::to_be_bytes);
        [&[0, 3][..], &offset.to_be_bytes(), &epoch].concat()
    };
    let (from, to) = (value(from), value(to));
    let is_log = |name: &Path| {
        let inside = name.to_string_lossy();
        inside.contains("__consumer_offsets-") && inside.ends_with(".log")
    };
    let files = tree(vfs, Path::new(ROOT));
    let holds = |bytes: &[u8]| bytes.windows(from.len()).any(|window| window == from);
    let (path, _) =
        files.iter().find(|(path, bytes)| is_log(path) && holds(bytes)).expect("the commit is there");
    rewrite(vfs, path.strip_prefix(ROOT).unwrap().to_str().unwrap(), &from, &to);
}

/// Sends the values to partition 0, and waits for the last of them.
pub fn send_all(topic: &ottla::Topic, values: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Result<()> {
    let producer = topic.producer();
    for value in values {
        _ = producer.send(Record::new(&value).partition(0))?;
    }
    producer.flush()
}

/// A call of the file system, as `operation name`; the name is the last part of the path.
pub type Call = String;

/// A file system that keeps a list of the calls that change something, and fails where it is told to.
#[derive(Debug)]
pub struct ScriptedVfs {
    inner: MemoryVfs,
    script: Arc<Script>,
}

#[derive(Debug, Default)]
struct Script {
    calls: Mutex<Vec<Call>>,
    fails: Mutex<Vec<Failure>>,
    pause: Mutex<Pause>,
    pause_changed: Condvar,
    most_written: Mutex<Option<usize>>,
}

/// A call that waits until the test lets it go.
#[derive(Debug, Default)]
struct Pause {
    /// Calls that begin with this wait.
    prefix: Option<String>,
    /// If the path holds this.
    inside: String,
    /// Whether one of them does.
    reached: bool,
}

#[derive(Clone, Debug)]
struct Failure {
    /// Calls that begin with this fail.
    prefix: String,
    /// So many of them succeed before.
    after: usize,
    kind: io::ErrorKind,
    /// Whether only one call fails.
    once: bool,
}

impl ScriptedVfs {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { inner: MemoryVfs::new(), script: Arc::default() })
    }

    pub fn open_broker(self: &Arc<Self>) -> Result<Broker> {
        self.open_with(options())
    }

    pub fn open_with(self: &Arc<Self>, options: BrokerOptions) -> Result<Broker> {
        open_on(options, Arc::clone(self) as Arc<dyn Vfs>, Path::new(ROOT))
    }

    /// The files themselves, without the script.
    pub fn memory(&self) -> &MemoryVfs {
        &self.inner
    }

    /// What a file holds.
    pub fn content(&self, name: &str) -> Vec<u8> {
        let path = Path::new(ROOT).join(name);
        self.inner.open(&path, OpenMode::Read).unwrap().map().unwrap().to_vec()
    }

    /// Flips the bits of a byte, behind everybody's back.
    pub fn damage(&self, name: &str, position: u64) {
        let file = self.inner.open(&Path::new(ROOT).join(name), OpenMode::Write).unwrap();
        let mut byte = [0];
        file.read_at(&mut byte, position).unwrap();
        file.write_at(&[!byte[0]], position).unwrap();
        file.sync_all().unwrap();
    }

    /// Writes over the beginning of a file, behind everybody's back.
    pub fn overwrite(&self, name: &str, bytes: &[u8]) {
        let file = self.inner.open(&Path::new(ROOT).join(name), OpenMode::Write).unwrap();
        assert_eq!(file.write_at(bytes, 0).unwrap(), bytes.len());
    }

    /// From now on no call writes more than this.
    pub fn limit_writes(&self, bytes: usize) {
        *self.script.most_written.lock().unwrap() = Some(bytes);
    }

    /// From now on calls that begin with `prefix` fail, after the next `after` of them.
    pub fn fail(&self, prefix: &str, after: usize, kind: io::ErrorKind) {
        self.add(Failure { prefix: prefix.to_owned(), after, kind, once: false });
    }

    /// One call that begins with `prefix` fails, after the next `after` of them.
    pub fn fail_once(&self, prefix: &str, after: usize, kind: io::ErrorKind) {
        self.add(Failure { prefix: prefix.to_owned(), after, kind, once: true });
    }

    fn add(&self, failure: Failure) {
        self.script.fails.lock().unwrap().push(failure);
    }

    pub fn fail_no_more(&self) {
        self.script.fails.lock().unwrap().clear();
    }

    /// From now on calls that begin with `prefix` wait for [`resume`](Self::resume).
    pub fn pause(&self, prefix: &str) {
        self.pause_in("", prefix);
    }

    /// The same, of files whose path holds `inside`.
    pub fn pause_in(&self, inside: &str, prefix: &str) {
        let (prefix, inside) = (Some(prefix.to_owned()), inside.to_owned());
        *self.script.pause.lock().unwrap() = Pause { prefix, inside, reached: false };
    }

    /// Returns once a call waits.
    pub fn wait_until_paused(&self) {
        let pause = self.script.pause.lock().unwrap();
        drop(self.script.pause_changed.wait_while(pause, |pause| !pause.reached).unwrap());
    }

    pub fn is_paused(&self) -> bool {
        self.script.pause.lock().unwrap().reached
    }

    pub fn resume(&self) {
        self.script.pause.lock().unwrap().prefix = None;
        self.script.pause_changed.notify_all();
    }

    /// The calls since the last time this was asked.
    pub fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.script.calls.lock().unwrap())
    }

    fn call(&self, operation: &str, path: &Path) -> io::Result<()> {
        self.script.call(operation, path)
    }
}

impl Script {
    fn call(&self, operation: &str, path: &Path) -> io::Result<()> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let call = format!("{operation} {name}");
        let mut pause = self.pause.lock().unwrap();
        let waits = |pause: &Pause| {
            let is_inside = path.to_string_lossy().contains(&pause.inside);
            is_inside && pause.prefix.as_ref().is_some_and(|prefix| call.starts_with(prefix))
        };
        while waits(&pause) {
            pause.reached = true;
            self.pause_changed.notify_all();
            pause = self.pause_changed.wait(pause).unwrap();
        }
        drop(pause);
        let mut fails = self.fails.lock().unwrap();
        for number in 0..fails.len() {
            let failure = &mut fails[number];
            if !call.starts_with(&failure.prefix) {
                continue;
            }
            match failure.after.checked_sub(1) {
                None => {
                    let kind = failure.kind;
                    if failure.once {
                        fails.remove(number);
                    }
                    return Err(kind.into());
                }
                Some(left) => failure.after = left,
            }
        }
        drop(fails);
        self.calls.lock().unwrap().push(call);
        Ok(())
    }
}

impl Script {
    /// A manifest that is written stands in the list with the state of its topics.
    fn note_manifest(&self, path: &Path, content: &[u8]) {
        if !path.ends_with("ottla.manifest.tmp") {
            return;
        }
        let text = String::from_utf8_lossy(content);
        for line in text.lines().filter(|line| line.starts_with("topic ")) {
            let words: Vec<_> = line.split(' ').collect();
            self.calls.lock().unwrap().push(format!("manifest: {} is {}", words[1], words[3]));
        }
    }
}

impl Vfs for ScriptedVfs {
    fn open(&self, path: &Path, how: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        match how {
            OpenMode::CreateNew | OpenMode::CreateEmpty => self.call("create", path)?,
            OpenMode::Read | OpenMode::Write | OpenMode::Create => self.call("open", path)?,
        }
        let file = self.inner.open(path, how)?;
        Ok(Arc::new(ScriptedFile { inner: file, path: path.to_owned(), script: Arc::clone(&self.script) }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.call("create_dir", path)?;
        self.inner.create_dir(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.inner.read_dir(path)
    }

    fn kind(&self, path: &Path) -> io::Result<Option<EntryKind>> {
        self.inner.kind(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call("rename to", to)?;
        self.inner.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.call("remove", path)?;
        self.inner.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.call("remove_dir", path)?;
        self.inner.remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.call("sync_dir", path)?;
        self.inner.sync_dir(path)
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        self.inner.is_locked(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn VfsLock>>> {
        self.call("lock", path)?;
        self.inner.lock(path)
    }
}

#[derive(Debug)]
struct ScriptedFile {
    inner: Arc<dyn VfsFile>,
    path: PathBuf,
    script: Arc<Script>,
}

impl VfsFile for ScriptedFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.script.call("read", &self.path)?;
        self.inner.read_at(buffer, position)
    }

    fn write_at(&self, buffer: &[u8], position: u64) -> io::Result<usize> {
        self.script.call("write", &self.path)?;
        self.script.note_manifest(&self.path, buffer);
        let most = self.script.most_written.lock().unwrap().unwrap_or(usize::MAX);
        self.inner.write_at(&buffer[..buffer.len().min(most)], position)
    }

    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.script.call("set_len", &self.path)?;
        self.inner.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        if let Err(error) = self.script.call("allocate", &self.path) {
            // As ext4 does on a full disk: a part of it is there.
            self.inner.allocate(len / 2)?;
            return Err(error);
        }
        self.inner.allocate(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.script.call("sync", &self.path)?;
        self.inner.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.script.call("sync", &self.path)?;
        self.inner.sync_all()
    }

    fn map(&self) -> io::Result<bytes::Bytes> {
        self.script.call("map", &self.path)?;
        self.inner.map()
    }

    fn drop_cache(&self) -> io::Result<()> {
        self.script.call("drop_cache", &self.path)?;
        self.inner.drop_cache()
    }

    fn read_uncached_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.script.call("read_uncached", &self.path)?;
        self.inner.read_uncached_at(buffer, position)
    }
}
