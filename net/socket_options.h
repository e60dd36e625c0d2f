#ifndef GROVE_NET_SOCKET_OPTIONS_H_
#define GROVE_NET_SOCKET_OPTIONS_H_

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

// The options of sockets, each a type of its own (socket(7), tcp(7), ip(7), unix(7)):
//
//   SetOption(stream, TcpUserTimeout{absl::Seconds(20)});
//   SetOption(stream, TcpKeepAlive{.idle = absl::Minutes(1), .count = 3});
//   absl::StatusOr<ReceiveBuffer> buffer = GetOption<ReceiveBuffer>(listener);
//
// On whatever has a fd(): streams, listeners, datagram sockets. Accepted connections
// inherit most from their listener. What has to be set before a socket is bound is in the
// options of Listen() and Bind().
//
// Nothing here blocks. Errors name the option and the peer, and have the kernel's errno:
// "set TCP_NODELAY of unix:/run/x: Operation not supported".
namespace grove::net {

namespace net_internal {
enum class OptionId;
}

#define GROVE_SOCKET_OPTION(Name, Member)                       \
  struct Name {                                                 \
    Member;                                                     \
    static const net_internal::OptionId kId;                    \
    friend bool operator==(const Name&, const Name&) = default; \
  }

// --- of TCP ---------------------------------------------------------------------------

// Small writes are sent at once; set by TcpStream already.
GROVE_SOCKET_OPTION(TcpNoDelay, bool on = true);
// Nothing is sent but full segments, until it is off again, or for 200 ms.
GROVE_SOCKET_OPTION(TcpCork, bool on = true);
// Acknowledges at once; not for ever: the kernel goes back to delaying by itself.
GROVE_SOCKET_OPTION(TcpQuickAck, bool on = true);
// How long what was sent may stay unacknowledged before the connection is given up; zero
// is the system's own. To milliseconds, rounded up, as for all durations here.
GROVE_SOCKET_OPTION(TcpUserTimeout, absl::Duration time = absl::ZeroDuration());
// Of a listener: connections come when there is something to read, or after this. To
// seconds.
GROVE_SOCKET_OPTION(TcpDeferAccept, absl::Duration time = absl::ZeroDuration());
// Of a listener: how many may send data with their first segment.
GROVE_SOCKET_OPTION(TcpFastOpen, int queue = 0);
GROVE_SOCKET_OPTION(TcpMaxSegment, int bytes = 0);
// How much unsent data may wait in the kernel before the socket counts as not writable.
GROVE_SOCKET_OPTION(TcpNotSentLowWater, int bytes = 0);
// "cubic", "bbr", ...
GROVE_SOCKET_OPTION(TcpCongestion, std::string name = {});

// TcpKeepAlive
//
// Looks whether the peer is still there: when nothing has come for `idle`, every
// `interval`, until `count` have gone unanswered. To seconds. What is not given stays as
// it is.
struct TcpKeepAlive {
  bool on = true;
  std::optional<absl::Duration> idle = {};
  std::optional<absl::Duration> interval = {};
  std::optional<int> count = {};
  friend bool operator==(const TcpKeepAlive&, const TcpKeepAlive&) = default;
};

// --- of all ---------------------------------------------------------------------------

// The kernel takes twice what is asked for, for its own needs, tells that, and goes no
// higher than net.core.wmem_max and rmem_max.
GROVE_SOCKET_OPTION(SendBuffer, int bytes = 0);
GROVE_SOCKET_OPTION(ReceiveBuffer, int bytes = 0);
// How much has to be there before a socket counts as readable.
GROVE_SOCKET_OPTION(ReceiveLowWater, int bytes = 1);
// Bind() and Listen() have them too, where they come in time.
GROVE_SOCKET_OPTION(ReuseAddress, bool on = true);
GROVE_SOCKET_OPTION(ReusePort, bool on = true);
GROVE_SOCKET_OPTION(Broadcast, bool on = true);
// From 0 to 6 without privileges.
GROVE_SOCKET_OPTION(Priority, int value = 0);
// For routing and filters; needs CAP_NET_ADMIN, or CAP_NET_RAW.
GROVE_SOCKET_OPTION(Mark, int value = 0);
// The processor that its packets are handled on.
GROVE_SOCKET_OPTION(IncomingCpu, int cpu = 0);
// How long a read may look for packets itself. To microseconds.
GROVE_SOCKET_OPTION(BusyPoll, absl::Duration time = absl::ZeroDuration());
// The interface's name; empty for any.
GROVE_SOCKET_OPTION(BindToDevice, std::string name = {});

// Linger
//
// With a time, what a close does with data that the peer has not acknowledged: zero drops
// it, and resets the connection. More than zero makes close(2), and with it the thread,
// wait for so long, so do not. To seconds.
struct Linger {
  std::optional<absl::Duration> time = {};
  friend bool operator==(const Linger&, const Linger&) = default;
};

// --- of IP, version 4 and 6 alike -----------------------------------------------------

// The type of service, or traffic class, of what is sent: DSCP and ECN. Of a socket for
// both versions, of both.
GROVE_SOCKET_OPTION(IpTos, int value = 0);
// How many routers it may pass.
GROVE_SOCKET_OPTION(IpTtl, int hops = 64);
// The same of what is sent to multicast groups (multicast.h), and whether it comes back
// to sockets of this machine.
GROVE_SOCKET_OPTION(MulticastTtl, int hops = 1);
GROVE_SOCKET_OPTION(MulticastLoop, bool on = true);
// May be bound to an address that this machine does not have (yet).
GROVE_SOCKET_OPTION(FreeBind, bool on = true);
// Of IPv6: not for IPv4 as well. To be read; Listen() and Bind() set it.
GROVE_SOCKET_OPTION(V6Only, bool on = true);

// --- of Unix sockets ------------------------------------------------------------------

// What is received says who has sent it: UnixMessage::sender,
// UnixStream::Received::sender.
GROVE_SOCKET_OPTION(PassCredentials, bool on = true);

#undef GROVE_SOCKET_OPTION

namespace net_internal {

absl::Status SetValue(int fd, OptionId id, bool value);
absl::Status SetValue(int fd, OptionId id, int value);
absl::Status SetValue(int fd, OptionId id, absl::Duration value);
absl::Status SetValue(int fd, OptionId id, const std::string& value);
absl::Status GetValue(int fd, OptionId id, bool& value);
absl::Status GetValue(int fd, OptionId id, int& value);
absl::Status GetValue(int fd, OptionId id, absl::Duration& value);
absl::Status GetValue(int fd, OptionId id, std::string& value);

template <typename Option>
absl::Status Set(int fd, const Option& option) {
  const auto& [value] = option;
  return SetValue(fd, Option::kId, value);
}
absl::Status Set(int fd, const TcpKeepAlive& option);
absl::Status Set(int fd, const Linger& option);

template <typename Option>
absl::Status Get(int fd, Option& option) {
  auto& [value] = option;
  return GetValue(fd, Option::kId, value);
}
absl::Status Get(int fd, TcpKeepAlive& option);
absl::Status Get(int fd, Linger& option);

}  // namespace net_internal

// SetOption()
//
// Of several values, those before one that fails are set.
template <typename Socket, typename Option>
absl::Status SetOption(const Socket& socket, const Option& option) {
  return net_internal::Set(socket.fd(), option);
}

// GetOption()
template <typename Option, typename Socket>
absl::StatusOr<Option> GetOption(const Socket& socket) {
  Option option;
  if (absl::Status s = net_internal::Get(socket.fd(), option); !s.ok()) return s;
  return option;
}

}  // namespace grove::net

#endif  // GROVE_NET_SOCKET_OPTIONS_H_
