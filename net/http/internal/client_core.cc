#include "grove/net/http/internal/client_core.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "grove/green/deadline_scope.h"
#include "grove/net/dial.h"
#include "grove/sync/event.h"

namespace grove::http::http_internal {
namespace {

// What a redirect may say before it is cheaper to let its connection go.
constexpr size_t kRedirectBody = 16 << 10;
constexpr absl::Duration kRedirectTime = absl::Seconds(1);

std::string OperationOf(const OutgoingRequest& request) {
  return absl::StrCat(request.method, " ", request.url.ForLog());
}

// Reads a little more, so that the connection can be used again; not for long, since a
// new one costs less.
void DropBody(IncomingBody& body, Deadline until) {
  WithDeadline(until, [&] {
    char buffer[4096];
    for (size_t done = 0; done < kRedirectBody && !until.HasPassed();) {
      const absl::StatusOr<size_t> n = body.Read(absl::MakeSpan(buffer));
      if (!n.ok() || *n == 0) return;
      done += *n;
    }
  }).IgnoreError();
}

// How often a request is sent at most.
constexpr int kMaxTries = 3;

// The body of an exchange, which keeps its client's core.
class CoreBody final : public IncomingBody {
 public:
  CoreBody(std::shared_ptr<ClientCore> core, std::unique_ptr<IncomingBody> exchange)
      : core_(std::move(core)), exchange_(std::move(exchange)) {}

  absl::StatusOr<size_t> Read(absl::Span<char> buffer) override {
    return exchange_->Read(buffer);
  }
  HeaderView trailers() const override { return exchange_->trailers(); }

 private:
  const std::shared_ptr<ClientCore> core_;  // first: ends last
  const std::unique_ptr<IncomingBody> exchange_;
};

}  // namespace

ClientCore::ClientCore(HttpClientOptions options)
    : options_(std::move(options)),
      proxies_(ProxyRules::Make(options_)),
      pools_([this](const std::string& key) {
        return ClientPools::Pool::Options{
            .connect = [](Deadline) { return std::make_unique<ClientConnection>(); },
            .is_alive = [](std::unique_ptr<ClientConnection>& c) { return c->Alive(); },
            .max_size = options_.max_connections,
            .max_idle = options_.max_idle,
            .idle_timeout = options_.idle_timeout,
            .max_lifetime = options_.max_lifetime,
            .name = absl::StrCat("HTTP connections to ", key)};
      }) {}

absl::StatusOr<ClientResponse> ClientCore::Send(const ClientRequest& request) {
  ++statistics_.requests;
  if (!proxies_.ok()) return proxies_.status();
  if (!IsFieldValue(options_.user_agent)) {
    return absl::InvalidArgumentError(
        "HttpClientOptions::user_agent is no field's value");
  }
  if (absl::Status s = CheckRequest(request); !s.ok()) return s;
  absl::StatusOr<Url> url = Url::Parse(request.url);
  if (!url.ok()) return WithPrefix(request.method, url.status());

  Call call{.request = &request,
            .timeouts = request.timeouts.value_or(options_.timeouts),
            .total = {}};
  call.total = PhaseDeadline(call.timeouts.total, Deadline());
  const bool decompress = options_.decompress && request.method != "HEAD" &&
                          !request.headers.Get("accept-encoding") &&
                          !request.headers.Get("range");
  Redirection way(request, *std::move(url), decompress);
  for (;;) {
    const std::string operation = OperationOf(way.request());
    absl::StatusOr<ReceivedResponse> response = Ask(call, way.request());
    if (!response.ok()) return WithPrefix(operation, response.status());
    response->url = way.request().url;
    response->redirects = way.count();
    response->operation = operation;
    const absl::StatusOr<bool> leads_on = way.Follow(
        *response->head, request.max_redirects.value_or(options_.max_redirects),
        options_.follow_downgrades);
    if (!leads_on.ok()) return WithPrefix(operation, leads_on.status());
    if (!*leads_on) {
      return ClientResponse(std::make_unique<ClientBody>(
          *std::move(response), decompress,
          ClientBody::Limits{options_.max_body, options_.max_decompressed}));
    }
    ++statistics_.redirects;
    // HTTP/2's connection goes on without it.
    if (response->head->version_major < 2) {
      DropBody(*response->body,
               PhaseDeadline(std::min(call.timeouts.body, kRedirectTime), call.total));
    }
  }
}

absl::StatusOr<ReceivedResponse> ClientCore::Ask(const Call& call,
                                                 const OutgoingRequest& request) {
  if (request.url.secure() && options_.secure == nullptr) {
    return absl::FailedPreconditionError(
        "https without HttpClientOptions::secure; see client_tls.h");
  }
  const Proxy* const proxy = proxies_->For(request.url);
  // What is asked of a proxy itself may go by any connection to it.
  const std::string key = proxy != nullptr && !request.url.secure()
                              ? absl::StrCat("proxy ", proxy->url.origin())
                              : request.url.origin();
  const bool replayable = request.produce == nullptr || call.request->produce_again;
  for (int tries = 1;; ++tries) {
    absl::StatusOr<Route> route = Find(call, key, request.url, proxy, tries > 1);
    if (!route.ok()) return route.status();
    bool again = false;
    absl::StatusOr<ReceivedResponse> response =
        route->session != nullptr
            ? AskByHttp2(call, request, std::move(route->session), route->reused, &again)
            : AskByHttp1(call, request, proxy, *std::move(route->connection), &again);
    if (response.ok() || !again || !replayable || tries == kMaxTries) return response;
    ++statistics_.retries;
  }
}

struct ClientCore::Attempt {
  Event over;
  // Of the server, and so for all who wait. One that has come to the end of its own time,
  // or was killed, says nothing of it.
  absl::Status failure;
};

// Of who makes it, in whatever way that ends.
class ClientCore::AttemptScope {
 public:
  AttemptScope(ClientCore* core, const std::string& key)
      : core_(core), key_(key), attempt_(std::make_shared<Attempt>()) {
    core_->attempts_.emplace(key_, attempt_);
  }
  AttemptScope(const AttemptScope&) = delete;
  AttemptScope& operator=(const AttemptScope&) = delete;
  ~AttemptScope() {
    core_->attempts_.erase(key_);
    attempt_->over.Set();
  }
  void Fail(const absl::Status& status) {
    if (!absl::IsDeadlineExceeded(status)) attempt_->failure = status;
  }

 private:
  ClientCore* const core_;
  const std::string& key_;
  const std::shared_ptr<Attempt> attempt_;
};

absl::StatusOr<ClientCore::Route> ClientCore::Find(const Call& call,
                                                   const std::string& key, const Url& url,
                                                   const Proxy* proxy, bool fresh) {
  const bool prior = options_.http2_prior_knowledge && proxy == nullptr && !url.secure();
  Deadline connect_by;  // as far as it was waited for
  for (;;) {
    if (std::shared_ptr<Http2Session> session = SessionOf(key)) {
      return Route{.session = std::move(session), .reused = true};
    }
    if (!prior && !sessions_.contains(key)) {
      return MakeRoute(call, key, url, proxy, fresh, connect_by);
    }
    const auto it = attempts_.find(key);
    if (it == attempts_.end()) break;
    const std::shared_ptr<Attempt> attempt = it->second;
    if (connect_by.infinite()) {
      const absl::Duration patience =
          call.timeouts.connect +
          (url.secure() ? call.timeouts.tls : absl::ZeroDuration());
      connect_by = PhaseDeadline(patience, call.total);
    }
    if (!attempt->over.Wait(connect_by)) {
      return absl::DeadlineExceededError(absl::StrCat(
          "connecting: another request's attempt at ", key, " takes too long"));
    }
    if (!attempt->failure.ok()) return attempt->failure;
  }
  AttemptScope attempt(this, key);
  absl::StatusOr<Route> route = MakeRoute(call, key, url, proxy, fresh, connect_by);
  if (!route.ok()) attempt.Fail(route.status());
  return route;
}

absl::StatusOr<ClientCore::Route> ClientCore::MakeRoute(const Call& call,
                                                        const std::string& key,
                                                        const Url& url,
                                                        const Proxy* proxy, bool fresh,
                                                        Deadline connect_by) {
  absl::StatusOr<ClientPools::Lease> lease = pools_.Get(key, call.total);
  if (!lease.ok()) return PhaseStatus("waiting for a connection", lease.status());
  ConnectionLease connection(*std::move(lease));
  // Meanwhile.
  if (std::shared_ptr<Http2Session> session = SessionOf(key)) {
    return Route{.session = std::move(session), .reused = true};
  }
  if (fresh) connection->Drop();  // the second time nothing is left to chance
  if (connection->stream != nullptr) {
    Route route{.reused = true};
    route.connection.emplace(std::move(connection));
    return route;
  }
  bool http2 = false;
  const absl::Status s = Connect(call, url, proxy, connect_by, *connection, &http2);
  if (!s.ok()) return s;
  if (closed_) return absl::FailedPreconditionError("the client is closed");
  Route route;
  if (!http2) {
    if (const auto it = sessions_.find(key); it != sessions_.end() && !it->second) {
      sessions_.erase(it);  // not any more
    }
    route.connection.emplace(std::move(connection));
    return route;
  }
  // Somebody else may have been faster: one is enough.
  if (std::shared_ptr<Http2Session> session = SessionOf(key)) {
    return Route{.session = std::move(session), .reused = true};
  }
  ++statistics_.http2_connections;
  route.session = std::make_shared<Http2Session>(std::move(connection->stream),
                                                 connection->peer, &options_);
  // What was there, if anything was, ends behind the map's back: that may block.
  const auto before = std::exchange(sessions_[key], route.session);
  DropUnused();
  return route;
}

std::shared_ptr<Http2Session> ClientCore::SessionOf(const std::string& key) {
  for (;;) {
    const auto it = sessions_.find(key);
    if (it == sessions_.end() || it->second == nullptr) return nullptr;
    if (it->second->usable()) return it->second;
    // Out of the map first: its end waits for its greenlets, and meanwhile somebody else
    // may make one.
    const std::shared_ptr<Http2Session> gone = std::move(it->second);
  }
}

// Of servers that nobody has asked for a while.
void ClientCore::DropUnused() {
  // Out of the map first: the end of a session waits for its greenlets.
  std::vector<std::shared_ptr<Http2Session>> gone;
  std::erase_if(sessions_, [&](auto& entry) {
    if (entry.second != nullptr && entry.second->usable()) return false;
    gone.push_back(std::move(entry.second));
    return true;
  });
}

absl::StatusOr<ReceivedResponse> ClientCore::AskByHttp1(const Call& call,
                                                        const OutgoingRequest& request,
                                                        const Proxy* proxy,
                                                        ConnectionLease connection,
                                                        bool* again) {
  const bool by_proxy = proxy != nullptr && !request.url.secure();
  const bool reused = std::exchange(connection->used, true);
  auto exchange = std::make_unique<Http1Exchange>(
      std::move(connection),
      Http1Exchange::Parameters{
          .options = &options_,
          .timeouts = call.timeouts,
          .total = call.total,
          .absolute_form = by_proxy,
          .proxy_authorization = by_proxy ? proxy->authorization : ""});
  const absl::Status s = exchange->Run(request);
  if (s.ok()) {
    ReceivedResponse response;
    response.head = exchange->TakeHead();
    response.body = std::make_unique<CoreBody>(shared_from_this(), std::move(exchange));
    return response;
  }
  // RFC 9112, 9.3.1: a connection may end just when it is used again; the server then has
  // not answered, but may have acted. Asking again is for what may be done twice.
  *again = reused && !exchange->begun() && !exchange->producer_failed() &&
           !absl::IsDeadlineExceeded(s) && IsIdempotent(request.method);
  return s;
}

absl::StatusOr<ReceivedResponse> ClientCore::AskByHttp2(
    const Call& call, const OutgoingRequest& request,
    std::shared_ptr<Http2Session> session, bool reused, bool* again) {
  auto exchange = std::make_unique<Http2Exchange>(session, call.timeouts, call.total);
  const absl::Status s = exchange->Run(request);
  if (s.ok()) {
    ReceivedResponse response;
    response.head = exchange->TakeHead();
    response.body = std::make_unique<CoreBody>(shared_from_this(), std::move(exchange));
    return response;
  }
  if (exchange->producer_failed() || absl::IsDeadlineExceeded(s)) return s;
  // RFC 9113, 8.7: what was refused nobody has looked at.
  *again = exchange->refused() || (reused && !session->usable() && !exchange->begun() &&
                                   IsIdempotent(request.method));
  return s;
}

size_t ClientCore::Close(Deadline deadline) {
  closed_ = true;
  // Their ends may wait, and responses may keep them.
  const auto sessions = std::exchange(sessions_, {});
  return pools_.Close(deadline);
}

absl::StatusOr<std::unique_ptr<net::Stream>> ClientCore::Dial(
    const ClientEndpoint& endpoint, Deadline deadline) {
  if (options_.dial != nullptr) return options_.dial(endpoint, deadline);
  absl::StatusOr<net::TcpStream> stream =
      net::Dial(endpoint.host, endpoint.port, {.deadline = deadline});
  if (!stream.ok()) return stream.status();
  return std::make_unique<net::TcpStream>(*std::move(stream));
}

absl::Status ClientCore::Connect(const Call& call, const Url& url, const Proxy* proxy,
                                 Deadline connect_by, ClientConnection& connection,
                                 bool* http2) {
  const Deadline total = std::min(call.total, connect_by);
  const Deadline deadline = PhaseDeadline(call.timeouts.connect, total);
  const Url& next = proxy != nullptr ? proxy->url : url;
  absl::StatusOr<std::unique_ptr<net::Stream>> stream =
      Dial({.host = next.host(), .port = next.port()}, deadline);
  if (!stream.ok()) return PhaseStatus("connecting", stream.status());
  connection.stream = *std::move(stream);
  connection.peer = connection.stream->Describe();
  if (url.secure()) {
    if (proxy != nullptr) {
      const absl::Status s = OpenTunnel(connection, url, *proxy, options_, deadline);
      if (!s.ok()) {
        return WithPrefix(absl::StrCat("proxy ", proxy->url.host_and_port()), s);
      }
    }
    absl::StatusOr<SecuredStream> secured =
        // Certificates and SNI know names without a dot at their end (RFC 6066, 3).
        options_.secure(std::move(connection.stream),
                        std::string(absl::StripSuffix(url.host(), ".")),
                        PhaseDeadline(call.timeouts.tls, total));
    if (!secured.ok()) return PhaseStatus("the TLS handshake", secured.status());
    connection.stream = std::move(secured->stream);
    *http2 = secured->alpn == "h2";
  } else {
    *http2 = options_.http2_prior_knowledge && proxy == nullptr;
  }
  return absl::OkStatus();
}

absl::Status OpenTunnel(ClientConnection& connection, const Url& url, const Proxy& proxy,
                        const HttpClientOptions& options, Deadline deadline) {
  std::string head = absl::StrCat("CONNECT ", url.host_and_port(),
                                  " HTTP/1.1\r\nHost: ", url.host_and_port(), "\r\n");
  if (!proxy.authorization.empty()) {
    absl::StrAppend(&head, "Proxy-Authorization: ", proxy.authorization, "\r\n");
  }
  if (!options.user_agent.empty()) {
    absl::StrAppend(&head, "User-Agent: ", options.user_agent, "\r\n");
  }
  absl::StrAppend(&head, "\r\n");
  if (absl::Status s = connection.stream->Write(head, deadline); !s.ok()) return s;
  ResponseHead response;
  bool begun = false;
  for (int i = 0;; ++i) {
    const absl::Status s = ReadHead(
        connection, "CONNECT", {.head = options.max_head, .fields = options.max_fields},
        deadline, &begun, &response);
    if (!s.ok()) return s;
    if (response.status >= 200) break;
    if (i >= options.max_interim || response.status == 101) {
      return absl::DataLossError("interim responses, and nothing else");
    }
  }
  if (response.status < 300) {
    // The server cannot have spoken yet: TLS begins with the client.
    if (connection.unread().empty()) return absl::OkStatus();
    return absl::DataLossError("there is something behind its answer to CONNECT");
  }
  const absl::StatusCode code =
      response.status == 407   ? absl::StatusCode::kUnauthenticated
      : response.status == 403 ? absl::StatusCode::kPermissionDenied
                               : absl::StatusCode::kUnavailable;
  return absl::Status(code, absl::StrCat("it answered CONNECT with ", response.status,
                                         " ", response.reason));
}

}  // namespace grove::http::http_internal
