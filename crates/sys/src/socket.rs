// SPDX-License-Identifier: Apache-2.0
//! Unix sockets: a pair of message sockets, connecting to a path of any length, passing descriptors.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};

use crate::Result;
use crate::error::Call;
use crate::raw::show;

/// Two connected sockets that keep message borders and report the end of the other side.
pub fn message_pair() -> Result<(OwnedFd, OwnedFd)> {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .call(|| "socketpair(AF_UNIX, SOCK_SEQPACKET)".to_owned())
}

/// Connects a stream socket to `path`, however long: the name goes through a descriptor of its directory.
pub fn connect(path: &Path) -> Result<OwnedFd> {
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .call(|| "socket(AF_UNIX, SOCK_STREAM)".to_owned())?;
    let connected = match SocketAddrUnix::new(path) {
        Ok(address) => rustix::net::connect(&socket, &address),
        Err(Errno::NAMETOOLONG) => connect_through_directory(&socket, path),
        Err(other) => Err(other),
    };
    connected.call(|| format!("connect({path:?})"))?;
    Ok(socket)
}

fn connect_through_directory(socket: &OwnedFd, path: &Path) -> rustix::io::Result<()> {
    use rustix::fs::{Mode, OFlags};
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Errno::NAMETOOLONG);
    };
    let directory =
        rustix::fs::open(directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
    rustix::net::connect(socket, &SocketAddrUnix::new(&short)?)
}

/// Sends one message, with a descriptor if there is one. A vanished reader is `EPIPE`, never a signal.
pub fn send(socket: BorrowedFd<'_>, message: &[u8], passed: Option<BorrowedFd<'_>>) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds: Vec<_> = passed.into_iter().collect();
    if !fds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&fds));
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(message)], &mut control, SendFlags::NOSIGNAL)
        .map(drop)
        .call(|| format!("sendmsg({}, {} bytes)", show(&socket), message.len()))
}

/// Waits for one message; 0 bytes mean that the other side is gone. At most one descriptor is taken, close-on-exec.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        match rustix::net::recvmsg(
            socket,
            &mut [IoSliceMut::new(buffer)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        ) {
            Err(Errno::INTR) => {}
            outcome => break outcome.call(|| format!("recvmsg({})", show(&socket)))?,
        }
    };
    let passed = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    Ok((received.bytes, passed))
}

/// Waits until one of the descriptors can be read or has ended; the answer has one entry for each.
/// `None` after `timeout_ms`.
pub fn wait_readable(fds: &[BorrowedFd<'_>], timeout_ms: Option<u32>) -> Result<Option<Vec<bool>>> {
    use rustix::event::{PollFd, PollFlags, Timespec};
    let mut polled: Vec<_> =
        fds.iter().map(|fd| PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)).collect();
    let limit = timeout_ms
        .map(|ms| Timespec { tv_sec: i64::from(ms / 1000), tv_nsec: i64::from(ms % 1000) * 1_000_000 });
    let ready = loop {
        match rustix::event::poll(&mut polled, limit.as_ref()) {
            Err(Errno::INTR) => {}
            outcome => break outcome.call(|| format!("poll({fds:?})"))?,
        }
    };
    Ok((ready > 0).then(|| polled.iter().map(|one| !one.revents().is_empty()).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_a_message_with_a_descriptor() {
        let (left, right) = message_pair().unwrap();
        send(left.as_fd(), b"here", Some(left.as_fd())).unwrap();
        let mut buffer = [0; 16];
        let (length, passed) = receive(right.as_fd(), &mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"here");
        assert!(passed.is_some());
        drop((left, passed));
        assert_eq!(receive(right.as_fd(), &mut buffer).unwrap().0, 0);
    }

    #[test]
    fn connects_to_a_path_longer_than_an_address() {
        let directory =
            std::env::temp_dir().join(format!("conex-{}-{}", std::process::id(), "d".repeat(120)));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("socket");
        let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
        let at = rustix::fs::open(&directory, rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).unwrap();
        let short = format!("/proc/self/fd/{}/socket", at.as_raw_fd());
        rustix::net::bind(&socket, &SocketAddrUnix::new(short).unwrap()).unwrap();
        rustix::net::listen(&socket, 1).unwrap();
        connect(&path).unwrap();
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
