// Answers datagrams over UDP: each comes back in capitals.
//
//   bazel run //examples:udp_server -- --listen=127.0.0.1:7002
//   bazel run //examples:udp_client -- --to=127.0.0.1:7002 hello world
//
// Look at the handler: it runs in a greenlet for each datagram, so it may wait (--delay)
// while others are answered. Up to --max_in_flight of them run at once; what comes
// meanwhile is dropped and counted, as a network would do.
//
// SIGINT and SIGTERM end it: what has arrived by then is answered, within --grace.

#include <stdio.h>

#include <cstdint>
#include <string>
#include <utility>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "grove/examples/parse_flags.h"
#include "grove/green/shutdown.h"
#include "grove/green/sleep.h"
#include "grove/net/datagram_server.h"
#include "grove/net/udp.h"

ABSL_FLAG(std::string, listen, "127.0.0.1:7002", "address to receive at");
ABSL_FLAG(absl::Duration, delay, absl::ZeroDuration(),
          "how long the handler waits before it answers");
ABSL_FLAG(int, max_in_flight, 1000, "handlers that run at once; more are dropped");
ABSL_FLAG(absl::Duration, grace, absl::Seconds(5),
          "how long handlers may go on after SIGINT or SIGTERM");

using grove::examples::ParseFlags;
using grove::examples::Refuse;
using grove::net::Address;
using grove::net::DatagramServer;
using grove::net::UdpSocket;

int main(int argc, char** argv) {
  ParseFlags(argc, argv,
             "Answers datagrams over UDP, in capitals.\n"
             "  udp_server [--listen=127.0.0.1:7002] [--delay=0s] [--max_in_flight=1000] "
             "[--grace=5s]");
  const absl::StatusOr<Address> listen = Address::Parse(absl::GetFlag(FLAGS_listen));
  if (!listen.ok()) Refuse(absl::StrCat("--listen: ", listen.status().message()));
  const int max_in_flight = absl::GetFlag(FLAGS_max_in_flight);
  if (max_in_flight < 1) Refuse("--max_in_flight: at least one is needed");
  const absl::Duration delay = absl::GetFlag(FLAGS_delay);

  grove::ShutdownScope shutdown({.grace = absl::GetFlag(FLAGS_grace)});
  absl::StatusOr<UdpSocket> socket = UdpSocket::Bind(*listen);
  if (!socket.ok()) Refuse(std::string(socket.status().message()));
  const absl::StatusOr<Address> actual = socket->local_address();
  if (!actual.ok()) Refuse(std::string(actual.status().message()));

  uint64_t answered = 0;
  DatagramServer server(
      *std::move(socket),
      [&](absl::string_view data, const Address& peer, DatagramServer::Sender& sender) {
        grove::Sleep(delay);
        if (absl::Status s = sender.SendTo(absl::AsciiStrToUpper(data), peer); s.ok()) {
          ++answered;
        } else {
          fprintf(stderr, "udp_server: %s\n", s.ToString().c_str());
        }
      },
      // The largest datagrams that there are, so that none is cut short.
      {.max_in_flight = static_cast<size_t>(max_in_flight), .max_bytes = 65'507});
  server.Start();
  const grove::ShutdownHook drain =
      grove::OnShutdown(grove::ShutdownPhase::kDrain, "udp",
                        [&](grove::Deadline d) { server.Stop(d.Remaining()); });
  printf("listening on %s\n", actual->ToString().c_str());
  fflush(stdout);

  const int exit_code = shutdown.Run();
  printf("received %llu datagrams, answered %llu, dropped %llu\n",
         static_cast<unsigned long long>(server.statistics().received),
         static_cast<unsigned long long>(answered),
         static_cast<unsigned long long>(server.statistics().dropped));
  return exit_code;
}
