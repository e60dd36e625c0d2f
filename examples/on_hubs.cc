#include "grove/examples/on_hubs.h"

#include <cstdint>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "grove/examples/parse_flags.h"

namespace grove::examples {

HubListeners ListenOnHubs(const std::string& host, int port, int hubs,
                          net::ListenOptions options) {
  if (hubs < 1) Refuse(absl::StrCat("--hubs=", hubs, ": at least one is needed"));
  if (port < 0 || port > 65535) {
    Refuse(absl::StrCat("--port=", port, ": not from 0 to 65535"));
  }
  const absl::StatusOr<net::Address> address =
      net::Address::FromIp(host, static_cast<uint16_t>(port));
  if (!address.ok()) Refuse(absl::StrCat("--host: ", address.status().message()));
  absl::StatusOr<std::vector<net::TcpListener>> listeners =
      net::TcpListener::ListenMany(*address, hubs, options);
  if (!listeners.ok()) Refuse(std::string(listeners.status().message()));
  HubListeners result{.address = listeners->front().address(), .fds = {}};
  for (net::TcpListener& l : *listeners) result.fds.push_back(l.Release());
  return result;
}

OnHubs::OnHubs(int hubs, std::string name, std::function<void(int)> serve)
    : serve_(std::move(serve)) {
  if (hubs > 1) {
    group_.emplace(HubGroupOptions{.hubs = hubs, .name = std::move(name)}, serve_);
  } else {
    alone_ = Spawn([this] { serve_(0); });
  }
}

void OnHubs::Join() {
  if (group_) {
    group_->Join();
  } else {
    alone_.Join();
  }
}

}  // namespace grove::examples
