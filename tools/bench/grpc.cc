// grove's gRPC example beside gRPC's own callback server, without greenlets, under the
// same load: 100 unary calls in flight on one channel.

#include <stdlib.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "tools/bench/bench.h"
#include "tools/bench/hub_thread.h"
#include "tools/bench/load.h"
#include "tools/bench/process.h"
extern "C" {
#include "tools/bench/process_usage.h"
}

namespace grove::bench {
namespace {

// What the client prints: "1000 calls, 0 failed, in 0.123 s".
double SecondsOf(const std::string& address, int calls) {
  Process client({FindBinary("examples/grpc/client"), "--server=" + address,
                  absl::StrCat("--calls=", calls), "--in_flight=100"},
                 {.core = CoreNumber(kLoadCore), .capture_stderr = true});
  const std::string output = OutputOfLoad(client, absl::Seconds(70));
  const size_t at = output.find(" 0 failed, in ");
  if (at == output.npos) throw BenchError("the gRPC client: " + output);
  return atof(output.c_str() + at + 14);
}

Echo Measure(const Run& run, std::vector<std::string> command) {
  Server server(std::move(command), CoreNumber(kServerCore));
  const std::string& port = server.address_flags().back();  // --port=N
  const std::string address = "127.0.0.1:" + port.substr(port.find('=') + 1);
  SecondsOf(address, run.quick ? 100 : 10'000);
  const int calls = run.quick ? 1'000 : 100'000;
  const int64_t cpu = CpuNsOf(server.pid());
  const int64_t wait = WaitNsOf(server.pid());
  const double seconds = SecondsOf(address, calls);
  const Echo echo = {
      .cpu_us = static_cast<double>(CpuNsOf(server.pid()) - cpu) / 1e3 / calls,
      .requests_per_s = calls / seconds,
      .p50_us = kNoValue,
      .p99_us = kNoValue,
      .p999_us = kNoValue,
      .wait_percent = static_cast<double>(WaitNsOf(server.pid()) - wait) / 1e7 / seconds};
  server.Stop();
  return echo;
}

void RunUnary(Run& run) {
  const std::vector<std::string> grove = {FindBinary("examples/grpc/server"), "--port=0",
                                          "--hubs=1"};
  const std::vector<std::string> raw = {FindBinary("examples/grpc/plain_server")};
  // As our threads are (examples/grpc/server.cc).
  const std::vector<std::string> raw_batch = {"chrt", "--batch", "0", raw[0]};
  Pairs plain, batch;
  for (int i = 0; i < run.repetitions(); ++i) {
    if (i % 2 == 0) plain.raw.push_back(Measure(run, raw));
    batch.grove.push_back(Measure(run, grove));
    batch.raw.push_back(Measure(run, raw_batch));
    if (i % 2 == 1) plain.raw.push_back(Measure(run, raw));
  }
  plain.grove = batch.grove;

  const auto add = [&](const std::string& name, const std::string& note, Target target,
                       const Pairs& pairs) {
    Row row = RowOf(
        name, "us", [](const Echo& e) { return e.cpu_us; }, pairs);
    row.target = target;
    row.note =
        WithWait(absl::StrCat(note, row.note.empty() ? "" : "; ", row.note), pairs);
    run.table.Add(row);
  };
  add("gRPC, unary, 100 in flight, CPU per call", "the peer is gRPC's callback server",
      {Target::kRatioAtMost, 1.1}, plain);
  add("gRPC, unary, CPU per call, on equal terms", "the peer is SCHED_BATCH, as ours",
      {Target::kRatioAtMost, 1.1}, batch);
  run.table.Add(RowOf(
      "gRPC, unary, 100 in flight, rate", "calls/s",
      [](const Echo& e) { return e.requests_per_s; }, plain));
}

}  // namespace

std::vector<Benchmark> GrpcBenchmarks() { return {{"grpc_unary", 300, &RunUnary}}; }

}  // namespace grove::bench
