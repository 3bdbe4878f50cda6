//! The ends file: what of each partition is proven to be durable. One file of ours at the root.
//!
//! It is the evidence by which recovery tells a torn tail from rot: damage below a partition's proven end is
//! corruption and never cut, damage above it is what a power cut leaves. The file says nothing that is not
//! already true of the logs, so appends never wait for it.
//!
//! Each partition has two slots, the twins, in different blocks of 4 KiB. Only the twin that does *not* hold the
//! partition's newest durable state is written, none is written while the file is synced, and a sync that
//! succeeds makes the written twins the newest durable ones. So one power cut never takes the newest evidence,
//! whatever it tears.
//!
//! It knows neither logs nor topics; it stores numbers.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]
#![deny(clippy::little_endian_bytes, clippy::host_endian_bytes)]

mod file;
mod listing;
mod slot;
#[cfg(test)]
mod tests;

pub use file::{EndsFile, EndsSlot};
pub use listing::{Place, list, newest_of, read};
pub use slot::{Owner, ProvenEnd, Slot};
