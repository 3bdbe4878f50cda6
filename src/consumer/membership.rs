//! How a consumer takes part in its group, in each poll: it joins, gives back what is taken from it, and begins with what it is given.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::assigned::Assigned;
use super::consumer::Consumer;
use super::listener::{self, Committer, RebalanceListener};
use super::share_partition::Share;
use super::subscribed::{OffsetReset, Subscribed};
use super::{committing, dead_letters};
use crate::broker::{Mail, Partition};
use crate::error::{Error, ErrorKind, Result};
use crate::group::{Assignment, Generation, TopicPartition};
use crate::model::{Position, Start};

impl Consumer {
    /// A poll begins: what was handed out before is done with.
    pub(super) fn begin_poll(&mut self, may_wait: bool) -> Result<()> {
        let Self { broker, clock, assigned, group, .. } = self;
        let Some(group) = group else { return Ok(()) };
        group.membership.enter_poll();
        group.may_wait = may_wait;
        assigned.iter_mut().for_each(Assigned::note_processed);
        let now = clock.monotonic();
        let (Some(at), Some(interval)) = (group.commit_at, group.settings.auto_commit) else { return Ok(()) };
        if now < at || !group.begun.is_empty() {
            return Ok(());
        }
        group.commit_at = Some(now.saturating_add(interval));
        match committing::commit_by_itself(broker, group, assigned) {
            // The poll finds out by itself, and commits when there is a place for it.
            Err(error) if is_of_rebalance(&error) => Ok(()),
            committed => committed,
        }
    }

    pub(super) fn end_poll(&self) {
        self.group.iter().for_each(|group| group.membership.leave_poll());
    }

    /// Does what the group asks for, and returns when it is to be asked again.
    pub(super) fn keep_membership(&mut self) -> Result<Duration> {
        let Some(mut group) = self.group.take() else { return Ok(Duration::MAX) };
        // Where nobody may wait somebody ticks.
        let next = if group.may_wait { group.membership.tend() } else { None };
        let kept = self.take_part(&mut group);
        let next = next.into_iter().chain(group.join_at).min();
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
            } else if !(group.may_wait && group.membership.lead()) {
                break;
            }
        }
        let again: Vec<_> = std::mem::take(&mut group.untaken).into_keys().collect();
        self.take_over_all(group, again.into_iter())
    }

    fn read_mail(&mut self, group: &mut Subscribed, mail: Mail) -> Result<()> {
        let now = self.clock.monotonic();
        if mail.is_lost {
            group.generation = None;
            group.untaken.clear();
            group.membership.forget(self.broker.shared());
            group.join(now);
            let unsaved = check_saved(group, &self.assigned);
            return self.lose(group, |_| true).and(unsaved);
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
        let looked = if mail.topics_changed { self.look_at_topics(group) } else { Ok(()) };
        applied.and(looked).and(mail.error.map_or(Ok(()), Err))
    }

    fn look_at_topics(&mut self, group: &mut Subscribed) -> Result<()> {
        let lost = self.lose(group, is_gone);
        if group.look_at_topics(&self.broker)? {
            group.join(self.clock.monotonic());
        }
        lost
    }

    fn join(&mut self, group: &mut Subscribed) -> Result<()> {
        let mut revoked = Ok(());
        if !group.is_cooperative() {
            revoked = self.revoke(group, |_| true);
            group.untaken.clear();
        }
        let owned = self.assigned.iter().map(Assigned::name).chain(group.untaken.keys().cloned()).collect();
        group.membership.join(self.broker.shared(), &group.topics, owned, group.generation)?;
        // The answer may be there already, and ask for the next.
        group.join_at = None;
        revoked
    }

    /// Gives back what is not the consumer's any more, and then takes over what is new.
    fn apply(
        &mut self,
        group: &mut Subscribed,
        generation: Generation,
        target: &BTreeSet<TopicPartition>,
    ) -> Result<()> {
        let before = self.assigned.len();
        let revoked = self.revoke(group, |assigned| !target.contains(&assigned.name()));
        group.generation = Some(generation);
        if self.assigned.len() < before && group.is_cooperative() {
            // Others wait for it.
            group.join(self.clock.monotonic());
        }
        let owned: BTreeSet<_> = self.assigned.iter().map(Assigned::name).collect();
        let heard = self.take_over_all(group, target.difference(&owned).cloned());
        revoked.and(heard)
    }

    /// Takes over what the consumer was given. What cannot be read is tried again by each poll, which says why.
    fn take_over_all(
        &mut self,
        group: &mut Subscribed,
        names: impl Iterator<Item = TopicPartition>,
    ) -> Result<()> {
        let (mut taken, mut untaken) = (Vec::new(), BTreeMap::new());
        let mut names = names.peekable();
        if names.peek().is_some() && !group.knows_commits(self.wakeup.signal()) {
            group.untaken = names.map(|name| (name, None)).collect();
            return Ok(());
        }
        for name in names {
            match self.take_over(group, &name) {
                Ok(partition) => taken.extend(partition),
                Err(error) => _ = untaken.insert(name, Some(error)),
            }
        }
        group.untaken = untaken;
        tell(group, &taken, "assigned", |listener, partitions| listener.assigned(partitions))
    }

    /// Why something that the consumer was given cannot be read.
    pub(super) fn untaken(&self) -> Option<Error> {
        self.group.as_ref()?.untaken.values().flatten().next().cloned()
    }

    /// Begins where the group has left the partition.
    fn take_over(&mut self, group: &Subscribed, name: &TopicPartition) -> Result<Option<Partition>> {
        let partition = match self.broker.topic(&name.topic).and_then(|topic| topic.partition(name.partition))
        {
            // It was deleted meanwhile, and is shared out no more.
            Err(error) if error.kind() == ErrorKind::UnknownTopicOrPartition => return Ok(None),
            found => found?,
        };
        let coordinator = group.membership.coordinator();
        let committed = match group.may_wait {
            true => coordinator.committed(name)?,
            false => coordinator.committed_so_far(name)?,
        };
        let committed = committed.map(|committed| Position::new(committed.offset, committed.leader_epoch));
        partition.log().listen(self.wakeup.signal());
        let generation = group.generation.unwrap_or_default();
        let mut assigned = Assigned::of_group(partition.clone(), self.isolation, committed, generation)?;
        assigned.begin(committed, group.settings.reset);
        self.assigned.push(assigned);
        Ok(Some(partition))
    }

    /// Gives partitions back, so that others can have them.
    fn revoke(&mut self, group: &mut Subscribed, goes: impl Fn(&Assigned) -> bool) -> Result<()> {
        let partitions = self.partitions_that(&goes);
        if partitions.is_empty() {
            return Ok(());
        }
        let Self { broker, assigned, .. } = self;
        let committed = match group.settings.auto_commit {
            Some(_) => committing::commit_by_itself(broker, group, assigned),
            None => Ok(()),
        };
        let mut listener = group.listener.take();
        let heard = listener.as_mut().map_or(Ok(()), |listener| {
            let mut committer = Committer { broker, group, assigned };
            listener::call("the listener, told what is revoked,", || {
                listener.revoked(&partitions, &mut committer);
            })
        });
        group.listener = listener;
        // The listener may have waited for those who work on what was acquired.
        let gone = || assigned.iter().filter(|assigned| goes(assigned));
        gone().filter_map(|assigned| assigned.share.as_ref()).for_each(Share::end);
        let buried = dead_letters::bury_before_leaving(broker, group, gone().filter_map(Assigned::shared));
        let settled = committing::commit_settled(broker, group, assigned);
        self.assigned.retain(|assigned| !goes(assigned));
        committed.and(heard).and(buried).and(settled)
    }

    /// Partitions are others' already, or nobody's.
    fn lose(&mut self, group: &mut Subscribed, is_lost: impl Fn(&Assigned) -> bool) -> Result<()> {
        let partitions = self.partitions_that(&is_lost);
        self.assigned.retain(|assigned| !is_lost(assigned));
        tell(group, &partitions, "lost", |listener, partitions| listener.lost(partitions))
    }

    fn partitions_that(&self, go: impl Fn(&Assigned) -> bool) -> Vec<Partition> {
        self.assigned
            .iter()
            .filter(|assigned| go(assigned))
            .map(|assigned| assigned.partition.clone())
            .collect()
    }
}

fn tell(
    group: &mut Subscribed,
    partitions: &[Partition],
    what: &str,
    tell: impl FnOnce(&mut dyn RebalanceListener, &[Partition]),
) -> Result<()> {
    match &mut group.listener {
        Some(listener) if !partitions.is_empty() => {
            listener::call(&format!("the listener, told what is {what},"), || {
                tell(listener.as_mut(), partitions);
            })
        }
        _ => Ok(()),
    }
}

impl Assigned {
    /// Goes to where the group has left the partition, or to where it is to begin; where that cannot be read from, fetches say so.
    fn begin(&mut self, committed: Option<Position>, reset: Option<OffsetReset>) {
        let reset = reset.map(|reset| match reset {
            OffsetReset::Earliest => Start::Earliest,
            OffsetReset::Latest => Start::Latest,
        });
        let start = committed.map(Start::Resume).or(reset).unwrap_or(Start::Earliest);
        let sought = match (self.seek(start), reset) {
            (Err(error), Some(reset)) if is_out_of_log(&error) => self.seek(reset),
            (sought, _) => sought,
        };
        self.misplaced = sought.err();
    }
}

fn is_out_of_log(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::OffsetOutOfRange | ErrorKind::LogTruncated)
}

/// Fails if something was settled, and can no longer be committed: who has settled it was told that it would be.
fn check_saved(group: &Subscribed, assigned: &[Assigned]) -> Result<()> {
    let is_unsaved = |share: &Share| share.has_unsaved();
    let mut there = assigned.iter().filter(|assigned| !is_gone(assigned));
    let Some(unsaved) = there.find(|assigned| assigned.share.as_ref().is_some_and(is_unsaved)) else {
        return Ok(());
    };
    let group = group.settings.group.as_deref().unwrap_or_default();
    let what =
        format!("group {group:?}: the consumer was no longer in it, and what was settled was not committed");
    let error = unsaved.log().place(Error::new(ErrorKind::UnknownMemberId, what));
    Err(error.advise(
        "it is handed out again, to whoever has the partition; acquire more often than the max.poll.interval",
    ))
}

fn is_gone(assigned: &Assigned) -> bool {
    let is_unknown = |error: Error| error.kind() == ErrorKind::UnknownTopicOrPartition;
    assigned.log().check_readable().is_err_and(is_unknown)
}

pub fn is_of_rebalance(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::CoordinatorNotAvailable | ErrorKind::UnknownMemberId | ErrorKind::UnknownTopicOrPartition
    )
}
