#ifndef GROVE_GREEN_MONITOR_TEST_UTIL_H_
#define GROVE_GREEN_MONITOR_TEST_UTIL_H_

#include <gtest/gtest.h>
#include <semaphore.h>
#include <unistd.h>

#include <functional>
#include <thread>
#include <utility>

#include "grove/green/hub_scope.h"

// What the tests of those who look at other threads' hubs have in common.
namespace grove::test_util {

// What whole threads wait for, and signals reach them meanwhile: ThreadSanitizer puts
// them off while a thread is in read(2).
class ThreadSemaphore {
 public:
  ThreadSemaphore() { sem_init(&semaphore_, 0, 0); }
  ThreadSemaphore(const ThreadSemaphore&) = delete;
  ThreadSemaphore& operator=(const ThreadSemaphore&) = delete;
  ~ThreadSemaphore() { sem_destroy(&semaphore_); }
  void Await() {
    while (sem_wait(&semaphore_) != 0) {
    }
  }
  void Tell() { sem_post(&semaphore_); }

 private:
  sem_t semaphore_;
};

// A pipe that whole threads wait on.
class ThreadPipe {
 public:
  ThreadPipe() { EXPECT_EQ(pipe(ends_), 0); }
  ThreadPipe(const ThreadPipe&) = delete;
  ThreadPipe& operator=(const ThreadPipe&) = delete;
  ~ThreadPipe() {
    close(ends_[0]);
    close(ends_[1]);
  }
  void Await() {
    char byte;
    EXPECT_EQ(read(ends_[0], &byte, 1), 1);
  }
  int read_end() const { return ends_[0]; }
  void Tell() { EXPECT_EQ(write(ends_[1], "x", 1), 1); }

 private:
  int ends_[2];
};

// Holds up its thread, and whatever greenlets are there, until it is let go.
class Stall {
 public:
  // On the thread to be held up. In a function whose name can be looked for.
  [[gnu::noinline]] void HoldsUpTheThread() {
    begun_.Tell();
    end_.Await();
    asm volatile("");  // no tail call
  }
  // On the other one.
  void AwaitBegin() { begun_.Await(); }
  void End() { end_.Tell(); }

 private:
  ThreadSemaphore begun_;
  ThreadSemaphore end_;
};

// A thread with a hub, whose main greenlet runs `main`.
class HubThread {
 public:
  explicit HubThread(std::function<void()> main, HubOptions options = {.name = "other"})
      : thread_([main = std::move(main), options] {
          const HubScope scope(options);
          main();
        }) {}
  ~HubThread() { thread_.join(); }

 private:
  std::thread thread_;
};

}  // namespace grove::test_util

#endif  // GROVE_GREEN_MONITOR_TEST_UTIL_H_
