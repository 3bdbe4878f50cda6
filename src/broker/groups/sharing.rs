//! What a leader of this process does: it decodes what the members say, and shares out the partitions.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use crate::broker::topic_logs::Topics;
use crate::error::{Error, ErrorKind, Result};
use crate::group::{
    Assignment, Assignor, JoinAnswer, MemberId, PartitionCounts, Subscriber, Subscribers, Subscription,
};
use crate::model::TopicName;

/// Everybody's assignment, and the partitions that were shared out.
pub struct Shared {
    pub assignments: Vec<(MemberId, Bytes)>,
    pub topics: BTreeSet<Arc<str>>,
    pub counts: PartitionCounts,
}

/// Shares out the partitions that there are now.
pub fn share_out(answer: &JoinAnswer, topics: &Topics) -> Result<Shared> {
    let assignor = Assignor::named(&answer.protocol).ok_or_else(|| {
        let what = format!("the group has agreed on {:?}, which is no assignor", answer.protocol);
        Error::new(ErrorKind::InconsistentGroupProtocol, what)
    })?;
    let subscriber = |(id, says): &(MemberId, Bytes)| {
        let says = Subscription::decode(says)?;
        let generation = says.owned_generation();
        Ok((id.clone(), Subscriber { topics: says.topics, owned: says.owned, generation }))
    };
    let members = answer.members.iter().map(subscriber).collect::<Result<Subscribers>>()?;
    let wanted: BTreeSet<_> = members.values().flat_map(|member| member.topics.iter().cloned()).collect();
    let counts = counts(topics, &wanted);
    let encode = |(id, partitions): (MemberId, Vec<_>)| {
        let share = Assignment { partitions: partitions.into_iter().collect(), user_data: None };
        Ok((id, share.encode()?.into()))
    };
    let shares = assignor.assign(&members, &counts).into_iter();
    Ok(Shared { assignments: shares.map(encode).collect::<Result<_>>()?, topics: wanted, counts })
}

/// How many partitions each of these topics has; those that there are not are left out.
pub fn counts(topics: &Topics, wanted: &BTreeSet<Arc<str>>) -> PartitionCounts {
    let topics = topics.read();
    let count = |name: &Arc<str>| {
        let found = topics.get(&TopicName::new(name).ok()?)?;
        Some((Arc::clone(name), found.logs.count()))
    };
    wanted.iter().filter_map(count).collect()
}
