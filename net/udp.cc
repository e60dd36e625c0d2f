#include "grove/net/udp.h"

#include <errno.h>
#include <string.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "grove/green/status.h"
#include "grove/net/internal/retry.h"
#include "grove/net/internal/socket.h"
#include "grove/net/internal/uncancelled.h"

namespace grove::net {

using net_internal::ReceiveOrWait;
using net_internal::SendOrWait;
using net_internal::SetFlag;
using net_internal::WasClosed;
namespace uncancelled = net_internal::uncancelled;

// So many at once come from a sender who does not wait for each answer.
constexpr size_t kManyDatagrams = 8;

// --- DatagramBatch --------------------------------------------------------------------

DatagramBatch::DatagramBatch(size_t capacity, size_t max_bytes)
    : max_bytes_(max_bytes),
      bytes_(new char[capacity * max_bytes]),
      headers_(capacity),
      vectors_(capacity),
      peers_(capacity) {
  for (size_t i = 0; i < capacity; ++i) {
    vectors_[i].iov_base = bytes_.get() + i * max_bytes;
    msghdr& h = headers_[i].msg_hdr;
    h = {};
    h.msg_iov = &vectors_[i];
    h.msg_iovlen = 1;
    h.msg_name = &peers_[i];
  }
}

Address DatagramBatch::peer(size_t i) const {
  const msghdr& h = headers_[i].msg_hdr;
  absl::StatusOr<Address> a =
      Address::FromRaw(reinterpret_cast<const sockaddr*>(&peers_[i]), h.msg_namelen);
  return a.ok() ? a->Unmapped() : Address();
}

bool DatagramBatch::Add(absl::string_view data, const Address& peer) {
  if (!Add(data)) return false;
  const size_t i = size_ - 1;
  memcpy(&peers_[i], peer.raw(), peer.raw_size());
  headers_[i].msg_hdr.msg_namelen = peer.raw_size();
  return true;
}

bool DatagramBatch::Add(absl::string_view data) {
  if (full() || data.size() > max_bytes_) return false;
  memcpy(vectors_[size_].iov_base, data.data(), data.size());
  vectors_[size_].iov_len = data.size();
  headers_[size_].msg_hdr.msg_namelen = 0;
  headers_[size_].msg_hdr.msg_flags = 0;
  ++size_;
  return true;
}

void DatagramBatch::PrepareToReceive() {
  size_ = 0;
  for (size_t i = 0; i < capacity(); ++i) {
    vectors_[i].iov_len = max_bytes_;
    headers_[i].msg_hdr.msg_namelen = sizeof(Peer);
  }
}

void DatagramBatch::Received(size_t n) {
  size_ = n;
  for (size_t i = 0; i < n; ++i) vectors_[i].iov_len = headers_[i].msg_len;
}

// --- UdpSocket ------------------------------------------------------------------------

absl::StatusOr<UdpSocket> UdpSocket::Make(const Address& address, UdpOptions options) {
  const int fd = net_internal::NewSocket(address.raw()->sa_family, SOCK_DGRAM);
  if (fd < 0) {
    return ErrnoStatus(errno, absl::StrCat("UDP socket for ", address.ToString()));
  }
  UdpSocket s(fd);
  if (options.reuse_port) SetFlag(fd, SOL_SOCKET, SO_REUSEPORT);
  if (options.broadcast) SetFlag(fd, SOL_SOCKET, SO_BROADCAST);
  if (address.is_v6()) net_internal::SetV6Only(fd, options.v6_only);
  return s;
}

absl::StatusOr<UdpSocket> UdpSocket::Bind(const Address& address, UdpOptions options) {
  absl::StatusOr<UdpSocket> s = Make(address, options);
  if (s.ok() && bind(s->fd(), address.raw(), address.raw_size()) != 0) {
    return ErrnoStatus(errno, absl::StrCat("bind UDP ", address.ToString()));
  }
  return s;
}

absl::StatusOr<UdpSocket> UdpSocket::Connect(const Address& peer, UdpOptions options) {
  absl::StatusOr<UdpSocket> s = Make(peer, options);
  if (s.ok() && connect(s->fd(), peer.raw(), peer.raw_size()) != 0) {
    return ErrnoStatus(errno, absl::StrCat("connect UDP to ", peer.ToString()));
  }
  return s;
}

absl::StatusOr<UdpSocket> UdpSocket::Adopt(int fd) {
  if (absl::Status s =
          net_internal::MakeAdoptable(fd, {.type = SOCK_DGRAM, .name = "a UDP socket"});
      !s.ok()) {
    return s;
  }
  return UdpSocket(fd);
}

absl::StatusOr<UdpSocket::Datagram> UdpSocket::ReceiveFrom(absl::Span<char> buffer,
                                                           Deadline deadline) {
  sockaddr_storage from;
  iovec bytes{buffer.data(), buffer.size()};
  msghdr message{};
  const absl::StatusOr<size_t> n = ReceiveOrWait(
      descriptor_, deadline,
      [&](int fd) {
        message = {};
        message.msg_name = &from;
        message.msg_namelen = sizeof from;
        message.msg_iov = &bytes;
        message.msg_iovlen = 1;
        return uncancelled::recvmsg(fd, &message, 0);
      },
      [] { return "receive from UDP"; });
  if (!n.ok()) return n.status();
  absl::StatusOr<Address> peer =
      Address::FromRaw(reinterpret_cast<sockaddr*>(&from), message.msg_namelen);
  return Datagram{*n, peer.ok() ? peer->Unmapped() : Address(),
                  (message.msg_flags & MSG_TRUNC) != 0};
}

absl::Status UdpSocket::SendTo(absl::string_view data, const Address& peer,
                               Deadline deadline) {
  return SendOrWait(
             descriptor_, deadline,
             [&](int fd) {
               return uncancelled::sendto(fd, data.data(), data.size(), MSG_NOSIGNAL,
                                          peer.raw(), peer.raw_size());
             },
             [&] { return absl::StrCat("send to UDP ", peer.ToString()); })
      .status();
}

absl::Status UdpSocket::Send(absl::string_view data, Deadline deadline) {
  return SendOrWait(
             descriptor_, deadline,
             [&](int fd) {
               return uncancelled::send(fd, data.data(), data.size(), MSG_NOSIGNAL);
             },
             [] { return "send to the connected UDP peer"; })
      .status();
}

absl::Status UdpSocket::WaitReadable(Deadline deadline) {
  return net_internal::WaitForMessage(descriptor_, deadline,
                                      [] { return "wait for a datagram"; });
}

absl::StatusOr<size_t> UdpSocket::ReceiveBatch(DatagramBatch& batch, Deadline deadline) {
  batch.PrepareToReceive();
  if (receive_waits_first_ && deadline != Deadline::Passed()) {
    const WaitResult result = descriptor_.WaitReadable(deadline);
    if (result == WaitResult::kClosed) return WasClosed("receive");
    // Past the deadline, what is there by then is still taken.
    receive_waits_first_ = false;
  }
  absl::StatusOr<size_t> n = ReceiveOrWait(
      descriptor_, deadline,
      [&](int fd) -> ssize_t {
        return uncancelled::recvmmsg(fd, batch.headers_.data(),
                                     static_cast<unsigned>(batch.capacity()), 0, nullptr);
      },
      [] { return "receive from UDP"; });
  if (!n.ok()) return n;
  batch.Received(*n);
  receive_waits_first_ = *n < std::min(batch.capacity(), kManyDatagrams);
  return n;
}

absl::Status UdpSocket::SendBatch(const DatagramBatch& batch, Deadline deadline) {
  size_t done = 0;
  while (done < batch.size()) {
    const absl::StatusOr<size_t> n = SendOrWait(
        descriptor_, deadline,
        [&](int fd) -> ssize_t {
          return uncancelled::sendmmsg(fd, const_cast<mmsghdr*>(&batch.headers_[done]),
                                       static_cast<unsigned>(batch.size() - done),
                                       MSG_NOSIGNAL);
        },
        [&] {
          return absl::StrCat("send datagram ", done + 1, " of ", batch.size(), " to ",
                              batch.peer(done).ToString());
        });
    if (!n.ok()) return WithBytesMoved(n.status(), done);
    done += *n;
  }
  return absl::OkStatus();
}

absl::StatusOr<Address> UdpSocket::local_address() const {
  sockaddr_storage raw;
  socklen_t size = sizeof raw;
  if (getsockname(fd(), reinterpret_cast<sockaddr*>(&raw), &size) != 0) {
    return ErrnoStatus(errno, "local address");
  }
  return Address::FromRaw(reinterpret_cast<sockaddr*>(&raw), size);
}

}  // namespace grove::net
