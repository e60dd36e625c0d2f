#ifndef GROVE_NET_HTTP_INTERNAL_DECOMPRESSOR_H_
#define GROVE_NET_HTTP_INTERNAL_DECOMPRESSOR_H_

#include <cstddef>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace grove::http::http_internal {

// Decompressor
//
// A content coding (RFC 9110, 8.4.1), undone piece by piece: what comes out goes into the
// caller's buffer, however much it would be in all.
class Decompressor {
 public:
  // Null if the coding is none that is known: "gzip", "x-gzip", "deflate", "br".
  static std::unique_ptr<Decompressor> For(absl::string_view coding);

  virtual ~Decompressor() = default;

  // Takes from the front of `input`, and fills `out` as far as it can: how many bytes of
  // it. 0 only if all of the input was taken. kDataLoss if that is no such coding, also
  // for what stands behind its end.
  virtual absl::StatusOr<size_t> Next(absl::string_view* input, absl::Span<char> out) = 0;
  // Whether the input may end here.
  virtual bool AtEnd() const = 0;
};

}  // namespace grove::http::http_internal

#endif  // GROVE_NET_HTTP_INTERNAL_DECOMPRESSOR_H_
