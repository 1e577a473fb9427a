// SPDX-License-Identifier: Apache-2.0
//! How an ordinary user gets a range of ids: this process becomes root of a new user namespace, in which id 0 is the
//! user and ids 1… are what /etc/subuid and /etc/subgid grant. Layers so keep their true owners, shifted.
//!
//! ```text
//!  conex ──fork──► helper             (single-threaded, before anything else is done)
//!    │ unshare(NEWUSER|NEWNS)           │ waits
//!    ├────────── "done" ───────────────►│ newuidmap PID 0 UID 1 1 100000 65536; newgidmap PID …
//!    │◄───── "", or what failed ────────┘   setuid programs, from a fixed list of directories, empty environment
//!    └ is root in there: on with the work
//! ```
//! There is no fallback to a map of the user's id alone: a store filled that way would have lost every file's owner.

use std::fs;
use std::os::fd::AsFd as _;

use conex_sys::idmap::{self, Ids, Range};
use conex_sys::namespace::{self, Kind};
use conex_sys::process::{self, Spawn};
use conex_sys::{Errno, socket};

use crate::{Error, ErrorKind, Result, Wrap as _};

/// A container needs about this many ids: `nobody` is 65534.
const ENOUGH: u32 = 65_536;

/// Whether this process is in the user namespace that the machine was started with.
pub fn is_initial() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// Whether this process is root, of this machine or of a user namespace.
pub fn is_root() -> bool {
    crate::system::effective_user() == 0
}

/// Puts this process, which must have a single thread, into a user and a mount namespace of its own.
pub fn enter(uid: u32, gid: u32) -> Result<()> {
    let name = user_name(uid);
    let users = ranges(&name, uid, uid, Ids::Users)?;
    let groups = ranges(&name, uid, gid, Ids::Groups)?;
    let (ours, helpers) = socket::message_pair()?;
    let pid = std::process::id().cast_signed();
    let helper = process::spawn(&Spawn::default(), || {
        let mut word = [0; 8];
        // An empty message: the namespace could not be made, or its maker is gone.
        if !matches!(socket::receive(helpers.as_fd(), &mut word), Ok((4, _))) {
            return 0;
        }
        let written = idmap::write_by_helper(pid, Ids::Users, &users)
            .and_then(|()| idmap::write_by_helper(pid, Ids::Groups, &groups));
        let answer = written.err().map_or_else(|| "ok".to_owned(), |error| error.to_string());
        i32::from(socket::send(helpers.as_fd(), answer.as_bytes(), None).is_err())
    })?;
    namespace::unshare(namespace::flags([Kind::User, Kind::Mount])).map_err(refused)?;
    socket::send(ours.as_fd(), b"done", None)?;
    let mut answer = [0; 1024];
    let (length, _) = socket::receive(ours.as_fd(), &mut answer)?;
    process::wait(helper.pidfd.as_fd())?;
    match &answer[..length] {
        b"ok" => Ok(()),
        words => Err(Error::new(ErrorKind::Os, format!("map ids: {}", String::from_utf8_lossy(words)))
            .with_hint("`newuidmap` and `newgidmap` must be installed setuid root: apt-get install uidmap")),
    }
}

/// Id 0 is the user, the rest are their subordinate ids in the file's order.
fn ranges(name: &str, uid: u32, own: u32, ids: Ids) -> Result<Vec<Range>> {
    let path = file(ids);
    let text = fs::read_to_string(path).unwrap_or_default();
    plan(own, &idmap::subordinate_ranges(&text, name, uid)).ok_or_else(|| missing(name, path, &text))
}

fn file(ids: Ids) -> &'static str {
    match ids {
        Ids::Users => "/etc/subuid",
        Ids::Groups => "/etc/subgid",
    }
}

/// `None` where the granted ids are too few.
fn plan(own: u32, granted: &[(u32, u32)]) -> Option<Vec<Range>> {
    let mut ranges = vec![Range { inside: 0, outside: own, count: 1 }];
    let mut next: u32 = 1;
    for &(outside, count) in granted {
        let count = count.min(u32::MAX - next);
        ranges.push(Range { inside: next, outside, count });
        next = next.checked_add(count)?;
    }
    (next >= ENOUGH).then_some(ranges)
}

fn missing(name: &str, path: &str, text: &str) -> Error {
    let first = first_free(text);
    let last = first + ENOUGH - 1;
    let message = format!("user {name} has no range of {ENOUGH} subordinate ids in {path}");
    Error::new(ErrorKind::Os, message).with_hint(format!(
        "add the line `{name}:{first}:{ENOUGH}` to /etc/subuid and to /etc/subgid; as root: \
         usermod --add-subuids {first}-{last} --add-subgids {first}-{last} {name}"
    ))
}

/// The first id behind all ranges that are given out, at least 100000, as useradd counts.
fn first_free(text: &str) -> u32 {
    let ends = text.lines().filter_map(|line| {
        let mut fields = line.trim().split(':').skip(1).map(str::parse::<u32>);
        fields.next()?.ok()?.checked_add(fields.next()?.ok()?)
    });
    ends.max().unwrap_or(0).clamp(100_000, u32::MAX - ENOUGH)
}

fn user_name(uid: u32) -> String {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| uid.to_string())
}

fn refused(error: conex_sys::Error) -> Error {
    let hint = match error.errno() {
        Errno::NOSPC => "raise the limit: sysctl user.max_user_namespaces=15000",
        Errno::PERM | Errno::ACCESS => {
            "this host forbids user namespaces to ordinary users: see the sysctls kernel.unprivileged_userns_clone and \
             kernel.apparmor_restrict_unprivileged_userns, or run conex as root"
        }
        _ => return error.into(),
    };
    Error::from(error).wrap("make a user namespace").with_hint(hint)
}

/// Joins the user namespace of a process. For `exec`, where the runtime must be inside. Not its mount namespace: in the
/// container's, the runtime's path would lead to a program of the image.
pub(crate) fn join(pid: i32) -> Result<()> {
    let own = fs::read_link("/proc/self/ns/user").wrap(|| "read /proc/self/ns/user")?;
    if fs::read_link(format!("/proc/{pid}/ns/user")).is_ok_and(|other| other == own) {
        return Ok(());
    }
    let target = process::open(pid)?;
    Ok(namespace::join_process(target.as_fd(), namespace::flags([Kind::User]))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_is_root_and_the_granted_ids_follow() {
        let plan = plan(1000, &[(100_000, 65_536), (300_000, 10)]).unwrap();
        let shown: Vec<_> = plan.iter().map(|range| (range.inside, range.outside, range.count)).collect();
        assert_eq!(shown, [(0, 1000, 1), (1, 100_000, 65_536), (65_537, 300_000, 10)]);
    }

    #[test]
    fn too_few_ids_are_no_plan_and_absurd_ones_no_overflow() {
        assert_eq!(plan(1000, &[]), None);
        assert_eq!(plan(1000, &[(100_000, 1000)]), None);
        let plan = plan(1000, &[(0, u32::MAX), (5, u32::MAX)]).unwrap();
        assert!(plan.iter().all(|range| range.inside.checked_add(range.count).is_some()));
    }

    #[test]
    fn the_hint_proposes_ids_that_nobody_has() {
        assert_eq!(first_free(""), 100_000);
        assert_eq!(first_free("a:100000:65536\nb:165536:65536\nnonsense\n"), 231_072);
        assert_eq!(first_free("a:4294967295:65536\n"), 100_000);
    }
}
