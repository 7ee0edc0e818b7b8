//! The few calls for which no safe wrapper exists: the two freeze ioctls, a thaw in a child process, signals
//! as a file descriptor. The only module of the agent with `unsafe` in it.
#![allow(unsafe_code)]

use std::{
    fs::File,
    io::{self, Read as _},
    mem,
    os::fd::{AsFd, BorrowedFd, FromRawFd as _, OwnedFd},
};

use rustix::{
    io::Errno,
    ioctl::{self, IntegerSetter},
    process::Pid,
};

/// `FIFREEZE`, `_IOWR('X', 119, int)` of linux/fs.h.
const FIFREEZE: u32 = 0xC004_5877;
/// `FITHAW`, `_IOWR('X', 120, int)` of linux/fs.h.
const FITHAW: u32 = 0xC004_5878;

/// Freezes the filesystem of `root`. Blocks, unkillable, while its dirty data is flushed.
///
/// `EBUSY`: frozen already. `EOPNOTSUPP`: cannot be frozen. `EPERM`: `CAP_SYS_ADMIN` is missing.
pub(crate) fn freeze(root: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: FIFREEZE ignores its argument, so no memory of ours is read or written.
    unsafe { ioctl::ioctl(root, IntegerSetter::<FIFREEZE>::new_usize(0)) }
}

/// Thaws the filesystem of `root`. Blocks, unkillable, while a freeze of the same filesystem flushes.
///
/// `EINVAL`: not frozen.
pub(crate) fn thaw(root: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: FITHAW ignores its argument, so no memory of ours is read or written.
    unsafe { ioctl::ioctl(root, IntegerSetter::<FITHAW>::new_usize(0)) }
}

/// Thaws the filesystem of `root` in a child process, whose exit code is 0 or the errno.
pub(crate) fn thaw_in_child(root: impl AsFd) -> io::Result<Pid> {
    // SAFETY: the child only makes two system calls, which are safe after a fork even of a process with threads.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let code = thaw(root.as_fd()).map_or_else(Errno::raw_os_error, |()| 0);
            // SAFETY: ends the child without running anything that belongs to the parent.
            unsafe { libc::_exit(code) }
        }
        pid => Pid::from_raw(pid).ok_or_else(|| io::Error::other("fork returned no process id")),
    }
}

/// The signals that ask a process to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// SIGTERM
    Terminate,
    /// SIGINT
    Interrupt,
}

/// Signals that this process takes from a file descriptor instead of from a handler.
pub(crate) struct Signals(File);

impl Signals {
    /// SIGTERM and SIGINT (told apart from the rest by [`Signals::drain`]) and SIGCHLD, which only wakes a poll.
    pub(crate) fn block() -> io::Result<Self> {
        let set = signal_set();
        mask(libc::SIG_BLOCK, &set)?;
        // SAFETY: `set` lives through the call, which only reads it.
        let fd = unsafe { libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: signalfd returned a descriptor that nothing else owns.
        Ok(Self(File::from(unsafe { OwnedFd::from_raw_fd(fd) })))
    }

    /// Undoes [`Signals::block`] in a process that was started with its mask, as every child is.
    pub(crate) fn unblock() -> io::Result<()> {
        mask(libc::SIG_UNBLOCK, &signal_set())
    }

    /// Takes all pending signals; whether, and how, they ask the process to end.
    pub(crate) fn drain(&mut self) -> Option<End> {
        let mut end = None;
        let mut info = [0_u8; mem::size_of::<libc::signalfd_siginfo>()];
        while self.0.read_exact(&mut info).is_ok() {
            let signal = u32::from_ne_bytes([info[0], info[1], info[2], info[3]]);
            match signal.cast_signed() {
                libc::SIGINT => end = Some(End::Interrupt),
                libc::SIGTERM => end = end.or(Some(End::Terminate)),
                _ => {}
            }
        }
        end
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn signal_set() -> libc::sigset_t {
    // SAFETY: sigset_t is plain data that sigemptyset initialises; all pointers are to a local.
    unsafe {
        let mut set: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGCHLD] {
            libc::sigaddset(&mut set, signal);
        }
        set
    }
}

fn mask(how: libc::c_int, set: &libc::sigset_t) -> io::Result<()> {
    // SAFETY: `set` lives through the call, which only reads it; no old mask is asked for.
    match unsafe { libc::pthread_sigmask(how, set, std::ptr::null_mut()) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}
