//! What the suites ask of the operating system that the standard library does not offer: the only `unsafe` of them.

use std::io;

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

#[expect(unsafe_code, reason = "the standard library signals only what it has started itself")]
pub fn signal(pid: Pid, signal: i32) {
    let pid = libc::pid_t::try_from(pid).unwrap();
    // SAFETY: numbers in, a number out.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0, "{}", io::Error::last_os_error());
}

/// Whether there is such a process.
#[expect(unsafe_code, reason = "signal 0 asks, and sends nothing")]
pub fn is_alive(pid: Pid) -> bool {
    // SAFETY: numbers in, a number out.
    libc::pid_t::try_from(pid).is_ok_and(|pid| unsafe { libc::kill(pid, 0) } == 0)
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
