#ifndef GROVE_NET_UNIX_MESSAGE_H_
#define GROVE_NET_UNIX_MESSAGE_H_

#include <cstddef>
#include <optional>
#include <vector>

#include "grove/net/peer_credentials.h"
#include "grove/net/unix_address.h"

namespace grove::net {

// UnixMessage
//
// What one receiving of a message socket has brought; its bytes are in the caller's
// buffer.
//
//   char buffer[8192];
//   absl::StatusOr<UnixMessage> m = socket.Receive(absl::MakeSpan(buffer));
//   if (m.ok() && !m->truncated) Handle(absl::string_view(buffer, m->bytes), m->peer);
struct UnixMessage {
  size_t bytes = 0;
  bool truncated = false;  // it was longer than the buffer: its end is lost
  UnixAddress peer;        // who sent it; unnamed if that socket has no name
  // Those that came with it, if they were asked for: open, closed on exec, and the
  // receiver's to close.
  std::vector<int> fds;
  // Who has sent it, if PassCredentials (socket_options.h) is set.
  std::optional<PeerCredentials> sender;
};

}  // namespace grove::net

#endif  // GROVE_NET_UNIX_MESSAGE_H_
