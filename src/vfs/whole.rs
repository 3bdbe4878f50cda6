//! Whole reads and writes over the partial ones of the trait.

use std::io;
use std::path::Path;

use super::{OpenMode, Vfs, VfsFile};
use crate::file_name;
use crate::mutant::{self, Mutant};

/// Reads until `buffer` is full or the file ends; returns how much was read.
pub fn read_up_to_at(file: &dyn VfsFile, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    read_up_to(buffer, position, |rest, at| file.read_at(rest, at))
}

/// The same with any way to read a part.
pub fn read_up_to(
    buffer: &mut [u8],
    position: u64,
    read: impl Fn(&mut [u8], u64) -> io::Result<usize>,
) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match read(&mut buffer[filled..], position.saturating_add(filled as u64)) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Reads as far as the file goes. What a read leaves out that ends before the file does is read once more, and is an error if
/// it is left out again: it is not the end, and nobody is to take it for one.
pub fn read_to_end(
    file: &dyn VfsFile,
    buffer: &mut [u8],
    position: u64,
    read: impl Fn(&mut [u8], u64) -> io::Result<usize>,
) -> io::Result<usize> {
    let (mut filled, mut is_stuck) = (0, false);
    loop {
        let at = position.saturating_add(filled as u64);
        let got = read_up_to(&mut buffer[filled..], at, &read)?;
        filled += got;
        if filled == buffer.len() {
            return Ok(filled);
        }
        let (at, size) = (at.saturating_add(got as u64), file.size()?);
        if at >= size {
            return Ok(filled);
        }
        if is_stuck && got == 0 {
            let what = format!("a read at byte {at} gives nothing, and the file has {size} bytes");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
        }
        // A file that is being written may have grown in between.
        is_stuck = got == 0;
    }
}

/// Fills `buffer`, or fails with [`io::ErrorKind::UnexpectedEof`].
pub fn read_exact_at(file: &dyn VfsFile, buffer: &mut [u8], position: u64) -> io::Result<()> {
    if read_up_to_at(file, buffer, position)? == buffer.len() {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

/// Writes all of `buffer`; after an error any part of it may have been written.
pub fn write_all_at(file: &dyn VfsFile, buffer: &[u8], position: u64) -> io::Result<()> {
    write_up_to_at(file, buffer, position).1
}

/// Writes `buffer` as far as it goes; returns how much was written for certain, and what ended it before the end.
pub fn write_up_to_at(file: &dyn VfsFile, buffer: &[u8], position: u64) -> (usize, io::Result<()>) {
    let mut done = 0;
    while done < buffer.len() {
        match file.write_at(&buffer[done..], position + done as u64) {
            Ok(0) => return (done, Err(io::ErrorKind::WriteZero.into())),
            Ok(_) if mutant::is(Mutant::ShortWriteTakenAsFull) => done = buffer.len(),
            Ok(written) => done += written,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (done, Err(error)),
        }
    }
    (done, Ok(()))
}

/// Reads a small file whole; one of more than `most` bytes is an error, not an allocation.
pub fn read_file(vfs: &dyn Vfs, path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = vfs.open(path, OpenMode::Read)?;
    let len = file.size()?;
    if len > most {
        let what = format!("the file holds {len} bytes, and at most {most} are possible");
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    read_exact_at(file.as_ref(), &mut bytes, 0)?;
    Ok(bytes)
}

/// Replaces the file `name` in `dir`, at once or not at all, also across a power cut: write beside it, sync,
/// rename, sync the directory.
pub fn replace_file(vfs: &dyn Vfs, dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    stage_file(vfs, dir, name, bytes)?;
    commit_file(vfs, dir, name)
}

/// The first half of [`replace_file`]: after a failure the file is what it was.
pub fn stage_file(vfs: &dyn Vfs, dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let file = vfs.open(&dir.join(file_name::temporary(name)), OpenMode::CreateEmpty)?;
    write_all_at(file.as_ref(), bytes, 0)?;
    mutant::unless(Mutant::StagedNotSynced, || file.sync_all())
}

/// The second half of [`replace_file`]: after a failure the file may be the old or the new one.
pub fn commit_file(vfs: &dyn Vfs, dir: &Path, name: &str) -> io::Result<()> {
    vfs.rename(&dir.join(file_name::temporary(name)), &dir.join(name))?;
    mutant::unless(Mutant::RenameNotSynced, || vfs.sync_dir(dir))
}

/// Whether it says that there is no space: writing can go on once there is.
pub fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
