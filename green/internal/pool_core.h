#ifndef GROVE_GREEN_INTERNAL_POOL_CORE_H_
#define GROVE_GREEN_INTERNAL_POOL_CORE_H_

#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "grove/green/internal/native_task.h"
#include "grove/hub/deadline.h"
#include "grove/hub/internal/relaxed.h"

namespace grove::green_internal {

// See ThreadPoolOptions.
struct PoolLimits {
  int max_threads;
  absl::Duration idle_timeout;
  size_t max_queued;
};

// PoolCore
//
// The native side of a ThreadPool: threads, and a queue of tasks, first come first
// served. A thread without a task sleeps on a word of its own; a task is handed to the
// one that fell asleep last, so that those that are not needed can end.
//
// Threads: any.
class PoolCore {
 public:
  PoolCore(std::string name, PoolLimits limits);
  PoolCore(const PoolCore&) = delete;
  PoolCore& operator=(const PoolCore&) = delete;
  ~PoolCore();

  // Whether this thread belongs to a pool.
  static bool OnPoolThread();

  const std::string& name() const { return name_; }
  int size() const;
  int max_threads() const;
  void set_max_threads(int n);
  // How many tasks wait for a thread.
  size_t queued() const { return queued_; }
  // How many tasks have not come home.
  size_t unfinished() const { return unfinished_.load(std::memory_order_seq_cst); }

  // PoolCore::AwaitIdle()
  //
  // Waits until no task is unfinished.
  //
  // Blocks: until then; a thread without a hub gets one if it has to wait.
  // Deadline: returns false. Kill: throws.
  bool AwaitIdle(Deadline deadline);

  // PoolCore::Close()
  //
  // Takes no more tasks; those that have not begun end as kCancelled.
  void Close();

  // PoolCore::Stop()
  //
  // Waits until all threads have ended; for a pool that is closed and idle. Blocks the
  // thread, since they have nothing left to do.
  void Stop();

  // PoolCore::JoinWhoEndedLast()
  //
  // Which nobody has joined yet, if a thread has ended. Blocks the thread until that one
  // is gone, which it is about to be.
  void JoinWhoEndedLast();

  // How many threads all pools together may have, the first of each not counted in.
  static void SetProcessLimit(int n);
  static int ProcessLimit();
  static int ProcessThreads();

  // For tests: the next `n` threads cannot be started, as by EAGAIN.
  static void FailThreadStarts(int n);

 private:
  friend class NativeTask;
  struct Worker;
  class Joiner;

  // For NativeTask.
  absl::Status Submit(NativeTask* task, bool* admitted);
  bool Remove(NativeTask* task, bool unless_admitted);
  void TaskCameHome();
  void CountAgain() { unfinished_.fetch_add(1, std::memory_order_seq_cst); }

  // Under the lock.
  void Enqueue(NativeTask* task);
  void Dequeue(NativeTask* task);
  NativeTask* TakeFirst();
  NativeTask* TakeAll();                                                   // as a list
  static void SendAllHome(NativeTask* first, const absl::Status& status);  // without it
  bool TooMany() const { return threads_ - leaving_ > max_threads_; }
  bool TakeThread();
  void DismissIdle(int n);
  // Lets go of the lock meanwhile. 0, or an errno; then there is no more thread.
  int StartThread(std::unique_lock<std::mutex>& lock);
  absl::Status NoThread(int error, NativeTask* own, std::unique_lock<std::mutex>& lock);
  void WakeJoiners();

  // On the threads.
  static void* WorkerMain(void* worker);
  NativeTask* Next(Worker* self, NativeTask* done);
  NativeTask* Sleep(Worker* self);
  void Leave(Worker* self);

  // Around a fork.
  static void RegisterForkHandlers();
  static void BeforeFork();
  static void AfterForkInParent();
  static void AfterForkInChild();
  void ForgetParent();

  const std::string name_;
  const absl::Duration idle_timeout_;
  const size_t max_queued_;
  std::atomic<size_t> unfinished_{0};

  mutable std::mutex mutex_;
  std::condition_variable thread_ended_;
  int max_threads_;
  int threads_ = 0;  // all that were started and have not ended
  int leaving_ = 0;  // those of them that take no more tasks
  int thread_number_ = 0;
  Worker* idle_ = nullptr;
  NativeTask* first_ = nullptr;
  NativeTask* last_ = nullptr;
  NativeTask* not_admitted_ = nullptr;       // the first such one
  hub_internal::Relaxed<size_t> queued_{0};  // read without the lock, too
  bool closed_ = false;
  // The thread that ended last, which has joined the one before.
  bool one_has_ended_ = false;
  pthread_t ended_ = {};
  Joiner* joiners_ = nullptr;
  uint32_t forks_ = 0;  // that this pool has gone through as the child

  PoolCore* all_previous_ = nullptr;  // every pool
  PoolCore* all_next_ = nullptr;
};

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_INTERNAL_POOL_CORE_H_
