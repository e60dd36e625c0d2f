// http_server's WebSocket echo beside a TCP echo by hand, under the same load, on the
// same core, by turns.

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tools/bench/bench.h"
#include "tools/bench/load.h"
#include "tools/bench/process.h"

namespace grove::bench {
namespace {

constexpr int kBytes = 512;

void RunWebSocket(Run& run, int connections) {
  const Load raw_load = {.flags = {absl::StrCat("--connections=", connections),
                                   absl::StrCat("--bytes=", kBytes)}};
  Load load = raw_load;
  load.flags.push_back("--websocket");
  const Contestant grove = {AtAnyPort({FindBinary("examples/http_server"), "--hubs=1"}),
                            load};
  const Contestant raw = {RawServer(), raw_load};
  const Pairs by_turns = MeasurePairs(run, grove, raw);
  const std::string name = absl::StrCat("WebSocket echo, ", connections, " connections");
  Row cpu = RowOf(
      name + ", CPU per message", "us", [](const Echo& e) { return e.cpu_us; }, by_turns);
  cpu.target = {Target::kRatioAtMost, 1.2};
  cpu.note = Spread(cpu.ratios, "the peer is a TCP echo; ratios ");
  run.table.Add(cpu);
  run.table.Add(RowOf(
      name + ", rate", "messages/s", [](const Echo& e) { return e.requests_per_s; },
      MeasurePairsAlone(run, grove, raw)));
}

void RunWebSocket100(Run& run) { RunWebSocket(run, 100); }
void RunWebSocket1000(Run& run) { RunWebSocket(run, 1'000); }

}  // namespace

std::vector<Benchmark> WebSocketBenchmarks() {
  return {{"websocket_100", 240, &RunWebSocket100},
          {"websocket_1000", 240, &RunWebSocket1000}};
}

}  // namespace grove::bench
