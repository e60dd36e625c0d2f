#include "grove/net/unix_address.h"

#include <stddef.h>
#include <sys/un.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace grove::net {
namespace {

// One byte of sun_path is left for a zero: many programs rely on it.
constexpr size_t kMaxName = sizeof(sockaddr_un{}.sun_path) - 1;

}  // namespace

absl::StatusOr<UnixAddress> UnixAddress::Parse(absl::string_view text) {
  UnixAddress a;
  a.name_ = std::string(text);
  if (a.name_.empty() || a.name_ == "@") {
    return absl::InvalidArgumentError(
        absl::StrCat("'", text, "' is no Unix socket's address: it has no name"));
  }
  if (a.name_[0] == '@') a.name_[0] = '\0';
  if (a.name_.find('\0', 1) != std::string::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", text, "' is no Unix socket's address: it has a zero in it"));
  }
  if (a.name_.size() > kMaxName) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", text, "' is no Unix socket's address: ", a.name_.size(),
                     " bytes, where the kernel takes ", kMaxName));
  }
  return a;
}

UnixAddress UnixAddress::FromRaw(absl::string_view sun_path) {
  UnixAddress a;
  // A path ends at its zero; in an abstract name zeros count.
  if (!sun_path.empty() && sun_path[0] != '\0') {
    sun_path = sun_path.substr(0, sun_path.find('\0'));
  }
  a.name_ = std::string(sun_path);
  return a;
}

std::string UnixAddress::ToString() const {
  if (unnamed()) return "(unnamed)";
  return abstract() ? absl::StrCat("@", name_.substr(1)) : name_;
}

}  // namespace grove::net
