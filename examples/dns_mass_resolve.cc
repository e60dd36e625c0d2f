// Looks up the names that it reads, one a line, as many at a time as one says, and prints
// each with its addresses as they come.
//
//   printf 'localhost\nexample.org\n' | bazel run //examples:dns_mass_resolve
//   bazel run //examples:dns_mass_resolve -- --at_once=500 --server=192.0.2.53:53 < names
//
// Look at main(): Pool::Spawn() waits while the pool is full, so names are read no faster
// than they are looked up, and a list of any length needs no more memory than --at_once
// of them. All of it is one thread: c-ares on the hub.
//
// A line of stdout is "NAME ADDRESS..." or "NAME ! REASON"; stderr has the counts. The
// exit status is 0 if each name has an address, or is known to have none.

#include <stdio.h>

#include <cstdint>
#include <string>
#include <utility>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "grove/examples/parse_flags.h"
#include "grove/green/os/buffered.h"
#include "grove/green/os/pipe.h"
#include "grove/green/pool.h"
#include "grove/net/ares_resolver.h"
#include "grove/net/resolver.h"

ABSL_FLAG(int, at_once, 100, "names that are looked up at the same time");
ABSL_FLAG(std::string, server, "",
          "name server to ask, as IP:PORT; empty: those of resolv.conf");
ABSL_FLAG(absl::Duration, timeout, absl::Seconds(10), "for each name");

namespace {

using grove::Pool;
using grove::examples::ParseFlags;
using grove::examples::Refuse;
using grove::net::Address;
using grove::net::AresResolver;
using grove::net::AresResolverOptions;
using grove::net::HostAnswer;

struct Counts {
  uint64_t found = 0;
  uint64_t none = 0;    // it is known that there is no address
  uint64_t failed = 0;  // nobody knows
};

void LookUp(AresResolver& resolver, const std::string& name, Counts& counts) {
  const absl::StatusOr<HostAnswer> host =
      resolver.LookupHost(name, {.deadline = absl::GetFlag(FLAGS_timeout)});
  std::string line = name;
  if (host.ok()) {
    ++counts.found;
    for (const Address& a : host->addresses) absl::StrAppend(&line, " ", a.ip());
  } else {
    ++(absl::IsNotFound(host.status()) ? counts.none : counts.failed);
    absl::StrAppend(&line, " ! ", host.status().message());
  }
  printf("%s\n", line.c_str());
}

}  // namespace

int main(int argc, char** argv) {
  setvbuf(stdout, nullptr, _IOLBF, 0);  // each as it comes, to a pipe too
  ParseFlags(
      argc, argv,
      "Looks up the names that it reads, one a line.\n"
      "  dns_mass_resolve [--at_once=100] [--server=IP:PORT] [--timeout=10s] < NAMES");
  const int at_once = absl::GetFlag(FLAGS_at_once);
  if (at_once < 1) Refuse("--at_once: at least one is needed");
  AresResolverOptions options;
  if (const std::string server = absl::GetFlag(FLAGS_server); !server.empty()) {
    const absl::StatusOr<Address> address = Address::Parse(server);
    if (!address.ok()) Refuse(absl::StrCat("--server: ", address.status().message()));
    options.servers = {*address};
  }

  AresResolver resolver(std::move(options));
  Counts counts;
  absl::StatusOr<grove::PipeReader> names = grove::Stdin();
  absl::Status failed = names.status();
  if (names.ok()) {
    Pool pool(at_once);
    grove::BufferedReader reader(*names);
    for (const absl::string_view line : reader.Lines()) {
      const absl::string_view name = absl::StripAsciiWhitespace(line);
      if (name.empty()) continue;
      pool.Spawn([&, name = std::string(name)] { LookUp(resolver, name, counts); });
    }
    pool.Join();
    failed = reader.status();
  }
  fprintf(stderr, "%llu found, %llu without an address, %llu failed\n",
          static_cast<unsigned long long>(counts.found),
          static_cast<unsigned long long>(counts.none),
          static_cast<unsigned long long>(counts.failed));
  if (!failed.ok()) fprintf(stderr, "dns_mass_resolve: %s\n", failed.ToString().c_str());
  return failed.ok() && counts.failed == 0 ? 0 : 1;
}
