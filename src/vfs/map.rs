//! Read-only memory maps: the one place of the crate with `unsafe`.

use std::fs::File;
use std::io;

use bytes::Bytes;
use memmap2::Mmap;

/// Maps the whole file; the bytes keep the mapping, and need the descriptor no longer.
pub fn map(file: &File) -> io::Result<Bytes> {
    if file.metadata()?.len() == 0 {
        return Ok(Bytes::new());
    }
    #[expect(unsafe_code, reason = "mapping a file is unsafe: somebody could change or shorten it")]
    // SAFETY: only sealed segments and their indexes are mapped. This crate never writes to a sealed file, nor
    // truncates it; it unlinks it, which leaves the mapping whole; and the directory's lock keeps other writers
    // that respect it away. What remains, a foreign process that truncates the file and a disk that cannot
    // read a page, ends the process with SIGBUS, as the broker option that turns maps off documents.
    let map = unsafe { Mmap::map(file)? };
    Ok(Bytes::from_owner(map))
}
