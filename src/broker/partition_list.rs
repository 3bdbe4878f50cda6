//! The partitions of a topic: a list that grows while others read it, without a lock.

use std::fmt;
use std::sync::Arc;

use crate::config::MAX_PARTITIONS;
use crate::model::PartitionId;
use crate::partition_log::PartitionLog;
use crate::sync::{AtomicUsize, OnceLock, Ordering};

/// Chunk `k` has room for `2^k` partitions, from number `2^k − 1` on; they never move.
type Chunk = OnceLock<Box<[OnceLock<Arc<PartitionLog>>]>>;

const CHUNKS: usize = 14;
const _: () = assert!((1 << CHUNKS) > MAX_PARTITIONS);

/// Partition 0, 1, 2, … of a topic. Every send asks for one: that costs three loads.
#[derive(Default)]
pub struct PartitionList {
    chunks: [Chunk; CHUNKS],
    /// Raised once the partitions below it are there.
    count: AtomicUsize,
}

impl PartitionList {
    /// How many there are.
    pub fn count(&self) -> PartitionId {
        PartitionId::try_from(self.count.load(Ordering::Acquire)).unwrap_or(MAX_PARTITIONS)
    }

    pub fn get(&self, partition: PartitionId) -> Option<&Arc<PartitionLog>> {
        if partition >= self.count() {
            return None;
        }
        let (chunk, at) = place(partition as usize);
        self.chunks.get(chunk)?.get()?.get(at)?.get()
    }

    /// Those that are there at this moment.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<PartitionLog>> {
        (0..self.count()).filter_map(|partition| self.get(partition))
    }

    /// Adds partitions behind those that are there, all of them at once. One thread at a time does that.
    pub fn extend(&self, logs: impl IntoIterator<Item = Arc<PartitionLog>>) {
        let mut count = self.count.load(Ordering::Acquire);
        for log in logs {
            let (chunk, at) = place(count);
            let room = self.chunks.get(chunk).map(|chunk| chunk.get_or_init(|| empty(1 << chunk_of(count))));
            if let Some(slot) = room.and_then(|room| room.get(at)) {
                slot.get_or_init(|| log);
                count = count.saturating_add(1);
            }
        }
        self.count.store(count, Ordering::Release);
    }
}

fn empty(len: usize) -> Box<[OnceLock<Arc<PartitionLog>>]> {
    (0..len).map(|_| OnceLock::new()).collect()
}

/// The chunk of a partition, and the place in it.
fn place(partition: usize) -> (usize, usize) {
    let chunk = chunk_of(partition);
    (chunk, partition + 1 - (1 << chunk))
}

fn chunk_of(partition: usize) -> usize {
    (partition + 1).ilog2() as usize
}

impl fmt::Debug for PartitionList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_has_a_place_of_its_own() {
        let mut expected = (0, 0);
        for partition in 0..MAX_PARTITIONS as usize {
            assert_eq!(place(partition), expected);
            let (chunk, at) = expected;
            assert!(chunk < CHUNKS);
            expected = if at + 1 == 1 << chunk { (chunk + 1, 0) } else { (chunk, at + 1) };
        }
    }
}
