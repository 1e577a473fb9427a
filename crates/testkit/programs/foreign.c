// SPDX-License-Identifier: Apache-2.0
/* Makes dangerous system calls by every door there is to the kernel: the 64-bit one, `int $0x80` with the numbers of
 * i386, and x32. Each line of the output is "<abi> <call> <errno>", 0 for success; "dead" instead of the number for a
 * process that a filter has killed. Arguments are such that a call that is let through says so without harm.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static long native(long number, long a, long b, long c) {
  long result;
  register long d __asm__("r10") = 0;
  register long e __asm__("r8") = 0;
  __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(d), "r"(e) : "rcx", "r11", "memory");
  return result;
}

static long i386(long number, long a, long b, long c) {
  long result;
  __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c), "S"(0L), "D"(0L)
                   : "r8", "r9", "r10", "r11", "memory");
  return result;
}

static long x32(long number, long a, long b, long c) { return native(number | 0x40000000, a, b, c); }

/* By name: the number on x86-64 and on i386, and three arguments. */
static const struct {
  const char *name;
  long native, i386, a, b, c;
} calls[] = {
    {"getpid", 39, 20, 0, 0, 0}, /* the control: allowed */
    {"socket(AF_ALG)", 41, 359, 38, 5, 0},
    {"socket(AF_VSOCK)", 41, 359, 40, 1, 0},
    {"socketcall", -1, 102, 1, 0, 0},
    {"keyctl", 250, 288, 0, -3, 0},
    {"add_key", 248, 286, 0, 0, 0},
    {"request_key", 249, 287, 0, 0, 0},
    {"bpf", 321, 357, 0, 0, 0},
    {"userfaultfd", 323, 374, 0, 0, 0},
    {"io_uring_setup", 425, 425, 0, 0, 0},
    {"perf_event_open", 298, 336, 0, 0, 0},
    {"mount", 165, 21, 0, 0, 0},
    {"umount2", 166, 52, 0, 0, 0},
    {"pivot_root", 155, 217, 0, 0, 0},
    {"fsopen", 430, 430, 0, 0, 0},
    {"open_tree", 428, 428, -1, 0, 0},
    {"unshare(NEWUSER)", 272, 310, 0x10000000, 0, 0},
    {"setns", 308, 346, -1, 0, 0},
    {"clone(NEWUSER)", 56, 120, 0x10000000 | 17, 0, 0},
    {"clone3", 435, 435, 0, 0, 0},
    {"open_by_handle_at", 304, 342, -1, 0, 0},
    {"kexec_load", 246, 283, 0, -1, 0},
    {"init_module", 175, 128, 0, 0, 0},
    {"delete_module", 176, 129, 0, 0, 0},
    {"personality(bits)", 135, 136, 0x0040000, 0, 0},
    {"swapon", 167, 87, 0, 0, 0},
    {"reboot", 169, 88, 0, 0, 0},
    {"ptrace(bad)", 101, 26, 0x9999, 0, 0},
    {"quotactl", 179, 131, -1, 0, 0},
    {"acct", 163, 51, 1, 0, 0},
    {"settimeofday", 164, 79, 1, 0, 0},
    {"nfsservctl", 180, 169, 0, 0, 0},
    {"lookup_dcookie", 212, 253, 0, 0, 0},
    {"move_pages", 279, 317, 0, 0, 0},
    {"iopl", 172, 110, 3, 0, 0},
};

static void probe(const char *abi, const char *name, long (*call)(long, long, long, long), long number, long a,
                  long b, long c) {
  int answer[2];
  if (pipe(answer)) _exit(1);
  pid_t child = fork();
  if (child == 0) {
    pid_t self = getpid();
    long result = call(number, a, b, c);
    /* A process that the call has made is nobody's business here. */
    if (getpid() != self) _exit(0);
    if (write(answer[1], &result, sizeof result) != sizeof result) _exit(1);
    _exit(0);
  }
  close(answer[1]);
  long result;
  int said = read(answer[0], &result, sizeof result) == sizeof result;
  close(answer[0]);
  waitpid(child, 0, 0);
  if (said)
    printf("%s %s %ld\n", abi, name, result < 0 ? -result : 0);
  else
    printf("%s %s dead\n", abi, name);
  fflush(stdout);
}

int main(void) {
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
    if (calls[i].native >= 0) {
      probe("x86_64", calls[i].name, native, calls[i].native, calls[i].a, calls[i].b, calls[i].c);
      probe("x32", calls[i].name, x32, calls[i].native, calls[i].a, calls[i].b, calls[i].c);
    }
    probe("i386", calls[i].name, i386, calls[i].i386, calls[i].a, calls[i].b, calls[i].c);
  }
  return 0;
}
