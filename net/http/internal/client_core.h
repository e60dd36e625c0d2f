#ifndef GROVE_NET_HTTP_INTERNAL_CLIENT_CORE_H_
#define GROVE_NET_HTTP_INTERNAL_CLIENT_CORE_H_

#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "grove/hub/deadline.h"
#include "grove/net/http/client.h"
#include "grove/net/http/internal/client_body.h"
#include "grove/net/http/internal/client_http1.h"
#include "grove/net/http/internal/client_http2.h"
#include "grove/net/http/internal/client_proxy.h"
#include "grove/net/http/internal/client_transport.h"

namespace grove::http::http_internal {

// ClientCore
//
// What is behind an HttpClient, and outlives it while there are responses: connections,
// and the way of a request through redirects and retries.
class ClientCore : public std::enable_shared_from_this<ClientCore> {
 public:
  explicit ClientCore(HttpClientOptions options);
  ClientCore(const ClientCore&) = delete;
  ClientCore& operator=(const ClientCore&) = delete;

  absl::StatusOr<ClientResponse> Send(const ClientRequest& request);
  size_t Close(Deadline deadline);
  const HttpClientStatistics& statistics() const { return statistics_; }
  std::map<std::string, net::ConnectionPoolStatistics> connections() const {
    return pools_.statistics();
  }

 private:
  // What stays the same for all of a Send().
  struct Call {
    const ClientRequest* request;
    ClientTimeouts timeouts;
    Deadline total;
  };

  // A response, of one server, whatever it says.
  absl::StatusOr<ReceivedResponse> Ask(const Call& call, const OutgoingRequest& request);
  absl::StatusOr<ReceivedResponse> AskByHttp1(const Call& call,
                                              const OutgoingRequest& request,
                                              const Proxy* proxy,
                                              ConnectionLease connection, bool* again);
  absl::StatusOr<ReceivedResponse> AskByHttp2(const Call& call,
                                              const OutgoingRequest& request,
                                              std::shared_ptr<Http2Session> session,
                                              bool reused, bool* again);
  // What a request goes out on: one of the two.
  struct Route {
    std::shared_ptr<Http2Session> session = nullptr;
    std::optional<ConnectionLease> connection = std::nullopt;
    bool reused = false;
  };
  absl::StatusOr<Route> Find(const Call& call, const std::string& key, const Url& url,
                             const Proxy* proxy, bool fresh);
  // Of those that are known to speak HTTP/2, one connects, and the others wait for it.
  struct Attempt;
  class AttemptScope;
  absl::StatusOr<Route> MakeRoute(const Call& call, const std::string& key,
                                  const Url& url, const Proxy* proxy, bool fresh,
                                  Deadline connect_by);
  // Null: none that takes requests.
  std::shared_ptr<Http2Session> SessionOf(const std::string& key);
  void DropUnused();
  absl::Status Connect(const Call& call, const Url& url, const Proxy* proxy,
                       Deadline connect_by, ClientConnection& connection, bool* http2);
  absl::StatusOr<std::unique_ptr<net::Stream>> Dial(const ClientEndpoint& endpoint,
                                                    Deadline deadline);

  const HttpClientOptions options_;
  const absl::StatusOr<ProxyRules> proxies_;
  HttpClientStatistics statistics_;
  ClientPools pools_;
  // Null: it has spoken HTTP/2, and has no connection now.
  std::map<std::string, std::shared_ptr<Http2Session>> sessions_;
  std::map<std::string, std::shared_ptr<Attempt>> attempts_;
  bool closed_ = false;
};

// CheckRequest()
//
// kInvalidArgument for what is no request, or not the caller's to say.
absl::Status CheckRequest(const ClientRequest& request);

// Whether asking twice is as good as asking once (RFC 9110, 9.2.2).
bool IsIdempotent(absl::string_view method);

// Redirection
//
// The request as redirects change it: `headers` and `request` are what is sent next.
class Redirection {
 public:
  Redirection(const ClientRequest& request, Url url, bool accept_encoding);
  Redirection(const Redirection&) = delete;

  const OutgoingRequest& request() const { return request_; }
  int count() const { return count_; }

  // Redirection::Follow()
  //
  // Whether this response leads elsewhere, and then to where; an error if it must not.
  absl::StatusOr<bool> Follow(const ResponseHead& head, int max, bool downgrades);

 private:
  void DropHeaders(bool (*drops)(absl::string_view name));
  void BecomeGet();

  const ClientRequest& original_;
  OutgoingRequest request_;
  HeaderMap headers_;
  int count_ = 0;
};

// OpenTunnel()
//
// Asks a proxy for a connection to `url`'s host (RFC 9110, 9.3.6).
absl::Status OpenTunnel(ClientConnection& connection, const Url& url, const Proxy& proxy,
                        const HttpClientOptions& options, Deadline deadline);

}  // namespace grove::http::http_internal

#endif  // GROVE_NET_HTTP_INTERNAL_CLIENT_CORE_H_
