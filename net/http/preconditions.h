#ifndef GROVE_NET_HTTP_PRECONDITIONS_H_
#define GROVE_NET_HTTP_PRECONDITIONS_H_

#include <time.h>

#include <optional>

#include "absl/strings/string_view.h"
#include "grove/net/http/request.h"

namespace grove::http {

// Precondition
enum class Precondition {
  kHolds,        // the request is to be answered
  kNotModified,  // 304
  kFailed,       // 412
};

// CheckPreconditions()
//
// If-Match, else If-Unmodified-Since; then If-None-Match, else If-Modified-Since, in the
// order of RFC 9110, 13.2.2. `etag` is that of what would be sent, with its quotes, empty
// if it has none; `modified` is its time. If-Match compares strongly, so a weak tag
// matches nothing there.
//
// To be called for what would be answered with 2xx, before anything is done. Of other
// methods than GET and HEAD If-None-Match is 412.
//
//   switch (CheckPreconditions(request, etag, modified)) {
//     case Precondition::kHolds: break;
//     case Precondition::kNotModified: response.set_status(304); return;
//     case Precondition::kFailed: response.set_status(412); return;
//   }
Precondition CheckPreconditions(const Request& request, absl::string_view etag,
                                std::optional<time_t> modified);

// RangeHolds()
//
// Whether a Range is to be looked at: without If-Range, or if that names what there is
// now, by a strong tag, or by a time that is at least a second old: within that second it
// may have changed once more (RFC 9110, 13.1.5 and 8.8.2.2).
bool RangeHolds(const Request& request, absl::string_view etag,
                std::optional<time_t> modified, time_t now);

}  // namespace grove::http

#endif  // GROVE_NET_HTTP_PRECONDITIONS_H_
