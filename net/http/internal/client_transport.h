#ifndef GROVE_NET_HTTP_INTERNAL_CLIENT_TRANSPORT_H_
#define GROVE_NET_HTTP_INTERNAL_CLIENT_TRANSPORT_H_

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "grove/hub/deadline.h"
#include "grove/net/http/client.h"
#include "grove/net/http/internal/response_parser.h"
#include "grove/net/http/url.h"

namespace grove::http::http_internal {

// OutgoingRequest
//
// One request to one server: after redirects another than what the caller asked for.
// Outlives what sends it, but not what reads its response.
struct OutgoingRequest {
  std::string method;
  Url url;
  const HeaderMap* headers = nullptr;  // checked
  absl::string_view body;
  const BodyProducer* produce = nullptr;
  std::optional<uint64_t> produced_length;
  bool expect_continue = false;
  bool accept_encoding = false;  // the client's own
};

// IncomingBody
//
// The body of a response as it comes, with its codings of the content. Its end gives the
// connection back, or closes it.
class IncomingBody {
 public:
  virtual ~IncomingBody() = default;
  // At least one byte; 0 is the end. Contract as ClientResponse::Read().
  virtual absl::StatusOr<size_t> Read(absl::Span<char> buffer) = 0;
  // Once it was read to its end.
  virtual HeaderView trailers() const = 0;
};

// WithPrefix()
//
// The same with `prefix` in front of its message.
absl::Status WithPrefix(absl::string_view prefix, const absl::Status& status);

// The earlier of a phase's and the whole's.
Deadline PhaseDeadline(absl::Duration phase, Deadline total);

// A deadline's end, with the phase's name.
absl::Status PhaseStatus(absl::string_view phase, const absl::Status& status);

}  // namespace grove::http::http_internal

#endif  // GROVE_NET_HTTP_INTERNAL_CLIENT_TRANSPORT_H_
