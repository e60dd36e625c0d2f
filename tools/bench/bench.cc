// grove's benchmarks: ./tools/bazel run --config=opt //tools/bench -- [flags]

#include "tools/bench/bench.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

ABSL_FLAG(std::string, json, "", "also write the table to this file, as JSON");
ABSL_FLAG(std::string, only, "", "run only benchmarks whose name contains this");
ABSL_FLAG(bool, quick, false, "much less work: shows that all runs, not how fast");
ABSL_FLAG(int, pairs, 7, "how often to take each figure, and each pair of figures");
ABSL_FLAG(bool, strace, false, "print the echo server's system calls under load instead");
// Not for everyday use.
ABSL_FLAG(std::string, grove_server, "",
          "an echo server's command, split at spaces, in place of grove's own");
ABSL_FLAG(int, memory_child, 0, "internal: be a child process of the memory benchmarks");

namespace grove::bench {
namespace {

// What OnAlarm() says; a signal handler cannot put it together.
char alarm_text[160];

void OnAlarm(int) {
  // Children end with us (see Process).
  if (write(STDERR_FILENO, alarm_text, strlen(alarm_text)) < 0) _exit(3);
  _exit(3);
}

void StartWatchdog(const char* name, int seconds) {
  snprintf(alarm_text, sizeof alarm_text,
           "bench: '%s' has taken more than %d s; something hangs\n", name, seconds);
  signal(SIGALRM, &OnAlarm);
  alarm(static_cast<unsigned>(seconds));
}

std::vector<Benchmark> AllBenchmarks() {
  std::vector<Benchmark> all;
  for (const auto& list :
       {MicroBenchmarks(), SyncBenchmarks(), TimerBenchmarks(), CrossHubBenchmarks(),
        SubprocessBenchmarks(), MemoryBenchmarks(), EchoBenchmarks(), TlsBenchmarks(),
        HttpBenchmarks(), WebSocketBenchmarks(), GrpcBenchmarks(), SocketBenchmarks(),
        PatchBenchmarks()}) {
    all.insert(all.end(), list.begin(), list.end());
  }
  return all;
}

void WriteJson(std::string path, const std::string& text) {
  // `bazel run` starts us elsewhere than where the user is.
  const char* users_directory = getenv("BUILD_WORKING_DIRECTORY");
  if (users_directory != nullptr && !absl::StartsWith(path, "/")) {
    path = absl::StrCat(users_directory, "/", path);
  }
  FILE* file = fopen(path.c_str(), "w");
  if (file == nullptr) throw BenchError("cannot write " + path);
  const bool written = fwrite(text.data(), 1, text.size(), file) == text.size();
  if (fclose(file) != 0 || !written) throw BenchError("cannot write " + path);
}

int Main() {
  Table table;
  Run run = {.quick = absl::GetFlag(FLAGS_quick),
             .pairs = absl::GetFlag(FLAGS_pairs),
             .grove_server = absl::GetFlag(FLAGS_grove_server),
             .table = table};
  if (run.pairs < 1 || run.pairs > 1000) throw BenchError("--pairs is out of range");
  if (absl::GetFlag(FLAGS_strace)) {
    StartWatchdog("strace", 60);
    RunStrace(run);
    return 0;
  }
  double load = 0;
  if (getloadavg(&load, 1) == 1 && load > 0.5 && !run.quick) {
    fprintf(stderr, "bench: others use this machine (load average %.2f): expect noise\n",
            load);
  }
  for (const Benchmark& benchmark : AllBenchmarks()) {
    if (!absl::StrContains(benchmark.name, absl::GetFlag(FLAGS_only))) continue;
    // The limits are for the default number of pairs.
    StartWatchdog(benchmark.name, benchmark.max_seconds * (1 + run.pairs / 7));
    try {
      benchmark.run(run);
    } catch (const BenchError& e) {
      table.AddError(benchmark.name, e.what());
    }
    alarm(0);
  }
  if (table.empty()) {
    fprintf(stderr, "bench: no benchmark contains '%s'; there are:\n",
            absl::GetFlag(FLAGS_only).c_str());
    for (const Benchmark& b : AllBenchmarks()) fprintf(stderr, "  %s\n", b.name);
    return 2;
  }
  const std::string json = absl::GetFlag(FLAGS_json);
  if (!json.empty()) WriteJson(json, table.Json(run.quick, run.pairs));
  return table.has_errors() ? 1 : 0;
}

}  // namespace
}  // namespace grove::bench

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage(
      "grove's benchmarks; docs/benchmarks.md explains the table.\n"
      "  ./tools/bazel run --config=opt //tools/bench -- [flags]");
  absl::ParseCommandLine(argc, argv);
  if (const int n = absl::GetFlag(FLAGS_memory_child); n > 0) {
    grove::bench::RunMemoryChild(n);
  }
  try {
    return grove::bench::Main();
  } catch (const grove::bench::BenchError& e) {
    fprintf(stderr, "bench: %s\n", e.what());
    return 1;
  }
}
