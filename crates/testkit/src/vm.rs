// SPDX-License-Identifier: Apache-2.0
//! A virtual machine with Debian's kernel, for what this host cannot show: another kernel, and a pure cgroup v2
//! hierarchy with every controller. QEMU emulates (no KVM needed); a boot takes some seconds.
//!
//! The machine has no disk and no network. Its initramfs is written here (cpio "newc"); `/init` moves it to a
//! tmpfs, because a container cannot pivot away from an initramfs, and runs the test's script. The script says
//! what it finds on the serial console, and powers off.
//!
//! ```text
//! cpio newc entry: "070701" · 13 fields of 8 hex digits · name NUL · pad to 4 · content · pad to 4
//! fields: ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::binaries;
use crate::busybox;
use crate::require::{Requirement, program};
use crate::run::Run;

/// A machine may take this long; emulation on two busy cores is slow.
const LIMIT: Duration = Duration::from_secs(120);

/// What the machine does first: everything to a tmpfs, the kernel's file systems, then the test's script.
const INIT: &str = "#!/bin/sh
mount -t tmpfs -o size=512m tmpfs /moved
cp -a /bin /sbin /usr /etc /root /proc /sys /dev /tmp /run /var /payload /script /second-init /moved/
exec switch_root /moved /second-init
";
const SECOND_INIT: &str = "#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs run /run
mount -t cgroup2 cgroup /sys/fs/cgroup
for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
  echo +$controller > /sys/fs/cgroup/cgroup.subtree_control
done
ip link set lo up
cd /payload
sh /script
echo \"script ended: $?\"
poweroff -f
";

/// A machine to be booted.
#[derive(Debug, Default)]
pub struct Machine {
    archive: Vec<u8>,
    inode: u32,
}

impl Machine {
    /// With busybox and nothing to do yet.
    pub fn new() -> Requirement<Self> {
        let mut machine = Self::default();
        for entry in busybox::base_entries()? {
            use crate::tar::Kind;
            match entry.kind {
                Kind::Directory => machine.directory(&entry.path),
                Kind::File(content) => machine.file(&entry.path, entry.mode, &content),
                Kind::Symlink(target) => machine.entry(&entry.path, 0o120_777, target.as_bytes()),
                other => unreachable!("busybox has no {other:?}"),
            }
        }
        for name in ["moved", "run", "payload"] {
            machine.directory(name);
        }
        machine.file("init", 0o755, INIT.as_bytes());
        machine.file("second-init", 0o755, SECOND_INIT.as_bytes());
        Ok(machine)
    }

    pub fn directory(&mut self, path: &str) {
        self.entry(path, 0o040_755, b"");
    }

    pub fn file(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.entry(path, 0o100_000 | mode, content);
    }

    /// A file of the host, executable.
    pub fn program(&mut self, path: &str, from: &Path) {
        self.file(path, 0o755, &fs::read(from).expect("read a program"));
    }

    /// A whole directory of the host, below `path`.
    pub fn tree(&mut self, path: &str, from: &Path) {
        use std::os::unix::ffi::OsStrExt;
        use std::os::unix::fs::PermissionsExt;
        self.directory(path);
        for entry in fs::read_dir(from).expect("read a directory").flatten() {
            let name = format!("{path}/{}", entry.file_name().to_string_lossy());
            let metadata = entry.metadata().expect("stat");
            if metadata.is_dir() {
                self.tree(&name, &entry.path());
            } else if metadata.is_symlink() {
                let target = fs::read_link(entry.path()).expect("readlink");
                self.entry(&name, 0o120_777, target.as_os_str().as_bytes());
            } else {
                let content = fs::read(entry.path()).expect("read a file");
                self.file(&name, metadata.permissions().mode() & 0o7777, &content);
            }
        }
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.inode += 1;
        let name = format!("{path}\0");
        let length = u32::try_from(content.len()).expect("an initramfs holds small files");
        let fields = [self.inode, mode, 0, 0, 1, 0, length, 0, 0, 0, 0, name.len() as u32, 0];
        let out = &mut self.archive;
        out.extend_from_slice(b"070701");
        fields.iter().for_each(|field| out.extend_from_slice(format!("{field:08x}").as_bytes()));
        for part in [name.as_bytes(), content] {
            out.extend_from_slice(part);
            out.resize(out.len().next_multiple_of(4), 0);
        }
    }

    /// Boots it, runs the script in `/payload`, and returns what came out of the serial console.
    pub fn run(mut self, script: &str) -> Requirement<String> {
        let qemu = program("qemu-system-x86_64")?;
        let kernel = kernel()?;
        self.file("script", 0o755, script.as_bytes());
        self.entry("TRAILER!!!", 0, b"");
        let scratch = tempfile::tempdir().map_err(|error| error.to_string())?;
        let initramfs = scratch.path().join("initramfs");
        fs::write(&initramfs, &self.archive).map_err(|error| error.to_string())?;
        let mut command = Command::new(qemu);
        command.args(["-accel", "tcg", "-machine", "pc", "-cpu", "max", "-smp", "2", "-m", "1024"]);
        command.args(["-nodefaults", "-nographic", "-no-reboot", "-serial", "stdio"]);
        command.arg("-kernel").arg(kernel).arg("-initrd").arg(&initramfs);
        command.args(["-append", "console=ttyS0 quiet panic=-1 random.trust_cpu=on cgroup_no_v1=all"]);
        let console = command.run_with(b"", LIMIT).success().stdout;
        // The firmware talks to a terminal; a log wants only the text.
        Ok(console.chars().filter(|letter| *letter == '\n' || !letter.is_control()).collect())
    }
}

/// The kernel to boot: one that [`fetch_kernel`] has unpacked.
fn kernel() -> Requirement<PathBuf> {
    let unpacked = kernel_directory().join("boot");
    let names = fs::read_dir(&unpacked).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut kernels =
        names.filter(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("vmlinuz")));
    kernels.next().ok_or_else(|| "no kernel unpacked; cargo xtask test does it".into())
}

fn kernel_directory() -> PathBuf {
    binaries::target_directory().join("vm-kernel")
}

/// Downloads Debian's smallest kernel package and unpacks it, once, into cargo's target directory.
pub fn fetch_kernel() -> Requirement<PathBuf> {
    if let Ok(found) = kernel() {
        return Ok(found);
    }
    let directory = kernel_directory();
    fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
    let newest = "linux-image-cloud-amd64";
    let depends = sh(&directory, &format!("apt-cache depends {newest}"))?;
    let package = depends
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .find(|name| name.starts_with("linux-image-"))
        .ok_or_else(|| format!("apt knows no {newest}"))?;
    sh(
        &directory,
        &format!("apt-get --quiet --quiet download {package} && dpkg-deb --extract {package}_*.deb ."),
    )?;
    sh(&directory, "rm -f *.deb")?;
    kernel()
}

fn sh(directory: &Path, script: &str) -> Requirement<String> {
    let output = Command::new("sh").args(["-c", script]).current_dir(directory).run_with(b"", LIMIT);
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(format!("{script}: {}", output.stderr.trim()))
    }
}
