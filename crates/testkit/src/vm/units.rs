// SPDX-License-Identifier: Apache-2.0
//! What systemd is told through `/run/systemd`: to run the command, and to leave out what only costs boot time.

use super::initramfs::Archive;

/// Nothing here has hardware, a console to log in at, a clock to set or a schedule.
const MASKED: &[&str] = &[
    "systemd-udevd.service",
    "systemd-udevd-control.socket",
    "systemd-udevd-kernel.socket",
    "systemd-udev-trigger.service",
    "systemd-timesyncd.service",
    "systemd-random-seed.service",
    "systemd-update-utmp.service",
    "systemd-update-utmp-runlevel.service",
    "systemd-journal-flush.service",
    "systemd-modules-load.service",
    "systemd-remount-fs.service",
    "systemd-binfmt.service",
    "systemd-machine-id-commit.service",
    "systemd-sysusers.service",
    "systemd-firstboot.service",
    "systemd-pcrphase.service",
    "systemd-pcrphase-sysinit.service",
    "systemd-boot-system-token.service",
    "kmod-static-nodes.service",
    "modprobe@.service",
    "dev-hugepages.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "sys-kernel-config.mount",
    "sys-fs-fuse-connections.mount",
    "proc-sys-fs-binfmt_misc.automount",
    "getty.target",
    "getty@tty1.service",
    "serial-getty@ttyS0.service",
    "console-getty.service",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "systemd-tmpfiles-clean.timer",
    "systemd-ask-password-console.path",
    "systemd-ask-password-wall.path",
    "apparmor.service",
    "procps.service",
    "systemd-sysctl.service",
    "docker.service",
    "docker.socket",
    "containerd.service",
    "podman.service",
    "podman.socket",
    "podman-restart.service",
    "podman-auto-update.timer",
];

/// Adds it below `systemd/`.
pub(super) fn add(archive: &mut Archive) {
    for directory in ["systemd", "systemd/system", "systemd/system/multi-user.target.wants"] {
        archive.directory(directory);
    }
    archive.file("systemd/system/vm.service", 0o644, include_bytes!("guest/vm.service"));
    archive.symlink("systemd/system/multi-user.target.wants/vm.service", "../vm.service");
    for unit in MASKED {
        archive.symlink(&format!("systemd/system/{unit}"), "/dev/null");
    }
}
