// Forwards TCP connections to another address: what ssh -L does, without the ssh.
//
//   bazel run //examples:port_forwarder -- --listen=127.0.0.1:7001 --to=example.org:80
//   curl -H 'Host: example.org' http://127.0.0.1:7001/
//
// Look at Forward(): Relay() passes on the end of one direction (a half-closed
// connection), and leaves the other alone, while an error of one ends both. Whoever is
// cut off gets a reset, never an end that looks like a whole answer.
//
// SIGINT and SIGTERM end it cleanly: it accepts no more, connections that are open go on
// to their ends, and those that have not come to it within --grace are reset.

#include <stdio.h>

#include <string>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "grove/examples/listen.h"
#include "grove/examples/parse_flags.h"
#include "grove/green/shutdown.h"
#include "grove/net/dial.h"
#include "grove/net/relay.h"
#include "grove/net/server.h"
#include "grove/net/tcp.h"

ABSL_FLAG(std::string, listen, "127.0.0.1:7001", "address to listen at");
ABSL_FLAG(std::string, to, "", "HOST:PORT to forward to");
ABSL_FLAG(absl::Duration, connect_timeout, absl::Seconds(10),
          "how long connecting to it may take, its name's lookup included");
ABSL_FLAG(absl::Duration, idle_limit, absl::InfiniteDuration(),
          "a connection over which nothing has gone for so long is cut");
ABSL_FLAG(int, max_connections, 10'000, "more wait until one ends");
ABSL_FLAG(absl::Duration, grace, absl::Seconds(30),
          "how long open connections may go on after SIGINT or SIGTERM");

namespace {

using grove::examples::ListenAt;
using grove::examples::ParseFlags;
using grove::examples::Refuse;
using grove::net::HostAndPort;
using grove::net::Relay;
using grove::net::StopReport;
using grove::net::StreamServer;
using grove::net::TcpStream;

void Forward(TcpStream& client, const HostAndPort& to) {
  absl::Cleanup refuse = [&] { client.Abort(); };
  absl::StatusOr<TcpStream> server = grove::net::Dial(
      to.host, to.port, {.deadline = absl::GetFlag(FLAGS_connect_timeout)});
  if (!server.ok()) {
    fprintf(stderr, "port_forwarder: %s\n", server.status().ToString().c_str());
    return;
  }
  std::move(refuse).Cancel();
  Relay(client, *server, {.idle_limit = absl::GetFlag(FLAGS_idle_limit)}).IgnoreError();
}

}  // namespace

int main(int argc, char** argv) {
  ParseFlags(argc, argv,
             "Forwards TCP connections to another address.\n"
             "  port_forwarder --to=HOST:PORT [--listen=127.0.0.1:7001] [--grace=30s] "
             "[--connect_timeout=10s] [--idle_limit=inf] [--max_connections=10000]");
  const absl::StatusOr<HostAndPort> to =
      grove::net::ParseHostAndPort(absl::GetFlag(FLAGS_to));
  if (!to.ok()) Refuse(absl::StrCat("--to: ", to.status().message()));
  const int max_connections = absl::GetFlag(FLAGS_max_connections);
  if (max_connections < 1) Refuse("--max_connections: at least one is needed");

  grove::ShutdownScope shutdown({.grace = absl::GetFlag(FLAGS_grace)});

  StreamServer server(
      ListenAt(absl::GetFlag(FLAGS_listen)),
      [&](TcpStream& client) { Forward(client, *to); },
      {.max_connections = static_cast<size_t>(max_connections),
       // By default a drain ends reading, which the other side would take for the
       // client's own end: half an upload would look like a whole one.
       .on_drain = [](grove::net::Stream&) {},
       .name = "forwarder"});
  server.Start();
  StopReport report;
  const grove::ShutdownHook drain =
      grove::OnShutdown(grove::ShutdownPhase::kDrain, "forwarder",
                        [&](grove::Deadline d) { report = server.Stop(d.Remaining()); });
  printf("listening on %s\n", server.description().c_str());
  fflush(stdout);

  const int exit_code = shutdown.Run();
  printf("forwarded %llu connections; %zu were cut\n",
         static_cast<unsigned long long>(server.accepted()), report.cut);
  return exit_code;
}
