// SPDX-License-Identifier: Apache-2.0
//! `/proc/PID/mountinfo`: the mounts of a mount namespace, a line each. proc_pid_mountinfo(5).
//!
//! ```text
//!  36 35 98:0 /root /point rw,noatime master:1 - ext3 /dev/x rw,errors=continue
//!  id parent  root  point  options    tags     -  kind source of the file system
//! ```
//!
//! Only reads the text; who opens it knows whose `/proc` can be trusted.

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount<'a> {
    /// Of this mount, as `mnt_id` in `/proc/PID/fdinfo/N`.
    pub id: u64,
    /// The mount that this one is on.
    pub parent: u64,
    /// Which part of the file system is seen.
    pub root: String,
    /// Where, in the tree of the process.
    pub point: String,
    /// What is said of the mount: `ro`, `nosuid`, ….
    pub options: Vec<&'a str>,
    /// The file system: `ext4`, `proc`, ….
    pub kind: &'a str,
    /// What is said of the file system: `ro`, a cgroup hierarchy's controllers, ….
    pub filesystem_options: Vec<&'a str>,
}

/// All lines that are ones.
pub fn parse(text: &str) -> impl Iterator<Item = Mount<'_>> {
    text.lines().filter_map(line)
}

fn line(line: &str) -> Option<Mount<'_>> {
    let (mount, filesystem) = line.split_once(" - ")?;
    let mut mount = mount.split(' ');
    let mut filesystem = filesystem.split(' ');
    Some(Mount {
        id: mount.next()?.parse().ok()?,
        parent: mount.next()?.parse().ok()?,
        root: unescape(mount.nth(1)?),
        point: unescape(mount.next()?),
        options: mount.next()?.split(',').collect(),
        kind: filesystem.next()?,
        filesystem_options: filesystem.nth(1)?.split(',').collect(),
    })
}

/// Space, tab, newline and backslash are octal numbers.
fn unescape(text: &str) -> String {
    if !text.contains('\\') {
        return text.into();
    }
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .into_iter()
        .fold(text.into(), |text: String, (code, character)| text.replace(code, character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_with_and_without_optional_fields() {
        let expected = Mount {
            id: 36,
            parent: 35,
            root: "/mnt 1".into(),
            point: "/a\\040b".into(),
            options: vec!["rw", "noatime"],
            kind: "ext3",
            filesystem_options: vec!["rw", "errors=continue"],
        };
        for optional in ["", " shared:1 master:2"] {
            let line = format!(
                "36 35 98:0 /mnt\\0401 /a\\134040b rw,noatime{optional} - ext3 /dev/root rw,errors=continue\n36 35\n"
            );
            assert!(parse(&line).eq([expected.clone()]), "{line}");
        }
    }
}
