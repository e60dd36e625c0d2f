// Programs that know nothing of grove, under patch/run and without it.

#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tools/bench/bench.h"
#include "tools/bench/hub_thread.h"
#include "tools/bench/load.h"
#include "tools/bench/peers.h"
#include "tools/bench/process.h"

namespace grove::bench {
namespace {

constexpr int kBytes = 512;  // as echo.cc's

std::string Patch() { return FindBinary("patch/run"); }
std::vector<std::string> ThreadServer() {
  return AtAnyPort({FindBinary("patch/programs/thread_server")});
}
std::vector<std::string> PatchedThreadServer() {
  return AtAnyPort({Patch(), FindBinary("patch/programs/thread_server")});
}

// Whose threads have stacks of that size, unless they ask for another.
std::vector<std::string> WithStacks(int kib, const std::vector<std::string>& command) {
  std::vector<std::string> all = {
      "sh", "-c", absl::StrCat("ulimit -S -s ", kib, " && exec \"$@\""), "sh"};
  all.insert(all.end(), command.begin(), command.end());
  return all;
}

// What patched_calls prints: of a recv(), and of what a mutex takes.
std::pair<double, double> MoreNanoseconds(std::vector<std::string> command) {
  Process process(std::move(command), {.core = CoreNumber(kServerCore)});
  const std::string line = process.ReadLine(absl::Seconds(60));
  process.Wait(absl::Seconds(5));
  char* rest = nullptr;
  const double recv = strtod(line.c_str(), &rest);
  return {recv, strtod(rest, nullptr)};
}

// What a call that does not wait takes longer than the original.
void RunCalls(Run& run) {
  const std::string batches = run.quick ? "100" : "5000";
  const std::string program = FindBinary("tools/bench/patched_calls");
  const auto row = [&](const std::string& name, double limit,
                       const std::vector<double>& more, const std::vector<double>& none) {
    run.table.Add({.name = name,
                   .value = Median(more),
                   .unit = "ns",
                   .target = {Target::kAtMost, limit},
                   .note = Spread(more, absl::StrFormat("over the original; %.2f without "
                                                        "patch/run; ",
                                                        Median(none)))});
  };
  const auto rows = [&](const char* where, double limit,
                        const std::vector<std::string>& patched,
                        const std::vector<std::string>& plain) {
    std::vector<double> recv, mutex, plain_recv, plain_mutex;
    for (int i = 0; i < run.repetitions(); ++i) {
      const auto more = MoreNanoseconds(patched);
      const auto none = MoreNanoseconds(plain);
      recv.push_back(more.first);
      mutex.push_back(more.second);
      plain_recv.push_back(none.first);
      plain_mutex.push_back(none.second);
    }
    row(absl::StrCat("patched recv that does not wait, ", where), limit, recv,
        plain_recv);
    row(absl::StrCat("patched mutex that is free, ", where), limit, mutex, plain_mutex);
  };
  rows("greenlet", 15, {Patch(), program, batches}, {program, batches});
  rows("outside any hub", 5, {Patch(), program, batches, "thread"},
       {program, batches, "thread"});
}

void RunThreadServer(Run& run) {
  const int connections = 1'000;
  const Load load = {.flags = {absl::StrCat("--connections=", connections),
                               absl::StrCat("--bytes=", kBytes)}};
  const Pairs pairs =
      MeasurePairs(run, {PatchedThreadServer(), load}, {ThreadServer(), load});
  Row row = RowOf(
      "thread-per-connection server, 1,000 connections, CPU per request", "us",
      [](const Echo& e) { return e.cpu_us; }, pairs);
  row.target = {Target::kRatioAtMost, 1};
  row.note = Spread(row.ratios, "patch/run beside native threads; ratios ");
  run.table.Add(row);
  const char* const kFootprint =
      geteuid() == 0
          ? "RSS, page tables, the kernel's stacks and records of threads"
          : "RSS, page tables, 16 KiB of kernel stack per thread; more is told root only";
  // 8 MiB is what threads have that ask for no size.
  for (const int stack_kib : {8192, 256}) {
    for (const char* of : {"footprint", "rss"}) {
      const auto kib = [&](const std::vector<std::string>& server) {
        return IdleKib(WithStacks(stack_kib, server), load, connections, of);
      };
      const double patched = kib(PatchedThreadServer());
      const double native = kib(ThreadServer());
      const bool all = of == std::string("footprint");
      run.table.Add({.name = absl::StrCat(
                         "the same, stacks of ", stack_kib, " KiB, ",
                         all ? "memory of an idle connection" : "user-space memory only"),
                     .value = patched,
                     .unit = "KiB",
                     .target = all ? Target{Target::kRatioAtMost, 1.0 / 3} : Target(),
                     .peer = native,
                     .ratios = {patched / native},
                     .note = all ? kFootprint : "RSS"});
    }
  }
}

// PostgreSQL, from its making to the end of this, in a folder of its own.
class Postgres {
 public:
  explicit Postgres(int connections) {
    std::string folder = "/tmp/grove_bench_pg_XXXXXX";
    if (mkdtemp(folder.data()) == nullptr)
      throw BenchError("cannot make a folder in /tmp");
    folder_ = folder;
    const std::string programs = Newest("/usr/lib/postgresql") + "/bin";
    Process init(AsPostgres(
        {programs + "/initdb", "-D", data(), "-A", "trust", "-U", "me", "--no-sync"}));
    init.ReadAll(absl::Seconds(60));
    if (init.Wait(absl::Seconds(5)) != 0) throw BenchError("initdb has failed");
    const std::string port = std::to_string(FreePort());
    server_.emplace(
        AsPostgres({programs + "/postgres", "-D", data(), "-k", "", "-p", port, "-c",
                    "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c",
                    absl::StrCat("max_connections=", connections + 20)}),
        ProcessOptions{.core = CoreNumber(kLoadCore), .capture_stderr = true});
    while (!absl::StrContains(server_->ReadLine(absl::Seconds(30)),
                              "ready to accept connections")) {
    }
    target = absl::StrCat("host=127.0.0.1 port=", port, " user=me dbname=postgres");
  }
  ~Postgres() {
    if (server_) server_->Stop(SIGINT);
    std::error_code none;
    std::filesystem::remove_all(folder_, none);
  }

  std::string target;

 private:
  std::string data() const { return folder_ + "/data"; }
  // It refuses to be root's.
  static std::vector<std::string> AsPostgres(std::vector<std::string> command) {
    const passwd* entry = geteuid() == 0 ? getpwnam("postgres") : nullptr;
    if (entry == nullptr) return command;
    std::vector<std::string> as = {"unshare", "--user",
                                   absl::StrCat("--map-user=", entry->pw_uid),
                                   absl::StrCat("--map-group=", entry->pw_gid)};
    as.insert(as.end(), command.begin(), command.end());
    return as;
  }
  static std::string Newest(const std::string& folder) {
    std::string newest;
    std::error_code none;
    for (const auto& entry : std::filesystem::directory_iterator(folder, none)) {
      newest = std::max(newest, entry.path().string());
    }
    if (newest.empty()) throw BenchError("PostgreSQL is not installed (postgresql)");
    return newest;
  }

  std::string folder_;
  std::optional<Process> server_;
};

void RunLibpq(Run& run) {
  const int connections = run.quick ? 50 : 1'000;
  const Postgres server(connections);
  const std::vector<std::string> queries = {FindBinary("tools/bench/libpq_queries"),
                                            server.target, absl::StrCat(connections),
                                            run.quick ? "5" : "30"};
  std::vector<std::string> patched = {Patch()};
  patched.insert(patched.end(), queries.begin(), queries.end());
  const auto cpu_us = [](std::vector<std::string> command) {
    Process process(std::move(command), {.core = CoreNumber(kServerCore)});
    const double us = atof(process.ReadLine(absl::Seconds(120)).c_str());
    if (process.Wait(absl::Seconds(10)) != 0)
      throw BenchError("libpq_queries has failed");
    return us;
  };
  std::vector<double> ours, theirs, ratios;
  for (int i = 0; i < run.repetitions(); ++i) {
    ours.push_back(cpu_us(patched));
    theirs.push_back(cpu_us(queries));
    ratios.push_back(ours.back() / theirs.back());
  }
  run.table.Add({.name = absl::StrCat("SELECT 1 by libpq, ", connections,
                                      " at once, CPU per query"),
                 .value = Median(ours),
                 .unit = "us",
                 .target = {Target::kRatioAtMost, 1},
                 .peer = Median(theirs),
                 .ratios = ratios,
                 .note = absl::StrCat("one hub beside native threads, all on one core; ",
                                      Spread(ratios, "ratios "))});
}

}  // namespace

std::vector<Benchmark> PatchBenchmarks() {
  return {{"patched_calls", 180, &RunCalls},
          {"patched_thread_server", 240, &RunThreadServer},
          {"patched_libpq", 120, &RunLibpq}};
}

}  // namespace grove::bench
