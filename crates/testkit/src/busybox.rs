// SPDX-License-Identifier: Apache-2.0
//! The smallest real image: Debian's static busybox with its applets, and a second layer that takes something
//! away. And the same as a plain directory, for bundles without an image.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use crate::image::{Image, Layer};
use crate::require::{Requirement, program};
use crate::run::Run;
use crate::tar::{self, Entry};

/// What the first layer brings and the second layer takes away.
pub const REMOVED: &str = "etc/removed-by-the-second-layer";
/// What the second layer brings: `/etc/motd`.
pub const MOTD: &str = "hello from conex\n";

/// Two layers; runs `cat /etc/motd` unless told otherwise.
pub fn image() -> Requirement<Image> {
    let below = Layer::new(&base_entries()?);
    let above = Layer::new(&[
        tar::directory("etc"),
        tar::file("etc/motd", MOTD),
        tar::whiteout(REMOVED),
        tar::directory("var"),
        tar::opaque("var"),
        tar::directory("var/new"),
    ]);
    Ok(Image::new(vec![below, above]).cmd(&["cat", "/etc/motd"]))
}

/// The first layer: busybox, a link for each applet, and the few files that programs expect.
pub fn base_entries() -> Requirement<Vec<Entry>> {
    let mut entries: Vec<Entry> =
        ["bin", "dev", "etc", "proc", "root", "sys", "usr", "usr/bin", "usr/sbin", "sbin", "var", "var/old"]
            .map(tar::directory)
            .into();
    entries.push(tar::directory("tmp").mode(0o1777));
    entries.push(
        tar::file("bin/busybox", fs::read(program("busybox")?).map_err(|e| e.to_string())?).mode(0o755),
    );
    for applet in applets()? {
        entries.push(tar::symlink(&applet, "/bin/busybox"));
    }
    entries.push(tar::file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/tmp:/bin/sh\n"));
    entries.push(tar::file("etc/group", "root:x:0:\nuser:x:1000:\nextra:x:2000:user\n"));
    entries.push(tar::file("etc/motd", "overwritten\n"));
    entries.push(tar::file(REMOVED, "nobody sees this\n"));
    Ok(entries)
}

/// The same tree as the image has, in a directory; without root, everything belongs to the caller.
pub fn rootfs(directory: &Path) -> Requirement {
    const MADE: &str = "make a root filesystem where there is none";
    for name in ["bin", "dev", "etc", "proc", "root", "sys", "tmp", "usr/bin", "usr/sbin", "sbin", "var/new"]
    {
        fs::create_dir_all(directory.join(name)).expect(MADE);
    }
    let busybox = directory.join("bin/busybox");
    fs::copy(program("busybox")?, &busybox).expect(MADE);
    fs::set_permissions(&busybox, fs::Permissions::from_mode(0o755)).expect(MADE);
    for applet in applets()? {
        symlink("/bin/busybox", directory.join(applet)).expect(MADE);
    }
    fs::write(directory.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").expect(MADE);
    fs::write(directory.join("etc/group"), "root:x:0:\n").expect(MADE);
    fs::write(directory.join("etc/motd"), MOTD).expect(MADE);
    Ok(())
}

/// Where busybox itself wants its applets, without itself.
fn applets() -> Requirement<Vec<String>> {
    let busybox = program("busybox")?;
    let listed = Command::new(busybox).arg("--list-full").run();
    let wanted = |path: &&str| !path.ends_with("/busybox") && path.matches('/').count() <= 2;
    let paths: Vec<String> = listed.stdout.lines().filter(wanted).map(str::to_owned).collect();
    if paths.is_empty() { Err("busybox lists no applets".into()) } else { Ok(paths) }
}
