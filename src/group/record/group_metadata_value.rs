//! The value of a group's metadata. Versions 0 to 4 are read, 3 is written, which every broker since 2.3 reads.
//!
//! | Field | Type | Versions | |
//! |---|---|---|---|
//! | version | i16 | | |
//! | protocol type | string | 0–4 | `consumer`; empty for a group that only commits |
//! | generation | i32 | 0–4 | |
//! | protocol | nullable string | 0–4 | the assignor; null without members |
//! | leader | nullable string | 0–4 | a member id; null without members |
//! | current state timestamp | i64 | 2–4 | −1: not known |
//! | members | array | 0–4 | |
//! | tagged fields | | 4 | none is known |
//!
//! A member:
//!
//! | Field | Type | Versions | |
//! |---|---|---|---|
//! | member id | string | 0–4 | |
//! | group instance id | nullable string | 3–4 | null: not a static member |
//! | client id | string | 0–4 | |
//! | client host | string | 0–4 | |
//! | rebalance timeout | i32 | 1–4 | ms; −1 or not there: the session timeout |
//! | session timeout | i32 | 0–4 | ms |
//! | subscription | bytes | 0–4 | see [`Subscription`](crate::group::Subscription) |
//! | assignment | bytes | 0–4 | see [`Assignment`](crate::group::Assignment) |
//! | tagged fields | | 4 | none is known |

use std::sync::Arc;
use std::time::Duration;

use crate::error::Result;
use crate::group::fields::{Fields, FieldsWriter};
use crate::model::Timestamp;

const STRUCTURE: &str = "the metadata of a group (GroupMetadataValue)";
const NEWEST: i16 = 4;
const WRITTEN: i16 = 3;
const WITH_REBALANCE_TIMEOUT: i16 = 1;
const WITH_STATE_TIMESTAMP: i16 = 2;
const WITH_INSTANCE_ID: i16 = 3;
const FLEXIBLE: i16 = 4;

/// The generation of a group, and who is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMetadataValue {
    /// `consumer`, or empty for a group that only commits.
    pub protocol_type: Arc<str>,
    /// How often members have joined; 0 before the first time.
    pub generation: u32,
    /// The assignor that the members have agreed on; `None` without members.
    pub protocol: Option<Arc<str>>,
    /// The id of the member that assigns; `None` without members.
    pub leader: Option<Arc<str>>,
    /// Since when the group is as it is, if that is known.
    pub current_state_timestamp: Option<Timestamp>,
    /// The members, in the order in which they stand there.
    pub members: Vec<MemberMetadata>,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberMetadata {
    /// Its id, which the coordinator has given it.
    pub member_id: Arc<str>,
    /// Its own lasting name, if it is a static member.
    pub group_instance_id: Option<Arc<str>>,
    /// What it calls itself.
    pub client_id: Arc<str>,
    /// Where it connected from: `/127.0.0.1`.
    pub client_host: Arc<str>,
    /// How long a rebalance waits for it; whole milliseconds.
    pub rebalance_timeout: Duration,
    /// How long it may be silent; whole milliseconds.
    pub session_timeout: Duration,
    /// What it said when it joined, for the protocol that was chosen: opaque here.
    pub subscription: Box<[u8]>,
    /// What the leader has assigned to it: opaque here.
    pub assignment: Box<[u8]>,
}

impl GroupMetadataValue {
    /// Reads a value, and checks all of it.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut fields = Fields::new(STRUCTURE, bytes);
        let version = fields.version(NEWEST)?;
        if version >= FLEXIBLE {
            fields.now_flexible();
        }
        let protocol_type = fields.string("protocol type")?.into();
        let generation = fields.u32("generation")?;
        let protocol = fields.nullable_string("protocol")?.map(Arc::from);
        let leader = fields.nullable_string("leader")?.map(Arc::from);
        let current_state_timestamp = match version {
            WITH_STATE_TIMESTAMP.. => Some(fields.i64("current state timestamp")?).filter(|time| *time != -1),
            _ => None,
        };
        let mut members = Vec::new();
        fields.array("members", |fields| {
            members.push(MemberMetadata::read(fields, version)?);
            Ok(())
        })?;
        fields.skip_tags()?;
        fields.end()?;
        Ok(Self { protocol_type, generation, protocol, leader, current_state_timestamp, members })
    }

    /// The bytes of the value, in version 3. An error if something is longer or larger than its field.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let mut fields = FieldsWriter::new(STRUCTURE);
        fields.i16(WRITTEN);
        fields.string("protocol type", &self.protocol_type)?;
        fields.u32("generation", self.generation)?;
        fields.nullable_string("protocol", self.protocol.as_deref())?;
        fields.nullable_string("leader", self.leader.as_deref())?;
        fields.i64(self.current_state_timestamp.unwrap_or(-1));
        fields.count("members", self.members.len())?;
        self.members.iter().try_for_each(|member| member.write(&mut fields))?;
        Ok(fields.finish())
    }
}

impl MemberMetadata {
    fn read(fields: &mut Fields<'_>, version: i16) -> Result<Self> {
        let member_id = fields.string("member id")?.into();
        let group_instance_id = match version {
            WITH_INSTANCE_ID.. => fields.nullable_string("group instance id")?.map(Arc::from),
            _ => None,
        };
        let client_id = fields.string("client id")?.into();
        let client_host = fields.string("client host")?.into();
        let rebalance_timeout = match version {
            WITH_REBALANCE_TIMEOUT.. => fields.optional_u32("rebalance timeout")?,
            _ => None,
        };
        let session_timeout = milliseconds(fields.u32("session timeout")?);
        let member = Self {
            member_id,
            group_instance_id,
            client_id,
            client_host,
            rebalance_timeout: rebalance_timeout.map_or(session_timeout, milliseconds),
            session_timeout,
            subscription: fields.bytes("subscription")?.into(),
            assignment: fields.bytes("assignment")?.into(),
        };
        fields.skip_tags()?;
        Ok(member)
    }

    fn write(&self, fields: &mut FieldsWriter) -> Result<()> {
        fields.string("member id", &self.member_id)?;
        fields.nullable_string("group instance id", self.group_instance_id.as_deref())?;
        fields.string("client id", &self.client_id)?;
        fields.string("client host", &self.client_host)?;
        // A time that the field cannot hold is as good as the longest that it can: 24 days.
        fields.i32(i32::try_from(self.rebalance_timeout.as_millis()).unwrap_or(i32::MAX));
        fields.i32(i32::try_from(self.session_timeout.as_millis()).unwrap_or(i32::MAX));
        fields.bytes("subscription", &self.subscription)?;
        fields.bytes("assignment", &self.assignment)
    }
}

fn milliseconds(count: u32) -> Duration {
    Duration::from_millis(count.into())
}
