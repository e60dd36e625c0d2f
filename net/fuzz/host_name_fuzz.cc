#include <cstddef>
#include <cstdint>
#include <string>

#include "grove/hub/internal/check.h"
#include "grove/net/internal/host_name.h"

// What somebody may give for a host.
namespace grove::net::net_internal {
namespace {

void Fuzz(absl::string_view text) {
  const absl::StatusOr<std::string> name = CanonicalHostName(text);
  if (name.ok()) {
    GROVE_CHECK(!name->empty() && name->size() <= 254, "too long, or too short");
    GROVE_CHECK(*CanonicalHostName(*name) == *name, "it changes again");
  }
  if (const std::optional<Address> address = ParseNumericHost(text)) {
    const std::string ip = address->ip();
    // An interface's name is not taken for each address that may have its number.
    if (ip.find('%') != ip.npos) return;
    GROVE_CHECK(ParseNumericHost(ip) == address, "it is written as another one");
  }
}

}  // namespace
}  // namespace grove::net::net_internal

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  grove::net::net_internal::Fuzz({reinterpret_cast<const char*>(data), size});
  return 0;
}
