// SPDX-License-Identifier: Apache-2.0
//! The system calls of a process that reads from pipes and makes files. Everything else does not exist for it: no
//! socket, no execve, no mount, no namespace, no other process, no key, no BPF.

use crate::Result;
use crate::seccomp::{self, Instruction};

/// Allowed whatever their arguments are.
const ALLOWED: &[libc::c_long] = &[
    // Descriptors and what is in them.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_dup3,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_getdents64,
    libc::SYS_fchown,
    libc::SYS_fchmod,
    libc::SYS_fgetxattr,
    libc::SYS_flistxattr,
    libc::SYS_fsetxattr,
    libc::SYS_fremovexattr,
    // Names.
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_readlinkat,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_symlinkat,
    libc::SYS_linkat,
    libc::SYS_unlinkat,
    libc::SYS_fchownat,
    libc::SYS_fchmodat,
    libc::SYS_utimensat,
    libc::SYS_lgetxattr,
    libc::SYS_llistxattr,
    libc::SYS_lsetxattr,
    libc::SYS_lremovexattr,
    // Memory, threads, time, the end.
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_restart_syscall,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getrandom,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_exit,
    libc::SYS_exit_group,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_dup2,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chmod,
];

/// Duplicating and looking, not F_SETOWN, which sends signals.
const FCNTL: [i32; 4] = [libc::F_DUPFD_CLOEXEC, libc::F_GETFD, libc::F_SETFD, libc::F_GETFL];

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

const LOAD: u16 = 0x20;
const IF_EQUAL: u16 = 0x15;
const IF_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;
/// Where struct seccomp_data has them; of an argument the lower half.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const fn argument(nth: u32) -> u32 {
    16 + 8 * nth
}

const KILL_PROCESS: u32 = libc::SECCOMP_RET_KILL_PROCESS;
const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
/// Libraries then do without, or do what was done before there was such a call.
const NO_SUCH_CALL: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

/// For the rest of this process's life and for all threads that it makes. Needs no_new_privs.
pub(super) fn allow_files_only() -> Result<()> {
    seccomp::load(&program(), 0).map(drop)
}

fn program() -> Vec<Instruction> {
    let step = |code, jump_true, jump_false, operand| Instruction { code, jump_true, jump_false, operand };
    let answer = |what| step(RETURN, 0, 0, what);
    let number = |call: libc::c_long| u32::try_from(call).expect("calls are small positive numbers");
    let mut program = vec![
        step(LOAD, 0, 0, ARCH),
        step(IF_EQUAL, 1, 0, ARCHITECTURE),
        answer(KILL_PROCESS),
        step(LOAD, 0, 0, NUMBER),
        // A thread, not a process. clone3 hides its flags behind a pointer, and so does not exist.
        step(IF_EQUAL, 0, 4, number(libc::SYS_clone)),
        step(LOAD, 0, 0, argument(0)),
        step(IF_ANY_BIT, 0, 1, libc::CLONE_THREAD.cast_unsigned()),
        answer(ALLOW),
        answer(NO_SUCH_CALL),
    ];
    let commands = u8::try_from(FCNTL.len()).expect("four");
    program.push(step(IF_EQUAL, 0, commands * 2 + 2, number(libc::SYS_fcntl)));
    program.push(step(LOAD, 0, 0, argument(1)));
    for command in FCNTL {
        program.extend([step(IF_EQUAL, 0, 1, command.cast_unsigned()), answer(ALLOW)]);
    }
    program.push(answer(NO_SUCH_CALL));
    for call in ALLOWED {
        program.extend([step(IF_EQUAL, 0, 1, number(*call)), answer(ALLOW)]);
    }
    program.push(answer(NO_SUCH_CALL));
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the program answers, as the kernel would run it.
    fn run(arch: u32, call: libc::c_long, arguments: [u32; 2]) -> u32 {
        let (program, mut at, mut accumulator) = (program(), 0, 0_u32);
        loop {
            let Instruction { code, jump_true, jump_false, operand } = program[at];
            at += 1;
            let jump = |holds: bool| usize::from(if holds { jump_true } else { jump_false });
            match code {
                LOAD => {
                    accumulator = match operand {
                        NUMBER => u32::try_from(call).unwrap(),
                        ARCH => arch,
                        other => arguments[(other as usize - 16) / 8],
                    }
                }
                IF_EQUAL => at += jump(accumulator == operand),
                IF_ANY_BIT => at += jump(accumulator & operand != 0),
                _ => return operand,
            }
        }
    }

    #[test]
    fn files_and_threads_and_nothing_else() {
        for call in ALLOWED {
            assert_eq!(run(ARCHITECTURE, *call, [0, 0]), ALLOW, "{call}");
        }
        let denied = [
            libc::SYS_socket,
            libc::SYS_execve,
            libc::SYS_execveat,
            libc::SYS_mount,
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_clone3,
            libc::SYS_ptrace,
            libc::SYS_kill,
            libc::SYS_bpf,
            libc::SYS_open_by_handle_at,
            libc::SYS_io_uring_setup,
            libc::SYS_ioctl,
            libc::SYS_prctl,
            0x4000_0000 + libc::SYS_socket,
        ];
        for call in denied {
            assert_eq!(run(ARCHITECTURE, call, [0, 0]), NO_SUCH_CALL, "{call}");
        }
        // int 0x80 has other numbers.
        assert_eq!(run(0x4000_0003, libc::SYS_read, [0, 0]), KILL_PROCESS);
    }

    #[test]
    fn arguments_are_looked_at() {
        let thread = libc::CLONE_THREAD.cast_unsigned();
        assert_eq!(run(ARCHITECTURE, libc::SYS_clone, [thread | 0x100, 0]), ALLOW);
        assert_eq!(run(ARCHITECTURE, libc::SYS_clone, [17, 0]), NO_SUCH_CALL);
        for command in FCNTL {
            assert_eq!(run(ARCHITECTURE, libc::SYS_fcntl, [0, command.cast_unsigned()]), ALLOW);
        }
        assert_eq!(run(ARCHITECTURE, libc::SYS_fcntl, [0, libc::F_SETOWN.cast_unsigned()]), NO_SUCH_CALL);
    }
}
