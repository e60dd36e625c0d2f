// Sockets of other kinds than echo.cc's, beside servers by hand: Unix sockets, UDP, and
// connections that are short.

#include <unistd.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tools/bench/bench.h"
#include "tools/bench/load.h"
#include "tools/bench/process.h"

namespace grove::bench {
namespace {

// As echo.cc's.
constexpr int kBytes = 512;
// What a datagram over the internet may have.
constexpr int kDatagramBytes = 1200;
// Fewer than fit into a socket's buffer, which would drop the rest.
constexpr int kWindow = 64;

double CpuOf(const Echo& e) { return e.cpu_us; }

// "--unix=@...", a name that no other run has.
std::vector<std::string> AtAbstractName(const std::string& binary,
                                        const std::string& name) {
  return {FindBinary(binary), absl::StrCat("--unix=@grove-bench-", name, "-", getpid())};
}

void RunUnixEcho(Run& run, int connections, Target target) {
  const Load load = {.flags = {absl::StrCat("--connections=", connections),
                               absl::StrCat("--bytes=", kBytes)}};
  const Pairs pairs =
      MeasurePairs(run, {AtAbstractName("tools/bench/socket_server", "grove"), load},
                   {AtAbstractName("tools/bench/raw_epoll_server", "raw"), load});
  Row row = RowOf(absl::StrCat("Unix echo, ", connections,
                               connections == 1 ? " connection" : " connections",
                               ", CPU per request"),
                  "us", &CpuOf, pairs);
  row.target = target;
  run.table.Add(row);
}

void RunUnixEcho1(Run& run) { RunUnixEcho(run, 1, {Target::kRatioAtMost, 1.05}); }
void RunUnixEcho100(Run& run) { RunUnixEcho(run, 100, {Target::kRatioAtMost, 1.05}); }
void RunUnixEcho1000(Run& run) { RunUnixEcho(run, 1'000, {Target::kRatioAtMost, 1.05}); }

void RunUdpEcho(Run& run, const std::vector<std::string>& more, const char* peer) {
  std::vector<std::string> raw = AtAnyPort({FindBinary("tools/bench/raw_udp_server")});
  raw.insert(raw.end(), more.begin(), more.end());
  const Load load = {.binary = "tools/bench/udp_load",
                     .flags = {absl::StrCat("--window=", kWindow),
                               absl::StrCat("--bytes=", kDatagramBytes)}};
  const Pairs pairs = MeasurePairs(
      run, {AtAnyPort({FindBinary("tools/bench/socket_server"), "--udp"}), load},
      {raw, load});
  Row row = RowOf(
      absl::StrCat("UDP echo by batches, datagrams per CPU second, beside ", peer), "/s",
      [](const Echo& e) { return e.requests_per_cpu_s(); }, pairs);
  row.target = {Target::kRatioAtLeast, 0.95};
  run.table.Add(row);
}

void RunUdpBlocking(Run& run) { RunUdpEcho(run, {}, "recvmmsg"); }
void RunUdpEpoll(Run& run) { RunUdpEcho(run, {"--epoll"}, "epoll"); }

void RunReconnect(Run& run) {
  const Load load = {
      .flags = {"--connections=50", absl::StrCat("--bytes=", kBytes), "--reconnect"}};
  const Contestant grove = {GroveServer(run), load};
  const Contestant raw = {RawServer(), load};
  const Pairs by_turns = MeasurePairs(run, grove, raw);
  Row row = RowOf("connect, one echo, close: CPU", "us", &CpuOf, by_turns);
  row.target = {Target::kRatioAtMost, 1.05};
  run.table.Add(row);
  run.table.Add(RowOf(
      "connect, one echo, close: rate", "connections/s",
      [](const Echo& e) { return e.requests_per_s; },
      MeasurePairsAlone(run, grove, raw)));
}

}  // namespace

std::vector<Benchmark> SocketBenchmarks() {
  return {{"unix_echo_1", 180, &RunUnixEcho1},
          {"unix_echo_100", 180, &RunUnixEcho100},
          {"unix_echo_1000", 180, &RunUnixEcho1000},
          {"udp_echo_blocking", 180, &RunUdpBlocking},
          {"udp_echo_epoll", 180, &RunUdpEpoll},
          {"reconnect", 180, &RunReconnect}};
}

}  // namespace grove::bench
