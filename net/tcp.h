#ifndef GROVE_NET_TCP_H_
#define GROVE_NET_TCP_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grove/green/descriptor.h"
#include "grove/hub/deadline.h"
#include "grove/net/address.h"
#include "grove/net/internal/socket_stream.h"
#include "grove/net/stream.h"

namespace grove::net {

// ConnectOptions
struct ConnectOptions {
  Deadline deadline = {};
  // The local address to connect from; 0.0.0.0:0 leaves it to the kernel.
  Address source = {};
};

// TcpStream
//
// A TCP connection. See Stream for what reading and writing promise. Nagle's algorithm is
// off (TCP_NODELAY), as it is in Go: small writes are sent at once.
//
//   absl::StatusOr<TcpStream> s = TcpStream::Connect(address);
//   if (!s.ok()) return s.status();
//   if (absl::Status w = s->Write("hello"); !w.ok()) return w;
class TcpStream final : public net_internal::SocketStream {
 public:
  // Closed.
  TcpStream() = default;
  TcpStream(TcpStream&&) = default;
  TcpStream& operator=(TcpStream&&) = default;
  // Closes.
  ~TcpStream() override = default;

  // TcpStream::Connect()
  //
  // Blocks: until the connection stands.
  // Deadline: returns kDeadlineExceeded.
  // Kill: throws. In no case is a descriptor left behind.
  static absl::StatusOr<TcpStream> Connect(const Address& address,
                                           ConnectOptions options = {});

  // TcpStream::Adopt()
  //
  // Takes over a connected TCP socket, making it non-blocking; anything else is an error
  // that says what it is, and stays the caller's. Release() gives it up.
  static absl::StatusOr<TcpStream> Adopt(int fd);
  // The same of one that another hub has released, with what is known of it: costs no
  // system call.
  static TcpStream Adopt(int fd, const Address& peer) { return TcpStream(fd, peer); }

  const Address& peer() const { return peer_; }
  absl::StatusOr<Address> local_address() const;

  // By a reset.
  void Abort() override;
  std::string Describe() const override { return peer_.ToString(); }

 private:
  friend class TcpListener;
  TcpStream(int fd, const Address& peer) : SocketStream(fd), peer_(peer) {}

  Address peer_;
};

// ListenOptions
struct ListenOptions {
  int backlog = 1024;  // the kernel's limit is net.core.somaxconn
  bool reuse_address = true;
  // Several sockets may listen at one address, and connections are spread over them.
  bool reuse_port = false;
  // Of ListenMany(), whether listener i gets the connections that the ith of
  // AllowedCores() receives, to which a HubGroup pins its ith hub (SO_INCOMING_CPU of
  // socket(7), for several listeners since Linux 6.2; before, and where there are more
  // listeners than cores, it changes nothing). A connection's packets and its greenlet
  // then share a core. But all that comes in on one core is one hub's, however busy it
  // is: for network cards that spread connections over the cores.
  bool by_core = false;
  // Of [::], whether IPv4 is left out; else connections of both come, and IPv4 peers are
  // shown as such.
  bool v6_only = false;
};

// TcpListener
//
// Threads: the hub that made it. To hand it to another one, Release() here and Adopt()
// there.
class TcpListener {
 public:
  TcpListener() = default;

  // TcpListener::Listen()
  //
  // Does not block. Port 0 takes a free one; see address(). The status of a failure names
  // the address.
  static absl::StatusOr<TcpListener> Listen(const Address& address,
                                            ListenOptions options = {});

  // TcpListener::ListenMany()
  //
  // `count` listeners at one address, one for each of as many hubs, over which the kernel
  // spreads connections (SO_REUSEPORT), by a hash unless they go `by_core`. An address at
  // which anybody listens already is an error, though the kernel would let this user's
  // processes share it.
  static absl::StatusOr<std::vector<TcpListener>> ListenMany(const Address& address,
                                                             int count,
                                                             ListenOptions options = {});

  // TcpListener::Adopt()
  //
  // Takes over a listening TCP socket, making it non-blocking; anything else is an error
  // that says what it is, and stays the caller's.
  static absl::StatusOr<TcpListener> Adopt(int fd);
  int Release() { return descriptor_.Release(); }

  // TcpListener::Accept()
  //
  // Blocks: until somebody connects.
  // Deadline: returns kDeadlineExceeded.
  // Kill: throws; no connection is lost.
  // Errors of one connection (it was reset while it waited) are not reported: the next
  // one is taken. Exhausted descriptors are: kResourceExhausted.
  absl::StatusOr<TcpStream> Accept(Deadline deadline = {});

  // TcpListener::TryAccept()
  //
  // As Accept(), without waiting: kUnavailable with EAGAIN if nobody is there.
  absl::StatusOr<TcpStream> TryAccept();

  // TcpListener::WaitForConnection()
  //
  // Blocks: until somebody may be there. Kill: throws.
  absl::Status WaitForConnection(Deadline deadline = {});

  // The actual one, with the port that the kernel chose.
  const Address& address() const { return address_; }
  int fd() const { return descriptor_.fd(); }
  bool closed() const { return !descriptor_.valid(); }
  // Wakes who waits, with kCancelled. Connections in the backlog are reset.
  void Close() { descriptor_.Close(); }

 private:
  TcpListener(int fd, const Address& address) : descriptor_(fd), address_(address) {}

  Descriptor descriptor_;
  Address address_;
};

}  // namespace grove::net

#endif  // GROVE_NET_TCP_H_
