#ifndef GROVE_NET_HTTP_INTERNAL_SHA1_H_
#define GROVE_NET_HTTP_INTERNAL_SHA1_H_

#include <string>

#include "absl/strings/string_view.h"

namespace grove::http::http_internal {

// Sha1()
//
// The 20 bytes of RFC 3174. For the WebSocket handshake, which only has to show that a
// server has read the key, so that SHA-1 being broken does not matter there; for nothing
// else. Here so that WebSocket does not need a library for cryptography.
std::string Sha1(absl::string_view data);

}  // namespace grove::http::http_internal

#endif  // GROVE_NET_HTTP_INTERNAL_SHA1_H_
