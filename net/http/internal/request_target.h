#ifndef GROVE_NET_HTTP_INTERNAL_REQUEST_TARGET_H_
#define GROVE_NET_HTTP_INTERNAL_REQUEST_TARGET_H_

#include "absl/strings/string_view.h"

// What a request asks for, whichever version of HTTP carries it.
namespace grove::http::http_internal {

// Whether it is a method of HTTP's registry, as llhttp knows it.
bool IsKnownMethod(absl::string_view method);

// A host with or without a port. Empty is allowed (RFC 9112, 3.2).
bool LooksLikeHost(absl::string_view host);

// Neither empty, nor with blanks, control characters or bytes beyond ASCII.
bool IsVisible(absl::string_view text);

}  // namespace grove::http::http_internal

#endif  // GROVE_NET_HTTP_INTERNAL_REQUEST_TARGET_H_
