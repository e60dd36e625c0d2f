#ifndef GROVE_NET_INTERNAL_TLS_ERROR_H_
#define GROVE_NET_INTERNAL_TLS_ERROR_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "openssl/ssl.h"

// BoringSSL's errors as statuses.
//
// Its queue of errors is the thread's, so all connections of a hub share it: what one
// leaves there would be taken for another's. It is emptied before each call, and again
// when it was read; and no call switches to another greenlet.
namespace grove::net::tls_internal {

// What stands in the queue, which is empty then. "<operation>: <reason>". `ssl`, if not
// null, is asked why a certificate was refused; `host` is what that should have been for.
absl::Status TakeError(absl::string_view operation, const SSL* ssl = nullptr,
                       absl::string_view host = {});

// The reason alone, for what is no connection's: "no start line".
std::string TakeReason();

// The same status, with what was being done in front of its message.
absl::Status Annotate(const absl::Status& status, absl::string_view operation);

}  // namespace grove::net::tls_internal

#endif  // GROVE_NET_INTERNAL_TLS_ERROR_H_
