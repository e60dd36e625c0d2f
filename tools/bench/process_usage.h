#ifndef GROVE_TOOLS_BENCH_PROCESS_USAGE_H_
#define GROVE_TOOLS_BENCH_PROCESS_USAGE_H_

#include <stdint.h>

// What another process uses; -1 if there is no such process.

// The CPU time of all its threads so far: in nanoseconds, to the scheduler's precision
// where the kernel has schedstat, to that of its clock's ticks elsewhere.
int64_t CpuNsOf(int pid);

// How long its threads have stood in line for a core so far; 0 where the kernel does not
// count it. On a quiet machine it hardly grows.
int64_t WaitNsOf(int pid);

// Its resident memory.
int64_t RssKibOf(int pid);

// With its page tables, and what the kernel keeps for each of its threads: a stack of
// 16 KiB (Documentation/arch/x86/kernel-stacks.rst; as many on aarch64) and, as far as it
// tells root alone, its records of threads and mappings.
int64_t FootprintKibOf(int pid);

#endif  // GROVE_TOOLS_BENCH_PROCESS_USAGE_H_
