#include "grove/net/server.h"

#include <errno.h>
#include <stdio.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grove/green/deadline_scope.h"
#include "grove/green/sleep.h"
#include "grove/green/status.h"
#include "grove/green/timeout.h"
#include "grove/hub/internal/check.h"
#include "grove/net/internal/socket.h"

namespace grove::net {
namespace {

// Of those that have connected when a server stops; more than any backlog holds.
constexpr int kMaxBacklog = 65536;

// Out of descriptors or memory: it will pass. Anything else will not.
bool IsShortage(int error) {
  return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

}  // namespace

StreamServer::~StreamServer() {
  Shield shield;
  Stop();
}

const Address& StreamServer::address() const {
  GROVE_CHECK(address_.has_value(), "StreamServer::address() of one at ", description_);
  return *address_;
}

void StreamServer::Start() {
  if (acceptor_ || connections_.handlers().stopping()) return;
  // A server outlives what has started it: no deadline of that is its own.
  WithoutDeadline([this] {
    acceptor_ = Spawn({.name = absl::StrCat(options_.name, " acceptor")},
                      [this] { AcceptLoop(); });
    if (connections_.has_limits()) {
      watcher_ = Spawn({.name = absl::StrCat(options_.name, " limits")},
                       [this] { connections_.Watch(); });
    }
  });
}

void StreamServer::ResumeAccepting() {
  paused_ = false;
  connections_.WakeSlotWaiters();
}

void StreamServer::AcceptLoop() {
  absl::Duration delay = options_.min_delay;
  bool short_of = false;
  int left = options_.accept_budget;
  for (;;) {
    while (paused_ || connections_.Full()) {
      connections_.WaitForSlot(paused_ ? "accepting to be resumed"
                                       : "a free connection slot");
    }
    endpoint_->WaitForRoom();
    const absl::Status status = endpoint_->AcceptOne(connections_);
    if (status.ok()) {
      delay = options_.min_delay;
      short_of = false;
      if (--left > 0) continue;
      left = options_.accept_budget;
      Yield();
      continue;
    }
    const bool nobody = status == net_internal::NobodyThere();
    const int error = nobody ? EAGAIN : ErrnoOf(status);
    if (net_internal::WouldBlock(error)) {
      left = options_.accept_budget;
      if (!endpoint_->WaitForConnection().ok()) return;  // closed: a stop
    } else if (IsShortage(error)) {
      ++connections_.statistics().shortages;
      if (!std::exchange(short_of, true)) {
        fprintf(stderr, "grove: %s: %s; trying again every %s at least\n",
                options_.name.c_str(), std::string(status.message()).c_str(),
                absl::FormatDuration(options_.max_delay).c_str());
      }
      Sleep(delay);
      delay = std::min(delay * 2, options_.max_delay);
    } else {
      endpoint_->Close();
      connections_.handlers().Fail("accepts no more", status);
      return;
    }
  }
}

void StreamServer::StopAccepting(bool take_backlog) {
  if (acceptor_) acceptor_.KillSoon();
  if (acceptor_ && take_backlog && !paused_) {
    // Their handlers have the grace, and not the deadline of who stops it.
    WithoutDeadline([this] {
      for (int left = kMaxBacklog; left > 0 && !connections_.Full(); --left) {
        if (!endpoint_->AcceptOne(connections_).ok()) break;
      }
    });
  }
  endpoint_->Close();
}

StopReport StreamServer::Stop(absl::Duration grace) {
  return connections_.handlers().Stop(
      grace,
      [&] {
        StopAccepting(/*take_backlog=*/grace > absl::ZeroDuration());
        connections_.Drain();
      },
      [&] {
        if (watcher_) watcher_.Kill();
        if (acceptor_) acceptor_.Join();
      });
}

absl::Status StreamServer::Serve() {
  Start();
  return WaitForEnd();
}

absl::Status StreamServer::WaitForEnd() {
  return connections_.handlers().WaitForEnd([this] { Stop(); });
}

}  // namespace grove::net
