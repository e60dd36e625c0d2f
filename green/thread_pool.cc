#include "grove/green/thread_pool.h"

#include <atomic>

#include "grove/green/timeout.h"
#include "grove/hub/config.h"

namespace grove {

using green_internal::PoolCore;

namespace {

constinit Setting<int64_t> threads("thread_pool_threads", "GROVE_THREAD_POOL_THREADS",
                                   "10",
                                   "How many threads a pool may have that was not told.",
                                   {.min = 1, .max = 10'000});
constinit Setting<absl::Duration> idle_timeout(
    "thread_pool_idle_timeout", "GROVE_THREAD_POOL_IDLE_TIMEOUT", "5s",
    "How long a pool's thread waits for work before it ends; inf: it never does.",
    {.min = absl::ZeroDuration()});

const bool declared = Config::Declare({&threads, &idle_timeout});

green_internal::PoolLimits LimitsOf(const ThreadPoolOptions& options) {
  return {
      .max_threads =
          options.max_threads ? *options.max_threads : static_cast<int>(threads.Get()),
      .idle_timeout = options.idle_timeout ? *options.idle_timeout : idle_timeout.Get(),
      .max_queued = options.max_queued};
}

}  // namespace

ThreadPool::ThreadPool(ThreadPoolOptions options)
    : core_(std::make_shared<PoolCore>(options.name, LimitsOf(options))),
      unfinished_gauge_("thread pool '" + options.name + "', unfinished tasks",
                        [core = core_.get()] { return core->unfinished(); }),
      queued_gauge_("thread pool '" + options.name + "', tasks in line",
                    [core = core_.get()] { return core->queued(); }) {}

ThreadPool::~ThreadPool() {
  if (unfinished() > 0) {
    Shield shield;
    core_->AwaitIdle({});
  }
  core_->Close();
  core_->Stop();
}

ThreadPool& ThreadPool::Default() { return Named("default"); }

// A list that only grows, without a lock, which a forked child might find locked. The
// pools are never destroyed: their threads may run until the process has ended.
ThreadPool& ThreadPool::Named(absl::string_view name) {
  struct Node {
    explicit Node(absl::string_view n) : pool({.name = std::string(n)}) {}
    ThreadPool pool;
    Node* next = nullptr;
  };
  static constinit std::atomic<Node*> first{nullptr};
  Node* made = nullptr;
  Node* head = first.load(std::memory_order_acquire);
  for (;;) {
    for (Node* node = head; node; node = node->next) {
      if (node->pool.name() != name) continue;
      delete made;  // another thread was faster
      return node->pool;
    }
    if (made == nullptr) made = new Node(name);
    made->next = head;
    if (first.compare_exchange_strong(head, made, std::memory_order_acq_rel)) {
      return made->pool;
    }
  }
}

void ThreadPool::SetProcessLimit(int threads) { PoolCore::SetProcessLimit(threads); }
int ThreadPool::process_limit() { return PoolCore::ProcessLimit(); }
int ThreadPool::process_threads() { return PoolCore::ProcessThreads(); }

}  // namespace grove
