//! What the suites ask of the operating system that the standard library does not offer: the only `unsafe` of them.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A process by its number.
pub type Pid = u32;

/// Has this process killed when its parent dies, so that nothing outlives a run that was killed.
#[expect(unsafe_code, reason = "the standard library cannot ask for it")]
pub fn die_with_parent() {
    // SAFETY: numbers in, a number out; nothing of this process's memory is concerned.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL), 0);
    }
}

/// Has this process killed after so many seconds: it hangs, then.
#[expect(unsafe_code, reason = "the standard library has no alarm")]
pub fn die_after(seconds: u32) {
    // SAFETY: a number in, a number out.
    unsafe { libc::alarm(seconds) };
}

#[expect(unsafe_code, reason = "the standard library signals only what it has started itself")]
pub fn signal(pid: Pid, signal: i32) {
    let pid = libc::pid_t::try_from(pid).unwrap();
    // SAFETY: numbers in, a number out.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0, "{}", io::Error::last_os_error());
}

/// Whether reading from a pipe waits for something to come.
#[expect(unsafe_code, reason = "the standard library does it for sockets alone")]
pub fn set_blocking(pipe: &impl AsRawFd, waits: bool) {
    let flags = if waits { 0 } else { libc::O_NONBLOCK };
    // SAFETY: numbers in, a number out; the descriptor is open as long as `pipe` is borrowed.
    assert_eq!(unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_SETFL, flags) }, 0);
}

/// Takes POSIX's lock of a whole file for this process, or gives it up; false if another process has it. Of a process that
/// dies it goes with the closing of its descriptors, before any lock that belongs to an open file does.
#[expect(unsafe_code, reason = "the standard library has the other kind alone")]
pub fn set_process_lock(file: &File, is_locked: bool) -> bool {
    let kind = if is_locked { libc::F_WRLCK } else { libc::F_UNLCK };
    // SAFETY: a struct of numbers, for which zeros mean the whole file.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::c_short::try_from(kind).unwrap();
    lock.l_whence = libc::c_short::try_from(libc::SEEK_SET).unwrap();
    // SAFETY: the struct lives during the call.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &raw const lock) } == 0 {
        return true;
    }
    let error = io::Error::last_os_error();
    assert!(matches!(error.raw_os_error(), Some(libc::EACCES | libc::EAGAIN)), "{error}");
    false
}

/// Whether there is such a process.
#[expect(unsafe_code, reason = "signal 0 asks, and sends nothing")]
pub fn is_alive(pid: Pid) -> bool {
    // SAFETY: numbers in, a number out.
    libc::pid_t::try_from(pid).is_ok_and(|pid| unsafe { libc::kill(pid, 0) } == 0)
}

/// Whether this process is root.
#[expect(unsafe_code, reason = "the standard library does not tell")]
pub fn is_root() -> bool {
    // SAFETY: it cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Runs `child` in a forked process; returns its number. Only where this process has no other thread.
#[expect(unsafe_code, reason = "there is no safe way to fork")]
pub fn fork(child: impl FnOnce() -> i32) -> Pid {
    // SAFETY: the caller is alone in its process, so that no other thread holds the allocator's lock; the child runs
    // nothing but `child`, and ends without unwinding or exit handlers.
    unsafe {
        match libc::fork() {
            0 => libc::_exit(child()),
            pid => Pid::try_from(pid).expect("a process"),
        }
    }
}

/// Waits for a forked process; its exit status, or -1 if a signal has ended it.
#[expect(unsafe_code, reason = "the standard library waits only for what it has started itself")]
pub fn wait(pid: Pid) -> i32 {
    let (pid, mut status) = (libc::pid_t::try_from(pid).unwrap(), 0);
    // SAFETY: the status is written to a place that lives.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { -1 }
}

/// Makes a named pipe, or a device with its number.
#[expect(unsafe_code, reason = "the standard library makes neither")]
pub fn make_node(path: &Path, kind: libc::mode_t, device: Option<(u32, u32)>) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    let device = device.map_or(0, |(major, minor)| libc::makedev(major, minor));
    // SAFETY: the path is a string that lives and ends with a zero.
    match unsafe { libc::mknod(path.as_ptr(), kind | 0o600, device) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Stops the file system of a directory at once, as a power cut would: what its journal holds is flushed first, or not.
#[expect(unsafe_code, reason = "an ioctl")]
pub fn shut_down(directory: &File, flush_journal: bool) -> io::Result<()> {
    const FS_IOC_GOINGDOWN: libc::c_ulong = 0x8004_587d;
    let how: u32 = if flush_journal { 1 } else { 2 };
    // SAFETY: the call reads one u32, which lives.
    match unsafe { libc::ioctl(directory.as_raw_fd(), FS_IOC_GOINGDOWN as _, &raw const how) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A file mapped for reading, each page of it read, so that its pages stay in memory.
pub struct Pinned {
    at: *mut libc::c_void,
    len: usize,
}

impl Pinned {
    #[expect(unsafe_code, reason = "a map")]
    pub fn new(file: &File) -> io::Result<Self> {
        let len = usize::try_from(file.metadata()?.len()).unwrap();
        // SAFETY: a new mapping of a length above zero, at a place that the operating system chooses.
        let at = unsafe {
            libc::mmap(std::ptr::null_mut(), len, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0)
        };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        for page in (0..len).step_by(4096) {
            // SAFETY: the byte lies in the mapping, which is readable as long as nobody shortens the file.
            unsafe { at.cast::<u8>().add(page).read_volatile() };
        }
        Ok(Self { at, len })
    }
}

impl Drop for Pinned {
    #[expect(unsafe_code, reason = "a map")]
    fn drop(&mut self) {
        // SAFETY: what was mapped, once.
        unsafe { libc::munmap(self.at, self.len) };
    }
}
