//! A group as text: in the columns of Kafka's `kafka-consumer-groups --describe`.

use std::collections::BTreeMap;
use std::fmt;

use super::description::{GroupDescription, GroupMember, GroupPartition};
use crate::model::Position;

/// A line for the group, a table of its partitions, and one of its members, if it has any; `-` stands for what is not there.
///
/// ```text
/// Group: billing    State: Stable    Generation: 1    Assignor: cooperative-sticky    Members: 1
///
/// GROUP    TOPIC   PARTITION  CURRENT-OFFSET  LOG-END-OFFSET  LAG  CONSUMER-ID  HOST         CLIENT-ID
/// billing  orders  0          3               5               2    ottla-1f0c…  /in-process  ottla
///
/// GROUP    CONSUMER-ID  HOST         CLIENT-ID  #PARTITIONS  ASSIGNMENT
/// billing  ottla-1f0c…  /in-process  ottla      1            orders:0
/// ```
impl fmt::Display for GroupDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Group: {}\tState: {}\tGeneration: {}", self.name(), self.state(), self.generation())?;
        writeln!(f, "\tAssignor: {}\tMembers: {}", self.assignor().unwrap_or(NONE), self.members().len())?;
        if !self.partitions().is_empty() {
            writeln!(f)?;
            print_table(f, self.partitions().iter().map(|partition| partition_row(self, partition)))?;
        }
        if !self.members().is_empty() {
            writeln!(f)?;
            print_table(f, self.members().iter().map(|member| member_row(self, member)))?;
        }
        Ok(())
    }
}

/// For what is not there.
const NONE: &str = "-";

/// The cells of a line, each with the name of its column.
type Row<const N: usize> = [(&'static str, String); N];

fn partition_row(group: &GroupDescription, partition: &GroupPartition) -> Row<9> {
    let number = |number: Option<u64>| number.map_or_else(|| NONE.to_owned(), |number| number.to_string());
    let member = group.members().iter().find(|member| Some(member.id()) == partition.member());
    let of_member = |text: fn(&GroupMember) -> &str| member.map_or(NONE, text).to_owned();
    [
        ("GROUP", group.name().to_owned()),
        ("TOPIC", partition.topic().to_owned()),
        ("PARTITION", partition.partition().to_string()),
        ("CURRENT-OFFSET", number(partition.committed().map(Position::offset))),
        ("LOG-END-OFFSET", number(partition.high_watermark())),
        ("LAG", number(partition.lag())),
        ("CONSUMER-ID", of_member(GroupMember::id)),
        ("HOST", of_member(GroupMember::host)),
        ("CLIENT-ID", of_member(GroupMember::client_id)),
    ]
}

fn member_row(group: &GroupDescription, member: &GroupMember) -> Row<6> {
    [
        ("GROUP", group.name().to_owned()),
        ("CONSUMER-ID", member.id().to_owned()),
        ("HOST", member.host().to_owned()),
        ("CLIENT-ID", member.client_id().to_owned()),
        ("#PARTITIONS", member.partition_count().to_string()),
        ("ASSIGNMENT", assignment(group, member)),
    ]
}

/// `t0:0,2;t1:1`
fn assignment(group: &GroupDescription, member: &GroupMember) -> String {
    let mut topics: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for partition in group.partitions().iter().filter(|partition| partition.member() == Some(member.id())) {
        topics.entry(partition.topic()).or_default().push(partition.partition().to_string());
    }
    let topics: Vec<_> =
        topics.iter().map(|(topic, numbers)| format!("{topic}:{}", numbers.join(","))).collect();
    if topics.is_empty() { NONE.to_owned() } else { topics.join(";") }
}

/// The names of the columns, and below them the lines, each column as wide as it has to be.
fn print_table<const N: usize>(
    f: &mut fmt::Formatter<'_>,
    rows: impl Iterator<Item = Row<N>>,
) -> fmt::Result {
    let rows: Vec<_> = rows.collect();
    let mut lines: Vec<[&str; N]> = rows.iter().map(|row| row.each_ref().map(|(_, cell)| &**cell)).collect();
    lines.splice(0..0, rows.first().map(|row| row.each_ref().map(|(name, _)| *name)));
    let mut widths = [0; N];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.chars().count().max(*width);
        }
    }
    for line in &lines {
        let cells: Vec<_> = line.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        writeln!(f, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}
