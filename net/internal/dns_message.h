#ifndef GROVE_NET_INTERNAL_DNS_MESSAGE_H_
#define GROVE_NET_INTERNAL_DNS_MESSAGE_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "grove/net/address.h"
#include "grove/net/resolver.h"

// What a name server has sent, as an Answer. Names are expanded by c-ares, which knows
// how they are compressed; the records around them are read here, for its own parsers
// give no time to live for most types, no SOA, and of a chain of aliases (in 1.18) its
// first target for the last.
namespace grove::net::net_internal {

// What is asked for, as DNS numbers it.
enum class RecordType : uint16_t {
  kA = 1,
  kPtr = 12,
  kMx = 15,
  kTxt = 16,
  kAaaa = 28,
  kSrv = 33,
};

// DnsReply
struct DnsReply {
  // kNone: `answer` has what was asked for. kNoSuchName and kNoData are answers too; all
  // others are reasons to ask another server.
  LookupFailure failure = LookupFailure::kMalformed;
  // With its ttl, the shortest of all that led to it; the addresses' ports are 0.
  Answer answer;
  // Of kNoSuchName and kNoData: what the zone says (RFC 2308); infinite if nothing.
  absl::Duration negative_ttl = absl::InfiniteDuration();
  // What the server says of itself: "NXDOMAIN", "SERVFAIL".
  std::string code;
};

// ParseReply()
//
// `message` answers a question for `type`. Names in it that could not be those of hosts
// are left out, as libc leaves them out: they come from strangers.
DnsReply ParseReply(absl::string_view message, RecordType type);

// ReverseName()
//
// "1.2.0.192.in-addr.arpa"
std::string ReverseName(const Address& address);

}  // namespace grove::net::net_internal

#endif  // GROVE_NET_INTERNAL_DNS_MESSAGE_H_
