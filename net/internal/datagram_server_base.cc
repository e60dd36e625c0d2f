#include "grove/net/internal/datagram_server_base.h"

#include <errno.h>

#include <algorithm>
#include <utility>

#include "grove/green/deadline_scope.h"
#include "grove/green/greenlet.h"
#include "grove/green/internal/scheduler.h"
#include "grove/green/sleep.h"
#include "grove/green/status.h"
#include "grove/hub/internal/check.h"
#include "grove/net/internal/wait_in.h"

namespace grove::net::net_internal {
namespace {

constexpr absl::Duration kMinDelay = absl::Milliseconds(10);
constexpr absl::Duration kMaxDelay = absl::Seconds(1);
// Of what had arrived when a server stops.
constexpr int kMaxLastBatches = 1000;

// Reported by a peer's machine for something that we have sent: not the socket's fault.
bool IsOfOnePeer(int error) {
  return error == ECONNREFUSED || error == ECONNRESET || error == EHOSTUNREACH ||
         error == ENETUNREACH || error == EHOSTDOWN || error == ENETDOWN ||
         error == EPROTO || error == EMSGSIZE;
}

bool IsShortage(int error) { return error == ENOBUFS || error == ENOMEM; }

}  // namespace

DatagramServerBase::DatagramServerBase(DatagramServerOptions options)
    : options_(std::move(options)) {
  GROVE_CHECK(options_.batch > 0 && options_.max_bytes > 0,
              "a datagram server that receives nothing: ", options_.name);
}

DatagramServerBase::~DatagramServerBase() = default;

void DatagramServerBase::Start() {
  if (receiver_ || handlers_.stopping()) return;
  // No deadline of who has started it is its own.
  WithoutDeadline([this] {
    receiver_ = Spawn({.name = options_.name + " receiver"}, [this] { ReceiveLoop(); });
  });
}

void DatagramServerBase::ResumeReceiving() {
  paused_ = false;
  resume_waiters_.NotifyAll();
}

void DatagramServerBase::ReceiveLoop() {
  absl::Duration delay = kMinDelay;
  bool may_be_more = true;
  for (;;) {
    absl::Status status;
    // Here, so that receiving does not: it may be paused meanwhile.
    green_internal::Scheduler::Get().CountOperation();
    if (paused_) {
      WaitIn(resume_waiters_, "receiving to be resumed");
      continue;
    }
    if (!may_be_more) {
      may_be_more = true;
      status = WaitForSome();
      if (status.ok()) continue;  // it may have been paused meanwhile
    } else if (const absl::StatusOr<bool> more = ReceiveSome(); more.ok()) {
      may_be_more = *more;
      delay = kMinDelay;
      continue;
    } else if (absl::IsDeadlineExceeded(more.status())) {
      may_be_more = false;
      continue;
    } else {
      status = more.status();
    }
    const int error = ErrnoOf(status);
    if (IsOfOnePeer(error)) continue;
    if (IsShortage(error)) {
      Sleep(delay);
      delay = std::min(delay * 2, kMaxDelay);
      continue;
    }
    handlers_.Fail("receives no more", std::move(status));
    return;
  }
}

bool DatagramServerBase::Admit(bool truncated) {
  ++statistics_.received;
  if (truncated) ++statistics_.truncated;
  const bool room =
      options_.max_in_flight == 0 || statistics_.in_flight < options_.max_in_flight;
  if (room && CanSpawn()) return true;
  ++statistics_.dropped;
  return false;
}

void DatagramServerBase::Left() {
  if (--statistics_.in_flight == 0) handlers_.NoneIsLeft();
}

StopReport DatagramServerBase::Stop(absl::Duration grace) {
  return handlers_.Stop(
      grace,
      [&] {
        if (!receiver_) return;
        // Nobody else receives from now on: it is killed at its wait.
        receiver_.Kill();
        if (paused_ || grace <= absl::ZeroDuration()) return;
        // Their handlers have the grace, and not the deadline of who stops it.
        WithoutDeadline([this] {
          for (int i = 0; i < kMaxLastBatches; ++i) {
            if (!ReceiveSome().ok()) break;
          }
        });
      },
      [&] {
        if (receiver_) receiver_.Join();
        CloseSocket();
      });
}

absl::Status DatagramServerBase::Serve() {
  Start();
  return handlers_.WaitForEnd([this] { Stop(); });
}

}  // namespace grove::net::net_internal
