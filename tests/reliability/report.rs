//! What an appending child reports, a line for each thing that it does or learns.

use crate::child::tell;

/// Records that were sent together, and their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    pub thread: u8,
    pub place: u8,
    pub first: u32,
    pub count: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// It is going to open the directory.
    Begins,
    /// It has.
    Opened,
    /// Nothing more will be sent before the directory is closed.
    Closing,
    /// It was closed in order.
    Closed,
    /// Is going to be sent.
    Sends(Group),
    /// Is acknowledged, and stands there; on stable storage, or not.
    Acknowledged { group: Group, offset: u64, is_synced: bool },
    /// Was not written, and never is to be read.
    NotWritten(Group),
    /// May be there or not.
    Unknown(Group),
    /// A partition was opened anew after a failure.
    Reopened,
}

impl Report {
    pub fn tell(self) {
        tell(&self.encode());
    }

    fn encode(self) -> String {
        let group = |name: &str, Group { thread, place, first, count }: Group| {
            format!("{name} {thread} {place} {first} {count}")
        };
        match self {
            Self::Begins => "begins".to_owned(),
            Self::Opened => "opened".to_owned(),
            Self::Closing => "closing".to_owned(),
            Self::Closed => "closed".to_owned(),
            Self::Reopened => "reopened".to_owned(),
            Self::Sends(sent) => group("sends", sent),
            Self::NotWritten(sent) => group("not-written", sent),
            Self::Unknown(sent) => group("unknown", sent),
            Self::Acknowledged { group: sent, offset, is_synced } => {
                format!("{} {offset} {}", group("acknowledged", sent), u8::from(is_synced))
            }
        }
    }

    /// `None` for a line that is none.
    pub fn decode(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let name = words.next()?;
        let numbers: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
        let group = || match numbers[..] {
            [thread, place, first, count, ..] => Some(Group {
                thread: u8::try_from(thread).ok()?,
                place: u8::try_from(place).ok()?,
                first: u32::try_from(first).ok()?,
                count: u32::try_from(count).ok()?,
            }),
            _ => None,
        };
        Some(match name {
            "begins" => Self::Begins,
            "opened" => Self::Opened,
            "closing" => Self::Closing,
            "closed" => Self::Closed,
            "reopened" => Self::Reopened,
            "sends" => Self::Sends(group()?),
            "not-written" => Self::NotWritten(group()?),
            "unknown" => Self::Unknown(group()?),
            "acknowledged" => {
                let [.., offset, is_synced] = numbers[..] else { return None };
                Self::Acknowledged { group: group()?, offset, is_synced: is_synced == 1 }
            }
            _ => return None,
        })
    }
}
