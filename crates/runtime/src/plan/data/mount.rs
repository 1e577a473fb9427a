// SPDX-License-Identifier: Apache-2.0
//! One mount, ready to be made: what is mounted, where, and how it shall be.

use serde::Serialize;

use crate::plan::mount_options;

/// mount_setattr(2)'s `propagation`, or MS_* of mount(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Propagation {
    pub kind: PropagationKind,
    pub recursive: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum PropagationKind {
    Private,
    Slave,
    Shared,
    Unbindable,
}

/// One mount, ready for fsopen/open_tree, mount_setattr, move_mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Mount {
    pub source: MountSource,
    /// Absolute, inside the container.
    pub target: String,
    pub target_rule: TargetRule,
    /// Of this mount alone. For a bind mount applied only if it asks for anything, else the source's stay.
    pub attr: MountAttr,
    /// Switched off as well, unless the kernel has locked them (a mount from outside of a user namespace): a bind
    /// mount that asks for anything gets exactly what it asks for.
    #[serde(serialize_with = "words_of_reset")]
    pub reset: u64,
    /// What the source's mount forbids stays forbidden, and its access times are kept, as if the container's user
    /// namespace had mounted it: asking for more is an error (`EPERM`).
    pub keeps_locks: bool,
    /// Of this mount and all below it (`rro`, `rnosuid`, …).
    pub recursive_attr: MountAttr,
    pub propagation: Vec<Propagation>,
    /// Fill the tmpfs with what it hides.
    pub copy_up: bool,
    /// Neither bind nor new: change the flags of what is mounted there.
    pub remount: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum MountSource {
    /// A filesystem, with its own options as fsconfig(2) takes them: flags have no value. A tmpfs without `mode` gets
    /// the mode of the directory that it covers.
    Filesystem { kind: String, name: String, options: Vec<(String, Option<String>)> },
    /// `path` is the host's, absolute.
    Bind { path: String, recursive: bool },
    /// The container's directory of a v1 hierarchy, with all below; `fallback`, the caller's own, where it could not
    /// be made (rootless).
    CgroupBind { path: String, fallback: String },
    /// The n-th [`BeforeClone::OpenSource`]; `path` is for messages.
    Opened { index: usize, path: String },
    /// What the parent opened for the [`Question::OpenSource`] just before: a source inside of the container's root,
    /// that is among mounts which were not there before the clone.
    ///
    /// [`Question::OpenSource`]: super::Question::OpenSource
    Answered { path: String },
    /// cgroup v2: its own mount where allowed; on EPERM or EBUSY bind `fallback` (the host's path) instead; where
    /// that is missing and `mask_if_missing`, hide the target.
    Cgroup2 { options: Vec<(String, Option<String>)>, fallback: String, mask_if_missing: bool },
}

/// What the target must be, and what is created where it is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum TargetRule {
    /// A directory; links inside the root are followed.
    Directory,
    /// A directory reached without any symbolic link (`proc`, `sysfs`).
    RealDirectory,
    /// A directory or a file, as the source is.
    LikeSource,
}

/// MOUNT_ATTR_* of mount_setattr(2). Serializes as the words that ask for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MountAttr {
    pub set: u64,
    pub clear: u64,
}

impl Serialize for MountAttr {
    fn serialize<S: serde::Serializer>(&self, writer: S) -> Result<S::Ok, S::Error> {
        writer.collect_seq(mount_options::words(*self, ""))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
fn words_of_reset<S: serde::Serializer>(bits: &u64, writer: S) -> Result<S::Ok, S::Error> {
    MountAttr { set: 0, clear: *bits }.serialize(writer)
}
