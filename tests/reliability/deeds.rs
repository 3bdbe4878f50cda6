//! The steps of a service that send, and that change topics.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use ottla::{Delivery, ErrorKind, Record, TopicConfig};

use crate::service::Service;
use crate::told::{INTERVAL, Outcome, Place, split};

/// Records on their way: their numbers, and who knows what becomes of them.
type Sending = (Range<usize>, Delivery);

impl Service {
    pub fn send(&mut self, place: Place, sizes: &[usize]) -> Outcome {
        let mut sendings = Vec::new();
        let outcome = self.send_each(place, sizes, &mut sendings);
        // The last first: it leads for all of them.
        sendings.reverse();
        let mut outcomes: Vec<_> =
            sendings.into_iter().map(|(numbers, delivery)| (numbers, delivery.wait())).collect();
        outcomes.reverse();
        for (numbers, waited) in outcomes {
            self.told.outcome(place, numbers.clone(), &waited);
            let position = waited?.position();
            let value = self.told.sent(place).values[numbers.end - 1].clone();
            self.told.sent(place).positions.push((position, value));
        }
        outcome
    }

    pub fn leave(&mut self, place: Place, sizes: &[usize]) -> Outcome {
        let mut sendings = Vec::new();
        let outcome = self.send_each(place, sizes, &mut sendings);
        self.left.extend(sendings.into_iter().map(|(numbers, delivery)| (place, numbers, delivery)));
        outcome
    }

    fn send_each(&mut self, place: Place, sizes: &[usize], sendings: &mut Vec<Sending>) -> Outcome {
        let topic = self.topic(place)?;
        for size in sizes {
            self.clock.advance(Duration::from_millis(1));
            let (number, value) = self.told.begin(place, *size);
            match topic.producer().send(Record::new(&value).partition(split(place).1)) {
                Ok(delivery) => sendings.push(self.sent(place, number..number + 1, delivery)),
                Err(error) => {
                    self.told.take_back(place, number);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// A record was given an offset: that behind the last one, or one from which others have fallen back.
    fn sent(&mut self, place: Place, numbers: Range<usize>, delivery: Delivery) -> Sending {
        let offset = usize::try_from(delivery.offset()).unwrap();
        if offset == numbers.start {
            return (numbers, delivery);
        }
        let values = self.told.sent(place).values.split_off(numbers.start);
        self.wait_for_left();
        let sent = self.told.sent(place);
        assert_eq!(
            sent.values.len(),
            offset,
            "{place}: the record of another one's offset was not taken back"
        );
        sent.values.extend(values);
        (offset..offset + numbers.len(), delivery)
    }

    pub fn send_batch(&mut self, place: Place, sizes: &[usize]) -> Outcome {
        let topic = self.topic(place)?;
        self.clock.advance(Duration::from_millis(1));
        let begun: Vec<_> = sizes.iter().map(|size| self.told.begin(place, *size)).collect();
        let first = begun.first().map_or(0, |(number, _)| *number);
        let record = |(_, value)| Record::new(value).partition(split(place).1);
        let records: Vec<_> = begun.iter().map(|(number, value)| record((number, value))).collect();
        match topic.producer().send_batch(&records) {
            Ok(delivery) => {
                let (numbers, delivery) = self.sent(place, first..first + sizes.len(), delivery);
                self.told.sent(place).batches.push(numbers.clone());
                let waited = delivery.wait();
                self.told.outcome(place, numbers, &waited);
                waited.map(|_| ())
            }
            Err(error) => {
                self.told.take_back(place, first);
                Err(error)
            }
        }
    }

    pub fn expect(&mut self, place: Place, size: usize) -> Outcome {
        let partition = self.topic(place)?.partition(split(place).1)?;
        let producer = self.topic(place)?.producer();
        let next = partition.log_end_offset();
        let record = Record::new("refused").partition(split(place).1);
        match producer.send(record.expected_offset(next + 1)) {
            Ok(delivery) => panic!("{place}: the record that was to be refused is {}", delivery.offset()),
            Err(error) if error.kind() == ErrorKind::UnexpectedOffset => {}
            Err(error) => return Err(error),
        }
        let (number, value) = self.told.begin(place, size);
        match producer.send(Record::new(&value).partition(split(place).1).expected_offset(next)) {
            Ok(delivery) => {
                let (numbers, delivery) = self.sent(place, number..number + 1, delivery);
                let waited = delivery.wait();
                self.told.outcome(place, numbers, &waited);
                waited.map(|_| ())
            }
            Err(error) => {
                self.told.take_back(place, number);
                Err(error)
            }
        }
    }

    /// Whatever a waker does, the broker and its other callers see nothing of it.
    pub fn await_one(&mut self, place: Place, size: usize, panics: bool) -> Outcome {
        let mut sendings = Vec::new();
        self.send_each(place, &[size], &mut sendings)?;
        let Some((numbers, mut delivery)) = sendings.pop() else { return Ok(()) };
        let waker = Waker::from(Arc::new(Rude { panics }));
        let mut context = Context::from_waker(&waker);
        for _ in 0..3 {
            if let Poll::Ready(outcome) = Pin::new(&mut delivery).poll(&mut context) {
                self.told.outcome(place, numbers, &outcome);
                return outcome.map(|_| ());
            }
            self.broker()?.tick()?;
        }
        panic!("{place}: nobody led for a record that is awaited")
    }

    pub fn flush(&mut self, topic: Place) -> Outcome {
        let outcome = self.topic(topic)?.producer().flush();
        self.wait_for_left();
        outcome
    }

    pub fn sync(&mut self, topic: Place) -> Outcome {
        self.topic(topic)?.producer().synced().flush()?;
        self.wait_for_left();
        self.told.synced(Some(topic));
        Ok(())
    }

    pub fn delete(&mut self, topic: Place) -> Outcome {
        self.topic(topic)?;
        self.told.maybe_deleted.insert(topic);
        self.broker()?.delete_topic(topic)?;
        self.left.retain(|(place, ..)| split(place).0 != topic);
        self.told.forget(topic);
        Ok(())
    }

    /// Alters a topic, its number of partitions perhaps; after a failure nobody knows.
    pub fn alter(&mut self, topic: Place, change: fn(TopicConfig) -> TopicConfig) -> Outcome {
        let before = self.topic(topic)?.config();
        let after = change(before.clone());
        self.alter_to(topic, before, after)
    }

    fn alter_to(&mut self, topic: Place, before: TopicConfig, after: TopicConfig) -> Outcome {
        if self.told.altered.get(topic).is_some_and(|(_, perhaps)| perhaps.is_some()) {
            // Nobody has said yet what became of the last one.
            return Ok(());
        }
        self.told.altered.insert(topic, (before, Some(after.clone())));
        self.broker()?.alter_topic(topic, after.clone())?;
        let raised = after.get("durability").as_deref() == Some("synced");
        self.told.altered.insert(topic, (after, None));
        if raised {
            self.told.synced(Some(topic));
        }
        Ok(())
    }

    pub fn grow(&mut self, topic: Place) -> Outcome {
        const MOST: u32 = 4;
        let count = self.topic(topic)?.partition_count();
        if count == MOST {
            return Ok(());
        }
        let before = self.topic(topic)?.config();
        self.alter_to(topic, before.clone(), before.partitions(count + 1))
    }

    pub fn pass_interval(&mut self, place: Place) -> Outcome {
        self.clock.advance(INTERVAL);
        self.broker()?.tick()?;
        self.learn_of_sync(place)
    }

    pub fn overdue(&mut self, place: Place) -> Outcome {
        self.send(place, &[20])?;
        self.clock.advance(3 * INTERVAL);
        self.learn_of_sync(place)
    }

    /// The next record tells whether the sync of those before has failed.
    fn learn_of_sync(&mut self, place: Place) -> Outcome {
        let synced = self.told.sent(place).acknowledged;
        self.send(place, &[30])?;
        self.told.sent(place).synced = synced;
        Ok(())
    }
}

/// A waker that panics when it is called, or does nothing.
struct Rude {
    panics: bool,
}

impl Wake for Rude {
    fn wake(self: Arc<Self>) {
        if self.panics {
            // As `panic!`, but says nothing.
            std::panic::resume_unwind(Box::new("a waker of the suite"));
        }
    }
}
