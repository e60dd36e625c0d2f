#ifndef GROVE_NET_HTTP_INTERNAL_BYTE_RANGES_H_
#define GROVE_NET_HTTP_INTERNAL_BYTE_RANGES_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"

namespace grove::http::http_internal {

struct ByteRange {
  uint64_t first;
  uint64_t count;
  friend bool operator==(const ByteRange&, const ByteRange&) = default;
};

enum class RangeKind {
  kWhole,  // as if nobody had asked: malformed, another unit, too many
  kParts,  // at least one
  kNone,   // none of them lies in the file: 416
};

// ParseRanges()
//
// The field Range (RFC 9110, 14.1.2) for what has `size` bytes. Those that overlap, touch
// or lie no further apart than a part's own fields would take are one; so all parts
// together are no more than the file. The others stay in their order. More than `most`
// are not looked at.
RangeKind ParseRanges(absl::string_view text, uint64_t size, size_t most,
                      std::vector<ByteRange>* parts);

}  // namespace grove::http::http_internal

#endif  // GROVE_NET_HTTP_INTERNAL_BYTE_RANGES_H_
