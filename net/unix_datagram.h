#ifndef GROVE_NET_UNIX_DATAGRAM_H_
#define GROVE_NET_UNIX_DATAGRAM_H_

#include <cstddef>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "grove/green/descriptor.h"
#include "grove/hub/deadline.h"
#include "grove/net/internal/unix_socket.h"
#include "grove/net/unix_address.h"
#include "grove/net/unix_listen_options.h"
#include "grove/net/unix_message.h"

namespace grove::net {

// UnixDatagramSocket
//
// Datagrams between processes of one machine. Unlike UDP's they are not lost: who sends
// to a socket that has too many waits until there is room (net.unix.max_dgram_qlen, often
// 10).
//
//   UnixDatagramSocket log = *UnixDatagramSocket::Bind(*UnixAddress::Parse("@log"));
//   SetOption(log, PassCredentials{true}).IgnoreError();
//   char buffer[8192];
//   while (auto m = log.Receive(absl::MakeSpan(buffer)); m.ok()) {
//     Log({buffer, m->bytes}, m->sender->pid);
//   }
//
// For all that follow:
//   Blocks: receiving, until there is a datagram; sending, until there is room.
//   Deadline: returns kDeadlineExceeded.
//   Kill: throws; no datagram is lost by it.
//   Close() by another greenlet: returns kCancelled.
//   Threads: the hub that made it. One greenlet may receive while others SendTo();
//       two that wait to receive, or to Send(), are a fatal error.
//   Errors name the peer. Nobody at an address is ECONNREFUSED, or ENOENT; a datagram
//       that is too large (SendBuffer) is EMSGSIZE.
class UnixDatagramSocket {
 public:
  // For Sender: SendTo() may be called by several at once.
  static constexpr bool kManyMaySend = true;

  // Closed.
  UnixDatagramSocket() = default;

  // UnixDatagramSocket::Bind()
  //
  // A socket that receives at this address; an unnamed one becomes an abstract name of
  // the kernel's choice, so that peers can answer: see local_address(). Does not block.
  static absl::StatusOr<UnixDatagramSocket> Bind(const UnixAddress& address,
                                                 UnixBindOptions options = {});
  // UnixDatagramSocket::Connect()
  //
  // A socket without a name that sends to one peer. Nobody can answer it. Does not block.
  static absl::StatusOr<UnixDatagramSocket> Connect(const UnixAddress& peer);
  // UnixDatagramSocket::Pair()
  //
  // Two that are connected with each other (socketpair(2)).
  static absl::StatusOr<std::pair<UnixDatagramSocket, UnixDatagramSocket>> Pair();
  // UnixDatagramSocket::Adopt()
  //
  // Takes over a Unix datagram socket, making it non-blocking; anything else is an error
  // that says what it is, and stays the caller's. The file of its address is not removed
  // by Close(). Release() gives the socket up, with its file.
  static absl::StatusOr<UnixDatagramSocket> Adopt(int fd);
  int Release();

  // UnixDatagramSocket::SetPeer()
  //
  // Connects it: Send() goes there, and only from there is anything received. Does not
  // block.
  absl::Status SetPeer(const UnixAddress& peer);

  absl::Status Send(absl::string_view data, Deadline deadline = {});
  absl::Status SendTo(absl::string_view data, const UnixAddress& peer,
                      Deadline deadline = {});
  // UnixDatagramSocket::SendDescriptors(), UnixDatagramSocket::SendDescriptorsTo()
  //
  // As Send() and SendTo(), with copies of these descriptors, at most 253 (SCM_MAX_FD).
  // The caller's stay open. `data` may be empty.
  absl::Status SendDescriptors(absl::string_view data, absl::Span<const int> fds,
                               Deadline deadline = {});
  absl::Status SendDescriptorsTo(absl::string_view data, absl::Span<const int> fds,
                                 const UnixAddress& peer, Deadline deadline = {});

  // UnixDatagramSocket::WaitReadable()
  //
  // Waits until there is a datagram, and leaves it there.
  absl::Status WaitReadable(Deadline deadline = {});

  // UnixDatagramSocket::Receive()
  //
  // The next datagram; no bytes are one too. Descriptors that come with it are closed.
  absl::StatusOr<UnixMessage> Receive(absl::Span<char> buffer, Deadline deadline = {});
  // UnixDatagramSocket::ReceiveDescriptors()
  //
  // As Receive(), with the descriptors. If more came than `max_fds`, all are closed, the
  // datagram is gone, and kResourceExhausted is returned.
  absl::StatusOr<UnixMessage> ReceiveDescriptors(absl::Span<char> buffer, size_t max_fds,
                                                 Deadline deadline = {});

  absl::StatusOr<UnixAddress> local_address() const;
  // Of a pair's other end. A socket that was bound has none: see UnixMessage::sender.
  absl::StatusOr<PeerCredentials> peer_credentials() const;
  int fd() const { return descriptor_.fd(); }
  bool closed() const { return !descriptor_.valid(); }
  // Wakes who waits, and removes the socket's file, if it is still the one that Bind()
  // made. So does destroying it.
  void Close();

 private:
  explicit UnixDatagramSocket(int fd) : descriptor_(fd) {}
  static absl::StatusOr<UnixDatagramSocket> Make(absl::string_view operation);

  Descriptor descriptor_;
  net_internal::BoundFile file_;
};

}  // namespace grove::net

#endif  // GROVE_NET_UNIX_DATAGRAM_H_
