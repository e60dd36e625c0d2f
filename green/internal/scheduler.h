#ifndef GROVE_GREEN_INTERNAL_SCHEDULER_H_
#define GROVE_GREEN_INTERNAL_SCHEDULER_H_

#include <cxxabi.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/optimization.h"
#include "grove/green/internal/core.h"
#include "grove/green/internal/core_pool.h"
#include "grove/green/internal/spawn_hooks.h"
#include "grove/green/internal/thread_pointer.h"
#include "grove/hub/hub.h"
#include "grove/hub/internal/relaxed.h"

namespace grove::green_internal {

class HubRecord;

// What the C++ runtime keeps per thread about exceptions in flight and caught (Itanium
// C++ ABI, section 2.2.2). Ours are per greenlet, so that a catch block may block.
struct ExceptionState {
  void* caught = nullptr;
  unsigned int uncaught = 0;

  bool any() const { return (reinterpret_cast<uintptr_t>(caught) | uncaught) != 0; }
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
  Core* current() const { return current_; }
  Core* main() const { return main_; }
  bool on_loop_stack() const { return current_ == loop_; }
  const std::string& hub_name() const { return handle_.name(); }  // from any thread
  bool on_home_thread() const { return current_scheduler == this; }
  void* thread_pointer() const { return thread_pointer_; }  // of the hub's thread
  // To where it is found by who has other thread-local variables, that far from these.
  static void CopyCurrent(ptrdiff_t distance) {
    std::memcpy(reinterpret_cast<char*>(&current_scheduler) + distance,
                &current_scheduler, sizeof current_scheduler);
  }

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

  // Scheduler::ParkQuietly()
  //
  // As ParkUntil(), but an interrupt is not thrown: it stays pending.
  enum class ParkEnd : uint8_t { kWoken, kTimedOut, kInterrupted };
  [[nodiscard]] ParkEnd ParkQuietly(Waiter* waiter, Deadline deadline);

  // Scheduler::Wake()
  //
  // Lets a parked greenlet run behind all that is ready. False if it was not parked any
  // more. Whoever calls this has unlinked its waiter.
  bool Wake(Core* core) {
    if (core->parked != park_mark_) return false;
    core->parked = 0;
    hub_->MakeReady(core);
    return true;
  }

  // Scheduler::WakeByEvent()
  //
  // As Wake(), from a callback of the loop: those that it wakes run in the order in which
  // their events came.
  void WakeByEvent(Core* core) {
    if (core->parked != park_mark_) return;
    core->parked = 0;
    hub_->MakeReadyByEvent(core);
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
    if (ABSL_PREDICT_FALSE(--operations_left_ <= 0)) EndOperations();
  }

  // Scheduler::YieldUninterrupted(), Scheduler::CountOperationUninterrupted()
  //
  // As those above, but an interrupt is not thrown: it stays pending.
  void YieldUninterrupted();
  void CountOperationUninterrupted() {
    if (ABSL_PREDICT_FALSE(--operations_left_ <= 0)) YieldUninterrupted();
  }

  // --- interrupts ---

  // Something has been added to core->special: end its wait if that may be.
  void Interrupt(Core* core);
  void Kill(Core* core, std::exception_ptr error);
  // Throws what is pending for the current greenlet, if it may be thrown now.
  void DeliverPending() {
    if (ABSL_PREDICT_FALSE(current_->pending() != 0) && MayThrow()) ThrowPending();
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
  // One that nobody runs on.
  void GiveStack(const Stack& stack) { stacks_.Give(stack); }
  // Whether there is one, for those who would rather do without.
  bool HasStack(size_t size) {
    const absl::StatusOr<Stack> stack = stacks_.Take(size);
    if (stack.ok()) stacks_.Give(*stack);
    return stack.ok();
  }
  // Whether there are some of the default size.
  bool HasStacks(size_t n) { return stacks_.Reserve(n); }
  // A control block for what `body` says, which lies in `stack`; it will start on what is
  // below that.
  Core* Adopt(Body* body, Stack stack, SpawnSite site);
  // Lets a new greenlet run behind all that is ready.
  void Start(Core* core) {
    TellSpawned(core);
    hub_->MakeReady(core);
  }
  void TellSpawned(Core* core) {
    if (ABSL_PREDICT_FALSE(hooks_ != nullptr)) {
      hooks_->Run(SpawnHooks::When::kSpawn, core);
    }
  }
  uint64_t AddSpawnHook(SpawnHooks::When when, absl::AnyInvocable<void(Core*)> fn);
  bool RemoveSpawnHook(uint64_t id);
  // A greenlet that has not run yet ends as killed without ever running.
  void FinishUnstarted(Core* core, std::exception_ptr error);
  void RunLinks(Core* core);

  // Handles are counted on any thread. The greenlet itself is no handle, so that the end
  // of one that is waited for costs no atomic write: at home, whoever sees the last
  // handle go, or the greenlet end, frees the block once both are so. A last handle that
  // goes elsewhere leaves that to a letter, which is part of the count until it has
  // arrived.
  static void AddRef(Core* core) { core->refs.fetch_add(1, std::memory_order_relaxed); }
  static void Unref(Core* core) {
    if (ABSL_PREDICT_TRUE(core->refs.load(std::memory_order_acquire) == 1 &&
                          core->scheduler->on_home_thread())) {
      core->refs.store(0, std::memory_order_relaxed);  // nobody else can see it any more
      if (!core->owns_itself) core->scheduler->Free(core);
    } else {
      UnrefSlow(core);
    }
  }

  // --- fork; in fork.cc ---

  // Scheduler::LiveOnInChild()
  //
  // In a forked child, on the thread that has called fork(2): the current greenlet and
  // its hub live on. All other greenlets of the hub are over, as if they had been killed,
  // but nothing of theirs runs any more, and their stacks stay as they are. All other
  // hubs have ended. Where it is not the main greenlet that lives on, it takes its place:
  // when its function has returned, the process ends.
  static void LiveOnInChild();

  // From any thread.
  size_t live() const { return live_.FromElsewhere(); }
  // Each greenlet of this hub but the main one: its label and what it waits on.
  std::string Report() const;
  // "greenlet 'x' (#7), spawned at a.cc:12: waits for fd 5 readable"
  std::string Describe(const Core* core) const;
  // The greenlet of this hub with that id, if it has not ended; looks through all.
  Core* Find(uint64_t id) const;
  void ForEach(const std::function<void(Core*)>& fn) const;

  // For statistics, from any thread while the hub exists (see HubRecord).
  struct Outside {
    const Hub& hub;
    const StackCache& stacks;
    const Core* current;
    bool on_loop_stack;
    uint64_t spawned;
    uint64_t live;
  };
  Outside FromElsewhere() const {
    const Core* current = current_.FromElsewhere();
    return {*hub_,
            stacks_,
            current,
            current == loop_,
            next_id_.FromElsewhere() - 1,
            live_.FromElsewhere()};
  }
  HubRecord& record() const { return *record_; }

  // For what belongs to this hub and may outlive it (sync objects): while one is
  // retained, this object exists, and handle() may be asked from any thread.
  void Retain() { ++blocks_; }  // at home
  void RetainElsewhere() { CountFreed(-1); }
  void Release() {
    if (on_home_thread()) {
      --blocks_;
    } else {
      CountFreed(1);
    }
  }
  const HubHandle& handle() const { return handle_; }
  // Whether exit() was called: static objects are destroyed, and greenlets stay where
  // they are.
  static bool process_exits();
  // Another one in each forked child.
  static uint8_t process_mark() { return process_park_mark; }
  // Whether the hub has ended; then nothing posted to it is executed any more.
  bool ended() const { return ended_.load(std::memory_order_acquire); }

  // Waits that came from elsewhere, and are told when the hub ends.
  class Visitor {
   public:
    virtual void HubEnds() = 0;
    // In a forked child, where who waits here is no more.
    virtual void Forget() { HubEnds(); }
    // Which greenlet waits here, for what, and whose that is, if it is one greenlet's:
    // for dumps.
    struct Wait {
      const Core* waiter = nullptr;
      std::string who = {};
      std::string what = {};
      const Core* holder = nullptr;
    };
    virtual Wait GetWait() const { return {}; }

   protected:
    ~Visitor() = default;

   private:
    friend class Scheduler;
    Visitor* prev_ = nullptr;
    Visitor* next_ = nullptr;
  };
  void AddVisitor(Visitor* v);
  template <typename F>
  void ForEachVisitor(F&& fn) const {
    for (const Visitor* v = visitors_; v; v = v->next_) fn(*v);
  }
  void RemoveVisitor(Visitor* v);

  // Runs `fn` when the hub ends, before its loop does.
  void AtEnd(absl::AnyInvocable<void()> fn) { at_end_.push_back(std::move(fn)); }

  // Of native_task.cc: how many threads of pools are posting to this hub, and whether it
  // has ended for them.
  std::atomic<uint32_t> native_posts{0};

  // For hub join: woken when nothing is left to wait for.
  WaiterList dry_waiters;

  // Of GreenletLocal: the values of this hub's greenlets, by slot.
  std::vector<LocalBox*> local_lists;

  using ErrorHandler = std::function<void(Core*, std::exception_ptr)>;
  void set_error_handler(ErrorHandler handler) { error_handler_ = std::move(handler); }
  void HandleError(Core* core, std::exception_ptr error);

  // Scheduler::Switch()
  //
  // Stops the current greenlet, which is `self`, and lets `next` run.
  void Switch(Core* self, Core* next);

 private:
  friend class Core;
  friend struct DebuggerTable;

  // What who goes on would otherwise have to fetch from its stack, as no register
  // survives: this, and itself. Whoever switches hands them over.
  struct Resumed {
    Scheduler* scheduler;
    Core* self;
  };
  // Switch() of one that is not special, to another one. Who goes on may have become
  // special meanwhile, and has to call GoOn().
  [[gnu::always_inline]] inline Resumed SwitchPlainly(Core* self, Core* next);
  [[gnu::always_inline]] inline Resumed SwitchOutsideOfHandlers(Core* self, Core* next);
  Resumed SwitchInHandler(Core* self, Core* next);
  // For a special one that goes on. True if an interrupt has ended its wait.
  bool GoOn();

  explicit Scheduler(HubOptions options);
  ~Scheduler();
  static Scheduler& MakeImplicit();

  // True if an interrupt has ended the wait, and is still to be thrown.
  [[gnu::always_inline]] inline bool ParkUnlessPending(Waiter* waiter);
  [[gnu::always_inline]] inline void BeginWait(Core* self, Waiter* waiter);
  bool ParkSpecial(Waiter* waiter);
  void YieldSpecial();
  [[gnu::always_inline]] inline Core* Next();
  [[gnu::always_inline]] static inline void PrefetchFrom(const Runnable* next);
  bool MayThrow() const {
    if (current_->shields != 0) return false;
    // Who has variables of its own has these, too.
    return ABSL_PREDICT_FALSE(current_->has_own_thread_pointer())
               ? std::uncaught_exceptions() == 0
               : exception_state_->uncaught == 0;
  }
  [[noreturn]] void ThrowPending();
  void EndOperations();
  [[noreturn]] void BlockedOnLoopStack(const Waiter* waiter);
  void LoopMain();
  static void GreenletMain(void* core);
  static void InvokeUntil(Core* core, Deadline deadline);
  [[noreturn]] void Finish(Core* core);
  void MarkFinished(Core* core);
  void RanDry();
  void ForgetOthersInChild();
  static void List(Scheduler* s);
  static void Unlist(Scheduler* s);
  Stack TakeStackSlow(size_t size);
  static void UnrefSlow(Core* core);
  // The greenlet has ended, and nobody will switch to it any more.
  void Disown(Core* core) {
    core->owns_itself = false;
    if (core->refs.load(std::memory_order_acquire) == 0) Free(core);
  }
  void Free(Core* core);
  void CountFreed(int64_t n);

  // Looked up without a call, also in a shared library; one that dlopen() loads finds
  // room for a pointer in what ld.so keeps (dl-tls.c: rtld.optional_static_tls).
  [[gnu::tls_model(
      "initial-exec")]] static constinit thread_local Scheduler* current_scheduler;

  hub_internal::Published<Core*> current_{nullptr};
  Core* loop_ = nullptr;
  // Cached: their addresses belong to the thread, as the scheduler does.
  ExceptionState* const exception_state_;
  int* const errno_;
  void* const thread_pointer_ = ThreadPointer();
  const int operations_per_turn_;
  int operations_left_;
  // What `parked` is for who waits here: another number in each forked child, where the
  // greenlets of hubs that are over still stand in line, and must not run.
  uint8_t park_mark_;
  static uint8_t process_park_mark;
  // In here, and not elsewhere, for each wait uses both. Ends before this does.
  std::optional<Hub> hub_;
  std::shared_ptr<HubRecord> record_;
  StackCache stacks_;
  CorePool cores_;
  Core* main_ = nullptr;
  Core* all_ = nullptr;
  hub_internal::Published<size_t> live_{0};
  size_t blocks_ = 0;  // control blocks that are not freed, or were freed elsewhere
  // From the hub's end on, minus what is still to be freed. Until then far from zero.
  static constexpr int64_t kHubLives = int64_t{1} << 60;
  std::atomic<int64_t> freed_elsewhere_{kHubLives};
  std::atomic<bool> ended_{false};
  hub_internal::Published<uint64_t> next_id_{1};
  const HubHandle handle_;
  std::string loop_exit_report_;
  std::vector<absl::AnyInvocable<void()>> at_end_;
  Visitor* visitors_ = nullptr;
  ErrorHandler error_handler_;
  // All of the process that have not ended.
  static Scheduler* first;
  Scheduler* previous_ = nullptr;
  Scheduler* next_ = nullptr;
  SpawnHooks* hooks_ = nullptr;  // if there are any, all_hooks_
  std::unique_ptr<SpawnHooks> all_hooks_;
};

// A greenlet that stands in line is of this hub: its scheduler is known sooner than what
// its control block says, for which the list and the block have to be read first. Only in
// a forked child it may be of a hub that is over; then there may be no other, and if
// there is one, Wake() knows it for a stranger.
inline void WakeAtHome(Core* core) {
  if (Scheduler* s = Scheduler::GetIfExists(); ABSL_PREDICT_TRUE(s != nullptr)) {
    s->Wake(core);
  }
}

inline void WaitNode::Notify() {
  if (ABSL_PREDICT_TRUE(is_greenlet())) {
    WakeAtHome(static_cast<Core*>(this));
    return;
  }
  const OwnNode* own = static_cast<OwnNode*>(this);
  if (own->core != nullptr) {
    WakeAtHome(own->core);
  } else {
    own->wait->observer()->Fulfilled(own->wait);
  }
}

inline void ListedWaiter::Notify() { node_->Notify(); }

inline void WaiterList::NotifyAll() {
  while (WaitNode* node = PopNode()) {
    const bool last = empty();
    node->Notify();
    if (last) return;
  }
}

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
  PrefetchFrom(r->next);
  hub_->CountRun();
  return static_cast<Core*>(r);
}

// Among thousands, what comes next is in no cache, and to get it from memory takes longer
// than a switch: asks for the stack of the greenlet after the next (which for a new one
// is where its function lies), whose control block was asked for one switch ago, and for
// the control block behind that.
inline void Scheduler::PrefetchFrom(const Runnable* next) {
  if (next == nullptr || next->next == nullptr) return;
  next = next->next;
  if (next->run != &Core::RunOnHub) return;
  const Core* core = static_cast<const Core*>(next);
  const char* sp = static_cast<char*>(core->context.sp);
  __builtin_prefetch(next->next);
  for (int line = 0; line < 3; ++line) __builtin_prefetch(sp + 64 * line);
}

// What is caught or in flight belongs to the greenlet. There hardly ever is something, so
// whoever stops with something takes it along (SwitchInHandler()), and whoever goes on
// finds nothing.
[[gnu::always_inline]] inline Scheduler::Resumed Scheduler::SwitchPlainly(Core* self,
                                                                          Core* next) {
  if (ABSL_PREDICT_FALSE(exception_state_->any())) return SwitchInHandler(self, next);
  return SwitchOutsideOfHandlers(self, next);
}

[[gnu::always_inline]] inline Scheduler::Resumed Scheduler::SwitchOutsideOfHandlers(
    Core* self, Core* next) {
  current_ = next;
  const int saved_errno = *errno_;
  const Arrival arrival = SwitchContext(&self->context, &next->context, this, errno_);
  *static_cast<int*>(arrival.second) = saved_errno;
  return {static_cast<Scheduler*>(arrival.first), Core::Of(arrival.self)};
}

[[gnu::always_inline]] inline void Scheduler::BeginWait(Core* self, Waiter* waiter) {
  self->waiting_on = waiter;
  waiter->since_ = hub_->slice_began();
  self->parked = park_mark_;
  operations_left_ = operations_per_turn_;
}

inline bool Scheduler::ParkUnlessPending(Waiter* waiter) {
  Core* self = current_;
  if (ABSL_PREDICT_FALSE(self->special != 0)) return ParkSpecial(waiter);
  self->interruptible = self->shields == 0 && exception_state_->uncaught == 0;
  BeginWait(self, waiter);
  const Resumed now = SwitchPlainly(self, Next());
  return ABSL_PREDICT_FALSE(now.self->special != 0) && now.scheduler->GoOn();
}

[[gnu::always_inline]] inline void Scheduler::Park(Waiter* waiter) {
  if (ABSL_PREDICT_FALSE(ParkUnlessPending(waiter))) current_scheduler->ThrowPending();
}

[[gnu::always_inline]] inline void Scheduler::Yield() {
  Core* self = current_;
  if (ABSL_PREDICT_FALSE(self->special != 0)) return YieldSpecial();
  operations_left_ = operations_per_turn_;
  Core* next = static_cast<Core*>(hub_->RotateReady(self, &Core::RunOnHub));
  if (ABSL_PREDICT_TRUE(next != nullptr)) {
    const Runnable* second = hub_->FirstReady();
    if (second->next != nullptr) PrefetchFrom(second);
    hub_->CountRun();
  } else {
    hub_->MakeReady(self);
    next = Next();
    if (next == self) return;
  }
  const Resumed now = SwitchPlainly(self, next);
  if (ABSL_PREDICT_FALSE(now.self->special != 0)) {
    now.scheduler->GoOn();
    now.scheduler->DeliverPending();
  }
}

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_INTERNAL_SCHEDULER_H_
