#ifndef GROVE_NET_INTERNAL_UNIX_SOCKET_H_
#define GROVE_NET_INTERNAL_UNIX_SOCKET_H_

#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>
#include <unistd.h>

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "grove/green/descriptor.h"
#include "grove/hub/deadline.h"
#include "grove/net/peer_credentials.h"
#include "grove/net/unix_address.h"

// What Unix sockets of all types have in common: their names, and the files of those.
namespace grove::net::net_internal {

// A UnixAddress as system calls take it.
class RawUnixAddress {
 public:
  explicit RawUnixAddress(const UnixAddress& address);
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&raw_); }
  socklen_t size() const { return size_; }

 private:
  sockaddr_un raw_ = {};
  socklen_t size_;
};

// What a system call has filled in.
UnixAddress UnixAddressFrom(const sockaddr_un& raw, socklen_t size);

// By getsockname(2) or getpeername(2).
absl::StatusOr<UnixAddress> UnixNameOf(int fd, int (*get)(int, sockaddr*, socklen_t*),
                                       absl::string_view operation);

// Of a connection's peer (SO_PEERCRED).
absl::StatusOr<PeerCredentials> PeerCredentialsOf(int fd, absl::string_view peer);

// connect(2) of a non-blocking socket. While the listener's backlog is full the kernel
// says so and tells nobody when it is not: there is nothing to wait for but time.
//
// Blocks: then. Deadline, kill: as UnixStream::Connect().
absl::Status ConnectUnix(int fd, const UnixAddress& address, absl::string_view operation,
                         Deadline deadline);

// The file of a socket that was bound to a path, to be removed with it.
class BoundFile {
 public:
  BoundFile() = default;
  BoundFile(BoundFile&& other) noexcept;
  BoundFile& operator=(BoundFile&& other) noexcept;
  ~BoundFile() { Remove(); }

  // Removes the file, if it is still the one that was made; in a forked child it is the
  // parent's, and stays.
  void Remove();
  // Leaves it where it is.
  void Forget() { inode_ = 0; }

 private:
  friend absl::StatusOr<BoundFile> BindUnix(int, int, const UnixAddress&, mode_t, bool,
                                            absl::string_view);

  std::string path_;
  dev_t device_ = 0;
  ino_t inode_ = 0;  // 0: nothing is to be removed
  pid_t process_ = getpid();
};

// BindUnix()
//
// bind(2) of a socket of that type. A path's file gets `mode`, whatever the umask; with
// `replace_stale`, one that is there already and that no socket has any more is removed.
// An unnamed address becomes an abstract one of the kernel's choice.
absl::StatusOr<BoundFile> BindUnix(int fd, int type, const UnixAddress& address,
                                   mode_t mode, bool replace_stale,
                                   absl::string_view operation);

}  // namespace grove::net::net_internal

#endif  // GROVE_NET_INTERNAL_UNIX_SOCKET_H_
