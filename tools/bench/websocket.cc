// http_server's WebSocket echo beside a TCP echo by hand, under the same load, on the
// same core, in turn.

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tools/bench/bench.h"
#include "tools/bench/hub_thread.h"
#include "tools/bench/load.h"
#include "tools/bench/process.h"

namespace grove::bench {
namespace {

constexpr int kBytes = 512;

void RunWebSocket(Run& run, int connections) {
  const std::vector<std::string> grove =
      AtAnyPort({FindBinary("examples/http_server"), "--hubs=1"});
  const Load raw_load = {.flags = {absl::StrCat("--connections=", connections),
                                   absl::StrCat("--bytes=", kBytes)}};
  Load load = raw_load;
  load.flags.push_back("--websocket");
  Pairs pairs;
  for (int i = 0; i < run.repetitions(); ++i) {
    for (int k = 0; k < 2; ++k) {
      const bool raw = (i + k) % 2 == 0;
      (raw ? pairs.raw : pairs.grove)
          .push_back(MeasureEcho(run, raw ? RawServer() : grove, raw ? raw_load : load,
                                 CoreNumber(kServerCore)));
    }
  }
  const std::string name = absl::StrCat("WebSocket echo, ", connections, " connections");
  Row cpu = RowOf(
      name + ", CPU per message", "us", [](const Echo& e) { return e.cpu_us; }, pairs);
  cpu.target = {Target::kRatioAtMost, 1.2};
  cpu.note = WithWait(absl::StrCat("the peer is a TCP echo; ", cpu.note), pairs);
  run.table.Add(cpu);
  run.table.Add(RowOf(
      name + ", rate", "messages/s", [](const Echo& e) { return e.requests_per_s; },
      pairs));
}

void RunWebSocket100(Run& run) { RunWebSocket(run, 100); }
void RunWebSocket1000(Run& run) { RunWebSocket(run, 1'000); }

}  // namespace

std::vector<Benchmark> WebSocketBenchmarks() {
  return {{"websocket_100", 240, &RunWebSocket100},
          {"websocket_1000", 240, &RunWebSocket1000}};
}

}  // namespace grove::bench
