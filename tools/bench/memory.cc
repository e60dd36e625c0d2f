// What a sleeping greenlet costs in memory. Each figure is that of a process of its own,
// in which nothing else has been measured before.

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/sleep.h"
#include "tools/bench/bench.h"
#include "tools/bench/process.h"

namespace grove::bench {
namespace {

// A line like "VmRSS:    1234 kB"; 0 if there is none.
int64_t KibOf(const char* path, const char* key) {
  FILE* f = fopen(path, "r");
  if (f == nullptr) throw BenchError(absl::StrCat("cannot read ", path));
  char line[256];
  long long kib = 0;
  while (fgets(line, sizeof line, f) != nullptr) {
    if (strncmp(line, key, strlen(key)) == 0) {
      if (sscanf(line + strlen(key), ": %lld", &kib) == 1) break;
    }
  }
  fclose(f);
  return kib;
}

int64_t CountMappings() {
  FILE* f = fopen("/proc/self/maps", "r");
  if (f == nullptr) throw BenchError("cannot read /proc/self/maps");
  int64_t lines = 0;
  for (int c; (c = getc(f)) != EOF;) lines += c == '\n';
  fclose(f);
  return lines;
}

struct Usage {
  int64_t rss_kib = KibOf("/proc/self/status", "VmRSS");
  int64_t page_tables_kib = KibOf("/proc/self/status", "VmPTE");
  int64_t mappings = CountMappings();
};

// The first line that says something: a fatal error begins with what went wrong.
std::string FirstLine(const std::string& text) { return text.substr(0, text.find('\n')); }

void RunSleepers(Run& run, int greenlets) {
  const std::string who = absl::StrCat(greenlets, " sleeping greenlets");
  const int64_t available = KibOf("/proc/meminfo", "MemAvailable");
  if (available < int64_t{greenlets} * 6) {
    throw BenchError(absl::StrCat(who, " need some ", int64_t{greenlets} * 6 / 1024,
                                  " MiB; this machine has ", available / 1024));
  }
  Process child({"/proc/self/exe", absl::StrCat("--memory_child=", greenlets)},
                {.capture_stderr = true});
  const std::string output = child.ReadAll(absl::Seconds(90));
  const int status = child.Wait(absl::Seconds(5));
  long long rss_kib, page_tables_kib, mappings;
  if (status != 0 || sscanf(output.c_str(), "rss %lld page_tables %lld mappings %lld",
                            &rss_kib, &page_tables_kib, &mappings) != 3) {
    throw BenchError(absl::StrCat(who, ": status ", status, ": ", FirstLine(output)));
  }
  const bool million = greenlets == 1'000'000;
  run.table.Add({.name = who + ", RSS each",
                 .value = static_cast<double>(rss_kib) / greenlets,
                 .unit = "KiB",
                 .target = {million ? Target::kAtMost : Target::kNone, 4.4}});
  run.table.Add({.name = who + ", page tables",
                 .value = static_cast<double>(page_tables_kib) / greenlets,
                 .unit = "KiB",
                 .note = "each; the kernel's, not part of RSS"});
  run.table.Add({.name = who + ", mappings",
                 .value = static_cast<double>(mappings),
                 .unit = "in all",
                 .target = {million ? Target::kBelow : Target::kNone, 100},
                 .note = "beyond those of the program itself"});
}

void RunMemory100k(Run& run) { RunSleepers(run, run.quick ? 1'000 : 100'000); }
void RunMemory1M(Run& run) { RunSleepers(run, run.quick ? 10'000 : 1'000'000); }

}  // namespace

void RunMemoryChild(int greenlets) {
  HubScope scope;
  Spawn([] { Sleep(absl::Milliseconds(1)); }).Join();  // what is made but once is there
  const Usage before;
  int asleep = 0;
  for (int i = 0; i < greenlets; ++i) {
    Spawn([&asleep] {
      ++asleep;
      Sleep(absl::Hours(1));
    });
  }
  while (asleep < greenlets) Yield();
  const Usage after;
  printf("rss %lld page_tables %lld mappings %lld\n",
         static_cast<long long>(after.rss_kib - before.rss_kib),
         static_cast<long long>(after.page_tables_kib - before.page_tables_kib),
         static_cast<long long>(after.mappings - before.mappings));
  fflush(stdout);
  _exit(0);  // without waking a million greenlets
}

std::vector<Benchmark> MemoryBenchmarks() {
  return {{"memory_100000", 100, &RunMemory100k}, {"memory_1000000", 100, &RunMemory1M}};
}

}  // namespace grove::bench
