#ifndef GROVE_TOOLS_BENCH_HUB_THREAD_H_
#define GROVE_TOOLS_BENCH_HUB_THREAD_H_

#include <sched.h>
#include <time.h>

#include <string>
#include <thread>

#include "grove/green/internal/scheduler.h"
#include "grove/hub/hub.h"

// What the benchmarks of more than one thread share.
namespace grove::bench {

// CoreNumber()
//
// The first or second core that this process may use; the first for both if there is but
// one.
int CoreNumber(int index);

// PinScope
//
// Keeps the calling thread on one core; at its end on those that it had before.
class PinScope {
 public:
  explicit PinScope(int core);
  PinScope(const PinScope&) = delete;
  PinScope& operator=(const PinScope&) = delete;
  ~PinScope();

 private:
  cpu_set_t before_;
};

// Gate
//
// One greenlet waits until somebody on its own hub opens, once. The least that can be
// built on Park() and Wake(), so that what is measured is the hub.
class Gate {
 public:
  Gate() = default;
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;

  void Wait() {
    if (!open_) {
      green_internal::Scheduler& s = green_internal::Scheduler::Get();
      GateWaiter waiter(this);
      core_ = s.current();
      s.Park(&waiter);
    }
    open_ = false;
  }

  // From a loop callback or another greenlet.
  void Open() {
    open_ = true;
    if (core_ == nullptr) return;
    green_internal::Core* core = core_;
    core_ = nullptr;
    green_internal::Scheduler::Get().Wake(core);
  }

 private:
  class GateWaiter final : public green_internal::Waiter {
   public:
    explicit GateWaiter(Gate* gate) : gate_(gate) {}
    void Cancel() override { gate_->core_ = nullptr; }
    std::string Describe() const override { return "a benchmark's gate"; }

   private:
    Gate* const gate_;
  };

  bool open_ = false;
  green_internal::Core* core_ = nullptr;
};

// HubThread
//
// A thread with a hub that only waits for mail.
class HubThread {
 public:
  // Returns when the hub can be posted to.
  explicit HubThread(int core);
  HubThread(const HubThread&) = delete;
  HubThread& operator=(const HubThread&) = delete;
  ~HubThread();

  const HubHandle& handle() const { return handle_; }
  double CpuUs();

 private:
  HubHandle handle_;
  Gate* stop_ = nullptr;  // lies on the thread's stack, and belongs to its hub
  std::thread thread_;
};

// The CPU time that a thread has used, in microseconds.
double ThreadCpuUs(std::thread& thread);

}  // namespace grove::bench

#endif  // GROVE_TOOLS_BENCH_HUB_THREAD_H_
