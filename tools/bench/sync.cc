// What greenlets wait on: locks, events, queues, channels; beside what the standard
// library does for threads.

#include <cmath>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/sleep.h"
#include "grove/hub/clock.h"
#include "grove/sync/channel.h"
#include "grove/sync/event.h"
#include "grove/sync/hub_channel.h"
#include "grove/sync/mutex.h"
#include "grove/sync/queue.h"
#include "grove/sync/select.h"
#include "grove/sync/semaphore.h"
#include "tools/bench/alloc_count.h"
#include "tools/bench/bench.h"
#include "tools/bench/boost_fiber_peer.h"
#include "tools/bench/core_speed.h"
#include "tools/bench/hub_thread.h"

namespace grove::bench {
namespace {

// Keeps the compiler from knowing what lies in memory.
void Forget() { asm volatile("" ::: "memory"); }

double Since(MonotonicNanos start, int n) {
  return static_cast<double>(Clock::ReadMonotonic() - start) / n;
}

struct Cost {
  double ns;
  double allocations = 0;
};

// Adds a row for what `measure(n)` says, and one for what it has allocated.
void Report(Run& run, const std::string& name, int n, double target, Cost (*measure)(int),
            double (*twin)(int) = nullptr, int twin_n = 0) {
  if (run.quick) n = n / 100 + 1;
  Timings ns;
  std::vector<double> twin_ns;
  double allocations = 0;
  for (int i = 0; i < run.repetitions(); ++i) {
    ns.Take([&] {
      const Cost cost = measure(n);
      allocations += cost.allocations / run.repetitions();
      return cost.ns;
    });
    if (twin) twin_ns.push_back(twin(run.quick ? twin_n / 100 + 1 : twin_n));
  }
  run.table.Add({.name = name,
                 .value = ns.median(),
                 .unit = "ns",
                 .target = {Target::kAtMost, target},
                 .peer = twin ? Median(twin_ns) : kNoValue,
                 .note = ns.note()});
  run.table.Add({.name = name + ", allocations",
                 .value = CountsAllocations() ? allocations : kNoValue,
                 .unit = "per op",
                 .target = {Target::kAtMost, 0}});
}

// The same of another library, where the machine has it.
void ReportOther(Run& run, const std::string& name, int n, double (*measure)(int)) {
  Timings ns;
  for (int i = 0; i < run.repetitions(); ++i) {
    ns.Take([&] { return measure(run.quick ? 1'000 : n); });
  }
  const bool there = !std::isnan(ns.median());
  run.table.Add({.name = name,
                 .value = there ? ns.median() : kNoValue,
                 .unit = "ns",
                 .note = there ? ns.note() : "needs libboost-fiber-dev"});
}

// --- without contention ---

template <typename Lockable>
double LockUnlock(Lockable& lock, int n) {
  const MonotonicNanos start = Clock::ReadMonotonic();
  for (int i = 0; i < n; ++i) {
    lock.lock();
    Forget();
    lock.unlock();
  }
  return Since(start, n);
}

Cost MutexCost(int n) {
  HubScope scope;
  Mutex mutex;
  const uint64_t allocations = AllocationCount();
  const double ns = LockUnlock(mutex, n);
  return {ns, static_cast<double>(AllocationCount() - allocations) / n};
}

// With a second thread in the process, as it is where one needs a mutex: glibc leaves out
// the atomics while there is none.
double StdMutexNs(int n) {
  std::mutex mutex;
  std::mutex until;
  until.lock();
  std::thread other([&] { std::lock_guard wait(until); });
  const double ns = LockUnlock(mutex, n);
  until.unlock();
  other.join();
  return ns;
}

template <typename Put, typename Get>
Cost PutGet(int n, Put put, Get get) {
  int sum = 0;
  // In batches, as they come in life.
  constexpr int kBatch = 16;
  const auto batch = [&](int i) {
    for (int k = 0; k < kBatch; ++k) put(i + k);
    for (int k = 0; k < kBatch; ++k) sum += get();
  };
  batch(0);
  const uint64_t allocations = AllocationCount();
  const MonotonicNanos start = Clock::ReadMonotonic();
  for (int i = 0; i < n; i += kBatch) batch(i);
  const double ns = Since(start, n);
  Forget();
  return {ns, static_cast<double>(AllocationCount() - allocations) / n};
}

Cost QueueCost(int n) {
  HubScope scope;
  Queue<int> queue;
  return PutGet(
      n, [&](int i) { queue.Put(i).IgnoreError(); }, [&] { return *queue.Get(); });
}

Cost ChannelCost(int n) {
  HubScope scope;
  Channel<int> channel(64);
  return PutGet(
      n, [&](int i) { channel.Send(i).IgnoreError(); },
      [&] { return *channel.Receive(); });
}

// --- from one greenlet to another ---

// Two greenlets that each do `step` as often.
Cost Alternate(int n, std::function<void()> first, std::function<void(int)> ping,
               std::function<void(int)> pong) {
  Cost cost = {};
  Greenlet<> a = Spawn([&] {
    first();
    Yield();  // the other one stands in line now
    const uint64_t allocations = AllocationCount();
    const MonotonicNanos start = Clock::ReadMonotonic();
    ping(n / 2);
    cost.ns = Since(start, n);
    cost.allocations = static_cast<double>(AllocationCount() - allocations) / n;
  });
  Greenlet<> b = Spawn([&] { pong(n / 2); });
  a.Join();
  b.Join();
  return cost;
}

Cost MutexHandoff(int n) {
  HubScope scope;
  Mutex mutex;
  const auto step = [&](int times) {
    for (int i = 0; i < times; ++i) {
      mutex.unlock();
      mutex.lock();
    }
  };
  return Alternate(
      n, [&] { mutex.lock(); },
      [&](int times) {
        step(times);
        mutex.unlock();
      },
      [&](int times) {
        mutex.lock();
        step(times);
        mutex.unlock();
      });
}

Cost SemaphoreHandoff(int n) {
  HubScope scope;
  Semaphore ping(0), pong(0);
  return Alternate(
      n, [] {},
      [&](int times) {
        for (int i = 0; i < times; ++i) {
          ping.release();
          pong.acquire();
        }
      },
      [&](int times) {
        for (int i = 0; i < times; ++i) {
          ping.acquire();
          pong.release();
        }
      });
}

Cost ChannelHandoff(int n) {
  HubScope scope;
  Channel<int> channel;
  Cost cost = Alternate(
      2 * n, [] {},
      [&](int times) {
        for (int i = 0; i < times; ++i) channel.Send(i).IgnoreError();
      },
      [&](int times) {
        for (int i = 0; i < times; ++i) channel.Receive().IgnoreError();
      });
  return {cost.ns * 2, cost.allocations * 2};
}

// What two threads do with a mutex and a condition variable.
double ThreadHandoff(int n) {
  std::mutex mutex;
  std::condition_variable changed;
  int turn = 0;
  const auto play = [&](int me) {
    std::unique_lock lock(mutex);
    for (int i = 0; i < n / 2; ++i) {
      changed.wait(lock, [&] { return turn == me; });
      turn = 1 - me;
      changed.notify_one();
    }
  };
  const MonotonicNanos start = Clock::ReadMonotonic();
  std::thread other([&] { play(1); });
  play(0);
  other.join();
  return Since(start, n);
}

// --- many ---

Cost EventWake(int n) {
  // ThreadSanitizer, under which bench_test runs as well, allows for some 8,000.
  const int waiters = n < 10'000'000 ? 1'000 : 10'000;
  HubScope scope;
  Event event;
  const int rounds = n / waiters;
  std::vector<Greenlet<>> all;
  for (int i = 0; i < waiters; ++i) {
    all.push_back(Spawn([&] {
      for (int r = 0; r < rounds; ++r) event.Wait();
    }));
  }
  Yield();
  const uint64_t allocations = AllocationCount();
  const MonotonicNanos start = Clock::ReadMonotonic();
  for (int r = 0; r < rounds; ++r) {
    event.Set();
    event.Clear();
    Yield();
  }
  const Cost cost = {Since(start, n),
                     static_cast<double>(AllocationCount() - allocations) / n};
  for (const Greenlet<>& g : all) g.Join();
  return cost;
}

// Eight channels, of which now one and now another has a value; the receiver waits each
// time.
Cost SelectCost(int n) {
  HubScope scope;
  std::vector<std::unique_ptr<Channel<int>>> channels;
  for (int i = 0; i < 8; ++i) channels.push_back(std::make_unique<Channel<int>>(1));
  Cost cost = {};
  Greenlet<> receiver = Spawn([&] {
    ReceiveCase<Channel<int>> c[] = {
        ReceiveCase(*channels[0]), ReceiveCase(*channels[1]), ReceiveCase(*channels[2]),
        ReceiveCase(*channels[3]), ReceiveCase(*channels[4]), ReceiveCase(*channels[5]),
        ReceiveCase(*channels[6]), ReceiveCase(*channels[7])};
    for (int i = 0; i < n; ++i) {
      Select({c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]});
    }
  });
  Yield();
  const uint64_t allocations = AllocationCount();
  const MonotonicNanos start = Clock::ReadMonotonic();
  for (int i = 0; i < n; ++i) {
    channels[static_cast<size_t>(i) % 8]->Send(i).IgnoreError();
    Yield();
  }
  cost.ns = Since(start, n);
  cost.allocations = static_cast<double>(AllocationCount() - allocations) / n;
  receiver.Join();
  return cost;
}

double HubChannelPerSecond(int n) {
  HubChannel<int> channel(4096);
  PinScope pin(CoreNumber(0));
  std::thread sender([&] {
    PinScope pin(CoreNumber(1));
    HubScope scope;
    for (int i = 0; i < n; ++i) channel.Send(i).IgnoreError();
    channel.Close();
  });
  HubScope scope;
  int64_t sum = 0;
  sum += channel.Receive().value_or(0);
  const MonotonicNanos start = Clock::ReadMonotonic();
  for (int value : channel) sum += value;
  const double ns = Since(start, n);
  sender.join();
  if (sum != int64_t{n} * (n - 1) / 2) throw BenchError("a HubChannel lost something");
  return 1e9 / ns;
}

void RunUncontended(Run& run) {
  Report(run, "Mutex, lock + unlock", 100'000'000, 2, &MutexCost, &StdMutexNs,
         20'000'000);
  ReportOther(run, "  Boost.Fiber's mutex", 20'000'000, &BoostFiberMutexNs);
  Report(run, "Queue, put + get", 20'000'000, 12, &QueueCost);
  Report(run, "Channel with capacity, send + receive", 20'000'000, 12, &ChannelCost);
  ReportOther(run, "  Boost.Fiber's buffered_channel", 5'000'000, &BoostFiberBufferedNs);
}

void RunHandoff(Run& run) {
  Report(run, "Mutex, handed over", 20'000'000, 15, &MutexHandoff, &ThreadHandoff,
         200'000);
  Report(run, "Semaphore, handed over", 20'000'000, 15, &SemaphoreHandoff);
  Report(run, "Channel, from hand to hand", 20'000'000, 15, &ChannelHandoff);
  ReportOther(run, "  Boost.Fiber's mutex and condition variable", 2'000'000,
              &BoostFiberHandoffNs);
  ReportOther(run, "  Boost.Fiber's unbuffered_channel", 2'000'000, &BoostFiberChannelNs);
}

void RunMany(Run& run) {
  Report(run, "Event, waking each of 10,000", 10'000'000, 25, &EventWake);
  Report(run, "Select over 8 channels", 5'000'000, 100, &SelectCost);
}

void RunHubChannel(Run& run) {
  const int n = run.quick ? 100'000 : 10'000'000;
  std::vector<double> per_second;
  for (int i = 0; i < run.repetitions(); ++i) {
    per_second.push_back(HubChannelPerSecond(n) / 1e6);
  }
  run.table.Add({.name = "HubChannel, from hub to hub",
                 .value = Median(per_second),
                 .unit = "million/s",
                 .target = {Target::kAtLeast, 5},
                 .note = Spread(per_second)});
}

}  // namespace

std::vector<Benchmark> SyncBenchmarks() {
  return {{"sync_uncontended", 120, &RunUncontended},
          {"sync_handoff", 120, &RunHandoff},
          {"sync_many", 120, &RunMany},
          {"sync_hub_channel", 120, &RunHubChannel}};
}

}  // namespace grove::bench
