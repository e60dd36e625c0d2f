#ifndef GROVE_TOOLS_BENCH_BENCH_H_
#define GROVE_TOOLS_BENCH_BENCH_H_

#include <stdexcept>
#include <string>
#include <vector>

#include "tools/bench/table.h"

// grove's benchmarks; docs/benchmarks.md says how to run and to read them.
namespace grove::bench {

// BenchError
//
// Why a benchmark could not run. Becomes a row without a figure.
class BenchError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Run
//
// What a benchmark is given.
struct Run {
  bool quick = false;  // a fraction of the work: to see that all of it runs
  int pairs = 7;       // how often each figure is taken
  // The command of the echo server under test, in place of //examples:echo_server.
  std::string grove_server = {};
  Table& table;

  int repetitions() const { return quick ? 1 : pairs; }
};

// Benchmark
//
// Adds one row or more.
struct Benchmark {
  const char* name;  // for --only
  // It is ended, and the program with it, if it takes longer.
  int max_seconds;
  void (*run)(Run& run);
};

// One list per file, in the order of the table.
std::vector<Benchmark> MicroBenchmarks();       // micro.cc
std::vector<Benchmark> SyncBenchmarks();        // sync.cc
std::vector<Benchmark> TimerBenchmarks();       // timers.cc
std::vector<Benchmark> CrossHubBenchmarks();    // cross_hub.cc
std::vector<Benchmark> SubprocessBenchmarks();  // subprocess.cc
std::vector<Benchmark> MemoryBenchmarks();      // memory.cc
std::vector<Benchmark> EchoBenchmarks();        // echo.cc
std::vector<Benchmark> TlsBenchmarks();         // tls.cc
std::vector<Benchmark> HttpBenchmarks();        // http.cc
std::vector<Benchmark> GrpcBenchmarks();        // grpc.cc
std::vector<Benchmark> WebSocketBenchmarks();   // websocket.cc
std::vector<Benchmark> SocketBenchmarks();      // sockets.cc
std::vector<Benchmark> PatchBenchmarks();       // patch.cc

// RunMemoryChild()
//
// What memory.cc's child processes do; prints its figures for the parent.
[[noreturn]] void RunMemoryChild(int greenlets);

// RunStrace()
//
// Prints which system calls the echo server makes under load.
void RunStrace(const Run& run);

}  // namespace grove::bench

#endif  // GROVE_TOOLS_BENCH_BENCH_H_
