//! `ottla dump`: what stands in files, item by item.

use std::io::Write;

use ottla::inspect::{Content, Inspect, Item};

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
    Failure::unless_closed(flushed).map(|()| printer.outcome)
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
