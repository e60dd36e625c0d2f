// grove's echo server beside one by hand, under the same load, on the same core, in turn.

#include <signal.h>
#include <stdio.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "tools/bench/bench.h"
#include "tools/bench/hub_thread.h"
#include "tools/bench/load.h"
#include "tools/bench/process.h"

namespace grove::bench {
namespace {

constexpr int kBytes = 512;

Load EchoLoad(int connections) {
  return {.flags = {absl::StrCat("--connections=", connections),
                    absl::StrCat("--bytes=", kBytes)}};
}

std::vector<std::string> EchoLoadCommand(const Server& server, int connections) {
  const Load load = EchoLoad(connections);
  return LoadCommand(load.binary, server, load.flags);
}

// --- under load
// ---------------------------------------------------------------------------

void RunEcho(Run& run, int connections, Target target) {
  const Pairs pairs =
      MeasurePairs(run, GroveServer(run), RawServer(), EchoLoad(connections));
  const std::string name = absl::StrCat(
      "echo, ", connections, connections == 1 ? " connection" : " connections");
  const auto row = [&](const char* what, const char* unit, double Echo::*member) {
    return RowOf(
        name + what, unit, [=](const Echo& e) { return e.*member; }, pairs);
  };
  Row cpu = row(", CPU per request", "us", &Echo::cpu_us);
  cpu.target = target;
  cpu.note = WithWait(cpu.note, pairs);
  run.table.Add(cpu);
  run.table.Add(row(", rate", "requests/s", &Echo::requests_per_s));
  run.table.Add(row(", p50", "us", &Echo::p50_us));
  run.table.Add(row(", p99", "us", &Echo::p99_us));
  run.table.Add(row(", p99.9", "us", &Echo::p999_us));
}

void RunEcho1(Run& run) { RunEcho(run, 1, {}); }
void RunEcho100(Run& run) { RunEcho(run, 100, {Target::kRatioAtMost, 1.05}); }
void RunEcho1000(Run& run) { RunEcho(run, 1'000, {Target::kRatioAtMost, 1.05}); }
void RunEcho10000(Run& run) { RunEcho(run, 10'000, {Target::kRatioAtMost, 1.2}); }

// One hub and two, both free to use all cores, of which the load keeps one busy; and the
// same of the server by hand, which shows what of it is the machine's.
void RunEchoTwoHubs(Run& run) {
  constexpr int kConnections = 100;
  constexpr int kAnyCore = -1;
  const std::string server = FindBinary("examples/echo_server");
  std::vector<std::string> raw = RawServer();
  std::vector<std::string> raw_two = raw;
  raw_two.push_back("--threads=2");
  Pairs hubs, threads;  // two, one
  const auto measure = [&](std::vector<Echo>& into, std::vector<std::string> command) {
    into.push_back(
        MeasureEcho(run, std::move(command), EchoLoad(kConnections), kAnyCore));
  };
  for (int i = 0; i < run.repetitions(); ++i) {
    for (int k = 0; k < 2; ++k) {
      if ((i + k) % 2 == 0) {
        measure(hubs.raw, AtAnyPort({server, "--hubs=1"}));
        measure(threads.raw, raw);
      } else {
        measure(hubs.grove, AtAnyPort({server, "--hubs=2"}));
        measure(threads.grove, raw_two);
      }
    }
  }
  const auto row = [&](const char* name, const char* peer, const Pairs& pairs) {
    Row r = RowOf(
        name, "us", [](const Echo& e) { return e.cpu_us; }, pairs);
    r.note = Spread(r.ratios, absl::StrCat("the peer is ", peer, "; ratios "));
    return r;
  };
  Row two_hubs = row("echo on two hubs, CPU per request", "one hub", hubs);
  two_hubs.target = {Target::kRatioAtMost, 1};
  run.table.Add(two_hubs);
  run.table.Add(
      row("  the same by hand, two threads", "one thread of the same", threads));
}

// --- idle
// ---------------------------------------------------------------------------------

void RunIdle(Run& run) {
  const int connections = run.quick ? 1'000 : 10'000;
  const double grove = IdleKib(GroveServer(run), EchoLoad(connections), connections);
  const double raw = IdleKib(RawServer(), EchoLoad(connections), connections);
  run.table.Add({.name = absl::StrCat(connections, " idle connections, server's RSS"),
                 .value = grove,
                 .unit = "KiB",
                 .target = {Target::kAtMost, 5},
                 .peer = raw,
                 .note = "each, after one request; the kernel's share is not in it"});
}

}  // namespace

void RunStrace(const Run& run) {
  constexpr int kConnections = 100;
  Server server(GroveServer(run), CoreNumber(kServerCore));
  std::vector<std::string> command = EchoLoadCommand(server, kConnections);
  command.push_back("--warmup=0");
  command.push_back("--seconds=5");
  Process load(std::move(command),
               {.core = CoreNumber(kLoadCore), .capture_stderr = true});
  absl::SleepFor(absl::Seconds(1));  // past the accepts
  Process strace({"strace", "-c", "-f", "-p", absl::StrCat(server.pid())},
                 {.core = CoreNumber(kLoadCore), .capture_stderr = true});
  absl::SleepFor(absl::Seconds(2));
  // That makes it let go of the server and print its table.
  kill(strace.pid(), SIGINT);
  const std::string table = strace.ReadAll(absl::Seconds(10));
  const int status = strace.Wait(absl::Seconds(5));
  if (!absl::StrContains(table, "syscall")) {
    throw BenchError(absl::StrCat("strace gave no table (status ", status, "): ", table));
  }
  const std::string json = OutputOfLoad(load, absl::Seconds(30));
  server.Stop();
  printf(
      "%d connections, 2 s in the middle of a steady load (slowed by strace itself):\n"
      "%s\n%s",
      kConnections, table.c_str(), json.c_str());
}

std::vector<Benchmark> EchoBenchmarks() {
  return {{"echo_1", 180, &RunEcho1},
          {"echo_100", 180, &RunEcho100},
          {"echo_1000", 180, &RunEcho1000},
          {"echo_10000", 240, &RunEcho10000},
          {"echo_two_hubs", 180, &RunEchoTwoHubs},
          {"idle_connections", 150, &RunIdle}};
}

}  // namespace grove::bench
