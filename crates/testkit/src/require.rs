// SPDX-License-Identifier: Apache-2.0
//! What a test needs of its host, each as `Ok(value)` or the reason for a skip. Used with `needs!`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// A requirement that is met, or why it is not and how to meet it.
pub type Requirement<T = ()> = Result<T, String>;

/// Where programs of the host are looked for, whatever `PATH` says.
pub const HOST_PATH: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// What proves that Debian's Python can speak gRPC.
pub const PYTHON_GRPC: &str = "/usr/lib/python3/dist-packages/grpc/__init__.py";

/// Real root, in the initial user namespace.
pub fn root() -> Requirement {
    if !rustix::process::geteuid().is_root() {
        return Err("not root".into());
    }
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    match map.split_whitespace().collect::<Vec<_>>()[..] {
        ["0", "0", "4294967295"] => Ok(()),
        _ => Err("root only of a user namespace".into()),
    }
}

/// User namespaces for those who are not root.
pub fn userns() -> Requirement {
    static WORKS: OnceLock<bool> = OnceLock::new();
    let works = *WORKS.get_or_init(|| {
        let mut probe = Command::new("unshare");
        probe.args(["--user", "--map-root-user", "true"]).stdout(Stdio::null()).stderr(Stdio::null());
        probe.status().is_ok_and(|status| status.success())
    });
    if works { Ok(()) } else { Err("no unprivileged user namespaces on this host".into()) }
}

/// A program of the host, by name: the peers that conex is compared with, and tools.
pub fn program(name: &str) -> Requirement<PathBuf> {
    HOST_PATH
        .iter()
        .map(|dir| Path::new(dir).join(name))
        .find(|path| path.is_file())
        .ok_or_else(|| format!("no {name} on this host: apt-get install {}", package_of(name)))
}

/// A program as Debian packages it, whatever else of that name is installed in front of it.
pub fn packaged(name: &str) -> Requirement<PathBuf> {
    let mut paths = ["/usr/sbin", "/usr/bin"].iter().map(|directory| Path::new(directory).join(name));
    paths.find(|path| path.is_file()).map_or_else(|| program(name), Ok)
}

/// The Debian package that brings a program.
pub fn package_of(program: &str) -> &str {
    match program {
        "dockerd" | "docker" => "docker.io",
        "newuidmap" | "newgidmap" => "uidmap",
        "qemu-system-x86_64" => "qemu-system-x86",
        PYTHON_GRPC => "python3-grpcio",
        "busybox" => "busybox-static",
        "depmod" => "kmod",
        "mkfs.ext4" => "e2fsprogs",
        "setfattr" | "getfattr" => "attr",
        "ip" => "iproute2",
        "unshare" | "setpriv" | "nsenter" => "util-linux",
        other => other,
    }
}

/// Prints the line that `cargo xtask test` counts. Use `skip!`, which also leaves the test.
pub fn print_skip(test: &str, reason: &str) {
    // A passing test's output is captured; the log is what reaches the count even so.
    if let Some(log) = std::env::var_os("CONEX_SKIP_LOG") {
        use std::io::Write;
        let line = format!("SKIP {test}: {reason}\n");
        let opened = std::fs::OpenOptions::new().append(true).create(true).open(log);
        opened.and_then(|mut file| file.write_all(line.as_bytes())).expect("the skip log can be written");
    } else {
        #[expect(clippy::print_stderr, reason = "a skip is for people to see")]
        {
            eprintln!("SKIP {test}: {reason}");
        }
    }
}
