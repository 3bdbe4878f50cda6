//! The blobs of the consumer protocol, in which members and the one that assigns speak to each other. The coordinator passes
//! them on as they are. Bytes only.
//!
//! Each begins with an i16 version. A version above the known ones is read as the newest known one, for fields are only ever
//! added behind; so whatever stands behind the last known field is passed over, as Kafka's consumer does. Version 3 is
//! written, as Kafka's consumer does: the same members write the same bytes, whichever of the two they use.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]
#![deny(clippy::little_endian_bytes, clippy::host_endian_bytes)]

mod assignment;
mod partitions;
mod subscription;
#[cfg(test)]
mod tests;
mod user_data;

pub use assignment::Assignment;
pub use subscription::Subscription;
pub use user_data::{read_generation, write_generation};

/// The version that is written, and the newest one that is known.
const VERSION: i16 = 3;
