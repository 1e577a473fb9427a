// SPDX-License-Identifier: Apache-2.0
//! Network devices: the loopback of a new namespace comes up, and devices move from one namespace to another.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::Result;
use crate::error::Call;
use crate::namespace::{self, Kind};
use crate::netlink::{
    CREATE, DUMP, GET_ADDRESS, GET_LINK, NEW_ADDRESS, NEW_LINK, Netlink, attribute, attributes, number,
};
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

/// A permanent address of global scope, as the kernel tells it: `ifaddrmsg` and the attributes worth keeping.
struct Address {
    family: u8,
    prefix: u8,
    attributes: Vec<(u16, Vec<u8>)>,
}

const IFLA_IFNAME: u16 = 3;
const IFLA_NET_NS_FD: u16 = 28;
const IFA_LABEL: u16 = 3;
const IFA_CACHEINFO: u16 = 6;
const IFA_FLAGS: u16 = 8;
const IFA_F_PERMANENT: u32 = 0x80;
/// Size of `ifaddrmsg`.
const ADDRESS: usize = 8;

/// Moves the network device `from` of the caller's namespace into `target` and names it `to` there: with its
/// permanent global addresses, and up. `to` may end in `%d`: the kernel chooses a number then.
///
/// `EEXIST` if there is a device of that name already; nothing has been moved then. The kernel itself keeps the rest
/// (MTU, hardware address, …). Needs CAP_NET_ADMIN over both namespaces.
pub fn move_device(from: &str, to: &str, target: BorrowedFd<'_>) -> Result<()> {
    let (here, there) = (Netlink::open()?, netlink_in(target)?);
    let index = index_of(&here, from).call(|| format!("rtnetlink: find network device {from}"))?;
    let addresses = addresses_of(&here, index).call(|| format!("rtnetlink: addresses of {from}"))?;
    let template = to.contains('%');
    if !template && index_of(&there, to).is_ok() {
        let what = format!("rtnetlink: network device {to} is already there");
        return Err(Errno::EXIST).call(|| what);
    }
    // The kernel renames after the move; a template's result would not be found again.
    let passing = if template { format!("mv{}-{index}", std::process::id()) } else { to.to_owned() };
    let mut order = link(index, 0);
    attribute(&mut order, IFLA_NET_NS_FD, &target.as_raw_fd().to_ne_bytes());
    attribute(&mut order, IFLA_IFNAME, &terminated(&passing));
    here.ask(NEW_LINK, 0, &order).call(|| format!("rtnetlink: move network device {from} as {to}"))?;
    let index = index_of(&there, &passing).call(|| format!("rtnetlink: find {passing} after its move"))?;
    if template {
        let mut order = link(index, 0);
        attribute(&mut order, IFLA_IFNAME, &terminated(to));
        there.ask(NEW_LINK, 0, &order).call(|| format!("rtnetlink: rename {passing} to {to}"))?;
    }
    for address in &addresses {
        add_address(&there, index, address).call(|| format!("rtnetlink: give {to} its address back"))?;
    }
    let up = link(index, libc::IFF_UP.cast_unsigned());
    there.ask(NEW_LINK, 0, &up).map(drop).call(|| format!("rtnetlink: set {to} up"))
}

/// A socket that belongs to another namespace; the process is back in its own afterwards.
fn netlink_in(target: BorrowedFd<'_>) -> Result<Netlink> {
    let own = namespace::open(Path::new("/proc/self/ns/net"))?;
    namespace::join(target, Kind::Network)?;
    let socket = Netlink::open();
    namespace::join(own.as_fd(), Kind::Network)?;
    socket
}

/// `ifinfomsg` of a device, with the flags to switch on.
fn link(index: u32, flags: u32) -> Vec<u8> {
    let mut message = vec![0; 4];
    for number in [index, flags, flags] {
        message.extend(number.to_ne_bytes());
    }
    message
}

fn terminated(name: &str) -> Vec<u8> {
    [name.as_bytes(), b"\0"].concat()
}

fn index_of(netlink: &Netlink, name: &str) -> rustix::io::Result<u32> {
    let mut question = link(0, 0);
    attribute(&mut question, IFLA_IFNAME, &terminated(name));
    let replies = netlink.ask(GET_LINK, 0, &question)?;
    let index = replies.first().and_then(|body| number(body, 4));
    index.and_then(|index| u32::try_from(index).ok()).ok_or(Errno::NODEV)
}

fn addresses_of(netlink: &Netlink, index: u32) -> rustix::io::Result<Vec<Address>> {
    let replies = netlink.ask(GET_ADDRESS, DUMP, &[0; ADDRESS])?;
    Ok(replies.iter().filter_map(|body| address_in(body, index)).collect())
}

/// The lifetimes of a permanent address are the defaults, and a label would begin with the old name.
fn address_in(body: &[u8], wanted: u32) -> Option<Address> {
    let [family, prefix, flags, scope, ..] = *body else { return None };
    let attributes = attributes(body, ADDRESS);
    let long = attributes.iter().find(|(kind, _)| *kind == IFA_FLAGS).and_then(|(_, value)| number(value, 0));
    let flags = long.and_then(|flags| u32::try_from(flags).ok()).unwrap_or_else(|| flags.into());
    let of_device = number(body, 4) == usize::try_from(wanted).ok();
    let keep = of_device && scope == 0 && flags & IFA_F_PERMANENT != 0;
    let worth = attributes.into_iter().filter(|(kind, _)| ![IFA_LABEL, IFA_CACHEINFO].contains(kind));
    keep.then(|| Address {
        family,
        prefix,
        attributes: worth.map(|(kind, value)| (kind, value.to_vec())).collect(),
    })
}

fn add_address(netlink: &Netlink, index: u32, address: &Address) -> rustix::io::Result<()> {
    let mut order = vec![address.family, address.prefix, 0, 0];
    order.extend(index.to_ne_bytes());
    for (kind, value) in &address.attributes {
        attribute(&mut order, *kind, value);
    }
    netlink.ask(NEW_ADDRESS, CREATE, &order).map(drop)
}
