// SPDX-License-Identifier: Apache-2.0
/* Runs a command and does one thing to it, at one system call of one of its processes.
 *
 *   inject WHICH NTH CALL kill  REPORT COMMAND…     SIGKILL instead of the NTH call of process WHICH
 *   inject WHICH NTH CALL ERRNO REPORT COMMAND…     that call is not made and answers with ERRNO (a number)
 *   inject 0 0 -1 count REPORT COMMAND…             nothing; REPORT lists the calls that were made
 *
 * With a CALL other than -1 it is the first from the NTH on that has this number: two runs never are quite the same.
 *
 * Processes are numbered in the order of their birth, the command itself is 0; calls of each from 1. Unlike strace's
 * injection, which counts every kind of call by itself, this reaches each call of each process exactly once. What a
 * child has executed, and everything born of that, are other programs: their calls are no business of this one.
 *
 * REPORT gets a line "<which> <nth> <number of the call>" for every call (count), or for the one that was hit; it
 * stays empty if there was no such call. The status is the command's, 128 + n after signal n. When the command ends
 * so does this, and the kernel lets go of what it has left running (a container).
 *
 * x86-64 only: it reads the call's number from orig_rax. See ptrace(2).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX = 64 };

static struct tracee {
  pid_t pid;
  long calls;  /* entered so far */
  int inside;  /* between entry and exit of a call */
  int failing; /* this call's answer is to be replaced */
  int other;   /* another program by now */
  int unborn;  /* has stopped before its parent's event was seen, and waits for it */
} tracees[MAX];
static int count;
static int started; /* the command has been executed; what this program does in its child does not count */
static int done;
static pid_t killed;  /* until its end was seen */
static FILE *report;

static struct tracee *find(pid_t pid) {
  for (int i = 0; i < count; i++)
    if (tracees[i].pid == pid) return &tracees[i];
  if (count == MAX) _exit(125);
  tracees[count] = (struct tracee){.pid = pid};
  return &tracees[count++];
}

static int is_known(pid_t pid) {
  for (int i = 0; i < count; i++)
    if (tracees[i].pid == pid) return 1;
  return 0;
}

/* A child is what its parent was. If it has waited for this, it may go on. */
static void born(struct tracee *parent) {
  unsigned long child = 0;
  ptrace(PTRACE_GETEVENTMSG, parent->pid, 0, &child);
  struct tracee *one = find((pid_t)child);
  one->other = parent->other;
  if (one->unborn) ptrace(PTRACE_SYSCALL, one->pid, 0, 0);
  one->unborn = 0;
}

static void poke(pid_t pid, size_t offset, long value) {
  ptrace(PTRACE_POKEUSER, pid, (void *)offset, (void *)value);
}

/* At the entry of a call, and at its exit. */
static void syscall_stop(struct tracee *one, int which, long nth, long call, const char *action) {
  long number = ptrace(PTRACE_PEEKUSER, one->pid, (void *)offsetof(struct user_regs_struct, orig_rax), 0);
  one->inside = !one->inside;
  if (!one->inside) {
    if (one->failing) poke(one->pid, offsetof(struct user_regs_struct, rax), -atol(action));
    one->failing = 0;
    return;
  }
  if (!started || one->other) return;
  one->calls++;
  int counting = strcmp(action, "count") == 0;
  int hit = !done && one - tracees == which && one->calls >= nth && (call < 0 || call == number);
  if (counting || hit) {
    fprintf(report, "%d %ld %ld\n", (int)(one - tracees), one->calls, number);
    fflush(report);
  }
  if (counting || !hit) return;
  done = 1;
  if (strcmp(action, "kill") == 0) {
    killed = one->pid;
    kill(killed, SIGKILL);
  } else {
    one->failing = 1;
    poke(one->pid, offsetof(struct user_regs_struct, orig_rax), -1);
  }
}

int main(int argc, char **argv) {
  if (argc < 7) return 126;
  int which = atoi(argv[1]);
  long nth = atol(argv[2]), call = atol(argv[3]);
  report = fopen(argv[5], "we");
  int gate[2];
  if (!report || pipe(gate)) return 126;
  pid_t command = fork();
  if (command == 0) {
    char byte;
    close(gate[1]);
    if (read(gate[0], &byte, 1) != 1) _exit(126);
    close(gate[0]);
    execv(argv[6], argv + 6);
    _exit(127);
  }
  long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
                 PTRACE_O_TRACECLONE;
  if (ptrace(PTRACE_SEIZE, command, 0, (void *)options)) return 126;
  find(command);
  if (write(gate[1], "", 1) != 1) return 126;
  close(gate[0]);
  close(gate[1]);
  int code = -1;
  /* It runs until its next stop; from here on it stops at every call. */
  ptrace(PTRACE_INTERRUPT, command, 0, 0);
  for (;;) {
    int status;
    pid_t pid = waitpid(-1, &status, __WALL);
    if (pid < 0) return 125;
    int known = is_known(pid);
    struct tracee *one = find(pid);
    if (WIFEXITED(status) || WIFSIGNALED(status)) {
      if (pid == command) code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      if (pid == killed) killed = 0;
      /* Whoever looks then shall not meet a process that is only just dying. */
      if (code >= 0 && !killed) return code;
      continue;
    }
    if (!known) {
      one->unborn = 1;
      continue;
    }
    int event = status >> 16, stopped_by = WSTOPSIG(status), deliver = 0;
    if (stopped_by == (SIGTRAP | 0x80)) {
      syscall_stop(one, which, nth, call, argv[4]);
    } else if (event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_VFORK || event == PTRACE_EVENT_CLONE) {
      born(one);
    } else if (event == PTRACE_EVENT_EXEC) {
      started = 1;
      one->other = pid != command;
    } else if (event == 0) {
      deliver = stopped_by;
    }
    ptrace(PTRACE_SYSCALL, pid, 0, (void *)(long)deliver);
  }
}
