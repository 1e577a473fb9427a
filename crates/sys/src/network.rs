// SPDX-License-Identifier: Apache-2.0
//! The one thing that a network namespace needs from whoever made it: its loopback device is up.

use std::os::fd::AsRawFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::Result;
use crate::error::Call;
use crate::raw::check;

/// `ip link set lo up`, in the caller's network namespace.
pub fn bring_loopback_up() -> Result<()> {
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .call(|| "socket(AF_INET, SOCK_DGRAM)".to_owned())?;
    // SAFETY: ifreq consists of integers and a union of integers; all zeroes is a valid one.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    // SAFETY: SIOCSIFFLAGS reads one ifreq, which lives through the call.
    let returned =
        unsafe { libc::syscall(libc::SYS_ioctl, socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    check(returned).map(drop).call(|| "ioctl(SIOCSIFFLAGS, lo up)".to_owned())
}

/// Moves the network devices `names` of the caller's network namespace into another; see netdevice(7).
/// Not written yet: `ENOSYS`, so that nobody takes it for done.
pub fn move_device(name: &str) -> Result<()> {
    Err(rustix::io::Errno::NOSYS).call(|| format!("move network device {name:?}"))
}
