#include "grove/net/http/internal/server_core.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grove/green/hub_scope.h"
#include "grove/green/sleep.h"
#include "grove/green/timeout.h"
#include "grove/net/http/internal/server_connection.h"
#include "grove/net/internal/wait_in.h"

namespace grove::http::http_internal {
namespace {

// So many are kept for the next requests, 20 KiB or so each.
constexpr size_t kSpare = 256;
// How many connections are looked at before others run.
constexpr int kLooksInARow = 256;

}  // namespace

ServerCore::ServerCore(Handler handler, HttpServerOptions options)
    : handler_(std::move(handler)),
      options_(std::move(options)),
      shortest_time_(std::min({options_.head_timeout, options_.first_byte_timeout,
                               options_.idle_timeout, options_.body_timeout})) {}

ServerCore::~ServerCore() {
  Shield shield;
  if (watcher_) watcher_.Kill();
  if (flusher_) flusher_.Kill();
}

net::StreamServerOptions ServerCore::StreamOptions() const {
  net::StreamServerOptions options;
  options.max_connections = options_.max_connections;
  options.max_per_peer = options_.max_per_peer;
  options.idle_limit = options_.stall_timeout;
  options.min_rate = options_.min_rate;
  options.min_rate_grace = options_.min_rate_grace;
  options.name = options_.name;
  // HttpServer::Stop() has told each already.
  options.on_drain = [](net::Stream&) {};
  return options;
}

void ServerCore::Serve(net::Stream& stream, bool secure) {
  ServerConnection connection(this, &stream, secure);
  if (shortest_time_ != absl::InfiniteDuration() && (!watcher_ || watcher_.ready())) {
    watcher_ =
        Spawn({.name = absl::StrCat(options_.name, " times")}, [this] { Watch(); });
  }
  connection.Run();
}

void ServerCore::Drain() {
  draining_ = true;
  for (ServerConnection* c = first_; c; c = c->next_) c->Drain();
}

std::unique_ptr<Exchange> ServerCore::TakeExchange() {
  if (spare_.empty()) return std::make_unique<Exchange>();
  std::unique_ptr<Exchange> exchange = std::move(spare_.back());
  spare_.pop_back();
  return exchange;
}

void ServerCore::GiveBack(std::unique_ptr<Exchange> exchange) {
  if (spare_.size() >= kSpare) return;
  exchange->Clear();
  spare_.push_back(std::move(exchange));
}

// Until there are no connections.
void ServerCore::Watch() {
  const absl::Duration period = std::max(shortest_time_ / 8, absl::Milliseconds(1));
  while (first_ != nullptr) {
    Sleep(period, {.ref = false});
    const MonotonicNanos now = ThisHub().Now();
    int left = kLooksInARow;
    // Those that come meanwhile stand before the first, and are looked at next time.
    next_to_watch_ = first_;
    while (ServerConnection* c = next_to_watch_) {
      next_to_watch_ = c->next_;
      if (c->Look(now)) ++statistics_.timed_out;
      if (--left == 0) {
        Yield();
        left = kLooksInARow;
      }
    }
  }
}

void ServerCore::FlushSoon(ServerConnection& connection) {
  if (connection.to_flush_) return;
  connection.to_flush_ = true;
  to_flush_.push_back(&connection);
  if (!flusher_)
    flusher_ =
        Spawn({.name = absl::StrCat(options_.name, " flusher")}, [this] { FlushLoop(); });
  net::net_internal::WakeAll(flush_waiters_);
}

void ServerCore::FlushLoop() {
  for (;;) {
    // Nothing here waits, so no connection ends meanwhile.
    for (ServerConnection* c : to_flush_) {
      c->to_flush_ = false;
      c->TryFlushOut();
    }
    to_flush_.clear();
    net::net_internal::WaitIn(flush_waiters_, "responses that are held back", {},
                              /*ref=*/false);
  }
}

}  // namespace grove::http::http_internal
