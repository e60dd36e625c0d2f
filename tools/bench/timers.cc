// Timers, Timeout scopes, and how punctual sleepers are.

#include <algorithm>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/sleep.h"
#include "grove/green/timeout.h"
#include "grove/hub/clock.h"
#include "grove/hub/timer_queue.h"
#include "tools/bench/bench.h"
#include "tools/bench/core_speed.h"

namespace grove::bench {
namespace {

// The same sequence in every run (Knuth's MMIX generator; the upper bits are good).
class Random {
 public:
  uint64_t Below(uint64_t n) {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return (state_ >> 33) % n;
  }

 private:
  uint64_t state_ = 42;
};

constexpr uint64_t kSpreadMs = 60'000;

// Moments from one second to a minute ahead, as timeouts of requests are, in no order.
std::vector<MonotonicNanos> SomeDelays() {
  Random random;
  std::vector<MonotonicNanos> delays(4096);
  for (MonotonicNanos& d : delays) {
    d = 1'000'000'000 + static_cast<int64_t>(random.Below(kSpreadMs)) * 1'000'000;
  }
  return delays;
}

double ArmCancelNs(int active, int n) {
  HubScope scope;
  TimerQueue& timers = scope.hub().timers();
  const std::vector<MonotonicNanos> delays = SomeDelays();
  const MonotonicNanos base = Clock::ReadMonotonic();
  std::deque<Timer> others;  // a Timer does not move
  Random random;
  for (int i = 0; i < active; ++i) {
    timers.Arm(
        &others.emplace_back([](Timer*) {}),
        base + 1'000'000'000 + static_cast<int64_t>(random.Below(kSpreadMs)) * 1'000'000);
  }
  // A turn of the hub, so that the wheel stands at the present.
  Sleep(absl::Milliseconds(1));
  Timer timer([](Timer*) {});
  const MonotonicNanos start = Clock::ReadMonotonic();
  for (int i = 0; i < n; ++i) {
    timers.Arm(&timer, start + delays[static_cast<size_t>(i) % delays.size()]);
    timers.Cancel(&timer);
  }
  return static_cast<double>(Clock::ReadMonotonic() - start) / n;
}

void RunTimerArmCancel(Run& run) {
  const int n = run.quick ? 100'000 : 5'000'000;
  for (const int active : {0, 10'000, 100'000}) {
    Timings ns;
    for (int i = 0; i < run.repetitions(); ++i) {
      ns.Take([&] { return ArmCancelNs(active, n); });
    }
    Row row = {.name = absl::StrCat("timer arm + cancel, ", active, " active"),
               .value = ns.median(),
               .unit = "ns",
               .note = ns.note()};
    if (active == 100'000) row.target = {Target::kAtMost, 30};
    run.table.Add(row);
  }
}

void RunTimeoutScope(Run& run) {
  const int n = run.quick ? 50'000 : 5'000'000;
  HubScope scope;
  Timings ns, clock_ns;
  for (int i = 0; i < run.repetitions(); ++i) {
    ns.Take([n] {
      const MonotonicNanos start = Clock::ReadMonotonic();
      for (int k = 0; k < n; ++k) {
        Timeout timeout(absl::Milliseconds(1000 + k % 1024));
      }
      return static_cast<double>(Clock::ReadMonotonic() - start) / n;
    });
  }
  for (int i = 0; i < run.repetitions(); ++i) {
    clock_ns.Take([n] {
      const MonotonicNanos start = Clock::ReadMonotonic();
      MonotonicNanos last = start;
      for (int k = 0; k < n; ++k) last = Clock::ReadMonotonic();
      return static_cast<double>(last - start) / n;
    });
  }
  run.table.Add({.name = "one reading of the clock",
                 .value = clock_ns.median(),
                 .unit = "ns",
                 .note = clock_ns.note()});
  run.table.Add({.name = "Timeout scope that does not expire",
                 .value = ns.median(),
                 .unit = "ns",
                 .note = "a reading of the clock is part of it; " + ns.note()});
}

void RunLateness(Run& run) {
  const int sleepers = run.quick ? 2'000 : 100'000;
  const MonotonicNanos spread = run.quick ? 200'000'000 : 2'000'000'000;
  // All are asleep before the first is due: this is about timers, not about spawning.
  const MonotonicNanos due =
      Clock::ReadMonotonic() + (run.quick ? 100'000'000 : 3'000'000'000);
  std::vector<double> late_ms(static_cast<size_t>(sleepers));
  int asleep = 0;
  int64_t early = 0;
  Random random;
  // After what the greenlets refer to: should this throw, it ends them first.
  HubScope scope;
  std::vector<Greenlet<>> all;
  for (double& late : late_ms) {
    const MonotonicNanos wake =
        due + static_cast<int64_t>(random.Below(static_cast<uint64_t>(spread)));
    all.push_back(Spawn([&, wake] {
      ++asleep;
      const MonotonicNanos before = Clock::ReadMonotonic();
      const int64_t duration = std::max<int64_t>(wake - before, 1);
      Sleep(absl::Nanoseconds(duration));
      const int64_t slept = Clock::ReadMonotonic() - before;
      early += slept < duration;
      late = static_cast<double>(slept - duration) / 1e6;
    }));
  }
  while (asleep < sleepers) Yield();
  if (Clock::ReadMonotonic() > due) {
    throw BenchError("spawning took so long that the first sleepers were due before");
  }
  for (const Greenlet<>& g : all) g.Join();
  const std::string who = absl::StrCat(sleepers, " sleepers");
  run.table.Add({.name = who + ", woken early",
                 .value = static_cast<double>(early),
                 .unit = "sleepers",
                 .target = {Target::kAtMost, 0}});
  run.table.Add(
      {.name = who + ", p50 lateness", .value = Quantile(late_ms, 0.5), .unit = "ms"});
  run.table.Add({.name = who + ", p99 lateness",
                 .value = Quantile(late_ms, 0.99),
                 .unit = "ms",
                 .target = {Target::kAtMost, 1.2},
                 .note = absl::StrCat("largest ", Quantile(late_ms, 1))});
}

}  // namespace

std::vector<Benchmark> TimerBenchmarks() {
  return {{"timer_arm_cancel", 60, &RunTimerArmCancel},
          {"timeout_scope", 60, &RunTimeoutScope},
          {"sleep_lateness", 60, &RunLateness}};
}

}  // namespace grove::bench
