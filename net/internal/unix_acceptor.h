#ifndef GROVE_NET_INTERNAL_UNIX_ACCEPTOR_H_
#define GROVE_NET_INTERNAL_UNIX_ACCEPTOR_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "grove/green/descriptor.h"
#include "grove/hub/deadline.h"
#include "grove/net/internal/unix_socket.h"
#include "grove/net/unix_address.h"
#include "grove/net/unix_listen_options.h"

namespace grove::net::net_internal {

// UnixAcceptor
//
// A listening Unix socket, whatever the connections that come of it carry. Contracts as
// UnixListener's.
class UnixAcceptor {
 public:
  UnixAcceptor() = default;

  static absl::StatusOr<UnixAcceptor> Listen(int type, const UnixAddress& address,
                                             UnixListenOptions options);
  static absl::StatusOr<UnixAcceptor> Adopt(int fd, int type, absl::string_view as);
  int Release();

  // A new connection's descriptor, and where its peer is.
  using Accepted = std::pair<int, UnixAddress>;
  absl::StatusOr<Accepted> TryAccept();
  absl::Status WaitForConnection(Deadline deadline);
  absl::StatusOr<Accepted> Accept(Deadline deadline);

  const UnixAddress& address() const { return address_; }
  int fd() const { return descriptor_.fd(); }
  void Close();

 private:
  UnixAcceptor(int fd, UnixAddress address)
      : descriptor_(fd), address_(std::move(address)) {}

  // In this order: the file goes before the socket does, or another process could take
  // the file for one that a dead process has left.
  Descriptor descriptor_;
  UnixAddress address_;
  BoundFile file_;
};

}  // namespace grove::net::net_internal

#endif  // GROVE_NET_INTERNAL_UNIX_ACCEPTOR_H_
