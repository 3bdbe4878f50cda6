//! Ours against bare system calls, interleaved, several rounds: `cargo bench --bench ratios`.
//!
//! One line a row: `row | ours | raw | ratio (median, spread) | floor | ok or SHORT`. Ratios above 1 mean that ours
//! is faster. `-- --json FILE` writes the same; `-- --rounds N` sets the rounds, and
//! `-- NAME` takes only the rows whose name has that in it. It ends with 0 whatever they are.

mod append;
mod blocked;
mod commit;
mod hand_over;
mod pipelined;
mod raw;
mod read;
mod rebalance;
mod reopen;
mod roll;
mod row;
mod spread;
mod workplace;

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let (mut json, mut rounds, mut only) = (None, 5, String::new());
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--json" => json = Some(PathBuf::from(arguments.next().ok_or("--json takes a file")?)),
            "--rounds" => rounds = arguments.next().ok_or("--rounds takes a number")?.parse()?,
            // What cargo adds.
            "--bench" => {}
            name => name.clone_into(&mut only),
        }
    }
    println!("row | ours | raw | ratio (median, spread) | floor | ok or SHORT");
    let mut lines = Vec::new();
    let rows = [
        append::ROWS,
        pipelined::ROWS,
        spread::ROWS,
        roll::ROWS,
        read::ROWS,
        hand_over::ROWS,
        reopen::ROWS,
        blocked::ROWS,
        rebalance::ROWS,
        commit::ROWS,
    ];
    for row in rows.into_iter().flatten().filter(|row| row.name.contains(&only)) {
        let measured = row.measure(rounds)?;
        println!("{measured}");
        lines.push(measured.json());
    }
    if let Some(file) = json {
        std::fs::write(file, format!("[\n  {}\n]\n", lines.join(",\n  ")))?;
    }
    Ok(())
}

fn per_second(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}
