// SPDX-License-Identifier: Apache-2.0
//! A hermetic place for one test: its own home, XDG directories, store, runtime state and PATH. Programs
//! started from it see nothing of the developer's environment, and at its end nothing of them may be left.
//!
//! ```text
//! /tmp/conex-test-XXXXXX/     the tag: leaks are recognised by it
//!   bin/     conex conex-runtime and the personalities; first on PATH
//!   home/    HOME, with .config/ as XDG_CONFIG_HOME (containers/registries.conf)
//!   data/    XDG_DATA_HOME      run/ XDG_RUNTIME_DIR      cache/ XDG_CACHE_HOME
//!   tmp/     TMPDIR    work/   where programs start
//! ```

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::image::Layout;
use crate::{binaries, leak, require};

/// What the tags of all sandboxes begin with.
pub const PREFIX: &str = "conex-test-";
const REGISTRIES: &str = "home/.config/containers/registries.conf";
const SHORT_NAMES: &str = "unqualified-search-registries = [\"docker.io\"]\n";

/// See the module.
#[derive(Debug)]
pub struct Sandbox {
    path: PathBuf,
    finished: bool,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Sandbox {
    pub fn new() -> Self {
        let path = tempfile::Builder::new().prefix(PREFIX).tempdir().expect("a directory").keep();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("chmod");
        let sandbox = Self { path, finished: false };
        for name in ["home/.config/containers", "data", "run", "cache", "tmp", "work"] {
            fs::create_dir_all(sandbox.path(name)).expect("make the sandbox's directories");
        }
        fs::write(sandbox.path(REGISTRIES), SHORT_NAMES).expect("write registries.conf");
        fs::set_permissions(sandbox.path("run"), fs::Permissions::from_mode(0o700)).expect("chmod");
        sandbox
    }

    /// A path inside.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Where programs start.
    pub fn work(&self) -> PathBuf {
        self.path("work")
    }

    /// An id for a container that no other test has, and that the leak check recognises.
    pub fn id(&self, name: &str) -> String {
        format!("{}-{name}", self.tag())
    }

    /// What everything of this sandbox has in its name.
    pub fn tag(&self) -> &str {
        self.path.file_name().and_then(OsStr::to_str).expect("a name made here is UTF-8")
    }

    /// A new, empty OCI layout in the working directory.
    pub fn layout(&self, name: &str) -> Layout {
        Layout::create(&self.work().join(name))
    }

    /// Any program, with nothing of the caller's environment.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().current_dir(self.work()).envs(self.environment());
        command
    }

    /// `conex` with arguments.
    pub fn conex<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = self.command(self.programs().join("conex"));
        command.arg("--root").arg(self.store()).arg("--runroot").arg(self.path("run/conex")).args(args);
        command
    }

    /// `conex-runtime` with arguments, and its state in the sandbox.
    pub fn runtime<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = self.command(self.programs().join("conex-runtime"));
        command.arg("--root").arg(self.path("run/runtime")).args(args);
        command
    }

    /// The store that [`Sandbox::conex`] uses.
    pub fn store(&self) -> PathBuf {
        self.path("data/conex")
    }

    /// The directory with both programs and all personalities, made when first asked for.
    pub fn programs(&self) -> PathBuf {
        let bin = self.programs_directory();
        if !bin.exists() {
            binaries::install(&bin, binaries::conex(), binaries::runtime());
        }
        bin
    }

    /// Where [`Sandbox::programs`] are, once they are there.
    pub fn programs_directory(&self) -> PathBuf {
        self.path("bin")
    }

    /// Maps registries' public names to one on loopback, as `registries.conf` says it.
    pub fn map_registries(&self, names: &[&str], location: &str) {
        let mut text = String::from(SHORT_NAMES);
        for name in names {
            text +=
                &format!("[[registry]]\nprefix = \"{name}\"\nlocation = \"{location}\"\ninsecure = true\n");
        }
        text += &format!("[[registry]]\nlocation = \"{location}\"\ninsecure = true\n");
        fs::write(self.path(REGISTRIES), text).expect("write registries.conf");
    }

    /// The whole environment of programs in here.
    pub fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        let path = std::iter::once(self.path("bin")).chain(require::HOST_PATH.iter().map(PathBuf::from));
        vec![
            ("PATH", std::env::join_paths(path).expect("no colon in these").into()),
            ("HOME", self.path("home")),
            ("XDG_CONFIG_HOME", self.path("home/.config")),
            ("XDG_DATA_HOME", self.path("data")),
            ("XDG_CACHE_HOME", self.path("cache")),
            ("XDG_RUNTIME_DIR", self.path("run")),
            ("CONTAINERS_REGISTRIES_CONF", self.path(REGISTRIES)),
            ("TMPDIR", self.path("tmp")),
            ("LANG", "C.UTF-8".into()),
            ("TZ", "UTC".into()),
        ]
    }

    /// Ends the work here without looking for leaks: whoever calls it has looked.
    pub fn remove(mut self) {
        self.finished = true;
    }

    /// Ends the test's work here: panics when a mount, cgroup, process, interface or file is left.
    #[track_caller]
    pub fn finish(mut self) {
        self.finished = true;
        let left = leak::left_behind(self.tag(), &self.path);
        assert!(left.is_empty(), "left behind:\n  {}", left.join("\n  "));
    }
}

impl Drop for Sandbox {
    /// Cleans up whatever the test did; a test that passes without [`Sandbox::finish`] is checked all the same.
    fn drop(&mut self) {
        let left = if self.finished || std::thread::panicking() {
            Vec::new()
        } else {
            leak::left_behind(self.tag(), &self.path)
        };
        leak::clean_up(self.tag(), &self.path);
        assert!(left.is_empty(), "left behind:\n  {}", left.join("\n  "));
    }
}
