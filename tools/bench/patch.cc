// Programs that know nothing of grove, under patch/run and without it.

#include <stdlib.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tools/bench/bench.h"
#include "tools/bench/hub_thread.h"
#include "tools/bench/load.h"
#include "tools/bench/process.h"

namespace grove::bench {
namespace {

constexpr int kBytes = 512;  // as echo.cc's

std::string Patch() { return FindBinary("patch/run"); }
std::vector<std::string> ThreadServer() {
  return AtAnyPort({FindBinary("patch/programs/thread_server")});
}
std::vector<std::string> PatchedThreadServer() {
  return AtAnyPort({Patch(), FindBinary("patch/programs/thread_server")});
}

double NanosecondsOf(std::vector<std::string> command) {
  Process process(std::move(command), {.core = CoreNumber(kServerCore)});
  const std::string line = process.ReadLine(absl::Seconds(60));
  process.Wait(absl::Seconds(5));
  return atof(line.c_str());
}

// What a call that does not wait takes longer than the original.
void RunCalls(Run& run) {
  const std::string rounds = run.quick ? "100000" : "5000000";
  const std::string program = FindBinary("tools/bench/patched_calls");
  std::vector<double> original, greenlet, thread, native_thread;
  for (int i = 0; i < run.repetitions(); ++i) {
    original.push_back(NanosecondsOf({program, rounds}));
    greenlet.push_back(NanosecondsOf({Patch(), program, rounds}));
    native_thread.push_back(NanosecondsOf({program, rounds, "thread"}));
    // With its threads left alone, one that has no hub.
    thread.push_back(NanosecondsOf({Patch(), "--no-thread", program, rounds, "thread"}));
  }
  const auto row = [&](const char* name, double limit, const std::vector<double>& patched,
                       const std::vector<double>& plain) {
    std::vector<double> more;
    for (size_t i = 0; i < patched.size(); ++i) more.push_back(patched[i] - plain[i]);
    run.table.Add(
        {.name = name,
         .value = Median(more),
         .unit = "ns",
         .target = {Target::kAtMost, limit},
         .note = Spread(more, absl::StrCat("over the original's ",
                                           static_cast<int>(Median(plain)), " ns; "))});
  };
  row("patched call that does not wait", 15, greenlet, original);
  row("patched call outside any hub", 5, thread, native_thread);
}

void RunThreadServer(Run& run) {
  const int connections = 1'000;
  const Load load = {.flags = {absl::StrCat("--connections=", connections),
                               absl::StrCat("--bytes=", kBytes)}};
  const Pairs pairs = MeasurePairs(run, PatchedThreadServer(), ThreadServer(), load);
  Row row = RowOf(
      "thread-per-connection server, 1,000 connections, CPU per request", "us",
      [](const Echo& e) { return e.cpu_us; }, pairs);
  row.target = {Target::kRatioAtMost, 1};
  row.note = WithWait(absl::StrCat("patch/run beside native threads; ", row.note), pairs);
  run.table.Add(row);
  const double patched = IdleKib(PatchedThreadServer(), load, connections);
  const double native = IdleKib(ThreadServer(), load, connections);
  run.table.Add(
      {.name = "the same, memory of an idle connection",
       .value = patched,
       .unit = "KiB",
       .peer = native,
       .note = "RSS; a native thread has 16 KiB and more of the kernel's besides"});
}

}  // namespace

std::vector<Benchmark> PatchBenchmarks() {
  return {{"patched_calls", 180, &RunCalls},
          {"patched_thread_server", 240, &RunThreadServer}};
}

}  // namespace grove::bench
