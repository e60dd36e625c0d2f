#ifndef GROVE_NET_UNIX_ADDRESS_H_
#define GROVE_NET_UNIX_ADDRESS_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace grove::net {

// UnixAddress
//
// Where a Unix socket is: a path in the file system, an abstract name, which vanishes
// with its last user, or nowhere.
//
//   absl::StatusOr<UnixAddress> a = UnixAddress::Parse("/run/service.sock");
class UnixAddress {
 public:
  // Unnamed, as is the end of a pair.
  UnixAddress() = default;

  // UnixAddress::Parse()
  //
  // "/run/service.sock", or "@name" for an abstract one. kInvalidArgument, quoting the
  // text, if it is empty or longer than the kernel takes: 107 bytes.
  static absl::StatusOr<UnixAddress> Parse(absl::string_view text);

  bool unnamed() const { return name_.empty(); }
  bool abstract() const { return !name_.empty() && name_[0] == '\0'; }
  // Whether it is a path.
  bool has_file() const { return !name_.empty() && name_[0] != '\0'; }
  // What Parse() accepts; "(unnamed)".
  std::string ToString() const;
  friend bool operator==(const UnixAddress&, const UnixAddress&) = default;

  // For system calls: the bytes of sun_path.
  const std::string& raw() const { return name_; }
  static UnixAddress FromRaw(absl::string_view sun_path);

 private:
  std::string name_;
};

}  // namespace grove::net

#endif  // GROVE_NET_UNIX_ADDRESS_H_
