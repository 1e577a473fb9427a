// SPDX-License-Identifier: Apache-2.0
//! The words of `mounts[].options` (config.md, "Linux mount options") as attributes of a mount.

use super::{MountAttr, Propagation, PropagationKind};

pub(super) const RDONLY: u64 = 0x1;
pub(super) const NOSUID: u64 = 0x2;
pub(super) const NODEV: u64 = 0x4;
pub(super) const NOEXEC: u64 = 0x8;
/// A field of three values, of which relatime is 0.
pub(super) const ATIME: u64 = 0x70;
pub(super) const NOATIME: u64 = 0x10;
pub(super) const STRICTATIME: u64 = 0x20;
pub(super) const NODIRATIME: u64 = 0x80;
pub(super) const NOSYMFOLLOW: u64 = 0x20_0000;

/// All that is said about access times.
pub(crate) const ACCESS_TIME: u64 = ATIME | NODIRATIME;
/// What mount_namespaces(7) calls locked, once a mount goes into a less privileged namespace; and [`ACCESS_TIME`].
pub(crate) const LOCKABLE: u64 = RDONLY | NOSUID | NODEV | NOEXEC;

/// What one word means.
enum Meaning {
    Set(u64),
    Clear(u64),
    /// The kernel's field of four bits, as a whole: mount(8) leaves it alone, or writes all of it.
    AccessTime(u64),
    /// Only takes back the word that it negates.
    NoAccessTime(u64),
    RecursiveSet(u64),
    RecursiveClear(u64),
    Propagate(PropagationKind, bool),
    Bind,
    RecursiveBind,
    Remount,
    /// A flag of the superblock.
    Super(&'static str),
    ClearSuper(&'static str),
    CopyUp,
    IdMap,
    RecursiveIdMap,
    /// Nothing on the mount interface of today, or the default.
    Nothing,
}

use Meaning::*;
use PropagationKind::{Private, Shared, Slave, Unbindable};

/// Every word but filesystem-specific ones, sorted.
const WORDS: &[(&str, Meaning)] = &[
    ("async", ClearSuper("sync")),
    ("atime", NoAccessTime(NOATIME)),
    ("bind", Bind),
    ("defaults", Nothing),
    ("dev", Clear(NODEV)),
    ("diratime", NoAccessTime(NODIRATIME)),
    ("dirsync", Super("dirsync")),
    ("exec", Clear(NOEXEC)),
    ("idmap", IdMap),
    ("iversion", Super("iversion")),
    ("lazytime", Super("lazytime")),
    ("loud", Nothing),
    ("mand", Super("mand")),
    ("noatime", AccessTime(NOATIME)),
    ("nodev", Set(NODEV)),
    ("nodiratime", AccessTime(NODIRATIME)),
    ("noexec", Set(NOEXEC)),
    ("noiversion", ClearSuper("iversion")),
    ("nolazytime", ClearSuper("lazytime")),
    ("nomand", ClearSuper("mand")),
    ("norelatime", Nothing),
    ("nostrictatime", NoAccessTime(STRICTATIME)),
    ("nosuid", Set(NOSUID)),
    ("nosymfollow", Set(NOSYMFOLLOW)),
    ("private", Propagate(Private, false)),
    ("ratime", RecursiveClear(NOATIME)),
    ("rbind", RecursiveBind),
    ("rdev", RecursiveClear(NODEV)),
    ("rdiratime", RecursiveClear(NODIRATIME)),
    ("relatime", AccessTime(0)),
    ("remount", Remount),
    ("rexec", RecursiveClear(NOEXEC)),
    ("ridmap", RecursiveIdMap),
    ("rnoatime", RecursiveSet(NOATIME)),
    ("rnodev", RecursiveSet(NODEV)),
    ("rnodiratime", RecursiveSet(NODIRATIME)),
    ("rnoexec", RecursiveSet(NOEXEC)),
    ("rnorelatime", Nothing),
    ("rnostrictatime", RecursiveClear(STRICTATIME)),
    ("rnosuid", RecursiveSet(NOSUID)),
    ("rnosymfollow", RecursiveSet(NOSYMFOLLOW)),
    ("ro", Set(RDONLY)),
    ("rprivate", Propagate(Private, true)),
    ("rrelatime", RecursiveClear(NOATIME | STRICTATIME)),
    ("rro", RecursiveSet(RDONLY)),
    ("rrw", RecursiveClear(RDONLY)),
    ("rshared", Propagate(Shared, true)),
    ("rslave", Propagate(Slave, true)),
    ("rstrictatime", RecursiveSet(STRICTATIME)),
    ("rsuid", RecursiveClear(NOSUID)),
    ("rsymfollow", RecursiveClear(NOSYMFOLLOW)),
    ("runbindable", Propagate(Unbindable, true)),
    ("rw", Clear(RDONLY)),
    ("shared", Propagate(Shared, false)),
    ("silent", Nothing),
    ("slave", Propagate(Slave, false)),
    ("strictatime", AccessTime(STRICTATIME)),
    ("suid", Clear(NOSUID)),
    ("symfollow", Clear(NOSYMFOLLOW)),
    ("sync", Super("sync")),
    ("tmpcopyup", CopyUp),
    ("unbindable", Propagate(Unbindable, false)),
];

/// The words that `features` lists.
pub const NAMES: fn() -> Vec<String> = || WORDS.iter().map(|(word, _)| (*word).into()).collect();

/// All options of one mount, understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub attr: MountAttr,
    pub recursive_attr: MountAttr,
    pub propagation: Vec<Propagation>,
    pub bind: bool,
    pub recursive_bind: bool,
    pub remount: bool,
    pub copy_up: bool,
    pub idmap: bool,
    pub recursive_idmap: bool,
    /// The filesystem's own, flags without a value.
    pub data: Vec<(String, Option<String>)>,
}

impl Options {
    /// Later words win over earlier ones. An unknown word is the filesystem's own.
    pub(super) fn parse(words: &[String]) -> Self {
        let mut options = Self::default();
        for word in words {
            match WORDS.binary_search_by_key(&word.as_str(), |(known, _)| known) {
                Ok(found) => options.apply(&WORDS[found].1),
                Err(_) => options.data.push(match word.split_once('=') {
                    Some((key, value)) => (key.into(), Some(value.into())),
                    None => (word.clone(), None),
                }),
            }
        }
        options
    }

    fn apply(&mut self, meaning: &Meaning) {
        match *meaning {
            Set(bits) => set(&mut self.attr, bits),
            Clear(bits) => clear(&mut self.attr, bits),
            AccessTime(bits) => {
                let kept = if bits == NODIRATIME { self.attr.set } else { self.attr.set & !ATIME };
                self.attr.set = kept | bits;
                self.attr.clear |= ACCESS_TIME;
            }
            NoAccessTime(bits) => self.attr.set &= !bits,
            RecursiveSet(bits) => set(&mut self.recursive_attr, bits),
            RecursiveClear(bits) => clear(&mut self.recursive_attr, bits),
            Propagate(kind, recursive) => self.propagation.push(Propagation { kind, recursive }),
            Bind => self.bind = true,
            RecursiveBind => (self.bind, self.recursive_bind) = (true, true),
            Remount => self.remount = true,
            Super(flag) => self.data.push((flag.into(), None)),
            ClearSuper(flag) => self.data.retain(|(key, value)| key != flag || value.is_some()),
            CopyUp => self.copy_up = true,
            IdMap => self.idmap = true,
            RecursiveIdMap => (self.idmap, self.recursive_idmap) = (true, true),
            Nothing => {}
        }
    }
}

/// An access time setting is chosen by clearing the whole field with it.
fn set(attr: &mut MountAttr, bits: u64) {
    if bits & ATIME != 0 {
        attr.set &= !ATIME;
        attr.clear |= ATIME;
    }
    attr.set |= bits;
    attr.clear &= !(bits & !ATIME);
}

fn clear(attr: &mut MountAttr, bits: u64) {
    attr.set &= !bits;
    attr.clear |= if bits & ATIME != 0 { ATIME } else { bits };
}

/// Attributes as the words that ask for them.
pub(super) fn words(attr: MountAttr, prefix: &str) -> Vec<String> {
    const NAMED: [(u64, &str, &str); 5] = [
        (RDONLY, "ro", "rw"),
        (NOSUID, "nosuid", "suid"),
        (NODEV, "nodev", "dev"),
        (NOEXEC, "noexec", "exec"),
        (NOSYMFOLLOW, "nosymfollow", "symfollow"),
    ];
    let mut words = Vec::new();
    for (bit, on, off) in NAMED {
        if attr.set & bit != 0 {
            words.push(format!("{prefix}{on}"));
        } else if attr.clear & bit != 0 {
            words.push(format!("{prefix}{off}"));
        }
    }
    match attr.set & ATIME {
        NOATIME => words.push(format!("{prefix}noatime")),
        STRICTATIME => words.push(format!("{prefix}strictatime")),
        _ if attr.clear & ATIME != 0 => words.push(format!("{prefix}relatime")),
        _ => {}
    }
    if attr.set & NODIRATIME != 0 {
        words.push(format!("{prefix}nodiratime"));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Options {
        Options::parse(&words.split(',').map(String::from).collect::<Vec<_>>())
    }

    #[test]
    fn the_table_is_sorted() {
        assert!(WORDS.is_sorted_by_key(|(word, _)| word));
    }

    #[test]
    fn later_words_win() {
        assert_eq!(parse("ro,rw").attr, MountAttr { set: 0, clear: RDONLY });
        assert_eq!(parse("suid,nosuid").attr, MountAttr { set: NOSUID, clear: 0 });
        let access_time = |set| MountAttr { set, clear: ACCESS_TIME };
        assert_eq!(parse("noatime,strictatime").attr, access_time(STRICTATIME));
        assert_eq!(parse("strictatime,relatime").attr, access_time(0));
        assert_eq!(parse("nodiratime,noatime").attr, access_time(NODIRATIME | NOATIME));
        assert_eq!(parse("strictatime,nodiratime,diratime").attr, access_time(STRICTATIME));
        assert_eq!(parse("atime,diratime,nostrictatime").attr, MountAttr::default());
        assert_eq!(parse("sync,async").data, []);
    }

    #[test]
    fn unknown_words_go_to_the_filesystem() {
        let data = parse("mode=755,nosuid,size=65536k,noswap").data;
        assert_eq!(
            data,
            [
                ("mode".into(), Some("755".into())),
                ("size".into(), Some("65536k".into())),
                ("noswap".into(), None)
            ]
        );
    }

    #[test]
    fn words_are_what_was_asked_for() {
        let options = parse("ro,nodev,exec,relatime,nodiratime,rnosuid,rro");
        assert_eq!(words(options.attr, ""), ["ro", "nodev", "exec", "relatime", "nodiratime"]);
        assert_eq!(words(options.recursive_attr, "r"), ["rro", "rnosuid"]);
    }
}
