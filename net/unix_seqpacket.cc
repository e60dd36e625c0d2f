#include "grove/net/unix_seqpacket.h"

#include <errno.h>
#include <sys/socket.h>

#include "absl/strings/str_cat.h"
#include "grove/green/status.h"
#include "grove/net/internal/socket.h"
#include "grove/net/internal/unix_messages.h"
#include "grove/net/internal/unix_socket.h"

namespace grove::net {

// --- UnixSeqPacket --------------------------------------------------------------------

absl::StatusOr<UnixSeqPacket> UnixSeqPacket::Connect(const UnixAddress& address,
                                                     Deadline deadline) {
  const std::string operation = absl::StrCat("connect to unix:", address.ToString());
  const int fd = net_internal::NewSocket(AF_UNIX, SOCK_SEQPACKET);
  if (fd < 0) return ErrnoStatus(errno, operation);
  UnixSeqPacket socket(fd, address);
  if (absl::Status s = net_internal::ConnectUnix(fd, address, operation, deadline);
      !s.ok()) {
    return s;
  }
  return socket;
}

absl::StatusOr<std::pair<UnixSeqPacket, UnixSeqPacket>> UnixSeqPacket::Pair() {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0) {
    return ErrnoStatus(errno, "make a pair of Unix seqpacket sockets");
  }
  return std::pair(UnixSeqPacket(fds[0], {}), UnixSeqPacket(fds[1], {}));
}

absl::StatusOr<UnixSeqPacket> UnixSeqPacket::Adopt(int fd) {
  const absl::string_view as = "a Unix seqpacket connection";
  if (absl::Status s = net_internal::MakeAdoptable(
          fd, {.is_unix = true, .type = SOCK_SEQPACKET, .name = as});
      !s.ok()) {
    return s;
  }
  absl::StatusOr<UnixAddress> peer = net_internal::UnixNameOf(
      fd, &getpeername, absl::StrCat("adopt fd ", fd, " as ", as));
  if (!peer.ok()) return std::move(peer).status();
  return UnixSeqPacket(fd, *std::move(peer));
}

absl::Status UnixSeqPacket::Send(absl::string_view data, Deadline deadline) {
  return SendDescriptors(data, {}, deadline);
}

absl::Status UnixSeqPacket::SendDescriptors(absl::string_view data,
                                            absl::Span<const int> fds,
                                            Deadline deadline) {
  if (data.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "send to ", Describe(), ": an empty message would be taken for the end"));
  }
  return net_internal::SendUnixMessage(
      descriptor_, data, fds, /*to=*/nullptr, deadline,
      [&] { return absl::StrCat("send to ", Describe()); });
}

absl::StatusOr<UnixMessage> UnixSeqPacket::Receive(absl::Span<char> buffer,
                                                   Deadline deadline) {
  return net_internal::ReceiveUnixMessage(
      descriptor_, buffer, std::nullopt, deadline,
      [&] { return absl::StrCat("receive from ", Describe()); });
}

absl::StatusOr<UnixMessage> UnixSeqPacket::ReceiveDescriptors(absl::Span<char> buffer,
                                                              size_t max_fds,
                                                              Deadline deadline) {
  return net_internal::ReceiveUnixMessage(descriptor_, buffer, max_fds, deadline, [&] {
    return absl::StrCat("receive from ", Describe());
  });
}

absl::Status UnixSeqPacket::ShutdownWrite() {
  if (shutdown(fd(), SHUT_WR) == 0) return absl::OkStatus();
  return ErrnoStatus(errno, absl::StrCat("shut down writing to ", Describe()));
}

absl::StatusOr<PeerCredentials> UnixSeqPacket::peer_credentials() const {
  return net_internal::PeerCredentialsOf(fd(), Describe());
}

// --- UnixSeqPacketListener ------------------------------------------------------------

absl::StatusOr<UnixSeqPacketListener> UnixSeqPacketListener::Listen(
    const UnixAddress& address, UnixListenOptions options) {
  auto acceptor = net_internal::UnixAcceptor::Listen(SOCK_SEQPACKET, address, options);
  if (!acceptor.ok()) return std::move(acceptor).status();
  return UnixSeqPacketListener(*std::move(acceptor));
}

absl::StatusOr<UnixSeqPacketListener> UnixSeqPacketListener::Adopt(int fd) {
  auto acceptor =
      net_internal::UnixAcceptor::Adopt(fd, SOCK_SEQPACKET, "a Unix seqpacket listener");
  if (!acceptor.ok()) return std::move(acceptor).status();
  return UnixSeqPacketListener(*std::move(acceptor));
}

absl::StatusOr<UnixSeqPacket> UnixSeqPacketListener::TryAccept() {
  auto accepted = acceptor_.TryAccept();
  if (!accepted.ok()) return std::move(accepted).status();
  return UnixSeqPacket(accepted->first, std::move(accepted->second));
}

absl::StatusOr<UnixSeqPacket> UnixSeqPacketListener::Accept(Deadline deadline) {
  auto accepted = acceptor_.Accept(deadline);
  if (!accepted.ok()) return std::move(accepted).status();
  return UnixSeqPacket(accepted->first, std::move(accepted->second));
}

}  // namespace grove::net
