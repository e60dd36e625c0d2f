// What one thread does without the kernel: switching, spawning, parking.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/internal/scheduler.h"
#include "grove/green/sleep.h"
#include "grove/hub/clock.h"
#include "tools/bench/alloc_count.h"
#include "tools/bench/bench.h"
#include "tools/bench/core_speed.h"

namespace grove::bench {
namespace {

using green_internal::Core;
using green_internal::Scheduler;

double YieldNs(int greenlets, int rounds) {
  HubScope scope;
  std::vector<Greenlet<>> all;
  for (int i = 0; i < greenlets; ++i) {
    all.push_back(Spawn([rounds] {
      // One more, which is not measured: it is the start.
      for (int r = 0; r <= rounds; ++r) Yield();
    }));
  }
  Yield();
  const MonotonicNanos start = Clock::ReadMonotonic();
  for (const Greenlet<>& g : all) g.Join();
  return static_cast<double>(Clock::ReadMonotonic() - start) / greenlets / rounds;
}

void RunYield(Run& run) {
  struct Case {
    int greenlets;
    double target;
  };
  // ThreadSanitizer, under which bench_test runs as well, allows for some 8,000.
  for (const Case& c : {Case{2, 5}, Case{run.quick ? 1'000 : 10'000, 20}}) {
    const int rounds = (run.quick ? 200'000 : 20'000'000) / c.greenlets;
    Timings ns;
    for (int i = 0; i < run.repetitions(); ++i) {
      ns.Take([&] { return YieldNs(c.greenlets, rounds); });
    }
    run.table.Add({.name = absl::StrCat("yield, ", c.greenlets, " greenlets"),
                   .value = ns.median(),
                   .unit = "ns",
                   .target = {Target::kAtMost, c.target},
                   .note = ns.note()});
  }
}

void RunSpawnJoin(Run& run) {
  const int n = run.quick ? 20'000 : 5'000'000;
  HubScope scope;
  Spawn([] {}).Join();  // cuts the one stack that all of them will use
  Timings ns;
  double allocations = 0;
  for (int i = 0; i < run.repetitions(); ++i) {
    ns.Take([&] {
      const uint64_t allocated = AllocationCount();
      const MonotonicNanos start = Clock::ReadMonotonic();
      for (int k = 0; k < n; ++k) Spawn([] {}).Join();
      const MonotonicNanos end = Clock::ReadMonotonic();
      allocations += static_cast<double>(AllocationCount() - allocated);
      return static_cast<double>(end - start) / n;
    });
  }
  run.table.Add({.name = "spawn + join, empty function",
                 .value = ns.median(),
                 .unit = "ns",
                 .target = {Target::kAtMost, 40},
                 .note = ns.note()});
  run.table.Add(
      {.name = "spawn + join, allocations",
       .value = CountsAllocations() ? allocations / n / run.repetitions() : kNoValue,
       .unit = "per op"});
}

// A wait for Scheduler::Wake() and nothing else.
class BareWaiter final : public green_internal::Waiter {
 public:
  void Cancel() override {}
  std::string Describe() const override { return "the other side of a benchmark"; }
};

struct ParkCost {
  double ns;
  double allocations;
};

// Two greenlets wake each other. Each of the 2 n operations is one wake and one park.
ParkCost ParkOnce(int n) {
  HubScope scope;
  Scheduler& s = Scheduler::Get();
  Core* ping_core = nullptr;
  Core* pong_core = nullptr;
  ParkCost cost = {};
  Greenlet<> pong = Spawn([&] {
    BareWaiter waiter;
    for (int i = 0; i < n; ++i) {
      s.Park(&waiter);
      s.Wake(ping_core);
    }
  });
  Greenlet<> ping = Spawn([&] {
    BareWaiter waiter;
    const uint64_t allocations = AllocationCount();
    const MonotonicNanos start = Clock::ReadMonotonic();
    for (int i = 0; i < n; ++i) {
      s.Wake(pong_core);
      s.Park(&waiter);
    }
    cost.ns = static_cast<double>(Clock::ReadMonotonic() - start) / n / 2;
    cost.allocations = static_cast<double>(AllocationCount() - allocations) / n / 2;
  });
  ping_core = ping.core();
  pong_core = pong.core();
  ping.Join();
  pong.Join();
  return cost;
}

void RunPark(Run& run) {
  const int n = run.quick ? 100'000 : 10'000'000;
  Timings ns;
  double allocations = 0;
  for (int i = 0; i < run.repetitions(); ++i) {
    ns.Take([&] {
      const ParkCost cost = ParkOnce(n);
      allocations += cost.allocations / run.repetitions();
      return cost.ns;
    });
  }
  run.table.Add({.name = "park + wake, no mutex",
                 .value = ns.median(),
                 .unit = "ns",
                 .note = ns.note()});
  run.table.Add({.name = "park + wake, allocations",
                 .value = CountsAllocations() ? allocations : kNoValue,
                 .unit = "per op",
                 .target = {Target::kAtMost, 0}});
}

}  // namespace

std::vector<Benchmark> MicroBenchmarks() {
  return {{"yield", 60, &RunYield},
          {"spawn_join", 60, &RunSpawnJoin},
          {"park", 60, &RunPark}};
}

}  // namespace grove::bench
