//! What verification or salvage has found, as a line.

use std::fmt;
use std::ops::Range;

use ottla::PartitionId;
use ottla::inspect::Finding;
use serde::Serialize;

/// A finding for people and for programs.
#[derive(Serialize)]
pub struct FindingLine<'a> {
    severity: String,
    kind: String,
    topic: Option<&'a str>,
    partition: Option<PartitionId>,
    file: String,
    bytes: Option<&'a Range<u64>>,
    offsets: Option<&'a Range<u64>>,
    what: &'a str,
    advice: &'a str,
    #[serde(skip)]
    text: &'a Finding,
}

impl<'a> FindingLine<'a> {
    pub fn new(finding: &'a Finding) -> Self {
        let place = finding.partition.as_ref();
        Self {
            severity: format!("{:?}", finding.severity),
            kind: format!("{:?}", finding.kind),
            topic: place.map(|(topic, _)| topic.as_str()),
            partition: place.map(|(_, partition)| *partition),
            file: finding.file.display().to_string(),
            bytes: finding.bytes.as_ref(),
            offsets: finding.offsets.as_ref(),
            what: &finding.what,
            advice: finding.advice,
            text: finding,
        }
    }
}

impl fmt::Display for FindingLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.severity, self.text)
    }
}
