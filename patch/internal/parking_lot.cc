#include "grove/patch/internal/parking_lot.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <time.h>

#include <atomic>
#include <cstdint>
#include <string>

#include "absl/base/optimization.h"
#include "absl/strings/str_cat.h"
#include "grove/green/internal/crossing.h"
#include "grove/patch/internal/signal_watch.h"
#include "grove/patch/internal/thread.h"

namespace grove::patch::patch_internal {

constinit std::atomic<size_t> parked_everywhere = 0;

namespace {

using green_internal::Core;
using green_internal::MemberLetter;
using green_internal::Scheduler;
using green_internal::Waiter;

class Parked;

// Those whose addresses fall into one of a number of lines.
class Line {
 public:
  static Line& Of(const void* address) {
    const auto bits = reinterpret_cast<uintptr_t>(address) >> 3;
    return All()[(bits * uint64_t{0x9e3779b97f4a7c15}) >> (64 - kBits)];
  }
  static void ForgetAll() {
    for (size_t i = 0; i < kLines; ++i) {
      All()[i].head = All()[i].tail = nullptr;
      All()[i].locked_.store(false, std::memory_order_relaxed);
    }
  }

  // Held for a few instructions, without a call to anything that is patched. A handler of
  // a signal that comes meanwhile must not wait for it, and leaves its wakes for the end.
  class Guard {
   public:
    explicit Guard(Line& line) : line_(line) {
      held = true;
      std::atomic_signal_fence(std::memory_order_seq_cst);
      while (line_.locked_.exchange(true, std::memory_order_acquire)) {
        Relax();
      }
    }
    ~Guard() {
      line_.locked_.store(false, std::memory_order_release);
      while (ABSL_PREDICT_FALSE(!LetGo())) WakeMissed();
    }
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

    static bool Held() { return held; }
    // In a handler: true if the thread holds one, and will do it.
    static bool LeaveFor(const void* address) {
      if (!held) return false;
      // Another handler that comes in between takes the next place.
      int n = missed_count.load();
      do {
        if (n == kMostMissed) return true;
      } while (!missed_count.compare_exchange_strong(n, n + 1));
      missed[n] = address;
      return true;
    }

   private:
    // False if a handler has left something; then it is still held.
    static bool LetGo() {
      if (missed_count.load() != 0) return false;
      held = false;
      std::atomic_signal_fence(std::memory_order_seq_cst);
      if (missed_count.load() == 0) return true;
      held = true;
      return false;
    }
    [[gnu::noinline]] static void WakeMissed() {
      const void* all[kMostMissed];
      int n = missed_count.load();
      do {
        for (int i = 0; i < n; ++i) all[i] = missed[i];
      } while (!missed_count.compare_exchange_strong(n, 0));
      held = false;
      std::atomic_signal_fence(std::memory_order_seq_cst);
      for (int i = 0; i < n; ++i) WakeAt(all[i], SIZE_MAX);
      held = true;
      std::atomic_signal_fence(std::memory_order_seq_cst);
    }
    static void Relax() {
#if defined(__x86_64__)
      __builtin_ia32_pause();
#else
      asm volatile("yield");
#endif
    }

    static constexpr int kMostMissed = 32;  // docs/patching.md says so
    static constinit thread_local volatile bool held;
    static constinit thread_local const void* volatile missed[kMostMissed];
    static constinit thread_local std::atomic<int> missed_count;
    Line& line_;
  };

  Parked* head = nullptr;
  Parked* tail = nullptr;

 private:
  static constexpr int kBits = 8;
  static constexpr size_t kLines = size_t{1} << kBits;
  static Line* All() {
    static Line lines[kLines];
    return lines;
  }
  std::atomic<bool> locked_ = false;
};
constinit thread_local volatile bool Line::Guard::held = false;
constinit thread_local const void* volatile Line::Guard::missed[kMostMissed] = {};
constinit thread_local std::atomic<int> Line::Guard::missed_count = 0;

// One that waits, in its line.
class Parked {
 public:
  Parked(const void* address, const Scheduler* home)
      : line_(Line::Of(address)), address_(address), home_(home) {
    // Before it is known whether to wait: see WakeAt().
    parked_everywhere.fetch_add(1, std::memory_order_seq_cst);
  }
  Parked(const Parked&) = delete;
  Parked& operator=(const Parked&) = delete;

  bool Enlist(absl::FunctionRef<bool()> still) {
    const Line::Guard guard(line_);
    if (!still()) return false;
    prev_ = line_.tail;
    next_ = nullptr;
    (line_.tail ? line_.tail->next_ : line_.head) = this;
    line_.tail = this;
    linked_ = true;
    return true;
  }

  // False if somebody has taken it out already, and is about to say so.
  bool Leave() {
    const Line::Guard guard(line_);
    if (!linked_) return false;
    Unlink();
    return true;
  }

  // Takes out the first at that address; for this thread's hub only, if `here` is given.
  static Parked* Take(Line& line, const void* address, const Scheduler* here) {
    Parked* p = line.head;
    while (p != nullptr && p->address_ != address) p = p->next_;
    if (p == nullptr || (here != nullptr && p->home_ != here)) return nullptr;
    p->Unlink();
    return p;
  }

  // Who waits, if it is a greenlet.
  virtual green_internal::Core* greenlet() const { return nullptr; }
  // Of one that was taken out, which may be gone when this returns.
  virtual void WakeUp(const Scheduler* here, bool handed_over) = 0;

 protected:
  ~Parked() { parked_everywhere.fetch_sub(1, std::memory_order_relaxed); }
  const void* address() const { return address_; }

 private:
  void Unlink() {
    (prev_ ? prev_->next_ : line_.head) = next_;
    (next_ ? next_->prev_ : line_.tail) = prev_;
    linked_ = false;
  }

  Line& line_;
  const void* const address_;
  const Scheduler* const home_;  // null: a thread
  Parked* prev_ = nullptr;
  Parked* next_ = nullptr;
  bool linked_ = false;
};

class ParkedGreenlet final : public Parked, public Waiter {
 public:
  ParkedGreenlet(Scheduler& s, const void* address, const char* call)
      : Parked(address, &s), scheduler_(s), core_(s.current()), call_(call) {
    s.hub().AddWaker();
  }
  ~ParkedGreenlet() { scheduler_.hub().RemoveWaker(); }

  ParkedEnd Wait(Deadline deadline, bool cancellable, SignalWatch* signal) {
    while (!woken_) {
      if (signal != nullptr && signal->has_come()) {
        if (Leave()) return ParkedEnd::kSignal;
        signal = nullptr;
      }
      Scheduler::ParkEnd end = Scheduler::ParkEnd::kInterrupted;
      if (!cancellable || core_->pending() == 0 || core_->shields != 0) {
        core_->shields += !cancellable;
        end = signal ? signal->Park(this, deadline)
                     : scheduler_.ParkQuietly(this, deadline);
        core_->shields -= !cancellable;
      }
      if (end == Scheduler::ParkEnd::kWoken) continue;
      if (end == Scheduler::ParkEnd::kInterrupted) {
        cancellable = false;  // a kill only waits, too
        if (!IsCancelled()) continue;
      }
      if (Leave()) {
        if (end == Scheduler::ParkEnd::kInterrupted) ThrowIfCancelled();
        return ParkedEnd::kDeadline;
      }
      cancellable = false;
      deadline = {};
    }
    return handed_over_ ? ParkedEnd::kHandedOver : ParkedEnd::kWoken;
  }

  Core* greenlet() const override { return core_; }
  void WakeUp(const Scheduler* here, bool handed_over) override {
    handed_over_ = handed_over;
    // In a handler the hub may be in the middle of anything, but for taking mail.
    if (here == &scheduler_ && !RunningHandler::Exists()) {
      OnLetter(true);
    } else {
      // Its hub lives, for it waits there; it leaves only when this has arrived.
      green_internal::PostTo(&scheduler_, &letter_);
    }
  }

  void Cancel() override {}
  std::string Describe() const override {
    return absl::StrCat("address ", absl::Hex(reinterpret_cast<uintptr_t>(address())),
                        ", in a patched ", call_, "()");
  }

 private:
  void OnLetter(bool) {
    woken_ = true;
    scheduler_.Wake(core_);
  }

  Scheduler& scheduler_;
  Core* const core_;
  const char* const call_;
  bool woken_ = false;  // at home
  bool handed_over_ = false;
  MemberLetter<ParkedGreenlet, &ParkedGreenlet::OnLetter> letter_{this};
};

// A thread waits by a semaphore of libc's: another may post it and forget it at once, as
// sem_destroy() right after sem_wait() is allowed; and it is where a thread is cancelled.
class ParkedThread final : public Parked {
 public:
  explicit ParkedThread(const void* address) : Parked(address, nullptr) {
    sem_init(&woken_, /*pshared=*/0, 0);
  }
  ~ParkedThread() { sem_destroy(&woken_); }

  ParkedEnd Wait(clockid_t clock, const timespec* until) {
    bool posted = false;
    try {
      posted = WaitForPost(clock, until);
    } catch (...) {
      // Cancelled: who goes takes no wake along (pthread_cond_wait(3p)).
      if (!Leave()) {
        WaitToTheEnd();
        WakeAt(address(), 1);
      }
      throw;
    }
    if (posted) return ParkedEnd::kWoken;
    if (Leave()) return ParkedEnd::kDeadline;
    WaitToTheEnd();
    return ParkedEnd::kWoken;
  }

  void WakeUp(const Scheduler*, bool) override { sem_post(&woken_); }

 private:
  // (Where grove's own object is patched, these pass through, as this thread's calls do.)
  bool WaitForPost(clockid_t clock, const timespec* until) {
    for (;;) {
      const int result = until ? sem_clockwait(&woken_, clock, until) : sem_wait(&woken_);
      if (result == 0) return true;
      if (errno != EINTR) return false;
    }
  }
  // The post is under way.
  void WaitToTheEnd() {
    int state;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    WaitForPost(CLOCK_MONOTONIC, nullptr);
    pthread_setcancelstate(state, nullptr);
  }

  sem_t woken_;
};

}  // namespace

ParkedEnd ParkAt(Scheduler& s, const void* address, absl::FunctionRef<bool()> still,
                 Deadline deadline, const char* call, bool cancellable,
                 absl::FunctionRef<bool()> in_line, SignalWatch* signal) {
  ParkedGreenlet parked(s, address, call);
  if (!parked.Enlist(still)) return ParkedEnd::kInvalid;
  if (!in_line() && parked.Leave()) return ParkedEnd::kInvalid;
  return parked.Wait(deadline, cancellable, signal);
}

ParkedEnd ParkThreadAt(const void* address, clockid_t clock, const timespec* until,
                       absl::FunctionRef<bool()> in_line) {
  ParkedThread parked(address);
  parked.Enlist([] { return true; });
  if (!in_line() && parked.Leave()) return ParkedEnd::kInvalid;
  return parked.Wait(clock, until);
}

size_t WakeAt(const void* address, size_t count) {
  // Who has changed what lies at the address looks here after that; who is to wait is
  // counted before it looks there. Either sees the other.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (parked_everywhere.load(std::memory_order_relaxed) == 0) return 0;
  if (Line::Guard::LeaveFor(address)) return 0;
  const Scheduler* here = Scheduler::GetIfExists();
  Line& line = Line::Of(address);
  size_t woken = 0;
  while (woken < count) {
    Parked* p;
    {
      const Line::Guard guard(line);
      p = Parked::Take(line, address, nullptr);
    }
    if (p == nullptr) break;
    p->WakeUp(here, /*handed_over=*/false);
    ++woken;
  }
  return woken;
}

green_internal::Core* HandOverAt(const void* address) {
  if (parked_everywhere.load(std::memory_order_relaxed) == 0 || Line::Guard::Held())
    return nullptr;
  const Scheduler* here = Scheduler::GetIfExists();
  if (here == nullptr) return nullptr;
  Line& line = Line::Of(address);
  Parked* p;
  {
    const Line::Guard guard(line);
    p = Parked::Take(line, address, here);
  }
  if (p == nullptr) return nullptr;
  green_internal::Core* const next = p->greenlet();
  p->WakeUp(here, /*handed_over=*/true);
  return next;
}

void ForgetParkedInChild() {
  Line::ForgetAll();
  parked_everywhere = 0;
}

}  // namespace grove::patch::patch_internal
