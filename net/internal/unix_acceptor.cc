#include "grove/net/internal/unix_acceptor.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "absl/strings/str_cat.h"
#include "grove/green/status.h"
#include "grove/net/internal/socket.h"

namespace grove::net::net_internal {

absl::StatusOr<UnixAcceptor> UnixAcceptor::Listen(int type, const UnixAddress& address,
                                                  UnixListenOptions options) {
  const std::string operation = absl::StrCat("listen at unix:", address.ToString());
  const int fd = NewSocket(AF_UNIX, type);
  if (fd < 0) return ErrnoStatus(errno, operation);
  UnixAcceptor acceptor(fd, address);
  absl::StatusOr<BoundFile> file =
      BindUnix(fd, type, address, options.mode, options.replace_stale, operation);
  if (!file.ok()) return std::move(file).status();
  acceptor.file_ = *std::move(file);
  if (listen(fd, options.backlog) != 0) return ErrnoStatus(errno, operation);
  absl::StatusOr<UnixAddress> actual = UnixNameOf(fd, &getsockname, operation);
  if (!actual.ok()) return std::move(actual).status();
  acceptor.address_ = *std::move(actual);
  return acceptor;
}

absl::StatusOr<UnixAcceptor> UnixAcceptor::Adopt(int fd, int type, absl::string_view as) {
  const SocketKind kind{.is_unix = true, .type = type, .listens = true, .name = as};
  if (absl::Status s = MakeAdoptable(fd, kind); !s.ok()) return s;
  absl::StatusOr<UnixAddress> address =
      UnixNameOf(fd, &getsockname, absl::StrCat("adopt fd ", fd));
  if (!address.ok()) return std::move(address).status();
  return UnixAcceptor(fd, *std::move(address));
}

int UnixAcceptor::Release() {
  file_.Forget();
  return descriptor_.Release();
}

absl::StatusOr<UnixAcceptor::Accepted> UnixAcceptor::TryAccept() {
  sockaddr_un raw = {};
  socklen_t size = sizeof raw;
  const int fd = AcceptOne(descriptor_.fd(), reinterpret_cast<sockaddr*>(&raw), &size);
  if (fd < 0 && WouldBlock(errno)) return NobodyThere();
  if (fd < 0) {
    return ErrnoStatus(errno, absl::StrCat("accept at unix:", address_.ToString()));
  }
  return Accepted(fd, UnixAddressFrom(raw, size));
}

absl::Status UnixAcceptor::WaitForConnection(Deadline deadline) {
  const WaitResult result = descriptor_.WaitReadable(deadline);
  if (result == WaitResult::kReady) return absl::OkStatus();
  // Closed, it may be gone.
  return NotReady(result, result == WaitResult::kClosed
                              ? "accept"
                              : absl::StrCat("accept at unix:", address_.ToString()));
}

absl::StatusOr<UnixAcceptor::Accepted> UnixAcceptor::Accept(Deadline deadline) {
  for (;;) {
    if (!descriptor_.CountOperation()) return WasClosed("accept");
    absl::StatusOr<Accepted> accepted = TryAccept();
    if (accepted.ok() || !WouldBlock(ErrnoOf(accepted.status()))) return accepted;
    if (absl::Status s = WaitForConnection(deadline); !s.ok()) return s;
  }
}

void UnixAcceptor::Close() {
  file_.Remove();
  descriptor_.Close();
}

}  // namespace grove::net::net_internal
