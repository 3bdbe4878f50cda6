//! Arbitrary bytes as a record batch: the decoder refuses them, or gives records that hold together.
//!
//! The first byte chooses: even, the rest is the batch as it is; odd, its length, magic and checksum are made
//! right before, since no random checksum ever is. Its second bit has the records be compressed before that, and its
//! third bit cut off the end of what they become.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ottla::{Compression, OwnedRecord, Record, RecordBatch, RecordView, internals};

const MAGIC: usize = 16;
const CRC: usize = 17;
const BEHIND_CRC: usize = 21;
const CODEC: usize = 22;
const HEADER_LEN: usize = 61;
/// So much a batch may hold once it is decompressed: more than that is taken from nobody's memory.
const MOST: usize = 1024 * 1024;

fuzz_target!(|input: &[u8]| {
    let Some((choice, bytes)) = input.split_first() else { return };
    let mut bytes = bytes.to_vec();
    if choice % 2 == 1 {
        repair(&mut bytes);
    }
    if choice & 2 != 0 {
        bytes = compress(bytes);
    }
    if choice & 4 != 0 && bytes.pop().is_some() {
        repair(&mut bytes);
    }
    let decoded = internals::decode_batch_within(&bytes, MOST);
    let whole = internals::check_whole_batch(&bytes);
    let Ok(batch) = decoded else { return };
    assert_eq!(whole.expect("what is read is whole"), batch.next_offset());
    check(&batch, &bytes);
    check_compressed(&batch, &bytes);
    check_written_again(&batch);
});

fn repair(bytes: &mut [u8]) {
    if bytes.len() < BEHIND_CRC {
        return;
    }
    let length = i32::try_from(bytes.len() - 12).unwrap();
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    bytes[MAGIC] = 2;
    let crc = crc_fast::crc32_iscsi(&bytes[BEHIND_CRC..]);
    bytes[CRC..BEHIND_CRC].copy_from_slice(&crc.to_be_bytes());
}

/// With the codec that its header names, if the records are not compressed already.
fn compress(bytes: Vec<u8>) -> Vec<u8> {
    let codecs = [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    let codec = bytes.get(CODEC).and_then(|byte| codecs.get(usize::from(byte & 0b111).checked_sub(1)?));
    let Some(codec) = codec.filter(|_| bytes.len() >= HEADER_LEN) else { return bytes };
    internals::compress_batch(&bytes, *codec).unwrap_or(bytes)
}

/// A plain batch comes back from every codec.
fn check_compressed(batch: &RecordBatch, bytes: &[u8]) {
    if batch.compression() != Compression::None {
        return;
    }
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let compressed = internals::compress_batch(bytes, codec).expect("any bytes can be compressed");
        let again = internals::decode_batch_within(&compressed, MOST).expect("what was written is read");
        assert_eq!(again.compression(), codec);
        assert!(again.iter().eq(batch));
    }
}

fn check(batch: &RecordBatch, bytes: &[u8]) {
    assert_eq!(batch.size(), bytes.len());
    assert_eq!(batch.next_offset(), batch.last_offset() + 1);
    let offsets = batch.base_offset()..=batch.last_offset();

    let records: Vec<RecordView<'_>> = batch.iter().collect();
    assert_eq!(batch.iter().size_hint(), (records.len(), Some(records.len())));
    let mut least = batch.base_offset();
    for record in &records {
        assert!(offsets.contains(&record.offset()), "{} lies outside {offsets:?}", record.offset());
        assert!(record.offset() >= least, "{} is below {least}", record.offset());
        least = record.offset() + 1;

        let headers: Vec<_> = record.headers().collect();
        assert_eq!(headers.len(), record.headers().len(), "the headers end before their count");
        for header in &headers {
            // Of several headers with one name it is the last.
            let last = headers.iter().rfind(|other| other.key_bytes() == header.key_bytes());
            if let Ok(name) = std::str::from_utf8(header.key_bytes()) {
                assert_eq!(header.key(), name);
                assert_eq!(record.header(name), last.map(|last| last.value()));
            }
        }
    }
    assert!(batch.iter().eq(records.iter().copied()), "a second reading gives something else");
    assert!(batch.records().eq(records.iter().map(RecordView::to_owned)));
    let again = internals::decode_batch_within(bytes, MOST).expect("it was decoded before");
    assert!(again == *batch && again.iter().eq(batch));
    // Takes apart everything once more.
    _ = format!("{batch:?}");
}

/// Whatever a producer could have sent comes back when it is written by the library itself.
fn check_written_again(batch: &RecordBatch) {
    let records: Vec<OwnedRecord> = batch.records().collect();
    let sendable = |record: &OwnedRecord| record.timestamp.is_some_and(|timestamp| timestamp >= 0);
    if !records.iter().all(sendable) {
        return;
    }
    let parts: Vec<_> = records
        .iter()
        .map(|record| (record.offset, record.timestamp.unwrap_or_default(), to_send(record)))
        .collect();
    let bytes = internals::encode_batch(batch.base_offset(), &parts);
    let written = internals::decode_batch(&bytes).expect("what the library wrote can be read");
    let without_epoch =
        |record: OwnedRecord| (record.offset, record.timestamp, record.key, record.value, record.headers);
    assert!(written.records().map(without_epoch).eq(records.iter().cloned().map(without_epoch)));
    assert_eq!(written.max_timestamp(), records.iter().filter_map(|record| record.timestamp).max());
}

fn to_send(record: &OwnedRecord) -> Record<'_> {
    let mut to_send = match &record.value {
        Some(value) => Record::new(value),
        None => Record::default(),
    };
    if let Some(key) = &record.key {
        to_send = to_send.key(key);
    }
    for (name, value) in &record.headers {
        to_send = match value {
            Some(value) => to_send.header(name, value),
            None => to_send.null_header(name),
        };
    }
    to_send
}
