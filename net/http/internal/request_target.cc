#include "grove/net/http/internal/request_target.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "llhttp.h"

namespace grove::http::http_internal {

bool IsKnownMethod(absl::string_view method) {
#define GROVE_HTTP_METHOD(number, name, text) \
  if (method == #text) return true;
  HTTP_METHOD_MAP(GROVE_HTTP_METHOD)
#undef GROVE_HTTP_METHOD
  return false;
}

bool LooksLikeHost(absl::string_view host) {
  bool in_brackets = false;
  for (size_t i = 0; i < host.size(); ++i) {
    const char c = host[i];
    if (c == '[' && i == 0) {
      in_brackets = true;
    } else if (c == ']' && in_brackets) {
      in_brackets = false;
    } else if (c == ':' && !in_brackets) {
      for (char digit : host.substr(i + 1)) {
        if (!absl::ascii_isdigit(digit)) return false;
      }
      return host.size() - i <= 6;
    } else if (!absl::ascii_isalnum(c) && !absl::StrContains("-._~!$&'()*+;=%:", c)) {
      return false;
    }
  }
  return !in_brackets;
}

bool IsVisible(absl::string_view text) {
  for (unsigned char c : text) {
    if (c <= 0x20 || c >= 0x7f) return false;
  }
  return !text.empty();
}

}  // namespace grove::http::http_internal
