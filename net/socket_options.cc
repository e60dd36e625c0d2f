#include "grove/net/socket_options.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cstdint>
#include <limits>

#include "absl/strings/str_cat.h"
#include "grove/green/status.h"
#include "grove/net/address.h"
#include "grove/net/internal/unix_socket.h"

namespace grove::net {
namespace net_internal {

// All that are a single value, as GROVE_OPTIONS(X) of: the type, its level and name for
// the kernel, and the unit of those that are durations.
#define GROVE_OPTIONS(X)                                                      \
  X(TcpNoDelay, IPPROTO_TCP, TCP_NODELAY, absl::ZeroDuration())               \
  X(TcpCork, IPPROTO_TCP, TCP_CORK, absl::ZeroDuration())                     \
  X(TcpQuickAck, IPPROTO_TCP, TCP_QUICKACK, absl::ZeroDuration())             \
  X(TcpUserTimeout, IPPROTO_TCP, TCP_USER_TIMEOUT, absl::Milliseconds(1))     \
  X(TcpDeferAccept, IPPROTO_TCP, TCP_DEFER_ACCEPT, absl::Seconds(1))          \
  X(TcpFastOpen, IPPROTO_TCP, TCP_FASTOPEN, absl::ZeroDuration())             \
  X(TcpMaxSegment, IPPROTO_TCP, TCP_MAXSEG, absl::ZeroDuration())             \
  X(TcpNotSentLowWater, IPPROTO_TCP, TCP_NOTSENT_LOWAT, absl::ZeroDuration()) \
  X(TcpCongestion, IPPROTO_TCP, TCP_CONGESTION, absl::ZeroDuration())         \
  X(SendBuffer, SOL_SOCKET, SO_SNDBUF, absl::ZeroDuration())                  \
  X(ReceiveBuffer, SOL_SOCKET, SO_RCVBUF, absl::ZeroDuration())               \
  X(ReceiveLowWater, SOL_SOCKET, SO_RCVLOWAT, absl::ZeroDuration())           \
  X(ReuseAddress, SOL_SOCKET, SO_REUSEADDR, absl::ZeroDuration())             \
  X(ReusePort, SOL_SOCKET, SO_REUSEPORT, absl::ZeroDuration())                \
  X(Broadcast, SOL_SOCKET, SO_BROADCAST, absl::ZeroDuration())                \
  X(Priority, SOL_SOCKET, SO_PRIORITY, absl::ZeroDuration())                  \
  X(Mark, SOL_SOCKET, SO_MARK, absl::ZeroDuration())                          \
  X(IncomingCpu, SOL_SOCKET, SO_INCOMING_CPU, absl::ZeroDuration())           \
  X(BusyPoll, SOL_SOCKET, SO_BUSY_POLL, absl::Microseconds(1))                \
  X(BindToDevice, SOL_SOCKET, SO_BINDTODEVICE, absl::ZeroDuration())          \
  X(IpTos, IPPROTO_IP, IP_TOS, absl::ZeroDuration())                          \
  X(IpTtl, IPPROTO_IP, IP_TTL, absl::ZeroDuration())                          \
  X(MulticastTtl, IPPROTO_IP, IP_MULTICAST_TTL, absl::ZeroDuration())         \
  X(MulticastLoop, IPPROTO_IP, IP_MULTICAST_LOOP, absl::ZeroDuration())       \
  X(FreeBind, IPPROTO_IP, IP_FREEBIND, absl::ZeroDuration())                  \
  X(V6Only, IPPROTO_IPV6, IPV6_V6ONLY, absl::ZeroDuration())                  \
  X(PassCredentials, SOL_SOCKET, SO_PASSCRED, absl::ZeroDuration())

enum class OptionId {
#define GROVE_ID(Type, level, name, unit) k##Type,
  GROVE_OPTIONS(GROVE_ID)
#undef GROVE_ID
};

namespace {

struct Known {
  int level;
  int option;
  const char* name;
  absl::Duration unit;
};

Known Of(OptionId id) {
  switch (id) {
#define GROVE_CASE(Type, level, name, unit) \
  case OptionId::k##Type:                   \
    return {level, name, #name, unit};
    GROVE_OPTIONS(GROVE_CASE)
#undef GROVE_CASE
  }
  return {};
}

const Known kKeepAlive{SOL_SOCKET, SO_KEEPALIVE, "SO_KEEPALIVE", absl::ZeroDuration()};
const Known kLinger{SOL_SOCKET, SO_LINGER, "SO_LINGER", absl::Seconds(1)};
const Known kKeepIdle{IPPROTO_TCP, TCP_KEEPIDLE, "TCP_KEEPIDLE", absl::Seconds(1)};
const Known kKeepInterval{IPPROTO_TCP, TCP_KEEPINTVL, "TCP_KEEPINTVL", absl::Seconds(1)};
const Known kKeepCount{IPPROTO_TCP, TCP_KEEPCNT, "TCP_KEEPCNT", absl::ZeroDuration()};

// "10.0.0.1:80", "unix:/run/x", or where it is bound if it is not connected.
std::string NameOf(int fd) {
  sockaddr_storage raw{};
  socklen_t size = sizeof raw;
  sockaddr* const address = reinterpret_cast<sockaddr*>(&raw);
  if (getpeername(fd, address, &size) != 0) {
    size = sizeof raw;
    if (getsockname(fd, address, &size) != 0) {
      return fd < 0 ? "a closed socket" : absl::StrCat("fd ", fd);
    }
  }
  if (raw.ss_family == AF_UNIX) {
    return "unix:" +
           UnixAddressFrom(*reinterpret_cast<sockaddr_un*>(&raw), size).ToString();
  }
  const absl::StatusOr<Address> ip = Address::FromRaw(address, size);
  return ip.ok() ? ip->Unmapped().ToString() : absl::StrCat("fd ", fd);
}

absl::Status Failed(const char* verb, int fd, const Known& known) {
  const int error = errno;
  return ErrnoStatus(error, absl::StrCat(verb, " ", known.name, " of ", NameOf(fd)));
}

absl::Status SetRaw(int fd, const Known& known, const void* value, socklen_t size) {
  if (setsockopt(fd, known.level, known.option, value, size) == 0) {
    return absl::OkStatus();
  }
  return Failed("set", fd, known);
}

absl::Status SetInt(int fd, const Known& known, int value) {
  return SetRaw(fd, known, &value, sizeof value);
}

absl::Status GetInt(int fd, const Known& known, int& value) {
  socklen_t size = sizeof value;
  if (getsockopt(fd, known.level, known.option, &value, &size) == 0) {
    return absl::OkStatus();
  }
  return Failed("get", fd, known);
}

// In units, rounded up: nothing is to end early.
absl::StatusOr<int> InUnits(const Known& known, absl::Duration value) {
  if (value < absl::ZeroDuration()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "set ", known.name, ": ", absl::FormatDuration(value), " is less than nothing"));
  }
  const absl::Duration up = absl::Ceil(value, known.unit);
  return static_cast<int>(
      std::min<int64_t>(up / known.unit, std::numeric_limits<int>::max()));
}

absl::Status SetDuration(int fd, const Known& known, absl::Duration value) {
  const absl::StatusOr<int> units = InUnits(known, value);
  return units.ok() ? SetInt(fd, known, *units) : units.status();
}

absl::Status GetDuration(int fd, const Known& known, absl::Duration& value) {
  int units = 0;
  absl::Status s = GetInt(fd, known, units);
  value = units * known.unit;
  return s;
}

bool IsV6(int fd) {
  int family = 0;
  socklen_t size = sizeof family;
  getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size);
  return family == AF_INET6;
}

// What is called otherwise for IPv6.
bool HasV6Twin(OptionId id, Known& twin) {
  if (id == OptionId::kIpTos) {
    twin = {IPPROTO_IPV6, IPV6_TCLASS, "IPV6_TCLASS", absl::ZeroDuration()};
  } else if (id == OptionId::kIpTtl) {
    twin = {IPPROTO_IPV6, IPV6_UNICAST_HOPS, "IPV6_UNICAST_HOPS", absl::ZeroDuration()};
  } else if (id == OptionId::kMulticastTtl) {
    twin = {IPPROTO_IPV6, IPV6_MULTICAST_HOPS, "IPV6_MULTICAST_HOPS",
            absl::ZeroDuration()};
  } else if (id == OptionId::kMulticastLoop) {
    twin = {IPPROTO_IPV6, IPV6_MULTICAST_LOOP, "IPV6_MULTICAST_LOOP",
            absl::ZeroDuration()};
  } else {
    return false;
  }
  return true;
}

}  // namespace

absl::Status SetValue(int fd, OptionId id, bool value) {
  return SetValue(fd, id, value ? 1 : 0);
}

absl::Status SetValue(int fd, OptionId id, int value) {
  Known twin;
  if (HasV6Twin(id, twin) && IsV6(fd)) {
    if (absl::Status s = SetInt(fd, twin, value); !s.ok()) return s;
    // What an IPv6 socket sends to IPv4 peers, if it does.
    int only = 1;
    if (!GetInt(fd, Of(OptionId::kV6Only), only).ok() || only != 0) {
      return absl::OkStatus();
    }
  }
  return SetInt(fd, Of(id), value);
}

absl::Status SetValue(int fd, OptionId id, absl::Duration value) {
  return SetDuration(fd, Of(id), value);
}

absl::Status SetValue(int fd, OptionId id, const std::string& value) {
  return SetRaw(fd, Of(id), value.data(), static_cast<socklen_t>(value.size()));
}

absl::Status GetValue(int fd, OptionId id, bool& value) {
  int number = 0;
  absl::Status s = GetValue(fd, id, number);
  value = number != 0;
  return s;
}

absl::Status GetValue(int fd, OptionId id, int& value) {
  Known twin;
  return GetInt(fd, HasV6Twin(id, twin) && IsV6(fd) ? twin : Of(id), value);
}

absl::Status GetValue(int fd, OptionId id, absl::Duration& value) {
  return GetDuration(fd, Of(id), value);
}

absl::Status GetValue(int fd, OptionId id, std::string& value) {
  char text[64] = {};  // the kernel's names are at most 16 bytes
  socklen_t size = sizeof text - 1;
  const Known known = Of(id);
  if (getsockopt(fd, known.level, known.option, text, &size) != 0) {
    return Failed("get", fd, known);
  }
  value = text;
  return absl::OkStatus();
}

absl::Status Set(int fd, const TcpKeepAlive& option) {
  absl::Status s = SetInt(fd, kKeepAlive, option.on ? 1 : 0);
  if (s.ok() && option.idle) s = SetDuration(fd, kKeepIdle, *option.idle);
  if (s.ok() && option.interval) s = SetDuration(fd, kKeepInterval, *option.interval);
  if (s.ok() && option.count) s = SetInt(fd, kKeepCount, *option.count);
  return s;
}

absl::Status Get(int fd, TcpKeepAlive& option) {
  int on = 0;
  absl::Status s = GetInt(fd, kKeepAlive, on);
  option.on = on != 0;
  if (s.ok()) s = GetDuration(fd, kKeepIdle, option.idle.emplace());
  if (s.ok()) s = GetDuration(fd, kKeepInterval, option.interval.emplace());
  if (s.ok()) s = GetInt(fd, kKeepCount, option.count.emplace());
  return s;
}

absl::Status Set(int fd, const Linger& option) {
  linger value{.l_onoff = option.time.has_value(), .l_linger = 0};
  if (option.time) {
    const absl::StatusOr<int> seconds = InUnits(kLinger, *option.time);
    if (!seconds.ok()) return seconds.status();
    value.l_linger = *seconds;
  }
  return SetRaw(fd, kLinger, &value, sizeof value);
}

absl::Status Get(int fd, Linger& option) {
  linger value{};
  socklen_t size = sizeof value;
  if (getsockopt(fd, kLinger.level, kLinger.option, &value, &size) != 0) {
    return Failed("get", fd, kLinger);
  }
  option.time.reset();
  if (value.l_onoff) option.time = value.l_linger * kLinger.unit;
  return absl::OkStatus();
}

}  // namespace net_internal

#define GROVE_DEFINE(Type, level, name, unit) \
  const net_internal::OptionId Type::kId = net_internal::OptionId::k##Type;
GROVE_OPTIONS(GROVE_DEFINE)
#undef GROVE_DEFINE

}  // namespace grove::net
