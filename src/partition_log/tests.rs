//! The text of a leader epoch checkpoint, and the decisions of recovery.

use super::LeaderEpochs;
use super::listeners::Listeners;
use super::recovery::{Facts, Scan, Tail, plan};
use super::writer::LogEnd;
use crate::ends_file::ProvenEnd;
use crate::error::ErrorKind;
use crate::sync::Signal;

#[test]
fn a_checkpoint_reads_as_kafka_writes_it() {
    let mut epochs = LeaderEpochs::default();
    assert_eq!((epochs.latest(), epochs.encode().as_str()), (None, "0\n0\n"));
    epochs.begin(0, 0);
    epochs.begin(3, 1500);
    assert_eq!((epochs.latest(), epochs.encode().as_str()), (Some(3), "0\n2\n0 0\n3 1500\n"));
    assert_eq!(LeaderEpochs::decode(b"0\n2\n0 0\n3 1500\n").unwrap(), epochs);
}

#[test]
fn a_damaged_checkpoint_is_refused() {
    for text in [
        "",
        "1\n0\n",
        "0\n",
        "0\n1\n",
        "0\n1\n0 0\n1 1\n",
        "0\n2\n3 0\n0 1500\n",
        "0\n2\n0 5\n1 5\n",
        "0\n1\n0\n",
        "0\n1\n0 0 0\n",
        "0\n1\n-1 0\n",
        "0\n1\n0 -1\n",
        "0\n1\n2147483648 0\n",
        "0\n99999999999999999999\n",
    ] {
        let error = LeaderEpochs::decode(text.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CorruptMessage, "{text:?}");
    }
    assert!(LeaderEpochs::decode(&[0xff]).is_err());
}

/// What recovery decides, as it prints it: the proven end is offset 20, byte 900 of segment 10.
#[test]
fn a_plan_follows_from_the_facts() {
    let proven =
        ProvenEnd { generation: 1, log_start: 0, segment: 10, offset: 20, position: 900, log_end: 20 };
    let scan = Scan {
        end: LogEnd { offset: 25, segment: 10, position: 1200 },
        meets_proven: true,
        file_len: 1200,
        tail: Tail::Nothing,
        reason: None,
    };
    let facts = Facts { proven, bases: vec![0, 10], gap: None, scan: Some(scan.clone()) };
    let with = |scan: Scan| Facts { scan: Some(scan), ..facts.clone() };
    let short =
        Scan { end: LogEnd { offset: 15, segment: 10, position: 500 }, meets_proven: false, ..scan.clone() };
    let torn = Scan { file_len: 1300, tail: Tail::Data, reason: Some("garbage".to_owned()), ..scan.clone() };
    let zeros = Scan { file_len: 4096, tail: Tail::Zeros, ..scan };
    for (facts, expected) in [
        (facts.clone(), "ends at offset 25, byte 1200 of segment 10"),
        (with(zeros), "ends at offset 25, byte 1200 of segment 10; trim 2896 zeros"),
        (with(torn.clone()), "ends at offset 25, byte 1200 of segment 10; quarantine and cut 100 bytes"),
        (
            Facts { bases: vec![0, 10, 25, 30], ..with(torn) },
            "ends at offset 25, byte 1200 of segment 10; quarantine and cut 100 bytes; quarantine 2 later segments",
        ),
        (
            with(short.clone()),
            "damaged at byte 500 of segment 10, offsets 15 to 20: the file is shorter than what was acknowledged",
        ),
        (
            with(Scan { reason: Some("a flipped bit".to_owned()), ..short }),
            "damaged at byte 500 of segment 10, offsets 15 to 20: a flipped bit",
        ),
        (
            Facts { scan: None, ..facts.clone() },
            "damaged at byte 0 of segment 10, offsets 10 to 20: the segment with the proven end is missing",
        ),
        (
            Facts { bases: Vec::new(), ..facts.clone() },
            "damaged at byte 0 of segment 10, offsets 10 to 20: the segment with the proven end is missing",
        ),
        (
            Facts { bases: vec![10], ..facts.clone() },
            "damaged at byte 0 of segment 0, offsets 0 to 20: the first segment is missing",
        ),
        (
            Facts { gap: Some(0), ..facts },
            "damaged at byte 0 of segment 0, offsets 0 to 20: a segment does not reach to the next one, or the next \
             one is missing",
        ),
    ] {
        assert_eq!(plan(&facts).to_string(), expected);
    }
}

/// Records leave at once as long as somebody listens, and not for ever after.
#[test]
fn a_listener_that_has_gone_is_forgotten() {
    let listeners = Listeners::default();
    let (stays, goes) = (Signal::new(), Signal::new());
    listeners.add(&stays);
    listeners.add(&goes);
    listeners.raise();
    assert_eq!((stays.generation(), goes.generation()), (1, 1));
    drop(goes);
    listeners.raise();
    assert_eq!((stays.generation(), listeners.has_any()), (2, true));
    drop(stays);
    listeners.raise();
    assert!(!listeners.has_any());
}

#[cfg(feature = "zstd")]
#[test]
fn a_batch_that_was_compressed_has_its_new_size_in_its_header() {
    use super::accumulator::Filled;
    use crate::config::CompressionLevels;
    use crate::model::Compression;
    use crate::record_batch::{BatchBuilder, Codecs, RecordParts};
    let (mut filled, value) = (Filled::default(), vec![7; 1000]);
    let parts = RecordParts { key: None, value: Some(&value), headers: &[] };
    for offset in 0..2 {
        let mut builder = BatchBuilder::begin(&mut filled.buffer, offset, 0);
        builder.push(&mut filled.buffer, offset, 0, &parts);
        let mut batch = builder.finish(&filled.buffer);
        batch.compression = Compression::Zstd;
        filled.batches.push(batch);
    }
    filled.compress(CompressionLevels::default(), &Codecs::new(10_000), &mut Vec::new()).unwrap();
    let sizes: Vec<_> = filled.batches.iter().map(|batch| (batch.header.size, batch.bytes.len())).collect();
    assert!(sizes.len() == 2 && sizes.iter().all(|(stated, is)| stated == is && *is < 1000), "{sizes:?}");
}
