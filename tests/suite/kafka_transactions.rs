//! Transactions as brokers interleave them, made by hand: readers give what a model gives.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use ottla::internals::{MemoryVfs, OpenMode, Vfs, kafka_partition};
use ottla::{Isolation, Offset, Partition, Record, Start, TopicConfig};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::support::{encode_batch, options};

/// What comes next in a log.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Records of a producer's transaction, which begins if it has not.
    Data { producer: i64, records: u64 },
    /// A marker, also where nothing has begun.
    End { producer: i64, commits: bool },
    /// A record of nobody's.
    Plain,
    /// Another segment.
    Roll,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..4i64, 1..4u64).prop_map(|(producer, records)| Step::Data { producer, records }),
        3 => (0..4i64, any::<bool>()).prop_map(|(producer, commits)| Step::End { producer, commits }),
        2 => Just(Step::Plain),
        1 => Just(Step::Roll),
    ]
}

/// A log with what is to be read of it.
#[derive(Default)]
struct Model {
    segments: BTreeMap<Offset, Vec<u8>>,
    end: Offset,
    records: Vec<Expected>,
    /// Where the transactions begin that are open.
    open: BTreeMap<i64, Offset>,
}

/// A record, and whether its transaction was committed; `None` as long as it is open.
struct Expected {
    offset: Offset,
    producer: Option<i64>,
    committed: Option<bool>,
}

impl Model {
    fn of(steps: impl IntoIterator<Item = Step>) -> Self {
        let mut model = Self::default();
        model.segments.insert(0, Vec::new());
        steps.into_iter().for_each(|step| model.take(step));
        model
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Data { producer, records } => {
                self.open.entry(producer).or_insert(self.end);
                self.append(records, Some(producer), TRANSACTIONAL);
            }
            Step::Plain => self.append(1, None, 0),
            Step::Roll => _ = self.segments.entry(self.end).or_default(),
            Step::End { producer, commits } => {
                let key = [0, 0, 0, u8::from(commits)];
                let marker = Record::new(&[0; 6]).key(&key);
                self.write(
                    encode_batch(self.end, &[(self.end, 0, marker)]),
                    producer,
                    TRANSACTIONAL | CONTROL,
                );
                self.end += 1;
                self.open.remove(&producer);
                let of_producer = |record: &&mut Expected| record.producer == Some(producer);
                let undecided =
                    self.records.iter_mut().filter(of_producer).filter(|record| record.committed.is_none());
                undecided.for_each(|record| record.committed = Some(commits));
            }
        }
    }

    fn append(&mut self, count: u64, producer: Option<i64>, attributes: u8) {
        let records: Vec<_> =
            (self.end..self.end + count).map(|offset| (offset, 0, Record::new("v"))).collect();
        self.write(encode_batch(self.end, &records), producer.unwrap_or(-1), attributes);
        let committed = producer.is_none().then_some(true);
        self.records.extend(records.iter().map(|(offset, ..)| Expected {
            offset: *offset,
            producer,
            committed,
        }));
        self.end += count;
    }

    fn write(&mut self, mut batch: Vec<u8>, producer: i64, attributes: u8) {
        batch[22] |= attributes;
        batch[43..51].copy_from_slice(&producer.to_be_bytes());
        let crc = crc_fast::crc32_iscsi(&batch[21..]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
        self.segments.last_entry().unwrap().get_mut().extend_from_slice(&batch);
    }

    fn last_stable_offset(&self) -> Offset {
        self.open.values().min().copied().unwrap_or(self.end)
    }

    fn readable(&self, isolation: Isolation) -> Vec<Offset> {
        let is_given = |record: &&Expected| match isolation {
            Isolation::ReadUncommitted => true,
            Isolation::ReadCommitted => {
                record.offset < self.last_stable_offset() && record.committed == Some(true)
            }
        };
        self.records.iter().filter(is_given).map(|record| record.offset).collect()
    }

    /// Runs `check` on the partition that holds the log.
    fn open<T>(&self, check: impl FnOnce(&Partition) -> T) -> T {
        let (vfs, dir) = (Arc::new(MemoryVfs::new()), Path::new("/kafka/orders-0"));
        for dir in [Path::new("/kafka"), dir] {
            vfs.create_dir(dir).unwrap();
        }
        let write = |path: &Path, bytes: &[u8]| {
            let file = vfs.open(path, OpenMode::CreateNew).unwrap();
            assert_eq!(file.write_at(bytes, 0).unwrap(), bytes.len());
        };
        write(Path::new("/kafka/cleaner-offset-checkpoint"), b"");
        write(&dir.join("leader-epoch-checkpoint"), b"0\n1\n0 0\n");
        for (base, log) in &self.segments {
            write(&dir.join(format!("{base:020}.log")), log);
        }
        let broker = options().in_memory().unwrap();
        let topic = broker.create_topic("beside", TopicConfig::new()).unwrap();
        check(&kafka_partition(&topic.partition(0).unwrap(), vfs, dir, true).unwrap())
    }
}

const TRANSACTIONAL: u8 = 1 << 4;
const CONTROL: u8 = 1 << 5;

fn offsets(partition: &Partition, isolation: Isolation, from: Offset) -> Vec<Offset> {
    let batches = partition.read_with(Start::At(from), isolation).unwrap();
    batches
        .flat_map(|batch| batch.unwrap().records().map(|record| record.offset).collect::<Vec<_>>())
        .collect()
}

proptest! {
    #[test]
    fn readers_give_what_the_model_gives(steps in vec(step(), 1..60), from in any::<proptest::sample::Index>()) {
        let model = Model::of(steps);
        let from = from.index(usize::try_from(model.end).unwrap() + 1) as Offset;
        model.open(|partition| {
            assert_eq!(partition.high_watermark(), model.end);
            assert_eq!(partition.last_stable_offset(), model.last_stable_offset());
            for isolation in [Isolation::ReadCommitted, Isolation::ReadUncommitted] {
                for from in [0, from] {
                    let expected: Vec<_> =
                        model.readable(isolation).into_iter().filter(|offset| *offset >= from).collect();
                    assert_eq!(offsets(partition, isolation, from), expected, "{isolation:?} from {from}");
                }
            }
        });
    }
}

/// A reader keeps so many of the markers that lie ahead of it, and looks for the others one by one.
#[test]
fn a_transaction_may_be_open_over_any_number_of_others() {
    let short = |number: i64| {
        let producer = 10 + number % 300;
        [Step::Data { producer, records: 1 }, Step::End { producer, commits: number % 3 != 0 }]
    };
    let long = |commits| [Step::Data { producer: 1, records: 1 }, Step::End { producer: 1, commits }];
    let [begin, commit] = long(true);
    let [_, abort] = long(false);
    let mut steps = vec![begin, Step::Data { producer: 2, records: 2 }];
    steps.extend((0..20_000).flat_map(short));
    steps.extend([begin, commit, Step::Roll]);
    steps.extend((0..20_000).flat_map(short));
    steps.extend([begin, abort, Step::End { producer: 2, commits: false }, Step::Plain]);
    let model = Model::of(steps);
    model.open(|partition| {
        let expected = model.readable(Isolation::ReadCommitted);
        assert!(expected.len() > 25_000);
        assert_eq!(offsets(partition, Isolation::ReadCommitted, 0), expected);
    });
}
