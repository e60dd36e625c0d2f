#ifndef GROVE_GREEN_INTERNAL_STACK_CAPTURE_H_
#define GROVE_GREEN_INTERNAL_STACK_CAPTURE_H_

#include <pthread.h>
#include <semaphore.h>

#include <atomic>
#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "grove/green/spawn_site.h"
#include "grove/hub/hub.h"

namespace grove::green_internal {

// What a hub's thread was found running.
struct CapturedStack {
  static constexpr int kMaxFrames = 64;

  bool loop = false;  // a callback, and no greenlet
  uint64_t id = 0;    // of the greenlet; 0 is the main one
  char name[64] = {};
  SpawnSite site;
  Hub::Progress progress;
  int count = 0;
  void* pcs[kMaxFrames] = {};

  // "greenlet 'worker' (#7)", "a loop callback"
  std::string Label() const;
};

// StackCapture
//
// Takes the stack of whatever the thread of a hub runs, from another thread, by a signal
// to that thread alone, in whose handler it walks up its own stack.
class StackCapture {
 public:
  StackCapture();
  StackCapture(const StackCapture&) = delete;
  StackCapture& operator=(const StackCapture&) = delete;
  ~StackCapture();

  // StackCapture::InstallHandler()
  //
  // Has to come before. What handler there was is called for signals of others. No
  // effect for a signal that has it already.
  static void InstallHandler(int signum);

  // StackCapture::Take()
  //
  // False if the thread has not answered within the limit: it is in a system call that
  // cannot be interrupted, blocks the signal, or got no processor. One at a time.
  //
  // Threads: any but that one.
  bool Take(pthread_t thread, int signum, absl::Duration limit, CapturedStack* out);

  // For the handler, on the thread that was asked. False if nobody asked.
  bool Answer(const void* pc, const void* sp);

 private:
  enum State : int { kIdle, kAsked, kAnswering, kAnswered };
  std::atomic<int> state_{kIdle};
  sem_t answered_;
  CapturedStack result_;
};

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_INTERNAL_STACK_CAPTURE_H_
