// SPDX-License-Identifier: Apache-2.0
//! image-spec v1.1: conversion.md#configuser
//!
//! Who a process is: `user[:group]`, by numbers or by the names in the root filesystem's own files. Those files are as
//! hostile as the image: read only if regular, at most 1 MiB, and a name of digits is always a number
//! (CVE-2016-3697).

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::{Rootfs, User};
use crate::{Error, ErrorKind, Result, Wrap};

/// More than any passwd or group file that was not made to hurt.
const MAX_FILE: u64 = 1 << 20;
/// Ids above are kept for other purposes (overflow, -1).
const MAX_ID: u32 = i32::MAX.unsigned_abs();

/// One line of passwd: `name:password:uid:gid:comment:home:shell`.
struct Account {
    name: String,
    uid: u32,
    gid: u32,
    home: String,
}

/// Finds out who `spec` is.
pub fn lookup_user(spec: &str, rootfs: &dyn Rootfs) -> Result<User> {
    find(spec, rootfs).wrap(|| format!("user {spec:?}"))
}

fn find(spec: &str, rootfs: &dyn Rootfs) -> Result<User> {
    let (user, group) = match spec.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (spec, None),
    };
    let accounts = accounts(&read(rootfs, "etc/passwd")?);
    let number = number(if user.is_empty() { "0" } else { user })?;
    let account = accounts.into_iter().find(|account| match number {
        Some(uid) => account.uid == uid,
        None => account.name == user,
    });
    if number.is_none() && account.is_none() {
        return Err(unknown("no such user in the image's /etc/passwd"));
    }
    let mut found = User {
        uid: number.or(account.as_ref().map(|account| account.uid)).unwrap_or(0),
        gid: account.as_ref().map_or(0, |account| account.gid),
        additional_gids: Vec::new(),
        home: account.as_ref().map(|account| account.home.clone()).filter(|home| !home.is_empty()),
    };
    match group.filter(|group| !group.is_empty()) {
        Some(group) => found.gid = find_group(group, rootfs)?,
        // A number that has a name has its groups. Root by number needs none, and a map of one id could not give them.
        None if number != Some(0) => {
            let group = read(rootfs, "etc/group")?;
            found.additional_gids =
                account.map_or_else(Vec::new, |account| memberships(&account.name, &group));
        }
        None => {}
    }
    Ok(found)
}

fn find_group(group: &str, rootfs: &dyn Rootfs) -> Result<u32> {
    if let Some(gid) = number(group)? {
        return Ok(gid);
    }
    let text = read(rootfs, "etc/group")?;
    let found = groups(&text).find(|(name, _, _)| *name == group).map(|(_, gid, _)| gid);
    found.ok_or_else(|| unknown(&format!("no group {group:?} in the image's /etc/group")))
}

fn memberships(user: &str, text: &str) -> Vec<u32> {
    groups(text).filter(|(_, _, members)| members.split(',').any(|name| name == user)).map(|g| g.1).collect()
}

fn unknown(message: &str) -> Error {
    Error::new(ErrorKind::NotFound, message).with_hint("give numbers instead: --user UID:GID")
}

/// The number, if `text` is one. What looks like a number but is none that can be an id is an error.
fn number(text: &str) -> Result<Option<u32>> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(None);
    }
    let id = text.parse::<u32>().ok().filter(|id| *id <= MAX_ID);
    id.map(Some).ok_or_else(|| Error::invalid(format!("{text} is not between 0 and {MAX_ID}")))
}

fn read(rootfs: &dyn Rootfs, path: &str) -> Result<String> {
    let Some(file) = rootfs.open(Path::new(path))? else { return Ok(String::new()) };
    let mut bytes = Vec::new();
    File::take(file, MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(Error::invalid(format!("the image's /{path} is larger than 1 MiB")));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn accounts(text: &str) -> Vec<Account> {
    let parse = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
        let home = fields.nth(1).unwrap_or_default().to_owned();
        Some(Account { name, uid, gid, home })
    };
    text.lines().filter_map(parse).filter(|account| account.uid <= MAX_ID && account.gid <= MAX_ID).collect()
}

/// Lines of group: `name:password:gid:member,member`.
fn groups(text: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    let parse = |line: &'_ str| -> Option<_> {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let gid = fields.nth(1)?.parse().ok().filter(|gid| *gid <= MAX_ID)?;
        Some((name.len(), gid, fields.next().unwrap_or_default().len()))
    };
    text.lines().filter_map(move |line| {
        let (name, gid, members) = parse(line)?;
        let start = line.splitn(4, ':').nth(3).map_or(line.len(), |rest| line.len() - rest.len());
        Some((&line[..name], gid, &line[start..start + members]))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::io::Write;

    use super::*;

    struct Files(HashMap<&'static str, String>);

    impl Rootfs for Files {
        fn open(&self, path: &Path) -> Result<Option<File>> {
            let Some(text) = self.0.get(path.to_str().unwrap()) else { return Ok(None) };
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            std::io::Seek::rewind(&mut file).unwrap();
            Ok(Some(file))
        }
    }

    fn sample() -> Files {
        let passwd = "root:x:0:0:root:/root:/bin/sh\n1000:x:0:0::/:/bin/sh\nbroken\nbig:x:4294967295:0::/:\n\
                      app:x:1001:1002:App:/home/app:/bin/sh\n";
        let group = "root:x:0:\nwheel:x:10:root,app\naudio:x:29:app\nbad:x:y:app\nappx:x:77:xapp\n";
        Files(HashMap::from([("etc/passwd", passwd.to_owned()), ("etc/group", group.to_owned())]))
    }

    fn ids(spec: &str) -> Result<(u32, u32, Vec<u32>)> {
        lookup_user(spec, &sample()).map(|user| (user.uid, user.gid, user.additional_gids))
    }

    #[test]
    fn names_and_numbers() {
        assert_eq!(ids("").unwrap(), (0, 0, vec![]));
        assert_eq!(ids("app").unwrap(), (1001, 1002, vec![10, 29]));
        assert_eq!(ids("app:wheel").unwrap(), (1001, 10, vec![]));
        assert_eq!(ids("app:5").unwrap(), (1001, 5, vec![]));
        assert_eq!(ids("1001").unwrap(), (1001, 1002, vec![10, 29]));
        assert_eq!(ids("1001:wheel").unwrap(), (1001, 10, vec![]));
        assert_eq!(ids("1001:5").unwrap(), (1001, 5, vec![]));
        assert_eq!(ids("7:8").unwrap(), (7, 8, vec![]));
        assert_eq!(ids(":wheel").unwrap(), (0, 10, vec![]));
        assert_eq!(lookup_user("app", &sample()).unwrap().home.as_deref(), Some("/home/app"));
    }

    #[test]
    fn a_name_of_digits_is_a_number() {
        assert_eq!(ids("1000").unwrap(), (1000, 0, vec![]));
    }

    #[test]
    fn unknown_and_impossible_users_are_errors() {
        for spec in
            ["nobody", "app:nogroup", "big", "4294967296", "2147483648", "99999999999999999999", "-1", "0x10"]
        {
            assert!(ids(spec).is_err(), "{spec:?}");
        }
        let large = Files(HashMap::from([("etc/passwd", "x".repeat(2 << 20))]));
        assert!(lookup_user("x", &large).unwrap_err().to_string().contains("larger than 1 MiB"));
        assert_eq!(lookup_user("5:6", &Files(HashMap::new())).unwrap().gid, 6);
    }
}
