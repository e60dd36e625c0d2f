// grove's echo server beside one by hand, under the same load, on the same core, in turn.

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "tools/bench/bench.h"
#include "tools/bench/hub_thread.h"
#include "tools/bench/process.h"

namespace grove::bench {
namespace {

constexpr int kBytes = 64;
constexpr int kServerCore = 0;
constexpr int kLoadCore = 1;

std::vector<std::string> RawServer() {
  return {FindBinary("tools/bench/raw_epoll_server")};
}

std::vector<std::string> GroveServer(const Run& run) {
  if (run.grove_server.empty()) return {FindBinary("examples/echo_server"), "--hubs=1"};
  return absl::StrSplit(run.grove_server, ' ', absl::SkipEmpty());
}

// A server that runs, on its core and on a port of its own.
class Server {
 public:
  explicit Server(std::vector<std::string> command)
      : process_(WithAddress(std::move(command)), {.core = CoreNumber(kServerCore)}) {
    constexpr absl::string_view kReady = "listening on ";
    std::string line;
    while (!absl::StartsWith(line, kReady)) line = process_.ReadLine(absl::Seconds(10));
    const std::string address = line.substr(0, line.find(' ', kReady.size()));
    port_ = address.substr(address.rfind(':') + 1);
  }

  pid_t pid() const { return process_.pid(); }
  const std::string& port() const { return port_; }
  void Stop() { process_.Stop(SIGTERM); }

 private:
  static std::vector<std::string> WithAddress(std::vector<std::string> command) {
    command.push_back("--host=127.0.0.1");
    command.push_back("--port=0");
    return command;
  }

  Process process_;
  std::string port_;
};

std::vector<std::string> LoadCommand(const Server& server, int connections) {
  return {FindBinary("tools/bench/echo_load"),
          "--host=127.0.0.1",
          absl::StrCat("--port=", server.port()),
          absl::StrCat("--server_pid=", server.pid()),
          absl::StrCat("--connections=", connections),
          absl::StrCat("--bytes=", kBytes)};
}

// What echo_load printed. Throws if it failed.
std::string OutputOfLoad(Process& load, absl::Duration timeout) {
  std::string output = load.ReadAll(timeout);
  if (const int status = load.Wait(absl::Seconds(5)); status != 0) {
    while (!output.empty() && output.back() == '\n') output.pop_back();
    throw BenchError(absl::StrCat("status ", status, ": ", output));
  }
  return output;
}

double NumberIn(const std::string& json, const std::string& key) {
  const size_t at = json.find(absl::StrCat("\"", key, "\": "));
  if (at == std::string::npos) throw BenchError("echo_load gave no " + key + ": " + json);
  return atof(json.c_str() + at + key.size() + 4);
}

// --- under load
// ---------------------------------------------------------------------------

// What is measured, once for each server.
struct Echo {
  double cpu_us;  // per request
  double requests_per_s;
  double p50_us, p99_us, p999_us;
  double wait_percent;  // of the measured time, in line for its core
};

// A fresh process each time: where its memory happens to lie is then part of the noise,
// and does not stick to one side.
Echo MeasureEcho(const Run& run, std::vector<std::string> command, int connections) {
  Server server(std::move(command));
  std::vector<std::string> load = LoadCommand(server, connections);
  load.push_back(run.quick ? "--warmup=0.1" : "--warmup=0.5");
  load.push_back(run.quick ? "--seconds=0.3" : "--seconds=2");
  Process process(std::move(load),
                  {.core = CoreNumber(kLoadCore), .capture_stderr = true});
  const std::string json = OutputOfLoad(process, absl::Seconds(70));
  server.Stop();
  const double requests = NumberIn(json, "requests");
  if (requests < 1) throw BenchError("not a single request was answered: " + json);
  const double cpu_ns = NumberIn(json, "server_cpu_ns");
  if (cpu_ns <= 0) throw BenchError("the kernel does not tell the server's CPU time");
  return {
      .cpu_us = cpu_ns / 1e3 / requests,
      .requests_per_s = NumberIn(json, "requests_per_s"),
      .p50_us = NumberIn(json, "p50_us"),
      .p99_us = NumberIn(json, "p99_us"),
      .p999_us = NumberIn(json, "p999_us"),
      .wait_percent = NumberIn(json, "server_wait_ns") / 1e7 / NumberIn(json, "seconds")};
}

Row RowOf(const std::string& name, const std::string& unit, double Echo::*member,
          const std::vector<Echo>& grove, const std::vector<Echo>& raw) {
  std::vector<double> ours, theirs, ratios;
  for (size_t i = 0; i < grove.size(); ++i) {
    ours.push_back(grove[i].*member);
    theirs.push_back(raw[i].*member);
    ratios.push_back(grove[i].*member / raw[i].*member);
  }
  return {.name = name,
          .value = Median(ours),
          .unit = unit,
          .peer = Median(theirs),
          .ratios = ratios,
          .note = Spread(ratios, "ratios ")};
}

void RunEcho(Run& run, int connections, Target target) {
  std::vector<Echo> grove, raw;
  for (int i = 0; i < run.repetitions(); ++i) {
    // Each goes first in half of the pairs: what drifts hits both alike.
    if (i % 2 == 0) raw.push_back(MeasureEcho(run, RawServer(), connections));
    grove.push_back(MeasureEcho(run, GroveServer(run), connections));
    if (i % 2 == 1) raw.push_back(MeasureEcho(run, RawServer(), connections));
  }
  const std::string name = absl::StrCat(
      "echo, ", connections, connections == 1 ? " connection" : " connections");
  Row cpu = RowOf(name + ", CPU per request", "us", &Echo::cpu_us, grove, raw);
  cpu.target = target;
  // Nobody else is to be on that core: what this shows is how quiet the machine was.
  double wait = 0;
  for (const auto* side : {&grove, &raw}) {
    for (const Echo& e : *side) wait = std::max(wait, e.wait_percent);
  }
  absl::StrAppend(&cpu.note, cpu.note.empty() ? "" : "; ", "waited for the core ",
                  absl::StrFormat("%.1f %%", wait));
  run.table.Add(cpu);
  run.table.Add(RowOf(name + ", rate", "requests/s", &Echo::requests_per_s, grove, raw));
  run.table.Add(RowOf(name + ", p50", "us", &Echo::p50_us, grove, raw));
  run.table.Add(RowOf(name + ", p99", "us", &Echo::p99_us, grove, raw));
  run.table.Add(RowOf(name + ", p99.9", "us", &Echo::p999_us, grove, raw));
}

void RunEcho1(Run& run) { RunEcho(run, 1, {}); }
void RunEcho100(Run& run) { RunEcho(run, 100, {Target::kRatioAtMost, 1.05}); }
void RunEcho1000(Run& run) { RunEcho(run, 1'000, {Target::kRatioAtMost, 1.05}); }
void RunEcho10000(Run& run) { RunEcho(run, 10'000, {Target::kRatioAtMost, 1.2}); }

// --- idle
// ---------------------------------------------------------------------------------

double IdleKib(std::vector<std::string> command, int connections) {
  Server server(std::move(command));
  std::vector<std::string> load = LoadCommand(server, connections);
  load.push_back("--idle");
  Process process(std::move(load),
                  {.core = CoreNumber(kLoadCore), .capture_stderr = true});
  const std::string json = OutputOfLoad(process, absl::Seconds(70));
  server.Stop();
  return (NumberIn(json, "server_rss_kib") - NumberIn(json, "server_rss_before_kib")) /
         connections;
}

void RunIdle(Run& run) {
  const int connections = run.quick ? 1'000 : 10'000;
  const double grove = IdleKib(GroveServer(run), connections);
  const double raw = IdleKib(RawServer(), connections);
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
  Server server(GroveServer(run));
  std::vector<std::string> command = LoadCommand(server, kConnections);
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
          {"idle_connections", 150, &RunIdle}};
}

}  // namespace grove::bench
