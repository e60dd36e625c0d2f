#ifndef GROVE_GREEN_THREAD_POOL_H_
#define GROVE_GREEN_THREAD_POOL_H_

#include <cstddef>
#include <memory>
#include <optional>
#include <ranges>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "grove/green/internal/applied_task.h"
#include "grove/green/internal/pool_core.h"
#include "grove/green/internal/pool_outcome.h"
#include "grove/green/pool_task.h"
#include "grove/green/spawn_site.h"
#include "grove/green/statistics_gauge.h"
#include "grove/green/thread_map.h"
#include "grove/hub/deadline.h"

namespace grove {

// ThreadPoolOptions
struct ThreadPoolOptions {
  // For messages, and for the threads: "<name>-1" and so on, as far as 15 bytes go.
  std::string name = "pool";
  // At least one. If not given, the setting `thread_pool_threads`: 10.
  std::optional<int> max_threads = {};
  // A thread ends when it had nothing to do for so long. Real time. If not given, the
  // setting `thread_pool_idle_timeout`: 5 s.
  std::optional<absl::Duration> idle_timeout = {};
  // How many tasks may wait for a thread before Spawn() blocks.
  size_t max_queued = 1000;
};

// ThreadPool
//
// Native threads for what blocks its thread and knows nothing of greenlets: a database
// client, a slow computation, stat(2) on a network file system. The greenlet waits, the
// hub goes on.
//
//   ThreadPool pool({.name = "db", .max_threads = 4});
//   absl::StatusOr<Row> row = pool.Apply([&] { return client.Query(sql); });
//
// What needs no pool of its own: Blocking() (blocking.h).
//
// Threads are started as they are needed, up to the limit, and end when they are not
// needed any more; tasks begin first come first served. A task is plain native code: no
// signal is delivered there but those that it causes itself. It may use grove as any
// thread may, and so make a hub of its own, which ends with the thread. Between two tasks
// nothing of that hub runs: what is posted there, or left there, waits for a task that
// waits there. Nor does a Monitor tell of a task that holds it up.
//
// A task cannot be stopped once it has begun; nobody can stop a thread. So that it may
// refer to the caller's variables, Apply() waits for it until it has ended, whatever
// happens. What Spawn() has started may be abandoned: capture by value there.
//
// On a thread of a pool, of this or another one, Apply() and Spawn() run the function
// right there, also after Shutdown(): a task that waited for a thread, and held one
// meanwhile, could wait for ever.
//
// If a thread cannot be started (the system's limits), tasks are left to those that
// there are; if there is none, they fail with the error, which has errno.
//
// After a fork(), the child's pools are as new, without threads. Tasks that were under
// way go on in the parent only; whoever waits for one in the child gets kAborted. A task
// that forks should exec or _exit(): when it returns in the child, its thread just ends.
//
// Threads: any. A thread without a hub gets one by the first call that may wait.
class ThreadPool {
 public:
  explicit ThreadPool(ThreadPoolOptions options = {});
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  // Waits, shielded, until all tasks have ended, also those that have not begun;
  // Shutdown() first, to be rid of those. Then for the threads' ends. In a task of this
  // pool it is a fatal error.
  ~ThreadPool();

  // ThreadPool::Default(), ThreadPool::Named()
  //
  // Pools of the process, which never end: "default", for Blocking() and whatever is
  // quick; and others by name, so that what is slow there does not stand in the way of
  // what is slow elsewhere ("files", "resolver"). Made with default options at the first
  // call: set_max_threads() changes the limit.
  static ThreadPool& Default();
  static ThreadPool& Named(absl::string_view name);

  // ThreadPool::SetProcessLimit()
  //
  // How many threads the pools of this process may have together; unless it is set, the
  // setting `thread_pool_process_limit`: 256. When there are as many, pools make do with
  // the threads that they have. The first thread of each is always granted, so that no
  // pool waits for another: at the limit there can be more threads, by one for each pool
  // that had none. A lower limit ends no thread that is there.
  static void SetProcessLimit(int threads);
  static int process_limit();
  // How many there are.
  static int process_threads();

  // ThreadPool::Apply()
  //
  // Runs `fn` on a thread, and returns what it returns as Greenlet::Get() does: what it
  // throws is thrown, errors are joined with the pool's own: kFailedPrecondition after
  // Shutdown(), kCancelled by one, kAborted in a forked child, or why no thread could be
  // started. `fn` may refer to the caller's variables.
  //
  // Once `fn` has begun, neither a deadline nor a kill ends the call: its result is
  // waited for and returned.
  //
  // Blocks: until `fn` has ended.
  // Deadline: returns kDeadlineExceeded if `fn` has not begun; it never will.
  // Kill: throws if `fn` has not begun; it never will. Else the next blocking call
  // throws.
  template <typename F>
  auto Apply(F&& fn, Deadline deadline = {}) ->
      typename green_internal::GetResult<std::invoke_result_t<std::decay_t<F>&>>::type {
    using T = std::invoke_result_t<std::decay_t<F>&>;
    if (green_internal::PoolCore::OnPoolThread()) {
      green_internal::PoolOutcome<T> outcome;
      outcome.Run(fn);
      return std::move(outcome).Get();
    }
    green_internal::AppliedFunction<std::remove_reference_t<F>, T> task(fn);
    absl::Status status = task.Perform(core_.get(), deadline);
    if (!status.ok()) return status;
    return std::move(task.outcome).Get();
  }

  // ThreadPool::Spawn()
  //
  // Lets a thread run `fn`, and returns a handle by which its result can be waited for,
  // also together with greenlets (pool_task.h). What `fn` captures is destroyed on the
  // thread when it has run, or else on the hub's own stack, where it must not block. If
  // it cannot run, the handle says why.
  //
  // Blocks: while the queue is full; see max_queued.
  // Kill: throws if `fn` was still waiting for room, and it never runs; else the next
  // blocking call throws.
  template <typename F>
  auto Spawn(F&& fn, SpawnSite site = SpawnSite::Here())
      -> PoolTask<std::invoke_result_t<std::decay_t<F>&>> {
    using Function = std::decay_t<F>;
    using T = std::invoke_result_t<Function&>;
    auto* state = new green_internal::SpawnedFunction<Function, T>(core_, site,
                                                                   std::forward<F>(fn));
    PoolTask<T> handle(state);
    state->Begin();
    return handle;
  }

  // ThreadPool::Map()
  //
  // fn(item) for each item, on as many threads at a time as the pool may have, which all
  // call the same `fn`; returns the results in the order of the items (nothing if `fn`
  // returns nothing). What the first of them throws is thrown, once no other runs any
  // more; ItemKilled if a task could not run.
  //
  //   std::vector<Image> images = pool.Map(&Decode, paths);
  //
  // Blocks: until all have ended.
  // Kill: throws, once those that have begun have ended; the others never do.
  template <typename F, std::ranges::input_range Range>
  auto Map(F fn, Range&& items, SpawnSite site = SpawnSite::Here()) {
    auto results = IMap(std::move(fn), std::forward<Range>(items), {}, site);
    return green_internal::Collect(results);
  }

  // ThreadPool::IMap(), ThreadPool::IMapUnordered()
  //
  // As Map(), lazily: the results are an input range, in the order of the items or in
  // that in which they are ready. See thread_map.h, and IMapOptions for how far work goes
  // ahead of the consumer.
  template <typename F, std::ranges::input_range Range>
  auto IMap(F fn, Range&& items, IMapOptions options = {},
            SpawnSite site = SpawnSite::Here()) {
    return ThreadMapResults<F, Range, /*ordered=*/true>(
        this, max_threads(), std::move(fn), std::forward<Range>(items), options, site);
  }
  template <typename F, std::ranges::input_range Range>
  auto IMapUnordered(F fn, Range&& items, IMapOptions options = {},
                     SpawnSite site = SpawnSite::Here()) {
    return ThreadMapResults<F, Range, /*ordered=*/false>(
        this, max_threads(), std::move(fn), std::forward<Range>(items), options, site);
  }

  const std::string& name() const { return core_->name(); }
  // How many threads there are, and how many there may be. With a lower limit, threads
  // end as soon as they have no task; with a higher one, what waits gets threads at once.
  int size() const { return core_->size(); }
  int max_threads() const { return core_->max_threads(); }
  void set_max_threads(int n) { core_->set_max_threads(n); }

  // How many tasks were submitted and have not ended, as their callers see it.
  size_t unfinished() const { return core_->unfinished(); }

  // ThreadPool::Join()
  //
  // Waits until no task is unfinished, for a moment at least. True if that has been so.
  // In a task of this pool it is a fatal error, as is Shutdown(): it would wait for
  // itself.
  //
  // Blocks: until then. Deadline: returns false. Kill: throws.
  bool Join(Deadline deadline = {}) { return core_->AwaitIdle(deadline); }

  // ThreadPool::Shutdown()
  //
  // From now on the pool takes no tasks, and those that have not begun never will: they
  // end as kCancelled. Waits until those that have begun have ended; true if they have.
  //
  // Blocks: until then. Deadline: returns false. Kill: throws; the pool is shut down all
  // the same.
  bool Shutdown(Deadline deadline = {}) {
    core_->Close();
    return core_->AwaitIdle(deadline);
  }

 private:
  // Tasks hold it too, since their handles may outlive the pool.
  const std::shared_ptr<green_internal::PoolCore> core_;
  const StatisticsGauge unfinished_gauge_;
  const StatisticsGauge queued_gauge_;
};

}  // namespace grove

#endif  // GROVE_GREEN_THREAD_POOL_H_
