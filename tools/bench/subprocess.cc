// Starting and reaping children: /bin/true by Subprocess, and by a loop of posix_spawn(3)
// and waitpid(2), in turns.

#include "grove/green/os/subprocess.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vector>

#include "absl/strings/str_cat.h"
#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/hub/clock.h"
#include "tools/bench/bench.h"

namespace grove::bench {
namespace {

constexpr char kTrue[] = "/bin/true";

template <typename F>
double PerSecond(int n, F all) {
  const MonotonicNanos start = Clock::ReadMonotonic();
  all();
  return n / (static_cast<double>(Clock::ReadMonotonic() - start) / 1e9);
}

void SpawnAndWait() {
  char program[] = "/bin/true";
  char* const arguments[] = {program, nullptr};
  pid_t pid = 0;
  int status = 0;
  if (posix_spawn(&pid, kTrue, nullptr, nullptr, arguments, environ) != 0 ||
      waitpid(pid, &status, 0) != pid || status != 0) {
    throw BenchError("posix_spawn of /bin/true");
  }
}

void StartAndWait() {
  absl::StatusOr<Subprocess> child = Subprocess::Start({kTrue});
  if (!child.ok()) throw BenchError(child.status().ToString());
  if (!child->Wait()->success()) throw BenchError("/bin/true has failed");
}

void RunSubprocess(Run& run) {
  const int n = run.quick ? 40 : 1'000;
  for (const int greenlets : {1, 4}) {
    std::vector<double> ours, raw, ratios;
    for (int i = 0; i < run.repetitions(); ++i) {
      raw.push_back(PerSecond(n, [n] {
        for (int k = 0; k < n; ++k) SpawnAndWait();
      }));
      ours.push_back(PerSecond(n, [n, greenlets] {
        HubScope scope;
        std::vector<Greenlet<>> all;
        for (int g = 0; g < greenlets; ++g) {
          all.push_back(Spawn([n, greenlets] {
            for (int k = 0; k < n / greenlets; ++k) StartAndWait();
          }));
        }
        for (const Greenlet<>& g : all) g.Get().IgnoreError();
      }));
      ratios.push_back(ours.back() / raw.back());
    }
    run.table.Add({.name = absl::StrCat("start and reap /bin/true, ", greenlets,
                                        greenlets == 1 ? " greenlet" : " greenlets"),
                   .value = Median(ours),
                   .unit = "1/s",
                   .target = {Target::kRatioAtLeast, 0.85},
                   .peer = Median(raw),
                   .ratios = ratios,
                   .note = Spread(ratios, "ratios ")});
  }
}

}  // namespace

std::vector<Benchmark> SubprocessBenchmarks() {
  return {{"subprocess_true", 120, &RunSubprocess}};
}

}  // namespace grove::bench
