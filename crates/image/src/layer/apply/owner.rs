// SPDX-License-Identifier: Apache-2.0
//! Who owns the unpacked files.

use conex_spec::runtime::IdMapping;
use serde::{Deserialize, Serialize};

use crate::layer::tar::Xattr;
use crate::{Error, ErrorKind, Result};

/// How an archive's owners become owners on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Owner {
    /// The same numbers.
    #[default]
    Keep,
    /// Numbers through these maps, container to host.
    Map {
        /// For users.
        uid: Vec<IdMapping>,
        /// For groups.
        gid: Vec<IdMapping>,
    },
    /// Everything belongs to whoever unpacks; other owners are noted in `user.rootlesscontainers`.
    Caller,
}

/// The extended attribute that keeps the owner of a file that could not be given to it.
pub const ROOTLESS_XATTR: &[u8] = b"user.rootlesscontainers";

impl Owner {
    /// The owner on disk; `None` where it is left as it is.
    pub(super) fn on_disk(&self, uid: u32, gid: u32) -> Result<Option<(u32, u32)>> {
        match self {
            Self::Keep => Ok(Some((uid, gid))),
            Self::Map { uid: users, gid: groups } => {
                Ok(Some((map("uid", uid, users)?, map("gid", gid, groups)?)))
            }
            Self::Caller => Ok(None),
        }
    }

    /// The owner inside of a file that belongs to this one on disk: the inverse of [`Owner::on_disk`]. What belongs to
    /// [`Owner::Caller`] is root's, unless [`ROOTLESS_XATTR`] says otherwise.
    pub(crate) fn inside(&self, uid: u32, gid: u32) -> Result<(u32, u32)> {
        match self {
            Self::Keep => Ok((uid, gid)),
            Self::Map { uid: users, gid: groups } => {
                Ok((unmap("uid", uid, users)?, unmap("gid", gid, groups)?))
            }
            Self::Caller => Ok((0, 0)),
        }
    }

    /// The attribute to set in place of the owner, if one is needed.
    pub(super) fn note(&self, uid: u32, gid: u32) -> Option<Xattr> {
        let needed = *self == Self::Caller && (uid, gid) != (0, 0);
        needed.then(|| Xattr { name: ROOTLESS_XATTR.to_vec(), value: rootless_value(uid, gid) })
    }
}

fn map(what: &str, id: u32, maps: &[IdMapping]) -> Result<u32> {
    let hit = maps.iter().find_map(|line| {
        let offset = id.checked_sub(line.container_id).filter(|offset| *offset < line.size)?;
        line.host_id.checked_add(offset)
    });
    hit.ok_or_else(|| {
        Error::new(ErrorKind::Usage, format!("{what} {id} is in none of the maps")).with_hint(format!(
            "give a longer map with --{what}-map, or --rootless if all files may belong to you"
        ))
    })
}

fn unmap(what: &str, id: u32, maps: &[IdMapping]) -> Result<u32> {
    let hit = maps.iter().find_map(|line| {
        let offset = id.checked_sub(line.host_id).filter(|offset| *offset < line.size)?;
        line.container_id.checked_add(offset)
    });
    hit.ok_or_else(|| {
        Error::new(ErrorKind::Usage, format!("{what} {id} of the host is in none of the maps"))
            .with_hint("give the file to an owner that is, or mask its path")
    })
}

/// The protobuf message `Resource { uint32 uid = 1; uint32 gid = 2; }`, where 2³² - 1 stands for 0.
fn rootless_value(uid: u32, gid: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (tag, id) in [(0x08, uid), (0x10, gid)] {
        bytes.push(tag);
        let mut rest = if id == 0 { u32::MAX } else { id };
        while rest >= 0x80 {
            bytes.push(u8::try_from(rest & 0x7f).unwrap_or(0) | 0x80);
            rest >>= 7;
        }
        bytes.push(u8::try_from(rest).unwrap_or(0));
    }
    bytes
}

/// Reads [`ROOTLESS_XATTR`]: the owner inside.
pub fn read_rootless(value: &[u8]) -> Option<(u32, u32)> {
    let mut owner = (0, 0);
    let mut bytes = value.iter();
    while let Some(tag) = bytes.next() {
        let (mut id, mut shift) = (0_u64, 0);
        loop {
            let byte = bytes.next()?;
            id |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
            if shift > 28 {
                return None;
            }
        }
        let id = u32::try_from(id).ok().map(|id| if id == u32::MAX { 0 } else { id })?;
        match tag {
            0x08 => owner.0 = id,
            0x10 => owner.1 = id,
            _ => return None,
        }
    }
    Some(owner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rootless_owners_round_trip() {
        for owner in [(1, 0), (0, 5), (1000, 100_000), (4_000_000_000, 127)] {
            assert_eq!(read_rootless(&rootless_value(owner.0, owner.1)), Some(owner));
        }
        assert_eq!(rootless_value(1, 0), [0x08, 1, 0x10, 0xff, 0xff, 0xff, 0xff, 0x0f]);
        assert_eq!(read_rootless(&[0x08, 0xff]), None);
        assert_eq!(Owner::Caller.note(0, 0), None);
    }

    #[test]
    fn ids_outside_all_maps_are_errors() {
        let maps = vec![
            IdMapping { container_id: 0, host_id: 1000, size: 1 },
            IdMapping { container_id: 1, host_id: 100_000, size: 10 },
        ];
        let owner = Owner::Map { uid: maps.clone(), gid: maps };
        assert_eq!(owner.on_disk(0, 10).unwrap(), Some((1000, 100_009)));
        assert_eq!(owner.inside(100_009, 1000).unwrap(), (10, 0));
        assert!(owner.inside(100_010, 1000).unwrap_err().to_string().contains("uid 100010 of the host"));
        assert!(owner.on_disk(11, 0).unwrap_err().to_string().contains("uid 11"));
    }
}
