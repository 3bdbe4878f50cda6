//! Damaged copies of what a real Kafka wrote: an error where the damage is, and never other records than Kafka's.

use ottla::{ErrorKind, Isolation, Offset};

use crate::kafka_fixtures::{Files, Fixture, Host, Line, Read, all};

const LEVELS: [Isolation; 2] = [Isolation::ReadCommitted, Isolation::ReadUncommitted];
const HEADER_LEN: usize = 61;

/// Where the batches of a log begin, and where it ends.
fn boundaries(log: &[u8]) -> Vec<usize> {
    let mut boundaries = vec![0];
    let mut at = 0;
    while let Some(length) = log.get(at + 8..at + 12) {
        at += 12 + u32::from_be_bytes(length.try_into().unwrap()) as usize;
        boundaries.push(at);
    }
    assert_eq!(at, log.len());
    boundaries
}

fn batch_of(boundaries: &[usize], position: usize) -> usize {
    boundaries[boundaries.partition_point(|start| *start <= position) - 1]
}

fn base_offset(log: &[u8], batch: usize) -> Offset {
    Offset::from_be_bytes(log[batch..batch + 8].try_into().unwrap())
}

/// What a damaged copy is read as, at both levels.
struct Outcome {
    reads: Vec<(Isolation, Read)>,
}

impl Outcome {
    /// `None` if it cannot be opened, for a reason that names the damaged file.
    fn of(host: &Host, fixture: &Fixture, files: &Files, damaged: &str, what: &str) -> Option<Self> {
        let partition = match host.open(fixture, files) {
            Ok(partition) => partition,
            Err(error) => {
                let in_file = error.file().is_some_and(|file| file.ends_with(damaged));
                assert!(is_damage(error.kind()) && in_file, "{what}: {error}");
                return None;
            }
        };
        let reads = LEVELS.map(|isolation| (isolation, Read::all(&partition, isolation).unwrap()));
        Some(Self { reads: reads.into() })
    }
}

fn is_damage(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::CorruptMessage | ErrorKind::UnsupportedForMessageFormat)
}

/// Flips a bit here and there in every log: more often in the first, a middle and the last header.
#[test]
fn a_flipped_bit_in_a_log_is_an_error_where_it_is() {
    let (host, mut tried) = (Host::new(true), 0);
    for fixture in all() {
        for name in fixture.logs() {
            let log = &fixture.files[name];
            let starts = boundaries(log);
            let batches = starts.len() - 1;
            let headers = [0, batches / 2, batches.saturating_sub(1)].map(|batch| starts[batch]);
            let in_headers = headers.iter().flat_map(|start| *start..*start + HEADER_LEN);
            let everywhere = (0..log.len()).step_by(log.len() / 60 + 1);
            for position in in_headers.chain(everywhere).filter(|position| *position < log.len()) {
                flip_in_log(&host, &fixture, name, position, 1 << (position % 8));
                tried += 1;
            }
        }
    }
    assert!(tried > 4000, "{tried}");
}

/// The offset of a batch lies outside its checksum.
#[test]
fn another_offset_is_noticed_unless_a_gap_hides_it() {
    let host = Host::new(true);
    for fixture in all().iter().filter(|fixture| fixture.is_compacted()) {
        for name in fixture.logs() {
            let starts = boundaries(&fixture.files[name]);
            for start in &starts[..starts.len() - 1] {
                for bit in 0..64 {
                    flip_in_log(&host, fixture, name, start + 7 - bit / 8, 1 << (bit % 8));
                }
            }
        }
    }
}

fn flip_in_log(host: &Host, fixture: &Fixture, name: &str, position: usize, bit: u8) {
    let what = format!("{} {name}: bit {bit:#x} of byte {position}", fixture.name);
    let mut files = fixture.files.clone();
    let log = files.get_mut(name).unwrap();
    let batch = batch_of(&boundaries(log), position);
    let from = base_offset(log, batch);
    log[position] ^= bit;
    if position - batch < 8 && fixture.is_compacted() && is_in_a_gap(fixture, &files, name, batch) {
        // The offset of a batch lies outside its checksum, and between gaps nothing tells it from another.
        return;
    }
    let Some(outcome) = Outcome::of(host, fixture, &files, name, &what) else { return };
    for (isolation, read) in outcome.reads {
        let expected = fixture.expected.lines(isolation);
        assert!(expected.starts_with(&read.lines), "{what}: other records at {isolation:?}");
        if read.error.is_none() {
            // It lies behind the last stable offset.
            assert_eq!((&read.lines, isolation), (&expected, Isolation::ReadCommitted), "{what}");
            assert!(from >= fixture.expected.last_stable_offset, "{what}: it is not noticed");
            continue;
        }
        let error = read.error.unwrap();
        assert!(is_damage(error.kind()), "{what}: {error}");
        assert!(error.file().is_some_and(|file| file.ends_with(name)), "{what}: {error}");
        // At the batch, before it where its marker is looked for, or at the one before, which it seems to overlap.
        assert!(read.position <= from, "{what}: noticed at {} only", read.position);
    }
}

/// Whether the offsets of a batch lie between those of its neighbours, in a segment that was compacted.
fn is_in_a_gap(fixture: &Fixture, files: &Files, name: &str, batch: usize) -> bool {
    let log = &files[name];
    let next_offset = |batch: usize| {
        let delta = u32::from_be_bytes(log[batch + 23..batch + 27].try_into().unwrap());
        base_offset(log, batch).saturating_add(delta.into()).saturating_add(1)
    };
    let starts = boundaries(log);
    let number = starts.partition_point(|start| *start < batch);
    let least = number.checked_sub(1).map_or(segment_base(name), |before| next_offset(starts[before]));
    let behind = fixture.logs().map(|name| segment_base(name)).find(|base| *base > segment_base(name));
    let Some(behind) = behind else { return false };
    let most = if number + 2 < starts.len() { base_offset(log, starts[number + 1]) } else { behind };
    base_offset(log, batch) >= least && next_offset(batch) <= most
}

fn segment_base(name: &str) -> Offset {
    name[..20].parse().unwrap()
}

/// Cuts every log at, before and behind every batch, and elsewhere.
#[test]
fn a_log_that_was_cut_is_an_error_where_it_ends() {
    let (host, mut tried) = (Host::new(false), 0);
    for fixture in all() {
        for (number, name) in fixture.logs().enumerate() {
            let log = &fixture.files[name];
            let starts = boundaries(log);
            let near = starts.iter().flat_map(|start| [start.saturating_sub(1), *start, start + 1]);
            let elsewhere = (0..log.len()).step_by(log.len() / 20 + 1);
            let mut lengths: Vec<_> = near.chain(elsewhere).filter(|length| *length < log.len()).collect();
            lengths.sort_unstable();
            lengths.dedup();
            let stride = lengths.len() / 150 + 1;
            let is_last = number + 1 == fixture.logs().count();
            for length in lengths.into_iter().step_by(stride) {
                cut_log(&host, &fixture, name, length, starts.contains(&length), is_last);
                tried += 1;
            }
        }
    }
    assert!(tried > 1000, "{tried}");
}

fn cut_log(host: &Host, fixture: &Fixture, name: &str, length: usize, is_whole: bool, is_last: bool) {
    let what = format!("{} {name}: cut to {length} bytes", fixture.name);
    let mut files = fixture.files.clone();
    files.get_mut(name).unwrap().truncate(length);
    let Some(outcome) = Outcome::of(host, fixture, &files, name, &what) else {
        assert!(!is_whole, "{what}: it is whole");
        return;
    };
    for (isolation, read) in outcome.reads {
        let expected = fixture.expected.lines(isolation);
        if is_whole && !is_last && fixture.is_compacted() {
            // Compaction may have left it like that.
            assert!(is_part_of(&read.lines, &expected), "{what}: other records at {isolation:?}");
            continue;
        }
        assert!(expected.starts_with(&read.lines), "{what}: other records at {isolation:?}");
        // A log that ends with a batch is shorter, and who knows where it ended says so.
        let noticed = read.error.is_some() || is_whole && is_last || read.lines == expected;
        assert!(noticed, "{what}: it is not noticed at {isolation:?}");
    }
}

fn is_part_of(lines: &[Line], expected: &[Line]) -> bool {
    let mut expected = expected.iter();
    lines.iter().all(|line| expected.any(|expected| expected == line))
}

/// Indexes, snapshots and transaction indexes only help: whatever is wrong with them, the records are the same.
#[test]
fn what_can_be_made_again_may_be_damaged_in_any_way() {
    let (host, mut tried) = (Host::new(true), 0);
    let helps = [".index", ".timeindex", ".txnindex", ".snapshot"];
    for fixture in all() {
        let whole: Vec<_> = {
            let partition = fixture.open(&host);
            LEVELS.map(|isolation| Read::all(&partition, isolation).unwrap()).into()
        };
        for (name, bytes) in &fixture.files {
            if !helps.iter().any(|suffix| name.ends_with(suffix)) {
                continue;
            }
            let stride = bytes.len() / 40 + 1;
            let cuts = (0..bytes.len()).step_by(stride).map(|length| bytes[..length].to_vec());
            let flips = (0..bytes.len()).step_by(stride).map(|position| {
                let mut bytes = bytes.clone();
                bytes[position] ^= 1 << (position % 8);
                bytes
            });
            for changed in cuts.chain(flips).map(Some).chain([None]) {
                let mut files = fixture.files.clone();
                match changed {
                    Some(changed) => _ = files.insert(name.clone(), changed),
                    None => _ = files.remove(name),
                }
                let partition = host.open(&fixture, &files).unwrap();
                assert_eq!(
                    partition.last_stable_offset(),
                    fixture.expected.last_stable_offset,
                    "{} {name}",
                    fixture.name
                );
                for (isolation, whole) in LEVELS.into_iter().zip(&whole) {
                    let read = Read::all(&partition, isolation).unwrap();
                    assert_eq!(read.lines, whole.lines, "{} {name}", fixture.name);
                    assert_eq!(read.position, whole.position, "{} {name}", fixture.name);
                }
                tried += 1;
            }
        }
    }
    assert!(tried > 2000, "{tried}");
}

/// The leader epochs cannot be made again: other ones contradict the batches.
#[test]
fn damaged_leader_epochs_are_an_error() {
    let (host, name) = (Host::new(true), "leader-epoch-checkpoint");
    for fixture in all() {
        for position in 0..fixture.files[name].len() {
            for bit in 0..8 {
                let mut files = fixture.files.clone();
                files.get_mut(name).unwrap()[position] ^= 1 << bit;
                let Ok(partition) = host.open(&fixture, &files) else { continue };
                for isolation in LEVELS {
                    let read = Read::all(&partition, isolation).unwrap();
                    let expected = fixture.expected.lines(isolation);
                    let what = format!("{}: bit {bit} of byte {position}", fixture.name);
                    assert!(expected.starts_with(&read.lines), "{what}");
                    assert!(read.error.is_some() || read.lines == expected, "{what}: it is not noticed");
                }
            }
        }
    }
}

/// A batch of an older message format, in a log by itself and behind others.
#[test]
fn older_message_formats_are_named() {
    let host = Host::new(true);
    let fixture = all().into_iter().find(|fixture| fixture.name == "stopped/codec-none-0").unwrap();
    let name = fixture.logs().next().unwrap().clone();
    for magic in [0, 1] {
        for whole in [0, fixture.files[&name].len()] {
            let mut files = fixture.files.clone();
            let log = files.get_mut(&name).unwrap();
            log.truncate(whole);
            log.extend_from_slice(&message(18, magic));
            let error = host.open(&fixture, &files).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnsupportedForMessageFormat, "{error}");
            assert!(error.to_string().contains("unsupported record format"), "{error}");
            assert_eq!(error.position(), Some(whole as u64), "{error}");
        }
    }
}

/// A message as brokers before 0.11 wrote it: key "k", value "v".
fn message(offset: u64, magic: u8) -> Vec<u8> {
    let mut body = vec![magic, 0];
    if magic == 1 {
        body.extend_from_slice(&1_700_000_000_000_i64.to_be_bytes());
    }
    for part in [b"k", b"v"] {
        body.extend_from_slice(&1_i32.to_be_bytes());
        body.extend_from_slice(part);
    }
    let mut message = offset.to_be_bytes().to_vec();
    message.extend_from_slice(&u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    message.extend_from_slice(&crc32fast::hash(&body).to_be_bytes());
    message.extend_from_slice(&body);
    message
}
