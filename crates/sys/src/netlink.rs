// SPDX-License-Identifier: Apache-2.0
//! rtnetlink(7): questions to and orders for one network namespace, by messages on a socket that belongs to it.
//!
//! ```text
//!  nlmsghdr: length u32 │ type u16 │ flags u16 │ sequence u32 │ port u32
//!  body:     ifinfomsg or ifaddrmsg
//!  rtattr*:  length u16 │ type u16 │ value, padded to 4 bytes
//! ```
//!
//! Only what [`crate::network`] needs: one request, its replies, its acknowledgement.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use crate::Result;
use crate::error::Call;

/// `RTM_*`.
pub(crate) const NEW_LINK: u16 = 16;
pub(crate) const GET_LINK: u16 = 18;
pub(crate) const NEW_ADDRESS: u16 = 20;
pub(crate) const GET_ADDRESS: u16 = 22;

const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
/// `NLM_F_DUMP`: everything of a kind, not one thing.
pub(crate) const DUMP: u16 = 0x300;
/// `NLM_F_CREATE | NLM_F_EXCL`.
pub(crate) const CREATE: u16 = 0x600;

const ERROR: u16 = 2;
const DONE: u16 = 3;
const HEADER: usize = 16;

/// A socket of the network namespace in which it was made, wherever the process is now.
#[derive(Debug)]
pub(crate) struct Netlink(OwnedFd);

impl Netlink {
    /// A socket of the caller's network namespace.
    pub(crate) fn open() -> Result<Self> {
        // NETLINK_ROUTE is protocol 0.
        rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)
            .map(Self)
            .call(|| "socket(AF_NETLINK, NETLINK_ROUTE)".to_owned())
    }

    /// Sends one request; the bodies of the replies, without the acknowledgement.
    pub(crate) fn ask(&self, kind: u16, flags: u16, body: &[u8]) -> rustix::io::Result<Vec<Vec<u8>>> {
        let length = u32::try_from(HEADER + body.len()).map_err(|_| Errno::MSGSIZE)?;
        let mut message = length.to_ne_bytes().to_vec();
        message.extend(kind.to_ne_bytes());
        message.extend((flags | REQUEST | ACKNOWLEDGE).to_ne_bytes());
        message.extend([0; 8]);
        message.extend_from_slice(body);
        rustix::net::send(&self.0, &message, SendFlags::empty())?;
        let mut replies = Vec::new();
        while !self.receive(&mut replies)? {}
        Ok(replies)
    }

    /// One datagram of replies. True when it was the last one.
    fn receive(&self, replies: &mut Vec<Vec<u8>>) -> rustix::io::Result<bool> {
        let mut buffer = vec![0; 64 << 10];
        let (length, _) = rustix::net::recv(&self.0, buffer.as_mut_slice(), RecvFlags::empty())?;
        let mut rest = buffer.get(..length).ok_or(Errno::MSGSIZE)?;
        while let Some(length) = number(rest, 0).filter(|length| (HEADER..=rest.len()).contains(length)) {
            let (message, body) = (u16::from_ne_bytes([rest[4], rest[5]]), &rest[HEADER..length]);
            match message {
                DONE => return Ok(true),
                ERROR => {
                    let code = body.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
                    return if code == 0 { Ok(true) } else { Err(Errno::from_raw_os_error(-code)) };
                }
                _ => replies.push(body.to_vec()),
            }
            rest = rest.get(aligned(length)..).unwrap_or_default();
        }
        Ok(false)
    }
}

/// The native u32 at an offset.
pub(crate) fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let number = u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?);
    usize::try_from(number).ok()
}

fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

/// Appends an attribute.
pub(crate) fn attribute(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    message.extend(u16::try_from(value.len() + 4).unwrap_or(u16::MAX).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend_from_slice(value);
    message.resize(aligned(message.len()), 0);
}

/// The attributes behind a fixed part of `skip` bytes: type and value.
pub(crate) fn attributes(body: &[u8], skip: usize) -> Vec<(u16, &[u8])> {
    let mut rest = body.get(skip..).unwrap_or_default();
    let mut list = Vec::new();
    while let [a, b, c, d, ..] = *rest {
        let length = usize::from(u16::from_ne_bytes([a, b]));
        let Some(value) = rest.get(4..length) else { break };
        list.push((u16::from_ne_bytes([c, d]), value));
        rest = rest.get(aligned(length)..).unwrap_or_default();
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_come_back_as_they_were_written() {
        let mut message = vec![0; 8];
        attribute(&mut message, 3, b"eth0\0");
        attribute(&mut message, 28, &7_u32.to_ne_bytes());
        assert_eq!(message.len(), 8 + 12 + 8);
        assert_eq!(attributes(&message, 8), [(3, &b"eth0\0"[..]), (28, &7_u32.to_ne_bytes()[..])]);
        assert!(attributes(&message[..11], 8).is_empty() && attributes(&[1, 0, 0, 0], 0).is_empty());
    }
}
