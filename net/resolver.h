#ifndef GROVE_NET_RESOLVER_H_
#define GROVE_NET_RESOLVER_H_

#include <compare>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "grove/hub/deadline.h"
#include "grove/net/address.h"

// Names and addresses. Which resolver a program uses is said in default_resolver.h;
// docs/dns.md is the guide.
//
//   absl::StatusOr<HostAnswer> host =
//       DefaultResolver().LookupHost("example.org", {.deadline = absl::Seconds(5)});
//   if (host.ok()) Connect(host->addresses[0].WithPort(443));
namespace grove::net {

enum class AddressFamily { kAny, kV4, kV6 };

struct LookupOptions {
  // kAny asks for both, and is answered once both answers are there.
  AddressFamily family = AddressFamily::kAny;
  Deadline deadline = {};
  // The caller asks for the other family as well, as Dial() does: then a hosts file that
  // has the name in either family answers for both, as it does with kAny.
  bool one_of_both = false;
};

// HostAnswer
struct HostAnswer {
  // At least one, the best first (RFC 6724); their ports are 0, see Address::WithPort().
  std::vector<Address> addresses;
  // The name that has these addresses, and those that led to it (CNAME).
  std::string canonical_name;
  std::vector<std::string> aliases;
  // How long the answer is good; infinite if whoever gave it does not say.
  absl::Duration ttl = absl::InfiniteDuration();
};

// SrvRecord: who offers a service (RFC 2782). They come sorted by priority, and within
// one by weight, the largest first; choosing among those by weight is the caller's
// business.
struct SrvRecord {
  uint16_t priority = 0;
  uint16_t weight = 0;
  uint16_t port = 0;
  std::string target;
  friend bool operator==(const SrvRecord&, const SrvRecord&) = default;
};

// MxRecord: who takes mail (RFC 5321). They come sorted by preference.
struct MxRecord {
  uint16_t preference = 0;
  std::string exchange;
  friend bool operator==(const MxRecord&, const MxRecord&) = default;
};

// LookupFailure
//
// Why there is no answer, more finely than the status's code says.
enum class LookupFailure {
  kNone,          // it was no lookup that failed, or none failed
  kNoSuchName,    // kNotFound: there is no such name (NXDOMAIN)
  kNoData,        // kNotFound: the name exists, and has nothing of what was asked for
  kBadName,       // kInvalidArgument: it could not be anybody's name
  kTimeout,       // kDeadlineExceeded, also if it was not the caller's deadline
  kServerFailed,  // kUnavailable: a server says that it cannot (SERVFAIL, REFUSED)
  kUnreachable,   // kUnavailable: nobody listens there
  kMalformed,     // kUnavailable: what a server has sent is no answer
  kNotSupported,  // kUnimplemented: this resolver cannot look that up
};
LookupFailure LookupFailureOf(const absl::Status& status);

// LookupError()
//
// A status of that kind, with the code as above.
absl::Status LookupError(LookupFailure failure, absl::string_view message);

// WithNegativeTtl(), NegativeTtl()
//
// How long a kNotFound is good (RFC 2308); infinite if nobody has said.
absl::Status WithNegativeTtl(absl::Status status, absl::Duration ttl);
absl::Duration NegativeTtl(const absl::Status& status);

// Question
//
// What resolvers are asked: a name that has been looked at, in lower case.
struct Question {
  enum class Type { kHost, kReverse, kSrv, kTxt, kMx };
  Type type = Type::kHost;
  std::string name;                            // of kReverse: the address, "192.0.2.1"
  AddressFamily family = AddressFamily::kAny;  // of kHost
  // Of kHost: the other family is asked for as well (LookupOptions::one_of_both).
  bool one_of_both = false;

  // "host example.org (IPv4)", for messages.
  std::string ToString() const;
  friend auto operator<=>(const Question&, const Question&) = default;
};

// Answer
//
// To any Question: what belongs to its type is there, and not empty.
struct Answer {
  HostAnswer host;                 // kHost; and the ttl of each other type
  std::vector<std::string> names;  // kReverse
  std::vector<SrvRecord> srv;
  std::vector<std::string> txt;
  std::vector<MxRecord> mx;
};

// Resolver
//
// Looks names up. Derived classes implement Resolve(); wrap one in another to change what
// it does, as CachingResolver does.
//
// Numeric addresses are answered at once, in each form that inet_aton(3) knows ("127.1"),
// as are `localhost` and names below it, by the loopback addresses (RFC 6761), and
// `.onion`, of which DNS knows nothing (RFC 7686): for these nothing is read and nobody
// asked. Names are at most 253 characters, in labels of 1 to 63; a dot at the end says
// that no search domain is to be tried. Names beyond ASCII have to be given as IDNA has
// them ("xn--..."); others are kInvalidArgument, as are characters that are blank, or
// none, or '\'.
//
// For all that follow:
//   Blocks: until there is an answer.
//   Deadline: returns kDeadlineExceeded, naming who was asked.
//   Kill: throws; what was asked for is forgotten.
//   Threads: the hub that made the resolver.
//   Errors: see LookupFailure; they name what was looked up, and who was asked.
class Resolver {
 public:
  virtual ~Resolver() = default;

  // Resolver::LookupHost()
  //
  // The addresses of a host. If both families are asked for, and the deadline comes when
  // one is known, that one is the answer; not through a CachingResolver, whose lookup
  // goes on for others.
  absl::StatusOr<HostAnswer> LookupHost(absl::string_view host,
                                        LookupOptions options = {});

  // Resolver::LookupAddress()
  //
  // The names of an address (PTR), whatever its port; without the dot at the end.
  absl::StatusOr<std::vector<std::string>> LookupAddress(const Address& address,
                                                         Deadline deadline = {});

  // Resolver::LookupSrv()
  //
  // As "_imaps._tcp.example.org". A service that says that it is not available (a single
  // target ".") is kNotFound.
  absl::StatusOr<std::vector<SrvRecord>> LookupSrv(absl::string_view name,
                                                   Deadline deadline = {});

  // Resolver::LookupTxt()
  //
  // One string for each record; the pieces of which one consists are joined.
  absl::StatusOr<std::vector<std::string>> LookupTxt(absl::string_view name,
                                                     Deadline deadline = {});

  // Resolver::LookupMx()
  absl::StatusOr<std::vector<MxRecord>> LookupMx(absl::string_view name,
                                                 Deadline deadline = {});

  // Resolver::Resolve()
  //
  // For derived classes, and for those who wrap one: answers a question that the
  // functions above have looked at.
  virtual absl::StatusOr<Answer> Resolve(const Question& question, Deadline deadline) = 0;

  // Resolver::Generation()
  //
  // Changes when answers that were given before are not to be relied on any more, though
  // their time is not over: a file was changed.
  virtual uint64_t Generation() { return 0; }

  // "ares (192.0.2.53:53)", "cache of ares (192.0.2.53:53)", for messages.
  virtual std::string Describe() const = 0;
};

}  // namespace grove::net

#endif  // GROVE_NET_RESOLVER_H_
