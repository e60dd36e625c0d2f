// Sends to each connection for as long as that reads, over TLS: what tls.cc measures bulk
// transfers by.
//
//   tls_source --chain=FILE --key=FILE [--port=0]

#include <stdio.h>

#include <string>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "grove/green/greenlet.h"
#include "grove/green/shutdown.h"
#include "grove/net/server.h"
#include "grove/net/tcp.h"
#include "grove/net/tls.h"

ABSL_FLAG(std::string, host, "127.0.0.1", "IP address to listen at");
ABSL_FLAG(int, port, 0, "port to listen at");
ABSL_FLAG(std::string, chain, "", "file with the certificate chain, in PEM");
ABSL_FLAG(std::string, key, "", "file with its private key, in PEM");

int main(int argc, char** argv) {
  using namespace grove::net;  // NOLINT: a program of one function
  absl::ParseCommandLine(argc, argv);
  const absl::StatusOr<TlsServerContext> context =
      TlsServerContext::Make({.identities = {{.chain_file = absl::GetFlag(FLAGS_chain),
                                              .key_file = absl::GetFlag(FLAGS_key)}}});
  if (!context.ok()) {
    fprintf(stderr, "tls_source: %s\n", context.status().ToString().c_str());
    return 1;
  }
  grove::ShutdownScope shutdown;
  absl::StatusOr<TcpListener> listener = TcpListener::Listen(*Address::FromIp(
      absl::GetFlag(FLAGS_host), static_cast<uint16_t>(absl::GetFlag(FLAGS_port))));
  printf("listening on %s\n", listener->address().ToString().c_str());
  fflush(stdout);
  StreamServer server(*std::move(listener), [&](TcpStream& tcp) {
    TlsStream stream(std::move(tcp), *context);
    const std::string bytes(size_t{256} << 10, 'x');
    while (stream.Write(bytes).ok()) {
    }
  });
  server.Start();
  const grove::ShutdownHook stop =
      grove::OnShutdown(grove::ShutdownPhase::kStopAccepting, "source",
                        [&](grove::Deadline) { server.Stop(); });
  return shutdown.Run();
}
