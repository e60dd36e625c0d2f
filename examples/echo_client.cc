// Puts load on an echo server and checks every byte that comes back.
//
//   bazel run //examples:echo_client -- --port=7000 --connections=100 --seconds=5
//
// Each connection is a greenlet that writes --bytes, reads as many, compares, and starts
// again. A line of progress a second, then requests per second and latencies. The exit
// status is 0 only if every byte was right.
//
// Look at Converse(): a connection is a loop of blocking calls, in a greenlet of its own.

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "grove/examples/parse_flags.h"
#include "grove/green/greenlet.h"
#include "grove/green/sleep.h"
#include "grove/hub/clock.h"
#include "grove/net/tcp.h"

ABSL_FLAG(std::string, host, "127.0.0.1", "IP address of the server");
ABSL_FLAG(int, port, 7000, "port of the server");
ABSL_FLAG(int, connections, 100, "connections, each with one request in flight");
ABSL_FLAG(int, bytes, 512, "bytes of a request");
ABSL_FLAG(int, seconds, 5, "how long to go on");

namespace {

using grove::Clock;
using grove::MonotonicNanos;
using grove::examples::ParseFlags;
using grove::examples::Refuse;
using grove::net::Address;
using grove::net::TcpStream;

// Counts of latencies, each within 1/32 of the truth: exact enough, and small however
// long the run.
class Histogram {
 public:
  void Add(MonotonicNanos nanos) {
    ++counts_[Bucket(std::max<MonotonicNanos>(nanos, 1))];
    ++total_;
  }

  // The latency below which `fraction` of all lie, in microseconds.
  double Quantile(double fraction) const {
    const uint64_t rank = static_cast<uint64_t>(fraction * static_cast<double>(total_));
    uint64_t seen = 0;
    for (size_t i = 0; i < counts_.size(); ++i) {
      seen += counts_[i];
      if (seen > rank) return static_cast<double>(Low(i + 1)) / 1000;
    }
    return 0;
  }

  uint64_t total() const { return total_; }

 private:
  static constexpr int kBits = 5;

  // The highest bits of the value: its magnitude, and kBits digits after.
  static size_t Bucket(MonotonicNanos v) {
    const int shift = std::max(0, 63 - __builtin_clzll(v) - kBits);
    return (static_cast<size_t>(shift) << kBits) + static_cast<size_t>(v >> shift);
  }
  static uint64_t Low(size_t bucket) {
    const size_t shift = bucket < (2u << kBits) ? 0 : (bucket >> kBits) - 1;
    return (bucket - (shift << kBits)) << shift;
  }

  std::vector<uint64_t> counts_ = std::vector<uint64_t>(64 << kBits);
  uint64_t total_ = 0;
};

struct Load {
  Histogram latency;
  uint64_t failed_connections = 0;
  uint64_t wrong_answers = 0;
  std::string first_failure;
  bool stop = false;

  void Fail(const std::string& why) {
    ++failed_connections;
    if (first_failure.empty()) first_failure = why;
  }
};

// Different for each connection and byte, so that nothing mixed up goes unnoticed.
std::string Pattern(int connection, int bytes) {
  std::string p(bytes, '\0');
  uint64_t x = 0x9e3779b97f4a7c15u * (connection + 1);
  for (char& c : p) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    c = static_cast<char>(x);
  }
  return p;
}

void Converse(int connection, const Address& server, int bytes, Load& load) {
  absl::StatusOr<TcpStream> stream =
      TcpStream::Connect(server, {.deadline = absl::Seconds(10)});
  if (!stream.ok()) return load.Fail(stream.status().ToString());
  const std::string request = Pattern(connection, bytes);
  std::string answer(bytes, '\0');
  while (!load.stop) {
    const MonotonicNanos start = Clock::ReadMonotonic();
    if (absl::Status s = stream->Write(request); !s.ok()) return load.Fail(s.ToString());
    if (absl::Status s = stream->ReadExactly(absl::MakeSpan(answer)); !s.ok()) {
      return load.Fail(s.ToString());
    }
    load.latency.Add(Clock::ReadMonotonic() - start);
    if (answer != request) {
      ++load.wrong_answers;
      return load.Fail(
          absl::StrCat("connection ", connection, " got what it did not send"));
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  ParseFlags(
      argc, argv,
      "Puts load on an echo server and checks what comes back.\n"
      "  echo_client [--host] [--port] [--connections=100] [--bytes=512] [--seconds=5]");
  const int connections = absl::GetFlag(FLAGS_connections);
  const int bytes = absl::GetFlag(FLAGS_bytes);
  const int seconds = absl::GetFlag(FLAGS_seconds);
  const int port = absl::GetFlag(FLAGS_port);
  if (connections < 1) Refuse("--connections: at least one is needed");
  if (bytes < 1) Refuse("--bytes: at least one is needed");
  if (seconds < 1) Refuse("--seconds: at least one is needed");
  if (port < 1 || port > 65535)
    Refuse(absl::StrCat("--port=", port, ": not from 1 to 65535"));
  absl::StatusOr<Address> server =
      Address::FromIp(absl::GetFlag(FLAGS_host), static_cast<uint16_t>(port));
  if (!server.ok()) Refuse(absl::StrCat("--host: ", server.status().message()));

  Load load;
  std::vector<grove::Greenlet<>> clients;
  for (int i = 0; i < connections; ++i) {
    clients.push_back(
        grove::Spawn([i, &server, bytes, &load] { Converse(i, *server, bytes, load); }));
  }

  const MonotonicNanos start = Clock::ReadMonotonic();
  const bool live = isatty(STDERR_FILENO);
  uint64_t before = 0;
  for (int second = 1; second <= seconds; ++second) {
    grove::SleepUntil(grove::Deadline::At(start + second * 1'000'000'000ll));
    const uint64_t now = load.latency.total();
    fprintf(stderr, "%s%3d s  %9llu requests/s  p99 %.0f us  %llu failed%s",
            live ? "\r" : "", second, static_cast<unsigned long long>(now - before),
            load.latency.Quantile(0.99),
            static_cast<unsigned long long>(load.failed_connections),
            live ? "   " : "\n");
    before = now;
    if (load.failed_connections == static_cast<uint64_t>(connections)) break;
  }
  if (live) fprintf(stderr, "\n");
  load.stop = true;
  const double took = static_cast<double>(Clock::ReadMonotonic() - start) / 1e9;
  // A server that does not answer any more must not keep us.
  const grove::Deadline patience = absl::Seconds(5);
  for (const grove::Greenlet<>& g : clients) {
    if (!g.Join(patience)) load.Fail("a connection got no answer at the end");
  }

  printf("%llu requests in %.2f s: %.0f requests/s, %d connections, %d bytes\n",
         static_cast<unsigned long long>(load.latency.total()), took,
         static_cast<double>(load.latency.total()) / took, connections, bytes);
  printf("latency: p50 %.0f us, p99 %.0f us, p99.9 %.0f us\n", load.latency.Quantile(0.5),
         load.latency.Quantile(0.99), load.latency.Quantile(0.999));
  if (load.failed_connections > 0) {
    printf("%llu connections failed, %llu by a wrong answer; the first: %s\n",
           static_cast<unsigned long long>(load.failed_connections),
           static_cast<unsigned long long>(load.wrong_answers),
           load.first_failure.c_str());
    return 1;
  }
  return 0;
}
