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
#include "grove/net/internal/wait_in.h"

namespace grove::net {
namespace {

using net_internal::WaitIn;
using net_internal::WakeAll;

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
  if (acceptor_ || stopping_) return;
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
      if (!stopping_) {
        failure_ = status;
        // Not everybody is in Serve(), to be told.
        fprintf(stderr, "grove: %s accepts no more: %s\n", options_.name.c_str(),
                std::string(status.message()).c_str());
      }
      endpoint_->Close();
      WakeAll(stop_waiters_);
      return;
    }
  }
}

void StreamServer::StopAccepting(bool take_backlog) {
  stopping_ = true;
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
  if (stopped_) return report_;
  GROVE_CHECK(!connections_.HasCurrent(), options_.name,
              " is stopped by one of its handlers, which would wait for itself: "
              "Spawn() what stops it");
  const Deadline deadline = grace;
  if (!stopping_) {
    StopAccepting(/*take_backlog=*/grace > absl::ZeroDuration());
    report_.finished = active();
    connections_.Drain();
  }
  if (!connections_.WaitUntilNone(deadline)) {
    if (!connections_.killed()) {  // by another one, that has counted them
      report_.cut = connections_.KillAll();
      report_.finished -= std::min(report_.finished, report_.cut);
    }
    connections_.WaitUntilNone({});
  }
  if (watcher_) watcher_.Kill();
  if (acceptor_) acceptor_.Join();
  stopped_ = true;
  WakeAll(stop_waiters_);
  return report_;
}

absl::Status StreamServer::Serve() {
  Start();
  return WaitForEnd();
}

absl::Status StreamServer::WaitForEnd() {
  try {
    while (!stopped_ && failure_.ok()) WaitIn(stop_waiters_, "the server's stop");
  } catch (...) {
    Shield shield;
    Stop();
    throw;
  }
  return failure_;
}

}  // namespace grove::net
