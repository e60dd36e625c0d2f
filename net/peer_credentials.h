#ifndef GROVE_NET_PEER_CREDENTIALS_H_
#define GROVE_NET_PEER_CREDENTIALS_H_

#include <sys/types.h>

namespace grove::net {

// PeerCredentials
//
// Who is at the other end of a Unix socket, as the kernel has it: of a connection, as it
// was when the peer connected or listened (SO_PEERCRED); of a message, as it was when
// that was sent (SCM_CREDENTIALS).
//
//   absl::StatusOr<PeerCredentials> peer = stream.peer_credentials();
//   if (!peer.ok() || peer->uid != getuid()) return;
struct PeerCredentials {
  pid_t pid;
  uid_t uid;
  gid_t gid;

  friend bool operator==(const PeerCredentials&, const PeerCredentials&) = default;
};

}  // namespace grove::net

#endif  // GROVE_NET_PEER_CREDENTIALS_H_
