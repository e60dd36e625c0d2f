#ifndef GROVE_NET_HTTP_INTERNAL_CHUNK_DECODER_H_
#define GROVE_NET_HTTP_INTERNAL_CHUNK_DECODER_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "grove/net/http/headers.h"

namespace grove::http::http_internal {

// ChunkDecoder
//
// A chunked body (RFC 9112, 7.1), where it lies. To the letter: sizes are up to 15
// hexadecimal digits with nothing around them, and each line ends with CR LF. Extensions
// are read over; they and the trailers are limited.
class ChunkDecoder {
 public:
  struct Limits {
    size_t extensions = 4096;  // all of a body's together
    size_t trailers = 8192;
    size_t trailer_fields = 100;
  };
  enum class State { kMore, kData, kEnd, kRefused };
  struct Step {
    State state;
    size_t consumed;         // of the input, `data` included
    absl::string_view data;  // with kData: not empty
  };

  void Reset();
  // Looks at input up to the first data, of which it takes up to `at_most` bytes. With
  // kMore all was consumed.
  Step Next(absl::string_view input, size_t at_most, const Limits& limits);

  const char* reason() const { return reason_; }
  // After kEnd.
  absl::Span<const Field> trailers() const { return trailer_views_; }

 private:
  enum class At {
    kSize,
    kExtension,
    kSizeLf,
    kData,
    kDataCr,
    kDataLf,
    kTrailerStart,
    kTrailer,
    kTrailerLf,
    kLastLf,
    kEnd,
  };
  // False: refused.
  bool TakeByte(char c, const Limits& limits);
  bool TakeSizeDigit(char c);
  bool FinishTrailer(const Limits& limits);
  void FinishTrailers();
  bool Refuse(const char* reason) {
    reason_ = reason;
    return false;
  }

  At at_ = At::kSize;
  uint64_t left_ = 0;  // of the chunk
  int digits_ = 0;
  size_t extensions_ = 0;
  const char* reason_ = "";
  std::string trailer_text_;
  size_t trailer_line_ = 0;
  struct Entry {
    size_t name, name_size, value, value_size;
  };
  std::vector<Entry> trailer_entries_;
  std::vector<Field> trailer_views_;
};

}  // namespace grove::http::http_internal

#endif  // GROVE_NET_HTTP_INTERNAL_CHUNK_DECODER_H_
