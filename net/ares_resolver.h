#ifndef GROVE_NET_ARES_RESOLVER_H_
#define GROVE_NET_ARES_RESOLVER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grove/net/address.h"
#include "grove/net/resolver.h"

namespace grove::net {

// AresResolverOptions
//
// What is not said here is as resolv.conf(5) has it, and the variables LOCALDOMAIN and
// RES_OPTIONS of the environment.
struct AresResolverOptions {
  // Name servers, in the order in which they are asked.
  std::vector<Address> servers = {};
  // How long one server may take for one try, half a minute at most, and how often each
  // is tried.
  std::optional<absl::Duration> timeout = {};
  std::optional<int> tries = {};
  // A name with at least so many dots is tried as it is first, and then with what is
  // searched behind it; one with fewer the other way round.
  std::optional<int> ndots = {};
  std::optional<std::vector<std::string>> search = {};
  // Whether questions begin at each of the servers in turn.
  std::optional<bool> rotate = {};
  // Whether TCP is used from the start, and not only for what UDP does not hold.
  std::optional<bool> tcp = {};
  // Of LookupHost(): kAny puts the address that is best tried first in front; kV4 and kV6
  // those of that family.
  AddressFamily prefer = AddressFamily::kAny;
  // Looked at again when they change, at most once a second; empty: not at all.
  std::string hosts_file = "/etc/hosts";
  std::string resolv_conf = "/etc/resolv.conf";
};

// AresResolver
//
// Asks name servers from this hub, by c-ares, without threads. As libc's does (with
// "hosts: files dns" in nsswitch.conf), it looks into the hosts file first, tries the
// domains to be searched, and asks for IPv4 and IPv6 at once; other sources of
// nsswitch.conf are the threaded resolver's business.
//
//   AresResolver resolver({.servers = {*Address::Parse("192.0.2.53:53")}, .tries = 3});
//
// A server that does not answer is asked again after the others, and for half a minute
// only if those do not answer either; one that says that it cannot (SERVFAIL, REFUSED),
// or where nobody listens, is left for the next at once. That there is no such name is an
// answer, and is believed. Answers that are too large for a datagram are asked for by
// TCP.
//
// Nothing is remembered: CachingResolver is for that. While nothing is asked there is
// neither socket nor timer. In a forked child it goes on with sockets of its own.
//
// Servers at link-local addresses (fe80::1%eth0) cannot be had with this c-ares, and are
// passed over.
//
// Threads: the hub of its first use.
class AresResolver final : public Resolver {
 public:
  explicit AresResolver(AresResolverOptions options = {});
  // Nobody may be asking it.
  ~AresResolver() override;

  absl::StatusOr<Answer> Resolve(const Question& question, Deadline deadline) override;
  uint64_t Generation() override;
  // "ares (192.0.2.53:53)"
  std::string Describe() const override;

  // AresResolver::queries()
  //
  // How many queries were sent.
  uint64_t queries() const;

 private:
  class Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace grove::net

#endif  // GROVE_NET_ARES_RESOLVER_H_
