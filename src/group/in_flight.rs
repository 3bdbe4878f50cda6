//! What of one partition is handed out: which record comes next, how often each was handed out, and up to where all is settled.

use std::collections::VecDeque;
use std::sync::Arc;

use super::delivery_counts::DeliveryCounts;
use crate::model::{Offset, Position};

/// The records of a partition that are being worked on, from the first that is not settled on (Kafka: the in-flight records of a share
/// partition).
///
/// A record is *available*, *acquired*, *rejected* or *settled*. It is acquired in the order of the offsets. One that was released comes
/// again before anything that was never handed out, and nothing behind it is handed out for the first time until it is settled. One
/// that was handed out `limit` times is rejected instead of being handed out again. What was rejected is settled once it was *buried*;
/// until then nothing behind it is handed out for the first time either.
#[derive(Debug)]
pub struct InFlight<T> {
    /// Behind the last record of those that are settled without a gap.
    commit_point: Position,
    window: VecDeque<Held<T>>,
    /// Where the next record may lie that is added.
    read_to: Offset,
    /// Of records that were not added yet.
    remembered: DeliveryCounts,
    limit: u32,
}

/// A record that was acquired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acquisition<T> {
    /// Where it lies.
    pub offset: Offset,
    /// How often it was, with this time.
    pub delivery_count: u32,
    /// What was added.
    pub record: T,
}

/// A record that is not to be handed out again, and is to be buried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection<T> {
    /// Where it lies.
    pub offset: Offset,
    /// How often it was handed out.
    pub delivery_count: u32,
    /// What was added.
    pub record: T,
    /// Why.
    pub reason: Arc<str>,
    /// Whether all before it are settled.
    pub is_first: bool,
}

#[derive(Debug)]
struct Held<T> {
    offset: Offset,
    /// Behind the record.
    position: Position,
    delivery_count: u32,
    state: State,
    record: T,
}

#[derive(Debug)]
enum State {
    Available,
    Acquired,
    Rejected(Arc<str>),
    Settled,
}

impl<T: Clone> InFlight<T> {
    /// Nothing yet, of a partition that is read from `start` on. A record is handed out `limit` times at most.
    pub fn new(start: Position, remembered: DeliveryCounts, limit: u32) -> Self {
        Self { commit_point: start, window: VecDeque::new(), read_to: start.offset(), remembered, limit }
    }

    /// Adds a record that was read: `position` is the place behind it. False, and nothing is done, if it does not lie behind all
    /// that were added before.
    pub fn push(&mut self, offset: Offset, position: Position, record: T) -> bool {
        if offset < self.read_to {
            return false;
        }
        self.read_to = position.offset();
        let delivery_count = self.remembered.of(offset);
        let mut held = Held { offset, position, delivery_count, state: State::Available, record };
        held.release(self.limit);
        self.window.push_back(held);
        true
    }

    /// Hands out the next records, at most so many.
    pub fn acquire(&mut self, most: usize) -> Vec<Acquisition<T>> {
        let (mut acquired, mut is_held_up) = (Vec::new(), false);
        for held in &mut self.window {
            if acquired.len() == most {
                break;
            }
            if matches!(held.state, State::Available) {
                if is_held_up && held.delivery_count == 0 {
                    break;
                }
                held.state = State::Acquired;
                held.delivery_count = held.delivery_count.saturating_add(1);
                let (offset, delivery_count) = (held.offset, held.delivery_count);
                acquired.push(Acquisition { offset, delivery_count, record: held.record.clone() });
            }
            is_held_up |= held.holds_up();
        }
        acquired
    }

    /// Whether a record that is added now would be handed out at once.
    pub fn takes_more(&self) -> bool {
        !self.window.iter().any(|held| held.holds_up() || matches!(held.state, State::Available))
    }

    /// An acquired record is done with. Whether it was acquired, here and below; if not, nothing is done.
    pub fn accept(&mut self, offset: Offset) -> bool {
        self.settle_with(offset, |held, _| held.state = State::Settled)
    }

    /// An acquired record comes again, unless it has come as often as it may.
    pub fn release(&mut self, offset: Offset) -> bool {
        self.settle_with(offset, Held::release)
    }

    /// An acquired record does not come again.
    pub fn reject(&mut self, offset: Offset, reason: &str) -> bool {
        self.settle_with(offset, |held, _| held.state = State::Rejected(reason.into()))
    }

    /// An acquired record was not handed out after all: it does not count.
    pub fn take_back(&mut self, offset: Offset) -> bool {
        self.settle_with(offset, |held, _| {
            held.delivery_count = held.delivery_count.saturating_sub(1);
            held.state = State::Available;
        })
    }

    /// The first record that was rejected and not buried.
    pub fn rejection(&self) -> Option<Rejection<T>> {
        self.window.iter().enumerate().find_map(|(at, held)| match &held.state {
            State::Rejected(reason) => Some(Rejection {
                offset: held.offset,
                delivery_count: held.delivery_count,
                record: held.record.clone(),
                reason: Arc::clone(reason),
                is_first: at == 0,
            }),
            _ => None,
        })
    }

    /// A rejected record is somewhere else now, and settled. Whether it was rejected.
    pub fn bury(&mut self, offset: Offset) -> bool {
        let Some(held) = self.find(offset).filter(|held| matches!(held.state, State::Rejected(_))) else {
            return false;
        };
        held.state = State::Settled;
        self.advance();
        true
    }

    /// Up to where all is settled: what may be committed.
    pub fn commit_point(&self) -> Position {
        self.commit_point
    }

    /// Whether records behind the commit point are settled or rejected.
    pub fn holds_settled(&self) -> bool {
        self.window.iter().any(|held| matches!(held.state, State::Settled | State::Rejected(_)))
    }

    /// How often the records behind the commit point were handed out that are not settled: what is committed beside it.
    pub fn delivery_counts(&self) -> DeliveryCounts {
        let mut counts = DeliveryCounts::default();
        let unsettled = self.window.iter().filter(|held| !matches!(held.state, State::Settled));
        unsettled.for_each(|held| counts.push(held.offset, held.delivery_count));
        counts.extend_from(&self.remembered, self.read_to);
        counts
    }

    /// The records that are kept: those from the first unsettled one on.
    pub fn records(&self) -> impl ExactSizeIterator<Item = &T> {
        self.window.iter().map(|held| &held.record)
    }

    fn settle_with(&mut self, offset: Offset, settle: impl FnOnce(&mut Held<T>, u32)) -> bool {
        let limit = self.limit;
        let Some(held) = self.find(offset).filter(|held| matches!(held.state, State::Acquired)) else {
            return false;
        };
        settle(held, limit);
        self.advance();
        true
    }

    fn find(&mut self, offset: Offset) -> Option<&mut Held<T>> {
        let at = self.window.binary_search_by_key(&offset, |held| held.offset).ok()?;
        self.window.get_mut(at)
    }

    fn advance(&mut self) {
        while let Some(held) = self.window.front().filter(|held| matches!(held.state, State::Settled)) {
            self.commit_point = held.position;
            self.window.pop_front();
        }
    }
}

impl<T> Held<T> {
    /// It comes again, or has come as often as it may.
    fn release(&mut self, limit: u32) {
        self.state = match self.delivery_count {
            count if count >= limit => {
                State::Rejected(format!("delivered {count} times, and never accepted").into())
            }
            _ => State::Available,
        };
    }

    /// Whether nothing behind it is handed out for the first time: it has come again, or will.
    fn holds_up(&self) -> bool {
        match self.state {
            State::Available => self.delivery_count > 0,
            State::Acquired => self.delivery_count > 1,
            State::Rejected(_) => true,
            State::Settled => false,
        }
    }
}
