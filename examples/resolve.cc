// Looks up names, all at once, and prints their addresses.
//
//   bazel run //examples:resolve -- --seconds=5 localhost example.org 127.1
//
// The exit status is 0 only if each name has an address. GROVE_RESOLVER=thread has libc
// look them up, in place of c-ares.
//
// Look at main(): a greenlet for each name, and their results in order.

#include <stdio.h>

#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "grove/examples/parse_flags.h"
#include "grove/green/greenlet.h"
#include "grove/net/default_resolver.h"

ABSL_FLAG(int, seconds, 10, "how long all of it may take");

namespace {

using grove::Deadline;
using grove::Greenlet;
using grove::Spawn;
using grove::net::Address;
using grove::net::DefaultResolver;
using grove::net::HostAnswer;

bool Print(const std::string& name, Deadline deadline) {
  const absl::StatusOr<HostAnswer> host =
      DefaultResolver().LookupHost(name, {.deadline = deadline});
  if (!host.ok()) {
    fprintf(stderr, "%s\n", host.status().ToString().c_str());
    return false;
  }
  std::string line = name + ":";
  for (const Address& a : host->addresses) absl::StrAppend(&line, " ", a.ip());
  printf("%s\n", line.c_str());
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> names = grove::examples::ParseWords(
      argc, argv, "Looks up names, all at once.\n  resolve [--seconds=10] NAME...");
  const Deadline deadline = absl::Seconds(absl::GetFlag(FLAGS_seconds));
  std::vector<Greenlet<bool>> lookups;
  for (const std::string& name : names) {
    lookups.push_back(Spawn([&name, deadline] { return Print(name, deadline); }));
  }
  bool all = true;
  for (const Greenlet<bool>& lookup : lookups) all = lookup.Get().value_or(false) && all;
  return all ? 0 : 1;
}
