//! How a consumer takes part in its group, in each poll: it joins, gives back what is taken from it, and begins with what it is given.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Consumer;
use super::assigned::Assigned;
use super::subscribed::Subscribed;
use crate::broker::Mail;
use crate::error::{Error, ErrorKind, Result};
use crate::group::{Assignment, Generation, TopicPartition};
use crate::model::{Position, Start};

impl Consumer {
    /// Does what the group asks for, and returns when it is to be asked again.
    pub(super) fn keep_membership(&mut self) -> Result<Duration> {
        let Some(mut group) = self.group.take() else { return Ok(Duration::MAX) };
        let kept = self.take_part(&mut group);
        let next = group.membership.tend().into_iter().chain(group.join_at).min();
        self.group = Some(group);
        kept.map(|()| next.unwrap_or(Duration::MAX))
    }

    fn take_part(&mut self, group: &mut Subscribed) -> Result<()> {
        self.broker.check_open()?;
        loop {
            if let Some(mail) = group.membership.mail() {
                self.read_mail(group, mail)?;
            } else if group.join_at.is_some_and(|at| at <= self.clock.monotonic()) {
                self.join(group)?;
            } else if !group.membership.lead() {
                return Ok(());
            }
        }
    }

    fn read_mail(&mut self, group: &mut Subscribed, mail: Mail) -> Result<()> {
        let now = self.clock.monotonic();
        if mail.is_lost {
            self.assigned.clear();
            group.generation = None;
            group.membership.forget(self.broker.shared());
            group.join(now);
            return Ok(());
        }
        if let Some(at) = mail.rejoin {
            group.join(at);
        }
        let applied = match mail.assignment {
            Some((generation, assignment)) => {
                let assignment = Assignment::decode(&assignment)?;
                self.apply(group, generation, &assignment.partitions)
            }
            None => Ok(()),
        };
        if mail.topics_changed {
            self.assigned.retain(|assigned| !is_gone(assigned));
        }
        applied.and(mail.error.map_or(Ok(()), Err))
    }

    fn join(&mut self, group: &mut Subscribed) -> Result<()> {
        if !group.is_cooperative() {
            self.assigned.clear();
        }
        let owned = self.assigned.iter().map(Assigned::name).collect();
        group.membership.join(self.broker.shared(), &group.topics, owned, group.generation)?;
        // The answer may be there already, and ask for the next.
        group.join_at = None;
        Ok(())
    }

    /// Gives back what is not the consumer's any more, and then takes over what is new.
    fn apply(
        &mut self,
        group: &mut Subscribed,
        generation: Generation,
        target: &BTreeSet<TopicPartition>,
    ) -> Result<()> {
        let (kept, revoked): (Vec<_>, Vec<_>) = std::mem::take(&mut self.assigned)
            .into_iter()
            .partition(|assigned| target.contains(&assigned.name()));
        self.assigned = kept;
        group.generation = Some(generation);
        if !revoked.is_empty() && group.is_cooperative() {
            // Others wait for it.
            group.join(self.clock.monotonic());
        }
        let owned: BTreeSet<_> = self.assigned.iter().map(Assigned::name).collect();
        for name in target.difference(&owned) {
            self.take_over(group, name)?;
        }
        Ok(())
    }

    /// Begins where the group has left the partition.
    fn take_over(&mut self, group: &Subscribed, name: &TopicPartition) -> Result<()> {
        let partition = match self.broker.topic(&name.topic).and_then(|topic| topic.partition(name.partition))
        {
            // It was deleted meanwhile, and is shared out no more.
            Err(error) if error.kind() == ErrorKind::UnknownTopicOrPartition => return Ok(()),
            found => found?,
        };
        let start = match group.membership.coordinator().committed(name) {
            Some(committed) => Start::Resume(Position::new(committed.offset, committed.leader_epoch)),
            None => Start::Earliest,
        };
        partition.log().listen(self.wakeup.signal());
        self.assigned.push(Assigned::of_group(partition, self.isolation, start)?);
        Ok(())
    }
}

fn is_gone(assigned: &Assigned) -> bool {
    let is_unknown = |error: Error| error.kind() == ErrorKind::UnknownTopicOrPartition;
    assigned.log().check_readable().is_err_and(is_unknown)
}
