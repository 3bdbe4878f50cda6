//! Directories in which somebody else has been: links, pipes, devices, huge files, foreign files, odd names, edits while it
//! is open. The data is right or there is an error, nothing hangs, and nothing outside the directory is touched.

mod deeds;
mod visitor;

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};

use crate::child::{Child, Role, argument};
use crate::dice::{Dice, seed};
use crate::figures::Figures;
use crate::runner::Size;
use crate::scratch::Scratch;
use crate::seeded::Seeded;
use deeds::{Deed, Impossible};
use visitor::PLACES;

pub const ROLES: [Role; 2] = [visitor::VISITOR, visitor::OWNER];

pub fn run(size: Size) -> Figures {
    let _recipe = Seeded::new("hostile_directory");
    let mut figures = Figures::new();
    let template = Scratch::in_memory("template");
    visitor::make(&template.data());
    let files = files(&template.data());
    let mut dice = Dice::new(seed());
    // One of so many.
    let of = size.of(25, 4, 1);
    for deed in deeds::all(&files) {
        if dice.below(of) > 0 && !deed.is_rare() {
            continue;
        }
        for in_order in [true, false] {
            if size == Size::Quick && dice.below(2) == 0 {
                continue;
            }
            match strange(&template.data(), &deed, in_order) {
                Ok(verdict) => {
                    figures.add("directories", 1);
                    figures.add(verdict, 1);
                }
                Err(Impossible(what)) => figures.add(what, 1),
            }
        }
    }
    for deed in deeds::edits(&files) {
        if dice.below(size.of(6, 2, 1)) == 0 {
            edited(&template.data(), &deed);
            figures.add("edits while open", 1);
        }
    }
    for name in ["files touched outside", "wrong", "hanging"] {
        figures.add(name, 0);
    }
    figures
}

/// A copy of the directory beside a place that nobody may touch.
struct Place {
    scratch: Scratch,
}

impl Place {
    fn new(template: &Path) -> Self {
        let scratch = Scratch::in_memory("hostile");
        copy(template, &scratch.data());
        copy(template, &scratch.path().join("outside"));
        Self { scratch }
    }

    fn assert_untouched(&self, before: &BTreeMap<PathBuf, Stamp>, what: &str) {
        let now = stamps(&self.outside());
        let touched: Vec<_> = now.iter().filter(|(path, stamp)| before.get(*path) != Some(*stamp)).collect();
        assert!(touched.is_empty() && now.len() == before.len(), "{what}: touched outside: {touched:?}");
    }

    fn outside(&self) -> PathBuf {
        self.scratch.path().join("outside")
    }
}

fn strange(template: &Path, deed: &Deed, in_order: bool) -> Result<&'static str, Impossible> {
    let place = Place::new(template);
    let data = place.scratch.data();
    if !in_order {
        std::fs::remove_file(data.join(".kafka_cleanshutdown")).unwrap();
    }
    deed.apply(&data, &place.outside())?;
    let before = stamps(&place.outside());
    let verdict =
        visit(&place, PLACES.map(|(_, _, count)| count), &format!("{deed:?}, in order: {in_order}"));
    place.assert_untouched(&before, &format!("{deed:?}, in order: {in_order}"));
    if deed.is_harmless() {
        assert_eq!(verdict, "opened whole", "{deed:?}, in order: {in_order}");
        assert!(deed.is_still_there(&data), "{deed:?}: what is foreign was not left alone");
    }
    Ok(verdict)
}

fn edited(template: &Path, deed: &Deed) {
    let place = Place::new(template);
    let data = place.scratch.data();
    let mut owner = Child::start(visitor::OWNER.0, &[argument(&data)]);
    owner.expect("ready");
    if deed.apply(&data, &place.outside()).is_err() {
        return;
    }
    let before = stamps(&place.outside());
    owner.say("go on");
    let said =
        owner.line().unwrap_or_else(|| panic!("{deed:?}, while it is open: the owner hangs, or is gone"));
    assert!(owner.wait().success(), "{deed:?}");
    let counts: Vec<usize> =
        said.strip_prefix("acknowledged ").unwrap().split(',').map(|count| count.parse().unwrap()).collect();
    visit(&place, counts.try_into().unwrap(), &format!("{deed:?}, while it was open"));
    place.assert_untouched(&before, &format!("{deed:?}, while it is open"));
}

/// What a process makes of the directory that has to find so many records.
fn visit(place: &Place, least: [usize; 3], what: &str) -> &'static str {
    let least = least.map(|count| count.to_string()).join(",");
    let mut child = Child::start(visitor::VISITOR.0, &[argument(&place.scratch.data()), least]);
    let lines: Vec<_> = std::iter::from_fn(|| child.line()).collect();
    let status = child.wait();
    assert_ne!(status.signal(), Some(libc::SIGALRM), "{what}: it hangs");
    assert!(
        status.success() && lines.last().is_some_and(|line| line == "done"),
        "{what}: {status}, {lines:?}"
    );
    match lines[0].split(' ').next() {
        Some("whole") => "opened whole",
        Some("refused") => "refused",
        _ => "errors later",
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// The files below the directory, by their names in it.
fn files(dir: &Path) -> Vec<String> {
    let mut files: Vec<_> = stamps(dir)
        .into_keys()
        .map(|path| path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned())
        .collect();
    files.sort();
    files
}

/// What shows that a file was written to: its bytes, its length, the time of its change, its mode.
type Stamp = (u32, u64, i64, i64, u32);

fn stamps(dir: &Path) -> BTreeMap<PathBuf, Stamp> {
    let mut stamps = BTreeMap::new();
    let mut directories = vec![dir.to_owned()];
    while let Some(directory) = directories.pop() {
        for path in std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
            let metadata = path.symlink_metadata().unwrap();
            if metadata.is_dir() {
                directories.push(path);
            } else {
                let crc = crc32fast::hash(&std::fs::read(&path).unwrap());
                let stamp = (crc, metadata.len(), metadata.mtime(), metadata.mtime_nsec(), metadata.mode());
                stamps.insert(path, stamp);
            }
        }
    }
    stamps
}
