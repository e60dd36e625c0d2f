#ifndef GROVE_EXAMPLES_GRPC_BRIDGE_COMPLETION_H_
#define GROVE_EXAMPLES_GRPC_BRIDGE_COMPLETION_H_

#include <grpcpp/grpcpp.h>

#include <atomic>

#include "absl/cleanup/cleanup.h"
#include "grove/green/deadline_scope.h"
#include "grove/green/hub_scope.h"
#include "grove/sync/event.h"

// What both ends of a call have in common: how the end of one of gRPC's operations gets
// from gRPC's thread to the greenlet that waits for it, and the reading and writing of
// messages. Not an interface of its own: see server.h and client.h, which lay it around
// gRPC's reactors.
namespace grove::bridge {

// Counted
//
// What several threads use, and the last one destroys. At first it is held three times
// (see ServerCall).
class Counted {
 public:
  void Ref() { count_.fetch_add(1, std::memory_order_relaxed); }
  void Unref() {
    if (count_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

 protected:
  virtual ~Counted() = default;
  std::atomic<int> count_{3};
};

// Note
//
// A letter that lies in what it is for, and calls a member of that on the hub's stack.
template <typename T, void (T::*kArrive)(bool hub_alive)>
struct Note : Letter {
  explicit Note(T* t) : Letter(&OnDelivery), to(t) {}
  static void OnDelivery(Letter* letter, bool hub_alive) {
    (static_cast<Note*>(letter)->to->*kArrive)(hub_alive);
  }
  T* const to;
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
  explicit Completion(Counted* owner) : owner_(owner) {}
  Completion(const Completion&) = delete;

  // Whether it was armed, and nobody has seen its end.
  bool armed() const { return armed_; }

  // Completion::Arm()
  //
  // Whether the operation may begin. After one that was not ok none may any more: Wait()
  // then says the same again, at once.
  bool Arm() {
    hub_ = ThisHub().handle();
    arrived_ = !ok_;
    return armed_ = ok_;
  }

  // Completion::Done()
  //
  // Once per Arm(), with what Wait() is to return. Threads: any. Does not block.
  void Done(bool ok) {
    // Without an owner this may be gone, and the hub as well, before the post returns.
    const HubHandle hub = std::move(hub_);
    if (owner_ != nullptr) owner_->Ref();
    ok_ = ok;
    // Of a hub that has ended nobody waits here any more.
    if (!hub.PostLetter(&letter_) && owner_ != nullptr) owner_->Unref();
  }

  // Completion::Wait()
  //
  // Blocks: until Done(). Kill: throws; it stays armed, and may be waited for again.
  bool Wait() {
    if (!arrived_) {
      const KeepAlive alive(Hub::Current());
      Event arrival;
      waiter_ = &arrival;
      const absl::Cleanup forget = [this] { waiter_ = nullptr; };
      arrival.Wait();
    }
    armed_ = false;
    return ok_;
  }

 private:
  void OnArrival(bool hub_alive) {
    arrived_ = hub_alive;
    if (hub_alive && waiter_ != nullptr) waiter_->Set();
    if (owner_ != nullptr) owner_->Unref();
  }

  Counted* const owner_;
  HubHandle hub_;
  Note<Completion, &Completion::OnArrival> letter_{this};
  bool ok_ = true;
  bool armed_ = false;
  bool arrived_ = false;
  Event* waiter_ = nullptr;  // on the stack of who waits
};

// The messages of a Side that reads or writes none.
struct Nothing {};

// Side
//
// One end of a call, on the reactor that stands for it: what is read there, and what is
// written. One greenlet may read while another one writes; they have to end before the
// call does.
//
// Threads: the call's hub.
template <typename R, typename In = Nothing, typename Out = Nothing>
class Side : protected R {
 public:
  using Reactor = R;

  // Side::Read()
  //
  // The next message, which is dropped if `message` is null; false if there is none any
  // more.
  //
  // Blocks: until there is one.
  // Kill: throws. The message is not lost: the next Read() gets it.
  bool Read(In* message) {
    if (!read_.armed() && read_.Arm()) this->StartRead(&incoming_);
    if (!read_.Wait()) return false;
    if (message != nullptr) std::swap(*message, incoming_);
    return true;
  }

  // Side::Write()
  //
  // False if the call has ended, and the message is lost, or if there were to be no more.
  //
  // Blocks: while the other side does not read, once gRPC's windows are full.
  // Kill: cancels the call, and throws: half a message cannot be taken back.
  bool Write(const Out& message, grpc::WriteOptions options = {}) {
    if (writes_done_ || !write_.Arm()) return false;
    writes_done_ = options.is_last_message();
    this->StartWrite(&message, options);
    try {
      return write_.Wait();
    } catch (...) {
      const Shield shield;
      Cancel();
      write_.Wait();
      throw;
    }
  }

  // Side::WritesDone()
  //
  // A client's: there will be no more messages from here; none may be on its way. Does
  // not block.
  void WritesDone() {
    if (!std::exchange(writes_done_, true)) this->StartWritesDone();
  }

  // Side::Cancel()
  //
  // Does not block; what waits returns soon, here and there.
  virtual void Cancel() = 0;

 protected:
  explicit Side(Counted* owner) : read_(owner), write_(owner) {}

 private:
  // They override the reactor's, if it has them.
  void OnReadDone(bool ok) { read_.Done(ok); }
  void OnWriteDone(bool ok) { write_.Done(ok); }

  In incoming_;  // here, so that a read may go on when its greenlet does not wait for it
  Completion read_;
  Completion write_;
  bool writes_done_ = false;
};

}  // namespace grove::bridge

#endif  // GROVE_EXAMPLES_GRPC_BRIDGE_COMPLETION_H_
