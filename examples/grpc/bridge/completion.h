#ifndef GROVE_EXAMPLES_GRPC_BRIDGE_COMPLETION_H_
#define GROVE_EXAMPLES_GRPC_BRIDGE_COMPLETION_H_

#include <algorithm>
#include <atomic>
#include <chrono>

#include "absl/time/time.h"
#include "grove/green/hub_scope.h"
#include "grove/green/timeout.h"
#include "grove/hub/hub.h"
#include "grove/sync/event.h"

// How the end of one of gRPC's operations gets from gRPC's thread to the greenlet that
// waits for it.
namespace grove::bridge {

// SystemTimeIn()
//
// `d` from now, as gRPC takes it. Does not overflow: a century is for ever.
inline std::chrono::system_clock::time_point SystemTimeIn(absl::Duration d) {
  return std::chrono::system_clock::now() +
         absl::ToChronoNanoseconds(std::min(d, absl::Hours(876'000)));
}

// Counted
//
// What several threads use, and the last one destroys.
class Counted {
 public:
  void Ref() { count_.fetch_add(1, std::memory_order_relaxed); }
  void Unref() {
    if (count_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

 protected:
  explicit Counted(int count) : count_(count) {}
  virtual ~Counted() = default;

 private:
  std::atomic<int> count_;
};

// Completion
//
// One operation at a time: the greenlet arms it and begins the operation, gRPC's thread
// says that it is done, the greenlet waits for that. Allocates nothing.
//
// Threads: its greenlet's hub, but for Done().
class Completion {
 public:
  // While the news of a Done() travels, `owner` is held, if there is one; else the
  // Completion has to live until it has been waited for.
  explicit Completion(Counted* owner = nullptr) : owner_(owner) {}
  Completion(const Completion&) = delete;
  Completion& operator=(const Completion&) = delete;

  // Whether it was armed, and nobody has seen its end.
  bool armed() const { return armed_; }
  void Arm() {
    hub_ = ThisHub().handle();
    armed_ = true;
    arrived_ = false;
  }

  // Completion::Done()
  //
  // Once per Arm(), with what Wait() is to return. Threads: any. Does not block.
  void Done(bool ok) {
    if (owner_ != nullptr) owner_->Ref();
    ok_ = ok;
    // Of a hub that has ended nobody waits here any more.
    if (!hub_.PostLetter(&letter_) && owner_ != nullptr) owner_->Unref();
  }

  // Completion::Wait()
  //
  // Blocks: until Done(). Kill: throws; it stays armed, and may be waited for again.
  bool Wait() {
    if (!arrived_) {
      Event arrival;
      const Waiting waiting(this, &arrival);
      arrival.Wait();
    }
    armed_ = false;
    return ok_;
  }

  // As Wait(), but not interrupted.
  bool WaitShielded() {
    Shield shield;
    return Wait();
  }

 private:
  struct Waiting {
    Waiting(Completion* c, Event* arrival) : completion(c) { c->waiter_ = arrival; }
    ~Waiting() { completion->waiter_ = nullptr; }
    Completion* const completion;
    const KeepAlive alive{Hub::Current()};
  };
  struct News : Letter {
    explicit News(Completion* c) : Letter(&Completion::OnArrival), completion(c) {}
    Completion* const completion;
  };

  static void OnArrival(Letter* letter, bool hub_alive) {
    Completion* const c = static_cast<News*>(letter)->completion;
    Counted* const owner = c->owner_;
    if (hub_alive) {
      c->arrived_ = true;
      if (c->waiter_ != nullptr) c->waiter_->Set();
    }
    if (owner != nullptr) owner->Unref();
  }

  Counted* const owner_;
  HubHandle hub_;
  News letter_{this};
  bool ok_ = false;
  bool armed_ = false;
  bool arrived_ = false;
  Event* waiter_ = nullptr;  // on the stack of who waits
};

}  // namespace grove::bridge

#endif  // GROVE_EXAMPLES_GRPC_BRIDGE_COMPLETION_H_
