// From one hub to another: how many posts, how fast a wake. The wakes are compared with
// what any two threads can do, an eventfd and epoll, measured in turn with them.

#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include "grove/green/call.h"
#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/sleep.h"
#include "grove/green/thread_pool.h"
#include "grove/hub/clock.h"
#include "grove/hub/hub.h"
#include "tools/bench/bench.h"
#include "tools/bench/hub_thread.h"

namespace grove::bench {
namespace {

// --- posts ---------------------------------------------------------------------------

struct CountLetter : Letter {
  explicit CountLetter(const std::function<void()>* c) : Letter(&Deliver), count(c) {}
  static void Deliver(Letter* letter, bool) {
    (*static_cast<CountLetter*>(letter)->count)();
  }
  const std::function<void()>* count;
};

// Threads post, this thread's hub receives; from the first post to the last delivery. The
// producers share the cores that the hub leaves them.
template <typename PostPart>
double PostsPerSecond(int n, int producers, Gate& done, PostPart post_part) {
  std::atomic<int> ready{0};
  std::atomic<MonotonicNanos> start{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < producers; ++i) {
    threads.emplace_back([&, i] {
      PinScope pin(CoreNumber(1 + i));
      if (++ready == producers) start = Clock::ReadMonotonic();
      while (start == 0) sched_yield();
      post_part(n / producers * i, n / producers * (i + 1));
    });
  }
  done.Wait();
  const MonotonicNanos end = Clock::ReadMonotonic();
  for (std::thread& t : threads) t.join();
  return n / (static_cast<double>(end - start) / 1e9);
}

void RunPosts(Run& run) {
  const int n = run.quick ? 20'000 : 1'000'000;
  PinScope pin(CoreNumber(0));
  HubScope scope;
  KeepAlive alive(&scope.hub());
  const HubHandle home = scope.hub().handle();
  Gate done;
  int delivered = 0;
  const std::function<void()> count = [&] {
    if (++delivered < n) return;
    delivered = 0;
    done.Open();
  };
  std::vector<CountLetter> all(static_cast<size_t>(n), CountLetter(&count));
  const auto post = [&](int from, int to) {
    for (int k = from; k < to; ++k) home.Post([&count] { count(); }).IgnoreError();
  };
  const auto post_letters = [&](int from, int to) {
    for (int k = from; k < to; ++k) home.PostLetter(&all[k]);
  };
  std::vector<double> posts, of_four, letters;
  for (int i = 0; i < run.repetitions(); ++i) {
    posts.push_back(PostsPerSecond(n, 1, done, post) / 1e6);
    of_four.push_back(PostsPerSecond(n, 4, done, post) / 1e6);
    letters.push_back(PostsPerSecond(n, 1, done, post_letters) / 1e6);
  }
  const auto add = [&](const char* name, const std::vector<double>& rates) {
    run.table.Add({.name = name,
                   .value = Median(rates),
                   .unit = "million/s",
                   .target = {Target::kAtLeast, 5},
                   .note = Spread(rates)});
  };
  add("HubHandle::Post, one producer", posts);
  add("HubHandle::Post, four producers", of_four);
  add("HubHandle::PostLetter, one producer", letters);
}

// --- the raw side --------------------------------------------------------------------

void Signal(int event_fd) {
  const uint64_t one = 1;
  if (write(event_fd, &one, sizeof one) != sizeof one) throw BenchError("eventfd write");
}

// An eventfd, and an epoll set to wait for it.
class RawMailbox {
 public:
  RawMailbox()
      : event_fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)),
        epoll_fd_(epoll_create1(EPOLL_CLOEXEC)) {
    epoll_event e = {};
    e.events = EPOLLIN;
    if (event_fd_ < 0 || epoll_fd_ < 0 ||
        epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, event_fd_, &e) != 0) {
      throw BenchError("cannot make an eventfd in an epoll set");
    }
  }
  RawMailbox(const RawMailbox&) = delete;
  RawMailbox& operator=(const RawMailbox&) = delete;
  ~RawMailbox() {
    close(epoll_fd_);
    close(event_fd_);
  }

  void Post() { Signal(event_fd_); }
  void Wait() {
    epoll_event events[16];
    while (epoll_wait(epoll_fd_, events, 16, -1) < 1) {
    }
    uint64_t count;
    if (read(event_fd_, &count, sizeof count) != sizeof count)
      throw BenchError("eventfd");
  }

 private:
  const int event_fd_;
  const int epoll_fd_;
};

// Waits for its mailbox and calls a function each time.
class RawThread {
 public:
  RawThread(int core, std::function<void()> on_mail)
      : thread_([this, core, on_mail = std::move(on_mail)] {
          PinScope pin(core);
          for (;;) {
            mailbox_.Wait();
            if (stop_.load(std::memory_order_relaxed)) return;
            on_mail();
          }
        }) {}
  RawThread(const RawThread&) = delete;
  RawThread& operator=(const RawThread&) = delete;
  ~RawThread() {
    stop_.store(true, std::memory_order_relaxed);
    mailbox_.Post();
    thread_.join();
  }

  void Post() { mailbox_.Post(); }
  double CpuUs() { return ThreadCpuUs(thread_); }

 private:
  RawMailbox mailbox_;
  std::atomic<bool> stop_{false};
  std::thread thread_;  // last: it uses the others
};

// --- one way -------------------------------------------------------------------------

// Where the receiver of a wake says when it came.
struct Arrival {
  std::atomic<MonotonicNanos> at{0};
  std::atomic<int> count{0};

  void Note() {
    at.store(Clock::ReadMonotonic(), std::memory_order_relaxed);
    count.fetch_add(1, std::memory_order_release);
  }
};

struct WakeCost {
  double us;      // from before the post until the receiver runs, median
  double cpu_us;  // the receiver's whole CPU time, and the sender's in the post
};

WakeCost MeasureWakes(int n, Arrival& arrival, const std::function<void()>& post,
                      const std::function<double()>& receiver_cpu_us) {
  std::vector<double> us;
  double posting_us = 0;
  const double cpu_before = receiver_cpu_us();
  for (int i = 0; i < n; ++i) {
    // Long enough for the receiver to fall asleep.
    std::this_thread::sleep_for(std::chrono::microseconds(50));
    const int seen = arrival.count.load(std::memory_order_acquire);
    const MonotonicNanos start = Clock::ReadMonotonic();
    post();
    const MonotonicNanos posted = Clock::ReadMonotonic();
    while (arrival.count.load(std::memory_order_acquire) == seen) sched_yield();
    posting_us += static_cast<double>(posted - start) / 1e3;
    us.push_back(static_cast<double>(arrival.at.load(std::memory_order_relaxed) - start) /
                 1e3);
  }
  return {Median(us), (receiver_cpu_us() - cpu_before + posting_us) / n};
}

struct ArrivalLetter : Letter {
  explicit ArrivalLetter(Arrival* a) : Letter(&Deliver), arrival(a) {}
  static void Deliver(Letter* letter, bool) {
    static_cast<ArrivalLetter*>(letter)->arrival->Note();
  }
  Arrival* const arrival;
};

void RunWake(Run& run) {
  const int n = run.quick ? 100 : 3000;
  PinScope pin(CoreNumber(0));
  Arrival arrival;
  ArrivalLetter letter(&arrival);
  HubThread hub(CoreNumber(1));
  RawThread raw(CoreNumber(1), [&] { arrival.Note(); });
  std::vector<double> us[2], cpu[2], ratios, cpu_ratios;
  for (int i = 0; i < run.repetitions(); ++i) {
    const WakeCost r = MeasureWakes(
        n, arrival, [&] { raw.Post(); }, [&] { return raw.CpuUs(); });
    const WakeCost h = MeasureWakes(
        n, arrival, [&] { hub.handle().PostLetter(&letter); },
        [&] { return hub.CpuUs(); });
    us[0].push_back(h.us);
    us[1].push_back(r.us);
    cpu[0].push_back(h.cpu_us);
    cpu[1].push_back(r.cpu_us);
    ratios.push_back(h.us / r.us);
    cpu_ratios.push_back(h.cpu_us / r.cpu_us);
  }
  run.table.Add({.name = "wake of a sleeping hub, one way",
                 .value = Median(us[0]),
                 .unit = "us",
                 .target = {Target::kRatioAtMost, 1},
                 .peer = Median(us[1]),
                 .ratios = ratios,
                 .note = Spread(ratios, "informational; ratios ")});
  run.table.Add({.name = "wake of a sleeping hub, CPU of both sides",
                 .value = Median(cpu[0]),
                 .unit = "us",
                 .peer = Median(cpu[1]),
                 .ratios = cpu_ratios,
                 .note = Spread(cpu_ratios, "ratios ")});
}

// --- there and back ------------------------------------------------------------------

struct PongLetter : Letter {
  explicit PongLetter(Gate* g) : Letter(&Deliver), gate(g) {}
  static void Deliver(Letter* letter, bool) {
    static_cast<PongLetter*>(letter)->gate->Open();
  }
  Gate* const gate;
};

struct PingLetter : Letter {
  PingLetter(HubHandle h, PongLetter* p)
      : Letter(&Deliver), home(std::move(h)), pong(p) {}
  static void Deliver(Letter* letter, bool) {
    const PingLetter* self = static_cast<PingLetter*>(letter);
    self->home.PostLetter(self->pong);
  }
  const HubHandle home;
  PongLetter* const pong;
};

template <typename RoundTrip>
double MicrosecondsEach(int n, const RoundTrip& round_trip) {
  const MonotonicNanos start = Clock::ReadMonotonic();
  for (int k = 0; k < n; ++k) round_trip();
  return static_cast<double>(Clock::ReadMonotonic() - start) / 1e3 / n;
}

void RunRoundTrip(Run& run) {
  const int n = run.quick ? 500 : 20'000;
  PinScope pin(CoreNumber(0));
  HubScope scope;
  KeepAlive alive(&scope.hub());
  Gate gate;
  PongLetter pong(&gate);
  PingLetter ping(scope.hub().handle(), &pong);
  HubThread hub(CoreNumber(1));
  RawMailbox raw_home;
  RawThread raw(CoreNumber(1), [&] { raw_home.Post(); });

  std::vector<double> hub_us, call_us, raw_us, hub_ratios, call_ratios;
  for (int i = 0; i < run.repetitions(); ++i) {
    raw_us.push_back(MicrosecondsEach(n, [&] {
      raw.Post();
      raw_home.Wait();
    }));
    hub_us.push_back(MicrosecondsEach(n, [&] {
      hub.handle().PostLetter(&ping);
      gate.Wait();
    }));
    call_us.push_back(
        MicrosecondsEach(n, [&] { Call(hub.handle(), [] {}).IgnoreError(); }));
    hub_ratios.push_back(hub_us.back() / raw_us.back());
    call_ratios.push_back(call_us.back() / raw_us.back());
  }
  run.table.Add({.name = "round trip of letters between two hubs",
                 .value = Median(hub_us),
                 .unit = "us",
                 .peer = Median(raw_us),
                 .ratios = hub_ratios,
                 .note = Spread(hub_ratios, "ratios ")});
  run.table.Add({.name = "Call to a sleeping hub",
                 .value = Median(call_us),
                 .unit = "us",
                 .target = {Target::kRatioAtMost, 1.15},
                 .peer = Median(raw_us),
                 .ratios = call_ratios,
                 .note = Spread(call_ratios, "ratios ")});
}

// Each hub has a greenlet that is always ready.
void RunCallAwake(Run& run) {
  const int n = run.quick ? 500 : 20'000;
  PinScope pin(CoreNumber(0));
  HubScope scope;
  HubThread hub(CoreNumber(1));
  const auto be_busy = [] {
    for (;;) Yield();
  };
  const Greenlet<> busy_here = Spawn(be_busy);
  const Greenlet<> busy_there = *SpawnOn(hub.handle(), be_busy);
  std::vector<double> us;
  for (int i = 0; i < run.repetitions(); ++i) {
    const MonotonicNanos start = Clock::ReadMonotonic();
    for (int k = 0; k < n; ++k) Call(hub.handle(), [] {}).IgnoreError();
    us.push_back(static_cast<double>(Clock::ReadMonotonic() - start) / 1e3 / n);
  }
  busy_there.Kill();
  busy_here.Kill();
  run.table.Add({.name = "Call to a hub that is awake",
                 .value = Median(us),
                 .unit = "us",
                 .target = {Target::kAtMost, 2},
                 .note = Spread(us)});
}

// --- to a thread of a pool, and back -------------------------------------------------

void StayOnCore(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0) throw BenchError("sched_setaffinity");
}

void RunThreadPoolApply(Run& run) {
  const int n = run.quick ? 500 : 20'000;
  PinScope pin(CoreNumber(0));
  HubScope scope;
  ThreadPool pool({.name = "bench", .max_threads = 1});
  pool.Apply([] { StayOnCore(CoreNumber(1)); }).IgnoreError();
  RawMailbox raw_home;
  RawThread raw(CoreNumber(1), [&] { raw_home.Post(); });

  std::vector<double> pool_us, raw_us, ratios;
  for (int i = 0; i < run.repetitions(); ++i) {
    raw_us.push_back(MicrosecondsEach(n, [&] {
      raw.Post();
      raw_home.Wait();
    }));
    pool_us.push_back(MicrosecondsEach(n, [&] { pool.Apply([] {}).IgnoreError(); }));
    ratios.push_back(pool_us.back() / raw_us.back());
  }
  run.table.Add({.name = "ThreadPool::Apply of an empty function",
                 .value = Median(pool_us),
                 .unit = "us",
                 .target = {Target::kRatioAtMost, 1.2},
                 .peer = Median(raw_us),
                 .ratios = ratios,
                 .note = Spread(ratios, "ratios ")});
}

}  // namespace

std::vector<Benchmark> CrossHubBenchmarks() {
  return {{"post", 60, &RunPosts},
          {"cross_hub_wake", 60, &RunWake},
          {"cross_hub_round_trip", 60, &RunRoundTrip},
          {"cross_hub_call_awake", 60, &RunCallAwake},
          {"thread_pool_apply", 60, &RunThreadPoolApply}};
}

}  // namespace grove::bench
