//! The steps of a service that commit offsets of its choice, move what a group has committed, and delete the group.

use ottla::{Broker, ErrorKind, OffsetAndMetadata, Position, Result};

use crate::committing::{GROUP, join, take_up};
use crate::service::Service;
use crate::told::{Outcome, Place, split};

/// What fits beside a commit.
const MOST_WORDS: usize = 4096;

impl Service {
    /// Commits some offset with words, after what no group can commit was refused.
    pub fn commit_at(&mut self, place: Place, number: u64) -> Outcome {
        let partition = self.topic(place)?.partition(split(place).1)?;
        let mut consumer = join(&self.broker()?, place)?;
        let first = take_up(&mut consumer, &partition)?;
        let commits = &self.told.sent(place).commits;
        assert!(commits.allow(first), "{place}: the group goes on at {first}, and has {commits:?}");
        let mut commit = |offset, words: &str| {
            let offset = OffsetAndMetadata::new(Position::new(offset, None)).metadata(words);
            consumer.commit_offsets([(partition.clone(), offset)])
        };
        let end = partition.high_watermark();
        refused(ErrorKind::OffsetOutOfRange, commit(end + 1, ""))?;
        refused(ErrorKind::OffsetMetadataTooLarge, commit(0, &"x".repeat(MOST_WORDS + 1)))?;
        let (offset, words) = (number % (end + 1), format!("words {number}"));
        let outcome = commit(offset, &words);
        self.told.committed_with(place, offset, &words, &outcome);
        outcome?;
        let found = consumer.committed(&partition)?.expect("it was committed just now");
        assert_eq!((found.position().offset(), found.words()), (offset, &words[..]), "{place}");
        Ok(())
    }

    /// Moves what the group has committed of a partition, after what is not there was refused.
    pub fn move_group(&mut self, place: Place, number: u64) -> Outcome {
        let partition = self.topic(place)?.partition(split(place).1)?;
        let broker = self.broker()?;
        let go_to =
            |offset| broker.alter_group_offsets(GROUP, [(partition.clone(), Position::new(offset, None))]);
        let end = partition.high_watermark();
        refused(ErrorKind::OffsetOutOfRange, go_to(end + 1))?;
        let offset = number % (end + 1);
        let outcome = go_to(offset);
        self.told.committed(place, offset, &outcome);
        outcome?;
        assert_eq!(committed(&broker, place)?, (offset, String::new()), "{place}");
        Ok(())
    }

    pub fn delete_group(&mut self) -> Outcome {
        let broker = self.broker()?;
        let outcome = match broker.delete_group(GROUP) {
            Err(error) if error.kind() == ErrorKind::GroupIdNotFound => {
                let commits = |place: &&Place| !self.told.topics[*place].commits.allow(0);
                let lost = self.told.topics.keys().find(commits);
                assert_eq!(lost, None, "there is no group, and it has committed");
                return Ok(());
            }
            outcome => outcome,
        };
        let places: Vec<_> = self.told.topics.keys().copied().collect();
        for place in places {
            self.told.committed(place, 0, &outcome);
        }
        outcome?;
        assert!(broker.groups()?.is_empty(), "there is a group that was deleted");
        Ok(())
    }

    /// What the group has committed of a place is what was told.
    pub fn look_at_commits(&self, place: Place, what: &str) -> Outcome {
        let commits = &self.told.topics[place].commits;
        if commits.are_there() {
            let (offset, words) = committed(&self.broker()?, place)?;
            assert!(commits.allow_with(offset, &words), "{what}: {offset} {words:?} of {commits:?}");
        }
        Ok(())
    }
}

/// What the group has committed of a place, with the words beside it: as if it was nothing, if it was nothing.
pub fn committed(broker: &Broker, place: Place) -> Result<(u64, String)> {
    let group = match broker.describe_group(GROUP) {
        Err(error) if error.kind() == ErrorKind::GroupIdNotFound => return Ok((0, String::new())),
        found => found?,
    };
    let found = group.partitions().iter().find(|it| (it.topic(), it.partition()) == split(place));
    Ok(found.map_or((0, String::new()), |found| {
        (found.committed().map_or(0, Position::offset), found.metadata().to_owned())
    }))
}

/// It was refused for this; any other error is one.
fn refused(kind: ErrorKind, outcome: Outcome) -> Outcome {
    match outcome {
        Ok(()) => panic!("what was to be refused was done: {kind:?}"),
        Err(error) if error.kind() == kind => Ok(()),
        failed => failed,
    }
}
