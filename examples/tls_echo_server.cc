// An echo server behind TLS: as echo_server.cc, in fewer words, with certificates that
// can be renewed while it runs.
//
//   bazel run //examples:tls_echo_server -- --chain=fullchain.pem --key=privkey.pem
//   openssl s_client -connect 127.0.0.1:7443 -servername example.com
//
// SIGHUP reads the files again: connections that begin afterwards have the new
// certificate. SIGINT and SIGTERM end it cleanly.
//
// Look at how TLS is one listener around another, and at Reload().

#include <signal.h>
#include <stdio.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "grove/examples/parse_flags.h"
#include "grove/green/blocking.h"
#include "grove/green/greenlet.h"
#include "grove/green/os/signals.h"
#include "grove/green/shutdown.h"
#include "grove/net/copy.h"
#include "grove/net/server.h"
#include "grove/net/tcp.h"
#include "grove/net/tls.h"
#include "grove/net/tls_listener.h"

ABSL_FLAG(std::string, host, "127.0.0.1", "IP address to listen at");
ABSL_FLAG(int, port, 7443, "port to listen at; 0 takes a free one");
ABSL_FLAG(std::string, chain, "", "file with the certificate chain, in PEM");
ABSL_FLAG(std::string, key, "", "file with its private key, in PEM");
ABSL_FLAG(std::string, client_roots, "",
          "file with the roots that clients' certificates must lead to; if there is one, "
          "clients must show a certificate");
ABSL_FLAG(std::vector<std::string>, alpn, {}, "the protocols it claims to speak");

namespace {

using grove::examples::ParseFlags;
using grove::examples::Refuse;
using grove::net::Address;
using grove::net::ClientCertificates;
using grove::net::StreamServer;
using grove::net::TcpListener;
using grove::net::TlsListener;
using grove::net::TlsServerContext;
using grove::net::TlsServerOptions;
using grove::net::TlsStream;

TlsServerContext MakeContext() {
  TlsServerOptions options;
  options.identities = {
      {.chain_file = absl::GetFlag(FLAGS_chain), .key_file = absl::GetFlag(FLAGS_key)}};
  options.alpn = absl::GetFlag(FLAGS_alpn);
  options.client_roots_file = absl::GetFlag(FLAGS_client_roots);
  if (!options.client_roots_file.empty()) {
    options.client_certificates = ClientCertificates::kRequired;
  }
  absl::StatusOr<TlsServerContext> context = TlsServerContext::Make(std::move(options));
  if (!context.ok()) Refuse(std::string(context.status().message()));
  return *std::move(context);
}

void ReloadOnHangup(grove::SignalListener& hangup, const TlsServerContext& context) {
  for (;;) {
    hangup.Wait();
    // It reads files, which is for a thread that may block.
    const absl::Status status = grove::Blocking([&] { return context.Reload(); });
    printf("certificates: %s\n", status.ToString().c_str());
    fflush(stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  ParseFlags(argc, argv,
             "Echoes what it receives over TLS.\n"
             "  tls_echo_server --chain=FILE --key=FILE [--host=127.0.0.1] [--port=7443] "
             "[--client_roots=FILE]");
  const int port = absl::GetFlag(FLAGS_port);
  if (port < 0 || port > 65535) Refuse(absl::StrCat("--port: ", port, " is none"));
  const absl::StatusOr<Address> address =
      Address::FromIp(absl::GetFlag(FLAGS_host), static_cast<uint16_t>(port));
  if (!address.ok()) Refuse(absl::StrCat("--host: ", address.status().message()));
  const TlsServerContext context = MakeContext();

  grove::ShutdownScope shutdown({.grace = absl::Seconds(5)});
  absl::StatusOr<TcpListener> listener = TcpListener::Listen(*address);
  if (!listener.ok()) Refuse(std::string(listener.status().message()));
  const Address actual = listener->address();
  // The handshake is made in each connection's own greenlet, where a peer that takes its
  // time keeps nobody else waiting.
  StreamServer server(TlsListener(*std::move(listener), context), [](TlsStream& stream) {
    grove::net::Copy(stream, stream).IgnoreError();
  });
  grove::SignalListener hangup({SIGHUP});
  const grove::Greenlet<> reload = grove::Spawn([&] { ReloadOnHangup(hangup, context); });
  const grove::ShutdownHook drain =
      grove::OnShutdown(grove::ShutdownPhase::kDrain, "echo", [&](grove::Deadline d) {
        reload.Kill();
        server.Stop(d.Remaining());
      });
  server.Start();
  printf("listening on %s\n", actual.ToString().c_str());
  fflush(stdout);
  return shutdown.Run();
}
