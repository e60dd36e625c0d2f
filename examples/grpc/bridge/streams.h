#ifndef GROVE_EXAMPLES_GRPC_BRIDGE_STREAMS_H_
#define GROVE_EXAMPLES_GRPC_BRIDGE_STREAMS_H_

#include <grpcpp/grpcpp.h>

#include <utility>

#include "grove/examples/grpc/bridge/completion.h"

// Reading and writing the messages of a stream, for both ends of it: what server.h and
// client.h lay around gRPC's reactors.
namespace grove::bridge {

// Side
//
// One end of a call, on the reactor that stands for it.
template <typename Reactor>
class Side : protected Reactor {
 protected:
  explicit Side(Counted* owner) : owner_(owner) {}
  virtual void CancelCall() = 0;
  Counted* const owner_;
};

// Reads
//
// Adds Read() to a Side. One greenlet may read while another one writes.
template <typename Base, typename In>
class Reads : public Base {
 public:
  // Reads::Read()
  //
  // The next message; false if there is none any more.
  //
  // Blocks: until there is one.
  // Kill: throws. The message is not lost: the next Read() gets it.
  // Threads: the call's hub.
  bool Read(In* message) {
    if (!read_.armed()) {
      read_.Arm();
      this->StartRead(&incoming_);
    }
    if (!read_.Wait()) return false;
    std::swap(*message, incoming_);
    return true;
  }

 protected:
  using Base::Base;
  void DropRest() {
    for (In rest; Read(&rest);) {
    }
  }

 private:
  void OnReadDone(bool ok) override { read_.Done(ok); }

  In incoming_;  // here, so that a read may go on when its greenlet does not wait for it
  Completion read_{this->owner_};
};

// Writes
//
// Adds Write() to a Side.
template <typename Base, typename Out>
class Writes : public Base {
 public:
  // Writes::Write()
  //
  // False if the call has ended, and the message is lost.
  //
  // Blocks: while the other side does not read, once gRPC's windows are full.
  // Kill: cancels the call, and throws: half a message cannot be taken back.
  // Threads: the call's hub.
  bool Write(const Out& message, grpc::WriteOptions options = {}) {
    write_.Arm();
    this->StartWrite(&message, options);
    try {
      return write_.Wait();
    } catch (...) {
      this->CancelCall();
      write_.WaitShielded();
      throw;
    }
  }

 protected:
  using Base::Base;

 private:
  void OnWriteDone(bool ok) override { write_.Done(ok); }

  Completion write_{this->owner_};
};

}  // namespace grove::bridge

#endif  // GROVE_EXAMPLES_GRPC_BRIDGE_STREAMS_H_
