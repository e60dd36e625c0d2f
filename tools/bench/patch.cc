// Programs that know nothing of grove, under patch/run and without it.

#include <stdlib.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
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

// What patched_calls prints: of a recv(), and of what a mutex takes.
std::pair<double, double> MoreNanoseconds(std::vector<std::string> command) {
  Process process(std::move(command), {.core = CoreNumber(kServerCore)});
  const std::string line = process.ReadLine(absl::Seconds(60));
  process.Wait(absl::Seconds(5));
  char* rest = nullptr;
  const double recv = strtod(line.c_str(), &rest);
  return {recv, strtod(rest, nullptr)};
}

// What a call that does not wait takes longer than the original.
void RunCalls(Run& run) {
  const std::string batches = run.quick ? "100" : "5000";
  const std::string program = FindBinary("tools/bench/patched_calls");
  const auto row = [&](const std::string& name, double limit,
                       const std::vector<double>& more, const std::vector<double>& none) {
    run.table.Add({.name = name,
                   .value = Median(more),
                   .unit = "ns",
                   .target = {Target::kAtMost, limit},
                   .note = Spread(more, absl::StrFormat("over the original; %.2f without "
                                                        "patch/run; ",
                                                        Median(none)))});
  };
  const auto rows = [&](const char* where, double limit,
                        const std::vector<std::string>& patched,
                        const std::vector<std::string>& plain) {
    std::vector<double> recv, mutex, plain_recv, plain_mutex;
    for (int i = 0; i < run.repetitions(); ++i) {
      const auto more = MoreNanoseconds(patched);
      const auto none = MoreNanoseconds(plain);
      recv.push_back(more.first);
      mutex.push_back(more.second);
      plain_recv.push_back(none.first);
      plain_mutex.push_back(none.second);
    }
    row(absl::StrCat("patched recv that does not wait, ", where), limit, recv,
        plain_recv);
    row(absl::StrCat("patched mutex that is free, ", where), limit, mutex, plain_mutex);
  };
  rows("greenlet", 15, {Patch(), program, batches}, {program, batches});
  rows("outside any hub", 5, {Patch(), program, batches, "thread"},
       {program, batches, "thread"});
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
  for (const char* of : {"footprint", "rss"}) {
    const double patched = IdleKib(PatchedThreadServer(), load, connections, of);
    const double native = IdleKib(ThreadServer(), load, connections, of);
    const bool all = of == std::string("footprint");
    run.table.Add(
        {.name = all ? "the same, memory of an idle connection"
                     : "the same, user-space memory only",
         .value = patched,
         .unit = "KiB",
         .target = all ? Target{Target::kRatioAtMost, 1.0 / 3} : Target(),
         .peer = native,
         .ratios = {patched / native},
         .note = all ? "RSS, page tables, 16 KiB of kernel stack per thread" : "RSS"});
  }
}

}  // namespace

std::vector<Benchmark> PatchBenchmarks() {
  return {{"patched_calls", 180, &RunCalls},
          {"patched_thread_server", 240, &RunThreadServer}};
}

}  // namespace grove::bench
