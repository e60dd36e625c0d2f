#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_split.h"
#include "grove/hub/internal/check.h"
#include "grove/net/internal/resolver_files.h"

// Whatever may be in /etc/hosts, /etc/resolv.conf, and the environment.
namespace grove::net::net_internal {
namespace {

void Fuzz(const std::string& text) {
  const HostsFile hosts = HostsFile::Parse(text);
  for (const absl::string_view word : absl::StrSplit(text, absl::ByAnyChar(" \n"))) {
    const auto host = hosts.Find(absl::AsciiStrToLower(word), AddressFamily::kAny);
    if (!host) continue;
    GROVE_CHECK(!host->addresses.empty(), "a host without addresses");
    for (const Address& a : host->addresses) {
      GROVE_CHECK(!hosts.NamesOf(a.ip()).empty(), "an address without names");
    }
  }
  const size_t end = text.find('\0');
  const ResolvConf conf =
      ResolvConf::Parse(text, nullptr, end == text.npos ? nullptr : &text[end + 1], text);
  GROVE_CHECK(!conf.servers.empty(), "no server at all");
  GROVE_CHECK(conf.ndots >= 0 && conf.ndots <= 15, "ndots");
  GROVE_CHECK(conf.attempts >= 1 && conf.attempts <= 5, "attempts");
  GROVE_CHECK(conf.timeout >= absl::Seconds(1), "timeout");
}

}  // namespace
}  // namespace grove::net::net_internal

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  grove::net::net_internal::Fuzz({reinterpret_cast<const char*>(data), size});
  return 0;
}
