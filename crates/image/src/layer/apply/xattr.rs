// SPDX-License-Identifier: Apache-2.0
//! Which extended attributes of an archive reach the disk, and under what name.

use std::borrow::Cow;

use conex_sys::Errno;

use super::{Form, Options, ROOTLESS_XATTR};
use crate::Result;
use crate::layer::tar::Xattr;
use crate::snapshot::Found;

/// The prefix of overlayfs' own attributes.
pub(super) fn overlay_prefix(userxattr: bool) -> &'static [u8] {
    if userxattr { b"user.overlay." } else { b"trusted.overlay." }
}

/// What belongs to the host that a file lies on, not to the file.
pub(crate) fn is_of_host(name: &[u8]) -> bool {
    matches!(name, b"security.selinux" | b"system.nfs4_acl")
}

/// The attributes to set for an entry.
///
/// * What belongs to the host (`security.selinux`, NFS' ACLs) is left out.
/// * In overlay form, overlayfs' own names are escaped, so that an image cannot steer the mount.
/// * Where owners cannot be given, the owner is added.
pub(super) fn to_disk<'a>(
    xattrs: &'a [Xattr],
    options: &'a Options,
    uid: u32,
    gid: u32,
) -> impl Iterator<Item = Cow<'a, Xattr>> {
    let note = options.owner.note(uid, gid);
    let kept = xattrs.iter().filter(move |xattr| {
        let of_owner = options.owner == super::Owner::Caller && xattr.name == ROOTLESS_XATTR;
        !is_of_host(&xattr.name) && !of_owner
    });
    kept.map(|xattr| match options.form {
        Form::Overlay { .. } => escaped(xattr),
        Form::Plain { .. } => Cow::Borrowed(xattr),
    })
    .chain(note.map(Cow::Owned))
}

/// `trusted.overlay.x` becomes `trusted.overlay.overlay.x`, which overlayfs shows as the former.
fn escaped(xattr: &Xattr) -> Cow<'_, Xattr> {
    for prefix in [overlay_prefix(false), overlay_prefix(true)] {
        if let Some(rest) = xattr.name.strip_prefix(prefix) {
            let name = [prefix, b"overlay.", rest].concat();
            return Cow::Owned(Xattr { name, value: xattr.value.clone() });
        }
    }
    Cow::Borrowed(xattr)
}

/// Lets pass what the filesystem does not have, and without privileges what the kernel refuses.
pub(super) fn tolerate(result: conex_sys::Result<()>, options: &Options) -> Result<()> {
    match result {
        Err(error) if error.errno() == Errno::NOTSUP => Ok(()),
        Err(error) if options.unprivileged && matches!(error.errno(), Errno::PERM | Errno::INVAL) => Ok(()),
        other => Ok(other?),
    }
}

/// The attributes that a directory of a lower layer gives to an upper one, overlayfs' own left out.
pub(super) fn of_lower_directory(found: &Found, form: Form) -> Result<Vec<Xattr>> {
    let Form::Overlay { userxattr } = form else { return Ok(Vec::new()) };
    let mut xattrs = Vec::new();
    for name in found.dir.list_xattrs(&found.name)? {
        let own = name.strip_prefix(overlay_prefix(userxattr));
        if own.is_some_and(|rest| !rest.starts_with(b"overlay.")) || name == b"security.selinux" {
            continue;
        }
        let value = found.dir.get_xattr(&found.name, &name)?;
        // Unescaped here, because it will be escaped again on the way to disk.
        let name = match own.and_then(|rest| rest.strip_prefix(b"overlay.")) {
            Some(rest) => [overlay_prefix(userxattr), rest].concat(),
            None => name,
        };
        xattrs.push(Xattr { name, value });
    }
    Ok(xattrs)
}
