#include "tools/bench/hub_thread.h"

#include <pthread.h>

#include <algorithm>
#include <future>
#include <vector>

#include "grove/green/hub_group.h"
#include "grove/green/hub_scope.h"
#include "tools/bench/bench.h"

namespace grove::bench {

int CoreNumber(int index) {
  // Asked once: later the caller may be pinned itself.
  static const std::vector<int>* const cores = new std::vector<int>(AllowedCores());
  return (
      *cores)[static_cast<size_t>(std::min(index, static_cast<int>(cores->size()) - 1))];
}

PinScope::PinScope(int core) {
  sched_getaffinity(0, sizeof before_, &before_);
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<size_t>(core), &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0) {
    throw BenchError("cannot stay on one core (sched_setaffinity)");
  }
}

PinScope::~PinScope() { sched_setaffinity(0, sizeof before_, &before_); }

HubThread::HubThread(int core) {
  std::promise<void> ready;
  thread_ = std::thread([this, core, &ready] {
    PinScope pin(core);
    HubScope scope;
    KeepAlive alive(&scope.hub());
    Gate stop;
    stop_ = &stop;
    handle_ = scope.hub().handle();
    ready.set_value();  // which publishes both to the constructor
    stop.Wait();
  });
  ready.get_future().wait();
}

HubThread::~HubThread() {
  handle_.Post([stop = stop_] { stop->Open(); }).IgnoreError();
  thread_.join();
}

double HubThread::CpuUs() { return ThreadCpuUs(thread_); }

double ThreadCpuUs(std::thread& thread) {
  clockid_t clock;
  timespec t;
  if (pthread_getcpuclockid(thread.native_handle(), &clock) != 0 ||
      clock_gettime(clock, &t) != 0) {
    throw BenchError("cannot read a thread's CPU time");
  }
  return static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_nsec) / 1e3;
}

}  // namespace grove::bench
