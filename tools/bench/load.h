#ifndef GROVE_TOOLS_BENCH_LOAD_H_
#define GROVE_TOOLS_BENCH_LOAD_H_

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "tools/bench/bench.h"
#include "tools/bench/process.h"

// Servers in processes of their own, and loads upon them.
namespace grove::bench {

inline constexpr int kServerCore = 0;
inline constexpr int kLoadCore = 1;
inline constexpr int kAnyCore = -1;

// Server
//
// A server that runs, on its core, once it has said "listening on ADDRESS".
class Server {
 public:
  // `core` may be kAnyCore. The command is all of it, with the address to listen at.
  Server(std::vector<std::string> command, int core);

  pid_t pid() const { return process_.pid(); }
  const Process& process() const { return process_; }
  // "--host=127.0.0.1" and "--port=N", or "--unix=@name".
  const std::vector<std::string>& address_flags() const { return flags_; }
  void Stop();

 private:
  Process process_;
  std::vector<std::string> flags_;
};

// The raw server and grove's echo server, at a port of 127.0.0.1.
std::vector<std::string> AtAnyPort(std::vector<std::string> command);
std::vector<std::string> RawServer();
std::vector<std::string> GroveServer(const Run& run);

// The load's command, for that server: "tools/bench/echo_load" and so on, with its flags.
std::vector<std::string> LoadCommand(const std::string& binary, const Server& server,
                                     std::vector<std::string> flags);

// What a load printed. Throws if it failed.
std::string OutputOfLoad(Process& load, absl::Duration timeout);
double NumberIn(const std::string& json, const std::string& key);

// Load
//
// What a server is to bear.
struct Load {
  std::string binary = "tools/bench/echo_load";
  std::vector<std::string> flags;
};

// Echo
//
// What is measured, once for each server.
struct Echo {
  double cpu_us;  // per request
  double requests_per_s;
  double p50_us, p99_us, p999_us;
  double wait_percent;  // of the measured time, in line for its core

  double requests_per_cpu_s() const { return 1e6 / cpu_us; }
};

// MeasureEcho()
//
// A fresh process each time: where its memory happens to lie is then part of the noise,
// and does not stick to one side.
Echo MeasureEcho(const Run& run, std::vector<std::string> command, const Load& load);

// Contestant
//
// A server and the load upon it.
struct Contestant {
  enum Cores {
    kOne,      // the server's, and another for the load
    kAny,      // the server may use all, and the load has one
    kTwo,      // the server has both, and each a load
    kOneEach,  // a server and a load on each of two
  };

  std::vector<std::string> server;
  Load load;
  Cores cores = kOne;
};

// Pairs
//
// What was measured of both sides, each of which goes first in half of the pairs.
struct Pairs {
  std::vector<Echo> grove, raw;
};

// MeasurePairs()
//
// Both servers are there, and take turns with their loads: a machine that is another one
// from second to second hits both alike. Only the CPU time is known then.
Pairs MeasurePairs(const Run& run, const Contestant& grove, const Contestant& raw);

// MeasurePairsAlone()
//
// One after the other, undisturbed, with a core for the server and one for the load: for
// rates and latencies.
Pairs MeasurePairsAlone(const Run& run, const Contestant& grove, const Contestant& raw);

// A row of one figure of all pairs.
template <typename Figure>
Row RowOf(const std::string& name, const std::string& unit, Figure figure,
          const Pairs& pairs) {
  std::vector<double> ours, theirs, ratios;
  for (size_t i = 0; i < pairs.grove.size(); ++i) {
    ours.push_back(figure(pairs.grove[i]));
    theirs.push_back(figure(pairs.raw[i]));
    ratios.push_back(ours.back() / theirs.back());
  }
  return {.name = name,
          .value = Median(ours),
          .unit = unit,
          .peer = Median(theirs),
          .ratios = ratios,
          .note = Spread(ratios, "ratios ")};
}

// The server's resident memory ("rss"), or all that process_usage.h counts ("footprint"),
// for each of that many connections, which have been used once and are idle; in KiB.
double IdleKib(std::vector<std::string> command, const Load& load, int connections,
               absl::string_view of = "rss");

// "...; waited for the core 0.3 %": nobody else is to be on the server's core, and this
// shows how quiet the machine was.
std::string WithWait(std::string note, const Pairs& pairs);

}  // namespace grove::bench

#endif  // GROVE_TOOLS_BENCH_LOAD_H_
