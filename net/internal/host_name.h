#ifndef GROVE_NET_INTERNAL_HOST_NAME_H_
#define GROVE_NET_INTERNAL_HOST_NAME_H_

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "grove/net/address.h"

// What can be said of a host's name without asking anybody.
namespace grove::net::net_internal {

// ParseNumericHost()
//
// The address that is written as a host, in the forms that getaddrinfo(3) takes for one:
// "192.0.2.1", "127.1", "0x7f000001", "1"; "::1", "fe80::1%eth0", "fe80::1%2".
std::optional<Address> ParseNumericHost(absl::string_view host);

// ParseHostsAddress()
//
// As inet_pton(3) has it, which is what hosts(5) is read by: no short forms and no
// scopes.
std::optional<Address> ParseHostsAddress(absl::string_view text);

// The IPv4 address that an IPv6 one stands for (::ffff:192.0.2.1), if it does.
std::optional<Address> Unmapped(const Address& address);

// Whether it is this machine's own, 127.0.0.0/8 or ::1.
bool IsLoopback(const Address& address);

// CanonicalHostName()
//
// The name in lower case; or kBadName, with the reason, if it could not be anybody's. A
// dot at the end is kept.
absl::StatusOr<std::string> CanonicalHostName(absl::string_view name);

}  // namespace grove::net::net_internal

#endif  // GROVE_NET_INTERNAL_HOST_NAME_H_
