//! Memory maps, of files and of a page that a fork wipes: the one place of the crate with `unsafe`.

use std::fmt;
use std::fs::File;
use std::io;

use bytes::Bytes;
use memmap2::{Mmap, MmapMut};
use nix::libc;

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

/// Tells a process from one that was forked off it.
///
/// A page that a fork fills with zeros in the child (`MADV_WIPEONFORK`, Linux 4.14): to look at it costs a nanosecond,
/// where `getpid` is a system call.
pub struct ProcessMark(Mark);

enum Mark {
    Page(MmapMut),
    /// Where the page cannot be had.
    Id(u32),
}

impl ProcessMark {
    /// The mark of this process.
    pub fn new() -> Self {
        Self(page().unwrap_or_else(|_| Mark::Id(std::process::id())))
    }

    /// False in a process that was forked off the one which made the mark.
    pub fn is_ours(&self) -> bool {
        match &self.0 {
            Mark::Page(page) => page.first() == Some(&1),
            Mark::Id(id) => *id == std::process::id(),
        }
    }
}

fn page() -> io::Result<Mark> {
    let mut page = MmapMut::map_anon(1)?;
    #[expect(unsafe_code, reason = "no safe interface offers this advice")]
    // SAFETY: the address and the length are those of a private anonymous mapping that is ours alone and outlives the
    // call; what the advice changes is the content of the page in a child process, which only reads it.
    let advised = unsafe { libc::madvise(page.as_mut_ptr().cast(), page.len(), libc::MADV_WIPEONFORK) };
    if advised != 0 {
        return Err(io::Error::last_os_error());
    }
    page.fill(1);
    Ok(Mark::Page(page))
}

impl fmt::Debug for ProcessMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessMark").field("is_ours", &self.is_ours()).finish()
    }
}
