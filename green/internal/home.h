#ifndef GROVE_GREEN_INTERNAL_HOME_H_
#define GROVE_GREEN_INTERNAL_HOME_H_

#include <atomic>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "grove/green/internal/operation.h"
#include "grove/green/internal/scheduler.h"
#include "grove/hub/deadline.h"

namespace grove::green_internal {

// Home
//
// The hub to which an object belongs, and the way there. An object's state is touched on
// its home hub only, so that at home no operation takes a lock or an atomic; from
// elsewhere an operation travels there, by mail, and its answer comes back.
//
// An object that is made on a thread without a hub has no home yet: it gets that of the
// first thread with a hub that uses it, as it does again when its home has ended. Until
// then a lock guards it.
//
//   void Event::Set() {
//     home_.Do([this] { ... });
//   }
//   bool Event::Wait(Deadline deadline) {
//     if (home_.Here() && set_) return true;    // the short way, where it matters
//     WaitOperation op(this);
//     return home_.Perform(&op, deadline);
//   }
//
// Threads: any.
class Home {
 public:
  Home() {
    if (Scheduler* s = Scheduler::GetIfExists()) Bind(s);
  }
  Home(const Home&) = delete;
  Home& operator=(const Home&) = delete;
  // Operations that are on their way here arrive first.
  ~Home() {
    if (Here() && in_flight_.load(std::memory_order_acquire) == 0) {
      scheduler()->Release();
    } else {
      Leave();
    }
  }

  // Whether this thread's hub is the object's home.
  bool Here() const { return Is(Scheduler::GetIfExists()); }
  bool Is(const Scheduler* s) const { return scheduler() == s; }

  // Home::Do()
  //
  // Runs `fn` at home: at once if that is here, else soon, without waiting for it; what
  // one thread does is done in the order in which it did it. `fn` must not block.
  template <typename F>
  void Do(F&& fn) {
    if (ABSL_PREDICT_TRUE(Here())) {
      std::forward<F>(fn)();
    } else {
      Send(std::forward<F>(fn));
    }
  }

  // Home::Ask()
  //
  // Runs `fn` at home, and waits for it; `fn` must not block. From elsewhere this blocks
  // until that hub's next turn, and is not interrupted; a thread without a hub needs
  // none.
  void Ask(absl::FunctionRef<void()> fn);

  // Home::Perform()
  //
  // Performs a blocking operation, wherever the caller is. False if the deadline passed
  // first. Throws on an interrupt, unless the operation was fulfilled meanwhile: then the
  // interrupt stays pending. A thread without a hub gets one if the operation may wait.
  [[nodiscard]] bool Perform(Operation* op, Deadline deadline);

  // Home::PerformElsewhere()
  //
  // Perform() of an operation that always waits, where the caller is not at home: `then`
  // is called as soon as the operation is on its way into line, before anything that this
  // thread sends later. If that throws, so does this, and what was granted meanwhile is
  // given to `pass_on`. True too if the home has ended meanwhile.
  [[nodiscard]] bool PerformElsewhere(Operation* op, Deadline deadline,
                                      absl::FunctionRef<void()> then,
                                      absl::FunctionRef<void()> pass_on);

  // Home::WaitInLine()
  //
  // Perform() at home, of an operation that cannot be done at once; `s` is this thread's.
  // Inline up to the switch, as is whatever calls it: a return after a switch goes where
  // the processor does not expect it (its return predictor follows calls, not stacks).
  template <typename Op>
  [[gnu::always_inline]] static void WaitInLine(Scheduler* s, Op* op) {
    op->WaitsFor(s->current());
    op->Op::Enlist();
    s->Park(op);
  }
  [[nodiscard]] static bool WaitInLine(Scheduler* s, Operation* op, Deadline deadline) {
    if (deadline == Deadline::Passed()) return false;
    op->WaitsFor(s->current());
    op->Enlist();
    return s->ParkUntil(op, deadline);
  }

  // Home::BelongsTo()
  //
  // Whether the object's home is the hub of this thread, `here`; it is from now on, if it
  // had none.
  bool BelongsTo(Scheduler& here) { return Is(&here) || Adopt(); }
  // Whether it has no home, or that has ended: whoever uses it next decides.
  bool HasNone();
  // Whether two objects have the same home.
  bool SameAs(const Home& other) const { return scheduler() == other.scheduler(); }

  // Home::Settle()
  //
  // Waits until what was sent here before has arrived; not interrupted. For destructors:
  // in a callback of another hub, which cannot wait, what was sent is dropped.
  void Settle();

 private:
  struct SendLetter;
  static Scheduler* Nowhere() { return reinterpret_cast<Scheduler*>(1); }
  Scheduler* scheduler() const { return scheduler_.load(std::memory_order_relaxed); }
  void Bind(Scheduler* s) {
    s->Retain();
    scheduler_.store(s, std::memory_order_release);
  }
  enum class Place { kHere, kElsewhere, kNowhere };
  Place Find();
  void Send(absl::AnyInvocable<void()> fn);
  void Recall();
  bool Post(Letter* letter);
  bool Adopt();
  void Leave();

  std::atomic<Scheduler*> scheduler_{Nowhere()};
  // What Send() has sent and was not executed yet.
  std::atomic<uint32_t> in_flight_{0};
  SendLetter* sent_ = nullptr;  // of those, which have not begun
};

// Self
//
// Who does something, so that it can be told later whether the same undoes it: a
// greenlet, or a thread that has no hub.
class Self {
 public:
  Self() = default;
  // Who is about to do something to an object whose home is `home`.
  static Self Current(Home& home);
  static Self OfThread();
  // One that is at the object's home.
  static Self Of(Core* core) { return Self(reinterpret_cast<uintptr_t>(core)); }

  // Counts the locks that whoever calls holds (see Core::CountLocks).
  static void HasLocked();
  static void HasUnlocked();

  bool valid() const { return id_ != 0; }
  // The greenlet, if it is one of the object's home, where this may be asked. Others may
  // be gone: what they have undone can still be on its way.
  Core* core() const;
  // The same of any hub, to be compared only.
  const Core* greenlet() const {
    return id_ & kThread ? nullptr : reinterpret_cast<const Core*>(id_ & ~kElsewhere);
  }
  // For messages, while it exists.
  std::string Describe() const;
  friend bool operator==(Self a, Self b) { return ((a.id_ ^ b.id_) & ~kElsewhere) == 0; }

 private:
  static constexpr uintptr_t kThread = 1;
  static constexpr uintptr_t kElsewhere = 2;
  explicit Self(uintptr_t id) : id_(id) {}
  uintptr_t id_ = 0;
};

// Selves
//
// Who may undo what was done: the current greenlet and, if that is the main one, also its
// thread, for what was done before there was a hub. To be asked at an object's home.
class Selves {
 public:
  static Selves Current(Home& home);
  bool Include(Self self) const {
    return self.valid() && (self == current_ || self == thread_);
  }
  std::string Describe() const { return current_.Describe(); }

 private:
  Self current_;
  Self thread_;
};

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_INTERNAL_HOME_H_
