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

// What the kernel takes for one object of that kind, of whole pages (slabinfo(5)); 0 if it
// does not tell, as it does nobody but root.
static double SlabKib(const char* kind) {
  FILE* f = fopen("/proc/slabinfo", "r");
  if (f == NULL) return 0;
  double kib = 0;
  char line[512], name[64];
  int objects, pages;
  while (fgets(line, sizeof line, f) != NULL) {
    if (sscanf(line, "%63s %*d %*d %*d %d %d", name, &objects, &pages) == 3 &&
        strcmp(name, kind) == 0 && objects > 0) {
      kib = (double)pages * (double)sysconf(_SC_PAGESIZE) / 1024 / objects;
    }
  }
  fclose(f);
  return kib;
}

static int64_t CountLines(const char* path) {
  FILE* f = fopen(path, "r");
  if (f == NULL) return 0;
  int64_t lines = 0;
  for (int c; (c = getc(f)) != EOF;) lines += c == '\n';
  fclose(f);
  return lines;
}

int64_t FootprintKibOf(int pid) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/maps", pid);
  const int64_t mappings = CountLines(path);
  snprintf(path, sizeof path, "/proc/%d/status", pid);
  const int64_t threads = ReadNumber(path, "Threads: %lld");
  const double per_thread = 16 + SlabKib("task_struct") + SlabKib("pid");
  return RssKibOf(pid) + ReadNumber(path, "VmPTE: %lld") +
         (int64_t)(per_thread * (double)threads +
                   SlabKib("vm_area_struct") * (double)mappings);
}
