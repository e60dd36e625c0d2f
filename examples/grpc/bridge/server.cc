#include "grove/examples/grpc/bridge/server.h"

#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "grove/green/blocking.h"
#include "grove/green/interrupt.h"

namespace grove::bridge {
namespace {

Deadline DeadlineOf(const grpc::CallbackServerContext& context) {
  const std::chrono::system_clock::time_point at = context.deadline();
  if (at == std::chrono::system_clock::time_point::max()) return {};
  return absl::FromChrono(at) - absl::Now();
}

}  // namespace

void ServerCall::Begin() {
  if (!hub_.PostLetter(&begin_)) End();
}

void ServerCall::OnBegin(Letter* letter, bool hub_alive) {
  std::unique_ptr<ServerCall, Ender> call(static_cast<Note*>(letter)->call);
  if (!hub_alive) return;
  ServerCall* const c = call.get();
  c->greenlet_ = Spawn([call = std::move(call)] { call->Run(); });
}

void ServerCall::Cancelled() {
  Ref();
  if (!hub_.PostLetter(&cancel_)) Unref();
}

void ServerCall::OnCancelled(Letter* letter, bool hub_alive) {
  ServerCall* const call = static_cast<Note*>(letter)->call;
  if (hub_alive) {
    call->cancelled_ = true;
    if (call->greenlet_) call->greenlet_.KillSoon();
  }
  call->Unref();
}

void ServerCall::Run() {
  DeadlineScope scope(DeadlineOf(*context_));
  try {
    status_ = Handle();
    returned_ = true;
  } catch (const GreenletExit&) {
    throw;
  } catch (const TimeoutExpired& e) {
    returned_ = true;
    status_ = {grpc::StatusCode::INTERNAL, "internal error"};
    if (!scope.Threw(e)) throw;
    status_ = {grpc::StatusCode::DEADLINE_EXCEEDED, "the deadline has passed"};
  } catch (...) {
    returned_ = true;
    status_ = {grpc::StatusCode::INTERNAL, "internal error"};
    throw;
  }
}

// From Finish() on OnDone() may come at any time, and with it the end of the context. No
// kill comes any more: those find no greenlet.
void ServerCall::End() {
  greenlet_ = {};
  if (!returned_) {
    status_ = cancelled_ ? grpc::Status(grpc::StatusCode::CANCELLED, "cancelled")
                         : grpc::Status(grpc::StatusCode::UNAVAILABLE, "shutting down");
  }
  Finish(std::move(status_));
  Unref();
}

grpc::Status ToGrpc(const absl::Status& status) {
  return {static_cast<grpc::StatusCode>(status.code()), std::string(status.message())};
}

void StopServer(grpc::Server& server, absl::Duration grace) {
  Blocking([&] { server.Shutdown(SystemTimeIn(grace)); }).IgnoreError();
}

}  // namespace grove::bridge
