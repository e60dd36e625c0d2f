#include "grove/net/socket_activation.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "grove/green/status.h"

namespace grove::net {
namespace {

constexpr int kFirst = 3;           // SD_LISTEN_FDS_START
constexpr int kMost = 1024 * 1024;  // more than any limit on descriptors

absl::StatusOr<int> NumberIn(const char* variable, const char* text) {
  int n = 0;
  if (!absl::SimpleAtoi(text, &n) || n < 0 || n > kMost) {
    return absl::InvalidArgumentError(
        absl::StrCat(variable, "='", text, "' is not a number that makes sense"));
  }
  return n;
}

// -1 if that cannot be asked.
int Option(int fd, int option) {
  int value = -1;
  socklen_t size = sizeof value;
  return getsockopt(fd, SOL_SOCKET, option, &value, &size) == 0 ? value : -1;
}

}  // namespace

ActivatedSockets::ActivatedSockets(ActivatedSockets&& other) noexcept
    : sockets_(std::exchange(other.sockets_, {})) {}

ActivatedSockets& ActivatedSockets::operator=(ActivatedSockets&& other) noexcept {
  std::swap(sockets_, other.sockets_);
  return *this;
}

ActivatedSockets::~ActivatedSockets() {
  for (const Socket& s : sockets_) close(s.fd);
}

ActivatedSockets::Socket ActivatedSockets::Examine(int fd, std::string name) {
  const int domain = Option(fd, SO_DOMAIN);
  const int type = Option(fd, SO_TYPE);
  const bool ip = domain == AF_INET || domain == AF_INET6;
  const bool listens = Option(fd, SO_ACCEPTCONN) == 1;
  Socket s{fd, std::move(name), Kind::kOther, "no socket that is known"};
  if (domain < 0) {
    s.description = "not a socket";
  } else if (ip && type == SOCK_STREAM) {
    s.kind = listens ? Kind::kTcpListener : Kind::kOther;
    s.description = listens ? "a TCP listener" : "a TCP socket that does not listen";
  } else if (domain == AF_UNIX && type == SOCK_STREAM) {
    s.kind = listens ? Kind::kUnixListener : Kind::kOther;
    s.description = listens ? "a Unix listener" : "a Unix socket that does not listen";
  } else if (ip && type == SOCK_DGRAM) {
    s.kind = Kind::kUdp;
    s.description = "a UDP socket";
  } else if (domain == AF_UNIX) {
    s.description =
        type == SOCK_DGRAM ? "a Unix datagram socket" : "a Unix seqpacket socket";
  }
  return s;
}

absl::StatusOr<ActivatedSockets> ActivatedSockets::Take() {
  ActivatedSockets sockets;
  const char* const count_text = getenv("LISTEN_FDS");
  const char* const pid_text = getenv("LISTEN_PID");
  if (count_text == nullptr || pid_text == nullptr) return sockets;
  const absl::StatusOr<int> pid = NumberIn("LISTEN_PID", pid_text);
  if (!pid.ok()) return pid.status();
  if (*pid != getpid()) return sockets;  // our parent's
  const absl::StatusOr<int> count = NumberIn("LISTEN_FDS", count_text);
  if (!count.ok()) return count.status();

  std::vector<std::string> names(*count, "unknown");
  if (const char* text = getenv("LISTEN_FDNAMES"); text != nullptr && *count > 0) {
    names = absl::StrSplit(text, ':');
    if (names.size() != static_cast<size_t>(*count)) {
      return absl::InvalidArgumentError(absl::StrCat("LISTEN_FDNAMES='", text, "' has ",
                                                     names.size(), " names for ", *count,
                                                     " descriptors"));
    }
  }
  for (int fd = kFirst; fd < kFirst + *count; ++fd) {
    if (fcntl(fd, F_GETFD) < 0) {
      return ErrnoStatus(errno, absl::StrCat("take fd ", fd, " of LISTEN_FDS=", *count));
    }
  }
  for (int i = 0; i < *count; ++i) {
    fcntl(kFirst + i, F_SETFD, FD_CLOEXEC);
    sockets.sockets_.push_back(Examine(kFirst + i, std::move(names[i])));
  }
  for (const char* variable : {"LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"}) {
    unsetenv(variable);
  }
  return sockets;
}

std::vector<std::string> ActivatedSockets::names() const {
  std::vector<std::string> names;
  for (const Socket& s : sockets_) names.push_back(s.name);
  return names;
}

absl::StatusOr<size_t> ActivatedSockets::Find(absl::string_view name, Kind kind,
                                              absl::string_view wanted) const {
  const Socket* other = nullptr;
  for (size_t i = 0; i < sockets_.size(); ++i) {
    const Socket& s = sockets_[i];
    if (name.empty() ? s.kind == kind : s.name == name) {
      if (s.kind == kind) return i;
      other = &s;
    }
  }
  if (other == nullptr) {
    return absl::NotFoundError(
        name.empty() ? absl::StrCat(wanted, " was not passed to this process")
                     : absl::StrCat("no socket '", name, "' was passed to this process"));
  }
  return absl::FailedPreconditionError(
      absl::StrCat("the socket '", name, "' that was passed to this process is ",
                   other->description, ", and not ", wanted));
}

template <typename T>
absl::StatusOr<T> ActivatedSockets::TakeAs(absl::string_view name, Kind kind,
                                           absl::string_view wanted) {
  absl::StatusOr<size_t> at = Find(name, kind, wanted);
  if (!at.ok()) return std::move(at).status();
  absl::StatusOr<T> adopted = T::Adopt(sockets_[*at].fd);
  if (adopted.ok()) sockets_.erase(sockets_.begin() + static_cast<ptrdiff_t>(*at));
  return adopted;
}

absl::StatusOr<TcpListener> ActivatedSockets::TakeTcpListener(absl::string_view name) {
  return TakeAs<TcpListener>(name, Kind::kTcpListener, "a TCP listener");
}

absl::StatusOr<UnixListener> ActivatedSockets::TakeUnixListener(absl::string_view name) {
  return TakeAs<UnixListener>(name, Kind::kUnixListener, "a Unix listener");
}

absl::StatusOr<UdpSocket> ActivatedSockets::TakeUdpSocket(absl::string_view name) {
  return TakeAs<UdpSocket>(name, Kind::kUdp, "a UDP socket");
}

absl::StatusOr<int> ActivatedSockets::TakeDescriptor(absl::string_view name) {
  for (auto it = sockets_.begin(); it != sockets_.end(); ++it) {
    if (it->name != name) continue;
    const int fd = it->fd;
    sockets_.erase(it);
    return fd;
  }
  return absl::NotFoundError(
      absl::StrCat("no socket '", name, "' was passed to this process"));
}

absl::Status NotifySupervisor(absl::string_view state) {
  const char* const name = getenv("NOTIFY_SOCKET");
  if (name == nullptr) return absl::OkStatus();
  const std::string operation = absl::StrCat("notify the supervisor at '", name, "'");
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const size_t length = strlen(name);
  if ((name[0] != '/' && name[0] != '@') || length >= sizeof address.sun_path) {
    return absl::InvalidArgumentError(
        absl::StrCat(operation, ": neither a path nor an abstract name"));
  }
  memcpy(address.sun_path, name, length);
  if (name[0] == '@') address.sun_path[0] = '\0';
  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return ErrnoStatus(errno, operation);
  const ssize_t n =
      sendto(fd, state.data(), state.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
             reinterpret_cast<const sockaddr*>(&address),
             static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length));
  const int error = errno;
  close(fd);
  return n >= 0 ? absl::OkStatus() : ErrnoStatus(error, operation);
}

}  // namespace grove::net
