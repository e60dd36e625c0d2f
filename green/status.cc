#include "grove/green/status.h"

#include <errno.h>
#include <string.h>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"

namespace grove {
namespace {

constexpr absl::string_view kErrnoUrl = "grove/errno";
constexpr absl::string_view kBytesUrl = "grove/bytes_moved";

absl::StatusCode CodeFor(int error) {
  switch (error) {
    case ECONNRESET:
    case ECONNREFUSED:
    case ECONNABORTED:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EPIPE:
      return absl::StatusCode::kUnavailable;
    case ETIMEDOUT:  // the kernel gave up, not a deadline of ours
      return absl::StatusCode::kUnavailable;
    default:
      return absl::ErrnoToStatusCode(error);
  }
}

template <typename T>
T PayloadAs(const absl::Status& status, absl::string_view url) {
  T value = 0;
  if (absl::optional<absl::Cord> payload = status.GetPayload(url)) {
    if (!absl::SimpleAtoi(std::string(*payload), &value)) return 0;
  }
  return value;
}

}  // namespace

absl::Status ErrnoStatus(int error, absl::string_view operation) {
  absl::Status status(CodeFor(error), absl::StrCat(operation, ": ", strerror(error)));
  status.SetPayload(kErrnoUrl, absl::Cord(absl::StrCat(error)));
  return status;
}

int ErrnoOf(const absl::Status& status) { return PayloadAs<int>(status, kErrnoUrl); }

absl::Status WithBytesMoved(absl::Status status, size_t bytes) {
  status.SetPayload(kBytesUrl, absl::Cord(absl::StrCat(bytes)));
  return status;
}

size_t BytesMoved(const absl::Status& status) {
  return PayloadAs<size_t>(status, kBytesUrl);
}

}  // namespace grove
