// grove's side of the socket benchmarks, beside raw_epoll_server.c and raw_udp_server.c:
// an echo over Unix sockets, or over UDP, on one hub.
//
//   socket_server --unix=@name
//   socket_server --udp --host=127.0.0.1 --port=0
//
// Prints "listening on ..." when it is ready; SIGTERM ends it.

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <utility>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "grove/green/greenlet.h"
#include "grove/net/copy.h"
#include "grove/net/udp.h"
#include "grove/net/unix.h"

ABSL_FLAG(std::string, unix, "", "the abstract name to listen at");
ABSL_FLAG(bool, udp, false, "echo datagrams instead");
ABSL_FLAG(std::string, host, "127.0.0.1", "of UDP");
ABSL_FLAG(int, port, 0, "of UDP");

namespace {

using grove::net::Address;
using grove::net::Copy;
using grove::net::DatagramBatch;
using grove::net::UdpSocket;
using grove::net::UnixAddress;
using grove::net::UnixListener;
using grove::net::UnixStream;

[[noreturn]] void Fail(const absl::Status& status) {
  fprintf(stderr, "socket_server: %s\n", status.ToString().c_str());
  exit(1);
}

void SayReady(const std::string& address) {
  printf("listening on %s\n", address.c_str());
  fflush(stdout);
}

absl::Status ServeUnix(const std::string& name) {
  absl::StatusOr<UnixAddress> address = UnixAddress::Parse(name);
  if (!address.ok()) return address.status();
  absl::StatusOr<UnixListener> listener =
      UnixListener::Listen(*address, {.backlog = 65535});
  if (!listener.ok()) return listener.status();
  SayReady("unix:" + name);
  for (;;) {
    absl::StatusOr<UnixStream> stream = listener->Accept();
    if (!stream.ok()) return stream.status();
    grove::Spawn([s = *std::move(stream)]() mutable { Copy(s, s).IgnoreError(); });
  }
}

absl::Status ServeUdp(const Address& address) {
  absl::StatusOr<UdpSocket> socket = UdpSocket::Bind(address);
  if (!socket.ok()) return socket.status();
  SayReady(socket->local_address()->ToString());
  DatagramBatch batch(64, 2048);
  for (;;) {
    absl::StatusOr<size_t> n = socket->ReceiveBatch(batch);
    if (!n.ok()) return n.status();
    if (absl::Status s = socket->SendBatch(batch); !s.ok()) return s;
  }
}

}  // namespace

int main(int argc, char** argv) {
  absl::ParseCommandLine(argc, argv);
  signal(SIGTERM, [](int) { _exit(0); });
  if (!absl::GetFlag(FLAGS_udp)) Fail(ServeUnix(absl::GetFlag(FLAGS_unix)));
  const absl::StatusOr<Address> address = Address::FromIp(
      absl::GetFlag(FLAGS_host), static_cast<uint16_t>(absl::GetFlag(FLAGS_port)));
  if (!address.ok()) Fail(address.status());
  Fail(ServeUdp(*address));
}
