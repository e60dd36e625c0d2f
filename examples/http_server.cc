// A web server: plain text, an echo, files, events, and WebSocket, over HTTP/1.1 and TLS.
//
//   bazel run //examples:http_server -- --port=8080 --root=/usr/share/doc
//   curl http://127.0.0.1:8080/
//   curl --data-binary @README.md http://127.0.0.1:8080/echo
//   curl --compressed http://127.0.0.1:8080/files/
//   curl -N 'http://127.0.0.1:8080/events?count=3&every=1s'
//   ws://127.0.0.1:8080/ws says back what it is sent
//
// SIGINT and SIGTERM end it cleanly: /healthz says 503 from then on, and for
// --drain_delay all goes on as before, so that a load balancer has time to look elsewhere
// (docs/deployment.md); then it accepts no more, and requests that it has are answered
// within --grace.
//
// Look at the table of routes, at Echo(), which sends an upload back piece by piece, and
// at the phases of the shutdown.

#include <stdio.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "grove/examples/on_hubs.h"
#include "grove/examples/parse_flags.h"
#include "grove/green/shutdown.h"
#include "grove/green/sleep.h"
#include "grove/net/http/compress.h"
#include "grove/net/http/event_stream.h"
#include "grove/net/http/router.h"
#include "grove/net/http/server.h"
#include "grove/net/http/static_files.h"
#include "grove/net/http/websocket.h"
#include "grove/net/tcp.h"
#include "grove/net/tls.h"
#include "grove/net/tls_listener.h"

ABSL_FLAG(std::string, host, "127.0.0.1", "IP address to listen at");
ABSL_FLAG(int, port, 8080, "port to listen at; 0 takes a free one");
ABSL_FLAG(int, hubs, static_cast<int>(grove::AllowedCores().size()),
          "hubs, each a thread with its own listener; the default is one per core that "
          "this process may use");
ABSL_FLAG(std::string, root, "", "the folder to serve below /files/; none if empty");
ABSL_FLAG(bool, listing, true, "list folders that have no index.html");
ABSL_FLAG(bool, precompressed, false,
          "send name.br and name.gz, where they are, in place of name");
ABSL_FLAG(bool, compress, true, "compress texts for clients that take it");
ABSL_FLAG(std::string, tls_cert, "", "file with the certificate chain, in PEM, for TLS");
ABSL_FLAG(std::string, tls_key, "", "file with its private key, in PEM");
ABSL_FLAG(bool, access_log, false, "a line on stdout for each request");
ABSL_FLAG(absl::Duration, drain_delay, absl::ZeroDuration(),
          "how long it accepts more after SIGINT or SIGTERM, while /healthz says 503");
ABSL_FLAG(absl::Duration, grace, absl::Seconds(5),
          "how long requests may go on after that");

namespace {

using grove::examples::HubListeners;
using grove::examples::ListenOnHubs;
using grove::examples::OnHubs;
using grove::examples::ParseFlags;
using grove::examples::Refuse;
using grove::http::EventStream;
using grove::http::HttpServer;
using grove::http::HttpServerOptions;
using grove::http::Request;
using grove::http::ResponseWriter;
using grove::http::Router;
using grove::http::WebSocket;
using grove::net::TcpListener;
using grove::net::TlsListener;
using grove::net::TlsServerContext;

void Hello(Request&, ResponseWriter& response) {
  response.Send(200, "text/plain", "Hello, world!").IgnoreError();
}

// What comes goes back at once, however much it is.
void Echo(Request& request, ResponseWriter& response) {
  const auto type = request.headers().Get("Content-Type");
  response.headers().Set("Content-Type", type.value_or("application/octet-stream"));
  std::vector<char> buffer(16 << 10);
  for (;;) {
    const absl::StatusOr<size_t> n = request.body().Read(absl::MakeSpan(buffer));
    // Half a request is no whole response: what a handler throws spoils it.
    if (!n.ok()) throw std::runtime_error(n.status().ToString());
    if (*n == 0) return;
    if (!response.Write({buffer.data(), *n}).ok()) return;
  }
}

// Server-sent events: a number each time that ?every= has passed, as many as ?count=
// says. A client that connects again goes on behind the last one that it has seen.
void Events(Request& request, ResponseWriter& response) {
  int count = 10;
  absl::Duration every = absl::Milliseconds(100);
  for (absl::string_view part : absl::StrSplit(request.query(), '&', absl::SkipEmpty())) {
    const bool good =
        (absl::ConsumePrefix(&part, "count=") && absl::SimpleAtoi(part, &count) &&
         count >= 0) ||
        (absl::ConsumePrefix(&part, "every=") &&
         absl::ParseDuration(std::string(part), &every) && every >= absl::ZeroDuration());
    if (!good) {
      response.Send(400, "text/plain", "?count=NUMBER&every=DURATION\n").IgnoreError();
      return;
    }
  }
  grove::http::ServeEvents(request, response, [&](EventStream& events) {
    int64_t seen = -1;
    if (!absl::SimpleAtoi(events.last_event_id().value_or("-1"), &seen) || seen < -1 ||
        seen > int64_t{1} << 53) {
      seen = -1;
    }
    for (int i = 0; i < count; ++i) {
      if (i > 0) grove::Sleep(every);
      const std::string number = absl::StrCat(seen + 1 + i);
      if (!events.Send({.data = number, .id = number}).ok()) return;
    }
  }).IgnoreError();
}

// A WebSocket: each message comes back as it is, up to 16 MiB, until either end closes.
void EchoMessages(Request& request, ResponseWriter& response) {
  absl::StatusOr<WebSocket> ws = grove::http::AcceptWebSocket(
      request, response, {.max_message = 16 << 20, .deflate = {.enabled = true}});
  if (!ws.ok()) return;  // it was answered
  std::string data;
  for (;;) {
    const absl::StatusOr<std::optional<WebSocket::Type>> type = ws->ReceiveInto(data);
    if (!type.ok() || !type->has_value()) break;
    if (!ws->Send(**type, data).ok()) break;
  }
  ws->Close().IgnoreError();
}

// Whether this server wants requests: not, once its end has begun.
void Health(Request&, ResponseWriter& response) {
  response.headers().Set("Cache-Control", "no-store");
  const bool ending = grove::ShutdownRequested();
  response.Send(ending ? 503 : 200, "text/plain", ending ? "ending\n" : "ok\n")
      .IgnoreError();
}

Router MakeRouter() {
  Router router;
  if (absl::GetFlag(FLAGS_compress)) router.Use(grove::http::Compress());
  router.Handle("GET", "/healthz", &Health);
  router.Handle("GET", "/", &Hello);
  router.Handle("POST", "/echo", &Echo);
  router.Handle("PUT", "/echo", &Echo);
  router.Handle("GET", "/events", &Events);
  router.Handle("GET", "/ws", &EchoMessages);
  if (const std::string root = absl::GetFlag(FLAGS_root); !root.empty()) {
    grove::http::StaticFilesOptions options;
    options.root = root;
    options.listing = absl::GetFlag(FLAGS_listing);
    if (absl::GetFlag(FLAGS_precompressed)) options.precompressed = {"br", "gzip"};
    router.Handle("GET", "/files/{path...}", grove::http::StaticFiles(options));
  }
  return router;
}

std::optional<TlsServerContext> MakeTls() {
  const std::string cert = absl::GetFlag(FLAGS_tls_cert);
  const std::string key = absl::GetFlag(FLAGS_tls_key);
  if (cert.empty() && key.empty()) return std::nullopt;
  absl::StatusOr<TlsServerContext> context =
      TlsServerContext::Make({.identities = {{.chain_file = cert, .key_file = key}},
                              .alpn = {"h2", "http/1.1"}});
  if (!context.ok()) Refuse(std::string(context.status().message()));
  return *std::move(context);
}

void Serve(int listening_fd, const std::optional<TlsServerContext>& tls,
           const Router& router) {
  HttpServerOptions options;
  if (absl::GetFlag(FLAGS_access_log)) {
    options.access_log = [](const grove::http::AccessRecord& record) {
      printf("%s\n", grove::http::FormatCombined(record).c_str());
      fflush(stdout);
    };
  }
  TcpListener listener = *TcpListener::Adopt(listening_fd);
  const auto server =
      tls ? std::make_unique<HttpServer>(TlsListener(std::move(listener), *tls), router,
                                         std::move(options))
          : std::make_unique<HttpServer>(std::move(listener), router, std::move(options));
  const grove::ShutdownHook drain =
      grove::OnShutdown(grove::ShutdownPhase::kDrain, "http",
                        [&](grove::Deadline d) { server->Stop(d.Remaining()); });
  if (absl::Status s = server->Serve(); !s.ok()) {
    fprintf(stderr, "http_server: %s\n", s.ToString().c_str());
    grove::RequestShutdown(1);
  }
  server->Stop();
}

}  // namespace

int main(int argc, char** argv) {
  ParseFlags(argc, argv,
             "Serves HTTP/1.1 and HTTP/2.\n"
             "  http_server [--host=127.0.0.1] [--port=8080] [--hubs=N] [--root=DIR] "
             "[--nolisting] [--precompressed] [--nocompress] "
             "[--tls_cert=FILE --tls_key=FILE] [--access_log] [--drain_delay=0s] "
             "[--grace=5s]");
  const int hubs = absl::GetFlag(FLAGS_hubs);
  const std::optional<TlsServerContext> tls = MakeTls();

  const absl::Duration drain_delay = absl::GetFlag(FLAGS_drain_delay);
  grove::ShutdownScope shutdown({.grace = drain_delay + absl::GetFlag(FLAGS_grace)});
  // The first phase: the servers' own end, kDrain, comes when this has ended.
  const grove::ShutdownHook wait =
      grove::OnShutdown(grove::ShutdownPhase::kStopAccepting, "drain delay",
                        [drain_delay](grove::Deadline) { grove::Sleep(drain_delay); });
  const HubListeners listeners =
      ListenOnHubs(absl::GetFlag(FLAGS_host), absl::GetFlag(FLAGS_port), hubs);

  const Router router = MakeRouter();  // each hub takes a copy
  OnHubs servers(hubs, "http", [&](int i) { Serve(listeners.fds[i], tls, router); });
  printf("listening on %s (%d hubs)\n", listeners.address.ToString().c_str(), hubs);
  fflush(stdout);

  const int exit_code = shutdown.Run();
  servers.Join();
  return exit_code;
}
