// SPDX-License-Identifier: Apache-2.0
//! What the configuration names by path, looked for on the host and in the root file system.
//!
//! Paths in the root file system are resolved inside it, for an image may have links that lead out.
#![expect(
    clippy::disallowed_methods,
    reason = "the bundle is the caller's; its root file system is opened as a Root"
)]

use std::fs;
use std::path::{Component, Path};

use conex_spec::runtime::{Config, Mount, Process};
use conex_sys::path::{Root, stat};

use super::Report;
use super::Severity::{Error, Note};

/// What execvp(3) takes where the environment has none.
const DEFAULT_PATH: &str = "/bin:/usr/bin";
const EXECUTABLE: u32 = 0o111;

impl Report {
    pub(super) fn files(&mut self, config: &Config, bundle: &str) {
        self.root_filesystem(config, bundle);
        for (index, mount) in config.mounts.iter().enumerate() {
            self.mount_source(index, mount, bundle);
        }
        for (index, namespace) in config.linux.iter().flat_map(|linux| &linux.namespaces).enumerate() {
            if !namespace.path.is_empty() && fs::metadata(&namespace.path).is_err() {
                self.add(
                    (Error, "missing-namespace"),
                    format!("/linux/namespaces/{index}/path"),
                    format!("{} cannot be seen", namespace.path),
                    "is the process that held the namespace still there?",
                );
            }
        }
        self.hooks(config);
    }

    fn root_filesystem(&mut self, config: &Config, bundle: &str) {
        let path = config.root.as_ref().map(|root| root.path.as_str()).unwrap_or_default();
        let path = Path::new(bundle).join(path);
        match Root::open_host(&path) {
            Ok(root) => {
                if let Some(process) = &config.process {
                    self.program(config, process, &root);
                }
            }
            Err(_) => self.add(
                (Error, "missing-rootfs"),
                "/root/path",
                format!("{} is not a directory that can be opened", path.display()),
                "unpack an image there",
            ),
        }
    }

    /// Whether the first word is an executable file. What a mount brings cannot be looked at before it is mounted.
    fn program(&mut self, config: &Config, process: &Process, root: &Root) {
        let Some(word) = process.args.first() else { return };
        let cwd = process.cwd.trim_end_matches('/');
        let places: Vec<String> = if word.starts_with('/') {
            vec![word.clone()]
        } else if word.contains('/') {
            vec![format!("{cwd}/{word}")]
        } else {
            let path = process.env.iter().find_map(|variable| variable.strip_prefix("PATH="));
            path.unwrap_or(DEFAULT_PATH).split(':').map(|directory| format!("{directory}/{word}")).collect()
        };
        let below_mount = |place: &String| {
            config.mounts.iter().any(|mount| Path::new(place).starts_with(Path::new(&mount.destination)))
        };
        if places.iter().any(|place| is_program(root, place)) || places.iter().any(below_mount) {
            return;
        }
        let looked =
            if places.len() > 1 { format!(", looked in {}", places.join(" ")) } else { String::new() };
        self.add(
            (Error, "missing-program"),
            "/process/args/0",
            format!("{word:?} is not an executable file of the root file system{looked}"),
            "correct the name, or PATH in process.env",
        );
    }

    fn mount_source(&mut self, index: usize, mount: &Mount, bundle: &str) {
        let is_bind =
            mount.kind == "bind" || mount.options.iter().any(|option| option == "bind" || option == "rbind");
        let at = format!("/mounts/{index}");
        if is_bind && fs::symlink_metadata(Path::new(bundle).join(&mount.source)).is_err() {
            self.add(
                (Error, "missing-source"),
                format!("{at}/source"),
                format!("{:?} does not exist", mount.source),
                "make it first; a runtime does not",
            );
        }
        if Path::new(&mount.destination).components().any(|part| part == Component::ParentDir) {
            self.add(
                (Note, "odd-destination"),
                format!("{at}/destination"),
                format!("{:?} is resolved inside the root file system", mount.destination),
                "write it without \"..\"",
            );
        }
    }

    fn hooks(&mut self, config: &Config) {
        let hooks = &config.hooks;
        let moments = [
            ("prestart", &hooks.prestart),
            ("createRuntime", &hooks.create_runtime),
            ("createContainer", &hooks.create_container),
            ("poststart", &hooks.poststart),
            ("poststop", &hooks.poststop),
        ];
        for (moment, list) in moments {
            for (index, hook) in list.iter().enumerate() {
                use std::os::unix::fs::MetadataExt;
                let good = fs::metadata(&hook.path)
                    .is_ok_and(|found| found.is_file() && found.mode() & EXECUTABLE != 0);
                if !good {
                    self.add(
                        (Error, "missing-hook"),
                        format!("/hooks/{moment}/{index}/path"),
                        format!("{} is not an executable file of the host", hook.path),
                        "install it, or take the hook out",
                    );
                }
            }
        }
    }
}

fn is_program(root: &Root, path: &str) -> bool {
    let found = root.resolve(path).and_then(stat);
    found.is_ok_and(|found| found.st_mode & 0o170_000 == 0o100_000 && found.st_mode & EXECUTABLE != 0)
}
