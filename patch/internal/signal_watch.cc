#include "grove/patch/internal/signal_watch.h"

#include <signal.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <utility>

#include "grove/green/internal/crossing.h"
#include "grove/hub/internal/per_thread.h"
#include "grove/patch/internal/wait.h"

namespace grove::patch::patch_internal {

using green_internal::Core;
using green_internal::MemberLetter;
using green_internal::Scheduler;
using green_internal::Waiter;

namespace {

// To whom such a signal is on its way.
std::array<std::atomic<const Core*>, NSIG> addressees{};

}  // namespace

// SignalDesk
//
// The watches of this thread's hub, and the handlers that have run there and that it has
// not been told of yet. A handler only writes down what there is to know, and posts.
class SignalDesk {
 public:
  static SignalDesk* GetIfExists() { return current; }
  static SignalDesk& Get(Scheduler& s) {
    if (current == nullptr) {
      current = new SignalDesk(s);
      s.AtEnd([] { std::exchange(current.get(), nullptr)->End(); });
    }
    return *current;
  }

  void Add(SignalWatch* w) {
    w->number_ = begun_.load(std::memory_order_relaxed) + 1;
    w->prev_ = last_;
    (last_ ? last_->next_ : first_) = w;
    last_ = w;
    begun_.store(w->number_, std::memory_order_relaxed);
  }
  void Remove(SignalWatch* w) {
    (w->prev_ ? w->prev_->next_ : first_) = w->next_;
    (w->next_ ? w->next_->prev_ : last_) = w->prev_;
  }
  void ForgetInChild() {
    first_ = last_ = nullptr;
    arrived_ = 0;
    arrivals_.fill(Arrival());
    too_many_ = false;
    posted_ = false;
  }

  // In a handler.
  void Note(int signum, bool restarts, const Core* addressee) {
    const Core* running = scheduler_.on_loop_stack() ? nullptr : scheduler_.current();
    // Who runs is in no call that waits.
    if (running == (addressee ? addressee : scheduler_.main())) return;
    WriteDown({addressee, restarts, begun_.load(std::memory_order_relaxed), signum});
    if (!posted_.exchange(true) && !scheduler_.handle().PostLetter(&letter_)) {
      posted_.store(false);
    }
  }

 private:
  // The last one of several with that number, to the same one, that come at once. Written
  // by handlers, which are within one another, and never run beside each other.
  struct Arrival {
    const Core* addressee = nullptr;
    bool restarts = false;
    uint64_t begun = 0;  // how many watches had begun
    int signum = 0;
  };
  static constexpr uint32_t kMostArrivals = 256;

  explicit SignalDesk(Scheduler& s) : scheduler_(s) {}
  ~SignalDesk() = default;

  void OnLetter(bool hub_alive) {
    posted_.store(false);
    if (!hub_alive || ended_) {
      if (ended_) delete this;
      return;
    }
    if (too_many_.exchange(false)) {
      // Any of them may have been for anyone.
      for (SignalWatch* w = first_; w != nullptr; w = w->next_) Tell(w);
    }
    for (uint32_t n = TakeArrivals(), i = 0; i < n; ++i) Tell(taken_[i]);
  }

  // No handler runs meanwhile.
  uint32_t TakeArrivals() {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const uint32_t n = arrived_.load();
    std::copy_n(arrivals_.begin(), n, taken_.begin());
    std::fill_n(arrivals_.begin(), n, Arrival());
    arrived_ = 0;
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return n;
  }

  // In a handler, which others may interrupt. A place that one of them has taken and not
  // yet written has no number.
  void WriteDown(const Arrival& arrival) {
    uint32_t n = arrived_.load();
    for (uint32_t i = 0; i < n; ++i) {
      Arrival& a = arrivals_[i];
      if (a.signum == arrival.signum && a.addressee == arrival.addressee) {
        a.restarts = arrival.restarts;
        a.begun = arrival.begun;
        return;
      }
    }
    do {
      if (n == kMostArrivals) {
        too_many_.store(true);
        return;
      }
    } while (!arrived_.compare_exchange_strong(n, n + 1));
    arrivals_[n] = arrival;
  }

  void Tell(const Arrival& a) {
    SignalWatch* w = Find(a, a.addressee);
    if (w == nullptr) return;
    if (w->restart_ == Restart::kByHandler && a.restarts) return;
    Tell(w);
  }
  void Tell(SignalWatch* w) {
    w->has_come_ = true;
    if (w->parked_) scheduler_.Wake(w->core_);
  }

  // Whose call it may end.
  SignalWatch* Find(const Arrival& a, const Core* addressee) const {
    const uint64_t begun = a.begun;
    SignalWatch* oldest = nullptr;
    for (SignalWatch* w = first_; w != nullptr && w->number_ <= begun; w = w->next_) {
      if (w->core_ == (addressee ? addressee : scheduler_.main())) return w;
      if (oldest == nullptr && !w->has_come_) oldest = w;
    }
    return addressee ? nullptr : oldest;
  }

  // No handler finds it any more. A letter that is under way comes back.
  void End() {
    ended_ = true;
    if (!posted_.load()) delete this;
  }

  static constinit thread_local hub_internal::PerThread<SignalDesk*> current;

  Scheduler& scheduler_;
  SignalWatch* first_ = nullptr;
  SignalWatch* last_ = nullptr;
  bool ended_ = false;
  std::atomic<uint64_t> begun_ = 0;
  std::array<Arrival, kMostArrivals> arrivals_{};
  std::array<Arrival, kMostArrivals> taken_{};
  std::atomic<uint32_t> arrived_ = 0;
  std::atomic<bool> too_many_ = false;
  std::atomic<bool> posted_ = false;
  MemberLetter<SignalDesk, &SignalDesk::OnLetter> letter_{this};
};
constinit thread_local hub_internal::PerThread<SignalDesk*> SignalDesk::current;

SignalWatch::SignalWatch(Scheduler& s, Restart restart)
    : scheduler_(s), core_(s.current()), restart_(restart) {
  SignalDesk::Get(s).Add(this);
}

SignalWatch::~SignalWatch() {
  if (SignalDesk* desk = SignalDesk::GetIfExists()) desk->Remove(this);
}

Scheduler::ParkEnd SignalWatch::Park(Waiter* waiter, Deadline deadline) {
  if (has_come_) {
    waiter->Cancel();
    return Scheduler::ParkEnd::kWoken;
  }
  parked_ = true;
  const Scheduler::ParkEnd end = scheduler_.ParkQuietly(waiter, deadline);
  parked_ = false;
  return end;
}

constinit thread_local hub_internal::PerThread<RunningHandler::At>
    RunningHandler::current;

const Core* RunningHandler::Greenlet() {
  const Scheduler* s = Scheduler::GetIfExists();
  return s ? s->current() : nullptr;
}

// Out of line, so that it stands deeper than the handler, if it is called by that.
[[gnu::noinline]] bool RunningHandler::IsCaller() {
  const At at = current;
  // It waits, and this is another one.
  if (at.greenlet != Greenlet()) return false;
  sigset_t blocked;
  const bool in_force =
      at.blocked == 0 || (pthread_sigmask(SIG_SETMASK, nullptr, &blocked) == 0 &&
                          sigismember(&blocked, at.blocked) == 1);
  // Stacks grow down.
  if (in_force && static_cast<const char*>(__builtin_frame_address(0)) < at.frame) {
    return true;
  }
  current = At();
  return false;
}

void NoteHandler(int signum, bool restarts, bool to_thread) {
  SignalDesk* desk = SignalDesk::GetIfExists();
  if (desk == nullptr || SignalGate::Opened::Now()) return;
  const Core* addressee =
      to_thread ? addressees[static_cast<size_t>(signum)].exchange(nullptr) : nullptr;
  desk->Note(signum, restarts, addressee);
}

void Address(int signum, const Core* core) {
  if (signum > 0 && signum < NSIG) addressees[static_cast<size_t>(signum)] = core;
}

void ForgetSignalWatchesInChild() {
  if (SignalDesk* desk = SignalDesk::GetIfExists()) desk->ForgetInChild();
}

}  // namespace grove::patch::patch_internal
