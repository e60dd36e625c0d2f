// grove's echo server beside one by hand, under the same load, on the same core, by
// turns.

#include <signal.h>
#include <stdio.h>

#include <functional>
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

// --- under load ----------------------------------------------------------------------

void RunEcho(Run& run, int connections, Target target) {
  const Contestant grove = {GroveServer(run), EchoLoad(connections)};
  const Contestant raw = {RawServer(), EchoLoad(connections)};
  const Pairs by_turns = MeasurePairs(run, grove, raw);
  const Pairs alone = MeasurePairsAlone(run, grove, raw);
  const std::string name = absl::StrCat(
      "echo, ", connections, connections == 1 ? " connection" : " connections");
  const auto row = [&](const char* what, const char* unit, double Echo::*member,
                       const Pairs& pairs) {
    return RowOf(
        name + what, unit, [=](const Echo& e) { return e.*member; }, pairs);
  };
  Row cpu = row(", CPU per request", "us", &Echo::cpu_us, by_turns);
  cpu.target = target;
  run.table.Add(cpu);
  Row rate = row(", rate", "requests/s", &Echo::requests_per_s, alone);
  rate.note = WithWait(rate.note, alone);
  run.table.Add(rate);
  run.table.Add(row(", p50", "us", &Echo::p50_us, alone));
  run.table.Add(row(", p99", "us", &Echo::p99_us, alone));
  run.table.Add(row(", p99.9", "us", &Echo::p999_us, alone));
}

void RunEcho1(Run& run) { RunEcho(run, 1, {}); }
void RunEcho100(Run& run) { RunEcho(run, 100, {Target::kRatioAtMost, 1.05}); }
void RunEcho1000(Run& run) { RunEcho(run, 1'000, {Target::kRatioAtMost, 1.05}); }
void RunEcho10000(Run& run) { RunEcho(run, 10'000, {Target::kRatioAtMost, 1.2}); }

// Two beside one, of grove's hubs and of the threads of the server by hand, which shows
// what of it is the machine's.
void RunTwoAndOne(
    Run& run, const char* name, Target target,
    const std::function<Pairs(const std::function<std::vector<std::string>(int n)>&)>&
        measure) {
  const auto row = [&](const std::string& row_name, const char* peer, const char* binary,
                       const char* flag) {
    const Pairs pairs = measure([=](int n) {
      std::vector<std::string> command = AtAnyPort({FindBinary(binary)});
      command.push_back(absl::StrCat(flag, n));
      return command;
    });
    Row r = RowOf(
        row_name, "us", [](const Echo& e) { return e.cpu_us; }, pairs);
    r.note = Spread(r.ratios, absl::StrCat("the peer is ", peer, "; ratios "));
    return r;
  };
  Row two_hubs = row(absl::StrCat(name, ", CPU per request"), "one hub",
                     "examples/echo_server", "--hubs=");
  two_hubs.target = target;
  run.table.Add(two_hubs);
  run.table.Add(row("  the same by hand, two threads", "one of the same",
                    "tools/bench/raw_epoll_server", "--threads="));
}

// Two cores, each with a load and a hub for it: those of one process, or of two.
void RunEchoTwoHubs(Run& run) {
  RunTwoAndOne(run, "echo on two hubs", {Target::kRatioAtMost, 1},
               [&](const auto& server) {
                 const auto contestant = [&](int n, Contestant::Cores cores) {
                   std::vector<std::string> command = server(n);
                   command.push_back("--by_core");
                   return Contestant{std::move(command), EchoLoad(50), cores};
                 };
                 return MeasurePairs(run, contestant(2, Contestant::kTwo),
                                     contestant(1, Contestant::kOneEach));
               });
}

// Both are free to use all cores, of which one load keeps one busy.
void RunEchoTwoHubsOneLoad(Run& run) {
  RunTwoAndOne(run, "echo on two hubs, one load", {}, [&](const auto& server) {
    return MeasurePairs(run, {server(2), EchoLoad(100), Contestant::kAny},
                        {server(1), EchoLoad(100), Contestant::kAny});
  });
}

// --- idle ----------------------------------------------------------------------------

void RunIdle(Run& run) {
  const int connections = run.quick ? 1'000 : 15'000;
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
          {"echo_two_hubs_one_load", 180, &RunEchoTwoHubsOneLoad},
          {"idle_connections", 150, &RunIdle}};
}

}  // namespace grove::bench
