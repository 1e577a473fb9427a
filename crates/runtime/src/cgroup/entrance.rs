// SPDX-License-Identifier: Apache-2.0
//! How a process gets into its cgroups without waiting for the kernel.
//!
//! On v2 clone3 puts it there. On v1 somebody must write a process id into a file, and for anybody's id but the
//! writer's own the kernel first stops every fork and exit of the machine, which costs a grace period: 3 to 12 ms. A
//! thread that moves nobody but itself (`0` into `tasks`, KERNEL(5.5)) waits for nothing. So the runtime opens the
//! files, for it has the right to; the new process, which has a single thread, walks in by itself:
//!
//! ```text
//!  runtime   open <hierarchy>/…/tasks ──clone3──┐
//!  process                                      └─► write(each, "0"), close
//! ```

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use conex_sys::file::{self, Access};

use super::{Cgroup, is_refusal};
use crate::{Result, Wrap};

/// The doors of a container's cgroups, open.
#[derive(Debug, Default)]
pub struct Entrance {
    /// With their paths, for errors.
    doors: Vec<(String, File)>,
    best_effort: bool,
}

impl Cgroup {
    /// Opens the doors to all that clone3 does not open.
    pub fn entrance(&self) -> Result<Entrance> {
        let born_in = self.clone_target().and(self.directories.get("")).map(String::as_str);
        let v2 = self.directories.get("").map(String::as_str);
        let mut doors = Vec::new();
        for directory in self.distinct().into_iter().filter(|directory| Some(*directory) != born_in) {
            let file = if Some(directory) == v2 { "cgroup.procs" } else { "tasks" };
            let path = format!("{directory}/{file}");
            // Callers know the words in front.
            let wrap = || format!("error adding pid to cgroups: open {path}");
            match file::open(Path::new(&path), Access::Write).wrap(wrap) {
                Err(error) if self.best_effort && is_refusal(&error) => {}
                door => doors.push((path, door?)),
            }
        }
        Ok(Entrance { doors, best_effort: self.best_effort })
    }
}

impl Entrance {
    /// What the new process must keep open until it has walked in, and then has no business with.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.doors.iter().map(|(_, door)| door.as_fd())
    }

    /// Moves the calling process, which must have one thread only.
    pub fn walk_in(&self) -> Result<()> {
        for (path, mut door) in self.doors.iter().map(|(path, door)| (path, door)) {
            match door.write_all(b"0").wrap(|| format!("write \"0\" to {path}")) {
                Err(error) if self.best_effort && is_refusal(&error) => {}
                outcome => outcome?,
            }
        }
        Ok(())
    }
}
