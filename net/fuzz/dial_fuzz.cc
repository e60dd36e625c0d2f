#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "grove/hub/internal/check.h"
#include "grove/net/dial.h"
#include "grove/net/unix_address.h"

// What a configuration may say of where to connect to.
namespace grove::net {
namespace {

void FuzzHostAndPort(absl::string_view text) {
  const absl::StatusOr<HostAndPort> to = ParseHostAndPort(text);
  if (!to.ok()) return;
  GROVE_CHECK(!to->host.empty(), "no host");
  const bool brackets = to->host.find(':') != std::string::npos;
  const std::string written = brackets ? absl::StrCat("[", to->host, "]:", to->port)
                                       : absl::StrCat(to->host, ":", to->port);
  const absl::StatusOr<HostAndPort> again = ParseHostAndPort(written);
  GROVE_CHECK(again.ok(), "it is written as none: ", written);
  GROVE_CHECK(again->host == to->host && again->port == to->port,
              "it is written as another one: ", written);
}

void FuzzUnix(absl::string_view text) {
  const absl::StatusOr<UnixAddress> address = UnixAddress::Parse(text);
  if (!address.ok()) return;
  const absl::StatusOr<UnixAddress> again = UnixAddress::Parse(address->ToString());
  GROVE_CHECK(again.ok() && *again == *address,
              "it is written as another one: ", address->ToString());
}

}  // namespace
}  // namespace grove::net

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  grove::net::FuzzHostAndPort(text);
  grove::net::FuzzUnix(text);
  return 0;
}
