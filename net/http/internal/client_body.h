#ifndef GROVE_NET_HTTP_INTERNAL_CLIENT_BODY_H_
#define GROVE_NET_HTTP_INTERNAL_CLIENT_BODY_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "grove/net/http/internal/client_transport.h"
#include "grove/net/http/internal/decompressor.h"
#include "grove/net/http/internal/response_parser.h"
#include "grove/net/http/url.h"

namespace grove::http::http_internal {

// What has come of one request to one server.
struct ReceivedResponse {
  std::unique_ptr<ResponseHead> head;
  std::unique_ptr<IncomingBody> body;
  Url url;
  int redirects = 0;
  std::string operation;  // "GET http://..."
};

// ClientBody
//
// A response with its body as its reader sees it: decompressed, and limited.
class ClientBody {
 public:
  struct Limits {
    uint64_t body;
    uint64_t decompressed;
  };
  // `decompress`: the client has asked for codings.
  ClientBody(ReceivedResponse response, bool decompress, Limits limits);

  absl::StatusOr<size_t> Read(absl::Span<char> buffer);
  const ResponseHead& head() const { return *response_.head; }
  const ReceivedResponse& response() const { return response_; }
  std::optional<uint64_t> length() const {
    return decompressor_ ? std::nullopt : response_.head->content_length;
  }
  absl::string_view coding() const { return coding_; }
  HeaderView trailers() const;
  // As an error of this response.
  absl::Status Named(const absl::Status& status) const;

 private:
  absl::StatusOr<size_t> ReadSome(absl::Span<char> buffer);
  absl::StatusOr<size_t> ReadDecompressed(absl::Span<char> buffer);

  ReceivedResponse response_;
  const Limits limits_;
  std::string coding_;
  std::unique_ptr<Decompressor> decompressor_;
  uint64_t read_ = 0;
  absl::Status failure_;
  bool done_ = false;
  // Compressed, and not looked at yet.
  std::string compressed_;
  absl::string_view pending_;
  bool any_ = false;
  uint64_t compressed_read_ = 0;
  bool ended_ = false;
};

}  // namespace grove::http::http_internal

#endif  // GROVE_NET_HTTP_INTERNAL_CLIENT_BODY_H_
