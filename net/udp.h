#ifndef GROVE_NET_UDP_H_
#define GROVE_NET_UDP_H_

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstddef>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "grove/green/descriptor.h"
#include "grove/hub/deadline.h"
#include "grove/net/address.h"

namespace grove::net {

// DatagramBatch
//
// Room for several datagrams, which are received or sent by one system call
// (recvmmsg(2), sendmmsg(2)). Made once and used again and again: a call allocates
// nothing.
//
//   DatagramBatch batch(64, 1500);
//   while (socket.ReceiveBatch(batch).ok()) {
//     socket.SendBatch(batch).IgnoreError();   // back to where they came from
//   }
//
// Threads: one at a time.
class DatagramBatch {
 public:
  // Room for `capacity` datagrams of at most `max_bytes` each.
  DatagramBatch(size_t capacity, size_t max_bytes);
  DatagramBatch(const DatagramBatch&) = delete;
  DatagramBatch& operator=(const DatagramBatch&) = delete;

  size_t capacity() const { return headers_.size(); }
  size_t max_bytes() const { return max_bytes_; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  bool full() const { return size_ == capacity(); }

  absl::string_view data(size_t i) const {
    return {static_cast<const char*>(vectors_[i].iov_base), vectors_[i].iov_len};
  }
  // Who sent it, or is to get it.
  Address peer(size_t i) const;
  // Whether it was longer than there was room for: its end is lost.
  bool truncated(size_t i) const {
    return (headers_[i].msg_hdr.msg_flags & MSG_TRUNC) != 0;
  }

  // For sending. Add() is false if there is no room for it, or for its bytes. Without a
  // peer it goes to the socket's, which is connected.
  void Clear() { size_ = 0; }
  bool Add(absl::string_view data, const Address& peer);
  bool Add(absl::string_view data);

 private:
  friend class UdpSocket;
  void PrepareToReceive();
  void Received(size_t n);

  const size_t max_bytes_;
  size_t size_ = 0;
  std::unique_ptr<char[]> bytes_;
  std::vector<mmsghdr> headers_;
  std::vector<iovec> vectors_;
  // No larger than it has to be: a batch goes through all of them.
  struct Peer {
    alignas(sockaddr_in6) char raw[sizeof(sockaddr_in6)];
  };
  std::vector<Peer> peers_;
};

// UdpOptions
struct UdpOptions {
  // Several sockets may be bound to one address, and datagrams are spread over them.
  bool reuse_port = false;
  bool broadcast = false;  // may send to broadcast addresses
  // Of [::], whether IPv4 is left out; else datagrams of both come, and IPv4 peers are
  // shown as such.
  bool v6_only = false;
};

// UdpSocket
//
//   UdpSocket server = *UdpSocket::Bind(*Address::Parse("127.0.0.1:5353"));
//   char buffer[1500];
//   while (auto d = server.ReceiveFrom(absl::MakeSpan(buffer)); d.ok()) {
//     server.SendTo({buffer, d->bytes}, d->peer).IgnoreError();
//   }
//
// For all that follow:
//   Blocks: receiving, until there is a datagram; sending, while the socket's buffer is
//       full. The network loses datagrams without a word.
//   Deadline: returns kDeadlineExceeded.
//   Kill: throws; no datagram is lost by it.
//   Close() by another greenlet: returns kCancelled.
//   Threads: the hub that made it. One greenlet may receive while another sends; two that
//       wait to do the same are a fatal error.
//   Errors: one that a peer's machine has reported (ECONNREFUSED, on a connected socket)
//       is returned once, by the next call. A datagram that is too large is EMSGSIZE.
class UdpSocket {
 public:
  // Closed.
  UdpSocket() = default;

  // UdpSocket::Bind()
  //
  // A socket that receives at this address; port 0 takes a free one. Does not block.
  static absl::StatusOr<UdpSocket> Bind(const Address& address, UdpOptions options = {});
  // UdpSocket::Connect()
  //
  // A socket that sends to one peer, and receives from it only. Nothing is sent by this,
  // and it does not block.
  static absl::StatusOr<UdpSocket> Connect(const Address& peer, UdpOptions options = {});
  // UdpSocket::Adopt()
  //
  // Takes over a UDP socket, making it non-blocking; anything else is an error that says
  // what it is, and stays the caller's. Release() gives the socket up.
  static absl::StatusOr<UdpSocket> Adopt(int fd);
  int Release() { return descriptor_.Release(); }

  struct Datagram {
    size_t bytes;  // in the buffer; 0 is a datagram too
    Address peer;
    bool truncated;  // it was longer than the buffer: its end is lost
  };
  absl::StatusOr<Datagram> ReceiveFrom(absl::Span<char> buffer, Deadline deadline = {});
  absl::Status SendTo(absl::string_view data, const Address& peer,
                      Deadline deadline = {});
  // To the connected peer.
  absl::Status Send(absl::string_view data, Deadline deadline = {});

  // UdpSocket::WaitReadable()
  //
  // Waits until there is a datagram, and leaves it there.
  absl::Status WaitReadable(Deadline deadline = {});

  // UdpSocket::ReceiveBatch()
  //
  // Waits for one datagram, and takes all that are there then, up to the batch's
  // capacity. Returns how many.
  absl::StatusOr<size_t> ReceiveBatch(DatagramBatch& batch, Deadline deadline = {});
  // UdpSocket::SendBatch()
  //
  // Sends all, in order. If one fails, those before it were sent: BytesMoved(status) says
  // how many, in datagrams.
  absl::Status SendBatch(const DatagramBatch& batch, Deadline deadline = {});

  absl::StatusOr<Address> local_address() const;
  int fd() const { return descriptor_.fd(); }
  bool closed() const { return !descriptor_.valid(); }
  // Wakes who waits.
  void Close() { descriptor_.Close(); }

 private:
  explicit UdpSocket(int fd) : descriptor_(fd) {}

  static absl::StatusOr<UdpSocket> Make(const Address& address, UdpOptions options);

  Descriptor descriptor_;
  // The last batch took the few that were there: to try again before waiting would be in
  // vain. Where there were many, more have come while those were dealt with.
  bool receive_waits_first_ = false;
};

}  // namespace grove::net

#endif  // GROVE_NET_UDP_H_
