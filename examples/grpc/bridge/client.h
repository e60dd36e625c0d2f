#ifndef GROVE_EXAMPLES_GRPC_BRIDGE_CLIENT_H_
#define GROVE_EXAMPLES_GRPC_BRIDGE_CLIENT_H_

#include <grpcpp/grpcpp.h>
#include <grpcpp/support/client_callback.h>

#include <algorithm>
#include <utility>

#include "grove/examples/grpc/bridge/completion.h"
#include "grove/examples/grpc/bridge/streams.h"
#include "grove/green/deadline_scope.h"
#include "grove/hub/deadline.h"

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
template <typename Reactor, typename Base>
class ClientCall final : public Base {
 public:
  // Does not block. The context has to outlive the call, as has what `start` refers to.
  template <typename F>
  ClientCall(grpc::ClientContext* context, F&& start, Deadline deadline = {})
      : Base(nullptr), context_(context) {
    deadline = std::min(deadline, CurrentDeadline());
    if (!deadline.infinite()) {
      context->set_deadline(
          std::min(context->deadline(), SystemTimeIn(deadline.Remaining())));
    }
    done_.Arm();
    std::forward<F>(start)(static_cast<Reactor*>(this));
    // Operations come from elsewhere than reactions: gRPC is to wait for them.
    if constexpr (kStreams) this->AddHold();
    this->StartCall();
  }
  // Cancels the call, if it has not been finished, and blocks, shielded, until gRPC has
  // let go of it, which needs no answer of the server's.
  ~ClientCall() {
    if (!done_.armed()) return;
    context_->TryCancel();
    Release();
    done_.WaitShielded();
  }

  // ClientCall::WritesDone()
  //
  // There will be no more messages from here; none may be on its way. Does not block.
  void WritesDone() requires requires(Reactor r) { r.StartWritesDone(); }
  {
    if (!std::exchange(writes_done_, true)) this->StartWritesDone();
  }

  // ClientCall::Finish()
  //
  // How the call has ended. Writes no more, and drops what was not read: no other
  // greenlet may be reading or writing.
  //
  // Blocks: until it has ended.
  // Deadline: returns DEADLINE_EXCEEDED.
  // Kill: throws. The destructor, or Cancel(), then ends the call.
  grpc::Status Finish() {
    if constexpr (requires(Reactor r) { r.StartWritesDone(); }) WritesDone();
    if constexpr (requires { &Base::Read; }) this->DropRest();
    Release();
    done_.Wait();
    return status_;
  }

  // Does not block; what waits returns soon.
  void Cancel() { context_->TryCancel(); }

 private:
  static constexpr bool kStreams = requires(Reactor r) { r.AddHold(); };

  void Release() {
    if constexpr (kStreams) {
      if (!std::exchange(released_, true)) this->RemoveHold();
    }
  }
  void CancelCall() override { Cancel(); }
  void OnDone(const grpc::Status& status) override {
    status_ = status;
    done_.Done(true);
  }

  grpc::ClientContext* const context_;
  bool writes_done_ = false;
  bool released_ = false;
  grpc::Status status_;
  Completion done_;
};

template <typename In>
using ClientReader =
    ClientCall<grpc::ClientReadReactor<In>, Reads<Side<grpc::ClientReadReactor<In>>, In>>;
template <typename Out>
using ClientWriter = ClientCall<grpc::ClientWriteReactor<Out>,
                                Writes<Side<grpc::ClientWriteReactor<Out>>, Out>>;
template <typename Out, typename In>
using ClientStream =
    ClientCall<grpc::ClientBidiReactor<Out, In>,
               Writes<Reads<Side<grpc::ClientBidiReactor<Out, In>>, In>, Out>>;

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
  ClientCall<grpc::ClientUnaryReactor, Side<grpc::ClientUnaryReactor>> call(
      context,
      [&](grpc::ClientUnaryReactor* reactor) {
        (stub.async()->*method)(context, &request, response, reactor);
      },
      deadline);
  return call.Finish();
}

}  // namespace grove::bridge

#endif  // GROVE_EXAMPLES_GRPC_BRIDGE_CLIENT_H_
