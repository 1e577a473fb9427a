// SPDX-License-Identifier: Apache-2.0
//! The root file system of a machine that is more than busybox: Debian by debootstrap, with systemd, a bus and an
//! ordinary user whose services run without a login. A machine writes to a copy that dies with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::{System, cache};
use crate::debian;
use crate::require::{Requirement, program, root};
use crate::run::Run;

/// What is in it beyond the minimum: systemd and its buses, what a rootless container needs, peers, tools.
const PACKAGES: &[&str] = &[
    "systemd-sysv",
    "dbus",
    "dbus-user-session",
    "libpam-systemd",
    "uidmap",
    "procps",
    "iproute2",
    "kmod",
    "busybox-static",
    "runc",
    "crun",
    "strace",
    "jq",
    "python3-minimal",
    "apparmor",
    "selinux-policy-default",
    "selinux-utils",
];

/// What calls a runtime; large.
const ENGINES: &[&str] = &["podman", "catatonit", "fuse-overlayfs", "slirp4netns", "docker.io", "containerd"];

/// What Debian leaves for the first boot is done here; the user has uid 1000 and, by useradd, subordinate ids.
const CUSTOMISE: &str = "
export DEBIAN_FRONTEND=noninteractive
useradd --create-home --uid 1000 --shell /bin/bash user
mkdir -p /var/lib/systemd/linger
touch /var/lib/systemd/linger/user
systemd-machine-id-setup
echo vm > /etc/hostname
rm -rf /var/cache/apt/* /var/lib/apt/lists/* /usr/share/doc/* /usr/share/man/* /usr/share/locale/*
sed -i s/^SELINUX=.*/SELINUX=enforcing/ /etc/selinux/config
semodule --noreload --install /root/container.cil
setfiles -F -m -e /proc /etc/selinux/default/contexts/files/file_contexts /
";

/// Put into Debian's SELinux policy, where it costs seconds: in the machine it would take minutes.
const POLICY: &str = include_str!("guest/container.cil");

/// Its size; sparse on the host.
const SIZE: &str = "4G";

/// The disk image, made once.
pub(super) fn image(system: System) -> Requirement<PathBuf> {
    let more = if system == System::Engines { install(ENGINES) } else { String::new() };
    let recipe = format!("{PACKAGES:?} {more}{CUSTOMISE} {POLICY} {SIZE}");
    let name: String = Sha256::digest(recipe)[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(cache::kept(&format!("root-{name}"), |directory| make(directory, &more))?.join("root.ext4"))
}

/// By apt, for debootstrap fails over long chains of dependencies; no service is started.
fn install(packages: &[&str]) -> String {
    format!(
        "echo exit 101 > /usr/sbin/policy-rc.d
chmod +x /usr/sbin/policy-rc.d
apt-get --quiet --quiet update
DEBIAN_FRONTEND=noninteractive apt-get --quiet --quiet --yes --no-install-recommends install {}
rm /usr/sbin/policy-rc.d",
        packages.join(" ")
    )
}

fn make(directory: &Path, more: &str) -> Requirement {
    root()?;
    let (debootstrap, mkfs) = (program("debootstrap")?, program("mkfs.ext4")?);
    let (site, release) = debian::mirror()?;
    let tree = directory.join("tree");
    let mut bootstrap = Command::new(debootstrap);
    bootstrap.args(["--variant=minbase", &format!("--include={}", PACKAGES.join(",")), &release]);
    let made = bootstrap.arg(&tree).arg(&site).run_with(b"", Duration::from_secs(900));
    if !made.status.success() {
        return Err(format!("debootstrap: {}", made.stdout.lines().last().unwrap_or(made.stderr.trim())));
    }
    fs::write(tree.join("root/container.cil"), POLICY).map_err(|error| error.to_string())?;
    cache::sh(
        directory,
        &format!(
            "unshare --mount --propagation private sh -ec '
               mount --bind /proc tree/proc
               cp /etc/resolv.conf tree/etc/
               exec chroot tree sh -ec \"$0\"' '{more}{CUSTOMISE}'
             {} -q -d tree root.ext4 {SIZE}
             rm -rf --one-file-system tree",
            mkfs.display()
        ),
    )?;
    Ok(())
}
