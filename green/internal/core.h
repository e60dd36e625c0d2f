#ifndef GROVE_GREEN_INTERNAL_CORE_H_
#define GROVE_GREEN_INTERNAL_CORE_H_

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "grove/green/internal/context.h"
#include "grove/green/internal/inherited.h"
#include "grove/green/internal/stack.h"
#include "grove/green/spawn_site.h"
#include "grove/hub/clock.h"
#include "grove/hub/run_queue.h"
#include "grove/hub/timer_queue.h"

namespace grove {
class Timeout;
}

namespace grove::green_internal {

class Core;
class ListedWaiter;
struct DebuggerTable;
class Scheduler;

// Waiter
//
// One wait of one greenlet. It lies on the stack of the greenlet that waits; it, or the
// greenlet's control block for it, is linked into what it waits on, so that a wait
// allocates nothing.
class Waiter {
 public:
  // Takes the wait out of what it is linked into. Called when a deadline or an interrupt
  // ends it; whoever fulfils a wait has unlinked it already.
  virtual void Cancel() = 0;
  // As Cancel(), where the greenlet will never go on, as its hub ends or is a forked
  // child's: lets nobody else go on in its place, who may be as doomed.
  virtual void Abandon() { Cancel(); }

  // "Event::Wait", "fd 12 readable", "join of greenlet 'x' (#7)".
  virtual std::string Describe() const = 0;

  // The greenlet of this hub that alone can end the wait by what it does, if there is
  // one: who holds the lock. Such edges are followed to find deadlocks.
  virtual Core* BlockedBy() const { return nullptr; }
  // As BlockedBy(), also where a deadline may end the wait first, and of whichever hub:
  // for dumps, which compare it and no more, as it may be gone.
  virtual const Core* HeldBy() const { return BlockedBy(); }
  // Whether that is known on another hub, to which the greenlet is a visitor there.
  virtual bool IsHeldElsewhere() const { return false; }

  // When the greenlet began to wait, on its hub's clock, to about a slice: when its hub
  // began with the slice in which it did. Set by Park(), where this lies in the cache.
  MonotonicNanos since() const { return since_; }

 protected:
  ~Waiter() = default;

 private:
  friend class Scheduler;
  friend struct DebuggerTable;
  MonotonicNanos since_;
};

// WaitNode
//
// A place in a WaiterList. A greenlet's own is its control block, where it shares a cache
// line with what a switch touches, so that waking thousands of greenlets touches neither
// a second line of theirs nor their stacks.
struct WaitNode : Runnable {
  using Runnable::Runnable;

  // Who waits is not ready to run: Runnable::next is free.
  WaitNode* next_node() const { return static_cast<WaitNode*>(next); }
  // Whether this is a Core; else it is an OwnNode, and nothing that could run.
  bool is_greenlet() const { return run != nullptr; }
  inline ListedWaiter* waiter() const;
  inline void Notify();  // in scheduler.h, as all that wakes

  WaitNode* prev = nullptr;
};

// OwnNode
//
// The place of a wait whose greenlet may wait for something else meanwhile, or is of
// another hub.
struct OwnNode : WaitNode {
  OwnNode() : WaitNode(nullptr) {}

  ListedWaiter* wait = nullptr;
  Core* core = nullptr;  // who is to be woken; if null, the waiter's observer is told
};

// WaiterList
//
// Who waits on one object, first come first served.
class WaiterList {
 public:
  WaiterList() = default;
  WaiterList(const WaiterList&) = delete;
  WaiterList& operator=(const WaiterList&) = delete;

  bool empty() const { return head_ == nullptr; }
  ListedWaiter* front() const { return head_ ? head_->waiter() : nullptr; }
  inline void PushBack(ListedWaiter* w);
  ListedWaiter* PopFront() {
    WaitNode* node = PopNode();
    return node ? node->waiter() : nullptr;
  }
  // Without a look at the waiter itself.
  WaitNode* PopNode() {
    WaitNode* node = head_;
    if (node == nullptr) return nullptr;
    head_ = node->next_node();
    (head_ ? head_->prev : tail_) = nullptr;
    return node;
  }
  inline void Remove(ListedWaiter* w);
  // All that wait. Once the last one is notified the list is not touched any more: on
  // another hub that one may destroy it.
  inline void NotifyAll();

 private:
  WaitNode* head_ = nullptr;
  WaitNode* tail_ = nullptr;
};

// Observer
//
// Who is told of the end of a wait that is not a parked greenlet's only one: a wait for
// several things, or one from another hub.
class Observer {
 public:
  // Called when `w` was fulfilled; it is in no list any more.
  virtual void Fulfilled(ListedWaiter* w) = 0;
  // "greenlet 'x' (#7)"
  virtual std::string Who() const = 0;

 protected:
  ~Observer() = default;
};

// ListedWaiter
//
// A wait that stands in a WaiterList. Whoever fulfils it takes it out of there, puts what
// was waited for into it, and calls Notify().
class ListedWaiter : public Waiter {
 public:
  // Stands in line at once.
  inline ListedWaiter(Core* core, WaiterList* list);
  void Cancel() override { list_->Remove(this); }
  // Call after taking it out of its list.
  inline void Notify();

  inline Core* core() const;
  ListedWaiter* next() const {
    return node_->next ? node_->next_node()->waiter() : nullptr;
  }
  Observer* observer() const { return observer_; }
  // Who waits, for messages.
  std::string Who() const;

 protected:
  explicit ListedWaiter(WaiterList* list) : list_(list) {}
  ~ListedWaiter() = default;
  // Whose wait it is, before it stands in line: a greenlet's only one, for which it
  // parks, or an observer's.
  inline void BelongsTo(Core* core);
  void BelongsTo(Observer* observer) {
    UseOwnNode(nullptr);
    observer_ = observer;
  }
  // As that of a greenlet that may wait for something else, meanwhile.
  void UseOwnNode(Core* core) {
    if (node_ != &own_node_) {  // else it may stand in line already
      node_ = ::new (&own_node_) OwnNode;
      own_node_.wait = this;
    }
    own_node_.core = core;
  }

  Observer* observer_ = nullptr;
  WaiterList* list_;

 private:
  friend class WaiterList;
  WaitNode* node_ = nullptr;
  union {
    OwnNode own_node_;  // made by UseOwnNode(): most waits stand in line by their Core
  };
};

// What makes a greenlet special, as bits of one byte: whoever stops or goes on as most do
// has looked at all of it at once.
enum Special : uint8_t {
  // It is to be interrupted.
  kPendingKill = 1,
  kPendingThrow = 2,
  kPendingTimeout = 4,
  kPendingLoopExit = 8,
  kPending = 15,
  kInterrupted = 16,       // an interrupt has ended its wait
  kOwnThreadPointer = 32,  // see Core::thread_pointer
  kLoop = 64,              // is the hub's loop, which must not block
};

enum class LinkOn : uint8_t { kAlways, kValue, kException };

struct Extras;
struct LocalBox;

// Body
//
// What a greenlet runs, and what came of it. It lies at the top of the greenlet's own
// stack, so that a greenlet that sleeps costs one page.
class Body {
 public:
  // Whether there is something to destroy of the function, and of what it returns: two
  // calls less where there is not.
  struct Destroys {
    bool function;
    bool result;
  };
  explicit Body(Destroys destroys) : destroys(destroys) {}
  Body(const Body&) = delete;
  Body& operator=(const Body&) = delete;
  virtual ~Body() = default;

  // Runs the user's function and keeps what it returns. May throw what that throws.
  virtual void Invoke() = 0;
  // Destroys the function with all that it captured.
  virtual void DropFunction() = 0;

  const Destroys destroys;
};

// Core
//
// The control block of a greenlet; those of its hub's other ones lie beside it (see
// CorePool). Alive while the greenlet runs or a handle refers to it.
class alignas(64) Core : public WaitNode {
 public:
  Core(Scheduler* s, Body* b) : WaitNode(&RunOnHub), body(b), scheduler(s) {}
  ~Core() {
    if (body && body->destroys.result) body->~Body();
  }
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  // --- one cache line, with the base class: what a wait and a switch touch ---
  Context context;
  uint8_t special = 0;           // Special bits
  uint8_t parked = 0;            // waits; somebody has to wake it (see park_mark_)
  bool interruptible = false;    // while parked: an interrupt may end the wait
  bool timed_out = false;        // the wait's own deadline has ended it
  uint16_t shields = 0;          // Shields in force
  Waiter* waiting_on = nullptr;  // while parked or in a line; else what it was last

  // --- the rest ---
  alignas(64) Body* const body;  // null for the main greenlet and the hub's loop
  Scheduler* const scheduler;
  bool started = false;
  bool cancelled = false;             // ended before it began; it will never run
  std::atomic<bool> finished{false};  // what came of it was stored before
  bool ends_unstarted = false;        // is cancelled, but what it captured lives yet
  bool kill_thrown = false;
  bool killed = false;            // ended by GreenletExit, or before it began
  bool bounded = false;           // has inherited a deadline
  bool expired = false;           // ended by that
  bool watched = false;           // somebody else reports how it ended
  uint16_t locks = 0;             // that it holds; see CountLocks()
  uint16_t unpatched = 0;         // patch::Unpatched scopes in force
  bool owns_itself = true;        // has not ended, or stands in the run queue still
  std::atomic<uint32_t> refs{1};  // handles; see Scheduler::Unref()
  Stack stack;
  uint64_t id = 0;
  uint64_t parent_id = 0;
  SpawnSite site;
  std::exception_ptr error;       // what ended it
  std::exception_ptr kill_error;  // what a kill throws instead of GreenletExit
  std::exception_ptr thrown;      // by Throw()
  Timeout* timeouts = nullptr;    // active scopes, innermost first
  InheritedRef inherited;         // the context that it runs under
  WaiterList joiners;
  Core* all_prev = nullptr;  // every greenlet of the hub
  Core* all_next = nullptr;
  std::unique_ptr<Extras> extras;
  // Of patch: the thread that it is to the program, and the values of its keys.
  void* patched_thread = nullptr;
  void* patched_values = nullptr;
  // And where its thread-local variables are, if kOwnThreadPointer says that they are not
  // the hub's thread's.
  void* thread_pointer = nullptr;

  // Whose context that is.
  static Core* Of(Context* context) {
    return reinterpret_cast<Core*>(reinterpret_cast<char*>(context) - sizeof(WaitNode));
  }

  uint8_t pending() const { return special & kPending; }
  bool has_own_thread_pointer() const { return (special & kOwnThreadPointer) != 0; }

  // Only in builds without NDEBUG, where a greenlet that ends and still holds a lock is a
  // fatal error: counting up and down again costs as much as all else that a lock does,
  // as each waits for the one before to reach memory.
  void CountLocks([[maybe_unused]] int n) {
#ifndef NDEBUG
    locks = static_cast<uint16_t>(locks + n);
#endif
  }

  // "greenlet 'worker' (#7)"
  std::string Label() const;
  void SetName(std::string name);
  std::string name() const;

  static void RunOnHub(Runnable* r);  // the Runnable's function
};
// A member too many in the first cache line, and each switch touches two.
#if !GROVE_ASAN && !GROVE_TSAN
static_assert(sizeof(Core) <= 4 * 64);
#endif

// Extras
//
// What only few greenlets have.
struct Extras {
  struct Link {
    uint64_t id;
    LinkOn on;
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
  // Of GreenletLocal, by slot, and the last one made.
  std::vector<LocalBox*> locals;
  LocalBox* newest_local = nullptr;
};

// Whether a link is to be called for what has become of a greenlet.
inline bool Wants(LinkOn on, const Core* core) {
  return on == LinkOn::kAlways || (on == LinkOn::kException) == (core->error != nullptr);
}

inline ListedWaiter* WaitNode::waiter() const {
  return is_greenlet()
             ? static_cast<ListedWaiter*>(static_cast<const Core*>(this)->waiting_on)
             : static_cast<const OwnNode*>(this)->wait;
}

inline void WaiterList::PushBack(ListedWaiter* w) {
  WaitNode* node = w->node_;
  node->prev = tail_;
  node->next = nullptr;
  if (tail_ != nullptr) {
    tail_->next = node;
  } else {
    head_ = node;
  }
  tail_ = node;
}

inline void WaiterList::Remove(ListedWaiter* w) {
  WaitNode* node = w->node_;
  if (node->prev != nullptr) {
    node->prev->next = node->next;
  } else {
    head_ = node->next_node();
  }
  (node->next ? node->next_node()->prev : tail_) = node->prev;
}

inline ListedWaiter::ListedWaiter(Core* core, WaiterList* list) : list_(list) {
  BelongsTo(core);
  list->PushBack(this);
}

inline void ListedWaiter::BelongsTo(Core* core) {
  node_ = core;
  core->waiting_on = this;
}

inline Core* ListedWaiter::core() const {
  return node_->is_greenlet() ? static_cast<Core*>(node_) : own_node_.core;
}

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_INTERNAL_CORE_H_
