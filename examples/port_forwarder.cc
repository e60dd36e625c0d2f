// Forwards TCP connections to another address: what ssh -L does, without the ssh.
//
//   bazel run //examples:port_forwarder -- --listen=127.0.0.1:7001 --to=example.org:80
//   curl -H 'Host: example.org' http://127.0.0.1:7001/
//
// Look at Forward(): both directions are a TaskGroup, so that an error in one ends the
// other, while an end in one (a half-closed connection) is passed on and leaves the other
// alone. Whoever is cut off gets a reset, never an end that looks like a whole answer.
//
// SIGINT and SIGTERM end it cleanly: it accepts no more, connections that are open go on
// to their ends, and those that have not come to it within --grace are reset.

#include <stdio.h>

#include <string>
#include <utility>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "grove/examples/parse_flags.h"
#include "grove/green/shutdown.h"
#include "grove/green/task_group.h"
#include "grove/net/copy.h"
#include "grove/net/dial.h"
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

using grove::examples::ParseFlags;
using grove::examples::Refuse;
using grove::net::Address;
using grove::net::Copy;
using grove::net::HostAndPort;
using grove::net::StopReport;
using grove::net::StreamServer;
using grove::net::TcpListener;
using grove::net::TcpStream;

// One direction. The end of what is sent is passed on; the other direction may go on.
absl::Status CopyAll(TcpStream& from, TcpStream& to) {
  if (absl::Status s = Copy(from, to); !s.ok()) return s;
  return to.ShutdownWrite();
}

// Unless all goes well, be it an error or the end of the grace, nobody may take what he
// has got for all there is.
struct ResetUnless {
  const bool& whole;
  TcpStream& stream;
  ~ResetUnless() {
    if (!whole) stream.Abort();
  }
};

void Forward(TcpStream& client, const HostAndPort& to) {
  bool whole = false;
  const ResetUnless client_end{whole, client};
  absl::StatusOr<TcpStream> server = grove::net::Dial(
      to.host, to.port, {.deadline = absl::GetFlag(FLAGS_connect_timeout)});
  if (!server.ok()) {
    fprintf(stderr, "port_forwarder: %s\n", server.status().ToString().c_str());
    return;
  }
  const ResetUnless server_end{whole, *server};
  grove::TaskGroup both({.name = "forward"});
  both.Spawn([&] { return CopyAll(client, *server); });
  both.Spawn([&] { return CopyAll(*server, client); });
  whole = both.Join().ok();
}

}  // namespace

int main(int argc, char** argv) {
  ParseFlags(argc, argv,
             "Forwards TCP connections to another address.\n"
             "  port_forwarder --to=HOST:PORT [--listen=127.0.0.1:7001] [--grace=30s] "
             "[--connect_timeout=10s] [--idle_limit=inf] [--max_connections=10000]");
  const absl::StatusOr<Address> listen = Address::Parse(absl::GetFlag(FLAGS_listen));
  if (!listen.ok()) Refuse(absl::StrCat("--listen: ", listen.status().message()));
  const absl::StatusOr<HostAndPort> to =
      grove::net::ParseHostAndPort(absl::GetFlag(FLAGS_to));
  if (!to.ok()) Refuse(absl::StrCat("--to: ", to.status().message()));
  const int max_connections = absl::GetFlag(FLAGS_max_connections);
  if (max_connections < 1) Refuse("--max_connections: at least one is needed");

  grove::ShutdownScope shutdown({.grace = absl::GetFlag(FLAGS_grace)});
  absl::StatusOr<TcpListener> listener = TcpListener::Listen(*listen);
  if (!listener.ok()) Refuse(std::string(listener.status().message()));

  StreamServer server(
      *std::move(listener), [&](TcpStream& client) { Forward(client, *to); },
      {.max_connections = static_cast<size_t>(max_connections),
       .idle_limit = absl::GetFlag(FLAGS_idle_limit),
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
