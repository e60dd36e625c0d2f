#include "grove/net/internal/resolver_files.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "grove/net/internal/host_name.h"

namespace grove::net::net_internal {
namespace {

constexpr uint16_t kDnsPort = 53;

// The words of a line, up to a comment.
std::vector<absl::string_view> Words(absl::string_view line, absl::string_view comment) {
  line = line.substr(0, line.find_first_of(comment));
  return absl::StrSplit(line, absl::ByAnyChar(" \t\r\v\f"), absl::SkipEmpty());
}

// "ndots:3"
void ReadOption(absl::string_view word, ResolvConf* conf) {
  int n;
  const auto number = [&](absl::string_view name, int max) {
    absl::string_view value = word;
    if (!absl::ConsumePrefix(&value, name) || !absl::SimpleAtoi(value, &n)) return false;
    n = std::min(n, max);
    return n >= 0;
  };
  // The limits are libc's.
  if (number("ndots:", 15)) conf->ndots = n;
  if (number("timeout:", 30) && n > 0) conf->timeout = absl::Seconds(n);
  if (number("attempts:", 5) && n > 0) conf->attempts = n;
  if (word == "rotate") conf->rotate = true;
  if (word == "use-vc") conf->tcp = true;
}

std::vector<std::string> SearchList(const std::vector<absl::string_view>& words) {
  std::vector<std::string> search;
  for (absl::string_view word : words) {
    absl::ConsumePrefix(&word, ".");
    absl::ConsumeSuffix(&word, ".");
    search.push_back(absl::AsciiStrToLower(word));  // "": the root
  }
  return search;
}

}  // namespace

HostsFile HostsFile::Parse(absl::string_view text) {
  HostsFile file;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    const std::vector<absl::string_view> words = Words(line, "#");
    if (words.size() < 2) continue;
    const std::optional<Address> address = ParseHostsAddress(words[0]);
    if (!address) continue;
    const std::vector<std::string> names(words.begin() + 1, words.end());
    file.by_ip_.emplace(address->ip(), names);
    for (const std::string& name : names) {
      Entry& entry = file.by_name_[absl::AsciiStrToLower(name)];
      if (entry.names.empty()) entry.names = names;
      std::vector<Address>& all = entry.addresses;
      if (std::find(all.begin(), all.end(), *address) == all.end()) {
        all.push_back(*address);
      }
    }
  }
  return file;
}

std::optional<HostAnswer> HostsFile::Find(absl::string_view name,
                                          AddressFamily family) const {
  const auto found = by_name_.find(name);
  if (found == by_name_.end()) return std::nullopt;
  const Entry& entry = found->second;
  HostAnswer answer;
  for (const Address& a : entry.addresses) {
    Address address = a;
    if (family == AddressFamily::kV4 && a.is_v6()) {
      const std::optional<Address> v4 =
          IsLoopback(a) ? Address::Loopback(0) : Unmapped(a);
      if (!v4) continue;
      address = *v4;
    }
    if (family == AddressFamily::kV6 && !address.is_v6()) continue;
    std::vector<Address>& all = answer.addresses;
    if (std::find(all.begin(), all.end(), address) == all.end()) all.push_back(address);
  }
  if (answer.addresses.empty()) return std::nullopt;
  answer.canonical_name = entry.names.front();
  answer.aliases.assign(entry.names.begin() + 1, entry.names.end());
  answer.ttl = absl::ZeroDuration();  // looked at anew each time, as it may change
  return answer;
}

std::vector<std::string> HostsFile::NamesOf(const std::string& ip) const {
  const auto found = by_ip_.find(ip);
  return found == by_ip_.end() ? std::vector<std::string>() : found->second;
}

ResolvConf ResolvConf::Parse(absl::string_view text, const char* local_domain,
                             const char* res_options, absl::string_view host_name) {
  ResolvConf conf;
  bool search_is_set = false;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    if (line.empty() || line[0] == '#' || line[0] == ';') continue;
    std::vector<absl::string_view> words = Words(line, "#;");
    if (words.size() < 2) continue;
    const absl::string_view keyword = words[0];
    words.erase(words.begin());
    if (keyword == "nameserver") {
      if (const std::optional<Address> a = ParseNumericHost(words[0])) {
        conf.servers.push_back(a->WithPort(kDnsPort));
      }
    } else if (keyword == "search" || keyword == "domain") {
      if (keyword == "domain") words.resize(1);
      conf.search = SearchList(words);  // the last one counts
      search_is_set = true;
    } else if (keyword == "options") {
      for (const absl::string_view word : words) ReadOption(word, &conf);
    }
  }
  if (local_domain != nullptr) {
    conf.search = SearchList(Words(local_domain, "\n"));
    search_is_set = true;
  }
  if (res_options != nullptr) {
    for (const absl::string_view word : Words(res_options, "\n")) {
      ReadOption(word, &conf);
    }
  }
  const size_t dot = host_name.find('.');
  if (!search_is_set && dot != host_name.npos) {
    conf.search = SearchList({host_name.substr(dot + 1)});
  }
  if (conf.servers.empty()) conf.servers.push_back(Address::Loopback(kDnsPort));
  return conf;
}

}  // namespace grove::net::net_internal
