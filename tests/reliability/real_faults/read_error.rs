//! A disk that cannot read any more: with maps on, the process that reads dies of SIGBUS, with maps off it gets an error;
//! nobody gets other bytes.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::Duration;

use ottla::{Broker, ErrorKind, Record, Start, TopicConfig};

use super::volume::Volume;
use crate::child::{self, Child, argument, listen, tell};
use crate::dice::Dice;
use crate::figures::Figures;
use crate::runner::Size;

pub const READER: child::Role = ("reader", read);

const RECORDS: u32 = 400;

pub fn run(size: Size, _dice: &mut Dice, figures: &mut Figures) -> Result<(), String> {
    for kind in ["ext4", "xfs"] {
        for _ in 0..size.of(1, 4, 20) {
            let volume = match Volume::make(kind, 320, 900) {
                Ok(volume) => volume,
                Err(why) if kind == "xfs" => {
                    figures.lack(format!("read errors of XFS ({why})"));
                    break;
                }
                Err(why) => return Err(why),
            };
            fill(&volume.data());
            for maps in [true, false] {
                fail_reads(&volume, maps, figures);
            }
        }
    }
    Ok(())
}

fn value(number: u32) -> Vec<u8> {
    number.to_be_bytes().repeat(4000)
}

/// Some segments that nobody has in memory.
fn fill(dir: &Path) {
    let broker = Broker::open(dir).unwrap();
    let topic = broker.create_topic("t", TopicConfig::new().segment_bytes(1 << 20)).unwrap();
    for number in 0..RECORDS {
        _ = topic.producer().send(Record::new(&value(number))).unwrap();
    }
    broker.close(Duration::from_secs(60)).unwrap();
}

fn fail_reads(volume: &Volume, maps: bool, figures: &mut Figures) {
    volume.unmount();
    let sound = volume.image().with_file_name("sound");
    std::fs::copy(volume.image(), &sound).unwrap();
    volume.mount().unwrap();
    volume.read_nothing_ahead();
    let mut child = Child::start(READER.0, &[argument(&volume.data()), maps.to_string()]);
    child.expect("opened");
    // From now on the device has no byte of it any more.
    std::fs::File::options().write(true).open(volume.image()).unwrap().set_len(0).unwrap();
    child.say("go on");
    let said = std::iter::from_fn(|| child.line()).last();
    let status = child.wait();
    if maps {
        assert_eq!(status.signal(), Some(libc::SIGBUS), "with maps: {status}, {said:?}");
        figures.add("read errors with maps (SIGBUS)", 1);
    } else {
        assert!(
            said.as_ref().is_some_and(|said| said.starts_with("error StorageError")),
            "without maps: {status}, {said:?}"
        );
        figures.add("read errors without maps (an error)", 1);
    }
    volume.unmount();
    std::fs::rename(sound, volume.image()).unwrap();
    volume.mount().unwrap();
    let broker = Broker::open(volume.data()).unwrap();
    let batches = broker.topic("t").unwrap().partition(0).unwrap().read(Start::Earliest).unwrap();
    let count: u32 = batches.map(|batch| u32::try_from(batch.unwrap().iter().count()).unwrap()).sum();
    assert_eq!(count, RECORDS);
    broker.close(Duration::from_secs(60)).unwrap();
}

fn read(arguments: &[String]) {
    let [dir, maps] = arguments else { panic!("{arguments:?}") };
    let broker = Broker::options().memory_maps(maps == "true").open(dir).unwrap();
    let partition = broker.topic("t").unwrap().partition(0).unwrap();
    // Every segment is open, or mapped, and next to nothing of it was read.
    for offset in (0..RECORDS).step_by(50) {
        partition.read(Start::At(offset.into())).unwrap().next().unwrap().unwrap();
    }
    let batches = partition.read(Start::Earliest).unwrap();
    tell("opened");
    listen();
    let mut next = 0;
    for batch in batches {
        match batch {
            Ok(batch) => {
                for record in &batch {
                    assert_eq!(record.value(), Some(&value(next)[..]));
                    next += 1;
                }
            }
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::StorageError), "{error}");
                return tell(&format!("error {error:?}"));
            }
        }
    }
    tell(&format!("read {next}"));
}
