#include "grove/net/tcp.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "grove/green/hub_group.h"
#include "grove/green/status.h"
#include "grove/net/internal/socket.h"

namespace grove::net {
namespace {

using net_internal::MakeAdoptable;
using net_internal::NewSocket;
using net_internal::NotReady;
using net_internal::SetFlag;
using net_internal::WouldBlock;

absl::StatusOr<Address> NameOf(int fd, int (*get)(int, sockaddr*, socklen_t*),
                               absl::string_view operation) {
  sockaddr_storage raw;
  socklen_t size = sizeof raw;
  if (get(fd, reinterpret_cast<sockaddr*>(&raw), &size) < 0) {
    return ErrnoStatus(errno, operation);
  }
  const absl::StatusOr<Address> a =
      Address::FromRaw(reinterpret_cast<sockaddr*>(&raw), size);
  return a.ok() ? a->Unmapped() : a;
}

}  // namespace

// --- TcpStream ------------------------------------------------------------------------

absl::StatusOr<TcpStream> TcpStream::Connect(const Address& address,
                                             ConnectOptions options) {
  const auto operation = [&] { return absl::StrCat("connect to ", address.ToString()); };
  const int fd = NewSocket(address.raw()->sa_family, SOCK_STREAM, IPPROTO_TCP);
  if (fd < 0) return ErrnoStatus(errno, operation());
  TcpStream stream(fd, address);
  SetFlag(fd, IPPROTO_TCP, TCP_NODELAY);
  if (!(options.source == Address())) {
    SetFlag(fd, SOL_SOCKET, SO_REUSEADDR);
    if (bind(fd, options.source.raw(), options.source.raw_size()) < 0) {
      return ErrnoStatus(errno,
                         absl::StrCat(operation(), " from ", options.source.ToString()));
    }
  }
  if (connect(fd, address.raw(), address.raw_size()) == 0) return stream;
  // EINTR: the kernel goes on connecting all the same (connect(2)).
  if (errno != EINPROGRESS && errno != EINTR) return ErrnoStatus(errno, operation());
  if (absl::Status connected =
          net_internal::FinishConnect(stream.descriptor(), options.deadline, operation);
      !connected.ok()) {
    return connected;
  }
  // The kernel may take just the port for this side at which it was to be answered, and
  // two such SYNs are a connection (RFC 9293, 3.5): nobody listens there.
  const absl::StatusOr<Address> local = stream.local_address();
  if (options.source == Address() && local.ok() && *local == address) {
    return ErrnoStatus(ECONNREFUSED, operation());
  }
  return stream;
}

absl::StatusOr<TcpStream> TcpStream::Adopt(int fd) {
  const absl::string_view as = "a TCP connection";
  if (absl::Status s = MakeAdoptable(fd, {.name = as}); !s.ok()) return s;
  absl::StatusOr<Address> peer =
      NameOf(fd, &getpeername, absl::StrCat("adopt fd ", fd, " as ", as));
  if (!peer.ok()) return std::move(peer).status();
  SetFlag(fd, IPPROTO_TCP, TCP_NODELAY);
  return TcpStream(fd, *peer);
}

absl::StatusOr<Address> TcpStream::local_address() const {
  return NameOf(fd(), &getsockname, "local address");
}

void TcpStream::Abort() {
  if (closed()) return;
  // Linger of zero seconds: close() sends a reset (socket(7)).
  const linger now{.l_onoff = 1, .l_linger = 0};
  setsockopt(fd(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  Close();
}

// --- TcpListener ----------------------------------------------------------------------

absl::StatusOr<TcpListener> TcpListener::Listen(const Address& address,
                                                ListenOptions options) {
  const auto failed = [&](int error) {
    return ErrnoStatus(error, absl::StrCat("listen at ", address.ToString()));
  };
  const int fd = NewSocket(address.raw()->sa_family, SOCK_STREAM, IPPROTO_TCP);
  if (fd < 0) return failed(errno);
  TcpListener listener(fd, address);
  if (options.reuse_address) SetFlag(fd, SOL_SOCKET, SO_REUSEADDR);
  if (options.reuse_port) SetFlag(fd, SOL_SOCKET, SO_REUSEPORT);
  if (address.is_v6()) net_internal::SetV6Only(fd, options.v6_only);
  // Accepted sockets inherit it.
  SetFlag(fd, IPPROTO_TCP, TCP_NODELAY);
  if (bind(fd, address.raw(), address.raw_size()) < 0) return failed(errno);
  if (listen(fd, options.backlog) < 0) return failed(errno);
  absl::StatusOr<Address> actual = NameOf(fd, &getsockname, "listen");
  if (!actual.ok()) return std::move(actual).status();
  listener.address_ = *actual;
  return listener;
}

absl::StatusOr<std::vector<TcpListener>> TcpListener::ListenMany(const Address& address,
                                                                 int count,
                                                                 ListenOptions options) {
  std::vector<TcpListener> listeners;
  // One that shares with nobody finds out whether somebody is there.
  options.reuse_port = false;
  absl::StatusOr<TcpListener> alone = Listen(address, options);
  if (!alone.ok()) return std::move(alone).status();
  if (count == 1) {
    listeners.push_back(*std::move(alone));
    return listeners;
  }
  const Address actual = alone->address();
  alone->Close();
  options.reuse_port = true;
  const std::vector<int> cores = AllowedCores();
  for (int i = 0; i < count; ++i) {
    absl::StatusOr<TcpListener> one = Listen(actual, options);
    if (!one.ok()) return std::move(one).status();
    if (options.by_core && count <= static_cast<int>(cores.size())) {
      const int core = cores[i];
      setsockopt(one->fd(), SOL_SOCKET, SO_INCOMING_CPU, &core, sizeof core);
    }
    listeners.push_back(*std::move(one));
  }
  return listeners;
}

absl::StatusOr<TcpListener> TcpListener::Adopt(int fd) {
  if (absl::Status s = MakeAdoptable(fd, {.listens = true, .name = "a TCP listener"});
      !s.ok()) {
    return s;
  }
  absl::StatusOr<Address> address =
      NameOf(fd, &getsockname, absl::StrCat("adopt fd ", fd));
  if (!address.ok()) return std::move(address).status();
  SetFlag(fd, IPPROTO_TCP, TCP_NODELAY);  // as Listen()
  return TcpListener(fd, *address);
}

absl::StatusOr<TcpStream> TcpListener::TryAccept() {
  sockaddr_storage raw;
  socklen_t size = sizeof raw;
  const int fd =
      net_internal::AcceptOne(descriptor_.fd(), reinterpret_cast<sockaddr*>(&raw), &size);
  if (fd < 0 && WouldBlock(errno)) return net_internal::NobodyThere();
  if (fd < 0) return ErrnoStatus(errno, absl::StrCat("accept at ", address_.ToString()));
  absl::StatusOr<Address> peer =
      Address::FromRaw(reinterpret_cast<sockaddr*>(&raw), size);
  return TcpStream(fd, peer.ok() ? peer->Unmapped() : Address());
}

absl::Status TcpListener::WaitForConnection(Deadline deadline) {
  const WaitResult result = descriptor_.WaitReadable(deadline);
  if (result == WaitResult::kReady) return absl::OkStatus();
  // Closed, it may be gone.
  return NotReady(result, result == WaitResult::kClosed
                              ? "accept"
                              : absl::StrCat("accept at ", address_.ToString()));
}

absl::StatusOr<TcpStream> TcpListener::Accept(Deadline deadline) {
  for (;;) {
    // Also of one that fails at once, for want of descriptors.
    if (!descriptor_.CountOperation()) return net_internal::WasClosed("accept");
    absl::StatusOr<TcpStream> stream = TryAccept();
    if (stream.ok() || !WouldBlock(ErrnoOf(stream.status()))) return stream;
    if (absl::Status s = WaitForConnection(deadline); !s.ok()) return s;
  }
}

}  // namespace grove::net
