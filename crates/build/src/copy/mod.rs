// SPDX-License-Identifier: Apache-2.0
//! Files into a tree: `COPY` and `ADD` of a Containerfile, `copy` and `add` of a script. Both sides are
//! [`Root`]s: whatever links say, sources are read inside of one and written inside of the other.
//!
//! ```text
//!  Origin ─select─► Selected ─walk─► Visit ─► Copier: files of the tree ─┐
//!  a context, layers, an archive       └────► Content, without copying ──┴─► digest
//! ```
//! * A directory stands for what is in it; a link that is named itself is followed, one inside a directory is copied.
//! * The target is a directory where it ends in `/`, where there are several sources, or where it is one.
//! * An archive that is added is unpacked beside the tree first, by the code that unpacks layers.
//! * The digest of a copy is that of the very bytes that were written. Walking without copying comes to the same one,
//!   unless something changed in between.

mod content;
mod directory;
mod origin;
mod place;
mod select;
mod unpack;
mod walk;

use std::path::{Path, PathBuf};

use conex_image::bundle::{Rootfs, lookup_user};
use conex_spec::Digest;
pub use conex_sys::path::Root;

use crate::chmod::Chmod;
use crate::ignore::Ignore;
use crate::{Error, ErrorKind, Result, Wrap as _};

pub(crate) use content::Content;
pub(crate) use directory::make_directory;
pub use origin::{Origin, Owners};
pub(crate) use place::{Copier, Target};
pub(crate) use select::normal;
pub use unpack::unpack;
pub(crate) use unpack::{extract, is_tar};

/// What is copied how.
#[derive(Clone, Debug, Default)]
pub struct CopyOptions {
    /// Who gets it: `user[:group]`, names as the tree's own files have them.
    pub chown: Option<String>,
    /// Its mode; as it is if unset.
    pub chmod: Option<Chmod>,
    /// What is left out, by its path below the source.
    pub exclude: Ignore,
    /// The sources' parents come too, from the origin or from `/./` on.
    pub parents: bool,
    /// Archives become what is in them (`ADD`).
    pub unpack: bool,
}

/// Copies `sources` of `context` to `target` in `tree`, where a slash at its end makes it a directory; says what it was.
/// `scratch` is a directory, made and removed here, beside the tree's own.
pub fn copy(
    context: &Origin,
    sources: &[String],
    tree: &Root,
    target: &Path,
    options: &CopyOptions,
    scratch: &Path,
) -> Result<Digest> {
    let mut selected = Vec::new();
    for source in sources {
        let found = context.select(source, options.parents)?;
        if found.is_empty() {
            return Err(Error::new(ErrorKind::NotFound, format!("{source}: fits no file"))
                .with_hint("sources are looked for in the context, and only there"));
        }
        selected.extend(found);
    }
    let target = Target::of(target, selected.len() > 1);
    let mut copier = Copier::new(tree, target, options, scratch)?;
    for source in &selected {
        copier.path(context, source).wrap(|| source.path.display().to_string())?;
    }
    let mut content = copier.finish();
    content.add(&format!("{:?}", options.chown));
    content.add(&options.chmod.as_ref().map(ToString::to_string).unwrap_or_default());
    Ok(content.digest())
}

/// A directory of the host that the user named, to copy from or into.
pub fn open(path: &Path) -> Result<Root> {
    Ok(Root::open_host(path)?)
}

/// The path below a root, without detours: `..` at the root stays there.
fn inside(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            std::path::Component::Normal(name) => clean.push(name),
            std::path::Component::ParentDir => drop(clean.pop()),
            _ => {}
        }
    }
    clean
}

/// `user[:group]`; a number alone is both.
fn owner(who: &str, tree: &Root) -> Result<(u32, u32)> {
    let user = lookup_user(who, tree as &dyn Rootfs).wrap(|| format!("--chown {who}"))?;
    let alone = !who.contains(':') && who.parse::<u32>().is_ok();
    Ok((user.uid, if alone { user.uid } else { user.gid }))
}

#[cfg(test)]
mod tests;
