//! Where records go that are not to be handed out again.
//!
//! Their headers are named as in Kafka's dead-letter topics of share groups (KIP-1191), with values in UTF-8, and stand behind those
//! that the record had.

use std::sync::Arc;

use super::share_partition::SharePartition;
use super::subscribed::{GroupSettings, Subscribed};
use crate::broker::Broker;
use crate::error::{Error, ErrorKind, Result};
use crate::group::Rejection;
use crate::model::{Compression, Record};
use crate::mutant::{self, Mutant};
use crate::partition_log::{IfFull, Reach};
use crate::record_batch::OwnedRecord;

/// Brings what was rejected of a partition to the dead-letter topic, durably, before anything is committed that passes it. Without one,
/// a rejected record that is the first of those that are not settled is an error.
pub fn bury(broker: &Broker, group: &Subscribed, partition: &SharePartition) -> Result<()> {
    while let Some(rejection) = partition.rejection() {
        match &group.settings.delivery.dead_letter_topic {
            Some(name) => {
                // Else it is for whoever has the partition now, and may accept it.
                group.membership.check()?;
                send(broker, &group.settings, name, partition, &rejection)?;
            }
            // Those before it may still be settled, and seeking would pass them.
            None if !rejection.is_first => return Ok(()),
            None => return Err(undeliverable(partition, &rejection)),
        }
        partition.bury(rejection.offset);
    }
    Ok(())
}

/// The same of several, whatever becomes of each; the first error.
pub fn bury_all<'a>(
    broker: &Broker,
    group: &Subscribed,
    partitions: impl Iterator<Item = &'a SharePartition>,
) -> Result<()> {
    partitions.map(|partition| bury(broker, group, partition)).fold(Ok(()), Result::and)
}

/// The same of those that the consumer gives up: without a dead-letter topic, whoever has them next is given the records again.
pub fn bury_before_leaving<'a>(
    broker: &Broker,
    group: &Subscribed,
    partitions: impl Iterator<Item = &'a SharePartition>,
) -> Result<()> {
    match group.settings.delivery.dead_letter_topic {
        Some(_) => bury_all(broker, group, partitions),
        None => Ok(()),
    }
}

fn send(
    broker: &Broker,
    settings: &GroupSettings,
    name: &str,
    partition: &SharePartition,
    rejection: &Rejection<Arc<OwnedRecord>>,
) -> Result<()> {
    let (log, record) = (partition.log(), &rejection.record);
    let context = [
        ("__dlq.errors.topic", log.topic().to_string()),
        ("__dlq.errors.partition", log.partition().to_string()),
        ("__dlq.errors.offset", rejection.offset.to_string()),
        ("__dlq.errors.group", settings.group.clone().unwrap_or_default()),
        ("__dlq.errors.delivery.count", rejection.delivery_count.to_string()),
        ("__dlq.errors.message", rejection.reason.to_string()),
    ];
    let own = record.headers.iter().map(|(name, value)| (&**name, value.as_deref()));
    let headers = own.chain(context.iter().map(|(name, value)| (*name, Some(value.as_bytes())))).collect();
    let topic = broker.topic(name)?;
    let to = log.partition().checked_rem(topic.partition_count()).unwrap_or_default();
    let dead = Record {
        key: record.key.as_deref(),
        value: record.value.as_deref(),
        headers,
        timestamp: record.timestamp,
        ..Record::default()
    };
    topic.check_writable()?;
    let log = topic.log(to)?;
    let assigned = log.append(&dead, Compression::None, IfFull::Wait)?;
    mutant::unless(Mutant::BurialNotAwaited, || log.wait(assigned, Reach::Durable))
}

fn undeliverable(partition: &SharePartition, rejection: &Rejection<Arc<OwnedRecord>>) -> Error {
    let what = format!("the record was rejected, and no dead-letter topic takes it: {}", rejection.reason);
    let error = Error::new(ErrorKind::RejectedRecord, what).at_offset(rejection.offset);
    let advice = "name a dead-letter topic, or seek behind the record, which is never handed out again then; pause the partition to go on with the others";
    partition.log().place(error).advise(advice)
}
