#ifndef GROVE_NET_UNIX_DATAGRAM_SERVER_H_
#define GROVE_NET_UNIX_DATAGRAM_SERVER_H_

#include <cstddef>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "grove/hub/deadline.h"
#include "grove/net/datagram_server.h"
#include "grove/net/unix_datagram.h"

namespace grove::net {

// One after the other: a Unix socket holds few (net.unix.max_dgram_qlen, often 10).
template <>
class DatagramReceiver<UnixDatagramSocket> {
 public:
  using Peer = UnixAddress;
  DatagramReceiver(size_t /*batch*/, size_t max_bytes)
      : size_(max_bytes), buffer_(std::make_unique_for_overwrite<char[]>(max_bytes)) {}
  template <typename Fn>
  absl::StatusOr<bool> Receive(UnixDatagramSocket& socket, Fn fn) {
    absl::StatusOr<UnixMessage> m =
        socket.Receive(absl::MakeSpan(buffer_.get(), size_), Deadline::Passed());
    if (!m.ok()) return std::move(m).status();
    fn(absl::string_view(buffer_.get(), m->bytes), m->peer, m->truncated);
    return true;
  }

 private:
  const size_t size_;
  const std::unique_ptr<char[]> buffer_;
};

// UnixDatagramServer
//
// A BasicDatagramServer over a Unix datagram socket. A peer without a name cannot be
// answered. While max_in_flight handlers run, what comes is dropped here too, although
// senders could wait: 0 lets them run without a limit, and PauseReceiving() lets senders
// wait.
//
//   UnixDatagramServer server(*UnixDatagramSocket::Bind(*UnixAddress::Parse("@log")),
//                             [](absl::string_view data, const UnixAddress& peer,
//                                UnixDatagramServer::Sender& socket) { Log(data); });
using UnixDatagramServer = BasicDatagramServer<UnixDatagramSocket>;

}  // namespace grove::net

#endif  // GROVE_NET_UNIX_DATAGRAM_SERVER_H_
