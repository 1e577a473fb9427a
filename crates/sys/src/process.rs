// SPDX-License-Identifier: Apache-2.0
//! Processes: clone3(2) with a pidfd, waiting and signalling through it, prctl(2), execve(2), close_range(2).
//!
//! A pidfd never means another process, so nothing here can hit a stranger that got a recycled pid.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions};

use crate::error::Call;
use crate::raw::{check, owned, show};
use crate::{Error, Result, namespace};

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It called exit(2).
    Code(u8),
    /// A signal killed it.
    Signal(i32),
}

impl Exit {
    /// The code as a shell shows it: 128 + n for a signal.
    pub fn code(self) -> i32 {
        match self {
            Self::Code(code) => i32::from(code),
            Self::Signal(signal) => 128 + signal,
        }
    }
}

/// A child: its id for those who want a number, its pidfd for everything else.
#[derive(Debug)]
pub struct Child {
    /// The id in the caller's pid namespace.
    pub pid: i32,
    /// The process itself.
    pub pidfd: OwnedFd,
}

/// What a child shall be born into.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spawn<'a> {
    /// `CLONE_NEW*` of [`crate::namespace`].
    pub namespaces: u64,
    /// The cgroup (v2) to be born in. KERNEL(5.7).
    pub cgroup: Option<BorrowedFd<'a>>,
    /// Become a sibling of the caller rather than its child.
    pub sibling: bool,
    /// Of the descriptors above the standard three, only these are open in the child. Everything that the child uses
    /// must be among them; owners of the others must not be used there. `None` keeps all.
    pub keep: Option<&'a [BorrowedFd<'a>]>,
    /// With `keep`: so many descriptors behind the standard three stay as well, whatever they are.
    pub preserve: u32,
}

impl Spawn<'_> {
    /// What strace(1) would show of it.
    fn call(&self) -> String {
        let (parent, signal) = if self.sibling { ("|CLONE_PARENT", "0") } else { ("", "SIGCHLD") };
        let (into, cgroup) = self.cgroup.map_or_else(Default::default, |directory| {
            ("|CLONE_INTO_CGROUP", format!(", cgroup={}", show(&directory)))
        });
        let namespaces = namespace::show_flags(self.namespaces);
        let bar = if namespaces.is_empty() { "" } else { "|" };
        format!("clone3({{flags=CLONE_PIDFD{parent}{into}{bar}{namespaces}, exit_signal={signal}{cgroup}}})")
    }
}

/// Makes a child by clone3(2) and runs `child` in it; the child exits with the number that it returns.
///
/// It gets copies of all memory and descriptors, like after fork(2). Refused (`EBUSY`) while the process has other
/// threads, for their locks would stay locked in the child for ever.
pub fn spawn(request: &Spawn<'_>, child: impl FnOnce() -> i32) -> Result<Child> {
    let describe = || request.call();
    if !is_single_threaded() {
        return Err(Error::new(describe(), Errno::BUSY));
    }
    let mut pidfd: i32 = -1;
    // SAFETY: clone_args consists of integers only; all zeroes is its documented default.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = request.namespaces | libc::CLONE_PIDFD as u64;
    arguments.pidfd = &raw mut pidfd as u64;
    if request.sibling {
        arguments.flags |= libc::CLONE_PARENT as u64;
    } else {
        arguments.exit_signal = libc::SIGCHLD as u64;
    }
    if let Some(cgroup) = request.cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = u64::try_from(cgroup.as_raw_fd()).unwrap_or_default();
    }
    // SAFETY: no memory is shared with the child (no CLONE_VM) and the process has one thread, so this is fork(2)
    // with flags: both sides continue on their own copy of this stack. `arguments` and `pidfd` outlive the call.
    let returned = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of_val(&arguments)) };
    match check(returned).call(describe)? {
        0 => {
            if let Some(keep) = request.keep {
                close_all_but(3_u32.saturating_add(request.preserve), keep);
            }
            // A panic must not unwind into the copied frames of the parent.
            let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(101);
            exit(code)
        }
        pid => {
            // SAFETY: the kernel has stored a fresh descriptor there, because of CLONE_PIDFD.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Child { pid: i32::try_from(pid).unwrap_or_default(), pidfd })
        }
    }
}

/// Not in libc for musl as a 64-bit constant.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Closes everything from `first` on but `keep`. KERNEL(5.9); what an older one leaves open is close-on-exec.
fn close_all_but(mut first: u32, keep: &[BorrowedFd<'_>]) {
    let mut kept: Vec<_> = keep.iter().filter_map(|fd| u32::try_from(fd.as_raw_fd()).ok()).collect();
    kept.sort_unstable();
    for border in kept.into_iter().chain([u32::MAX]) {
        if first < border {
            // SAFETY: only called in a fresh child, where by the contract of `Spawn::keep` nobody uses these again.
            unsafe { libc::syscall(libc::SYS_close_range, first, border - 1, 0) };
        }
        first = first.max(border.saturating_add(1));
    }
}

/// Closes some of what a child of [`spawn`] was given to keep. Their owners, copies of the parent's, must not be used
/// there any more. KERNEL(5.9); what an older one leaves open is close-on-exec.
pub fn close_inherited<'a>(descriptors: impl Iterator<Item = BorrowedFd<'a>>) {
    let mut numbers: Vec<_> = descriptors.map(|descriptor| descriptor.as_raw_fd()).collect();
    numbers.sort_unstable();
    for run in numbers.chunk_by(|left, right| left + 1 == *right) {
        // SAFETY: the owners in this process are copies that by the contract above are neither used nor dropped.
        unsafe { libc::syscall(libc::SYS_close_range, run[0], run[run.len() - 1], 0) };
    }
}

/// Closes descriptors, neighbours with one call. KERNEL(5.9); before, one by one.
pub fn close_all(descriptors: Vec<OwnedFd>) {
    let mut numbers: Vec<_> = descriptors.into_iter().map(IntoRawFd::into_raw_fd).collect();
    numbers.sort_unstable();
    for run in numbers.chunk_by(|left, right| left + 1 == *right) {
        // SAFETY: all of the run were given up by their only owners, just above.
        let returned = unsafe { libc::syscall(libc::SYS_close_range, run[0], run[run.len() - 1], 0) };
        if returned != 0 {
            // SAFETY: as above; and the call that has failed has closed none.
            run.iter().for_each(|number| drop(unsafe { OwnedFd::from_raw_fd(*number) }));
        }
    }
}

/// unshare(2) of what threads share does nothing in a process with a single one, and is refused (`EINVAL`) in others.
fn is_single_threaded() -> bool {
    // SAFETY: with CLONE_THREAD alone the call only checks, it never changes anything.
    let returned = unsafe { libc::syscall(libc::SYS_unshare, libc::CLONE_THREAD) };
    returned == 0
}

/// Ends the process at once: no destructors, no buffers.
pub fn exit(code: i32) -> ! {
    // SAFETY: exit_group(2) does not return, and no state of this process matters afterwards.
    unsafe { libc::_exit(code) }
}

/// The pidfd of a running process. A pid can have been recycled: compare [`crate::procfs::Stat::start_time`] after.
pub fn open(pid: i32) -> Result<OwnedFd> {
    // SAFETY: pidfd_open(2) takes two integers.
    let returned = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    check(returned).map(owned).call(|| format!("pidfd_open({pid})"))
}

/// Sends a signal by number, real-time signals included; 0 only asks whether the process is there.
pub fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<()> {
    let nothing: *const libc::siginfo_t = std::ptr::null();
    // SAFETY: a null siginfo is allowed and makes the kernel fill in the sender as kill(2) does.
    let returned =
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, nothing, 0) };
    check(returned).map(drop).call(|| format!("pidfd_send_signal({}, {signal})", pidfd.as_raw_fd()))
}

/// Waits for a child to end and takes its status.
pub fn wait(pidfd: BorrowedFd<'_>) -> Result<Exit> {
    loop {
        match rustix::process::waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED) {
            Err(Errno::INTR) | Ok(None) => {}
            outcome => {
                let status = outcome.call(|| format!("waitid(P_PIDFD, {})", pidfd.as_raw_fd()))?;
                return Ok(status.map_or(Exit::Code(0), exit_of));
            }
        }
    }
}

fn exit_of(status: rustix::process::WaitIdStatus) -> Exit {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Exit::Code(u8::try_from(code & 0xff).unwrap_or_default()),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Code(0),
    }
}

/// A child that has ended and was not waited for yet, if there is one; its status stays to be taken.
pub fn ended_child() -> Result<Option<i32>> {
    // SAFETY: siginfo_t consists of integers; all zeroes is what waitid leaves if no child has ended.
    let mut ended: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: `ended` lives through the call and has the size that the kernel writes.
    let returned = unsafe { libc::waitid(libc::P_ALL, 0, &raw mut ended, options) };
    match check(libc::c_long::from(returned)) {
        Err(Errno::CHILD) => return Ok(None),
        outcome => outcome.call(|| "waitid(P_ALL, WNOHANG|WNOWAIT)".to_owned())?,
    };
    // SAFETY: waitid(2) fills the fields of SIGCHLD, of which si_pid is one.
    let pid = unsafe { ended.si_pid() };
    Ok((pid != 0).then_some(pid))
}

/// Takes the status of a child that has ended.
pub fn reap(pid: i32) -> Result<()> {
    let pidfd = open(pid)?;
    wait(pidfd.as_fd()).map(drop)
}

/// Whether the process has ended, waiting for that at most `timeout_ms`. It need not be a child.
pub fn wait_for_end(pidfd: BorrowedFd<'_>, timeout_ms: Option<u32>) -> Result<bool> {
    Ok(crate::socket::wait_readable(&[pidfd], timeout_ms)?.is_some())
}

/// Lets the process of a command die with the process that starts it. Call right before spawning.
pub fn end_with_parent(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt as _;
    let parent = rustix::process::getpid();
    let prepare = move || {
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
        // It may have died before.
        if rustix::process::getppid() == Some(parent) { Ok(()) } else { Err(Errno::SRCH.into()) }
    };
    // SAFETY: between fork and exec the closure makes two system calls; it takes no lock and allocates nothing.
    unsafe { command.pre_exec(prepare) };
}

/// Kills every process of a process group. That none is left is no error.
pub fn kill_group(leader: i32) -> Result<()> {
    let group = rustix::process::Pid::from_raw(leader).ok_or(Errno::INVAL);
    match group.and_then(|group| rustix::process::kill_process_group(group, rustix::process::Signal::KILL)) {
        Err(Errno::SRCH) => Ok(()),
        outcome => outcome.call(|| format!("kill(-{leader}, SIGKILL)")),
    }
}

/// Hides memory, descriptors and `/proc/<pid>/exe` of the process from everybody without privilege over it,
/// until the next execve(2).
pub fn set_undumpable() -> Result<()> {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    set_dumpable_behavior(DumpableBehavior::NotDumpable).call(|| "prctl(PR_SET_DUMPABLE, 0)".to_owned())
}

/// Takes that back.
pub fn set_dumpable() -> Result<()> {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    set_dumpable_behavior(DumpableBehavior::Dumpable).call(|| "prctl(PR_SET_DUMPABLE, 1)".to_owned())
}

/// Dies with its parent; `None` lives on.
pub fn set_parent_death_signal(signal: Option<i32>) -> Result<()> {
    prctl(libc::PR_SET_PDEATHSIG, signal.unwrap_or_default(), "PR_SET_PDEATHSIG")
}

/// Adopts orphaned descendants.
pub fn set_child_subreaper() -> Result<()> {
    prctl(libc::PR_SET_CHILD_SUBREAPER, 1, "PR_SET_CHILD_SUBREAPER")
}

/// No execve(2) will ever give this process more rights.
pub fn set_no_new_privileges() -> Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1, "PR_SET_NO_NEW_PRIVS")
}

fn prctl(option: i32, value: i32, name: &str) -> Result<()> {
    // SAFETY: the three options above take one integer and no pointer; the rest must be zero.
    let returned = unsafe { libc::prctl(option, libc::c_long::from(value), 0, 0, 0) };
    check(libc::c_long::from(returned)).map(drop).call(|| format!("prctl({name}, {value})"))
}

/// The name that ps shows.
pub fn set_name(name: &CStr) -> Result<()> {
    rustix::thread::set_name(name).call(|| format!("prctl(PR_SET_NAME, {name:?})"))
}

/// Starts a new session without a terminal.
pub fn new_session() -> Result<()> {
    rustix::process::setsid().map(drop).call(|| "setsid()".to_owned())
}

/// Sets the file mode creation mask.
pub fn set_umask(mask: u32) {
    rustix::process::umask(rustix::fs::Mode::from_bits_truncate(mask));
}

/// Marks every descriptor from `first` on close-on-exec. KERNEL(5.11); before, one by one through `/proc/self/fd`.
pub fn close_on_exec_from(first: u32) -> Result<()> {
    // SAFETY: only sets flags; no descriptor is closed, so none that Rust owns becomes invalid.
    let returned =
        unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    match check(returned) {
        Err(Errno::INVAL | Errno::NOSYS) => close_on_exec_one_by_one(first),
        outcome => outcome.map(drop).call(|| format!("close_range({first}, ~0, CLOEXEC)")),
    }
}

fn close_on_exec_one_by_one(first: u32) -> Result<()> {
    let numbers: Vec<u32> = match std::fs::read_dir("/proc/self/fd") {
        Ok(listing) => listing.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect(),
        // Without a procfs, as many as a process can have open by default.
        Err(_) => (first..1024).collect(),
    };
    for number in numbers.into_iter().filter(|number| *number >= first) {
        // SAFETY: sets a flag on a number; a number that is not open any more is EBADF, which is as good.
        unsafe { libc::syscall(libc::SYS_fcntl, number, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    Ok(())
}

/// The name of the machine, in the caller's UTS namespace.
pub fn set_hostname(name: &str) -> Result<()> {
    rustix::system::sethostname(name.as_bytes()).call(|| format!("sethostname({name:?})"))
}

/// The NIS domain, in the caller's UTS namespace.
pub fn set_domainname(name: &str) -> Result<()> {
    rustix::system::setdomainname(name.as_bytes()).call(|| format!("setdomainname({name:?})"))
}

/// What this process runs from, as the kernel names it: `/` if that is the root of a mount that is nowhere attached.
pub fn own_program() -> Result<String> {
    let name = rustix::fs::readlink("/proc/self/exe", Vec::new())
        .call(|| "readlink(\"/proc/self/exe\")".to_owned())?;
    Ok(name.to_string_lossy().into_owned())
}

/// The id of this process, in its own pid namespace.
pub fn own_id() -> i32 {
    rustix::process::getpid().as_raw_pid()
}

/// Where the process stands, as the kernel sees it: `(unreachable)/…` if that lies outside of its root.
pub fn current_directory() -> Result<String> {
    let path = rustix::process::getcwd(Vec::new()).call(|| "getcwd()".to_owned())?;
    Ok(path.to_string_lossy().into_owned())
}

/// Makes `fd` one of the three standard descriptors.
pub fn set_standard(number: i32, fd: BorrowedFd<'_>) -> Result<()> {
    let done = match number {
        0 => rustix::stdio::dup2_stdin(fd),
        1 => rustix::stdio::dup2_stdout(fd),
        2 => rustix::stdio::dup2_stderr(fd),
        _ => Err(Errno::INVAL),
    };
    done.call(|| format!("dup2({}, {number})", show(&fd)))
}

/// Lets a descriptor survive execve(2).
pub fn keep_on_exec(fd: BorrowedFd<'_>) -> Result<()> {
    rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty())
        .call(|| format!("fcntl({}, F_SETFD)", show(&fd)))
}

/// The words for execve(2), made before they are needed: nothing is allocated between the last check and the call.
#[derive(Clone, Debug)]
pub struct Words {
    words: Vec<CString>,
}

impl Words {
    /// `EINVAL` if a word holds a NUL byte.
    pub fn new<W: Into<Vec<u8>>>(words: impl IntoIterator<Item = W>) -> Result<Self> {
        let words = words.into_iter().map(CString::new).collect::<std::result::Result<_, _>>();
        words
            .map(|words| Self { words })
            .map_err(|_| Error::new("execve(a word with a NUL byte)", Errno::INVAL))
    }

    fn pointers(&self) -> Vec<*const libc::c_char> {
        self.words.iter().map(|word| word.as_ptr()).chain([std::ptr::null()]).collect()
    }
}

/// Becomes another program; returns only what went wrong.
pub fn exec(path: &CStr, arguments: &Words, environment: &Words) -> Error {
    let (argv, envp) = (arguments.pointers(), environment.pointers());
    // SAFETY: all three are NUL-terminated and live until the call returns, which it only does on failure.
    let returned = unsafe { libc::syscall(libc::SYS_execve, path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    Error::new(format!("execve({path:?})"), check(returned).err().unwrap_or(Errno::IO))
}

/// Becomes the program in an open file; returns only what went wrong.
pub fn exec_fd(program: BorrowedFd<'_>, arguments: &Words, environment: &Words) -> Error {
    let (argv, envp) = (arguments.pointers(), environment.pointers());
    // SAFETY: the path is the empty static string; argv and envp are NUL-terminated and outlive the call.
    let returned = unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            c"".as_ptr(),
            argv.as_ptr(),
            envp.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    Error::new(format!("execveat({})", show(&program)), check(returned).err().unwrap_or(Errno::IO))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_process_with_threads_does_not_fork() {
        // The test harness itself runs this in a second thread.
        let refused = spawn(&Spawn::default(), || 0).unwrap_err();
        assert_eq!(refused.errno(), Errno::BUSY);
        assert_eq!(refused.call(), "clone3({flags=CLONE_PIDFD, exit_signal=SIGCHLD})");
        let cgroup = std::fs::File::open("/").unwrap();
        let request = Spawn {
            namespaces: namespace::flags([namespace::Kind::Pid, namespace::Kind::Mount]),
            cgroup: Some(cgroup.as_fd()),
            sibling: true,
            ..Spawn::default()
        };
        let flags = "CLONE_PIDFD|CLONE_PARENT|CLONE_INTO_CGROUP|CLONE_NEWPID|CLONE_NEWNS";
        let call = spawn(&request, || 0).unwrap_err().call().to_owned();
        assert!(call.starts_with(&format!("clone3({{flags={flags}, exit_signal=0, cgroup=")), "{call}");
    }

    #[test]
    fn a_vanished_process_is_seen_through_its_pidfd() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pidfd = open(i32::try_from(child.id()).unwrap()).unwrap();
        assert!(!wait_for_end(pidfd.as_fd(), Some(0)).unwrap());
        send_signal(pidfd.as_fd(), libc::SIGKILL).unwrap();
        assert!(wait_for_end(pidfd.as_fd(), None).unwrap());
        assert_eq!(wait(pidfd.as_fd()).unwrap(), Exit::Signal(libc::SIGKILL));
        assert_eq!(send_signal(pidfd.as_fd(), 0).unwrap_err().errno(), Errno::SRCH);
        drop(child.try_wait());
    }

    #[test]
    fn a_word_with_a_nul_byte_is_refused() {
        assert_eq!(Words::new(["a\0b"]).unwrap_err().errno(), Errno::INVAL);
    }
}
