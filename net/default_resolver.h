#ifndef GROVE_NET_DEFAULT_RESOLVER_H_
#define GROVE_NET_DEFAULT_RESOLVER_H_

#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "grove/net/resolver.h"

// Which resolver a program uses. The setting `resolver` (GROVE_RESOLVER) says it, as a
// list by preference of which the first is taken that can be had:
//
//   ares    c-ares: asks name servers itself, on this hub, without threads; cached
//   thread  getaddrinfo(3) on threads of a pool: whatever nsswitch.conf says, uncached
//   block   getaddrinfo(3) right here: stops the hub meanwhile; for finding out whether
//           it is the others' fault
//
// "ares" by default. A name that is none of these is an error when the setting is used.
namespace grove::net {

// DefaultResolver()
//
// This hub's, made by the first call; it lives until the hub ends, or another one is set.
//
// Threads: each hub has its own.
Resolver& DefaultResolver();

// SetDefaultResolver()
//
// Has this hub use another one; null: what the setting says, anew. Returns the one that
// was in use, which is null if none was made yet; nobody may be asking it if it is
// dropped.
std::unique_ptr<Resolver> SetDefaultResolver(std::unique_ptr<Resolver> resolver);

// MakeResolver()
//
// One of the above, by name or as a list. kInvalidArgument for other names.
absl::StatusOr<std::unique_ptr<Resolver>> MakeResolver(absl::string_view names);

}  // namespace grove::net

#endif  // GROVE_NET_DEFAULT_RESOLVER_H_
