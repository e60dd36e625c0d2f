#ifndef GROVE_GREEN_INTERNAL_CORE_H_
#define GROVE_GREEN_INTERNAL_CORE_H_

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "grove/green/internal/context.h"
#include "grove/green/internal/stack.h"
#include "grove/green/spawn_site.h"
#include "grove/hub/run_queue.h"
#include "grove/hub/timer_queue.h"

namespace grove {
class Timeout;
}

namespace grove::green_internal {

class Core;
class Scheduler;

// Waiter
//
// One wait of one greenlet. It lies on the stack of the greenlet that waits, linked into
// what it waits on, so that a wait allocates nothing.
class Waiter {
 public:
  // Takes the wait out of what it is linked into. Called when a deadline or an interrupt
  // ends it; whoever fulfils a wait has unlinked it already.
  virtual void Cancel() = 0;

  // "Event::Wait", "fd 12 readable", "join of greenlet 'x' (#7)".
  virtual std::string Describe() const = 0;

 protected:
  ~Waiter() = default;
};

// WaiterList
//
// Who waits on one object, first come first served.
class ListedWaiter;
class WaiterList {
 public:
  WaiterList() = default;
  WaiterList(const WaiterList&) = delete;
  WaiterList& operator=(const WaiterList&) = delete;

  bool empty() const { return head_ == nullptr; }
  inline void PushBack(ListedWaiter* w);
  inline ListedWaiter* PopFront();
  inline void Remove(ListedWaiter* w);

 private:
  ListedWaiter* head_ = nullptr;
  ListedWaiter* tail_ = nullptr;
};

class ListedWaiter : public Waiter {
 public:
  ListedWaiter(Core* core, WaiterList* list) : core_(core), list_(list) {
    list->PushBack(this);
  }
  void Cancel() final { list_->Remove(this); }
  Core* core() const { return core_; }

 protected:
  ~ListedWaiter() = default;

 private:
  friend class WaiterList;
  Core* const core_;
  WaiterList* const list_;
  ListedWaiter* prev_ = nullptr;
  ListedWaiter* next_ = nullptr;
};

// Why a greenlet is to be interrupted, as bits.
enum Pending : uint8_t {
  kPendingKill = 1,
  kPendingThrow = 2,
  kPendingTimeout = 4,
  kPendingLoopExit = 8,
};

enum class LinkOn : uint8_t { kAlways, kValue, kException };

struct Extras;

// Core
//
// The control block of a greenlet. It lies at the top of the greenlet's own stack, so
// that a greenlet that sleeps costs one page; the main greenlet's lies in its Scheduler.
// Alive while the greenlet runs or a handle refers to it.
class Core : public Runnable {
 public:
  explicit Core(Scheduler* s) : Runnable(&RunOnHub), scheduler(s) {}
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  // --- one cache line: what a switch touches ---
  Context context;
  uint8_t pending = 0;         // Pending bits
  bool parked = false;         // waits; somebody has to wake it
  bool interruptible = false;  // while parked: an interrupt may end the wait
  bool interrupted = false;    // an interrupt has ended the wait
  bool timed_out = false;      // the wait's own deadline has ended it
  uint16_t shields = 0;        // Shields in force
  Waiter* waiting_on = nullptr;

  // --- the rest ---
  Scheduler* const scheduler;
  bool started = false;
  bool cancelled = false;  // ended before it began; it will never run
  bool finished = false;
  bool kill_thrown = false;
  bool killed = false;            // ended by GreenletExit, or before it began
  std::atomic<uint32_t> refs{2};  // the greenlet's own, and the first handle's
  Stack stack;
  uint64_t id = 0;
  uint64_t parent_id = 0;
  SpawnSite site;
  std::exception_ptr error;       // what ended it
  std::exception_ptr kill_error;  // what a kill throws instead of GreenletExit
  std::exception_ptr thrown;      // by Throw()
  Timeout* timeouts = nullptr;    // active scopes, innermost first
  WaiterList joiners;
  Core* all_prev = nullptr;  // every greenlet of the hub
  Core* all_next = nullptr;
  std::unique_ptr<Extras> extras;

  // Runs the user's function and keeps what it returns. May throw what that throws.
  virtual void Invoke() = 0;
  // Destroys the function with all that it captured.
  virtual void DropFunction() = 0;
  virtual ~Core() = default;

  // "greenlet 'worker' (#7)"
  std::string Label() const;
  void SetName(std::string name);
  std::string name() const;

  static void RunOnHub(Runnable* r);  // the Runnable's function
};

// Extras
//
// What only few greenlets have.
struct Extras {
  struct Link {
    uint64_t id;
    LinkOn on;
    bool raw;
    absl::AnyInvocable<void(Core*)> fn;
  };

  std::string name;
  std::vector<Link> links;
  uint64_t next_link_id = 1;
  // Of SpawnLater.
  struct StartTimer : Timer {
    explicit StartTimer(Core* c) : Timer(&OnFire), core(c) {}
    static void OnFire(Timer* timer);
    Core* const core;
  };
  std::unique_ptr<StartTimer> start_timer;
};

inline void WaiterList::PushBack(ListedWaiter* w) {
  w->prev_ = tail_;
  w->next_ = nullptr;
  (tail_ ? tail_->next_ : head_) = w;
  tail_ = w;
}

inline void WaiterList::Remove(ListedWaiter* w) {
  (w->prev_ ? w->prev_->next_ : head_) = w->next_;
  (w->next_ ? w->next_->prev_ : tail_) = w->prev_;
}

inline ListedWaiter* WaiterList::PopFront() {
  ListedWaiter* w = head_;
  if (w) Remove(w);
  return w;
}

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_INTERNAL_CORE_H_
