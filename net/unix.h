#ifndef GROVE_NET_UNIX_H_
#define GROVE_NET_UNIX_H_

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "grove/hub/deadline.h"
#include "grove/net/internal/socket_stream.h"
#include "grove/net/internal/unix_acceptor.h"
#include "grove/net/peer_credentials.h"
#include "grove/net/unix_address.h"
#include "grove/net/unix_listen_options.h"

// Unix domain sockets (unix(7)): between processes of one machine, by a path or by an
// abstract name, with descriptors as passengers. Streams; messages are in unix_datagram.h
// and unix_seqpacket.h.
namespace grove::net {

// UnixStream
//
// A connected Unix stream socket. See Stream for what reading and writing promise.
//
//   const UnixAddress address = *UnixAddress::Parse("/run/x.sock");
//   absl::StatusOr<UnixStream> s = UnixStream::Connect(address);
//
// Threads: its hub's.
class UnixStream final : public net_internal::SocketStream {
 public:
  // Closed.
  UnixStream() = default;
  UnixStream(UnixStream&&) = default;
  UnixStream& operator=(UnixStream&&) = default;
  // Closes.
  ~UnixStream() override = default;

  // UnixStream::Connect()
  //
  // Blocks: while the listener's backlog is full.
  // Deadline: returns kDeadlineExceeded. Kill: throws. No descriptor is left behind.
  static absl::StatusOr<UnixStream> Connect(const UnixAddress& address,
                                            Deadline deadline = {});

  // UnixStream::Pair()
  //
  // Two that are connected with each other (socketpair(2)).
  static absl::StatusOr<std::pair<UnixStream, UnixStream>> Pair();

  // UnixStream::Adopt()
  //
  // Takes over a connected Unix stream socket, making it non-blocking; anything else is
  // an error that says what it is, and stays the caller's. Release() gives it up.
  static absl::StatusOr<UnixStream> Adopt(int fd);

  const UnixAddress& peer() const { return peer_; }
  absl::StatusOr<PeerCredentials> peer_credentials() const;

  // UnixStream::SendDescriptors()
  //
  // Writes all of `data`, at least one byte, and with its first byte sends copies of
  // these descriptors, at most 253 (SCM_MAX_FD). The caller's stay open.
  //
  // Contract as Write(). If it fails before the first byte, no descriptor was sent.
  absl::Status SendDescriptors(absl::string_view data, absl::Span<const int> fds,
                               Deadline deadline = {});

  // What came with some bytes.
  struct Received {
    size_t bytes = 0;  // 0: the end
    // Open, closed on exec, and the receiver's to close. Never more than it has room for:
    // see ReceiveDescriptors().
    std::vector<int> fds;
    // Who has sent them, if PassCredentials (socket_options.h) is set.
    std::optional<PeerCredentials> sender;
  };

  // UnixStream::ReceiveDescriptors()
  //
  // As Read(), with the descriptors that were sent with these bytes. If more came than
  // `max_fds`, all are closed, and kResourceExhausted is returned: a peer cannot fill
  // this process's table. (Read() closes any that come.)
  absl::StatusOr<Received> ReceiveDescriptors(absl::Span<char> buffer, size_t max_fds,
                                              Deadline deadline = {});

  std::string Describe() const override { return "unix:" + peer_.ToString(); }

 private:
  friend class UnixListener;
  UnixStream(int fd, UnixAddress peer) : SocketStream(fd), peer_(std::move(peer)) {}

  UnixAddress peer_;
};

// UnixListener
//
// Threads: the hub that made it.
class UnixListener {
 public:
  // Closed.
  UnixListener() = default;

  // UnixListener::Listen()
  //
  // Does not block. The status of a failure names the address. An unnamed address is
  // given an abstract name by the kernel; see address().
  static absl::StatusOr<UnixListener> Listen(const UnixAddress& address,
                                             UnixListenOptions options = {});

  // UnixListener::Adopt()
  //
  // Takes over a listening Unix stream socket, making it non-blocking. Its file, if it
  // has one, is not removed when it is closed: whoever made it does that.
  static absl::StatusOr<UnixListener> Adopt(int fd);
  int Release() { return acceptor_.Release(); }

  // Contracts as TcpListener's.
  absl::StatusOr<UnixStream> Accept(Deadline deadline = {});
  absl::StatusOr<UnixStream> TryAccept();
  absl::Status WaitForConnection(Deadline deadline = {}) {
    return acceptor_.WaitForConnection(deadline);
  }

  const UnixAddress& address() const { return acceptor_.address(); }
  int fd() const { return acceptor_.fd(); }
  bool closed() const { return fd() < 0; }
  // Wakes who waits, with kCancelled, and removes the socket's file, if it is still the
  // one that this listener made. So does destroying it.
  void Close() { acceptor_.Close(); }

 private:
  explicit UnixListener(net_internal::UnixAcceptor acceptor)
      : acceptor_(std::move(acceptor)) {}

  net_internal::UnixAcceptor acceptor_;
};

}  // namespace grove::net

#endif  // GROVE_NET_UNIX_H_
