#include <errno.h>
#include <stdio.h>

#include <algorithm>
#include <vector>

#include "grove/green/deadline_scope.h"
#include "grove/green/greenlet.h"
#include "grove/green/internal/scheduler.h"
#include "grove/green/sleep.h"
#include "grove/green/status.h"
#include "grove/green/timeout.h"
#include "grove/hub/internal/check.h"
#include "grove/net/internal/datagram_server_base.h"
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

DatagramServerBase::Handling::Handling(DatagramServerBase* server)
    : server_(server), greenlet_(CurrentGreenlet()), next_(server->first_) {
  if (next_) next_->previous_ = this;
  server->first_ = this;
}

DatagramServerBase::Handling::~Handling() {
  (previous_ ? previous_->next_ : server_->first_) = next_;
  if (next_) next_->previous_ = previous_;
}

DatagramServerBase::DatagramServerBase(DatagramServerOptions options)
    : options_(std::move(options)) {
  GROVE_CHECK(options_.batch > 0 && options_.max_bytes > 0,
              "a datagram server that receives nothing: ", options_.name);
}

DatagramServerBase::~DatagramServerBase() = default;

void DatagramServerBase::Start() {
  if (receiver_ || stopping_) return;
  // No deadline of who has started it is its own.
  WithoutDeadline([this] {
    receiver_ = Spawn({.name = options_.name + " receiver"}, [this] { ReceiveLoop(); });
  });
}

void DatagramServerBase::ResumeReceiving() {
  paused_ = false;
  WakeAll(resume_waiters_);
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
    if (!stopping_) {
      failure_ = status;
      fprintf(stderr, "grove: a DatagramServer receives no more: %s\n",
              std::string(status.message()).c_str());
    }
    WakeAll(stop_waiters_);
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
  if (--statistics_.in_flight == 0) WakeAll(idle_waiters_);
}

bool DatagramServerBase::WaitUntilNone(Deadline deadline) {
  while (statistics_.in_flight > 0) {
    if (!WaitIn(idle_waiters_, "the end of all handlers", deadline)) return false;
  }
  return true;
}

bool DatagramServerBase::HasCurrent() const {
  for (const Handling* h = first_; h; h = h->next_) {
    if (h->greenlet_.core() == green_internal::Scheduler::Get().current()) return true;
  }
  return false;
}

size_t DatagramServerBase::KillAll() {
  killed_ = true;
  std::vector<AnyGreenlet> all;
  for (Handling* h = first_; h; h = h->next_) all.push_back(h->greenlet_);
  for (const AnyGreenlet& g : all) g.KillSoon();
  return statistics_.in_flight;
}

StopReport DatagramServerBase::Stop(absl::Duration grace) {
  if (stopped_) return report_;
  GROVE_CHECK(!HasCurrent(), options_.name,
              " is stopped by one of its handlers, which would wait for itself: "
              "Spawn() what stops it");
  const Deadline deadline = grace;
  if (!std::exchange(stopping_, true)) {
    // Nobody else receives from now on: it is killed at its wait.
    if (receiver_) receiver_.Kill();
    if (receiver_ && !paused_ && grace > absl::ZeroDuration()) {
      // Their handlers have the grace, and not the deadline of who stops it.
      WithoutDeadline([this] {
        for (int i = 0; i < kMaxLastBatches; ++i) {
          if (!ReceiveSome().ok()) break;
        }
      });
    }
    report_.finished = statistics_.in_flight;
  }
  // Another one that stops it comes behind the first, who takes what has arrived.
  if (receiver_) receiver_.Join();
  if (!WaitUntilNone(deadline)) {
    if (!killed_) {  // by another one, that has counted them
      report_.cut = KillAll();
      report_.finished -= std::min(report_.finished, report_.cut);
    }
    WaitUntilNone({});
  }
  CloseSocket();
  stopped_ = true;
  WakeAll(stop_waiters_);
  return report_;
}

absl::Status DatagramServerBase::Serve() {
  Start();
  try {
    while (!stopped_ && failure_.ok()) WaitIn(stop_waiters_, "the server's stop");
  } catch (...) {
    Shield shield;
    Stop();
    throw;
  }
  return failure_;
}

}  // namespace grove::net::net_internal
