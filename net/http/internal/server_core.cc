#include "grove/net/http/internal/server_core.h"

#include <stdio.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grove/green/hub_scope.h"
#include "grove/green/interrupt.h"
#include "grove/green/sleep.h"
#include "grove/green/timeout.h"
#include "grove/net/http/access_log.h"
#include "grove/net/http/internal/http2_connection.h"
#include "grove/net/http/internal/http2_stream.h"
#include "grove/net/http/internal/server_connection.h"
#include "grove/net/internal/wait_in.h"

namespace grove::http::http_internal {
namespace {

// So many are kept for the next requests, 20 KiB or so each.
constexpr size_t kSpare = 256;
// Of HTTP/2, 100 KiB at most.
constexpr size_t kSpareOutputs = 16;
constexpr size_t kInputBuffer = 64 << 10;
// How many connections are looked at before others run.
constexpr int kLooksInARow = 256;

}  // namespace

CoreConnection::CoreConnection(ServerCore* core)
    : core_(core),
      stack_(green_internal::Scheduler::Get().current()),
      next_(core->first_) {
  if (next_) next_->previous_ = this;
  core->first_ = this;
}

CoreConnection::~CoreConnection() {
  if (core_->next_to_watch_ == this) core_->next_to_watch_ = next_;
  (previous_ ? previous_->next_ : core_->first_) = next_;
  if (next_) next_->previous_ = previous_;
}

ServerCore::ServerCore(Handler handler, HttpServerOptions options)
    : handler_(std::move(handler)),
      options_(std::move(options)),
      shortest_time_(std::min({options_.head_timeout, options_.first_byte_timeout,
                               options_.idle_timeout, options_.body_timeout,
                               options_.stall_timeout, options_.min_rate_grace})) {}

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

void ServerCore::Serve(net::Stream& stream, bool secure, absl::string_view alpn) {
  if (shortest_time_ != absl::InfiniteDuration() && (!watcher_ || watcher_.ready())) {
    watcher_ =
        Spawn({.name = absl::StrCat(options_.name, " times")}, [this] { Watch(); });
  }
  if (alpn == "h2" && options_.http2.enabled) {
    Http2Connection connection(this, &stream, secure);
    return connection.Run({});
  }
  bool input_shut = false;
  std::string begin;  // of HTTP/2, which the client speaks without asking
  {
    ServerConnection connection(this, &stream, secure);
    begin = connection.Run();
    input_shut = connection.input_shut();
  }
  if (begin.empty()) return;
  Http2Connection connection(this, &stream, secure, input_shut);
  connection.Run(begin);
}

void ServerCore::Drain() {
  draining_ = true;
  for (CoreConnection* c = first_; c; c = c->next_) c->Drain();
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

std::unique_ptr<Http2Stream> ServerCore::TakeStream() {
  if (spare_streams_.empty()) return std::make_unique<Http2Stream>();
  std::unique_ptr<Http2Stream> stream = std::move(spare_streams_.back());
  spare_streams_.pop_back();
  return stream;
}

void ServerCore::GiveBack(std::unique_ptr<Http2Stream> stream) {
  if (spare_streams_.size() >= kSpare) return;
  stream->Clear();
  spare_streams_.push_back(std::move(stream));
}

absl::Span<char> ServerCore::input_buffer() {
  if (!input_buffer_) input_buffer_.reset(new char[kInputBuffer]);
  return {input_buffer_.get(), kInputBuffer};
}

std::string ServerCore::TakeOutput() {
  if (spare_outputs_.empty()) return {};
  std::string output = std::move(spare_outputs_.back());
  spare_outputs_.pop_back();
  return output;
}

void ServerCore::GiveBackOutput(std::string output) {
  output.clear();
  if (spare_outputs_.size() < kSpareOutputs) spare_outputs_.push_back(std::move(output));
}

bool ServerCore::CallHandler(Request& request, ResponseWriter& response) {
  ++statistics_.requests;
  std::exception_ptr error;
  try {
    handler_(request, response);
    return true;
  } catch (const TimeoutExpired&) {
    error = std::current_exception();
  } catch (const Interrupt&) {
    throw;
  } catch (...) {
    error = std::current_exception();
  }
  ++statistics_.exceptions;
  if (options_.on_exception) {
    options_.on_exception(request, error);
  } else {
    fprintf(stderr, "grove: http: an exception in the handler of %s\n",
            request.DebugString().c_str());
    green_internal::Scheduler& scheduler = green_internal::Scheduler::Get();
    scheduler.HandleError(scheduler.current(), error);
  }
  return false;
}

void ServerCore::Log(const Request* request, const ResponseWriter& response,
                     absl::string_view peer, absl::Time begin, absl::Duration duration) {
  AccessRecord record;
  record.peer = peer;
  record.status = response.status();
  record.body_bytes = response.body_bytes();
  record.begin = begin;
  record.duration = duration;
  if (request != nullptr) {
    const HeaderView headers = request->headers();
    record.method = request->method();
    record.target = request->target();
    record.host = request->host();
    record.referer = headers.Get("Referer").value_or("");
    record.user_agent = headers.Get("User-Agent").value_or("");
    record.version_major = request->version_major();
    record.version_minor = request->version_minor();
  }
  // The response, which may not have been sent, does not depend on it.
  try {
    options_.access_log(record);
  } catch (const Interrupt&) {
    throw;
  } catch (...) {
    fprintf(stderr, "grove: http: an exception in the access log\n");
    green_internal::Scheduler& scheduler = green_internal::Scheduler::Get();
    scheduler.HandleError(scheduler.current(), std::current_exception());
  }
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
    while (CoreConnection* c = next_to_watch_) {
      next_to_watch_ = c->next_;
      if (c->Look(now)) ++statistics_.timed_out;
      c->stack_.Look(now);
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
  flush_waiters_.NotifyAll();
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
