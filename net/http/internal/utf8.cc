#include "grove/net/http/internal/utf8.h"

#include <string.h>

namespace grove::http::http_internal {

bool Utf8Checker::Feed(absl::string_view piece) {
  const char* at = piece.data();
  const char* const end = at + piece.size();
  while (at != end) {
    if (left_ == 0) {
      // Most texts are mostly ASCII.
      uint64_t eight;
      while (end - at >= 8 && (memcpy(&eight, at, 8), (eight & 0x8080808080808080) == 0))
        at += 8;
      if (at == end) break;
    }
    const uint8_t c = static_cast<uint8_t>(*at++);
    if (left_ > 0) {
      if (c < low_ || c > high_) return false;
      low_ = 0x80;
      high_ = 0xbf;
      --left_;
      continue;
    }
    // RFC 3629, 4.
    if (c < 0x80) continue;
    if (c < 0xc2 || c > 0xf4) return false;
    if (c < 0xe0) {
      left_ = 1;
    } else if (c < 0xf0) {
      left_ = 2;
      if (c == 0xe0) low_ = 0xa0;
      if (c == 0xed) high_ = 0x9f;
    } else {
      left_ = 3;
      if (c == 0xf0) low_ = 0x90;
      if (c == 0xf4) high_ = 0x8f;
    }
  }
  return true;
}

bool IsUtf8(absl::string_view text) {
  Utf8Checker checker;
  return checker.Feed(text) && checker.complete();
}

}  // namespace grove::http::http_internal
