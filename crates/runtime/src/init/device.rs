// SPDX-License-Identifier: Apache-2.0
//! config-linux.md, "Devices" and "Default Devices": nodes and links, each made in a directory that was resolved
//! inside the root. A `/dev` that the image made a symbolic link leads no further than the root itself.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::path::Path;

use conex_spec::runtime::DeviceKind;
use conex_sys::Errno;
use conex_sys::mount::{self, Extent};
use conex_sys::path::{self, Dir, FileType, Stat};

use super::root::leave_peers;
use super::{World, in_root};
use crate::plan::{DeviceNode, Plan};
use crate::{Error, ErrorKind, Result};

/// Makes a node; where that is not allowed, the host's node of the same number is bound.
pub(super) fn make(world: &mut World<'_>, node: &DeviceNode) -> Result<()> {
    let plan = world.plan;
    let (directory, name) = directory_of(world, &node.path)?;
    if node.bind {
        return if is_there(directory, name, node)? { Ok(()) } else { bind(plan, directory, name, node) };
    }
    let make_node = || directory.make_node(name, file_type(node.kind), node.mode, node.major, node.minor);
    let made = match make_node() {
        Err(error) if error.errno() == Errno::EXIST => {
            if is_there(directory, name, node)? {
                return Ok(());
            }
            directory.remove_file(name)?;
            make_node()
        }
        outcome => outcome,
    };
    match made {
        Err(error) if error.errno() == Errno::PERM => return bind(plan, directory, name, node),
        outcome => outcome?,
    }
    if (node.uid, node.gid) != (0, 0) {
        directory.chown(name, node.uid, node.gid)?;
    }
    Ok(())
}

/// False if there is nothing, or what may be replaced.
fn is_there(directory: &Dir, name: &OsStr, node: &DeviceNode) -> Result<bool> {
    let Some(there) = directory.find(name)? else { return Ok(false) };
    if is_this_device(node, &there) {
        return Ok(true);
    }
    if node.default || is_placeholder(node, &there) {
        return Ok(false);
    }
    let what = format!("{} is there already and is another file: remove it from the image", node.path);
    Err(Error::new(ErrorKind::Config, what))
}

/// The empty file that an earlier container bound this device over.
fn is_placeholder(node: &DeviceNode, there: &Stat) -> bool {
    node.bind && FileType::from_raw_mode(there.st_mode) == FileType::RegularFile && there.st_size == 0
}

fn directory_of<'a>(world: &'a mut World<'_>, path: &'a str) -> Result<(&'a Dir, &'a OsStr)> {
    let path = Path::new(path);
    let above = path.parent().unwrap_or(Path::new("/"));
    let name = path.file_name().unwrap_or(OsStr::new(""));
    if world.directory.as_ref().is_none_or(|(known, _)| known != above) {
        world.directory = Some((above.to_owned(), in_root(world)?.make_dir_all(above, 0o755)?));
    }
    let (_, directory) = world.directory.as_ref().expect("it was just put there");
    Ok((directory, name))
}

fn bind(plan: &Plan, directory: &Dir, name: &OsStr, node: &DeviceNode) -> Result<()> {
    let source = mount::clone_host(Path::new(&node.path), Extent::One)?;
    if !is_this_device(node, &path::stat(&source)?) {
        let what = format!("the host's {} is another device than {}:{}", node.path, node.major, node.minor);
        return Err(Error::new(ErrorKind::Unsupported, what));
    }
    match directory.create_file(name, 0o600) {
        Err(error) if error.errno() != Errno::EXIST => return Err(error.into()),
        _ => {}
    }
    let target = directory.open_path(name)?;
    let regular = FileType::from_raw_mode(path::stat(&target)?.st_mode) == FileType::RegularFile;
    if !regular {
        return Err(Error::new(ErrorKind::Os, format!("{} is in the way", node.path)));
    }
    leave_peers(plan, &source)?;
    Ok(mount::attach(source.as_fd(), target.as_fd())?)
}

fn file_type(kind: DeviceKind) -> FileType {
    match kind {
        DeviceKind::Char => FileType::CharacterDevice,
        DeviceKind::Block => FileType::BlockDevice,
        DeviceKind::Fifo => FileType::Fifo,
    }
}

fn is_this_device(node: &DeviceNode, stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == file_type(node.kind)
        && (node.kind == DeviceKind::Fifo || path::device_number(stat) == (node.major, node.minor))
}

/// Makes a symbolic link, unless the image has something of that name.
pub(super) fn symlink(world: &mut World<'_>, path: &str, target: &str) -> Result<()> {
    let (directory, name) = directory_of(world, path)?;
    match directory.make_symlink(OsStr::new(target), name) {
        Err(error) if error.errno() == Errno::EXIST => Ok(()),
        outcome => Ok(outcome?),
    }
}

/// `/dev/ptmx` is the one of the container's own devpts.
pub(super) fn link_ptmx(world: &mut World<'_>) -> Result<()> {
    let (directory, name) = directory_of(world, "/dev/ptmx")?;
    let link = || directory.make_symlink(OsStr::new("pts/ptmx"), name);
    match link() {
        Err(error) if error.errno() == Errno::EXIST => {
            directory.remove_file(name)?;
            Ok(link()?)
        }
        outcome => Ok(outcome?),
    }
}
