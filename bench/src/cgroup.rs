// SPDX-License-Identifier: Apache-2.0
//! The cgroup of the floor: made, closed to devices but the default ones, entered and removed. No limit, no check.

use std::fs::{self, File};
use std::io::{Result, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use conex_sys::bpf::{self, Instruction};
use conex_sys::file::{self, Access};

/// Character devices that every container may open: major, minor.
const DEVICES: [(i32, Option<i32>); 9] = [
    (1, Some(3)),
    (1, Some(8)),
    (1, Some(7)),
    (5, Some(0)),
    (1, Some(5)),
    (1, Some(9)),
    (136, None),
    (5, Some(2)),
    (10, Some(200)),
];

/// One new directory in each hierarchy.
pub(crate) struct Cgroup {
    directories: Vec<PathBuf>,
    /// v2: the directory, for clone3.
    born_in: Option<File>,
    /// v1: `tasks` of each, for the new process.
    doors: Vec<File>,
}

impl Cgroup {
    /// Below these mount points. A single one is v2's.
    pub(crate) fn make(hierarchies: &[PathBuf]) -> Result<Self> {
        let name = format!("conex-floor-{}", std::process::id());
        let mut made = Self { directories: Vec::new(), born_in: None, doors: Vec::new() };
        for hierarchy in hierarchies {
            let directory = hierarchy.join(&name);
            fs::create_dir(&directory)?;
            match hierarchy.file_name().and_then(|name| name.to_str()) {
                _ if hierarchies.len() == 1 => {
                    let open = file::open(&directory, Access::Read)?;
                    let program = bpf::load_device_filter(&program())?;
                    bpf::attach_device_filter(open.as_fd(), program.as_fd(), None)?;
                    made.born_in = Some(open);
                }
                Some("cpuset") => fill_cpuset(hierarchy, &directory)?,
                Some("devices") => write_list(&directory)?,
                _ => {}
            }
            if hierarchies.len() > 1 {
                made.doors.push(file::open(&directory.join("tasks"), Access::Write)?);
            }
            made.directories.push(directory);
        }
        Ok(made)
    }

    pub(crate) fn born_in(&self) -> Option<BorrowedFd<'_>> {
        self.born_in.as_ref().map(AsFd::as_fd)
    }

    /// Moves the calling process, where it was not born there.
    pub(crate) fn walk_in(&self) -> Result<()> {
        self.doors.iter().try_for_each(|mut door| door.write_all(b"0"))
    }

    pub(crate) fn remove(self) -> Result<()> {
        self.directories.iter().try_for_each(fs::remove_dir)
    }
}

/// A cpuset without processors and memory takes nobody.
fn fill_cpuset(above: &Path, directory: &Path) -> Result<()> {
    ["cpuset.cpus", "cpuset.mems"].into_iter().try_for_each(|name| {
        let value = file::read_record(&above.join(name))?;
        file::open(&directory.join(name), Access::Write)?.write_all(&value)
    })
}

fn write_list(directory: &Path) -> Result<()> {
    file::open(&directory.join("devices.deny"), Access::Write)?.write_all(b"a")?;
    let mut allow = file::open(&directory.join("devices.allow"), Access::Write)?;
    let devices = DEVICES.map(|(major, minor)| {
        let minor = minor.map_or_else(|| "*".into(), |minor| minor.to_string());
        format!("c {major}:{minor} rwm")
    });
    let nodes = ["b *:* m", "c *:* m"].map(str::to_owned);
    nodes.iter().chain(&devices).try_for_each(|line| allow.write_all(line.as_bytes()))
}

/// r2 = type, r3 = access, r4 = major, r5 = minor; nodes may be made, the devices above opened.
fn program() -> Vec<Instruction> {
    const CHARACTER: i32 = 2;
    const MKNOD: i32 = 1;
    let load = |register: u8, offset| one(0x61, register | 1 << 4, offset, 0);
    let unless = |register, value, skip| one(0x55, register, skip, value);
    let answer = |value| [one(0xb7, 0, 0, value), one(0x95, 0, 0, 0)];
    let mut program = vec![load(2, 0), load(3, 0), one(0x54, 2, 0, 0xffff), one(0x74, 3, 0, 16)];
    program.extend([load(4, 4), load(5, 8), unless(3, MKNOD, 2)]);
    program.extend(answer(1));
    for (major, minor) in DEVICES {
        let rest = 2 + i16::from(minor.is_some());
        program.extend([unless(2, CHARACTER, rest + 1), unless(4, major, rest)]);
        program.extend(minor.map(|minor| unless(5, minor, 2)));
        program.extend(answer(1));
    }
    program.extend(answer(0));
    program
}

fn one(code: u8, registers: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction { code, registers, offset, immediate }
}
