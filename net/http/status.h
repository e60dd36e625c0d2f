#ifndef GROVE_NET_HTTP_STATUS_H_
#define GROVE_NET_HTTP_STATUS_H_

#include "absl/strings/string_view.h"

namespace grove::http {

// ReasonOf()
//
// "Not Found" of 404; "Unknown" of what no registry has.
absl::string_view ReasonOf(int status);

// MayHaveBody()
//
// Not with 1xx, 204 and 304.
inline bool MayHaveBody(int status) {
  return status >= 200 && status != 204 && status != 304;
}

}  // namespace grove::http

#endif  // GROVE_NET_HTTP_STATUS_H_
