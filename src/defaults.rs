//! Where a default is another one than Kafka's, and where it is the same. It is a page, without code.
//!
//! The names, the words and the meanings are Kafka's, so that what one knows of a cluster holds here. A default is another one where
//! Kafka's loses or skips data that somebody may still want, for this log is often the only copy, and where a delay is of use to a
//! cluster alone.
//!
//! # Where they differ
//!
//! | Kafka's name | Here | Kafka | Why, and how to have it otherwise |
//! |---|---|---|---|
//! | `acks` | `synced` | in the memory of every replica in sync | there is no other replica: an acknowledged record is on stable storage; [`Durability`](crate::Durability) has less |
//! | `retention.ms` | for ever | 7 days | nothing is deleted that nobody deletes |
//! | `offsets.retention.minutes` | for ever | 7 days | a group that pauses for a holiday goes on where it has left off; [`Broker::delete_group`](crate::Broker::delete_group) ends one |
//! | `auto.offset.reset`, of a group without a commit | the log start | the end | what was sent before the first consumer came is read, too; [`auto_offset_reset`](crate::ConsumerBuilder::auto_offset_reset) |
//! | `auto.offset.reset`, of a position outside the log | an error | the end | nothing is skipped, and nothing read again, that nobody knows of; the same setting |
//! | `enable.auto.commit` | off | on | what was handed out is not what was done; [`auto_commit`](crate::ConsumerBuilder::auto_commit), [`Consumer::commit`](crate::Consumer::commit) |
//! | `isolation.level` | `read_committed` | `read_uncommitted` | what was rolled back was never there; [`isolation`](crate::ConsumerBuilder::isolation) |
//! | `partition.assignment.strategy` | `cooperative-sticky` | `range`, `cooperative-sticky` | who keeps a partition reads on while others move; [`assignor`](crate::ConsumerBuilder::assignor) |
//! | `group.initial.rebalance.delay.ms` | 0 ms | 3 s | the members of one process are there at once |
//! | `offsets.topic.num.partitions` | 1 | 50 | one process needs no more; a directory that was taken over keeps its own |
//! | `max.poll.records` | unlimited | 500 | records are lent and not copied, and `fetch.max.bytes` bounds the memory; [`max_poll_records`](crate::ConsumerBuilder::max_poll_records) |
//! | `fetch.max.bytes` | 1 MiB | 50 MiB | there is no round trip to save; [`fetch_max_bytes`](crate::ConsumerBuilder::fetch_max_bytes) |
//! | `group.share.partition.max.record.locks` | 500 | 2000 | how often each was handed out fits beside the commit; [`Consumer::acquire`](crate::Consumer::acquire) |
//! | `auto.create.topics.enable` | off | on | a name with a slip in it is an error; [`Broker::ensure_topic`](crate::Broker::ensure_topic) |
//! | `message.timestamp.after.max.ms` | unlimited | 1 h | a time is the sender's business |
//! | `segment.bytes`, at least | 1 KiB | 1 MiB | small devices, and tests |
//! | `linger.ms` | 1 ms | 5 ms | nobody's network is spared; whoever waits does not wait for it at all |
//!
//! # Where they are the same
//!
//! | Kafka's name | Here and there |
//! |---|---|
//! | `segment.bytes` | 1 GiB |
//! | `segment.ms` | 7 days |
//! | `segment.index.bytes` | 10 MiB |
//! | `index.interval.bytes` | 4 KiB |
//! | `max.message.bytes` | 1048588 B |
//! | `message.timestamp.type` | `CreateTime` |
//! | `compression.type` | `producer` |
//! | `num.partitions` | 1 |
//! | `batch.size` | 16 KiB |
//! | `buffer.memory` | 32 MiB |
//! | `max.block.ms` | 60 s |
//! | `session.timeout.ms` | 45 s |
//! | `max.poll.interval.ms` | 300 s |
//! | `group.share.delivery.count.limit` | 5 |
//! | `offset.metadata.max.bytes` | 4 KiB |
//! | `offsets.topic.segment.bytes` | 100 MiB |
