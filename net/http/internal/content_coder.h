#ifndef GROVE_NET_HTTP_INTERNAL_CONTENT_CODER_H_
#define GROVE_NET_HTTP_INTERNAL_CONTENT_CODER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace grove::http::http_internal {

// ContentEncoder
//
// zlib's and brotli's encoders as one. Does not block.
class ContentEncoder {
 public:
  enum class Step { kMore, kFlush, kEnd };
  virtual ~ContentEncoder() = default;
  virtual absl::Status Encode(absl::string_view data, Step step, std::string* out) = 0;
};

// ContentDecoder
//
// And their decoders. Decode() takes from the front of `data`, and returns how much it
// has put into `out`: 0 if it wants more, or if it has ended.
class ContentDecoder {
 public:
  virtual ~ContentDecoder() = default;
  virtual absl::StatusOr<size_t> Decode(absl::string_view* data,
                                        absl::Span<char> out) = 0;
  virtual bool ended() const = 0;
};

// Of "gzip", "deflate" or "br"; null for others. `size` is that of the body, if it is
// known: a small one needs less memory.
std::unique_ptr<ContentEncoder> MakeContentEncoder(absl::string_view coding, int level,
                                                   std::optional<uint64_t> size);
std::unique_ptr<ContentDecoder> MakeContentDecoder(absl::string_view coding);

// What those of this thread hold, in bytes.
size_t CoderMemory();

}  // namespace grove::http::http_internal

#endif  // GROVE_NET_HTTP_INTERNAL_CONTENT_CODER_H_
