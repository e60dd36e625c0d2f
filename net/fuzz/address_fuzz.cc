#include <sys/socket.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include "absl/strings/string_view.h"
#include "grove/hub/internal/check.h"
#include "grove/net/address.h"

// What somebody may give for an address, and what the kernel may.
namespace grove::net {
namespace {

void FuzzText(absl::string_view text) {
  const absl::StatusOr<Address> address = Address::Parse(text);
  if (!address.ok()) return;
  const absl::StatusOr<Address> again = Address::Parse(address->ToString());
  GROVE_CHECK(again.ok() && *again == *address, "it is written as another one");
  const auto raw = Address::FromRaw(address->raw(), address->raw_size());
  GROVE_CHECK(raw.ok() && *raw == *address, "the kernel would get another one");
  GROVE_CHECK(address->WithPort(7).port() == 7, "the port");
  GROVE_CHECK(address->Unmapped().Unmapped() == address->Unmapped(), "it changes again");
}

void FuzzRaw(const uint8_t* data, size_t size) {
  sockaddr_storage raw = {};
  const size_t taken = std::min(size, sizeof raw);
  memcpy(&raw, data, taken);
  const absl::StatusOr<Address> address = Address::FromRaw(
      reinterpret_cast<const sockaddr*>(&raw), static_cast<socklen_t>(taken));
  if (!address.ok()) return;
  const std::string text = address->ToString();
  // An interface's number is written as it is where there is none of that number.
  const absl::StatusOr<Address> again = Address::Parse(text);
  GROVE_CHECK(again.ok(), "it is written as none: ", text);
  GROVE_CHECK(again->ip() == address->ip() && again->port() == address->port(),
              "it is written as another one: ", text);
}

}  // namespace
}  // namespace grove::net

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  grove::net::FuzzText({reinterpret_cast<const char*>(data), size});
  grove::net::FuzzRaw(data, size);
  return 0;
}
