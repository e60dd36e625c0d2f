#ifndef GROVE_NET_DIAL_H_
#define GROVE_NET_DIAL_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "grove/hub/deadline.h"
#include "grove/net/address.h"
#include "grove/net/resolver.h"
#include "grove/net/stream.h"
#include "grove/net/tcp.h"

namespace grove::net {

// DialOptions
struct DialOptions {
  // For all of it: the lookups and every attempt.
  Deadline deadline = {};
  // The local address to connect from, which then decides the family as well; 0.0.0.0:0
  // leaves it to the kernel.
  Address source = {};
  AddressFamily family = AddressFamily::kAny;
  // When one attempt has not been answered for so long, the next one begins beside it.
  // One that fails is followed at once.
  absl::Duration attempt_delay = absl::Milliseconds(250);
  // How long IPv4 addresses that are there first wait for IPv6 ones.
  absl::Duration resolution_delay = absl::Milliseconds(50);
  // Who looks the name up; null: DefaultResolver(), of default_resolver.h.
  Resolver* resolver = nullptr;
};

// Dial()
//
// Connects to a host by its name, or by its address in numbers, to whichever of its
// addresses answers first (RFC 8305, "happy eyeballs"): both families are looked up at
// once; addresses are tried by turns of the families, IPv6 first, each as well ordered as
// the resolver has them, with a delay between; the first that connects is returned, and
// the others are given up.
//
//   absl::StatusOr<TcpStream> s =
//       Dial("example.org", 443, {.deadline = absl::Seconds(10)});
//
// Blocks: until a connection stands, or all that could be tried has failed.
// Deadline: returns kDeadlineExceeded, naming what had been tried until then.
// Kill: throws.
// Threads: any with a hub; the resolver's, if one is given.
// Errors: each attempt that failed is in the message: "dial example.org:443: no address
//     answered: 192.0.2.1:443: Connection refused; [2001:db8::1]:443: Network is
//     unreachable". The code is theirs if they are of one mind, and kUnavailable else; so
//     it is of the lookups, if there was no address.
// In no case is a descriptor or a greenlet left behind.
absl::StatusOr<TcpStream> Dial(absl::string_view host, uint16_t port,
                               DialOptions options = {});

// ParseHostAndPort()
//
// What a configuration says: "example.org:443", "192.0.2.1:443" or "[2001:db8::1]:443",
// of which the host is what Dial() takes. kInvalidArgument, quoting the text, for
// anything else; whether it could be a name is not looked at.
struct HostAndPort {
  std::string host;
  uint16_t port;
};
absl::StatusOr<HostAndPort> ParseHostAndPort(absl::string_view text);

// DialAny()
//
// As Dial(), to what ParseHostAndPort() takes, or "unix:/run/x.sock" and "unix:@name".
// kInvalidArgument, quoting the text, for anything else. Of the options, only the
// deadline concerns Unix sockets.
absl::StatusOr<std::unique_ptr<Stream>> DialAny(absl::string_view address,
                                                DialOptions options = {});

}  // namespace grove::net

#endif  // GROVE_NET_DIAL_H_
