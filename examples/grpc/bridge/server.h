#ifndef GROVE_EXAMPLES_GRPC_BRIDGE_SERVER_H_
#define GROVE_EXAMPLES_GRPC_BRIDGE_SERVER_H_

#include "grove/examples/grpc/bridge/completion.h"
#include "grove/green/blocking.h"
#include "grove/green/hub_group.h"

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

using CallContext = grpc::CallbackServerContext;

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
// Held by OnDone(), by the greenlet or what is to become it, and by letters.
//
// Threads: the handler's hub. It and the context end with the handler.
class ServerCall : protected Counted {
 public:
  CallContext& context() { return *context_; }
  // Whether the client does not want the answer any more.
  bool cancelled() const { return status_.error_code() == grpc::CANCELLED; }

 protected:
  ServerCall(CallContext* context, const HubHandle& hub) : context_(context), hub_(hub) {}

  // On gRPC's threads:
  void Begin() {
    if (!hub_.PostLetter(&begin_)) OnBegin(false);
  }
  void Cancelled() {
    Ref();
    if (!hub_.PostLetter(&cancel_)) Unref();
  }
  // On the hub; Finish() also elsewhere, if the hub has ended.
  virtual grpc::Status Handle() = 0;
  virtual void Finish(grpc::Status status) = 0;

 private:
  // The end is owned by the greenlet's function: it comes with that, also if it never
  // ran, or if a spawn hook has killed it already.
  void OnBegin(bool hub_alive) {
    absl::Cleanup end = [this] { End(); };
    if (hub_alive) greenlet_ = Spawn([this, end = std::move(end)] { Run(); });
    Unref();
  }
  void OnCancelled(bool hub_alive) {
    if (hub_alive && greenlet_) {
      status_ = {grpc::CANCELLED, "cancelled"};
      greenlet_.KillSoon();
    }
    Unref();
  }
  void Run() {
    const auto at = context_->deadline();
    const Deadline end = at == at.max() ? Deadline() : absl::FromChrono(at) - absl::Now();
    try {
      if (!WithDeadline(end, [this] { status_ = Handle(); }).ok())
        status_ = {grpc::DEADLINE_EXCEEDED, "the deadline has passed"};
    } catch (const GreenletExit&) {
      throw;
    } catch (...) {
      status_ = {grpc::INTERNAL, "internal error"};
      throw;
    }
  }
  // From Finish() on OnDone() may come at any time, and with it the end of the context.
  // No kill comes any more: those find no greenlet.
  void End() {
    greenlet_ = {};
    Finish(std::move(status_));
    Unref();
  }

  CallContext* const context_;
  const HubHandle& hub_;  // the bridge's
  Note<ServerCall, &ServerCall::OnBegin> begin_{this};
  Note<ServerCall, &ServerCall::OnCancelled> cancel_{this};
  AnyGreenlet greenlet_;  // until it ends
  // What the client gets, unless the handler says something else.
  grpc::Status status_{grpc::UNAVAILABLE, "shutting down"};
};

template <typename In>
using ServerReader = Side<grpc::ServerReadReactor<In>, In>;
template <typename Out>
using ServerWriter = Side<grpc::ServerWriteReactor<Out>, Nothing, Out>;
template <typename In, typename Out>
using ServerStream = Side<grpc::ServerBidiReactor<In, Out>, In, Out>;

// A call whose handler is `fn(call, side)`. It begins when it is made.
template <typename Base, typename F>
struct ServerCallOf final : ServerCall, Base {
  ServerCallOf(CallContext* context, const HubHandle& hub, F fn)
      : ServerCall(context, hub), Base(this), fn_(std::move(fn)) {
    Begin();
  }
  typename Base::Reactor* reactor() { return this; }

  grpc::Status Handle() override { return fn_(*this, static_cast<Base&>(*this)); }
  void Finish(grpc::Status status) override { Base::Reactor::Finish(std::move(status)); }
  void Cancel() override { context().TryCancel(); }
  void OnCancel() override { Cancelled(); }
  void OnDone() override { Unref(); }
  // Lets gRPC call the two above where it is, and not by a thread of its executor: they
  // do next to nothing. gRPC calls this internal; without it all works, for more CPU.
  bool InternalInlineable() override { return true; }

  F fn_;
};

// Bridge
//
// The hubs on which handlers run, by turns: at least one. It has to outlive the server;
// the hubs need not: what then comes is answered UNAVAILABLE.
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
  auto* Unary(CallContext* context, const In* in, Out* out, Handler handler) {
    return Begin<Side<grpc::ServerUnaryReactor>>(
        context, [=](auto& call, auto&) mutable { return handler(call, *in, out); });
  }

  // handler(call, ServerReader<In>&, Out*)
  template <typename In, typename Out, typename Handler>
  auto* ClientStreaming(CallContext* context, Out* out, Handler handler) {
    return Begin<ServerReader<In>>(
        context, [=](auto& call, auto& in) mutable { return handler(call, in, out); });
  }

  // handler(call, const In&, ServerWriter<Out>&)
  template <typename Out, typename In, typename Handler>
  auto* ServerStreaming(CallContext* context, const In* in, Handler handler) {
    return Begin<ServerWriter<Out>>(
        context, [=](auto& call, auto& out) mutable { return handler(call, *in, out); });
  }

  // handler(call, ServerStream<In, Out>&)
  template <typename In, typename Out, typename Handler>
  auto* Bidi(CallContext* context, Handler handler) {
    return Begin<ServerStream<In, Out>>(context, std::move(handler));
  }

 private:
  template <typename Base, typename F>
  typename Base::Reactor* Begin(CallContext* context, F fn) {
    const HubHandle& hub = hubs_[next_++ % hubs_.size()];
    return (new ServerCallOf<Base, F>(context, hub, std::move(fn)))->reactor();
  }

  std::vector<HubHandle> hubs_;
  std::atomic<size_t> next_{0};
};

// ToGrpc()
//
// The same code (they are numbered alike) and the same words, which the client gets to
// see.
inline grpc::Status ToGrpc(const absl::Status& status) {
  return {static_cast<grpc::StatusCode>(status.code()), std::string(status.message())};
}

// StopServer()
//
// Takes no new calls, lets those that there are go on for `grace`, and then cancels them.
//
// Blocks: until all calls have ended.
// Kill: does not end it; the next blocking call throws.
inline void StopServer(grpc::Server& server, absl::Duration grace) {
  const Shield shield;
  const auto end = absl::ToChronoTime(absl::Now() + grace);
  if (!Blocking([&] { server.Shutdown(end); }).ok()) server.Shutdown(end);
}

}  // namespace grove::bridge

#endif  // GROVE_EXAMPLES_GRPC_BRIDGE_SERVER_H_
