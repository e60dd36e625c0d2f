#ifndef GROVE_PATCH_INTERNAL_MAIN_THREAD_H_
#define GROVE_PATCH_INTERNAL_MAIN_THREAD_H_

#include <pthread.h>

#include <atomic>
#include <cstddef>

#include "grove/green/internal/scheduler.h"
#include "grove/hub/deadline.h"
#include "grove/patch/internal/thread_exit.h"

namespace grove::patch::patch_internal {

// Cancelling
//
// What pthread_cancel(3) needs of a thread that is a greenlet.
struct Cancelling {
  explicit Cancelling(void (*at_bottom)(void*) = nullptr) : cleanup(at_bottom) {}

  bool allowed = true;
  bool shielded = false;  // by pthread_setcancelstate(3)
  std::atomic<bool> asked_for = false;
  ThreadCleanup cleanup;
};

// MainThread
//
// The process's first thread, if it has a hub: the main greenlet there. It may end before
// the process does (pthread_exit(3)), be joined and be cancelled, as any thread may. All
// else of it is the kernel's thread's.
class MainThread {
 public:
  // If `s` is that hub, who is its main greenlet is known from now on: before the first
  // other thread of the program's begins, and may ask.
  static void Note(green_internal::Scheduler& s);
  // Null unless it is.
  static MainThread* OfCurrent();
  static MainThread* Find(pthread_t thread);

  // Contract of pthread_timedjoin_np(3). `s` is this thread's.
  int Join(green_internal::Scheduler& s, void** result, Deadline deadline,
           const char* call);
  int Detach();
  // By any thread but itself.
  void Interrupt();

  Cancelling cancelling{&End};

 private:
  static MainThread& Get();
  // Where its function and all handlers are done with: destroys the values of its keys,
  // and waits for the other threads. The process ends with the last.
  [[noreturn]] static void End(void* result);

  std::atomic<green_internal::Scheduler*> scheduler_ = nullptr;
  pthread_t handle_ = 0;
  bool detached_ = false;
  bool joining_ = false;
  std::atomic<bool> ended_ = false;
  void* result_ = nullptr;
};

// How many other threads that are greenlets have not ended. Woken at when one does.
std::atomic<size_t>& RunningThreads();

}  // namespace grove::patch::patch_internal

#endif  // GROVE_PATCH_INTERNAL_MAIN_THREAD_H_
