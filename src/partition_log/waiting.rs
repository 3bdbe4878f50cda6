//! Who is to be told when a record has come so far: futures, and waits with a deadline, which never lead.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

use super::commit::Reach;
use crate::model::Offset;

/// Those who wait, by the record that they wait for.
#[derive(Debug, Default)]
pub struct Waiting {
    next_id: u64,
    written: Queue,
    durable: Queue,
}

type Queue = BTreeMap<Place, Waker>;

/// The record, and who waits for it.
type Place = (Offset, u64);

/// A place in the queue, which is given up once nobody waits there any more.
#[derive(Clone, Copy, Debug)]
pub struct Registration {
    reach: Reach,
    place: Place,
}

/// Wakers that were taken out. They belong to the users: they are called, and dropped, without a lock.
#[must_use = "whoever waits is to be woken"]
#[derive(Debug, Default)]
pub struct Woken(Vec<Waker>);

impl Waiting {
    /// Takes up `waker` for a record; in the place of an earlier one, if there was one, which is given back.
    pub fn register(
        &mut self,
        registration: &mut Option<Registration>,
        offset: Offset,
        reach: Reach,
        waker: Waker,
    ) -> Option<Waker> {
        let registration = registration.get_or_insert_with(|| {
            self.next_id = self.next_id.wrapping_add(1);
            Registration { reach, place: (offset, self.next_id) }
        });
        self.queue(registration.reach).insert(registration.place, waker)
    }

    /// Gives up a place.
    pub fn remove(&mut self, registration: Registration) -> Option<Waker> {
        self.queue(registration.reach).remove(&registration.place)
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.written.is_empty() && self.durable.is_empty()
    }

    /// Whether somebody waits for stable storage.
    pub fn wants_durable(&self) -> bool {
        !self.durable.is_empty()
    }

    /// Takes out those whose record lies below these ends.
    pub fn take_reached(&mut self, written: Offset, durable: Offset) -> Woken {
        let mut woken = Woken::default();
        for (queue, end) in [(&mut self.written, written), (&mut self.durable, durable)] {
            if queue.first_key_value().is_some_and(|((offset, _), _)| *offset < end) {
                let later = queue.split_off(&(end, 0));
                woken.0.extend(std::mem::replace(queue, later).into_values());
            }
        }
        woken
    }

    /// Takes out everybody: what became of their records may be decided.
    pub fn take_all(&mut self) -> Woken {
        let queues = [std::mem::take(&mut self.written), std::mem::take(&mut self.durable)];
        Woken(queues.into_iter().flat_map(BTreeMap::into_values).collect())
    }

    fn queue(&mut self, reach: Reach) -> &mut Queue {
        match reach {
            Reach::Written => &mut self.written,
            Reach::Durable => &mut self.durable,
        }
    }
}

impl Woken {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Wakes them. One that panics hurts neither the others nor the thread, which has other things to do.
    pub fn wake(self) {
        for waker in self.0 {
            _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
        }
    }
}
