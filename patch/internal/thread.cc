#include "grove/patch/internal/thread.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "grove/green/greenlet.h"
#include "grove/green/interrupt.h"
#include "grove/green/local.h"
#include "grove/green/timeout.h"
#include "grove/patch/internal/hook.h"
#include "grove/patch/internal/main_thread.h"
#include "grove/patch/internal/on_another_thread.h"
#include "grove/patch/internal/parking_lot.h"
#include "grove/patch/internal/pthread_calls.h"
#include "grove/patch/internal/signal_watch.h"
#include "grove/patch/internal/spin_mutex.h"
#include "grove/patch/internal/thread_exit.h"
#include "grove/patch/internal/thread_storage.h"
#include "grove/patch/internal/timespec.h"

namespace grove::patch::patch_internal {
namespace {

using green_internal::Core;
using green_internal::Scheduler;

int Create(pthread_t* thread, const pthread_attr_t* attributes, void* (*fn)(void*),
           void* arg);
int Join(pthread_t thread, void** result);
int TryJoin(pthread_t thread, void** result);
int TimedJoin(pthread_t thread, void** result, const timespec* when);
int ClockJoin(pthread_t thread, void** result, clockid_t clock, const timespec* when);
int Detach(pthread_t thread);
pthread_t Self();
void Exit(void* result);
int Cancel(pthread_t thread);
void TestCancel();
int SetCancelState(int state, int* before);
int Kill(pthread_t thread, int signum);
int SigQueue(pthread_t thread, int signum, sigval value);
int SetName(pthread_t thread, const char* name);
int GetName(pthread_t thread, char* name, size_t size);
int GetAttributes(pthread_t thread, pthread_attr_t* attributes);
int SetAffinity(pthread_t thread, size_t size, const cpu_set_t* set);
int GetAffinity(pthread_t thread, size_t size, cpu_set_t* set);
int SetSchedParam(pthread_t thread, int policy, const sched_param* param);
int GetSchedParam(pthread_t thread, int* policy, sched_param* param);
int SetSchedPriority(pthread_t thread, int priority);
int GetCpuClock(pthread_t thread, clockid_t* clock);

constinit HookOf create_hook("pthread_create", Module::kThread, &Create);
constinit HookOf join_hook("pthread_join", Module::kThread, &Join);
constinit HookOf tryjoin_hook("pthread_tryjoin_np", Module::kThread, &TryJoin);
constinit HookOf timedjoin_hook("pthread_timedjoin_np", Module::kThread, &TimedJoin);
constinit HookOf clockjoin_hook("pthread_clockjoin_np", Module::kThread, &ClockJoin);
constinit HookOf detach_hook("pthread_detach", Module::kThread, &Detach);
constinit HookOf self_hook("pthread_self", Module::kThread, &Self);
constinit HookOf exit_hook("pthread_exit", Module::kThread, &Exit);
constinit HookOf cancel_hook("pthread_cancel", Module::kThread, &Cancel);
constinit HookOf testcancel_hook("pthread_testcancel", Module::kThread, &TestCancel);
constinit HookOf setcancelstate_hook("pthread_setcancelstate", Module::kThread,
                                     &SetCancelState);
constinit HookOf kill_hook("pthread_kill", Module::kThread, &Kill);
constinit HookOf sigqueue_hook("pthread_sigqueue", Module::kThread, &SigQueue);
constinit HookOf setname_hook("pthread_setname_np", Module::kThread, &SetName);
constinit HookOf getname_hook("pthread_getname_np", Module::kThread, &GetName);
constinit HookOf getattr_hook("pthread_getattr_np", Module::kThread, &GetAttributes);
constinit HookOf setaffinity_hook("pthread_setaffinity_np", Module::kThread,
                                  &SetAffinity);
constinit HookOf getaffinity_hook("pthread_getaffinity_np", Module::kThread,
                                  &GetAffinity);
constinit HookOf setschedparam_hook("pthread_setschedparam", Module::kThread,
                                    &SetSchedParam);
constinit HookOf getschedparam_hook("pthread_getschedparam", Module::kThread,
                                    &GetSchedParam);
constinit HookOf setschedprio_hook("pthread_setschedprio", Module::kThread,
                                   &SetSchedPriority);
constinit HookOf getcpuclock_hook("pthread_getcpuclockid", Module::kThread, &GetCpuClock);

Hook* const hooks[] = {
    &create_hook,      &join_hook,          &tryjoin_hook,        &timedjoin_hook,
    &clockjoin_hook,   &detach_hook,        &self_hook,           &exit_hook,
    &cancel_hook,      &testcancel_hook,    &setcancelstate_hook, &kill_hook,
    &setname_hook,     &getname_hook,       &getattr_hook,        &setaffinity_hook,
    &getaffinity_hook, &setschedparam_hook, &getschedparam_hook,  &getcpuclock_hook,
    &sigqueue_hook,    &setschedprio_hook};

// Thread
//
// What a pthread_t points to that pthread_create() has returned to a greenlet.
struct Thread {
  void* (*fn)(void*);
  int (*c11_fn)(void*);  // if there is no other
  void* arg;
  void* result = nullptr;
  std::exception_ptr interrupt = nullptr;  // what ended it, if grove did
  Greenlet<> greenlet = {};
  pthread_t native = 0;  // of the hub
  char name[16] = {};
  bool detached = false;
  bool joining = false;
  std::atomic<bool> begun = false;
  std::atomic<bool> ended = false;  // all but its stack is done with
  Cancelling cancelling = Cancelling();

  pthread_t handle() const { return reinterpret_cast<pthread_t>(this); }
};

// A lock that a signal's handler may want, too (pthread_kill(3) is for handlers): who has
// it is not interrupted.
class HandlersLock {
 public:
  void lock() {
    const uint64_t all = ~uint64_t{0};
    uint64_t before = 0;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof before);
    mutex_.lock();
    before_ = before;
  }
  void unlock() {
    const uint64_t before = before_;
    mutex_.unlock();
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, nullptr, sizeof before);
  }

 private:
  SpinMutex mutex_;
  uint64_t before_ = 0;  // the signals that its owner had blocked
};

// Those that have not been joined, or not ended.
class Threads {
 public:
  static Threads& Get() {
    static auto* const threads = new Threads;
    return *threads;
  }
  void Add(std::shared_ptr<Thread> t) {
    ++running;
    const std::lock_guard guard(mutex_);
    const pthread_t handle = t->handle();
    all_[handle] = std::move(t);
  }
  // Null for a native thread.
  std::shared_ptr<Thread> Find(pthread_t handle) {
    const std::lock_guard guard(mutex_);
    const auto found = all_.find(handle);
    return found == all_.end() ? nullptr : found->second;
  }
  void Forget(pthread_t handle) {
    std::shared_ptr<Thread> last;  // goes without the lock
    const std::lock_guard guard(mutex_);
    const auto found = all_.find(handle);
    if (found == all_.end()) return;
    last = std::move(found->second);
    all_.erase(found);
  }
  void Ended() {
    --running;
    WakeAt(&running, SIZE_MAX);
  }

  std::atomic<size_t> running = 0;

 private:
  HandlersLock mutex_;
  std::unordered_map<pthread_t, std::shared_ptr<Thread>> all_;
};

Thread* Current() {
  const Scheduler* s = Cooperating();
  return s ? static_cast<Thread*>(s->current()->patched_thread) : nullptr;
}

// Null if the current greenlet is no thread to the program.
Cancelling* CurrentCancelling() {
  if (Thread* t = Current()) return &t->cancelling;
  MainThread* main = Cooperating() ? MainThread::OfCurrent() : nullptr;
  return main ? &main->cancelling : nullptr;
}

// --- life ---

// The first value of a thread's greenlet, and so the last that is destroyed: after those
// that destructors of keys may still ask it for.
struct Life {
  std::shared_ptr<Thread> thread;
  Life() = default;
  Life(Life&&) = default;
  ~Life() {
    if (thread == nullptr) return;
    thread->ended = true;
    WakeAt(&thread->ended, SIZE_MAX);
    if (thread->detached) Threads::Get().Forget(thread->handle());
    Threads::Get().Ended();
  }
};
GreenletLocal<Life>& Lives() {
  static auto* const lives = new GreenletLocal<Life>;
  return *lives;
}

// To the end of the thread's function. What is thrown ends here.
[[gnu::noinline]] void RunFunction(Thread& t) {
  try {
    ThrowIfCancelled();  // before it began
    t.result = t.fn ? t.fn(t.arg)
                    : reinterpret_cast<void*>(static_cast<intptr_t>(t.c11_fn(t.arg)));
  } catch (const ThreadExit& exit) {
    t.result = exit.result;
    t.cancelling.cleanup.Ended();
  } catch (const Interrupt&) {
    t.result = PTHREAD_CANCELED;
    t.interrupt = std::current_exception();
  } catch (...) {
    // As it would from a native thread: with the exception's name, and no unwinding.
    std::terminate();
  }
  // What ends with it, values of keys and the like, is not cancelled.
  t.cancelling.allowed = false;
}

void Run(const std::shared_ptr<Thread>& t) {
  Lives()->thread = t;
  Scheduler::Get().current()->patched_thread = t.get();
  t->begun = true;
  if (const auto storage = ThreadStorage::Make()) {
    storage->Run([&] { RunFunction(*t); });
  } else {
    RunFunction(*t);
  }
  if (t->interrupt) std::rethrow_exception(std::exchange(t->interrupt, nullptr));
}

// What the attributes say, or what is usual: programs rely on it.
size_t StackSizeOf(const pthread_attr_t* attributes) {
  size_t size = 0;
  if (attributes) {
    pthread_attr_getstacksize(attributes, &size);
  } else {
    pthread_attr_t usual;
    if (pthread_getattr_default_np(&usual) == 0) {
      pthread_attr_getstacksize(&usual, &size);
      pthread_attr_destroy(&usual);
    }
  }
  return std::max(size, green_internal::kMinStackSize);
}

// Of one of two functions. EAGAIN if there is no stack for it, as pthread_create(3) says.
int Start(pthread_t* thread, const pthread_attr_t* attributes, void* (*fn)(void*),
          int (*c11_fn)(void*), void* arg) {
  static std::atomic<uint64_t> number = 0;
  const size_t stack_size = StackSizeOf(attributes);
  if (!Scheduler::Get().HasStack(stack_size)) return EAGAIN;
  MainThread::Note(Scheduler::Get());
  auto t = std::shared_ptr<Thread>(new Thread{fn, c11_fn, arg});
  t->native = self_hook.Original();
  getname_hook.Original(t->native, t->name, sizeof t->name);
  int state = PTHREAD_CREATE_JOINABLE;
  if (attributes) pthread_attr_getdetachstate(attributes, &state);
  t->detached = state == PTHREAD_CREATE_DETACHED;
  Threads::Get().Add(t);
  *thread = t->handle();
  t->greenlet =
      Spawn({.name = absl::StrCat("thread-", ++number), .stack_size = stack_size},
            [t] { Run(t); });
  return 0;
}

int Create(pthread_t* thread, const pthread_attr_t* attributes, void* (*fn)(void*),
           void* arg) {
  if (Cooperating(create_hook) == nullptr)
    return create_hook.Original(thread, attributes, fn, arg);
  create_hook.CountCall();
  return Start(thread, attributes, fn, nullptr, arg);
}

pthread_t Self() {
  Thread* t = Current();
  return t ? t->handle() : self_hook.Original();
}

void Exit(void* result) {
  Cancelling* const c = Cooperating(exit_hook) ? CurrentCancelling() : nullptr;
  if (c == nullptr) {
    exit_hook.Original(result);
    __builtin_unreachable();
  }
  c->allowed = false;
  c->cleanup.End(result);
}

// --- joining ---

// A native thread, which only libc knows how to wait for; or the main one.
template <typename Original>
int JoinNative(Hook& hook, pthread_t thread, void** result, Deadline deadline,
               Original original) {
  Scheduler* const s = Cooperating(hook);
  if (s == nullptr || Scheduler::process_exits()) return original();
  if (MainThread* main = MainThread::Find(thread)) {
    hook.CountCall();
    return main->Join(*s, result, deadline, hook.name);
  }
  // Which would be waiting for itself, on a thread of the pool, too.
  if (pthread_equal(thread, self_hook.Original())) return EDEADLK;
  hook.CountCall();
  return OnAnotherThread(hook, original, PoolForLongWaits());
}

int JoinUntil(const std::shared_ptr<Thread>& t, void** result, Deadline deadline) {
  if (t.get() == Current()) return EDEADLK;
  if (t->detached || std::exchange(t->joining, true)) return EINVAL;
  const absl::Cleanup no_more = [&] { t->joining = false; };
  // Who is cancelled in it has joined nobody.
  if (Scheduler* const s = Cooperating(); s != nullptr && !Scheduler::process_exits()) {
    const ParkedEnd end = ParkAt(
        *s, &t->ended, [&] { return !t->ended; }, deadline, "pthread_join",
        /*cancellable=*/true);
    if (end == ParkedEnd::kDeadline) return ETIMEDOUT;
    deadline = {};
  }
  const Shield shield;
  if (!t->greenlet.Join(deadline)) return ETIMEDOUT;
  if (result) *result = t->result;
  Threads::Get().Forget(t->handle());
  return 0;
}

int Join(pthread_t thread, void** result) {
  return JoinThread(thread, result, join_hook);
}

int TryJoin(pthread_t thread, void** result) {
  const std::shared_ptr<Thread> t = Threads::Get().Find(thread);
  const int error = t ? JoinUntil(t, result, Deadline::Passed())
                      : JoinNative(tryjoin_hook, thread, result, Deadline::Passed(),
                                   [&] { return tryjoin_hook.Original(thread, result); });
  return error == ETIMEDOUT ? EBUSY : error;
}

int TimedJoin(pthread_t thread, void** result, const timespec* when) {
  const std::shared_ptr<Thread> t = Threads::Get().Find(thread);
  const Deadline deadline = when ? DeadlineAt(CLOCK_REALTIME, *when) : Deadline();
  if (t == nullptr) {
    return JoinNative(timedjoin_hook, thread, result, deadline,
                      [&] { return timedjoin_hook.Original(thread, result, when); });
  }
  return JoinUntil(t, result, deadline);
}

int ClockJoin(pthread_t thread, void** result, clockid_t clock, const timespec* when) {
  const std::shared_ptr<Thread> t = Threads::Get().Find(thread);
  const Deadline deadline = when ? DeadlineAt(clock, *when) : Deadline();
  if (t == nullptr) {
    return JoinNative(clockjoin_hook, thread, result, deadline, [&] {
      return clockjoin_hook.Original(thread, result, clock, when);
    });
  }
  return JoinUntil(t, result, deadline);
}

int Detach(pthread_t thread) {
  const std::shared_ptr<Thread> t = Threads::Get().Find(thread);
  if (t == nullptr) {
    MainThread* const main = MainThread::Find(thread);
    return main ? main->Detach() : detach_hook.Original(thread);
  }
  if (std::exchange(t->detached, true)) return EINVAL;
  if (t->greenlet.ready()) Threads::Get().Forget(thread);
  return 0;
}

// --- cancelling: at calls that wait, as the deferred kind is ---

int Cancel(pthread_t thread) {
  const std::shared_ptr<Thread> t = Threads::Get().Find(thread);
  if (t == nullptr) {
    MainThread* const main = MainThread::Find(thread);
    if (main == nullptr) return cancel_hook.Original(thread);
    main->cancelling.asked_for = true;
    if (main != MainThread::OfCurrent()) main->Interrupt();
    return 0;
  }
  t->cancelling.asked_for = true;
  // One that has not begun asks by itself.
  if (t->begun && t.get() != Current()) t->greenlet.KillSoon();
  return 0;
}

void TestCancel() {
  if (Cooperating(testcancel_hook) == nullptr) return testcancel_hook.Original();
  ThrowIfCancelled();
}

int SetCancelState(int state, int* before) {
  Cancelling* c = CurrentCancelling();
  if (c == nullptr) return setcancelstate_hook.Original(state, before);
  if (state != PTHREAD_CANCEL_ENABLE && state != PTHREAD_CANCEL_DISABLE) return EINVAL;
  if (before) *before = c->allowed ? PTHREAD_CANCEL_ENABLE : PTHREAD_CANCEL_DISABLE;
  c->allowed = state == PTHREAD_CANCEL_ENABLE;
  // What has been asked for already, or is meanwhile, ends no wait.
  if (std::exchange(c->shielded, !c->allowed) == c->allowed) {
    Scheduler::Get().current()->shields += c->shielded ? 1 : -1;
  }
  return 0;
}

// --- what a greenlet shares with its hub's thread ---

pthread_t NativeOf(pthread_t thread) {
  const std::shared_ptr<Thread> t = Threads::Get().Find(thread);
  return t ? t->native : thread;
}

// By `send`, of the kernel's thread.
template <typename Send>
int SendTo(pthread_t thread, int signum, Send send) {
  const std::shared_ptr<Thread> t = Threads::Get().Find(thread);
  const Scheduler* s = Scheduler::GetIfExists();
  if (t != nullptr) {
    if (t->greenlet && t->greenlet.ready()) return 0;  // it has ended, and was not joined
    if (signum > 0 && t->greenlet) Address(signum, t->greenlet.core());
  } else if (signum > 0 && s != nullptr && pthread_equal(thread, self_hook.Original())) {
    Address(signum, s->main());
  }
  return send(t ? t->native : thread);
}

int Kill(pthread_t thread, int signum) {
  return SendTo(thread, signum,
                [&](pthread_t to) { return kill_hook.Original(to, signum); });
}
int SigQueue(pthread_t thread, int signum, sigval value) {
  return SendTo(thread, signum,
                [&](pthread_t to) { return sigqueue_hook.Original(to, signum, value); });
}
int SetAffinity(pthread_t thread, size_t size, const cpu_set_t* set) {
  // The hub's cores are not a single greenlet's to choose.
  if (Threads::Get().Find(thread) != nullptr) return 0;
  return setaffinity_hook.Original(thread, size, set);
}
int GetAffinity(pthread_t thread, size_t size, cpu_set_t* set) {
  return getaffinity_hook.Original(NativeOf(thread), size, set);
}
int SetSchedParam(pthread_t thread, int policy, const sched_param* param) {
  if (Threads::Get().Find(thread) != nullptr) return 0;
  return setschedparam_hook.Original(thread, policy, param);
}
int GetSchedParam(pthread_t thread, int* policy, sched_param* param) {
  return getschedparam_hook.Original(NativeOf(thread), policy, param);
}
int SetSchedPriority(pthread_t thread, int priority) {
  if (Threads::Get().Find(thread) != nullptr) return 0;
  return setschedprio_hook.Original(thread, priority);
}
int GetCpuClock(pthread_t thread, clockid_t* clock) {
  return getcpuclock_hook.Original(NativeOf(thread), clock);
}

int SetName(pthread_t thread, const char* name) {
  const std::shared_ptr<Thread> t = Threads::Get().Find(thread);
  if (t == nullptr) return setname_hook.Original(thread, name);
  if (strlen(name) >= sizeof t->name) return ERANGE;
  strcpy(t->name, name);
  return 0;
}

int GetName(pthread_t thread, char* name, size_t size) {
  const std::shared_ptr<Thread> t = Threads::Get().Find(thread);
  if (t == nullptr) return getname_hook.Original(thread, name, size);
  if (size <= strlen(t->name)) return ERANGE;
  strcpy(name, t->name);
  return 0;
}

int GetAttributes(pthread_t thread, pthread_attr_t* attributes) {
  const std::shared_ptr<Thread> t = Threads::Get().Find(thread);
  if (t == nullptr) return getattr_hook.Original(thread, attributes);
  if (!t->greenlet || t->greenlet.ready()) return ESRCH;
  pthread_attr_init(attributes);
  const green_internal::Stack& stack = t->greenlet.core()->stack;
  pthread_attr_setdetachstate(
      attributes, t->detached ? PTHREAD_CREATE_DETACHED : PTHREAD_CREATE_JOINABLE);
  return pthread_attr_setstack(attributes, stack.usable_low(),
                               static_cast<size_t>(stack.top() - stack.usable_low()));
}

}  // namespace

std::optional<int> CreateC11Thread(pthread_t* thread, int (*fn)(void*), void* arg,
                                   Hook& hook) {
  if (Cooperating(hook) == nullptr) return std::nullopt;
  hook.CountCall();
  return Start(thread, nullptr, nullptr, fn, arg);
}
int JoinThread(pthread_t thread, void** result, Hook& hook) {
  const std::shared_ptr<Thread> t = Threads::Get().Find(thread);
  if (t == nullptr) {
    return JoinNative(hook, thread, result, {},
                      [&] { return join_hook.Original(thread, result); });
  }
  hook.CountCall();
  return JoinUntil(t, result, {});
}
int DetachThread(pthread_t thread) { return Detach(thread); }
pthread_t CurrentThread() { return Self(); }
void ExitThread(void* result) { Exit(result); }

ThreadCleanup* ThreadCleanup::OfCurrent() {
  const Scheduler* s = Scheduler::GetIfExists();
  if (s == nullptr) return nullptr;
  if (auto* const t = static_cast<Thread*>(s->current()->patched_thread)) {
    return &t->cancelling.cleanup;
  }
  MainThread* const main = MainThread::OfCurrent();
  return main ? &main->cancelling.cleanup : nullptr;
}

std::atomic<size_t>& RunningThreads() { return Threads::Get().running; }

bool IsCancelled() {
  const Cancelling* c = CurrentCancelling();
  return c != nullptr && c->asked_for && c->allowed;
}

void ForgetThreadsInChild() {
  const Thread* t = static_cast<Thread*>(Scheduler::Get().current()->patched_thread);
  Threads::Get().running = t != nullptr ? 1 : 0;
}

void ThrowIfCancelled() {
  if (!IsCancelled()) return;
  // Once: what its destructors call does not end them.
  Cancelling* const c = CurrentCancelling();
  c->allowed = false;
  c->cleanup.End(PTHREAD_CANCELED);
}

absl::Span<Hook* const> ThreadHooks() { return hooks; }

}  // namespace grove::patch::patch_internal
