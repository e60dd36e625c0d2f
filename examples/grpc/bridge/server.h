#ifndef GROVE_EXAMPLES_GRPC_BRIDGE_SERVER_H_
#define GROVE_EXAMPLES_GRPC_BRIDGE_SERVER_H_

#include <grpcpp/grpcpp.h>
#include <grpcpp/support/server_callback.h>

#include <atomic>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "grove/examples/grpc/bridge/completion.h"
#include "grove/examples/grpc/bridge/streams.h"
#include "grove/green/deadline_scope.h"
#include "grove/green/greenlet.h"
#include "grove/green/hub_group.h"
#include "grove/hub/hub.h"

// gRPC's server with handlers that are greenlets: a service of its callback API hands
// each call to a Bridge, which runs the handler on one of its hubs.
//
//   class DemoService final : public Demo::CallbackService {
//    public:
//     explicit DemoService(Bridge* bridge) : bridge_(bridge) {}
//     grpc::ServerUnaryReactor* Ask(grpc::CallbackServerContext* context,
//                                   const Question* question, Answer* answer) override {
//       return bridge_->Unary(context, question, answer, &HandleAsk);
//     }
//     ...
//   grpc::Status HandleAsk(ServerCall& call, const Question& question, Answer* answer) {
//     grove::Sleep(absl::Seconds(1));  // or anything else that blocks
//     ...
//   }
namespace grove::bridge {

// ServerCall
//
// One call, and the greenlet that handles it.
//
// The client's deadline is a DeadlineScope around the handler, so that calls it makes in
// turn have it too. When the client cancels, or is gone, the greenlet is killed. One that
// is killed otherwise answers UNAVAILABLE. An exception that leaves the handler is
// reported as that of any greenlet, and the client is told INTERNAL, and nothing else of
// it.
//
// Threads: the handler's hub. It and the context end with the handler.
class ServerCall : protected Counted {
 public:
  grpc::CallbackServerContext& context() { return *context_; }
  // Whether the client does not want the answer any more.
  bool cancelled() const { return cancelled_; }

 protected:
  // Held by OnDone() and by the greenlet, or what is to become it.
  ServerCall(grpc::CallbackServerContext* context, const HubHandle& hub)
      : Counted(2), context_(context), hub_(hub) {}

  // On gRPC's threads:
  void Begin();
  void Cancelled();
  // On the hub; Finish() also elsewhere, if the hub has ended.
  virtual grpc::Status Handle() = 0;
  virtual void Finish(grpc::Status status) = 0;

 private:
  struct Note : Letter {
    Note(Deliver deliver, ServerCall* c) : Letter(deliver), call(c) {}
    ServerCall* const call;
  };
  // Owned by the greenlet's function: it ends with that, also if it never ran.
  struct Ender {
    void operator()(ServerCall* call) const { call->End(); }
  };
  static void OnBegin(Letter* letter, bool hub_alive);
  static void OnCancelled(Letter* letter, bool hub_alive);
  void Run();
  void End();

  grpc::CallbackServerContext* const context_;
  const HubHandle& hub_;  // the bridge's
  Note begin_{&ServerCall::OnBegin, this};
  Note cancel_{&ServerCall::OnCancelled, this};
  AnyGreenlet greenlet_;  // until it ends
  bool cancelled_ = false;
  bool returned_ = false;
  grpc::Status status_;
};

template <typename In>
using ServerReader = Reads<Side<grpc::ServerReadReactor<In>>, In>;
template <typename Out>
using ServerWriter = Writes<Side<grpc::ServerWriteReactor<Out>>, Out>;
template <typename In, typename Out>
using ServerStream = Writes<Reads<Side<grpc::ServerBidiReactor<In, Out>>, In>, Out>;

// A call whose handler is `fn(call, side)`.
template <typename Reactor, typename Base, typename F>
class ServerCallOf final : public Base, public ServerCall {
 public:
  static Reactor* Begin(grpc::CallbackServerContext* context, const HubHandle& hub,
                        F fn) {
    auto* call = new ServerCallOf(context, hub, std::move(fn));
    call->ServerCall::Begin();
    return call;
  }

 private:
  ServerCallOf(grpc::CallbackServerContext* context, const HubHandle& hub, F fn)
      : Base(this), ServerCall(context, hub), fn_(std::move(fn)) {}

  grpc::Status Handle() override { return fn_(*this, static_cast<Base&>(*this)); }
  void Finish(grpc::Status status) override { Reactor::Finish(std::move(status)); }
  void CancelCall() override { context().TryCancel(); }
  void OnCancel() override { Cancelled(); }
  void OnDone() override { Unref(); }
  // Lets gRPC call the two above where it is, and not by a thread of its executor: they
  // do next to nothing. gRPC calls this internal; without it all works, for more CPU.
  bool InternalInlineable() override { return true; }

  F fn_;
};

// Bridge
//
// The hubs on which handlers run, by turns. It has to outlive the server; the hubs need
// not: what then comes is answered UNAVAILABLE.
//
// A handler is called as handler(ServerCall&, ...) with what its method says below, and
// returns a grpc::Status. It is copied into each call: let it be small.
//
// Threads: any.
class Bridge {
 public:
  explicit Bridge(std::vector<HubHandle> hubs) : hubs_(std::move(hubs)) {}
  explicit Bridge(const HubGroup& group) {
    for (int i = 0; i < group.size(); ++i) hubs_.push_back(group.handle(i));
  }

  // handler(call, const In&, Out*)
  template <typename In, typename Out, typename Handler>
  grpc::ServerUnaryReactor* Unary(grpc::CallbackServerContext* context, const In* request,
                                  Out* response, Handler handler) {
    return Begin<grpc::ServerUnaryReactor, Side<grpc::ServerUnaryReactor>>(
        context, [=](ServerCall& call, auto&) mutable {
          return handler(call, *request, response);
        });
  }

  // handler(call, ServerReader<In>&, Out*)
  template <typename In, typename Out, typename Handler>
  grpc::ServerReadReactor<In>* ClientStreaming(grpc::CallbackServerContext* context,
                                               Out* response, Handler handler) {
    return Begin<grpc::ServerReadReactor<In>, ServerReader<In>>(
        context, [=](ServerCall& call, ServerReader<In>& reader) mutable {
          return handler(call, reader, response);
        });
  }

  // handler(call, const In&, ServerWriter<Out>&)
  template <typename Out, typename In, typename Handler>
  grpc::ServerWriteReactor<Out>* ServerStreaming(grpc::CallbackServerContext* context,
                                                 const In* request, Handler handler) {
    return Begin<grpc::ServerWriteReactor<Out>, ServerWriter<Out>>(
        context, [=](ServerCall& call, ServerWriter<Out>& writer) mutable {
          return handler(call, *request, writer);
        });
  }

  // handler(call, ServerStream<In, Out>&)
  template <typename In, typename Out, typename Handler>
  grpc::ServerBidiReactor<In, Out>* Bidi(grpc::CallbackServerContext* context,
                                         Handler handler) {
    return Begin<grpc::ServerBidiReactor<In, Out>, ServerStream<In, Out>>(
        context, std::move(handler));
  }

 private:
  template <typename Reactor, typename Base, typename F>
  Reactor* Begin(grpc::CallbackServerContext* context, F fn) {
    const size_t turn = next_.fetch_add(1, std::memory_order_relaxed);
    return ServerCallOf<Reactor, Base, F>::Begin(context, hubs_[turn % hubs_.size()],
                                                 std::move(fn));
  }

  std::vector<HubHandle> hubs_;
  std::atomic<size_t> next_{0};
};

// ToGrpc()
//
// The same code (they are numbered alike) and the same words, which the client gets to
// see.
grpc::Status ToGrpc(const absl::Status& status);

// StopServer()
//
// Takes no new calls, lets those that there are go on for `grace`, and then cancels them.
//
// Blocks: until all calls have ended.
// Kill: throws, when all calls have ended.
void StopServer(grpc::Server& server, absl::Duration grace);

}  // namespace grove::bridge

#endif  // GROVE_EXAMPLES_GRPC_BRIDGE_SERVER_H_
