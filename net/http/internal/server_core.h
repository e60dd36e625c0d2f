#ifndef GROVE_NET_HTTP_INTERNAL_SERVER_CORE_H_
#define GROVE_NET_HTTP_INTERNAL_SERVER_CORE_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "grove/green/greenlet.h"
#include "grove/green/internal/core.h"
#include "grove/green/internal/idle_stack.h"
#include "grove/hub/clock.h"
#include "grove/net/http/date.h"
#include "grove/net/http/handler.h"
#include "grove/net/http/server_options.h"
#include "grove/net/server_options.h"
#include "grove/net/stream.h"

namespace grove::http::http_internal {

class Exchange;
class Http1Response;
class Http2Stream;
class ServerConnection;
class ServerCore;

// CoreConnection
//
// One connection of a server, as those see it who look after all of them.
class CoreConnection {
 public:
  explicit CoreConnection(ServerCore* core);
  CoreConnection(const CoreConnection&) = delete;
  CoreConnection& operator=(const CoreConnection&) = delete;

  // For the watcher: ends what is over a time, and says whether anything was.
  virtual bool Look(MonotonicNanos now) = 0;
  // A drain begins.
  virtual void Drain() = 0;

 protected:
  ~CoreConnection();

  ServerCore* const core_;

 private:
  friend class ServerCore;

  green_internal::IdleStack stack_;
  CoreConnection* previous_ = nullptr;
  CoreConnection* next_;
};

// ServerCore
//
// What the connections of one HttpServer share: the handler, the limits, what is used
// again from request to request, and two greenlets that look after them: one for the
// times, which no connection has a timer for, and one that sends what is held back.
class ServerCore {
 public:
  ServerCore(Handler handler, HttpServerOptions options);
  ServerCore(const ServerCore&) = delete;
  ServerCore& operator=(const ServerCore&) = delete;
  ~ServerCore();

  // One connection, until its end. `alpn` is what TLS has agreed upon, if anything.
  void Serve(net::Stream& stream, bool secure, absl::string_view alpn);
  // Connections without a request end, others after the one that they have; those with
  // another protocol are told.
  void Drain();

  net::StreamServerOptions StreamOptions() const;
  const HttpServerOptions& options() const { return options_; }
  DateCache& date() { return date_; }
  bool draining() const { return draining_; }

  // Calls the handler. False if it threw, which was reported.
  bool CallHandler(Request& request, ResponseWriter& response);
  // One line for the access log, if there is one; `request` is null if none was read.
  void Log(const Request* request, const ResponseWriter& response, absl::string_view peer,
           absl::Time begin, absl::Duration duration);
  const HttpServerStatistics& statistics() const { return statistics_; }

 private:
  friend class CoreConnection;
  friend class Http2Connection;
  friend class ServerConnection;
  friend class Http1Response;

  std::unique_ptr<Exchange> TakeExchange();
  void GiveBack(std::unique_ptr<Exchange> exchange);
  std::unique_ptr<Http2Stream> TakeStream();
  void GiveBack(std::unique_ptr<Http2Stream> stream);
  // Where connections of HTTP/2 read to, all of them.
  absl::Span<char> input_buffer();
  // What they write from.
  std::string TakeOutput();
  void GiveBackOutput(std::string output);
  void Watch();
  // Sends what this connection holds back, once its handler waits.
  void FlushSoon(ServerConnection& connection);
  void FlushLoop();

  const Handler handler_;
  const HttpServerOptions options_;
  const absl::Duration shortest_time_;
  HttpServerStatistics statistics_;
  DateCache date_;
  std::vector<std::unique_ptr<Exchange>> spare_;
  std::vector<std::unique_ptr<Http2Stream>> spare_streams_;
  std::vector<std::string> spare_outputs_;
  std::unique_ptr<char[]> input_buffer_;
  CoreConnection* first_ = nullptr;  // each lies on its greenlet's stack
  CoreConnection* next_to_watch_ = nullptr;
  bool draining_ = false;
  Greenlet<> watcher_;
  Greenlet<> flusher_;
  std::vector<ServerConnection*> to_flush_;
  green_internal::WaiterList flush_waiters_;
};

}  // namespace grove::http::http_internal

#endif  // GROVE_NET_HTTP_INTERNAL_SERVER_CORE_H_
