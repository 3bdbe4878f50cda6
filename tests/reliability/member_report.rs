//! What a member of a group reports, a line for each thing that it does or learns.

use ottla::Offset;

use crate::child::tell;
use crate::record_id::RecordId;

/// Who reports.
pub type MemberNumber = u8;

/// The number of a commit among those of its member.
pub type CommitNumber = u64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberReport {
    /// It was given a place, and begins there.
    Takes { place: u8, offset: Offset },
    /// It has processed these records, which stand one behind the other.
    Processed { place: u8, first: Offset, records: Vec<RecordId> },
    /// It is going to commit these offsets of places.
    Commits { number: CommitNumber, offsets: Vec<(u8, Offset)> },
    /// That is acknowledged.
    Committed { number: CommitNumber },
}

impl MemberReport {
    pub fn tell(&self, member: MemberNumber) {
        tell(&self.encode(member));
    }

    fn encode(&self, member: MemberNumber) -> String {
        let (name, numbers): (_, Vec<u64>) = match self {
            Self::Takes { place, offset } => ("takes", vec![u64::from(*place), *offset]),
            Self::Processed { place, first, records } => {
                let id = |id: &RecordId| [id.life.into(), id.thread.into(), id.number.into()];
                (
                    "processed",
                    [u64::from(*place), *first].into_iter().chain(records.iter().flat_map(id)).collect(),
                )
            }
            Self::Commits { number, offsets } => {
                let offset = |(place, offset): &(u8, Offset)| [u64::from(*place), *offset];
                ("commits", [*number].into_iter().chain(offsets.iter().flat_map(offset)).collect())
            }
            Self::Committed { number } => ("committed", vec![*number]),
        };
        let numbers: Vec<_> = numbers.iter().map(u64::to_string).collect();
        format!("member {member} {name} {}", numbers.join(" "))
    }

    /// `None` for a line that is none.
    pub fn decode(line: &str) -> Option<(MemberNumber, Self)> {
        let (member, rest) = line.strip_prefix("member ")?.split_once(' ')?;
        let (name, rest) = rest.split_once(' ')?;
        let numbers: Vec<u64> = rest.split(' ').map_while(|word| word.parse().ok()).collect();
        let place = |number: u64| u8::try_from(number).ok();
        let report = match (name, numbers.as_slice()) {
            ("takes", &[at, offset]) => Self::Takes { place: place(at)?, offset },
            ("processed", &[at, first, ref ids @ ..]) => {
                let place = place(at)?;
                let id = |id: &[u64]| {
                    let (life, number) = (u32::try_from(id[0]).ok()?, u32::try_from(id[2]).ok()?);
                    Some(RecordId { life, thread: u8::try_from(id[1]).ok()?, place, number })
                };
                Self::Processed { place, first, records: ids.chunks_exact(3).map(id).collect::<Option<_>>()? }
            }
            ("commits", &[number, ref offsets @ ..]) => {
                let offset = |pair: &[u64]| Some((place(pair[0])?, pair[1]));
                Self::Commits { number, offsets: offsets.chunks_exact(2).map(offset).collect::<Option<_>>()? }
            }
            ("committed", &[number]) => Self::Committed { number },
            _ => return None,
        };
        Some((member.parse().ok()?, report))
    }
}
