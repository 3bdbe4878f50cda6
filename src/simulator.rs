//! A disk in memory that crashes and fails, for the tests of a service: whatever a power cut may leave is opened and
//! looked at, after every call that changed something.
//!
//! A service that acknowledges, commits or forwards something in the wrong order works on every day but one. [`CrashTest`]
//! makes that day: it runs a service on a [`Disk`], ends the process at each call of the file system in turn, and shows
//! whatever may be on the disk then to a check. With the same seed it does the same again, byte for byte.
//!
//! ```
//! use ottla::simulator::{CrashTest, Disk};
//! use ottla::{Broker, Record, Result, Start, TopicConfig};
//!
//! fn open(disk: &Disk) -> Result<Broker> {
//!     Broker::options().background(false).reserve_bytes(0).open_on(disk, "/data")
//! }
//!
//! /// The service; what it has promised to others goes into `promised`.
//! fn take_orders(disk: &Disk, promised: &mut Vec<String>) -> Result<()> {
//!     let orders = open(disk)?.ensure_topic("orders", TopicConfig::new())?;
//!     for order in ["tea", "cake"] {
//!         orders.producer().send(Record::new(order))?.wait()?; // without this wait the check fails
//!         promised.push(order.to_owned());
//!     }
//!     Ok(())
//! }
//!
//! let report = CrashTest::new().run(
//!     |disk| {
//!         let mut promised = Vec::new();
//!         _ = take_orders(disk, &mut promised); // it fails when its process is ended
//!         promised
//!     },
//!     |image, promised| {
//!         let orders = open(&image.disk).and_then(|broker| broker.ensure_topic("orders", TopicConfig::new())).unwrap();
//!         let mut found = Vec::new();
//!         for batch in orders.partition(0).unwrap().read(Start::Earliest).unwrap() {
//!             found.extend(batch.unwrap().records().map(|order| String::from_utf8(order.value.unwrap().to_vec()).unwrap()));
//!         }
//!         assert!(found.starts_with(promised), "{image}: {found:?}, promised {promised:?}");
//!     },
//! );
//! assert!(report.crash_points > 20 && report.images > report.crash_points);
//! # Ok::<(), ottla::Error>(())
//! ```
//!
//! What a call does when it fails, as on a full disk, is tried with [`Disk::fail_nth`] and [`Disk::fail_next`].
//!
//! What is simulated: a sync of a file keeps its data and length, and not its name; a sync of a directory keeps the names
//! in it; a sync that fails has lost what it was to sync, while reads still see it. What is not: damage of what was synced,
//! and writes that damage bytes beside them ([`CrashProfile::AdversarialTornSectors`] does that, and no log survives it).
//! Brokers [without threads](BrokerOptions::background) make the same calls on every run; with threads a crash test works,
//! and cannot be repeated.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::broker::{Broker, BrokerOptions};
use crate::error::Result;
use crate::vfs::MemoryVfs;

pub use crate::vfs::{Call, CallCounts, CrashProfile, Fault, ImageClass, Operation, Repeat};

/// A file system in memory, with everything that is needed to crash it; clones are handles to the same one.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    vfs: MemoryVfs,
}

impl Disk {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An independent copy as another process finds it after this one was killed: everything that was written is there,
    /// and what was not synced is still at stake.
    ///
    /// ```
    /// # use ottla::{Broker, Record, TopicConfig, simulator::Disk};
    /// let disk = Disk::new();
    /// let broker = Broker::options().open_on(&disk, "/data")?;
    /// broker.ensure_topic("orders", TopicConfig::new())?.producer().send(Record::new("tea"))?.wait()?;
    /// let after = Broker::options().open_on(&disk.restart(), "/data")?;
    /// assert!(!after.recovery_report().is_clean());
    /// assert_eq!(after.topic("orders")?.partition(0)?.high_watermark(), 1);
    /// # Ok::<(), ottla::Error>(())
    /// ```
    #[must_use]
    pub fn restart(&self) -> Self {
        Self { vfs: self.vfs.restart() }
    }

    /// What may be on the disk if the power goes now: distinct images, at most `most` of them. If that many hold all
    /// combinations of what may have happened to each unsynced thing, all are listed; if not, those in which nothing and
    /// everything has happened, a choice of those in which everything has but one thing or nothing has but one, and some
    /// by chance. One seed gives one list.
    pub fn crash_images(
        &self,
        profile: CrashProfile,
        most: usize,
        seed: u64,
    ) -> impl Iterator<Item = CrashImage> + use<> {
        let images = self.vfs.images(profile, most, seed);
        images.map(|image| CrashImage { disk: Self { vfs: image.vfs }, description: image.description })
    }

    /// Carries out the next `changing` calls that [change](Operation::changes) something, and those between them; at the
    /// next one the process is dead, and that and every later call fails, those of closing, too.
    pub fn stop_after(&self, changing: u64) {
        self.vfs.stop_after(changing);
    }

    /// Whether the process is dead by now.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.vfs.is_stopped()
    }

    /// The `n`-th call from now, counted from 1, fails in this way; with [`Repeat::Forever`] all behind it do as well. It
    /// takes the place of the fault that was told before.
    ///
    /// ```
    /// # use ottla::{Broker, ErrorKind, Record, TopicConfig, simulator::{Disk, Fault, Operation, Repeat}};
    /// let disk = Disk::new();
    /// let broker = Broker::options().background(false).open_on(&disk, "/data")?;
    /// let orders = broker.ensure_topic("orders", TopicConfig::new())?.producer();
    ///
    /// disk.fail_nth(1, Fault::NoSpace, Repeat::Forever);
    /// assert_eq!(orders.send(Record::new("tea"))?.wait().unwrap_err().kind(), ErrorKind::NotWritten);
    /// disk.fail_no_more();
    /// orders.send(Record::new("tea"))?.wait()?; // safe to retry
    ///
    /// disk.fail_next(Operation::SyncData, Fault::Io);
    /// assert!(orders.send(Record::new("cake"))?.wait().unwrap_err().is_indeterminate());
    /// # Ok::<(), ottla::Error>(())
    /// ```
    pub fn fail_nth(&self, n: u64, fault: Fault, repeat: Repeat) {
        self.vfs.fail_nth(n, fault, repeat);
    }

    /// The next call of this operation fails in this way, once. It takes the place of the fault that was told before.
    pub fn fail_next(&self, operation: Operation, fault: Fault) {
        self.vfs.fail_next(operation, fault);
    }

    /// No call fails from now on; what a failed sync lost stays lost.
    pub fn fail_no_more(&self) {
        self.vfs.fail_no_more();
    }

    /// The first call that failed since a fault, or a stop, was told. `None` if the call has not come yet, or the fault
    /// could not happen to it.
    #[must_use]
    pub fn failed_call(&self) -> Option<Call> {
        self.vfs.failed_call()
    }

    /// How many calls there were so far.
    #[must_use]
    pub fn calls(&self) -> CallCounts {
        self.vfs.counts()
    }
}

/// What a crash left.
#[derive(Clone, Debug)]
pub struct CrashImage {
    /// A disk in that state, with nothing pending, no lock held and no call failing.
    pub disk: Disk,
    /// Where the process ended, and what became of what it had not synced.
    pub description: String,
}

impl fmt::Display for CrashImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.description)
    }
}

/// How thoroughly a service is crashed.
#[derive(Clone, Debug)]
pub struct CrashTest {
    profiles: Vec<CrashProfile>,
    images: usize,
    seed: u64,
}

/// What a [`CrashTest`] has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrashReport {
    /// At how many calls the process was ended.
    pub crash_points: u64,
    /// How many disks were checked.
    pub images: u64,
}

impl Default for CrashTest {
    fn default() -> Self {
        Self::new()
    }
}

impl CrashTest {
    /// With the defaults of each setting.
    #[must_use]
    pub fn new() -> Self {
        let profiles = vec![CrashProfile::Strict, CrashProfile::Ordered, CrashProfile::Adversarial];
        Self { profiles, images: 8, seed: 0 }
    }

    /// How disks and file systems treat what was not synced. Default: [`CrashProfile::Strict`],
    /// [`CrashProfile::Ordered`] and [`CrashProfile::Adversarial`].
    #[must_use]
    pub fn profiles(mut self, profiles: impl Into<Vec<CrashProfile>>) -> Self {
        self.profiles = profiles.into();
        self
    }

    /// How many images of each profile are looked at at each call, at most. Default: 8.
    #[must_use]
    pub fn images(mut self, most: usize) -> Self {
        self.images = most;
        self
    }

    /// What decides which images, where there are more. Default: 0.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Runs `life` on an empty disk again and again, ended after no call that changes something, after one, after two,
    /// until it comes to its end. Each time `check` is shown whatever may be on the disk then: what a killed process has
    /// left, and what a power cut may have; and what `life` has returned, the promises that it made.
    ///
    /// A check fails by panicking; the image says in words what is special about it.
    pub fn run<T>(&self, life: impl Fn(&Disk) -> T, mut check: impl FnMut(&CrashImage, &T)) -> CrashReport {
        let mut report = CrashReport { crash_points: 0, images: 0 };
        loop {
            let disk = Disk::new();
            disk.stop_after(report.crash_points);
            let promises = life(&disk);
            let call = match disk.failed_call() {
                Some(call) => format!("ended at {call}"),
                None => "at its end".to_owned(),
            };
            let killed = [CrashImage { disk: disk.restart(), description: "killed".to_owned() }];
            let images =
                self.profiles.iter().flat_map(|profile| disk.crash_images(*profile, self.images, self.seed));
            for CrashImage { disk, description } in killed.into_iter().chain(images) {
                check(&CrashImage { disk, description: format!("{call}, {description}") }, &promises);
                report.images += 1;
            }
            if !disk.is_stopped() {
                return report;
            }
            report.crash_points += 1;
        }
    }
}

impl BrokerOptions {
    /// Opens a data directory on a [`Disk`], creating it if there is nothing at `path`, an absolute one.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub fn open_on(self, disk: &Disk, path: impl AsRef<Path>) -> Result<Broker> {
        self.open_with(Arc::new(disk.vfs.clone()), path.as_ref())
    }
}
