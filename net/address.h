#ifndef GROVE_NET_ADDRESS_H_
#define GROVE_NET_ADDRESS_H_

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace grove::net {

// Address
//
// An IP address, version 4 or 6, with a port. A value: copy and compare it freely. It
// knows no names; resolving those is not its business.
//
//   absl::StatusOr<Address> a = Address::Parse("[::1]:7000");
class Address {
 public:
  // 0.0.0.0:0.
  Address();

  // Address::Parse()
  //
  // "1.2.3.4:80", "[::1]:80", "[fe80::1%eth0]:80"; or ":80", "*:80" and "80" for every
  // IPv4 interface, where "[::]:80" is every interface of both (see ListenOptions).
  // kInvalidArgument, quoting the text, for anything else, names included.
  static absl::StatusOr<Address> Parse(absl::string_view text);

  // Address::FromIp()
  //
  // From "1.2.3.4", "::1" or "fe80::1%eth0" and a port.
  static absl::StatusOr<Address> FromIp(absl::string_view ip, uint16_t port);

  static Address Loopback(uint16_t port);  // 127.0.0.1

  bool is_v6() const { return raw_.any.sa_family == AF_INET6; }
  // 0.0.0.0 or ::, whatever the port.
  bool is_wildcard() const;
  // Address::Unmapped()
  //
  // The IPv4 address that an IPv6 socket shows as "::ffff:1.2.3.4", as what it is; any
  // other as it is.
  Address Unmapped() const;
  uint16_t port() const;
  Address WithPort(uint16_t port) const;

  // Address::ip()
  //
  // "1.2.3.4" or "fe80::1%eth0".
  std::string ip() const;

  // Address::ToString()
  //
  // What Parse() accepts.
  std::string ToString() const;

  friend bool operator==(const Address& a, const Address& b);

  // For system calls. FromRaw() takes what they gave; kInvalidArgument for other
  // families.
  const sockaddr* raw() const { return &raw_.any; }
  socklen_t raw_size() const { return is_v6() ? sizeof raw_.v6 : sizeof raw_.v4; }
  static absl::StatusOr<Address> FromRaw(const sockaddr* raw, socklen_t size);

 private:
  union {
    sockaddr any;
    sockaddr_in v4;
    sockaddr_in6 v6;
  } raw_;
};

}  // namespace grove::net

#endif  // GROVE_NET_ADDRESS_H_
