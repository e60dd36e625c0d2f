// A multi-core echo server: one hub per core, each with its own listener at the same
// address, a greenlet per connection, plain blocking code.
//
//   bazel run //examples:echo_server -- --port=7000
//   bazel run //examples:echo_client -- --port=7000
//
// SIGINT and SIGTERM end it cleanly: it accepts no more, finishes what it has within
// --grace, and says what it served. A second signal ends it at once.
//
// Look at Serve(): a hub's server, its handler and its part of the orderly end; and at
// main(), which gives each hub a listener (on_hubs.h).

#include <stdio.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/time/time.h"
#include "grove/examples/on_hubs.h"
#include "grove/examples/parse_flags.h"
#include "grove/green/hub_group.h"
#include "grove/green/shutdown.h"
#include "grove/net/copy.h"
#include "grove/net/server.h"
#include "grove/net/tcp.h"

ABSL_FLAG(std::string, host, "127.0.0.1", "IP address to listen at");
ABSL_FLAG(int, port, 7000, "port to listen at; 0 takes a free one");
ABSL_FLAG(int, hubs, static_cast<int>(grove::AllowedCores().size()),
          "hubs, each a thread with its own listener; the default is one per core that "
          "this process may use");
ABSL_FLAG(bool, by_core, false,
          "a connection is served by the core that receives it, and not by any");
ABSL_FLAG(absl::Duration, grace, absl::Seconds(5),
          "how long open connections may go on after SIGINT or SIGTERM");

namespace {

using grove::examples::HubListeners;
using grove::examples::ListenOnHubs;
using grove::examples::OnHubs;
using grove::examples::ParseFlags;
using grove::net::Copy;
using grove::net::StreamServer;
using grove::net::TcpListener;
using grove::net::TcpStream;

// What one hub has served. Each has its own, and no hub writes another's; two cache lines
// apart, as processors fetch them in pairs.
struct alignas(128) Served {
  uint64_t connections = 0;
  uint64_t bytes = 0;
  uint64_t cut = 0;
};

void Serve(int listening_fd, Served& served) {
  StreamServer server(*TcpListener::Adopt(listening_fd), [&served](TcpStream& stream) {
    // Its peer may end it as it likes.
    Copy(stream, stream, &served.bytes).IgnoreError();
  });
  const grove::ShutdownHook drain =
      grove::OnShutdown(grove::ShutdownPhase::kDrain, "echo",
                        [&](grove::Deadline d) { server.Stop(d.Remaining()); });
  if (absl::Status s = server.Serve(); !s.ok()) {
    fprintf(stderr, "echo_server: %s\n", s.ToString().c_str());
    grove::RequestShutdown(1);
  }
  served.connections = server.accepted();
  served.cut = server.Stop().cut;
}

}  // namespace

int main(int argc, char** argv) {
  ParseFlags(argc, argv,
             "Echoes what it receives over TCP.\n"
             "  echo_server [--host=127.0.0.1] [--port=7000] [--hubs=N] [--by_core] "
             "[--grace=5s]");
  const int hubs = absl::GetFlag(FLAGS_hubs);
  const absl::Duration grace = absl::GetFlag(FLAGS_grace);
  // Before anything else, so that no signal is lost.
  grove::ShutdownScope shutdown({.grace = grace});
  const HubListeners listeners =
      ListenOnHubs(absl::GetFlag(FLAGS_host), absl::GetFlag(FLAGS_port), hubs,
                   {.by_core = absl::GetFlag(FLAGS_by_core)});

  std::vector<Served> served(hubs);
  OnHubs servers(hubs, "echo", [&](int i) { Serve(listeners.fds[i], served[i]); });
  printf("listening on %s (%d hubs)\n", listeners.address.ToString().c_str(), hubs);
  fflush(stdout);

  const int exit_code = shutdown.Run();
  servers.Join();

  Served total;
  for (const Served& s : served) {
    total.connections += s.connections;
    total.bytes += s.bytes;
    total.cut += s.cut;
  }
  printf("served %llu connections and %llu bytes",
         static_cast<unsigned long long>(total.connections),
         static_cast<unsigned long long>(total.bytes));
  if (total.cut > 0) {
    printf("; %llu connections were cut after %s",
           static_cast<unsigned long long>(total.cut),
           absl::FormatDuration(grace).c_str());
  }
  printf("\n");
  return exit_code;
}
