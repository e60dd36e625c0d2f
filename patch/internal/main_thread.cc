#include "grove/patch/internal/main_thread.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <utility>

#include "absl/cleanup/cleanup.h"
#include "grove/green/greenlet.h"
#include "grove/green/timeout.h"
#include "grove/patch/internal/parking_lot.h"
#include "grove/patch/internal/thread_keys.h"

namespace grove::patch::patch_internal {

using green_internal::Scheduler;

MainThread& MainThread::Get() {
  static auto* const thread = new MainThread;
  return *thread;
}

void MainThread::Note(Scheduler& s) {
  MainThread& main = Get();
  if (&s == main.scheduler_ || getpid() != gettid()) return;
  main.handle_ = pthread_self();
  main.scheduler_ = &s;
  s.AtEnd([&main] { main.scheduler_ = nullptr; });
}

MainThread* MainThread::OfCurrent() {
  Scheduler* const s = Scheduler::GetIfExists();
  // In a forked child another thread's greenlet may be the main one.
  if (s == nullptr || s->current() != s->main() ||
      s->current()->patched_thread != nullptr) {
    return nullptr;
  }
  Note(*s);
  return s == Get().scheduler_ ? &Get() : nullptr;
}

MainThread* MainThread::Find(pthread_t thread) {
  MainThread& main = Get();
  return main.scheduler_ != nullptr && pthread_equal(main.handle_, thread) ? &main
                                                                           : nullptr;
}

int MainThread::Join(Scheduler& s, void** result, Deadline deadline, const char* call) {
  if (OfCurrent() != nullptr) return EDEADLK;
  if (detached_ || std::exchange(joining_, true)) return EINVAL;
  const absl::Cleanup no_more = [this] { joining_ = false; };
  const ParkedEnd end = ParkAt(
      s, &ended_, [this] { return !ended_; }, deadline, call, /*cancellable=*/true);
  if (end == ParkedEnd::kDeadline) return ETIMEDOUT;
  if (result != nullptr) *result = result_;
  detached_ = true;
  return 0;
}

int MainThread::Detach() { return std::exchange(detached_, true) ? EINVAL : 0; }

void MainThread::Interrupt() {
  Scheduler* const s = scheduler_;
  if (s == nullptr) return;
  if (s->on_home_thread()) {
    s->Kill(s->main(), nullptr);
  } else {
    s->handle().Post([s] { s->Kill(s->main(), nullptr); }).IgnoreError();
  }
}

void MainThread::End(void* result) {
  const Shield shield;
  for (int round = 0; round < PTHREAD_DESTRUCTOR_ITERATIONS; ++round) {
    bool any = false;
    for (pthread_key_t key = 0; key < PTHREAD_KEYS_MAX; ++key) {
      any |= DestroyValueOfLibc(key);
    }
    if (!any) break;
  }
  MainThread& main = Get();
  main.result_ = result;
  main.ended_ = true;
  WakeAt(&main.ended_, SIZE_MAX);
  std::atomic<size_t>& running = RunningThreads();
  while (running > 0) {
    ParkAt(
        *main.scheduler_, &running, [&] { return running > 0; }, {}, "pthread_exit");
  }
  exit(0);
}

}  // namespace grove::patch::patch_internal
