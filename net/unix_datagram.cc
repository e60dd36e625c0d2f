#include "grove/net/unix_datagram.h"

#include <errno.h>
#include <sys/socket.h>

#include <optional>

#include "absl/strings/str_cat.h"
#include "grove/green/status.h"
#include "grove/net/internal/retry.h"
#include "grove/net/internal/socket.h"
#include "grove/net/internal/unix_messages.h"

namespace grove::net {
namespace {

std::string SendToPeer() { return "send to the connected Unix peer"; }
std::string ReceiveHere() { return "receive from a Unix datagram socket"; }

}  // namespace

absl::StatusOr<UnixDatagramSocket> UnixDatagramSocket::Make(absl::string_view operation) {
  const int fd = net_internal::NewSocket(AF_UNIX, SOCK_DGRAM);
  if (fd < 0) return ErrnoStatus(errno, operation);
  return UnixDatagramSocket(fd);
}

absl::StatusOr<UnixDatagramSocket> UnixDatagramSocket::Bind(const UnixAddress& address,
                                                            UnixBindOptions options) {
  const std::string operation = absl::StrCat("bind unix:", address.ToString());
  absl::StatusOr<UnixDatagramSocket> s = Make(operation);
  if (!s.ok()) return s;
  auto file = net_internal::BindUnix(s->fd(), SOCK_DGRAM, address, options.mode,
                                     options.replace_stale, operation);
  if (!file.ok()) return std::move(file).status();
  s->file_ = *std::move(file);
  return s;
}

absl::StatusOr<UnixDatagramSocket> UnixDatagramSocket::Connect(const UnixAddress& peer) {
  absl::StatusOr<UnixDatagramSocket> s =
      Make(absl::StrCat("connect to unix:", peer.ToString()));
  if (!s.ok()) return s;
  if (absl::Status connected = s->SetPeer(peer); !connected.ok()) return connected;
  return s;
}

absl::Status UnixDatagramSocket::SetPeer(const UnixAddress& peer) {
  const net_internal::RawUnixAddress raw(peer);
  if (connect(fd(), raw.get(), raw.size()) == 0) return absl::OkStatus();
  return ErrnoStatus(errno, absl::StrCat("connect to unix:", peer.ToString()));
}

absl::StatusOr<std::pair<UnixDatagramSocket, UnixDatagramSocket>>
UnixDatagramSocket::Pair() {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0) {
    return ErrnoStatus(errno, "make a pair of Unix datagram sockets");
  }
  return std::pair(UnixDatagramSocket(fds[0]), UnixDatagramSocket(fds[1]));
}

absl::StatusOr<UnixDatagramSocket> UnixDatagramSocket::Adopt(int fd) {
  if (absl::Status s = net_internal::MakeAdoptable(
          fd, {.is_unix = true, .type = SOCK_DGRAM, .name = "a Unix datagram socket"});
      !s.ok()) {
    return s;
  }
  return UnixDatagramSocket(fd);
}

int UnixDatagramSocket::Release() {
  file_.Forget();
  return descriptor_.Release();
}

absl::Status UnixDatagramSocket::Send(absl::string_view data, Deadline deadline) {
  return SendDescriptors(data, {}, deadline);
}

absl::Status UnixDatagramSocket::SendTo(absl::string_view data, const UnixAddress& peer,
                                        Deadline deadline) {
  return SendDescriptorsTo(data, {}, peer, deadline);
}

absl::Status UnixDatagramSocket::SendDescriptors(absl::string_view data,
                                                 absl::Span<const int> fds,
                                                 Deadline deadline) {
  return net_internal::SendUnixMessage(descriptor_, data, fds, /*to=*/nullptr, deadline,
                                       &SendToPeer);
}

absl::Status UnixDatagramSocket::SendDescriptorsTo(absl::string_view data,
                                                   absl::Span<const int> fds,
                                                   const UnixAddress& peer,
                                                   Deadline deadline) {
  return net_internal::SendUnixMessage(descriptor_, data, fds, &peer, deadline, [&] {
    return absl::StrCat("send to unix:", peer.ToString());
  });
}

absl::Status UnixDatagramSocket::WaitReadable(Deadline deadline) {
  return net_internal::WaitForMessage(descriptor_, deadline,
                                      [] { return "wait for a Unix datagram"; });
}

absl::StatusOr<UnixMessage> UnixDatagramSocket::Receive(absl::Span<char> buffer,
                                                        Deadline deadline) {
  return net_internal::ReceiveUnixMessage(descriptor_, buffer, std::nullopt, deadline,
                                          &ReceiveHere);
}

absl::StatusOr<UnixMessage> UnixDatagramSocket::ReceiveDescriptors(
    absl::Span<char> buffer, size_t max_fds, Deadline deadline) {
  return net_internal::ReceiveUnixMessage(descriptor_, buffer, max_fds, deadline,
                                          &ReceiveHere);
}

absl::StatusOr<UnixAddress> UnixDatagramSocket::local_address() const {
  return net_internal::UnixNameOf(fd(), &getsockname, "local address");
}

absl::StatusOr<PeerCredentials> UnixDatagramSocket::peer_credentials() const {
  return net_internal::PeerCredentialsOf(fd(), "the connected Unix peer");
}

void UnixDatagramSocket::Close() {
  file_.Remove();
  descriptor_.Close();
}

}  // namespace grove::net
