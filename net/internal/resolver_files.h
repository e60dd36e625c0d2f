#ifndef GROVE_NET_INTERNAL_RESOLVER_FILES_H_
#define GROVE_NET_INTERNAL_RESOLVER_FILES_H_

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "grove/net/address.h"
#include "grove/net/resolver.h"

// What hosts(5) and resolv.conf(5) say. Lines that say nothing are passed over, as libc
// passes them over: these files are written by people.
namespace grove::net::net_internal {

// HostsFile
class HostsFile {
 public:
  static HostsFile Parse(absl::string_view text);

  // HostsFile::Find()
  //
  // The addresses of a name in lower case, in the order of the file: of all lines that
  // have it ("multi on" in host.conf(5)). As with libc, a host that has ::1 has 127.0.0.1
  // too, for those who ask for IPv4 only. Null if there are none of that family.
  std::optional<HostAnswer> Find(absl::string_view name, AddressFamily family) const;

  // HostsFile::NamesOf()
  //
  // The names of an address, those of the first line that has it; empty if none has.
  std::vector<std::string> NamesOf(const std::string& ip) const;

 private:
  struct Entry {
    std::vector<Address> addresses;
    std::vector<std::string> names;  // of its first line, as they are written
  };
  std::map<std::string, Entry, std::less<>> by_name_;
  std::map<std::string, std::vector<std::string>> by_ip_;
};

// ResolvConf
struct ResolvConf {
  std::vector<Address> servers;  // this machine's if none is named
  std::vector<std::string> search;
  int ndots = 1;
  absl::Duration timeout = absl::Seconds(5);
  int attempts = 2;
  bool rotate = false;
  bool tcp = false;  // "use-vc"

  // From the file, and what the environment adds (LOCALDOMAIN, RES_OPTIONS); null: not
  // set. `host_name` is this machine's: what is behind its first dot is searched if the
  // file does not say what is.
  static ResolvConf Parse(absl::string_view text, const char* local_domain,
                          const char* res_options, absl::string_view host_name);
};

}  // namespace grove::net::net_internal

#endif  // GROVE_NET_INTERNAL_RESOLVER_FILES_H_
