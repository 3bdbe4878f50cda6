//! Finds the first record of a time.
//!
//! The log is the only authority: the time index of a segment says behind which of its batches to begin, and is believed
//! if the log has that batch; from there on the headers tell, and then the records.

use super::PartitionLog;
use crate::error::Result;
use crate::model::{Offset, Timestamp};
use crate::record_batch::BatchHeader;
use crate::segment::Segment;

impl PartitionLog {
    /// The offset of the first record whose timestamp is at least `time`; the high watermark if there is none.
    pub(super) fn offset_at_time(&self, time: Timestamp) -> Result<Offset> {
        // In this order: the list is then at least as new as the end.
        let end = self.visible_end();
        let segments = self.segments.read().clone();
        let behind_first = segments.partition_point(|segment| segment.base_offset() <= self.log_start);
        for segment in segments.iter().skip(behind_first.saturating_sub(1)) {
            if segment.base_offset() >= end.offset {
                break;
            }
            let limit = if segment.base_offset() == end.segment { end.position } else { 0 };
            let found = self.first_in(segment, limit, time, end.offset).map_err(|error| self.place(error))?;
            // Had the topic been deleted before the files were opened, their names could be another one's by now.
            self.check_readable()?;
            if let Some(offset) = found {
                return Ok(offset);
            }
        }
        Ok(end.offset)
    }

    fn first_in(
        &self,
        segment: &Segment,
        limit: u64,
        time: Timestamp,
        end: Offset,
    ) -> Result<Option<Offset>> {
        let can_hold = |header: &BatchHeader| {
            header.max_timestamp >= time
                && header.last_offset() >= self.log_start
                && !header.attributes.is_control()
        };
        let mut scan = segment.scan_from_time(time, limit)?;
        while let Some(header) = scan.peek()?.filter(|header| header.base_offset < end) {
            if !can_hold(&header) {
                scan.skip(&header);
                continue;
            }
            let Some(batch) = scan.next_batch(&self.context.codecs)? else { break };
            let batch = batch.starting_at(self.log_start);
            let is_late = |timestamp: Timestamp| timestamp >= time;
            if let Some(record) = batch.iter().find(|record| record.timestamp().is_some_and(is_late)) {
                return Ok(Some(record.offset()));
            }
        }
        Ok(None)
    }
}
