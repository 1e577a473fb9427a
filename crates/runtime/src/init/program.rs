// SPDX-License-Identifier: Apache-2.0
//! The container's program: where it stands, where it is found, and becoming it.
//!
//! This is the end of the walk: the process stands in its root filesystem, so plain paths are the container's.
#![expect(clippy::disallowed_methods, reason = "the container's root is this process's root by now")]

use std::ffi::CString;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use conex_sys::path::{self, FileType};
use conex_sys::{Errno, file, mount, process, signal};

use super::{World, in_root, missing};
use crate::plan::Step;
use crate::{Error, ErrorKind, Result, Wrap};

/// Character device 1:3.
const NULL_DEVICE: (u32, u32) = (1, 3);

/// Standard descriptors that are the host's /dev/null become the container's, if that is one.
pub(super) fn reopen_dev_null() -> Result<()> {
    let is_null = |fd: std::os::fd::BorrowedFd<'_>| -> Result<bool> {
        let stat = path::stat(fd)?;
        let is_char = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
        Ok(is_char && path::device_number(&stat) == NULL_DEVICE)
    };
    let (input, output, errors) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let standard = [(0, input.as_fd()), (1, output.as_fd()), (2, errors.as_fd())];
    // A descriptor that the caller has closed is not there to be replaced.
    let nulls: Vec<_> = standard
        .into_iter()
        .filter(|(_, fd)| is_null(*fd).unwrap_or(false))
        .map(|(number, _)| number)
        .collect();
    if nulls.is_empty() {
        return Ok(());
    }
    // Looked at when it is open: another container that shares a volume could exchange it in between.
    let own = File::options().read(true).write(true).custom_flags(NO_FOLLOW).open("/dev/null")?;
    if !is_null(own.as_fd())? {
        return Err(Error::new(ErrorKind::Os, "/dev/null of the container is not the null device"));
    }
    nulls.into_iter().try_for_each(|number| Ok(process::set_standard(number, own.as_fd())?))
}

/// That it can be read is not asked for: it may be the user's alone.
pub(super) fn make_working_directory(world: &World<'_>, path: &str) -> Result<()> {
    if path == "/" {
        return Ok(());
    }
    let root = in_root(world)?;
    match root.resolve(path) {
        Err(error) if error.errno() == Errno::NOENT => Ok(root.make_dir_all(path, 0o755).map(drop)?),
        found => Ok(found.map(drop)?),
    }
}

/// As the container's root first. A directory that only the user may enter is tried again as that user.
pub(super) fn enter_working_directory(world: &mut World<'_>, path: &str) -> Result<()> {
    match stand_in(world, path) {
        Err(error) if error.errno() == Some(Errno::ACCESS) => world.working_directory_refused = true,
        outcome => outcome?,
    }
    Ok(())
}

/// As the user.
pub(super) fn retry_working_directory(world: &World<'_>, path: &str) -> Result<()> {
    if world.working_directory_refused { stand_in(world, path) } else { Ok(()) }
}

fn stand_in(world: &World<'_>, path: &str) -> Result<()> {
    if path == "/" {
        // The root is this process's own by now.
        return mount::stand_at_root().wrap(|| "chdir to cwd (\"/\")");
    }
    let directory = in_root(world)?.resolve(path).wrap(|| format!("chdir to cwd ({path:?})"))?;
    mount::stand_in(&directory).wrap(|| format!("chdir to cwd ({path:?})"))?;
    confirm_working_directory()
}

/// CVE-2024-21626: a working directory outside of the root would be the host's.
fn confirm_working_directory() -> Result<()> {
    let here = process::current_directory()?;
    if here.starts_with('/') {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Os,
        format!("current working directory {here} is outside of container mount namespace root"),
    ))
}

/// So much of a passwd is read: the image may have made it of any size, with lines of any length.
const MAX_PASSWD: u64 = 1 << 20;

/// The sixth field of the user's line in the container's passwd; `/` where there is none.
pub(super) fn find_home(world: &mut World<'_>, uid: u32) -> Result<()> {
    let passwd = in_root(world)?.open_regular("/etc/passwd")?;
    let home = passwd.and_then(|passwd| home_in(passwd.take(MAX_PASSWD), uid));
    world.home = Some(home.unwrap_or_else(|| "/".to_owned()));
    Ok(())
}

fn home_in(passwd: impl Read, uid: u32) -> Option<String> {
    let number = uid.to_string();
    let lines = BufReader::new(passwd).split(b'\n').map_while(std::result::Result::ok);
    let fields = |line: Vec<u8>| -> Vec<String> {
        line.split(|byte| *byte == b':').map(|field| String::from_utf8_lossy(field).into_owned()).collect()
    };
    let line = lines.map(fields).find(|fields| fields.get(2) == Some(&number))?;
    line.into_iter().nth(5).filter(|home| !home.is_empty())
}

/// O_NOFOLLOW.
const NO_FOLLOW: i32 = 0o400_000;

/// What a shell without a PATH would use.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The variables of the program: the configuration's, and the home that was found where it names none.
pub(super) fn environment(world: &World<'_>) -> Vec<String> {
    let home = world.home.iter().map(|home| format!("HOME={home}"));
    configured(world).iter().cloned().chain(home).collect()
}

fn configured<'a>(world: &World<'a>) -> &'a [String] {
    let execute = world.plan.steps.iter().find_map(|step| match step {
        Step::Execute { env, .. } => Some(env.as_slice()),
        _ => None,
    });
    execute.unwrap_or_default()
}

/// Finds the program as execvp(3) would, while the error can still be told to the caller of `create`.
pub(super) fn find(world: &mut World<'_>, name: &str) -> Result<()> {
    let search = configured(world).iter().rev().find_map(|word| word.strip_prefix("PATH="));
    let found = locate(name, search.unwrap_or(DEFAULT_PATH))?;
    let word = CString::new(found.as_os_str().as_bytes());
    world.program = Some(word.map_err(|_| Error::new(ErrorKind::Program, "program name with a NUL byte"))?);
    Ok(())
}

/// The messages are Go's: callers look for them.
fn locate(name: &str, search: &str) -> Result<PathBuf> {
    let fail = |what: String| Error::new(ErrorKind::Program, format!("exec: {name:?}: {what}"));
    if name.contains('/') {
        return match executable(Path::new(name)) {
            Ok(()) => Ok(PathBuf::from(name)),
            Err(Errno::NOENT) => Err(fail(format!("stat {name}: no such file or directory"))),
            Err(Errno::NOTDIR) => Err(fail(format!("stat {name}: not a directory"))),
            // Go's newer word for it, and the kernel's: callers know one or the other.
            Err(Errno::ISDIR) => Err(fail("is a directory: permission denied".into())),
            Err(_) => Err(fail("permission denied".into())),
        };
    }
    let mut refused = false;
    for directory in search.split(':') {
        let directory = if directory.is_empty() { "." } else { directory };
        let candidate = Path::new(directory).join(name);
        match executable(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(Errno::ACCESS) => refused = true,
            Err(_) => {}
        }
    }
    Err(fail(if refused { "permission denied" } else { "executable file not found in $PATH" }.into()))
}

fn executable(path: &Path) -> std::result::Result<(), Errno> {
    let metadata = std::fs::metadata(path)
        .map_err(|error| error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error))?;
    if metadata.is_dir() {
        return Err(Errno::ISDIR);
    }
    file::may_execute(path).map_err(|error| error.errno())
}

/// Becomes the program; returns only what went wrong.
pub(super) fn execute(world: &World<'_>, args: &[String], sockets: u32) -> Error {
    let Some(program) = &world.program else { return missing("program") };
    let mut env = environment(world);
    if sockets > 0 {
        env.extend([format!("LISTEN_FDS={sockets}"), format!("LISTEN_PID={}", process::own_id())]);
    }
    let words = process::Words::new(args.iter().map(String::as_str))
        .and_then(|args| Ok((args, process::Words::new(env)?)));
    let (args, env) = match words {
        Ok(words) => words,
        Err(error) => return error.into(),
    };
    if let Err(error) = signal::reset(world.inherited.ignored) {
        return error.into();
    }
    let error = process::exec(program, &args, &env);
    let name = program.to_string_lossy();
    let words = Error::from(std::io::Error::from_raw_os_error(error.errno().raw_os_error()));
    let hint = match world.plan.steps.iter().find(|step| matches!(step, Step::SelinuxLabel { .. })) {
        Some(Step::SelinuxLabel { label }) if matches!(error.errno(), Errno::PERM | Errno::ACCESS) => {
            format!(" (does SELinux' policy let {label} begin with this file?)")
        }
        _ => String::new(),
    };
    Error::new(ErrorKind::Program, format!("exec {name}: {words}{hint}"))
}
