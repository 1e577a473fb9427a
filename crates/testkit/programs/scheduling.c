// SPDX-License-Identifier: Apache-2.0
// scheduling PID: what sched_getattr(2) says of a process: policy, flags, nice, runtime, deadline, period.
#include <linux/sched/types.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct sched_attr attr = { .size = sizeof attr };

	if (argc != 2 || syscall(SYS_sched_getattr, atoi(argv[1]), &attr, sizeof attr, 0))
		return 1;
	printf("%u %llu %d %llu %llu %llu\n", attr.sched_policy, (unsigned long long)attr.sched_flags, attr.sched_nice,
	       (unsigned long long)attr.sched_runtime, (unsigned long long)attr.sched_deadline,
	       (unsigned long long)attr.sched_period);
	return 0;
}
