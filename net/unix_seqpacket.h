#ifndef GROVE_NET_UNIX_SEQPACKET_H_
#define GROVE_NET_UNIX_SEQPACKET_H_

#include <cstddef>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "grove/green/descriptor.h"
#include "grove/hub/deadline.h"
#include "grove/net/internal/unix_acceptor.h"
#include "grove/net/unix_address.h"
#include "grove/net/unix_listen_options.h"
#include "grove/net/unix_message.h"

namespace grove::net {

// UnixSeqPacket
//
// A connection that carries messages (SOCK_SEQPACKET): in order, none lost, each received
// as it was sent, and an end that is told.
//
//   UnixSeqPacket s = *UnixSeqPacket::Connect(*UnixAddress::Parse("/run/broker"));
//   if (absl::Status sent = s.Send(request); !sent.ok()) return sent;
//   absl::StatusOr<UnixMessage> answer = s.Receive(absl::MakeSpan(buffer));
//   if (answer.ok() && answer->bytes == 0) ...  // the peer has closed
//
// For all that follow:
//   Blocks: receiving, until there is a message; sending, while the peer does not read.
//   Deadline: returns kDeadlineExceeded.
//   Kill: throws; no message is lost by it.
//   Close() by another greenlet: returns kCancelled.
//   Threads: the hub that made it. One greenlet may receive while another sends; two that
//       wait to do the same are a fatal error.
//   Errors: a message that is too large (SendBuffer) is EMSGSIZE. A peer that is gone is
//       EPIPE; one that went without reading all that was sent to it is ECONNRESET, once.
class UnixSeqPacket {
 public:
  // Closed.
  UnixSeqPacket() = default;

  // UnixSeqPacket::Connect()
  //
  // Blocks: while the listener's backlog is full.
  // Deadline: returns kDeadlineExceeded. Kill: throws. No descriptor is left behind.
  static absl::StatusOr<UnixSeqPacket> Connect(const UnixAddress& address,
                                               Deadline deadline = {});
  // UnixSeqPacket::Pair()
  //
  // Two that are connected with each other (socketpair(2)).
  static absl::StatusOr<std::pair<UnixSeqPacket, UnixSeqPacket>> Pair();
  // UnixSeqPacket::Adopt()
  //
  // Takes over a connected seqpacket socket, making it non-blocking; anything else is an
  // error that says what it is, and stays the caller's. Release() gives it up.
  static absl::StatusOr<UnixSeqPacket> Adopt(int fd);
  int Release() { return descriptor_.Release(); }

  // UnixSeqPacket::Send(), UnixSeqPacket::SendDescriptors()
  //
  // One message, with copies of these descriptors, at most 253 (SCM_MAX_FD). An empty one
  // is kInvalidArgument: the peer could not tell it from the end.
  absl::Status Send(absl::string_view data, Deadline deadline = {});
  absl::Status SendDescriptors(absl::string_view data, absl::Span<const int> fds,
                               Deadline deadline = {});

  // UnixSeqPacket::Receive()
  //
  // The next message; one of no bytes is the end. Descriptors that come with it are
  // closed.
  absl::StatusOr<UnixMessage> Receive(absl::Span<char> buffer, Deadline deadline = {});
  // UnixSeqPacket::ReceiveDescriptors()
  //
  // As Receive(), with the descriptors. If more came than `max_fds`, all are closed, the
  // message is gone, and kResourceExhausted is returned.
  absl::StatusOr<UnixMessage> ReceiveDescriptors(absl::Span<char> buffer, size_t max_fds,
                                                 Deadline deadline = {});

  // UnixSeqPacket::ShutdownWrite()
  //
  // Tells the peer that no more comes. Does not block.
  absl::Status ShutdownWrite();

  const UnixAddress& peer() const { return peer_; }
  absl::StatusOr<PeerCredentials> peer_credentials() const;
  std::string Describe() const { return "unix:" + peer_.ToString(); }
  int fd() const { return descriptor_.fd(); }
  bool closed() const { return !descriptor_.valid(); }
  // Wakes who waits.
  void Close() { descriptor_.Close(); }

 private:
  friend class UnixSeqPacketListener;
  UnixSeqPacket(int fd, UnixAddress peer) : descriptor_(fd), peer_(std::move(peer)) {}

  Descriptor descriptor_;
  UnixAddress peer_;
};

// UnixSeqPacketListener
//
// As UnixListener (unix.h), for connections that carry messages.
//
// Threads: the hub that made it.
class UnixSeqPacketListener {
 public:
  // Closed.
  UnixSeqPacketListener() = default;

  static absl::StatusOr<UnixSeqPacketListener> Listen(const UnixAddress& address,
                                                      UnixListenOptions options = {});
  static absl::StatusOr<UnixSeqPacketListener> Adopt(int fd);
  int Release() { return acceptor_.Release(); }

  // Contracts as TcpListener's.
  absl::StatusOr<UnixSeqPacket> Accept(Deadline deadline = {});
  absl::StatusOr<UnixSeqPacket> TryAccept();
  absl::Status WaitForConnection(Deadline deadline = {}) {
    return acceptor_.WaitForConnection(deadline);
  }

  const UnixAddress& address() const { return acceptor_.address(); }
  int fd() const { return acceptor_.fd(); }
  bool closed() const { return fd() < 0; }
  // As UnixListener::Close().
  void Close() { acceptor_.Close(); }

 private:
  explicit UnixSeqPacketListener(net_internal::UnixAcceptor acceptor)
      : acceptor_(std::move(acceptor)) {}

  net_internal::UnixAcceptor acceptor_;
};

}  // namespace grove::net

#endif  // GROVE_NET_UNIX_SEQPACKET_H_
