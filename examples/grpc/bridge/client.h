#ifndef GROVE_EXAMPLES_GRPC_BRIDGE_CLIENT_H_
#define GROVE_EXAMPLES_GRPC_BRIDGE_CLIENT_H_

#include <grpcpp/support/client_callback.h>

#include <algorithm>

#include "grove/examples/grpc/bridge/completion.h"

// Calls of gRPC's that block a greenlet, and not its thread.
namespace grove::bridge {

// ClientCall
//
// A call under way. `start` is what gives gRPC's stub the reactor:
//
//   grpc::ClientContext context;
//   ClientStream<Question, Answer> talk(&context, [&](auto* reactor) {
//     stub->async()->Talk(&context, reactor);
//   });
//   talk.Write(question);
//   talk.WritesDone();
//   while (talk.Read(&answer)) ...
//   grpc::Status status = talk.Finish();
//
// It has until `deadline`, the context's own, or that of the greenlet's DeadlineScope,
// whichever is earliest; then Finish() returns DEADLINE_EXCEEDED, or throws if it was the
// scope's and that comes first.
//
// Threads: the hub of who made it.
template <typename Base, typename Reactor = typename Base::Reactor>
class ClientCall final : public Base {
 public:
  // Does not block. The context has to outlive the call, as has what `start` refers to.
  template <typename F>
  ClientCall(grpc::ClientContext* context, F&& start, Deadline deadline = {})
      : Base(nullptr), context_(context) {
    deadline = std::min(deadline, CurrentDeadline());
    const auto end = absl::ToChronoTime(absl::Now() + deadline.Remaining());
    context->set_deadline(std::min(context->deadline(), end));
    done_.Arm();
    start(static_cast<Reactor*>(this));
    // Operations come from elsewhere than reactions: gRPC is to wait for them.
    if constexpr (requires { &Reactor::AddHold; }) this->AddHold();
    this->StartCall();
  }
  // Cancels the call, if it has not been finished, and blocks, shielded, until gRPC has
  // let go of it, which needs no answer of the server's.
  ~ClientCall() {
    if (!done_.armed()) return;
    const Shield shield;
    Cancel();
    Finish();
  }

  // ClientCall::Finish()
  //
  // How the call has ended. Writes no more, and drops what was not read: no other
  // greenlet may be reading or writing. May be called again, and says the same.
  //
  // Blocks: until it has ended.
  // Deadline: returns DEADLINE_EXCEEDED.
  // Kill: throws. The destructor, or Cancel(), then ends the call.
  grpc::Status Finish() {
    if constexpr (requires { &Reactor::StartWritesDone; }) this->WritesDone();
    if constexpr (requires { &Reactor::StartRead; })
      while (this->Read(nullptr)) continue;
    if constexpr (requires { &Reactor::AddHold; })
      if (std::exchange(held_, false)) this->RemoveHold();
    done_.Wait();
    return status_;
  }

  void Cancel() override { context_->TryCancel(); }

 private:
  void OnDone(const grpc::Status& status) override {
    status_ = status;
    done_.Done(true);
  }

  grpc::ClientContext* const context_;
  bool held_ = true;
  grpc::Status status_;
  Completion done_{nullptr};
};

template <typename In>
using ClientReader = ClientCall<Side<grpc::ClientReadReactor<In>, In>>;
template <typename Out>
using ClientWriter = ClientCall<Side<grpc::ClientWriteReactor<Out>, Nothing, Out>>;
template <typename Out, typename In>
using ClientStream = ClientCall<Side<grpc::ClientBidiReactor<Out, In>, In, Out>>;

// Call()
//
// A unary call.
//
//   using Remote = Demo::StubInterface::async_interface;
//   grpc::Status status =
//       Call(*stub, &Remote::Ask, &context, question, &answer, absl::Seconds(2));
//
// Blocks: until the answer is there, or the call has failed.
// Deadline: returns DEADLINE_EXCEEDED; see ClientCall.
// Kill: cancels the call, waits until gRPC has let go of the messages, and throws.
// Threads: any with a hub.
template <typename Stub, typename Async, typename Request, typename Response>
grpc::Status Call(Stub& stub,
                  void (Async::*method)(grpc::ClientContext*, const Request*, Response*,
                                        grpc::ClientUnaryReactor*),
                  grpc::ClientContext* context, const Request& request,
                  Response* response, Deadline deadline = {}) {
  const auto start = [&](grpc::ClientUnaryReactor* reactor) {
    (stub.async()->*method)(context, &request, response, reactor);
  };
  return ClientCall<Side<grpc::ClientUnaryReactor>>(context, start, deadline).Finish();
}

}  // namespace grove::bridge

#endif  // GROVE_EXAMPLES_GRPC_BRIDGE_CLIENT_H_
