/* SPDX-License-Identifier: Apache-2.0
 *
 * hijack PID: takes a process over, as an attacker would who has found a hole in a decompressor, and lets it try to get
 * out. Each line is what was tried, and what the kernel answered: a negative errno, or what was gained.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t victim;
static struct user_regs_struct before;
static long memory;

static void check(int good, const char *what) {
    if (good) return;
    perror(what);
    exit(1);
}

/* The victim makes one system call, by the instruction that it has just made one with. */
static long call(long number, long a, long b, long c, long d, long e, long f) {
    struct user_regs_struct regs = before;
    regs.rip = before.rip - 2;
    regs.orig_rax = -1;
    regs.rax = number;
    regs.rdi = a, regs.rsi = b, regs.rdx = c, regs.r10 = d, regs.r8 = e, regs.r9 = f;
    check(ptrace(PTRACE_SETREGS, victim, 0, &regs) == 0, "SETREGS");
    check(ptrace(PTRACE_SINGLESTEP, victim, 0, 0) == 0, "SINGLESTEP");
    int status;
    check(waitpid(victim, &status, __WALL) == victim && WIFSTOPPED(status), "the victim died");
    check(ptrace(PTRACE_GETREGS, victim, 0, &regs) == 0, "GETREGS");
    return regs.rax;
}

/* Puts words into the victim's memory, one behind the other. */
static long words(const char *text) {
    static long used;
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/mem", victim);
    int mem = open(path, O_RDWR);
    check(mem >= 0, path);
    long at = memory + used;
    size_t length = strlen(text) + 1;
    check(pwrite(mem, text, length, at) == (ssize_t)length, "write into the victim");
    close(mem);
    used += (length + 15) & ~15L;
    return at;
}

static void try(const char *what, long number, long a, long b, long c, long d, long e) {
    printf("%s: %ld\n", what, call(number, a, b, c, d, e, 0));
}

static void files(void) {
    static const char *paths[] = {
        "/etc/passwd", "../etc/passwd", "../../../../../../etc/passwd", "/proc/self/root/etc/passwd",
        "/proc/self/exe", "/proc/1/root/etc/passwd", "/proc/sys/kernel/core_pattern", "/dev/null", "/tmp",
    };
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        char what[128];
        for (int fd = AT_FDCWD; fd < 16; fd = fd < 0 ? 0 : fd + 1) {
            if (paths[i][0] == '/' && fd >= 0) break;
            snprintf(what, sizeof what, "openat(%d, %s)", fd, paths[i]);
            try(what, SYS_openat, fd, words(paths[i]), O_RDONLY, 0, 0);
        }
    }
    long root = words("/intruder");
    try("create below the root", SYS_openat, AT_FDCWD, root, O_CREAT | O_WRONLY, 0600, 0);
    try("mkdir below the root", SYS_mkdirat, AT_FDCWD, root, 0700, 0, 0);
    /* The directory is descriptor 2. */
    long device = words("device");
    call(SYS_mknodat, 2, device, S_IFCHR | 0666, makedev(1, 3), 0, 0);
    try("open a device", SYS_openat, 2, device, O_RDWR, 0, 0);
    call(SYS_unlinkat, 2, device, 0, 0, 0, 0);
}

static void kernel(void) {
    long parent = words("/proc/self/exe"), dot = words("."), tmpfs = words("tmpfs");
    try("socket(AF_INET)", SYS_socket, AF_INET, SOCK_STREAM, 0, 0, 0);
    try("socket(AF_UNIX)", SYS_socket, AF_UNIX, SOCK_STREAM, 0, 0, 0);
    try("socket(AF_NETLINK)", SYS_socket, AF_NETLINK, SOCK_RAW, 0, 0, 0);
    try("socketpair", SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, memory, 0);
    try("execve", SYS_execve, parent, 0, 0, 0, 0);
    try("execveat", SYS_execveat, AT_FDCWD, parent, 0, 0, 0);
    try("fork", SYS_fork, 0, 0, 0, 0, 0);
    try("clone", SYS_clone, SIGCHLD, 0, 0, 0, 0);
    try("clone3", SYS_clone3, memory, 88, 0, 0, 0);
    try("unshare", SYS_unshare, CLONE_NEWUSER, 0, 0, 0, 0);
    try("setns", SYS_setns, 2, 0, 0, 0, 0);
    try("mount", SYS_mount, tmpfs, dot, tmpfs, 0, 0);
    try("umount", SYS_umount2, dot, MNT_DETACH, 0, 0, 0);
    try("open_tree", SYS_open_tree, 2, dot, 1, 0, 0);
    try("fsopen", SYS_fsopen, tmpfs, 0, 0, 0, 0);
    try("chroot", SYS_chroot, dot, 0, 0, 0, 0);
    try("pivot_root", SYS_pivot_root, dot, dot, 0, 0, 0);
    try("open_by_handle_at", SYS_open_by_handle_at, 2, memory, 0, 0, 0);
    try("kill", SYS_kill, getppid(), 0, 0, 0, 0);
    try("kill init", SYS_kill, 1, 0, 0, 0, 0);
    try("pidfd_open", SYS_pidfd_open, 1, 0, 0, 0, 0);
    try("ptrace", SYS_ptrace, PTRACE_ATTACH, 1, 0, 0, 0);
    try("process_vm_readv", SYS_process_vm_readv, 1, memory, 1, memory, 1);
    try("fcntl(F_SETOWN)", SYS_fcntl, 0, F_SETOWN, 1, 0, 0);
    try("ioctl", SYS_ioctl, 0, 0x5401, memory, 0, 0);
    try("bpf", SYS_bpf, 0, memory, 64, 0, 0);
    try("perf_event_open", SYS_perf_event_open, memory, 0, -1, -1, 0);
    try("io_uring_setup", SYS_io_uring_setup, 1, memory, 0, 0, 0);
    try("userfaultfd", SYS_userfaultfd, 0, 0, 0, 0, 0);
    try("keyctl", SYS_keyctl, 0, -3, 0, 0, 0);
    try("memfd_create", SYS_memfd_create, tmpfs, 0, 0, 0, 0);
    try("init_module", SYS_init_module, memory, 0, tmpfs, 0, 0);
    try("reboot", SYS_reboot, 0, 0, 0, 0, 0);
    try("setuid", SYS_setuid, 0, 0, 0, 0, 0);
    try("capset", SYS_capset, memory, memory, 0, 0, 0);
    try("prctl", SYS_prctl, 4, 1, 0, 0, 0);
    try("seccomp", SYS_seccomp, 0, 0, 0, 0, 0);
    try("personality", SYS_personality, 0xffffffff, 0, 0, 0, 0);
}

int main(int argc, char **argv) {
    check(argc == 2, "hijack PID");
    victim = atoi(argv[1]);
    int status;
    check(ptrace(PTRACE_ATTACH, victim, 0, 0) == 0, "attach");
    check(waitpid(victim, &status, __WALL) == victim && WIFSTOPPED(status), "wait");
    check(ptrace(PTRACE_GETREGS, victim, 0, &before) == 0, "GETREGS");
    memory = call(SYS_mmap, 0, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(memory > 0, "mmap in the victim");
    long mark = words("hijacked");
    printf("control, a file of its own: %ld\n", call(SYS_openat, 2, mark, O_CREAT | O_WRONLY, 0600, 0, 0));
    call(SYS_unlinkat, 2, mark, 0, 0, 0, 0);
    files();
    kernel();
    /* On with what it was doing: the call is made once more if it was broken off, and not if it had its answer. */
    if ((long)before.rax <= -512 && (long)before.rax >= -516) {
        before.rip -= 2;
        before.rax = before.orig_rax;
    }
    before.orig_rax = -1;
    check(ptrace(PTRACE_SETREGS, victim, 0, &before) == 0, "SETREGS");
    return ptrace(PTRACE_DETACH, victim, 0, 0) != 0;
}
