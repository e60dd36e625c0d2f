#include "grove/net/server.h"

#include <errno.h>
#include <stdio.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grove/green/internal/scheduler.h"
#include "grove/green/sleep.h"
#include "grove/green/status.h"
#include "grove/green/timeout.h"

namespace grove::net {
namespace {

using green_internal::ListedWaiter;
using green_internal::Scheduler;
using green_internal::WaiterList;

class ServerWaiter final : public ListedWaiter {
 public:
  ServerWaiter(WaiterList* list, const char* what)
      : ListedWaiter(Scheduler::Get().current(), list), what_(what) {}
  std::string Describe() const override { return what_; }

 private:
  const char* const what_;
};

bool WaitIn(WaiterList& list, const char* what, Deadline deadline) {
  ServerWaiter waiter(&list, what);
  return Scheduler::Get().ParkUntil(&waiter, deadline);
}

void WakeAll(WaiterList& list) {
  while (ListedWaiter* w = list.PopFront()) Scheduler::Get().Wake(w->core());
}

// Out of descriptors or memory: it will pass. Anything else will not.
bool IsShortage(int error) {
  return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

}  // namespace

// One open connection, on the stack of its handler's greenlet.
struct StreamServer::Connection {
  Connection(StreamServer* s, TcpStream* t)
      : server(s), stream(t), greenlet(CurrentGreenlet()), next(s->connections_) {
    if (next) next->previous = this;
    s->connections_ = this;
  }
  ~Connection() {
    (previous ? previous->next : server->connections_) = next;
    if (next) next->previous = previous;
  }

  StreamServer* const server;
  TcpStream* const stream;
  const AnyGreenlet greenlet;
  Connection* previous = nullptr;
  Connection* next;
};

// A place among the connections that may be open at once.
class StreamServer::Slot {
 public:
  explicit Slot(StreamServer* server) : server_(server) { ++server->active_; }
  Slot(Slot&& other) noexcept : server_(std::exchange(other.server_, nullptr)) {}
  ~Slot() {
    if (server_ == nullptr) return;
    if (--server_->active_ == 0) WakeAll(server_->idle_waiters_);
    WakeAll(server_->slot_waiters_);
  }

  StreamServer* server() const { return server_; }

 private:
  StreamServer* server_;
};

StreamServer::StreamServer(TcpListener listener, Handler handler,
                           StreamServerOptions options)
    : handler_(std::move(handler)),
      options_(std::move(options)),
      listener_(std::move(listener)),
      address_(listener_.address()) {}

StreamServer::~StreamServer() {
  Shield shield;
  Stop();
}

void StreamServer::Start() {
  if (acceptor_ || stopping_) return;
  acceptor_ =
      Spawn({.name = absl::StrCat(options_.name, " acceptor")}, [this] { AcceptLoop(); });
}

void StreamServer::AcceptLoop() {
  absl::Duration delay = options_.min_delay;
  bool short_of = false;
  int left = options_.accept_budget;
  for (;;) {
    while (options_.max_connections != 0 && active_ >= options_.max_connections) {
      WaitIn(slot_waiters_, "a free connection slot", {});
    }
    absl::StatusOr<TcpStream> stream = listener_.TryAccept();
    if (stream.ok()) {
      delay = options_.min_delay;
      short_of = false;
      ++accepted_;
      // Destroyed in this order: the descriptor is closed, then its slot is free. Also if
      // the greenlet is killed before it has begun.
      Spawn([slot = Slot(this), s = *std::move(stream)]() mutable {
        slot.server()->Run(s);
      });
      if (--left > 0) continue;
      left = options_.accept_budget;
      Yield();
      continue;
    }
    const int error = ErrnoOf(stream.status());
    if (error == EAGAIN || error == EWOULDBLOCK) {
      left = options_.accept_budget;
      if (!listener_.WaitForConnection().ok()) return;  // closed: a stop
    } else if (IsShortage(error)) {
      if (!std::exchange(short_of, true)) {
        fprintf(stderr, "grove: %s: %s; trying again every %s at least\n",
                options_.name.c_str(), std::string(stream.status().message()).c_str(),
                absl::FormatDuration(options_.max_delay).c_str());
      }
      Sleep(delay);
      delay = std::min(delay * 2, options_.max_delay);
    } else {
      if (!stopping_) failure_ = stream.status();
      listener_.Close();
      WakeAll(stop_waiters_);
      return;
    }
  }
}

void StreamServer::Run(TcpStream& stream) {
  Connection connection(this, &stream);
  // One that was accepted just before a drain began.
  if (stopping_) Drain(stream);
  handler_(stream);
}

void StreamServer::Drain(TcpStream& stream) {
  if (options_.on_drain) {
    options_.on_drain(stream);
  } else if (!stream.closed()) {
    // A peer that has reset the connection already is no news.
    (void)stream.ShutdownRead();
  }
}

void StreamServer::StopAccepting() {
  stopping_ = true;
  listener_.Close();
  if (acceptor_) acceptor_.Kill();
}

bool StreamServer::WaitUntilIdle(Deadline deadline) {
  while (active_ > 0) {
    if (!WaitIn(idle_waiters_, "the end of all connections", deadline)) return false;
  }
  return true;
}

StreamServer::StopReport StreamServer::Stop(absl::Duration grace) {
  if (stopped_) return report_;
  const Deadline deadline = grace;
  if (!stopping_) {
    StopAccepting();
    report_.finished = active_;
    for (Connection* c = connections_; c; c = c->next) Drain(*c->stream);
  }
  if (!WaitUntilIdle(deadline)) {
    std::vector<AnyGreenlet> late;
    for (Connection* c = connections_; c; c = c->next) late.push_back(c->greenlet);
    report_.cut = late.size();
    report_.finished -= std::min(report_.finished, late.size());
    for (const AnyGreenlet& g : late) g.KillSoon();
    WaitUntilIdle({});
  }
  stopped_ = true;
  WakeAll(stop_waiters_);
  return report_;
}

absl::Status StreamServer::Serve() {
  Start();
  try {
    while (!stopped_ && failure_.ok()) {
      WaitIn(stop_waiters_, "the server's stop", {});
    }
  } catch (...) {
    Shield shield;
    Stop();
    throw;
  }
  return failure_;
}

}  // namespace grove::net
