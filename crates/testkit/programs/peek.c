// SPDX-License-Identifier: Apache-2.0
/* A hostile process in a container: waits for processes that appear beside it (an `exec` that comes in) and tries to
 * get hold of each before it has become the program: to trace it, to read its memory, to walk into its root, its
 * working directory and its descriptors, and to open the program that it runs.
 *
 *   peek PROGRAM     PROGRAM is the name (comm) that a victim has once it is the container's own
 *
 * Prints one line for each victim that it got hold of under another name: "<what> <name of the victim>". "seen N" is
 * printed on SIGTERM: how many processes it met before they were PROGRAM; a race that met nobody proves nothing.
 * It does not look at itself and at process 1.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t ended;

static void end(int number) {
  (void)number;
  ended = 1;
}

static int name_of(int pid, char *name, size_t size) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/comm", pid);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  ssize_t length = read(fd, name, size - 1);
  close(fd);
  if (length <= 0) return 0;
  name[length] = 0;
  name[strcspn(name, "\n")] = 0;
  return 1;
}

/* What it got hold of, if the victim still was no program of the container after that. */
static void report(const char *what, int pid, const char *program) {
  char name[32];
  if (name_of(pid, name, sizeof name) && strcmp(name, program) != 0) {
    printf("%s %s\n", what, name);
    fflush(stdout);
  }
}

static void try(int pid, const char *file, int flags, const char *program) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
  int fd = open(path, flags | O_CLOEXEC);
  if (fd < 0) return;
  report(file, pid, program);
  close(fd);
}

int main(int argc, char **argv) {
  if (argc < 2) return 2;
  signal(SIGTERM, end);
  int self = getpid(), last = 0;
  long seen = 0;
  while (!ended) {
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    while (proc && (entry = readdir(proc))) {
      int pid = atoi(entry->d_name);
      char name[32];
      if (pid <= 1 || pid == self || !name_of(pid, name, sizeof name) || strcmp(name, argv[1]) == 0) continue;
      if (pid != last) seen++;
      last = pid;
      if (ptrace(PTRACE_SEIZE, pid, 0, 0) == 0) {
        report("ptrace", pid, argv[1]);
        ptrace(PTRACE_INTERRUPT, pid, 0, 0);
        waitpid(pid, 0, __WALL);
        ptrace(PTRACE_DETACH, pid, 0, 0);
      }
      try(pid, "mem", O_RDWR, argv[1]);
      try(pid, "environ", O_RDONLY, argv[1]);
      try(pid, "exe", O_RDONLY, argv[1]);
      try(pid, "root", O_PATH, argv[1]);
      try(pid, "cwd", O_PATH, argv[1]);
      try(pid, "fd/3", O_PATH, argv[1]);
      try(pid, "ns/mnt", O_RDONLY, argv[1]);
    }
    if (proc) closedir(proc);
  }
  printf("seen %ld\n", seen);
  return 0;
}
