//! The decoders and the file systems, for the project's own suites and fuzz targets.

use std::path::Path;
use std::sync::Arc;

use crate::broker::{Broker, BrokerOptions, HandOver, HandOverReport, Manifest, Partition, UndoReport};
use crate::error::Result;
use crate::group::GroupRecord;
use crate::inspect::read_only::ReadOnlyBroker;
use crate::inspect::{Inspect, Items, Salvage, SalvageReport, Verify, VerifyReport};
use crate::model::{Compression, Offset, Record, Timestamp, TopicId};
use crate::partition_log::LeaderEpochs;
use crate::producer_snapshot::ProducerSnapshot;
use crate::record_batch::{BatchBuilder, BatchHeader, Codecs, RecordBatch, RecordParts};

#[cfg(ottla_check)]
pub use crate::agenda::{Agenda, Chore, Crew, Reminder};
pub use crate::group::{
    Acquisition, Assignment, Assignor, Candidate, Committed, CommittedGroup, CommittedOffsets,
    DeliveryCounts, Effect, Generation, Group, GroupConfig, GroupError, GroupMetadataValue, GroupSnapshot,
    GroupState, InFlight, JoinAnswer, JoinRequest, Member, MemberId, MemberMetadata, MemberProtocol,
    MemberSnapshot, PartitionCounts, Rejection, RemovalReason, Shares, Subscriber, Subscribers, Subscription,
    TopicPartition, read_generation, write_generation,
};
#[cfg(ottla_check)]
pub use crate::mutant::{Mutant, VARIABLE as MUTANT_VARIABLE, chosen as chosen_mutant};
pub use crate::record_batch::{read_varint, read_varlong, write_varlong};
pub use crate::vfs::{
    Call, CallCounts, CrashProfile, DirEntry, EntryKind, Fault, Image, ImageClass, Images, MemoryVfs,
    OpenMode, Operation, OsVfs, Repeat, Vfs, VfsFile, VfsLock,
};

/// Opens a broker on a file system of the caller's.
pub fn open_on(options: BrokerOptions, vfs: Arc<dyn Vfs>, path: &Path) -> Result<Broker> {
    options.open_with(vfs, path)
}

/// Undoes an adoption on a file system of the caller's.
pub fn undo_adoption_on(options: BrokerOptions, vfs: Arc<dyn Vfs>, path: &Path) -> Result<UndoReport> {
    crate::broker::give_back(&vfs, path, options)
}

/// Hands a topic over on a file system of the caller's.
pub fn hand_over_on(hand_over: HandOver, vfs: Arc<dyn Vfs>) -> Result<HandOverReport> {
    hand_over.run_on(&vfs)
}

/// The same without threads, where ticks come as soon as threads would do what is due.
pub fn open_ticked_on(options: BrokerOptions, vfs: Arc<dyn Vfs>, path: &Path) -> Result<Broker> {
    options.background(false).relying_on_ticks().open_with(vfs, path)
}

/// The partition that a Kafka broker has left in a directory, whole or damaged, to be read in the place of `partition`.
pub fn kafka_partition(
    partition: &Partition,
    vfs: Arc<dyn Vfs>,
    dir: &Path,
    maps: bool,
) -> Result<Partition> {
    partition.instead(vfs, dir, maps)
}

/// Checks the bytes of one batch, as a reader does.
pub fn decode_batch(bytes: &[u8]) -> Result<RecordBatch> {
    decode_batch_within(bytes, i32::MAX as usize)
}

/// The same, where a batch may hold so many bytes once it is decompressed.
pub fn decode_batch_within(bytes: &[u8], limit: usize) -> Result<RecordBatch> {
    RecordBatch::parse(bytes.to_vec().into(), &Codecs::new(limit))
}

/// Checks what recovery checks of the bytes of one batch, and returns the offset behind it.
pub fn check_whole_batch(bytes: &[u8]) -> Result<Offset> {
    RecordBatch::check_whole(bytes.to_vec().into()).map(|header| header.next_offset())
}

/// Writes a batch, as a partition does; the base timestamp is that of the first record.
#[must_use]
pub fn encode_batch(base_offset: Offset, records: &[(Offset, Timestamp, Record<'_>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let base_timestamp = records.first().map_or(-1, |(_, timestamp, _)| *timestamp);
    let mut batch = BatchBuilder::begin(&mut bytes, base_offset, base_timestamp);
    for (offset, timestamp, Record { key, value, headers, .. }) in records {
        batch.push(&mut bytes, *offset, *timestamp, &RecordParts { key: *key, value: *value, headers });
    }
    batch.finish(&bytes).seal(&mut bytes);
    bytes
}

/// Compresses a batch as a partition does, also where that makes it larger.
pub fn compress_batch(bytes: &[u8], compression: Compression) -> Result<Vec<u8>> {
    let mut header = BatchHeader::read(bytes)?;
    header.attributes = header.attributes.with_compression(compression);
    let mut packed = Codecs::new(bytes.len()).pack_always(compression, bytes)?;
    header.seal(&mut packed);
    Ok(packed)
}

/// Reads a manifest, and writes it again.
pub fn decode_manifest(bytes: &[u8]) -> Result<String> {
    Manifest::decode(bytes).map(|manifest| manifest.encode())
}

/// Reads a leader epoch checkpoint, and writes it again.
pub fn decode_leader_epochs(bytes: &[u8]) -> Result<String> {
    LeaderEpochs::decode(bytes).map(|epochs| epochs.encode())
}

/// What stands in a file or directory of a file system of the caller's.
pub fn inspect_on(inspect: Inspect, vfs: Arc<dyn Vfs>, path: &Path) -> Result<Items> {
    inspect.open_on(vfs, path)
}

/// Verifies a data directory on a file system of the caller's.
pub fn verify_on(vfs: Arc<dyn Vfs>, path: &Path) -> Result<VerifyReport> {
    Verify::new().run_on(vfs, path)
}

/// Salvages a data directory on a file system of the caller's.
pub fn salvage_on(vfs: Arc<dyn Vfs>, from: &Path, to: &Path) -> Result<SalvageReport> {
    Salvage::new().run_on(vfs, from, to)
}

/// The same as the caller has it.
pub fn salvage_with(
    salvage: Salvage<'_>,
    vfs: Arc<dyn Vfs>,
    from: &Path,
    to: &Path,
) -> Result<SalvageReport> {
    salvage.run_on(vfs, from, to)
}

/// Opens a data directory to read it on a file system of the caller's.
pub fn open_read_only_on(vfs: Arc<dyn Vfs>, path: &Path) -> Result<ReadOnlyBroker> {
    ReadOnlyBroker::open_on(vfs, path)
}

/// Reads a producer snapshot, and writes it again.
pub fn decode_producer_snapshot(bytes: &[u8]) -> Result<Vec<u8>> {
    ProducerSnapshot::decode(bytes).map(|snapshot| snapshot.encode())
}

/// Reads a `partition.metadata` file.
pub fn decode_partition_metadata(bytes: &[u8]) -> Result<TopicId> {
    crate::broker::decode_partition_metadata(bytes)
}

/// Reads a record of `__consumer_offsets`, and writes it again; `None` for another kind of group's.
pub fn decode_group_record(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Option<GroupRecordBytes>> {
    GroupRecord::decode(key, value)?.map(|record| record.encode()).transpose()
}

/// The bytes of a key, and of a value if it is no tombstone.
pub type GroupRecordBytes = (Vec<u8>, Option<Vec<u8>>);
