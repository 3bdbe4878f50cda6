//! `ottla dump`: what stands in files, item by item.

use std::io::Write;
use std::path::PathBuf;

use ottla::inspect::{Content, FileKind, Inspect, Item};

use crate::args;
use crate::failure::Failure;
use crate::items;
use crate::outcome::Outcome;
use crate::output::Output;

pub fn run(dump: &args::Dump, output: Output) -> Result<Outcome, Failure> {
    let inspect = Inspect::new().records(dump.records);
    // A path that is not there is found before anything is printed.
    let places = dump.paths.iter().map(|path| inspect.open(path)).collect::<Result<Vec<_>, _>>()?;
    let mut printer = Printer { out: output.stream(), is_json: output.is_json(), outcome: Outcome::Done };
    let printed = places.into_iter().flatten().try_for_each(|item| printer.print(&item));
    let flushed = printed.and_then(|()| printer.out.flush().map_err(Failure::writing));
    Failure::unless_closed(flushed)?;
    check_known(&dump.paths).map(|()| printer.outcome)
}

/// In a directory anything may stand; but who names a file wants to see what is in it.
fn check_known(paths: &[PathBuf]) -> Result<(), Failure> {
    let is_unknown = |path: &&PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        path.is_file() && FileKind::of(&name).0 == FileKind::Unknown
    };
    let unknown: Vec<String> =
        paths.iter().filter(is_unknown).map(|path| path.display().to_string()).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(Failure::Refused(format!(
        "{}: no file of a data directory has such a name, which tells what is in it; it was not read",
        unknown.join(", ")
    )))
}

struct Printer<W> {
    out: W,
    is_json: bool,
    outcome: Outcome,
}

impl<W: Write> Printer<W> {
    fn print(&mut self, item: &Item) -> Result<(), Failure> {
        if matches!(item.content, Content::Damage(_)) {
            self.outcome = Outcome::DamageFound;
        }
        items::print(&mut self.out, self.is_json, item).map_err(Failure::writing)
    }
}
