//! The suites over the whole library, one module a theme.

mod adopting;
mod adopting_fixtures;
mod altering;
mod attacks;
mod bad_input;
mod checkpoints;
mod compression;
mod consumer;
mod damage;
mod decoders;
mod deliveries;
mod descriptors;
mod durability;
mod full_disk;
mod giving_back;
mod growing;
mod handing_over;
mod inspecting;

mod kafka;
mod kafka_damage;
mod kafka_fixtures;
mod kafka_transactions;
mod levels;
mod owners;

mod positions;
mod read_only;
mod recovery;
mod recovery_report;
mod regressions;
mod reopening;
mod rolling;
mod salvaging;
mod salvaging_adopted;
mod salvaging_again;
mod salvaging_losses;
mod salvaging_tears;
mod scrubbing;
mod stress;
mod support;
mod time_lookup;
mod topics;
mod verifying;
mod verifying_kafka;
mod whole_log;
