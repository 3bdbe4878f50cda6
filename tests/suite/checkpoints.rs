//! Kafka's text checkpoints at the root: when they are written, and that nothing is believed of them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ottla::internals::{MemoryVfs, OpenMode, Vfs, open_on};
use ottla::{Broker, Durability, ManualClock, Record, TopicConfig};

use crate::support::{ROOT, options, send_all};

const NAMES: [&str; 3] =
    ["recovery-point-offset-checkpoint", "replication-offset-checkpoint", "log-start-offset-checkpoint"];
const TIMEOUT: Duration = Duration::from_secs(10);

struct Place {
    vfs: MemoryVfs,
    clock: ManualClock,
}

impl Place {
    fn new() -> Self {
        Self { vfs: MemoryVfs::new(), clock: ManualClock::at(0) }
    }

    fn open(&self) -> Broker {
        open_on(options().clock(self.clock.clock()), Arc::new(self.vfs.clone()), Path::new(ROOT)).unwrap()
    }

    fn texts(&self) -> [Option<String>; 3] {
        NAMES.map(|name| {
            let bytes = self.vfs.open(&Path::new(ROOT).join(name), OpenMode::Read).ok()?.map().unwrap();
            Some(String::from_utf8(bytes.to_vec()).unwrap())
        })
    }

    fn assert_texts(&self, recovery_points: &str, high_watermarks: &str) {
        let expected = [recovery_points, high_watermarks, "0\n0\n"].map(|text| Some(text.to_owned()));
        assert_eq!(self.texts(), expected);
    }
}

#[test]
fn they_are_written_after_a_minute_after_a_roll_and_at_close() {
    let place = Place::new();
    let broker = place.open();
    let config = TopicConfig::new().partitions(2).segment_bytes(1024);
    let topic = broker.create_topic("orders", config.clone()).unwrap();
    let unsynced = broker.create_topic("clicks", config.partitions(1).durability(Durability::Os)).unwrap();
    send_all(&topic, ["a", "b"]).unwrap();
    send_all(&unsynced, ["c"]).unwrap();
    place.clock.advance(Duration::from_secs(59));
    broker.tick().unwrap();
    assert_eq!(place.texts(), [None, None, None]);
    place.clock.advance(Duration::from_secs(1));
    broker.tick().unwrap();
    // What is not synced is no recovery point, and visible all the same.
    place.assert_texts(
        "0\n3\nclicks 0 0\norders 0 2\norders 1 0\n",
        "0\n3\nclicks 0 1\norders 0 2\norders 1 0\n",
    );

    topic.producer().send(Record::new(&[0; 900]).partition(1)).unwrap().wait().unwrap();
    topic.producer().send(Record::new(&[0; 900]).partition(1)).unwrap().wait().unwrap();
    broker.tick().unwrap();
    place.assert_texts(
        "0\n3\nclicks 0 0\norders 0 2\norders 1 2\n",
        "0\n3\nclicks 0 1\norders 0 2\norders 1 2\n",
    );

    send_all(&topic, ["d"]).unwrap();
    broker.close(TIMEOUT).unwrap();
    place.assert_texts(
        "0\n3\nclicks 0 1\norders 0 3\norders 1 2\n",
        "0\n3\nclicks 0 1\norders 0 3\norders 1 2\n",
    );
}

#[test]
fn whatever_they_hold_is_noted_and_written_anew() {
    for garbage in ["", "1\n0\n", "0\n1\n", "0\n1\norders 0 x\n", "0\n1\na/b 0 0\n", "0\n1\norders 0\n"] {
        for name in NAMES {
            let place = Place::new();
            let broker = place.open();
            send_all(&broker.create_topic("orders", TopicConfig::new()).unwrap(), ["a"]).unwrap();
            broker.close(TIMEOUT).unwrap();
            let sound = place.texts();
            let file = place.vfs.open(&Path::new(ROOT).join(name), OpenMode::CreateEmpty).unwrap();
            file.write_at(garbage.as_bytes(), 0).unwrap();
            let broker = place.open();
            let notes: Vec<_> = broker.recovery_report().notes().collect();
            assert!(matches!(notes[..], [note] if note.contains(name)), "{garbage:?}: {notes:?}");
            assert!(broker.recovery_report().is_clean());
            assert_eq!(broker.topic("orders").unwrap().partition(0).unwrap().high_watermark(), 1);
            broker.close(TIMEOUT).unwrap();
            assert_eq!(place.texts(), sound);
            assert_eq!(place.open().recovery_report().notes().count(), 0);
        }
    }
}

#[test]
fn a_marker_that_is_not_ours_is_noted() {
    let place = Place::new();
    place.open().close(TIMEOUT).unwrap();
    let marker =
        place.vfs.open(&Path::new(ROOT).join(".kafka_cleanshutdown"), OpenMode::CreateEmpty).unwrap();
    marker.write_at(br#"{"version":0,"brokerEpoch":7}"#, 0).unwrap();
    let broker = place.open();
    assert!(!broker.recovery_report().is_clean());
    assert!(broker.recovery_report().notes().any(|note| note.contains("marker")));
}
