#include "grove/green/internal/pool_core.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <new>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grove/green/internal/cores.h"
#include "grove/green/internal/hub_record.h"
#include "grove/green/internal/unpatched.h"
#include "grove/green/status.h"
#include "grove/hub/config.h"
#include "grove/hub/internal/check.h"
#include "grove/hub/internal/per_thread.h"

namespace grove::green_internal {
namespace {

constinit Setting<int64_t> default_process_limit(
    "thread_pool_process_limit", "GROVE_THREAD_POOL_PROCESS_LIMIT", "256",
    "How many threads all pools of the process may have together.",
    {.min = 0, .max = 100'000});
const bool declared = Config::Declare({&default_process_limit});

std::atomic<bool> process_ends{false};
std::atomic<int> process_limit{-1};  // none was set
std::atomic<int> process_threads{0};
std::atomic<int> starts_to_fail{0};

// Which pool this thread belongs to.
constinit thread_local hub_internal::PerThread<const PoolCore*> pool_of_thread;

constinit std::mutex registry_mutex;
PoolCore* registry = nullptr;  // every pool, under that lock

// All signals but those that a thread causes by what it does itself, and the profiler's:
// handlers run on threads that expect them.
sigset_t SignalsToBlock() {
  sigset_t set;
  sigfillset(&set);
  for (int own : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS, SIGPROF}) {
    sigdelset(&set, own);
  }
  return set;
}

bool TakeInjectedFailure() {
  int n = starts_to_fail.load(std::memory_order_relaxed);
  while (n > 0) {
    if (starts_to_fail.compare_exchange_weak(n, n - 1)) return true;
  }
  return false;
}

void NotOnLoopStack(const Scheduler& s, const std::string& what) {
  GROVE_CHECK(!s.on_loop_stack(), "a blocking call (", what,
              ") inside a loop callback of hub '", s.hub_name(),
              "', where nothing may block; spawn a greenlet for it");
}

}  // namespace

// Worker
//
// A thread. What it sleeps on is not a condition variable: who wakes it knows whom, and
// neither of them takes the pool's lock for that.
struct PoolCore::Worker {
  Worker(PoolCore* p, uint32_t f) : pool(p), forks(f) {}

  // Under the pool's lock; then Wake() without it. Null: it is to end.
  void Give(NativeTask* t) {
    task = t;
    signal.store(1, std::memory_order_release);
  }
  // It may be gone already: the kernel only compares the address.
  void Wake() { syscall(SYS_futex, &signal, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0); }
  // False when `until` has passed; null is never.
  bool AwaitSignal(const timespec* until) {
    while (signal.load(std::memory_order_acquire) == 0) {
      const long result = syscall(SYS_futex, &signal, FUTEX_WAIT_BITSET_PRIVATE, 0, until,
                                  nullptr, FUTEX_BITSET_MATCH_ANY);
      if (result != 0 && errno == ETIMEDOUT) {
        return signal.load(std::memory_order_acquire) != 0;
      }
    }
    return true;
  }

  PoolCore* const pool;
  const uint32_t forks;
  std::string name;
  std::atomic<uint32_t> signal{0};
  NativeTask* task = nullptr;
  Worker* next_idle = nullptr;
};

// Joiner
//
// Who waits until the pool is idle. It lies on the stack of who waits, and is in the
// pool's list until its letter is posted.
class PoolCore::Joiner final : public Waiter, public Letter {
 public:
  Joiner(const PoolCore* pool, Scheduler* s)
      : Letter(&Deliver), pool_(pool), scheduler_(s), core_(s->current()) {}

  Scheduler* scheduler() const { return scheduler_; }
  bool told() const { return told_; }
  void Cancel() override {}
  std::string Describe() const override {
    return absl::StrCat("the tasks of thread pool '", pool_->name(), "'");
  }

  Joiner* next = nullptr;

 private:
  static void Deliver(Letter* letter, bool) {
    Joiner* self = static_cast<Joiner*>(letter);
    self->told_ = true;
    self->scheduler_->Wake(self->core_);
  }

  const PoolCore* const pool_;
  Scheduler* const scheduler_;
  Core* const core_;
  bool told_ = false;
};

// --- the pool -----------------------------------------------------------------------

PoolCore::PoolCore(std::string name, PoolLimits limits)
    : name_(std::move(name)),
      idle_timeout_(limits.idle_timeout),
      max_queued_(limits.max_queued),
      max_threads_(limits.max_threads) {
  GROVE_CHECK(max_threads_ > 0, "thread pool '", name_, "' of ", max_threads_,
              " threads");
  RegisterForkHandlers();
  std::lock_guard lock(registry_mutex);
  all_next_ = registry;
  if (registry) registry->all_previous_ = this;
  registry = this;
}

PoolCore::~PoolCore() {
  std::lock_guard lock(registry_mutex);
  (all_previous_ ? all_previous_->all_next_ : registry) = all_next_;
  if (all_next_) all_next_->all_previous_ = all_previous_;
}

bool PoolCore::OnPoolThread() { return pool_of_thread != nullptr; }

int PoolCore::size() const {
  std::lock_guard lock(mutex_);
  return threads_ - leaving_;
}

int PoolCore::max_threads() const {
  std::lock_guard lock(mutex_);
  return max_threads_;
}

void PoolCore::set_max_threads(int n) {
  GROVE_CHECK(n > 0, "thread pool '", name_, "' of ", n, " threads");
  std::unique_lock lock(mutex_);
  max_threads_ = n;
  if (TooMany()) DismissIdle(threads_ - leaving_ - max_threads_);
  for (size_t waiting = queued_; waiting > 0 && TakeThread(); --waiting) {
    const int error = StartThread(lock);
    if (error == 0) continue;
    // Who has just submitted something, and had no thread either, counted on this one.
    if (threads_ == leaving_ && queued_ > 0) {
      NoThread(error, nullptr, lock).IgnoreError();
    }
    return;
  }
}

void PoolCore::SetProcessLimit(int n) {
  GROVE_CHECK(n >= 0, "a limit of ", n, " threads");
  process_limit.store(n, std::memory_order_relaxed);
}
int PoolCore::ProcessLimit() {
  const int set = process_limit.load(std::memory_order_relaxed);
  return set >= 0 ? set : static_cast<int>(default_process_limit.Get());
}
int PoolCore::ProcessThreads() { return process_threads.load(std::memory_order_relaxed); }
void PoolCore::FailThreadStarts(int n) {
  starts_to_fail.store(n, std::memory_order_relaxed);
}

// --- tasks ----------------------------------------------------------------------------

absl::Status PoolCore::Submit(NativeTask* task, bool* admitted) {
  *admitted = true;
  std::unique_lock lock(mutex_);
  if (closed_) {
    return absl::FailedPreconditionError(
        absl::StrCat("thread pool '", name_, "' was shut down"));
  }
  CountAgain();
  if (Worker* worker = idle_) {
    idle_ = worker->next_idle;
    worker->Give(task);
    lock.unlock();
    worker->Wake();
    return absl::OkStatus();
  }
  Enqueue(task);
  *admitted = task->admitted_;
  if (!TakeThread()) return absl::OkStatus();
  const int error = StartThread(lock);
  // With others left it is theirs.
  if (error == 0 || threads_ > leaving_) return absl::OkStatus();
  return NoThread(error, task, lock);
}

// The last thread that might have come does not: nobody is left for what waits.
absl::Status PoolCore::NoThread(int error, NativeTask* own,
                                std::unique_lock<std::mutex>& lock) {
  const absl::Status status =
      ErrnoStatus(error, absl::StrCat("start the first thread of pool '", name_, "'"));
  const bool own_waits = own != nullptr && own->queued_;  // else it was taken meanwhile
  if (own_waits) {
    not_admitted_ = nullptr;
    Dequeue(own);
  }
  NativeTask* others = TakeAll();
  lock.unlock();
  SendAllHome(others, status);
  if (!own_waits) return absl::OkStatus();
  TaskCameHome();
  return status;
}

bool PoolCore::Remove(NativeTask* task, bool unless_admitted) {
  std::lock_guard lock(mutex_);
  if (!task->queued_ || (unless_admitted && task->admitted_)) return false;
  Dequeue(task);
  return true;
}

void PoolCore::TaskCameHome() {
  size_t n = unfinished_.load(std::memory_order_relaxed);
  while (n > 1) {
    if (unfinished_.compare_exchange_weak(n, n - 1, std::memory_order_release,
                                          std::memory_order_relaxed)) {
      return;
    }
  }
  // Who sees that nothing is left may destroy the pool, once the lock is free.
  std::lock_guard lock(mutex_);
  unfinished_.fetch_sub(1, std::memory_order_release);
  WakeJoiners();
}

void PoolCore::Enqueue(NativeTask* task) {
  task->queued_ = true;
  task->previous_ = last_;
  task->next_ = nullptr;
  (last_ ? last_->next_ : first_) = task;
  last_ = task;
  task->admitted_ = ++queued_ <= max_queued_;
  if (!task->admitted_ && not_admitted_ == nullptr) not_admitted_ = task;
}

void PoolCore::Dequeue(NativeTask* task) {
  task->queued_ = false;
  (task->previous_ ? task->previous_->next_ : first_) = task->next_;
  (task->next_ ? task->next_->previous_ : last_) = task->previous_;
  --queued_;
  if (task == not_admitted_) {
    not_admitted_ = task->next_;
  } else if (task->admitted_ && not_admitted_ != nullptr) {
    NativeTask* next = not_admitted_;
    not_admitted_ = next->next_;
    next->admitted_ = true;
    next->OnAdmitted();
  }
}

NativeTask* PoolCore::TakeFirst() {
  NativeTask* task = first_;
  if (task == nullptr) return nullptr;
  Dequeue(task);
  if (!task->admitted_) task->OnAdmitted();  // to a queue without room for any
  return task;
}

// Who waits for room is not told of any: its task ends.
NativeTask* PoolCore::TakeAll() {
  for (NativeTask* task = first_; task; task = task->next_) task->queued_ = false;
  last_ = not_admitted_ = nullptr;
  queued_ = 0;
  return std::exchange(first_, nullptr);
}

void PoolCore::SendAllHome(NativeTask* first, const absl::Status& status) {
  while (NativeTask* task = first) {
    first = task->next_;
    task->SendHome(status);
  }
}

void PoolCore::Close() {
  NativeTask* cancelled;
  {
    std::lock_guard lock(mutex_);
    closed_ = true;
    cancelled = TakeAll();
    DismissIdle(INT_MAX);
  }
  SendAllHome(cancelled,
              absl::CancelledError(absl::StrCat(
                  "thread pool '", name_, "' was shut down before the task began")));
}

bool PoolCore::AwaitIdle(Deadline deadline) {
  GROVE_CHECK(pool_of_thread != this, "a task of thread pool '", name_,
              "' waits for all of its tasks, and so for itself");
  if (unfinished() == 0) return true;
  if (deadline == Deadline::Passed()) return false;
  Scheduler& s = Scheduler::Get();
  Joiner joiner(this, &s);
  NotOnLoopStack(s, joiner.Describe());
  {
    std::lock_guard lock(mutex_);
    joiner.next = std::exchange(joiners_, &joiner);
    if (unfinished() == 0) WakeJoiners();
  }
  const KeepAlive alive(&s.hub());
  if (s.ParkQuietly(&joiner, deadline) == Scheduler::ParkEnd::kWoken) return true;
  bool posted = true;
  {
    std::lock_guard lock(mutex_);
    for (Joiner** at = &joiners_; *at; at = &(*at)->next) {
      if (*at != &joiner) continue;
      *at = joiner.next;
      posted = false;
      break;
    }
  }
  if (posted) {
    ++s.current()->shields;
    while (!joiner.told()) s.Park(&joiner);
    --s.current()->shields;
    return true;
  }
  s.DeliverPending();
  return false;
}

void PoolCore::WakeJoiners() {
  if (unfinished() != 0) return;
  while (Joiner* joiner = joiners_) {
    joiners_ = joiner->next;
    const HubHandle hub = joiner->scheduler()->handle();
    hub.PostLetter(joiner);
  }
}

// --- threads --------------------------------------------------------------------------

// Each pool may have one thread whatever the others have, so that none waits for another:
// tasks of one may well wait for those of the next.
bool PoolCore::TakeThread() {
  if (threads_ - leaving_ >= max_threads_) return false;
  const int others = process_threads.fetch_add(1, std::memory_order_relaxed);
  if (others < ProcessLimit() || threads_ == leaving_) return true;
  process_threads.fetch_sub(1, std::memory_order_relaxed);
  return false;
}

int PoolCore::StartThread(std::unique_lock<std::mutex>& lock) {
  ++threads_;
  auto worker = std::make_unique<Worker>(this, forks_);
  // The kernel's limit for a thread's name: 15 bytes and a zero.
  const std::string number = absl::StrCat("-", ++thread_number_);
  worker->name = name_.substr(0, 15 - std::min<size_t>(number.size(), 15)) + number;
  lock.unlock();
  int error = EAGAIN;
  if (!TakeInjectedFailure()) {
    const sigset_t block = SignalsToBlock();
    sigset_t before;
    pthread_t thread;
    pthread_sigmask(SIG_BLOCK, &block, &before);
    const Unpatched native;
    error = pthread_create(&thread, nullptr, &WorkerMain, worker.get());
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
  if (error == 0) worker.release();
  lock.lock();
  if (error != 0) {
    --threads_;
    process_threads.fetch_sub(1, std::memory_order_relaxed);
  }
  return error;
}

void* PoolCore::WorkerMain(void* argument) {
  const std::unique_ptr<Worker> self(static_cast<Worker*>(argument));
  PoolCore* pool = self->pool;
  pool_of_thread = pool;
  HubRecord::ThisThreadIsAPools();
  pthread_setname_np(pthread_self(), self->name.substr(0, 15).c_str());
  LeaveTheCore();
  NativeTask* task = nullptr;
  while ((task = pool->Next(self.get(), task)) != nullptr) task->Run();
  pool->Leave(self.get());
  return nullptr;
}

// What comes next for a thread that has run `done`, if anything; null if it is to end. It
// counts as idle before the result is on its way: whoever has that, and submits the next
// task, gets the same thread.
NativeTask* PoolCore::Next(Worker* self, NativeTask* done) {
  NativeTask* task = nullptr;
  bool leave = false;
  {
    std::lock_guard lock(mutex_);
    // Forked off by its own task: this pool has begun anew, without this thread.
    if (self->forks != forks_) return nullptr;
    if (TooMany()) {
      leave = true;
    } else if (first_ != nullptr) {
      task = TakeFirst();
    } else if (closed_) {
      leave = true;
    } else {
      self->next_idle = std::exchange(idle_, self);
    }
    if (leave) ++leaving_;
  }
  if (done != nullptr) done->SendHome(absl::OkStatus());
  return task != nullptr || leave ? task : Sleep(self);
}

// Says that the hub which a task has left on this thread, if one has, runs nothing.
class HubRests {
 public:
  HubRests() : s_(Scheduler::GetIfExists()) {
    if (s_) s_->record().set_rests(true);
  }
  HubRests(const HubRests&) = delete;
  HubRests& operator=(const HubRests&) = delete;
  ~HubRests() {
    if (s_) s_->record().set_rests(false);
  }

 private:
  Scheduler* const s_;
};

NativeTask* PoolCore::Sleep(Worker* self) {
  const HubRests rests;
  timespec until;
  const bool for_ever = idle_timeout_ == absl::InfiniteDuration();
  if (!for_ever) {
    clock_gettime(CLOCK_MONOTONIC, &until);
    until = absl::ToTimespec(absl::DurationFromTimespec(until) + idle_timeout_);
  }
  if (!self->AwaitSignal(for_ever ? nullptr : &until)) {
    std::lock_guard lock(mutex_);
    for (Worker** at = &idle_; *at; at = &(*at)->next_idle) {
      if (*at != self) continue;
      *at = self->next_idle;
      ++leaving_;
      return nullptr;
    }
    // Somebody has just taken it out of there, and has signalled that.
  }
  self->signal.store(0, std::memory_order_relaxed);
  return std::exchange(self->task, nullptr);
}

void PoolCore::DismissIdle(int n) {
  for (; idle_ != nullptr && n > 0; --n) {
    Worker* worker = idle_;
    idle_ = worker->next_idle;
    ++leaving_;
    worker->Give(nullptr);
    worker->Wake();
  }
}

void PoolCore::Leave(Worker* self) {
  bool join;
  pthread_t before;
  {
    std::lock_guard lock(mutex_);
    if (self->forks != forks_) return;
    --threads_;
    --leaving_;
    process_threads.fetch_sub(1, std::memory_order_relaxed);
    // Once the process ends nobody comes any more to join this one.
    const bool alone = process_ends.load(std::memory_order_relaxed);
    if (alone) pthread_detach(pthread_self());
    join = std::exchange(one_has_ended_, !alone);
    before = std::exchange(ended_, pthread_self());
    thread_ended_.notify_all();
  }
  // Each joins the one before: there is never more than one to be joined.
  if (join) {
    const Unpatched native;
    pthread_join(before, nullptr);
  }
}

void PoolCore::Stop() {
  std::unique_lock lock(mutex_);
  while (threads_ > 0) thread_ended_.wait(lock);
  lock.unlock();
  JoinWhoEndedLast();
}

void PoolCore::JoinWhoEndedLast() {
  std::unique_lock lock(mutex_);
  if (!std::exchange(one_has_ended_, false)) return;
  const pthread_t last = ended_;
  lock.unlock();
  const Unpatched native;
  pthread_join(last, nullptr);
}

// --- fork -----------------------------------------------------------------------------

// In a forked child there is no thread but the one that called fork(). Each pool is
// locked meanwhile, so that the child finds it in order, and begins anew there.

void PoolCore::RegisterForkHandlers() {
  [[maybe_unused]] static const int registered =
      pthread_atfork(&BeforeFork, &AfterForkInParent, &AfterForkInChild);
  // Threads that have ended leave nothing behind. Those of pools that are never destroyed
  // may run until the process has ended.
  [[maybe_unused]] static const int at_exit = std::atexit([] {
    std::lock_guard lock(registry_mutex);
    process_ends.store(true, std::memory_order_relaxed);
    for (PoolCore* pool = registry; pool; pool = pool->all_next_) {
      pool->JoinWhoEndedLast();
    }
  });
}

void PoolCore::BeforeFork() {
  registry_mutex.lock();
  for (PoolCore* pool = registry; pool; pool = pool->all_next_) pool->mutex_.lock();
}

void PoolCore::AfterForkInParent() {
  for (PoolCore* pool = registry; pool; pool = pool->all_next_) pool->mutex_.unlock();
  registry_mutex.unlock();
}

void PoolCore::AfterForkInChild() {
  process_threads.store(0, std::memory_order_relaxed);
  for (PoolCore* pool = registry; pool; pool = pool->all_next_) pool->ForgetParent();
  NativeTask::LoseAll();
  for (PoolCore* pool = registry; pool; pool = pool->all_next_) {
    pool->WakeJoiners();
    pool->mutex_.unlock();
  }
  registry_mutex.unlock();
}

void PoolCore::ForgetParent() {
  ++forks_;
  // Threads may have waited for it that do not exist here.
  ::new (&thread_ended_) std::condition_variable;
  threads_ = leaving_ = 0;
  idle_ = nullptr;
  TakeAll();
  one_has_ended_ = false;
  unfinished_.store(0, std::memory_order_seq_cst);
  Joiner* joiners = std::exchange(joiners_, nullptr);
  while (Joiner* joiner = joiners) {
    joiners = joiner->next;
    if (joiner->scheduler() != Scheduler::GetIfExists()) continue;
    joiner->next = std::exchange(joiners_, joiner);
  }
}

}  // namespace grove::green_internal
