#ifndef GROVE_GREEN_INTERNAL_SCHEDULER_H_
#define GROVE_GREEN_INTERNAL_SCHEDULER_H_

#include <cxxabi.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/optimization.h"
#include "grove/green/internal/core.h"
#include "grove/hub/hub.h"

namespace grove::green_internal {

// What the C++ runtime keeps per thread about exceptions in flight and caught (Itanium
// C++ ABI, section 2.2.2). Ours are per greenlet, so that a catch block may block.
struct ExceptionState {
  void* caught = nullptr;
  unsigned int uncaught = 0;

  // Word by word: a 16-byte load right after two smaller stores, which is what a plain
  // copy is compiled to, waits until those have left the store buffer (4 ns a switch).
  ExceptionState Load() const {
    return {__atomic_load_n(&caught, __ATOMIC_RELAXED),
            __atomic_load_n(&uncaught, __ATOMIC_RELAXED)};
  }
  void Store(const ExceptionState& s) {
    __atomic_store_n(&caught, s.caught, __ATOMIC_RELAXED);
    __atomic_store_n(&uncaught, s.uncaught, __ATOMIC_RELAXED);
  }
};

// Scheduler
//
// The greenlets of one thread: what stands on its Hub. Park() and Switch() are the one
// place where a greenlet stops running.
class Scheduler {
 public:
  // This thread's; made, with its hub, by the first call.
  static Scheduler& Get() {
    Scheduler* s = current_scheduler;
    return ABSL_PREDICT_TRUE(s != nullptr) ? *s : MakeImplicit();
  }
  static Scheduler* GetIfExists() { return current_scheduler; }

  // For HubScope: a scheduler with options of its own, on a thread without one.
  static Scheduler& Make(HubOptions options);
  static void Destroy(Scheduler* s);

  Hub& hub() { return *hub_; }
  Core* current() { return current_; }
  Core* main() { return main_; }
  bool on_loop_stack() const { return current_ == loop_; }
  const std::string& hub_name() const { return handle_.name(); }  // from any thread
  bool on_home_thread() const { return current_scheduler == this; }

  // --- blocking ---

  // Scheduler::Park()
  //
  // Stops the current greenlet until Wake(). `waiter` is linked already; on an interrupt
  // it has been cancelled when this throws.
  void Park(Waiter* waiter);

  // Scheduler::ParkUntil()
  //
  // As Park(); false if the deadline ended the wait, the waiter being cancelled.
  [[nodiscard]] bool ParkUntil(Waiter* waiter, Deadline deadline, bool ref = true);

  // Scheduler::Wake()
  //
  // Lets a parked greenlet run behind all that is ready. False if it was not parked any
  // more. Whoever calls this has unlinked its waiter.
  bool Wake(Core* core) {
    if (!core->parked) return false;
    core->parked = false;
    hub_->MakeReady(core);
    return true;
  }

  // Scheduler::PrefetchSecondNext()
  //
  // For waits that end a long piece of work: asks the cache for the stack of the greenlet
  // after the next, which among a thousand has left it.
  void PrefetchSecondNext();

  // Scheduler::Yield()
  //
  // Lets all that is ready run first.
  void Yield();

  // Scheduler::CountOperation()
  //
  // To be called before an operation that may succeed without blocking: after a number
  // of those in a row, others get their turn.
  void CountOperation() {
    if (ABSL_PREDICT_FALSE(--operations_left_ <= 0)) Yield();
  }

  // --- interrupts ---

  // Something has been added to core->pending: end its wait if that may be.
  void Interrupt(Core* core);
  void Kill(Core* core, std::exception_ptr error);
  // Throws what is pending for the current greenlet, if it may be thrown now.
  void DeliverPending() {
    if (ABSL_PREDICT_FALSE(current_->pending != 0) && MayThrow()) ThrowPending();
  }

  // --- life ---

  // A stack for a greenlet; dies with a clear message if there is none.
  Stack TakeStack(size_t size) {
    Stack s;
    if (ABSL_PREDICT_TRUE(size == 0)) s = stacks_.TakeDefault();
    if (ABSL_PREDICT_FALSE(!s.valid())) s = TakeStackSlow(size);
    SanitizerReuse(s.usable_low(), s.top() - s.usable_low());
    return s;
  }
  // `core` lies in `stack`, below `top`; it will start on what is below itself.
  void Adopt(Core* core, const Stack& stack, SpawnSite site);
  // A greenlet that has not run yet ends as killed without ever running.
  void FinishUnstarted(Core* core, std::exception_ptr error);
  void RunLinks(Core* core);

  static void AddRef(Core* core) { core->refs.fetch_add(1, std::memory_order_relaxed); }
  static void Unref(Core* core) {
    // The last one needs no atomic write: nobody else can see it any more.
    if (core->refs.load(std::memory_order_acquire) == 1 ||
        core->refs.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      Free(core);
    }
  }

  size_t live() const { return live_; }
  // Each greenlet of this hub but the main one: its label and what it waits on.
  std::string Report() const;
  void ForEach(const std::function<void(Core*)>& fn) const;

  // Runs `fn` when the hub ends, before its loop does.
  void AtEnd(absl::AnyInvocable<void()> fn) { at_end_.push_back(std::move(fn)); }

  // For hub join: woken when nothing is left to wait for.
  WaiterList dry_waiters;

  using ErrorHandler = std::function<void(Core*, std::exception_ptr)>;
  void set_error_handler(ErrorHandler handler) { error_handler_ = std::move(handler); }

  // Scheduler::Switch()
  //
  // Stops the current greenlet and lets `next` run.
  void Switch(Core* next);

 private:
  friend class Core;

  explicit Scheduler(HubOptions options);
  ~Scheduler();
  static Scheduler& MakeImplicit();

  [[gnu::always_inline]] inline Core* Next();
  bool MayThrow() const {
    return current_->shields == 0 && exception_state_->uncaught == 0;
  }
  [[noreturn]] void ThrowPending();
  void YieldUninterrupted();
  [[noreturn]] void BlockedOnLoopStack(const Waiter* waiter);
  void LoopMain();
  static void GreenletMain(void* core);
  [[noreturn]] void Finish(Core* core);
  void MarkFinished(Core* core);
  void HandleError(Core* core, std::exception_ptr error);
  void RanDry();
  Stack TakeStackSlow(size_t size);
  static void Free(Core* core);
  void FreeAtHome(Core* core);
  void CountFreed(int64_t n);

  static constinit thread_local Scheduler* current_scheduler;

  Core* current_ = nullptr;
  Core* loop_ = nullptr;
  // Cached: their addresses belong to the thread, as the scheduler does.
  ExceptionState* const exception_state_;
  int* const errno_;
  const int operations_per_turn_;
  int operations_left_;
  std::unique_ptr<Hub> hub_;
  StackCache stacks_;
  Core* main_ = nullptr;
  Core* all_ = nullptr;
  size_t live_ = 0;
  size_t blocks_ = 0;  // control blocks that are not freed, or were freed elsewhere
  std::atomic<int64_t> freed_elsewhere_{0};
  uint64_t next_id_ = 1;
  const HubHandle handle_;
  std::string loop_exit_report_;
  std::vector<absl::AnyInvocable<void()>> at_end_;
  ErrorHandler error_handler_;
};

inline void Scheduler::PrefetchSecondNext() {
  Runnable* first = hub_->FirstReady();
  if (first == nullptr) return;
  Runnable* second = first->next;
  if (second == nullptr || second->run != &Core::RunOnHub) return;
  const char* sp = static_cast<char*>(static_cast<Core*>(second)->context.sp);
  for (int line = 0; line < 16; ++line) __builtin_prefetch(sp + 64 * line);
}

inline Core* Scheduler::Next() {
  Runnable* r = hub_->TakeReady(&Core::RunOnHub);
  if (ABSL_PREDICT_FALSE(r == nullptr)) return loop_;
  // Among thousands, the one after this will not be in the cache.
  __builtin_prefetch(r->next);
  return static_cast<Core*>(r);
}

[[gnu::always_inline]] inline void Scheduler::Switch(Core* next) {
  Core* self = current_;
  if (next == self) return;
  current_ = next;
  const ExceptionState state = exception_state_->Load();
  const int saved_errno = *errno_;
  SwitchContext(&self->context, &next->context);
  // No register has survived that. This thread's scheduler is nearer in thread-local
  // storage than on the stack, and the compiler need not keep `this`.
  Scheduler* s = current_scheduler;
  *s->errno_ = saved_errno;
  s->exception_state_->Store(state);
}

[[gnu::always_inline]] inline void Scheduler::Park(Waiter* waiter) {
  Core* self = current_;
  if (ABSL_PREDICT_FALSE(self == loop_)) BlockedOnLoopStack(waiter);
  self->interruptible = MayThrow();
  if (ABSL_PREDICT_FALSE(self->pending != 0) && self->interruptible) {
    waiter->Cancel();
    ThrowPending();
  }
  self->waiting_on = waiter;
  self->parked = true;
  operations_left_ = operations_per_turn_;
  Switch(Next());
  Scheduler* s = current_scheduler;
  self = s->current_;
  self->waiting_on = nullptr;
  if (ABSL_PREDICT_FALSE(self->interrupted)) {
    self->interrupted = false;
    s->ThrowPending();
  }
}

[[gnu::always_inline]] inline void Scheduler::Yield() {
  Core* self = current_;
  if (ABSL_PREDICT_FALSE(self == loop_)) BlockedOnLoopStack(nullptr);
  DeliverPending();
  operations_left_ = operations_per_turn_;
  Core* next = static_cast<Core*>(hub_->RotateReady(self, &Core::RunOnHub));
  if (ABSL_PREDICT_TRUE(next != nullptr)) {
    __builtin_prefetch(hub_->FirstReady());
  } else {
    hub_->MakeReady(self);
    next = Next();
  }
  Switch(next);
  current_scheduler->DeliverPending();
}

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_INTERNAL_SCHEDULER_H_
