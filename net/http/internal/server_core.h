#ifndef GROVE_NET_HTTP_INTERNAL_SERVER_CORE_H_
#define GROVE_NET_HTTP_INTERNAL_SERVER_CORE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/internal/core.h"
#include "grove/net/http/date.h"
#include "grove/net/http/request.h"
#include "grove/net/http/response.h"
#include "grove/net/http/server_options.h"
#include "grove/net/server_options.h"
#include "grove/net/stream.h"

namespace grove::http::http_internal {

class Exchange;
class Http1Response;
class ServerConnection;

// ServerCore
//
// What the connections of one HttpServer share: the handler, the limits, what is used
// again from request to request, and two greenlets that look after them: one for the
// times, which no connection has a timer for, and one that sends what is held back.
class ServerCore {
 public:
  using Handler = std::function<void(Request&, ResponseWriter&)>;

  ServerCore(Handler handler, HttpServerOptions options);
  ServerCore(const ServerCore&) = delete;
  ServerCore& operator=(const ServerCore&) = delete;
  ~ServerCore();

  // One connection, until its end.
  void Serve(net::Stream& stream, bool secure);
  // Connections without a request end, others after the one that they have; those with
  // another protocol are told.
  void Drain();

  net::StreamServerOptions StreamOptions() const;
  const HttpServerOptions& options() const { return options_; }
  DateCache& date() { return date_; }
  const HttpServerStatistics& statistics() const { return statistics_; }

 private:
  friend class ServerConnection;
  friend class Http1Response;

  std::unique_ptr<Exchange> TakeExchange();
  void GiveBack(std::unique_ptr<Exchange> exchange);
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
  ServerConnection* first_ = nullptr;  // each lies on its greenlet's stack
  ServerConnection* next_to_watch_ = nullptr;
  bool draining_ = false;
  Greenlet<> watcher_;
  Greenlet<> flusher_;
  std::vector<ServerConnection*> to_flush_;
  green_internal::WaiterList flush_waiters_;
};

}  // namespace grove::http::http_internal

#endif  // GROVE_NET_HTTP_INTERNAL_SERVER_CORE_H_
