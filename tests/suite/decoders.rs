//! Every decoder under arbitrary and damaged bytes: an error or the truth, never a panic.

use ottla::internals::{
    check_whole_batch, compress_batch, decode_batch, decode_batch_within, decode_leader_epochs,
    decode_manifest, decode_partition_metadata, encode_batch, read_varint, read_varlong, write_varlong,
};
use ottla::{Compression, ErrorKind, Record};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

const CODECS: [Compression; 4] =
    [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

#[derive(Clone, Debug)]
struct Sample {
    offset_step: u64,
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

fn sample() -> impl Strategy<Value = Sample> {
    let bytes = || option::of(vec(any::<u8>(), 0..200));
    let name = vec(any::<char>(), 0..5).prop_map(|name| name.into_iter().collect::<String>());
    (1..1000u64, 0..i64::MAX, bytes(), bytes(), vec((name, bytes()), 0..4)).prop_map(
        |(offset_step, timestamp, key, value, headers)| Sample {
            offset_step,
            timestamp,
            key,
            value,
            headers,
        },
    )
}

/// Encodes the samples as one batch from `base` on.
fn encode(base: u64, samples: &[Sample]) -> (Vec<u8>, Vec<u64>) {
    let mut offset = base;
    let mut offsets = Vec::new();
    let records: Vec<_> = samples
        .iter()
        .map(|sample| {
            let mut record = match &sample.value {
                Some(value) => Record::new(value),
                None => Record::tombstone(""),
            };
            record = match &sample.key {
                Some(key) => record.key(key),
                None if sample.value.is_some() => record,
                None => record.key("k"),
            };
            for (name, value) in &sample.headers {
                record = match value {
                    Some(value) => record.header(name, value),
                    None => record.null_header(name),
                };
            }
            offsets.push(offset);
            let encoded = (offset, sample.timestamp, record);
            offset += sample.offset_step;
            encoded
        })
        .collect();
    (encode_batch(base, &records), offsets)
}

/// Makes the checksum fit what it covers, so that the checks behind it are reached.
fn with_crc(bytes: &mut [u8]) {
    if bytes.len() >= 61 {
        let length = i32::try_from(bytes.len() - 12).unwrap();
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        bytes[16] = 2;
        let crc = crc_fast::crc32_iscsi(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    }
}

/// So much a batch of the suite may hold once it is decompressed.
const MOST: usize = 64 * 1024;

/// Whatever decodes gives records that keep the invariants of a batch.
fn check(bytes: &[u8]) {
    let Ok(batch) = decode_batch_within(bytes, MOST) else { return };
    let mut least = batch.base_offset();
    for record in &batch {
        assert!(record.offset() >= least && record.offset() <= batch.last_offset());
        least = record.offset() + 1;
        let size = record.key().map_or(0, <[u8]>::len) + record.value().map_or(0, <[u8]>::len);
        assert!(size <= if batch.compression() == Compression::None { bytes.len() } else { MOST });
        assert_eq!(record.headers().count(), record.headers().len());
        assert_eq!(record.to_owned().headers.len(), record.headers().len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read(base in 0..u64::MAX / 4, samples in vec(sample(), 1..20)) {
        let (bytes, offsets) = encode(base, &samples);
        let batch = decode_batch(&bytes).unwrap();
        prop_assert_eq!(batch.iter().count(), samples.len());
        prop_assert_eq!(batch.max_timestamp(), samples.iter().map(|sample| sample.timestamp).max());
        for ((record, sample), offset) in batch.iter().zip(&samples).zip(offsets) {
            prop_assert_eq!(record.offset(), offset);
            prop_assert_eq!(record.timestamp(), Some(sample.timestamp));
            prop_assert_eq!(record.value(), sample.value.as_deref());
            if sample.value.is_some() {
                prop_assert_eq!(record.key(), sample.key.as_deref());
            }
            let headers: Vec<_> = record
                .headers()
                .map(|header| (header.key().into_owned(), header.value().map(<[u8]>::to_vec)))
                .collect();
            prop_assert_eq!(&headers, &sample.headers);
        }
    }

    #[test]
    fn arbitrary_bytes_are_no_panic(mut bytes in vec(any::<u8>(), 0..300)) {
        check(&bytes);
        with_crc(&mut bytes);
        check(&bytes);
        _ = decode_manifest(&bytes);
        _ = decode_leader_epochs(&bytes);
        _ = decode_partition_metadata(&bytes);
    }

    /// Damage behind the header with a checksum that fits: the structure of the records is all that is left to
    /// catch it.
    #[test]
    fn damaged_records_with_a_fitting_checksum_are_no_panic(
        samples in vec(sample(), 1..5),
        edits in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in option::of(any::<prop::sample::Index>()),
    ) {
        let (mut bytes, _) = encode(0, &samples);
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        with_crc(&mut bytes);
        check(&bytes);
    }

    #[test]
    fn damage_behind_the_checksum_is_always_caught(
        samples in vec(sample(), 1..5),
        at in any::<prop::sample::Index>(),
        flip in 1..=255u8,
    ) {
        let (mut bytes, _) = encode(0, &samples);
        let at = 17 + at.index(bytes.len() - 17);
        bytes[at] ^= flip;
        prop_assert!(decode_batch(&bytes).unwrap_err().is_corruption());
    }

    #[test]
    fn what_is_compressed_is_read_as_it_was(
        base in 0..u64::MAX / 4,
        samples in vec(sample(), 1..20),
        codec in select(&CODECS[..]),
    ) {
        let (plain, _) = encode(base, &samples);
        let bytes = compress_batch(&plain, codec).unwrap();
        let (plain, batch) = (decode_batch(&plain).unwrap(), decode_batch(&bytes).unwrap());
        prop_assert_eq!((batch.compression(), batch.size()), (codec, bytes.len()));
        prop_assert!(batch.iter().eq(&plain));
        prop_assert_eq!(batch.next_offset(), plain.next_offset());
        prop_assert_eq!(batch.max_timestamp(), plain.max_timestamp());
        prop_assert_eq!(check_whole_batch(&bytes).unwrap(), plain.next_offset());
        // The records alone count.
        let size = plain.size() - 61;
        prop_assert!(decode_batch_within(&bytes, size).is_ok());
        let error = decode_batch_within(&bytes, size - 1).unwrap_err();
        prop_assert_eq!((error.kind(), error.offset()), (ErrorKind::MessageTooLarge, Some(base)));
        for offset in [base, batch.last_offset()] {
            let at = plain.iter().position(|record| record.offset() >= offset).unwrap();
            prop_assert!(batch.iter().skip(at).eq(plain.iter().skip(at)));
        }
    }

    /// The codec gets anything, since the checksum fits: an error, or records that hold together.
    #[test]
    fn damaged_compressed_batches_are_no_panic(
        samples in vec(sample(), 1..5),
        codec in select(&CODECS[..]),
        edits in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in option::of(any::<prop::sample::Index>()),
        behind in vec(any::<u8>(), 0..10),
    ) {
        let mut bytes = compress_batch(&encode(0, &samples).0, codec).unwrap();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        bytes.extend(&behind);
        with_crc(&mut bytes);
        check(&bytes);
    }

    #[test]
    fn a_compressed_batch_that_is_cut_or_too_long_is_refused(
        samples in vec(sample(), 1..5),
        codec in select(&CODECS[..]),
        cut in any::<prop::sample::Index>(),
        behind in vec(any::<u8>(), 1..30),
    ) {
        let good = compress_batch(&encode(0, &samples).0, codec).unwrap();
        let mut short = good[..61 + cut.index(good.len() - 61)].to_vec();
        with_crc(&mut short);
        prop_assert!(decode_batch_within(&short, MOST).unwrap_err().is_corruption());
        let mut long = [good, behind].concat();
        with_crc(&mut long);
        prop_assert!(decode_batch_within(&long, MOST).unwrap_err().is_corruption());
    }

    #[test]
    fn varints_read_back(value in any::<i64>(), small in any::<i32>(), behind in vec(any::<u8>(), 0..3)) {
        let mut bytes = Vec::new();
        write_varlong(&mut bytes, value);
        bytes.extend(&behind);
        let mut rest = bytes.as_slice();
        prop_assert_eq!(read_varlong(&mut rest), Some(value));
        prop_assert_eq!(rest, &behind[..]);

        bytes.clear();
        write_varlong(&mut bytes, small.into());
        prop_assert_eq!(read_varint(&mut bytes.as_slice()), Some(small));
    }

    #[test]
    fn arbitrary_text_is_no_metadata(text in "[a-z0-9 \n]{0,80}") {
        for prefix in ["", "ottla manifest 1\n", "0\n", "0\n1\n", "version: 0\n", "version: 0\ntopic_id: "] {
            let text = format!("{prefix}{text}");
            prop_assert!(decode_manifest(text.as_bytes()).is_err());
            if let Ok(again) = decode_leader_epochs(text.as_bytes()) {
                prop_assert_eq!(decode_leader_epochs(again.as_bytes()).unwrap(), again);
            }
            _ = decode_partition_metadata(text.as_bytes());
        }
    }
}

/// The fuzz targets begin with manifests of every state.
#[test]
fn the_seeds_of_the_manifest_are_manifests() {
    let seeds = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/decode_metadata");
    let mut texts = String::new();
    for entry in std::fs::read_dir(seeds).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("manifest") {
            // One is without its last line, which the target adds.
            let seed = std::fs::read_to_string(&path).unwrap();
            let body = seed.split_once("crc32 ").map_or(seed.as_str(), |(body, _)| body);
            let body = format!("{}\n", body.trim_end());
            let crc = crc32fast::hash(body.as_bytes());
            let text = decode_manifest(format!("{body}crc32 {crc:08x}\n").as_bytes());
            texts += &text.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    }
    for state in [" creating ", " live ", " growing ", " deleting "] {
        assert!(texts.contains(state), "no seed is{state}");
    }
}
