#include "grove/net/internal/unix_socket.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grove/green/sleep.h"
#include "grove/green/status.h"
#include "grove/net/internal/socket.h"

namespace grove::net::net_internal {
namespace {

// A socket's file that no socket of this process or another has any more: connecting is
// refused. One of another type says so (EPROTOTYPE), and is in use.
bool IsStale(const UnixAddress& address, int type) {
  struct stat file;
  if (lstat(address.raw().c_str(), &file) != 0 || !S_ISSOCK(file.st_mode)) return false;
  const int fd = NewSocket(AF_UNIX, type);
  if (fd < 0) return false;
  const RawUnixAddress raw(address);
  const bool refused = connect(fd, raw.get(), raw.size()) != 0 && errno == ECONNREFUSED;
  close(fd);
  return refused;
}

}  // namespace

RawUnixAddress::RawUnixAddress(const UnixAddress& address) {
  raw_.sun_family = AF_UNIX;
  memcpy(raw_.sun_path, address.raw().data(), address.raw().size());
  size_ = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address.raw().size() +
                                 (address.has_file() ? 1 : 0));
}

UnixAddress UnixAddressFrom(const sockaddr_un& raw, socklen_t size) {
  constexpr socklen_t kHeader = offsetof(sockaddr_un, sun_path);
  if (size <= kHeader) return {};
  const size_t length = std::min<size_t>(size, sizeof raw) - kHeader;
  return UnixAddress::FromRaw({raw.sun_path, length});
}

absl::StatusOr<UnixAddress> UnixNameOf(int fd, int (*get)(int, sockaddr*, socklen_t*),
                                       absl::string_view operation) {
  sockaddr_un raw = {};
  socklen_t size = sizeof raw;
  if (get(fd, reinterpret_cast<sockaddr*>(&raw), &size) < 0) {
    return ErrnoStatus(errno, operation);
  }
  return UnixAddressFrom(raw, size);
}

absl::StatusOr<PeerCredentials> PeerCredentialsOf(int fd, absl::string_view peer) {
  ucred who;
  socklen_t size = sizeof who;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) != 0) {
    return ErrnoStatus(errno, absl::StrCat("credentials of ", peer));
  }
  return PeerCredentials{who.pid, who.uid, who.gid};
}

absl::Status ConnectUnix(int fd, const UnixAddress& address, absl::string_view operation,
                         Deadline deadline) {
  const RawUnixAddress raw(address);
  absl::Duration pause = absl::Milliseconds(1);
  for (;;) {
    if (connect(fd, raw.get(), raw.size()) == 0) return absl::OkStatus();
    if (errno == EINTR) continue;
    if (!WouldBlock(errno)) return ErrnoStatus(errno, operation);
    if (deadline.HasPassed()) return TimedOut(operation);
    Sleep(std::min(pause, deadline.Remaining()));
    pause = std::min(2 * pause, absl::Milliseconds(50));
  }
}

// --- BoundFile ------------------------------------------------------------------------

BoundFile::BoundFile(BoundFile&& other) noexcept
    : path_(std::move(other.path_)),
      device_(other.device_),
      inode_(std::exchange(other.inode_, 0)),
      process_(other.process_) {}

BoundFile& BoundFile::operator=(BoundFile&& other) noexcept {
  if (this == &other) return *this;
  Remove();
  path_ = std::move(other.path_);
  device_ = other.device_;
  inode_ = std::exchange(other.inode_, 0);
  process_ = other.process_;
  return *this;
}

void BoundFile::Remove() {
  const ino_t made = std::exchange(inode_, 0);
  if (made == 0 || process_ != getpid()) return;
  struct stat file;
  if (lstat(path_.c_str(), &file) == 0 && file.st_dev == device_ && file.st_ino == made) {
    unlink(path_.c_str());
  }
}

absl::StatusOr<BoundFile> BindUnix(int fd, int type, const UnixAddress& address,
                                   mode_t mode, bool replace_stale,
                                   absl::string_view operation) {
  BoundFile bound;
  // The file is made with the socket's mode, less the umask: never too open.
  if (address.has_file() && fchmod(fd, mode) != 0) return ErrnoStatus(errno, operation);
  const RawUnixAddress raw(address);
  int result = bind(fd, raw.get(), raw.size());
  if (result != 0 && errno == EADDRINUSE && address.has_file() && replace_stale &&
      IsStale(address, type)) {
    unlink(address.raw().c_str());
    result = bind(fd, raw.get(), raw.size());
  }
  if (result != 0) return ErrnoStatus(errno, operation);
  if (!address.has_file()) return bound;
  struct stat file;
  if (lstat(address.raw().c_str(), &file) != 0) return ErrnoStatus(errno, operation);
  bound.path_ = address.raw();
  bound.device_ = file.st_dev;
  bound.inode_ = file.st_ino;
  if ((file.st_mode & 07777) != mode && chmod(address.raw().c_str(), mode) != 0) {
    return ErrnoStatus(errno, operation);
  }
  return bound;
}

}  // namespace grove::net::net_internal
