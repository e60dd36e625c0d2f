#include "grove/green/internal/home.h"

#include <sched.h>

#include <memory>
#include <mutex>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "grove/green/internal/crossing.h"
#include "grove/green/internal/process_mutex.h"
#include "grove/hub/internal/check.h"

namespace grove::green_internal {
namespace {

// Guards which home an object has, for all who are not there, and the state of objects
// that have none. One of several, chosen by the object's address.
ProcessMutex& CrossingMutex(const void* object) {
  static auto* const mutexes = new ProcessMutex[64];
  return mutexes[reinterpret_cast<uintptr_t>(object) / 64 % 64];
}

void Nothing() {}
void NoErrand(bool) {}

// What this thread has locked while it had no hub. Its address names the thread.
thread_local uint64_t locks_of_thread = 0;

}  // namespace

// What Send() sends. Those on their way are listed, so that a home may end before them.
struct Home::SendLetter : Letter {
  SendLetter(absl::AnyInvocable<void()> f, Home* h)
      : Letter(&Deliver), fn(std::move(f)), home(h), mutex(CrossingMutex(h)) {}
  // Also if the hub has just ended: nobody waits there any more, but the state counts.
  static void Deliver(Letter* letter, bool) {
    std::unique_ptr<SendLetter> self(static_cast<SendLetter*>(letter));
    {
      std::lock_guard lock(self->mutex);
      if (self->home == nullptr) return;
      self->Unlist();
    }
    self->fn();
    self->home->in_flight_.fetch_sub(1, std::memory_order_release);
  }
  // Under the lock, as whatever is listed.
  void List() {
    previous_sent = nullptr;
    next_sent = home->sent_;
    if (next_sent) next_sent->previous_sent = this;
    home->sent_ = this;
    home->in_flight_.fetch_add(1, std::memory_order_relaxed);
  }
  void Unlist() {
    (previous_sent ? previous_sent->next_sent : home->sent_) = next_sent;
    if (next_sent) next_sent->previous_sent = previous_sent;
  }

  absl::AnyInvocable<void()> fn;
  Home* home;  // null if that has ended
  ProcessMutex& mutex;
  SendLetter* previous_sent = nullptr;
  SendLetter* next_sent = nullptr;
};

// What is looked up under the lock: a scheduler that has ended may be let go of only
// there, so that nobody asks one that is no more.
Home::Place Home::Find() {
  Scheduler* s = scheduler();
  Scheduler* here = Scheduler::GetIfExists();
  if (s == here) return Place::kHere;
  if (s != Nowhere()) {
    if (!s->ended()) return Place::kElsewhere;
    s->Release();
    scheduler_.store(Nowhere(), std::memory_order_relaxed);
  }
  if (here == nullptr) return Place::kNowhere;
  Bind(here);
  return Place::kHere;
}

bool Home::HasNone() {
  std::lock_guard lock(CrossingMutex(this));
  return scheduler() == Nowhere() || scheduler()->ended();
}

bool Home::Adopt() {
  std::lock_guard lock(CrossingMutex(this));
  return Find() == Place::kHere;
}

bool Home::Post(Letter* letter) { return PostTo(scheduler(), letter); }

void Home::Send(absl::AnyInvocable<void()> fn) {
  std::unique_ptr<SendLetter> letter;
  std::unique_lock lock(CrossingMutex(this));
  for (;;) {
    switch (Find()) {
      case Place::kHere:
        lock.unlock();
        letter ? letter->fn() : fn();
        return;
      case Place::kNowhere:
        letter ? letter->fn() : fn();
        return;
      case Place::kElsewhere:
        if (!letter) letter = std::make_unique<SendLetter>(std::move(fn), this);
        letter->List();
        if (Post(letter.get())) {
          letter.release();
          return;
        }
        // Its mailbox is closed; a moment later it has ended.
        letter->Unlist();
        in_flight_.fetch_sub(1, std::memory_order_relaxed);
        lock.unlock();
        sched_yield();
        lock.lock();
    }
  }
}

void Home::Ask(absl::FunctionRef<void()> fn) {
  Scheduler* here = Scheduler::GetIfExists();
  const auto errand = [fn](bool) { fn(); };
  std::unique_lock lock(CrossingMutex(this), std::defer_lock);
  for (;;) {
    if (Here()) {
      fn();
      return;
    }
    lock.lock();
    const Place place = Find();
    if (place == Place::kNowhere) {
      fn();
      return;
    }
    if (place == Place::kElsewhere) {
      const std::string& hub = scheduler()->hub_name();
      if (here == nullptr) {
        ThreadQuestion question(errand);
        if (Post(question.letter())) {
          lock.unlock();
          question.AwaitAnswer();
          return;
        }
      } else {
        GROVE_CHECK(!here->on_loop_stack(), "an object of hub '", hub,
                    "' is asked for an answer in a loop callback of hub '",
                    here->hub_name(), "', which would have to wait for it");
        Question question(errand, here);
        // Copied: that hub may end, once it has answered.
        const std::string name = hub;
        if (Post(question.letter())) {
          lock.unlock();
          question.AwaitAnswer(name);
          return;
        }
      }
    }
    lock.unlock();
    if (place == Place::kElsewhere) sched_yield();
  }
}

bool Home::Perform(Operation* op, Deadline deadline) {
  if (deadline == Deadline::Passed()) {
    bool done;
    Ask([&] { done = op->Try(); });
    return done;
  }
  Scheduler& here = Scheduler::Get();
  for (;;) {
    if (Here()) return op->Try() || WaitInLine(&here, op, deadline);
    std::unique_lock lock(CrossingMutex(this));
    if (Find() == Place::kHere) continue;
    GROVE_CHECK(!here.on_loop_stack(), "a blocking call (", op->Describe(),
                ") inside a loop callback of hub '", here.hub_name(),
                "', where nothing may block; spawn a greenlet for it");
    Scheduler* host = scheduler();
    Visit visit(op, &here, host);
    if (!Post(visit.request())) {
      lock.unlock();
      sched_yield();
      continue;
    }
    host->RetainElsewhere();
    lock.unlock();
    const Visit::End end = visit.Await(deadline);
    host->Release();
    if (end == Visit::End::kFulfilled) return true;
    here.DeliverPending();
    if (end == Visit::End::kCancelled) return false;
  }
}

bool Home::PerformElsewhere(Operation* op, Deadline deadline,
                            absl::FunctionRef<void()> then,
                            absl::FunctionRef<void()> pass_on) {
  Scheduler& here = Scheduler::Get();
  std::unique_lock lock(CrossingMutex(this));
  Scheduler* host = scheduler();
  Visit visit(op, &here, host);
  // Else it has just ended.
  const bool posted = Find() == Place::kElsewhere && Post(visit.request());
  if (posted) host->RetainElsewhere();
  lock.unlock();
  if (!posted) {
    then();
    return true;
  }
  const absl::Cleanup release = [host] { host->Release(); };
  try {
    then();
  } catch (...) {
    if (visit.Cancel() == Visit::End::kFulfilled) pass_on();
    throw;
  }
  const Visit::End end = visit.Await(deadline);
  if (end != Visit::End::kCancelled) return true;
  here.DeliverPending();
  return false;
}

void Home::Settle() {
  if (in_flight_.load(std::memory_order_acquire) == 0) return;
  Scheduler* s = Scheduler::GetIfExists();
  // Letters are delivered in order: once one that is posted now has arrived, so have the
  // others.
  if (!Here()) {
    if (s != nullptr && s->on_loop_stack()) {
      Recall();
    } else {
      Ask(&Nothing);
    }
  } else if (s->on_loop_stack()) {
    s->hub().DeliverMail();
  } else if (Question question(NoErrand, s); Post(question.letter())) {
    question.AwaitAnswer(s->hub_name());
  }
}

// A callback of another hub cannot wait for it. Whom nobody else refers to needs none of
// it any more: what has not begun never does, and what runs just now does not block.
void Home::Recall() {
  {
    std::lock_guard lock(CrossingMutex(this));
    for (SendLetter* letter = std::exchange(sent_, nullptr); letter != nullptr;) {
      SendLetter* const next = letter->next_sent;
      letter->home = nullptr;
      in_flight_.fetch_sub(1, std::memory_order_relaxed);
      letter = next;
    }
  }
  while (in_flight_.load(std::memory_order_acquire) != 0) sched_yield();
}

void Home::Leave() {
  Settle();
  std::lock_guard lock(CrossingMutex(this));
  if (scheduler() != Nowhere()) scheduler()->Release();
}

Self Self::OfThread() {
  return Self(reinterpret_cast<uintptr_t>(&locks_of_thread) | kThread);
}

void Self::HasLocked() {
  if (Scheduler* s = Scheduler::GetIfExists()) {
    s->current()->CountLocks(1);
  } else {
    ++locks_of_thread;
  }
}

void Self::HasUnlocked() {
  Scheduler* s = Scheduler::GetIfExists();
  if ((s == nullptr || s->current() == s->main()) && locks_of_thread > 0) {
    --locks_of_thread;
  } else if (s && s->current()->locks > 0) {
    s->current()->CountLocks(-1);
  }
}

Self Self::Current(Home& home) {
  Scheduler* s = Scheduler::GetIfExists();
  if (s == nullptr) return OfThread();
  Self self = Of(s->current());
  if (!home.BelongsTo(*s)) self.id_ |= kElsewhere;
  return self;
}

Selves Selves::Current(Home& home) {
  Selves selves;
  selves.current_ = Self::Current(home);
  Scheduler* s = Scheduler::GetIfExists();
  if (s && s->current() == s->main()) selves.thread_ = Self::OfThread();
  return selves;
}

// The holder of a lock may have ended without letting go of it. Its block can still be
// looked at, since the addresses of stacks are never given back; who has ended is
// nobody's current greenlet any more.
Core* Self::core() const {
  if (!valid() || (id_ & (kThread | kElsewhere))) return nullptr;
  Core* core = reinterpret_cast<Core*>(id_);
  const bool here = core->scheduler == Scheduler::GetIfExists() && !core->finished;
  return here ? core : nullptr;
}

std::string Self::Describe() const {
  if (!valid()) return "nobody";
  if (id_ & kThread) return "a thread that has no hub";
  if (Core* c = core()) return c->Label();
  return "a greenlet that has ended, or belongs to another hub";
}

}  // namespace grove::green_internal
