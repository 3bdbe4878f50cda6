//! A read that gives nothing where the file goes on: never taken for the end, by nobody who would cut what lies behind it.

use std::path::Path;
use std::sync::Arc;

use ottla::internals::{Fault, MemoryVfs, Repeat, open_on};
use ottla::{Broker, Durability, Record, Result, TopicConfig};

use crate::support::{ROOT, options, values};

const RECORDS: u8 = 12;

fn open(vfs: &MemoryVfs) -> Result<Broker> {
    open_on(options(), Arc::new(vfs.clone()), Path::new(ROOT))
}

/// A process was killed: what it had acknowledged, the operating system has, and no evidence tells of it.
fn left() -> MemoryVfs {
    let vfs = MemoryVfs::new();
    let broker = open(&vfs).unwrap();
    let config = TopicConfig::new().segment_bytes(2048).durability(Durability::Os);
    let topic = broker.create_topic("t", config).unwrap();
    for number in 0..RECORDS {
        topic.producer().send(Record::new(&[number; 500])).unwrap().wait().unwrap();
    }
    std::mem::forget((broker, topic));
    vfs.restart()
}

fn assert_all_there(broker: &Broker, what: &str) {
    let found = values(&broker.topic("t").unwrap().partition(0).unwrap()).unwrap();
    assert_eq!(found, (0..RECORDS).map(|number| [number; 500]).collect::<Vec<_>>(), "{what}");
    let report = broker.recovery_report();
    assert!(report.partitions().iter().all(|partition| partition.cut_bytes() == 0), "{what}: {report:?}");
}

/// Whichever call of a recovery it is, once or from then on, past the page cache or not.
#[test]
fn a_recovery_that_is_given_nothing_to_read_cuts_nothing() {
    let left = left();
    let mut refused = 0;
    for (repeat, passes) in [Repeat::Once, Repeat::Forever]
        .into_iter()
        .flat_map(|repeat| [true, false].map(|passes| (repeat, passes)))
    {
        for call in 1.. {
            let vfs = left.fork();
            vfs.let_cache_be_passed(passes);
            vfs.fail_nth(call, Fault::Short(0), repeat);
            let opened = open(&vfs);
            let struck = vfs.failed_call();
            let what = format!("{repeat:?}, past the cache: {passes}, {struck:?}");
            vfs.fail_no_more();
            match opened {
                Ok(broker) => {
                    assert_all_there(&broker, &what);
                    std::mem::forget(broker);
                }
                Err(error) => {
                    assert!(error.io_error().is_some(), "{what}: {error}");
                    refused += 1;
                }
            }
            let vfs = vfs.restart();
            assert_all_there(&open(&vfs).unwrap(), &format!("{what}, opened again"));
            if struck.is_none() {
                break;
            }
        }
    }
    assert!(refused > 20, "{refused}");
}
