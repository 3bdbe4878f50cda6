//! The partitions in a blob, topic by topic.
//!
//! | Field | Type | |
//! |---|---|---|
//! | topics | array | |
//! | · topic | string | |
//! | · partitions | array of i32 | |

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::error::Result;
use crate::group::TopicPartition;
use crate::group::fields::{Fields, FieldsWriter};

/// Reads them; a partition that stands there twice is one.
pub fn read(fields: &mut Fields<'_>) -> Result<BTreeSet<TopicPartition>> {
    let mut read = BTreeSet::new();
    fields.array("topics", |fields| {
        let topic: Arc<str> = fields.string("topic")?.into();
        fields.array("partitions", |fields| {
            read.insert(TopicPartition::new(topic.clone(), fields.u32("partition")?));
            Ok(())
        })
    })?;
    Ok(read)
}

pub fn write(fields: &mut FieldsWriter, partitions: &BTreeSet<TopicPartition>) -> Result<()> {
    let mut topics: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    for TopicPartition { topic, partition } in partitions {
        topics.entry(topic).or_default().push(*partition);
    }
    fields.count("topics", topics.len())?;
    for (topic, numbers) in topics {
        fields.string("topic", topic)?;
        fields.count("partitions", numbers.len())?;
        numbers.into_iter().try_for_each(|number| fields.u32("partition", number))?;
    }
    Ok(())
}
