#include "tools/bench/process_usage.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int64_t ReadNumber(const char* path, const char* format) {
  FILE* f = fopen(path, "r");
  if (f == NULL) return -1;
  long long value = -1;
  char line[512];
  while (fgets(line, sizeof line, f) != NULL) {
    if (sscanf(line, format, &value) == 1) break;
  }
  fclose(f);
  return value;
}

// The sum over all threads of what `format` finds in their schedstat; 0 if the kernel
// does not count, -1 if there is no such process.
static int64_t SumOfThreads(int pid, const char* format) {
  char path[320];
  snprintf(path, sizeof path, "/proc/%d/task", pid);
  DIR* tasks = opendir(path);
  if (tasks == NULL) return -1;
  int64_t sum = 0;
  for (const struct dirent* task; (task = readdir(tasks)) != NULL;) {
    if (task->d_name[0] == '.') continue;
    snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", pid, task->d_name);
    const int64_t ns = ReadNumber(path, format);
    if (ns > 0) sum += ns;
  }
  closedir(tasks);
  return sum;
}

int64_t WaitNsOf(int pid) { return SumOfThreads(pid, "%*d %lld"); }

int64_t CpuNsOf(int pid) {
  const int64_t sum = SumOfThreads(pid, "%lld");
  if (sum != 0) return sum;

  char path[64];
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  FILE* f = fopen(path, "r");
  if (f == NULL) return -1;
  char text[2048];
  const size_t n = fread(text, 1, sizeof text - 1, f);
  fclose(f);
  text[n] = '\0';
  unsigned long long user = 0, system = 0;
  const char* rest = strrchr(text, ')');  // the name before it may contain anything
  if (rest == NULL ||
      sscanf(rest, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user,
             &system) != 2) {
    return -1;
  }
  return (int64_t)((user + system) * (1000000000ull / (uint64_t)sysconf(_SC_CLK_TCK)));
}

int64_t RssKibOf(int pid) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/status", pid);
  return ReadNumber(path, "VmRSS: %lld");
}

int64_t FootprintKibOf(int pid) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/status", pid);
  return RssKibOf(pid) + ReadNumber(path, "VmPTE: %lld") +
         16 * ReadNumber(path, "Threads: %lld");
}
