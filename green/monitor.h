#ifndef GROVE_GREEN_MONITOR_H_
#define GROVE_GREEN_MONITOR_H_

#include <csignal>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "grove/green/internal/core.h"
#include "grove/green/spawn_site.h"
#include "grove/green/statistics.h"
#include "grove/hub/clock.h"

// Who holds up a hub? A greenlet that computes, or calls what blocks its thread, keeps
// all others of its hub from running. A monitor, on a thread of its own, notices, and
// names the greenlet with its stack at that moment:
//
//   int main() {
//     StartMonitor();
//     ...
//
//   grove: hub 'hub-0' is held up: greenlet 'worker' (#7), spawned at server.cc:31, has
//   run for 103ms or longer without letting others run
//     @ clock_nanosleep (libc.so.6+0xd7544)
//     @ SaveToDisk() (server+0x1f30)
//     ...
//
// It costs hubs nothing: they leave the marks that it looks at anyway.
namespace grove {

// EventLoopBlocked
//
// A greenlet, or a callback on the hub's stack, has run longer than it may. Told once per
// stall, while it lasts.
struct EventLoopBlocked {
  std::string hub;
  std::string label;  // "greenlet 'worker' (#7)", "a loop callback"
  uint64_t greenlet_id = 0;
  SpawnSite spawn_site;
  // That nothing else has run on the hub for; what it will be is not known yet.
  absl::Duration at_least;
  // The innermost frame first: "SaveToDisk() (server+0x1f30)", where the offset is what
  // addr2line(1) wants. Empty, with a reason in `no_stack`, if it could not be had.
  std::vector<std::string> stack;
  std::string no_stack;

  // All of that, as it is printed.
  std::string ToString() const;
};

// MemoryUsageThresholdExceeded, MemoryUsageUnderThreshold
//
// The process uses more memory than it should, and more than when that was last told; it
// does so no longer, told once.
struct MemoryUsageThresholdExceeded {
  size_t usage = 0;
  size_t max_usage = 0;
  std::string ToString() const;
};
struct MemoryUsageUnderThreshold {
  size_t usage = 0;
  size_t max_usage = 0;
  size_t last_exceeded = 0;  // the usage that was told last
  std::string ToString() const;
};

// MonitorThreadStarted
//
// The monitor's thread begins to look.
struct MonitorThreadStarted {
  std::string ToString() const { return "grove: the monitor has started\n"; }
};

using MonitorEvent = std::variant<EventLoopBlocked, MemoryUsageThresholdExceeded,
                                  MemoryUsageUnderThreshold, MonitorThreadStarted>;

// MemoryUsage()
//
// What the process has in memory and does not share with others, in bytes: its resident
// pages that no file backs (proc(5), statm). 0 if that cannot be read.
size_t MemoryUsage();

// MonitorOptions
//
// Defaults are the settings max_blocking_time (100 ms), max_memory_usage (0),
// memory_monitor_period (5 s) and print_blocking_reports (true).
struct MonitorOptions {
  // How long something may run without letting others run. Looked at twice as often, so
  // that a stall is told after this time and half of it at the latest. Infinite: never.
  absl::Duration max_blocking_time = MaxBlockingTime();
  // Bytes; 0: not looked at.
  size_t max_memory_usage = MaxMemoryUsage();
  absl::Duration memory_period = MemoryPeriod();
  std::function<size_t()> memory_meter = &MemoryUsage;
  // Whether stalls and memory events are printed on stderr. Subscribers are told first.
  bool print = PrintsReports();
  // What is sent to the thread that is held up, to get at its stack. Like any signal it
  // ends a sleep or a poll(2) early there, with EINTR; SIGURG is ignored by programs that
  // do not know it. A handler that was there keeps getting what others send.
  int signal = SIGURG;
  // How long the thread may take to answer that.
  absl::Duration stack_limit = absl::Seconds(1);
  // By which all of the above is measured, but for stack_limit.
  Clock* clock = Clock::Real();

 private:
  static absl::Duration MaxBlockingTime();
  static size_t MaxMemoryUsage();
  static absl::Duration MemoryPeriod();
  static bool PrintsReports();
};

// Monitor
//
// Looks after all hubs of the process. Most programs want one, StartMonitor(), until they
// end; in tests, CheckNow() is all of it, and there is no thread.
//
// Its thread does not count as one that could still wake a hub (LoopExit), unless there
// are subscribers or functions. In a forked child there is no thread: make another.
//
// Threads: any.
class Monitor {
 public:
  explicit Monitor(MonitorOptions options = {});
  Monitor(const Monitor&) = delete;
  Monitor& operator=(const Monitor&) = delete;
  // Ends the thread, and waits for it: not to be called by a subscriber.
  ~Monitor();

  // Monitor::Start()
  //
  // Starts the thread; once. A fatal error if there can be no more threads.
  void Start();

  // Monitor::Subscribe()
  //
  // Calls `subscriber` with each event, on the monitor's thread. What it throws is
  // printed and keeps no others from being told. It must not wait for a hub, which may be
  // the one that is held up. May be called by a subscriber, as may Unsubscribe(): when
  // that has returned the subscriber is not called any more. False if there is none by
  // that id.
  using Subscriber = std::function<void(const MonitorEvent&)>;
  uint64_t Subscribe(Subscriber subscriber);
  bool Unsubscribe(uint64_t id);

  // Monitor::AddFunction()
  //
  // Calls `function` with the statistics of all hubs, each time `period` has passed, the
  // first time when it has; as for subscribers. A period that is not positive is a
  // fatal error.
  using Function = std::function<void(const std::vector<HubStatistics>&)>;
  uint64_t AddFunction(absl::Duration period, Function function);
  bool RemoveFunction(uint64_t id);

  // Monitor::CheckNow()
  //
  // Looks at all hubs, and does what else is due by the options' clock. What the thread
  // does again and again. A hub's own thread would find itself at work: call it
  // elsewhere.
  void CheckNow();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// StartMonitor()
//
// The process's monitor, which is never destroyed; made and started by this call, of
// which there may be one. A second one is a fatal error.
Monitor& StartMonitor(MonitorOptions options = {});

// IgnoreBlocking
//
// The current greenlet may hold up its hub for as long as this lives: monitors look away
// while it runs. For what has to block, such as reading a configuration at the beginning.
//
//   { IgnoreBlocking known_to_be_slow; table = LoadTable(); }
//
// Threads: its hub's; it may nest, and live across waits.
class IgnoreBlocking {
 public:
  IgnoreBlocking();
  IgnoreBlocking(const IgnoreBlocking&) = delete;
  IgnoreBlocking& operator=(const IgnoreBlocking&) = delete;
  ~IgnoreBlocking();

 private:
  green_internal::Core* const core_;
};

}  // namespace grove

#endif  // GROVE_GREEN_MONITOR_H_
