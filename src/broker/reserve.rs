//! Space that is set aside, so that a directory on a full disk can be opened, and topics on it deleted.

use std::io;
use std::path::Path;

use crate::error::{Error, IoContext, Result};
use crate::file_name::RESERVE;
use crate::vfs::{OpenMode, Vfs, is_full, write_all_at};

const CHUNK: usize = 64 * 1024;

/// Sets the space aside, unless it is already. That a disk has none to spare is no failure: then there is no reserve.
pub fn set_aside(vfs: &dyn Vfs, root: &Path, bytes: u64) -> Result<()> {
    let path = root.join(RESERVE);
    let fill = || {
        if bytes == 0 {
            return Ok(());
        }
        let file = vfs.open(&path, OpenMode::Create)?;
        let size = file.size()?;
        if size >= bytes {
            return Ok(());
        }
        let allocated = match file.allocate(bytes) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                let from = (size..bytes).step_by(CHUNK);
                from.map(|from| (from, CHUNK.min(usize::try_from(bytes - from).unwrap_or(CHUNK))))
                    .try_for_each(|(from, len)| write_all_at(file.as_ref(), &vec![0; len], from))
            }
            allocated => allocated,
        };
        if allocated.is_err() {
            // A part of it may be there, which is all the space that the disk had.
            file.set_len(size)?;
        }
        allocated
    };
    match fill() {
        Err(error) if is_full(&error) => Ok(()),
        filled => filled.doing("set space aside in", &path),
    }
}

/// Does something, and once more with the reserve given back if the disk is full; it must be possible to do it twice.
pub fn with_reserve<T>(vfs: &dyn Vfs, root: &Path, mut act: impl FnMut() -> Result<T>) -> Result<T> {
    match act() {
        Err(error) if error.io_error().is_some_and(is_full) => {
            if give_back(vfs, root)? { act() } else { Err(error) }.map_err(advise)
        }
        done => done,
    }
}

fn advise(error: Error) -> Error {
    if error.io_error().is_some_and(is_full) {
        error.advise(
            "the disk is full, and the reserve is used up: make space, and try again; no record was touched",
        )
    } else {
        error
    }
}

/// False if there is nothing to be given back.
fn give_back(vfs: &dyn Vfs, root: &Path) -> Result<bool> {
    let path = root.join(RESERVE);
    match vfs.remove_file(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        // Some file systems free the space only when the removal is durable.
        removed => removed.and_then(|()| vfs.sync_dir(root)).doing("give back", &path).map(|()| true),
    }
}
