//! Which partition a record goes to: Kafka's rules.
//!
//! An explicit partition wins; else the key's murmur2 hash decides, as with the Java client, so that a key keeps
//! its partition when the topic moves to a cluster; else records stick to one partition for a while and then to
//! another, so that batches fill (Kafka: `BuiltInPartitioner`).

use crate::model::PartitionId;
use crate::sync::{AtomicU64, Ordering};

/// The partition of a key among `partitions` of them.
pub fn partition_for_key(key: &[u8], partitions: PartitionId) -> PartitionId {
    let positive = murmur2(key) & 0x7fff_ffff;
    positive % partitions.max(1)
}

/// Kafka's 32-bit murmur2.
fn murmur2(bytes: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    // Kafka hashes Java arrays, whose length has 31 bits.
    #[expect(clippy::cast_possible_truncation, reason = "a key is shorter than 2^31 bytes")]
    let mut hash = SEED ^ bytes.len() as u32;
    let (words, tail) = bytes.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        for (number, byte) in tail.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * number);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

/// Chooses partitions for records without a key: a random one, until a batch's worth of bytes went there.
#[derive(Debug)]
pub struct StickyPartitioner {
    /// The partition in the upper half, the bytes that went to it in the lower.
    state: AtomicU64,
}

impl StickyPartitioner {
    pub fn new(partitions: PartitionId) -> Self {
        Self { state: AtomicU64::new(pack(random(partitions), 0)) }
    }

    /// The partition for a record of `size` bytes. Two threads that end a stay at the same time may both choose
    /// a new partition: one choice stands, and each record has gone to one of them.
    pub fn partition_for(&self, size: usize, stay: usize, partitions: PartitionId) -> PartitionId {
        let (partition, sent) = unpack(self.state.load(Ordering::Relaxed));
        let sent = sent.saturating_add(u32::try_from(size).unwrap_or(u32::MAX));
        let next = if sent as usize >= stay { pack(random(partitions), 0) } else { pack(partition, sent) };
        self.state.store(next, Ordering::Relaxed);
        partition
    }
}

fn random(partitions: PartitionId) -> PartitionId {
    fastrand::u32(..partitions.max(1))
}

fn pack(partition: PartitionId, bytes: u32) -> u64 {
    u64::from(partition) << 32 | u64::from(bytes)
}

#[expect(clippy::cast_possible_truncation, reason = "each half is taken")]
fn unpack(state: u64) -> (PartitionId, u32) {
    ((state >> 32) as u32, state as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_hash_as_in_kafka() {
        let table: [(&str, i32, u32, u32, u32); 14] = [
            ("", 275_646_681, 0, 3, 9),
            ("a", -1_563_381_124, 1, 4, 4),
            ("ab", 316_155_434, 2, 2, 2),
            ("abc", 479_470_107, 0, 3, 3),
            ("abcd", -1_323_649_548, 2, 2, 8),
            ("21", -973_932_308, 0, 0, 0),
            ("foobar", -790_332_482, 0, 0, 6),
            ("key-0", 29_210_041, 1, 1, 1),
            ("key-1", 193_331_640, 0, 0, 0),
            ("user:42", -1_493_546_323, 1, 1, 1),
            ("ключ", 2_122_343_024, 2, 2, 8),
            ("a-little-bit-long-string", -985_981_536, 2, 2, 8),
            ("a-little-bit-longer-string", -1_486_304_829, 2, 5, 11),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971, 2, 5, 5),
        ];
        for (key, hash, of_3, of_6, of_12) in table {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
            for (partitions, expected) in [(3, of_3), (6, of_6), (12, of_12)] {
                assert_eq!(partition_for_key(key.as_bytes(), partitions), expected, "{key} of {partitions}");
            }
        }
    }

    #[test]
    fn records_without_a_key_stay_for_a_batch_and_reach_every_partition() {
        let sticky = StickyPartitioner::new(4);
        let mut reached = [0; 4];
        for _ in 0..1000 {
            let stays: Vec<_> = (0..10).map(|_| sticky.partition_for(100, 1000, 4)).collect();
            assert!(stays.iter().all(|partition| *partition == stays[0]), "{stays:?}");
            reached[stays[0] as usize] += 1;
        }
        assert!(reached.iter().all(|times| *times > 0), "{reached:?}");
    }
}
