#include "grove/examples/listen.h"

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "grove/examples/parse_flags.h"
#include "grove/net/address.h"

namespace grove::examples {

net::TcpListener ListenAt(const std::string& flag) {
  const absl::StatusOr<net::Address> address = net::Address::Parse(flag);
  if (!address.ok()) Refuse(absl::StrCat("--listen: ", address.status().message()));
  absl::StatusOr<net::TcpListener> listener = net::TcpListener::Listen(*address);
  if (!listener.ok()) Refuse(std::string(listener.status().message()));
  return *std::move(listener);
}

}  // namespace grove::examples
