// grove's TLS beside servers by hand, and beside nginx: under the same load, on the same
// core, by turns.

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "tools/bench/bench.h"
#include "tools/bench/hub_thread.h"
#include "tools/bench/peers.h"
#include "tools/bench/process.h"

namespace grove::bench {
namespace {

struct Server {
  std::unique_ptr<Process> process;
  std::string port;
};

Server StartOwn(const std::string& binary, const Certificate& certificate,
                std::vector<std::string> more = {}) {
  std::vector<std::string> command = {FindBinary(binary), "--port=0",
                                      "--chain=" + certificate.chain(),
                                      "--key=" + certificate.key()};
  command.insert(command.end(), more.begin(), more.end());
  auto process = std::make_unique<Process>(std::move(command),
                                           ProcessOptions{.core = CoreNumber(0)});
  std::string line;
  while (!absl::StartsWith(line, "listening on ")) {
    line = process->ReadLine(absl::Seconds(10));
  }
  return {std::move(process), line.substr(line.rfind(':') + 1)};
}

Server StartNginx(const Certificate& certificate) {
  const int port = FreePort();
  std::ofstream(certificate.File("nginx.conf"))
      << "daemon off; master_process off; worker_processes 1;\n"
      // A file of its own: nginx deletes it when it ends, and may do so as root.
      << "pid " << certificate.File("nginx.pid") << "; error_log "
      << certificate.File("nginx.log") << "; events { worker_connections 1024; }\n"
      << "http { access_log off; server { listen 127.0.0.1:" << port << " ssl;\n"
      << "ssl_certificate " << certificate.chain() << "; ssl_certificate_key "
      << certificate.key() << ";\n"
      << "ssl_protocols TLSv1.2 TLSv1.3; location / { return 204; } } }\n";
  auto process = std::make_unique<Process>(
      std::vector<std::string>{"nginx", "-c", certificate.File("nginx.conf"), "-p",
                               certificate.File("")},
      ProcessOptions{.core = CoreNumber(0)});
  AwaitListening(port, "nginx (is nginx-light installed?)");
  return {std::move(process), absl::StrCat(port)};
}

// Sends to whoever connects, one at a time, for as long as that reads.
Server StartOpenssl(const Certificate& certificate) {
  const int port = FreePort();
  auto process = std::make_unique<Process>(
      std::vector<std::string>{
          "sh", "-c",
          absl::StrCat("exec openssl s_server -quiet -tls1_3 -accept 127.0.0.1:", port,
                       " -cert '", certificate.chain(), "' -key '", certificate.key(),
                       "' < /dev/zero")},
      ProcessOptions{.core = CoreNumber(0), .capture_stderr = true});
  AwaitListening(port, "openssl s_server");
  return {std::move(process), absl::StrCat(port)};
}

std::unique_ptr<Process> StartLoad(const Server& server, std::vector<std::string> more) {
  std::vector<std::string> command = {
      FindBinary("tools/bench/tls_load"), "--port=" + server.port,
      absl::StrCat("--server_pid=", server.process->pid())};
  command.insert(command.end(), more.begin(), more.end());
  return std::make_unique<Process>(
      std::move(command), ProcessOptions{.core = CoreNumber(1), .capture_stderr = true});
}

// What the load printed.
std::string Finish(Process& load, const Server& server) {
  const std::string output = load.ReadAll(absl::Seconds(130));
  if (load.Wait(absl::Seconds(5)) != 0) throw BenchError(output);
  server.process->Stop(SIGTERM);
  return output;
}

double NumberIn(const std::string& json, const std::string& key) {
  const size_t at = json.find(absl::StrCat("\"", key, "\": "));
  if (at == std::string::npos) throw BenchError("no " + key + " in " + json);
  return atof(json.c_str() + at + key.size() + 4);
}

using Start = std::function<Server(const Certificate&)>;

Server Grove(const Certificate& c) { return StartOwn("examples/tls_echo_server", c); }
Server GroveSource(const Certificate& c) { return StartOwn("tools/bench/tls_source", c); }
Server Raw(const Certificate& c) { return StartOwn("tools/bench/raw_tls_server", c); }
Server RawSource(const Certificate& c) {
  return StartOwn("tools/bench/raw_tls_server", c, {"--source"});
}

// The server's CPU for each of what the load counts, of both, which take turns.
void Compare(Run& run, const std::string& name, const Start& ours, const Start& theirs,
             const std::vector<std::string>& load, Target target,
             const std::function<double(double)>& figure, const std::string& unit) {
  const Certificate certificate;
  std::vector<std::string> arguments = load;
  arguments.push_back(run.quick ? "--warmup=0.2" : "--warmup=0.6");
  arguments.push_back(run.quick ? "--seconds=0.6" : "--seconds=3");
  const auto figure_of = [&](Process& process, const Server& server) {
    const std::string json = Finish(process, server);
    const double count = NumberIn(json, "requests");
    if (count < 1) throw BenchError("nothing was done: " + json);
    return figure(NumberIn(json, "server_cpu_ns") / count);
  };
  std::vector<double> mine, peers, ratios;
  for (int i = 0; i < run.repetitions(); ++i) {
    const Server grove = ours(certificate), peer = theirs(certificate);
    const auto on_grove = StartLoad(grove, arguments);
    const auto on_peer = StartLoad(peer, arguments);
    // Each goes first in half of the pairs.
    const Team ours_team = {{grove.process.get()}, {on_grove.get()}};
    const Team theirs_team = {{peer.process.get()}, {on_peer.get()}};
    TakeTurns(i % 2 == 0 ? theirs_team : ours_team, i % 2 == 0 ? ours_team : theirs_team);
    mine.push_back(figure_of(*on_grove, grove));
    peers.push_back(figure_of(*on_peer, peer));
    ratios.push_back(mine[i] / peers[i]);
  }
  run.table.Add({.name = name,
                 .value = Median(mine),
                 .unit = unit,
                 .target = target,
                 .peer = Median(peers),
                 .ratios = ratios,
                 .note = Spread(ratios, "ratios ")});
}

double Microseconds(double ns) { return ns / 1e3; }
double GigabytesPerSecond(double ns_per_byte) { return 1 / ns_per_byte; }

void RunTlsEcho1(Run& run) {
  Compare(run, "TLS echo, 1 connection, CPU per request", &Grove, &Raw,
          {"--mode=echo", "--connections=1"}, {Target::kRatioAtMost, 1.05}, &Microseconds,
          "us");
}
void RunTlsEcho100(Run& run) {
  Compare(run, "TLS echo, 100 connections, CPU per request", &Grove, &Raw,
          {"--mode=echo", "--connections=100"}, {Target::kRatioAtMost, 1.05},
          &Microseconds, "us");
}
void RunTlsBulk(Run& run) {
  Compare(run, "TLS 1.3 bulk beside openssl s_server, per second of CPU", &GroveSource,
          &StartOpenssl, {"--mode=bulk"}, {Target::kRatioAtLeast, 0.95},
          &GigabytesPerSecond, "GB");
}
void RunTlsBulkRaw(Run& run) {
  Compare(run, "TLS 1.3 bulk beside a server by hand, per second of CPU", &GroveSource,
          &RawSource, {"--mode=bulk"}, {}, &GigabytesPerSecond, "GB");
}
void RunTlsHandshakes(Run& run) {
  Compare(run, "TLS 1.3 full handshakes beside nginx, CPU each", &Grove, &StartNginx,
          {"--mode=handshakes"}, {Target::kRatioAtMost, 1.1}, &Microseconds, "us");
}
void RunTlsHandshakesRaw(Run& run) {
  Compare(run, "TLS 1.3 full handshakes beside a server by hand, CPU each", &Grove, &Raw,
          {"--mode=handshakes"}, {}, &Microseconds, "us");
}

void RunTlsIdle(Run& run) {
  const int connections = run.quick ? 500 : 15'000;
  const Certificate certificate;
  const auto each = [&](const Start& start) {
    const Server server = start(certificate);
    const auto load =
        StartLoad(server, {"--mode=idle", absl::StrCat("--connections=", connections)});
    const std::string json = Finish(*load, server);
    return (NumberIn(json, "server_rss_kib") - NumberIn(json, "server_rss_before_kib")) /
           connections;
  };
  const double raw = each(&Raw);
  const double grove = each(&Grove);
  run.table.Add(
      {.name = absl::StrCat(connections, " idle TLS connections, server's RSS"),
       .value = grove,
       .unit = "KiB",
       .target = {Target::kAtMost, raw + 12},
       .peer = raw,
       .note = "each, after one request; the peer is what BoringSSL itself holds"});
}

}  // namespace

std::vector<Benchmark> TlsBenchmarks() {
  return {{"tls_echo_1", 180, &RunTlsEcho1},
          {"tls_echo_100", 180, &RunTlsEcho100},
          {"tls_bulk", 180, &RunTlsBulk},
          {"tls_bulk_raw", 180, &RunTlsBulkRaw},
          {"tls_handshakes", 240, &RunTlsHandshakes},
          {"tls_handshakes_raw", 180, &RunTlsHandshakesRaw},
          {"tls_idle", 180, &RunTlsIdle}};
}

}  // namespace grove::bench
