//! Holds the batches of a log that Kafka has written to the leader epochs of their offsets.
//!
//! The epoch of a batch lies outside its checksum, and Kafka writes an epoch into the checkpoint, durably, before the first
//! batch that has it. So each batch has the epoch that the checkpoint gives its offset, and a log without a batch of the
//! newest epochs is lawful. A batch with a newer epoch than the checkpoint has is believed only where a recovery of
//! Kafka's would take it as one: above the recovery point of a log that was not closed, and if it stays: where the batch
//! behind it has the epoch of the checkpoint, the newer one was a damaged field.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

use super::LeaderEpochs;
use crate::model::{LeaderEpoch, Offset};

/// The epochs of a partition, with those that the batches add; `P` is where a batch stands.
#[derive(Clone, Debug)]
pub struct EpochCheck<P> {
    stored: LeaderEpochs,
    /// From where on a batch may begin an epoch that the checkpoint lacks.
    open_from: Option<Offset>,
    /// The epochs of batches before the first one that the checkpoint has.
    older: LeaderEpochs,
    /// The epochs that were begun, rising.
    newer: Vec<Newer<P>>,
}

/// An epoch that the checkpoint lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Newer<P> {
    pub epoch: LeaderEpoch,
    pub start: Offset,
    /// Where the batch stands that began it.
    pub place: P,
    /// Whether more than that batch has it.
    is_repeated: bool,
}

/// A batch that has another epoch than its offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongEpoch<P> {
    pub found: i32,
    pub known: Option<LeaderEpoch>,
    pub first: Offset,
    pub place: P,
    /// Whether it is a batch before the one that was taken, which tells of it, and is right.
    pub is_before: bool,
}

impl<P> WrongEpoch<P> {
    /// What is wrong, in a sentence without the place.
    pub fn what(&self) -> String {
        wrong_epoch(self.found, self.known)
    }
}

/// What is wrong with a batch that has another epoch than its offset, in a sentence without the place.
pub fn wrong_epoch(found: i32, known: Option<LeaderEpoch>) -> String {
    let has = format!("a batch has the leader epoch {found}, and its offset");
    match known {
        Some(known) => format!("{has} has the epoch {known}"),
        None => format!("{has} has none"),
    }
}

impl<P> EpochCheck<P> {
    /// Of a log with this checkpoint. From `open_from` on batches may begin epochs that it lacks; `None` if the log was
    /// closed in order.
    pub fn new(stored: LeaderEpochs, open_from: Option<Offset>) -> Self {
        Self { stored, open_from, older: LeaderEpochs::default(), newer: Vec::new() }
    }

    /// Takes the next batch of the log.
    pub fn take(&mut self, first: Offset, found: i32, place: P) -> Result<(), WrongEpoch<P>> {
        let known = self.newer.last().map(|newer| newer.epoch).or_else(|| self.known(first));
        let wrong = |place| WrongEpoch { found, known, first, place, is_before: false };
        let Ok(epoch) = LeaderEpoch::try_from(found) else { return Err(wrong(place)) };
        if self.is_before_the_first(first, epoch) {
            self.older.assign(epoch, first);
            return Ok(());
        }
        if Some(epoch) == known {
            if let Some(newer) = self.newer.last_mut() {
                newer.is_repeated = true;
            }
            return Ok(());
        }
        let is_newer = known.is_none_or(|known| epoch > known) && self.stored.latest() < Some(epoch);
        if is_newer && self.open_from.is_some_and(|from| first >= from) {
            self.newer.push(Newer { epoch, start: first, place, is_repeated: false });
            return Ok(());
        }
        // Without a checkpoint nothing is known of a log that was closed.
        if is_newer && self.stored.latest().is_none() {
            return Ok(());
        }
        match self.newer.pop_if(|newer| !newer.is_repeated) {
            Some(newer) => self.contradict(newer, first, epoch, place),
            None => Err(wrong(place)),
        }
    }

    /// The last batch alone has the epoch of `newer`, and the one behind it another one.
    fn contradict(
        &mut self,
        newer: Newer<P>,
        first: Offset,
        epoch: LeaderEpoch,
        place: P,
    ) -> Result<(), WrongEpoch<P>> {
        let known = self.newer.last().map(|newer| newer.epoch).or_else(|| self.known(first));
        if known == Some(epoch) {
            let Newer { epoch, start, place, .. } = newer;
            let known = self.newer.last().map(|newer| newer.epoch).or_else(|| self.known(start));
            let found = epoch.cast_signed();
            return Err(WrongEpoch { found, known, first: start, place, is_before: true });
        }
        let known = Some(newer.epoch);
        self.newer.push(newer);
        Err(WrongEpoch { found: epoch.cast_signed(), known, first, place, is_before: false })
    }

    fn known(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.stored.at(offset)
    }

    /// Kafka forgets the epochs of what was deleted, and batches of it still stand there: one at least where the log
    /// begins within a batch.
    fn is_before_the_first(&self, offset: Offset, epoch: LeaderEpoch) -> bool {
        let oldest = self.stored.entries().next();
        oldest.is_some_and(|(oldest, start)| offset < start && epoch <= oldest)
            && self.older.latest() <= Some(epoch)
    }

    /// The epochs that batches have begun, and that the checkpoint lacks.
    pub fn newer(&self) -> &[Newer<P>] {
        &self.newer
    }

    /// Those of the checkpoint, and what the batches have added.
    pub fn into_epochs(self) -> LeaderEpochs {
        let mut epochs = self.older;
        for (epoch, start) in self.stored.entries() {
            // It begins with its first batch.
            if epochs.latest() != Some(epoch) {
                epochs.begin(epoch, start);
            }
        }
        self.newer.iter().for_each(|newer| epochs.assign(newer.epoch, newer.start));
        epochs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(open_from: Option<Offset>) -> EpochCheck<&'static str> {
        EpochCheck::new(LeaderEpochs::decode(b"0\n2\n1 10\n3 20\n").unwrap(), open_from)
    }

    fn blamed(
        check: &mut EpochCheck<&'static str>,
        batches: &[(Offset, i32, &'static str)],
    ) -> Vec<&'static str> {
        let taken = batches.iter().map(|(first, epoch, place)| check.take(*first, *epoch, *place));
        taken.filter_map(|taken| taken.err().map(|wrong| wrong.place)).collect()
    }

    #[test]
    fn each_batch_has_the_epoch_of_its_offset() {
        let right = [(0, 0, "a"), (5, 1, "b"), (10, 1, "c"), (19, 1, "d"), (20, 3, "e"), (30, 3, "f")];
        let mut closed = check(None);
        assert_eq!(blamed(&mut closed, &right), Vec::<&str>::new());
        assert_eq!(closed.into_epochs().encode(), "0\n3\n0 0\n1 5\n3 20\n");
        let wrong =
            [(0, 2, "a"), (10, -1, "b"), (15, 3, "c"), (19, 1, ""), (20, 2, "d"), (25, 4, "e"), (30, 3, "")];
        assert_eq!(blamed(&mut check(None), &wrong), ["a", "b", "c", "d", "e"]);
    }

    #[test]
    fn a_newer_epoch_is_believed_above_the_recovery_point_if_it_stays() {
        let mut open = check(Some(24));
        assert_eq!(
            blamed(&mut open, &[(20, 3, ""), (23, 4, "below"), (24, 5, ""), (28, 5, ""), (30, 7, "")]),
            ["below"]
        );
        let begun: Vec<_> = open.newer().iter().map(|newer| (newer.epoch, newer.start)).collect();
        assert_eq!(begun, [(5, 24), (7, 30)]);
        assert_eq!(open.into_epochs().encode(), "0\n4\n1 10\n3 20\n5 24\n7 30\n");
        let mut open = check(Some(20));
        assert_eq!(
            blamed(&mut open, &[(20, 3, ""), (24, 99, "flipped"), (28, 3, ""), (30, 3, "")]),
            ["flipped"]
        );
        assert_eq!(open.newer(), []);
        let mut open = check(Some(20));
        assert_eq!(blamed(&mut open, &[(24, 5, ""), (26, 5, ""), (28, 3, "falls"), (30, 5, "")]), ["falls"]);
        let mut open = check(Some(20));
        assert_eq!(blamed(&mut open, &[(24, 5, ""), (26, 9, "flipped"), (28, 5, "")]), ["flipped"]);
    }

    #[test]
    fn without_a_checkpoint_epochs_rise_all_the_same() {
        let mut open = EpochCheck::new(LeaderEpochs::default(), Some(0));
        assert_eq!(
            blamed(&mut open, &[(0, 0, ""), (5, 0, ""), (9, 2, ""), (10, 2, ""), (12, 1, "falls")]),
            ["falls"]
        );
        assert_eq!(open.into_epochs().encode(), "0\n2\n0 0\n2 9\n");
        let mut closed = EpochCheck::new(LeaderEpochs::default(), None);
        assert_eq!(blamed(&mut closed, &[(0, 0, ""), (5, -1, "negative")]), ["negative"]);
    }
}
