#include "tools/bench/load.h"

#include <signal.h>
#include <stdlib.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "tools/bench/hub_thread.h"

namespace grove::bench {

std::vector<std::string> AtAnyPort(std::vector<std::string> command) {
  command.push_back("--host=127.0.0.1");
  command.push_back("--port=0");
  return command;
}

std::vector<std::string> RawServer() {
  return AtAnyPort({FindBinary("tools/bench/raw_epoll_server")});
}

std::vector<std::string> GroveServer(const Run& run) {
  if (run.grove_server.empty()) {
    return AtAnyPort({FindBinary("examples/echo_server"), "--hubs=1"});
  }
  return AtAnyPort(absl::StrSplit(run.grove_server, ' ', absl::SkipEmpty()));
}

Server::Server(std::vector<std::string> command, int core)
    : process_(std::move(command), {.core = core}) {
  constexpr absl::string_view kReady = "listening on ";
  std::string line;
  while (!absl::StartsWith(line, kReady)) line = process_.ReadLine(absl::Seconds(10));
  const std::string address =
      line.substr(kReady.size(), line.find(' ', kReady.size()) - kReady.size());
  if (absl::StartsWith(address, "unix:")) {
    flags_ = {"--unix=" + address.substr(5)};
  } else {
    flags_ = {"--host=127.0.0.1", "--port=" + address.substr(address.rfind(':') + 1)};
  }
}

void Server::Stop() { process_.Stop(SIGTERM); }

std::vector<std::string> LoadCommand(const std::string& binary, const Server& server,
                                     std::vector<std::string> flags) {
  std::vector<std::string> command = {FindBinary(binary),
                                      absl::StrCat("--server_pid=", server.pid())};
  for (const auto& more : {server.address_flags(), flags}) {
    command.insert(command.end(), more.begin(), more.end());
  }
  return command;
}

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
  if (at == std::string::npos) throw BenchError("the load gave no " + key + ": " + json);
  return atof(json.c_str() + at + key.size() + 4);
}

namespace {

// So long, for each of as many as take turns.
std::vector<std::string> ForSeconds(const Run& run, std::vector<std::string> load,
                                    int turns = 1) {
  load.push_back(absl::StrCat("--warmup=", (run.quick ? 0.1 : 0.5) * turns));
  load.push_back(absl::StrCat("--seconds=", (run.quick ? 0.3 : 2.0) * turns));
  return load;
}

// What a load counted.
struct Work {
  explicit Work(const std::string& json)
      : requests(NumberIn(json, "requests")),
        cpu_us(NumberIn(json, "server_cpu_ns") / 1e3) {
    if (requests < 1) throw BenchError("not a single request was answered: " + json);
    if (cpu_us <= 0) throw BenchError("the kernel does not tell the server's CPU time");
  }

  double requests;
  double cpu_us;  // the server's
};

// Servers and their loads, which run.
class Contest {
 public:
  Contest(const Run& run, const Contestant& c) {
    const auto add_server = [&](int core) {
      servers_.push_back(std::make_unique<Server>(c.server, core));
    };
    const auto add_load = [&](const Server& server, int core) {
      loads_.push_back(std::make_unique<Process>(
          ForSeconds(run, LoadCommand(c.load.binary, server, c.load.flags), 2),
          ProcessOptions{.core = core, .capture_stderr = true}));
    };
    if (c.cores == Contestant::kOne || c.cores == Contestant::kAny) {
      add_server(c.cores == Contestant::kAny ? kAnyCore : CoreNumber(kServerCore));
      add_load(*servers_[0], CoreNumber(kLoadCore));
      return;
    }
    if (c.cores == Contestant::kTwo) add_server(kAnyCore);  // pins its threads by itself
    for (int i = 0; i < 2; ++i) {
      if (c.cores == Contestant::kOneEach) add_server(CoreNumber(i));
      add_load(*servers_.back(), CoreNumber(i));
    }
  }

  Team team() const {
    Team team;
    for (const auto& server : servers_) team.servers.push_back(&server->process());
    for (const auto& load : loads_) team.loads.push_back(load.get());
    return team;
  }

  Echo Finish() {
    // Each load has looked at the whole of its server, at about the same time.
    const double loads_of_each =
        static_cast<double>(loads_.size()) / static_cast<double>(servers_.size());
    double requests = 0, cpu_us = 0;
    for (const auto& load : loads_) {
      const Work work(OutputOfLoad(*load, absl::Seconds(70)));
      requests += work.requests;
      cpu_us += work.cpu_us / loads_of_each;
    }
    for (const auto& server : servers_) server->Stop();
    return {.cpu_us = cpu_us / requests,
            .requests_per_s = kNoValue,
            .p50_us = kNoValue,
            .p99_us = kNoValue,
            .p999_us = kNoValue,
            .wait_percent = kNoValue};
  }

 private:
  std::vector<std::unique_ptr<Server>> servers_;
  std::vector<std::unique_ptr<Process>> loads_;
};

}  // namespace

Echo MeasureEcho(const Run& run, std::vector<std::string> command, const Load& load) {
  Server server(std::move(command), CoreNumber(kServerCore));
  Process process(ForSeconds(run, LoadCommand(load.binary, server, load.flags)),
                  {.core = CoreNumber(kLoadCore), .capture_stderr = true});
  const std::string json = OutputOfLoad(process, absl::Seconds(70));
  server.Stop();
  const Work work(json);
  return {
      .cpu_us = work.cpu_us / work.requests,
      .requests_per_s = NumberIn(json, "requests_per_s"),
      .p50_us = NumberIn(json, "p50_us"),
      .p99_us = NumberIn(json, "p99_us"),
      .p999_us = NumberIn(json, "p999_us"),
      .wait_percent = NumberIn(json, "server_wait_ns") / 1e7 / NumberIn(json, "seconds")};
}

Pairs MeasurePairs(const Run& run, const Contestant& grove, const Contestant& raw) {
  Pairs pairs;
  for (int i = 0; i < run.repetitions(); ++i) {
    Contest first(run, i % 2 == 0 ? raw : grove);
    Suspend(first.team());  // a thousand of its threads would leave the other no time
    Contest second(run, i % 2 == 0 ? grove : raw);
    TakeTurns(first.team(), second.team());
    (i % 2 == 0 ? pairs.raw : pairs.grove).push_back(first.Finish());
    (i % 2 == 0 ? pairs.grove : pairs.raw).push_back(second.Finish());
  }
  return pairs;
}

Pairs MeasurePairsAlone(const Run& run, const Contestant& grove, const Contestant& raw) {
  Pairs pairs;
  for (int i = 0; i < run.repetitions(); ++i) {
    for (int k = 0; k < 2; ++k) {
      const bool is_raw = (i + k) % 2 == 0;
      const Contestant& c = is_raw ? raw : grove;
      (is_raw ? pairs.raw : pairs.grove).push_back(MeasureEcho(run, c.server, c.load));
    }
  }
  return pairs;
}

std::string WithWait(std::string note, const Pairs& pairs) {
  double wait = 0;
  for (const auto* side : {&pairs.grove, &pairs.raw}) {
    for (const Echo& e : *side) wait = std::max(wait, e.wait_percent);
  }
  return absl::StrCat(note, note.empty() ? "" : "; ", "waited for the core ",
                      absl::StrFormat("%.1f %%", wait));
}

double IdleKib(std::vector<std::string> command, const Load& load, int connections,
               absl::string_view of) {
  Server server(std::move(command), CoreNumber(kServerCore));
  std::vector<std::string> flags = load.flags;
  flags.push_back("--idle");
  Process process(LoadCommand(load.binary, server, flags),
                  {.core = CoreNumber(kLoadCore), .capture_stderr = true});
  const std::string json = OutputOfLoad(process, absl::Seconds(70));
  server.Stop();
  const auto number = [&](absl::string_view when) {
    return NumberIn(json, absl::StrCat("server_", of, when));
  };
  return (number("_kib") - number("_before_kib")) / connections;
}

}  // namespace grove::bench
