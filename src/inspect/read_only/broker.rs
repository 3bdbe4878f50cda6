//! The read-only broker: the handle that users hold.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::found_log::FoundLog;
use super::partition::FoundPartition;
use super::topic::{FoundTopic, ReadOnlyTopic};
use crate::broker::{absent, in_use};
use crate::config::{Durability, TopicConfig};
use crate::error::{Error, ErrorKind, IoContext, Result};
use crate::file_name::RETURNING;
use crate::inspect::codecs;
use crate::inspect::survey::{DirectoryKind, PartitionPlace, Survey};
use crate::inspect::target::require_finished;
use crate::model::{DirectoryId, TopicName};
use crate::record_batch::Codecs;
use crate::vfs::{OsVfs, Vfs};

/// A data directory that is only read, and that nobody has open: ours or a stopped Kafka broker's.
///
/// It changes nothing: no byte is written, no file made, nothing repaired or deleted, and no lock taken, so that the right
/// to read the files is enough. For looking at a directory that a service has left, on a copy, a snapshot or a disk that
/// is mounted read-only; for getting records out of one that [`Broker::open`](crate::Broker::open) refuses; for tools.
///
/// **What is there to be read** is what is proven to be durable. After an orderly stop that is everything. Else
/// ([`is_unrecovered`](Self::is_unrecovered)) of a topic that is synced it ends at the proven end, though recovery may keep
/// more than that; of one whose [durability](crate::Durability) is less, and of a Kafka broker's, it goes on to
/// where readers could see, as far as the batches are whole.
///
/// **What is damaged is a [`Gap`](crate::Gap)** between what is sound. A manifest or an ends file that cannot be read is an
/// error of opening; a partition of which leader epochs, topic id or both slots cannot be read is an error of
/// [reading](crate::ReadOnlyPartition::read) that partition.
///
/// **An owner that comes meanwhile** is not noticed until something is read: from then on reading ends with
/// [`DirectoryInUse`](ErrorKind::DirectoryInUse), also after that owner has gone again. What was handed out before is what
/// stood there when the directory was opened. Files are never mapped.
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("ottla-doc-read-only-{}", std::process::id()));
/// use ottla::{Piece, ReadOnlyBroker, Start};
/// # use ottla::{Broker, Record, TopicConfig};
/// # let broker = Broker::open(&dir)?;
/// # broker.ensure_topic("orders", TopicConfig::new())?.producer().send(Record::new("paid"))?.wait()?;
/// # broker.close(std::time::Duration::from_secs(10))?;
///
/// let broker = ReadOnlyBroker::open(&dir)?;
/// let mut values = Vec::new();
/// for topic in broker.topics() {
///     for partition in topic.partitions() {
///         for piece in partition.read(Start::Earliest)? {
///             match piece? {
///                 Piece::Batch(batch) => values.extend(batch.records().filter_map(|record| record.value)),
///                 Piece::Gap(gap) => eprintln!("{gap}"),
///             }
///         }
///     }
/// }
/// assert_eq!(values, [b"paid"[..].into()]);
/// # std::fs::remove_dir_all(&dir).ok();
/// # Ok::<(), ottla::Error>(())
/// ```
#[derive(Clone)]
pub struct ReadOnlyBroker {
    opened: Arc<Opened>,
}

/// What all handles share: the directory, as it was found.
pub struct Opened {
    pub survey: Survey,
    topics: BTreeMap<TopicName, Arc<FoundTopic>>,
}

impl ReadOnlyBroker {
    /// Opens a data directory to read it.
    ///
    /// # Errors
    /// [`DirectoryInUse`](ErrorKind::DirectoryInUse) if somebody has it open, or opens it at this moment;
    /// [`DirectoryNotOurs`](ErrorKind::DirectoryNotOurs) if there is no data directory, or one that is on its way back to
    /// Kafka; [`CorruptMessage`](ErrorKind::CorruptMessage) if the manifest or the ends file is damaged, for without them
    /// nobody knows what there is to be; [`StorageError`](ErrorKind::StorageError).
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::open_on(Arc::new(OsVfs), &std::path::absolute(path).doing("find", path)?)
    }

    pub(crate) fn open_on(vfs: Arc<dyn Vfs>, root: &Path) -> Result<Self> {
        if vfs.kind(root).doing("look at", root)?.is_none() {
            return Err(absent(root, false));
        }
        let survey = Survey::take(vfs, root)?;
        require_finished(&survey)?;
        if survey.is_live {
            return Err(in_use(survey.vfs.as_ref(), root));
        }
        check_root(&survey)?;
        let topics = find_topics(&survey, &codecs());
        survey.require_unchanged()?;
        Ok(Self { opened: Arc::new(Opened { survey, topics }) })
    }

    /// Whether the last stop was not an orderly one, so that [`Broker::open`](crate::Broker::open) would recover the
    /// directory: there may be more behind what is shown, and a batch that was half written.
    #[must_use]
    pub fn is_unrecovered(&self) -> bool {
        !self.opened.survey.is_clean()
    }

    /// The identity of the data directory; a copy of it has the same one, and a Kafka broker's has none.
    #[must_use]
    pub fn directory_id(&self) -> Option<DirectoryId> {
        let survey = &self.opened.survey;
        survey.manifest.as_ref().ok().map(|manifest| manifest.directory)
    }

    /// Every topic, by name.
    #[must_use]
    pub fn topics(&self) -> Vec<ReadOnlyTopic> {
        let topics = self.opened.topics.values();
        topics.map(|topic| ReadOnlyTopic::new(Arc::clone(&self.opened), Arc::clone(topic))).collect()
    }

    /// The topic of this name.
    ///
    /// # Errors
    /// [`UnknownTopicOrPartition`](ErrorKind::UnknownTopicOrPartition), [`InvalidTopic`](ErrorKind::InvalidTopic).
    pub fn topic(&self, name: &str) -> Result<ReadOnlyTopic> {
        let found = self.opened.topics.get(&TopicName::new(name)?).cloned();
        let found = found.ok_or_else(|| {
            Error::new(ErrorKind::UnknownTopicOrPartition, "there is no such topic").in_topic(name)
        })?;
        Ok(ReadOnlyTopic::new(Arc::clone(&self.opened), found))
    }
}

impl fmt::Debug for ReadOnlyBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadOnlyBroker").field("root", &self.opened.survey.root).finish_non_exhaustive()
    }
}

/// Fails if nothing tells what the directory holds.
fn check_root(survey: &Survey) -> Result<()> {
    if survey.kind == DirectoryKind::Kafka {
        return Ok(());
    }
    if survey.entries.iter().any(|entry| entry.name == RETURNING) {
        let what = "the directory is being given back to Kafka, which was interrupted";
        return Err(Error::new(ErrorKind::DirectoryNotOurs, what)
            .in_file(&survey.root)
            .advise("undo the adoption once more, which goes on where it was; nothing was changed"));
    }
    let unreadable = survey.manifest.as_ref().err().or(survey.ends.as_ref().err());
    match unreadable.cloned() {
        None => Ok(()),
        Some(error) if error.is_corruption() => Err(error.advise(
            "without it nobody knows what the directory is to hold: restore it from a copy, or salvage what is sound \
             into a new directory; nothing was changed",
        )),
        Some(error) => Err(error),
    }
}

fn find_topics(survey: &Survey, codecs: &Arc<Codecs>) -> BTreeMap<TopicName, Arc<FoundTopic>> {
    let mut topics: BTreeMap<TopicName, FoundTopic> = BTreeMap::new();
    if let (DirectoryKind::Ottla, Ok(manifest)) = (survey.kind, &survey.manifest) {
        for (name, entry) in manifest.topics.iter().filter(|(_, entry)| entry.state.is_there()) {
            topics.insert(name.clone(), FoundTopic::new(name, Some(entry.id), entry.config.clone()));
        }
    }
    for place in &survey.partitions {
        let topic = topics.entry(place.topic.clone()).or_insert_with(|| kafkas(place));
        let log = FoundLog::look(survey, place, codecs).map_err(|error| placed(error, place));
        topic.add(place.partition, FoundPartition::new(place.clone(), log));
    }
    topics.into_iter().map(|(name, topic)| (name, Arc::new(topic))).collect()
}

/// A topic of a Kafka broker, which keeps configurations elsewhere.
fn kafkas(place: &PartitionPlace) -> FoundTopic {
    let config = TopicConfig::new().or_durability(Durability::Os);
    FoundTopic::new(&place.topic, place.id, config)
}

fn placed(error: Error, place: &PartitionPlace) -> Error {
    let error = error.in_partition(place.topic.as_str(), place.partition);
    if error.is_corruption() {
        error.advise(
            "restore it from a copy, or salvage what is sound into a new directory; nothing was changed",
        )
    } else {
        error
    }
}
