// What socket_activation_test starts, with sockets as systemd would pass them: says what
// it has found, and serves each once.

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include <string>

#include "grove/net/socket_activation.h"

namespace grove::net {
namespace {

void Say(const std::string& line) {
  printf("%s\n", line.c_str());
  fflush(stdout);
}

int Main() {
  absl::StatusOr<ActivatedSockets> sockets = ActivatedSockets::Take();
  if (!sockets.ok()) {
    Say("error: " + sockets.status().ToString());
    return 1;
  }
  std::string names = "names:";
  for (const std::string& name : sockets->names()) names += " " + name;
  Say(names);
  for (const char* v : {"LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"}) {
    if (getenv(v) != nullptr) Say(std::string("still there: ") + v);
  }
  for (size_t i = 0; i < sockets->size(); ++i) {
    if ((fcntl(3 + static_cast<int>(i), F_GETFD) & FD_CLOEXEC) == 0) Say("not cloexec");
  }
  if (!ActivatedSockets::Take()->empty()) Say("taken twice");
  if (sockets->empty()) return 0;

  Say(sockets->TakeUnixListener("web").status().ToString());
  Say(sockets->TakeTcpListener("nothing").status().ToString());
  absl::StatusOr<TcpListener> tcp = sockets->TakeTcpListener("web");
  absl::StatusOr<UnixListener> local = sockets->TakeUnixListener();
  absl::StatusOr<UdpSocket> udp = sockets->TakeUdpSocket("dns");
  if (!tcp.ok() || !local.ok() || !udp.ok()) return 1;
  Say("left: " + std::to_string(sockets->size()));
  if (absl::Status s = NotifySupervisor("READY=1"); !s.ok()) Say(s.ToString());

  absl::Status s = tcp->Accept()->Write("tcp");
  s.Update(local->Accept()->Write("unix"));
  char buffer[10];
  const UdpSocket::Datagram d = *udp->ReceiveFrom(absl::MakeSpan(buffer));
  s.Update(udp->SendTo("udp", d.peer));
  Say(s.ToString());
  return 0;
}

}  // namespace
}  // namespace grove::net

int main() { return grove::net::Main(); }
