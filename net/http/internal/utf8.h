#ifndef GROVE_NET_HTTP_INTERNAL_UTF8_H_
#define GROVE_NET_HTTP_INTERNAL_UTF8_H_

#include <cstdint>

#include "absl/strings/string_view.h"

namespace grove::http::http_internal {

// Utf8Checker
//
// Whether a text that comes in pieces is UTF-8 (RFC 3629): no overlong forms, no
// surrogates, nothing above U+10FFFF. Known at the first byte that cannot be right.
class Utf8Checker {
 public:
  // False from the first wrong byte on.
  bool Feed(absl::string_view piece);
  // Whether the text may end here.
  bool complete() const { return left_ == 0; }
  void Reset() { left_ = 0; }

 private:
  int left_ = 0;  // bytes that the character still needs
  // What the next one must lie within.
  uint8_t low_ = 0x80;
  uint8_t high_ = 0xbf;
};

// Of a whole text.
bool IsUtf8(absl::string_view text);

}  // namespace grove::http::http_internal

#endif  // GROVE_NET_HTTP_INTERNAL_UTF8_H_
