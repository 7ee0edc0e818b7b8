//! What the worker tells the supervisor, over a socket pair: one message a packet, some with a directory. The supervisor
//! only answers beats, by a packet of one byte.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{
        self, AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags,
        SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
        sockopt::{self, Timeout},
    },
    time::{ClockId, clock_gettime},
};
use serde::{Deserialize, Serialize};

/// A supervisor that does not read for so long is not one to freeze under.
const PATIENCE: Duration = Duration::from_secs(2);
/// The mount point is the only part of unbounded length.
const LONGEST: usize = 16 * 1024;

/// Mostly about the freeze that the journal knows by `key`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Message {
    /// The doors are open.
    Ready,
    /// The worker is awake; to be answered.
    Beat,
    /// FIFREEZE comes next; the message carries the root directory.
    Freezing {
        key: String,
        device: String,
        mount_point: PathBuf,
        /// On `CLOCK_MONOTONIC`.
        deadline: Duration,
    },
    /// FIFREEZE has succeeded.
    Frozen { key: String },
    /// Thawed, or never frozen.
    Released { key: String },
}

/// The time on `CLOCK_MONOTONIC`, which two processes of one machine share.
pub(crate) fn monotonic() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

/// One end of the pair.
#[derive(Debug)]
pub(crate) struct Control(OwnedFd);

impl Control {
    /// Both ends, closed on exec.
    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok((Self(one), Self(other)))
    }

    /// The end that this process was started with.
    pub(crate) fn inherited(fd: OwnedFd) -> io::Result<Self> {
        if sockopt::socket_type(&fd)? != SocketType::SEQPACKET {
            return Err(Errno::NOTSOCK.into());
        }
        sockopt::set_socket_timeout(&fd, Timeout::Send, Some(PATIENCE))?;
        Ok(Self(fd))
    }

    pub(crate) fn into_fd(self) -> OwnedFd {
        self.0
    }

    pub(crate) fn send(&self, message: &Message, root: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let bytes = serde_json::to_vec(message)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if let Some(root) = &root {
            ancillary.push(SendAncillaryMessage::ScmRights(std::slice::from_ref(root)));
        }
        net::sendmsg(
            &self.0,
            &[IoSlice::new(&bytes)],
            &mut ancillary,
            SendFlags::NOSIGNAL,
        )?;
        Ok(())
    }

    /// Tells that this process is awake, unless that takes waiting.
    pub(crate) fn beat(&self) -> io::Result<()> {
        let bytes = serde_json::to_vec(&Message::Beat)?;
        net::send(&self.0, &bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?;
        Ok(())
    }

    /// Answers a beat. One that cannot be answered at once is of a worker that does not listen.
    pub(crate) fn answer(&self) {
        let _ = net::send(&self.0, b"+", SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
    }

    /// Waits for an answer; `false` if the supervisor is gone.
    pub(crate) fn hear(&self) -> bool {
        let mut byte = [0];
        loop {
            match net::recv(&self.0, &mut byte[..], RecvFlags::empty()) {
                Err(Errno::INTR) => {}
                Ok((received, _)) => return received > 0,
                Err(_) => return false,
            }
        }
    }

    /// The next message without waiting for it: `WouldBlock` if there is none, `None` if the other end is gone.
    pub(crate) fn receive(&self) -> io::Result<Option<(Message, Option<OwnedFd>)>> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut bytes = vec![0; LONGEST];
        let received = net::recvmsg(
            &self.0,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
        )?;
        if received.bytes == 0 {
            return Ok(None);
        }
        let root = ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        let message = serde_json::from_slice(bytes.get(..received.bytes).unwrap_or_default())?;
        Ok(Some((message, root)))
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn messages_and_directories_arrive_in_order_and_after_the_senders_death() {
        let (worker, supervisor) = Control::pair().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let root = File::open(directory.path()).unwrap();
        let freezing = Message::Freezing {
            key: "k".into(),
            device: "7:1".into(),
            mount_point: "/a b".into(),
            deadline: monotonic(),
        };
        let released = Message::Released { key: "k".into() };
        worker.send(&freezing, Some(root.as_fd())).unwrap();
        worker.send(&released, None).unwrap();
        drop(worker);
        let (message, root) = supervisor.receive().unwrap().unwrap();
        assert_eq!(message, freezing);
        assert!(File::from(root.unwrap()).metadata().unwrap().is_dir());
        assert_eq!(supervisor.receive().unwrap().unwrap().0, released);
        assert!(supervisor.receive().unwrap().is_none());
    }

    #[test]
    fn a_beat_is_answered_until_the_supervisor_is_gone() {
        let (worker, supervisor) = Control::pair().unwrap();
        worker.beat().unwrap();
        assert_eq!(supervisor.receive().unwrap().unwrap().0, Message::Beat);
        supervisor.answer();
        assert!(worker.hear());
        drop(supervisor);
        assert!(!worker.hear());
        worker.beat().unwrap_err();
    }
}
