// SPDX-License-Identifier: Apache-2.0
//! Files into a tree: `COPY` and `ADD` of a Containerfile, `copy` and `add` of a script. Both sides are
//! [`Root`]s: whatever links say, sources are read inside of one and written inside of the other.
//!
//! ```text
//!  context ─select─► sources ─► walk ─► files of the tree, root's or --chown's, with mode, time and attributes
//!                                  └──► digest: path, kind, mode, owner, content; never the time
//! ```
//! * A directory stands for what is in it; a link that is named itself is followed, one inside a directory is copied.
//! * The target is a directory where it ends in `/`, where there are several sources, or where it is one.
//! * An archive that is added is unpacked beside the tree first, by the code that unpacks layers.

mod select;
pub(crate) mod unpack;
mod walk;

use std::path::{Path, PathBuf};

use conex_image::bundle::lookup_user;
use conex_spec::Digest;
use conex_sys::path::FileType;
pub use conex_sys::path::Root;

use crate::chmod::Chmod;
use crate::ignore::Ignore;
use crate::{Error, ErrorKind, Result, Wrap as _};

pub use select::{Selected, select};

/// What is copied how.
#[derive(Clone, Debug, Default)]
pub struct CopyOptions {
    /// Who gets it: `user[:group]`, names as the tree's own files have them; root if unset.
    pub chown: Option<String>,
    /// Its mode; as it is if unset.
    pub chmod: Option<Chmod>,
    /// What is left out, by its path in the context.
    pub exclude: Ignore,
    /// The sources' parents come too, from the context or from `/./` on.
    pub parents: bool,
    /// Archives become what is in them (`ADD`).
    pub unpack: bool,
}

/// Copies `sources` of `context` to `target` in `tree`; says what it was. `scratch` is a directory, made and removed here,
/// beside the tree's own.
pub fn copy(
    context: &Root,
    sources: &[String],
    tree: &Root,
    target: &Path,
    options: &CopyOptions,
    scratch: &Path,
) -> Result<Digest> {
    let owner = match &options.chown {
        None => (0, 0),
        Some(text) => owner(text, tree)?,
    };
    let mut selected = Vec::new();
    for source in sources {
        selected.extend(select(context, source).wrap(|| source.clone())?);
    }
    if selected.is_empty() {
        return Err(Error::new(ErrorKind::Usage, "there is nothing to copy"));
    }
    let into_directory = selected.len() > 1 || options.parents || is_directory(tree, target)?;
    let mut walk = walk::Walk::new(tree, owner, options);
    for source in &selected {
        let place = if options.parents { target.join(&source.kept) } else { target.to_owned() };
        let copied = match options.unpack && source.kind == FileType::RegularFile {
            true if unpack::is_archive(context, &source.path)? => {
                unpack::unpack(context, &source.path, scratch, &mut walk, &place)
            }
            _ => walk.source(context, source, &place, into_directory),
        };
        copied.wrap(|| source.path.display().to_string())?;
    }
    Ok(walk.finish())
}

/// A directory of the host that the user named, to copy from or into.
pub fn open(path: &Path) -> Result<Root> {
    Ok(Root::open_host(path)?)
}

/// Whether the target is a directory: it says so, or is one.
fn is_directory(tree: &Root, target: &Path) -> Result<bool> {
    use std::os::unix::ffi::OsStrExt as _;
    let says_so = [&b"/"[..], b"/.", b"/.."].iter().any(|end| target.as_os_str().as_bytes().ends_with(end));
    let Some(found) = (if says_so { None } else { tree.find(inside(target))? }) else { return Ok(says_so) };
    Ok(FileType::from_raw_mode(conex_sys::path::stat(&found)?.st_mode) == FileType::Directory)
}

/// The path below a root, without detours: `..` at the root stays there.
pub(crate) fn inside(path: &Path) -> PathBuf {
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

fn owner(text: &str, tree: &Root) -> Result<(u32, u32)> {
    let user = lookup_user(text, tree).wrap(|| format!("--chown {text}"))?;
    // A number alone is both, as builders have it.
    let alone = !text.contains(':') && text.bytes().all(|b| b.is_ascii_digit());
    Ok((user.uid, if alone { user.uid } else { user.gid }))
}

#[cfg(test)]
mod tests;
