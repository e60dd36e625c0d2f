#include "grove/net/http/client.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "grove/green/timeout.h"
#include "grove/net/http/internal/client_body.h"
#include "grove/net/http/internal/client_core.h"

namespace grove::http {

std::string BasicAuthorization(absl::string_view user, absl::string_view password) {
  return absl::StrCat("Basic ", absl::Base64Escape(absl::StrCat(user, ":", password)));
}

// --- the response --------------------------------------------------------------------

ClientResponse::ClientResponse(std::unique_ptr<http_internal::ClientBody> body)
    : body_(std::move(body)) {}
ClientResponse::ClientResponse(ClientResponse&&) noexcept = default;
ClientResponse& ClientResponse::operator=(ClientResponse&&) noexcept = default;
ClientResponse::~ClientResponse() = default;

int ClientResponse::status() const { return body_->head().status; }
absl::string_view ClientResponse::reason() const { return body_->head().reason; }
HeaderView ClientResponse::headers() const { return body_->head().headers(); }
int ClientResponse::version_major() const { return body_->head().version_major; }
int ClientResponse::version_minor() const { return body_->head().version_minor; }
const Url& ClientResponse::url() const { return body_->response().url; }
int ClientResponse::redirects() const { return body_->response().redirects; }
std::optional<uint64_t> ClientResponse::length() const { return body_->length(); }
absl::string_view ClientResponse::decompressed() const { return body_->coding(); }
HeaderView ClientResponse::trailers() const { return body_->trailers(); }

absl::StatusOr<size_t> ClientResponse::Read(absl::Span<char> buffer) {
  return body_->Read(buffer);
}

absl::StatusOr<std::string> ClientResponse::ReadAll(size_t limit) {
  std::string all;
  if (const std::optional<uint64_t> n = length()) {
    all.reserve(
        static_cast<size_t>(std::min<uint64_t>(*n, std::min<size_t>(limit, 65536))));
  }
  char buffer[4096];
  for (;;) {
    const absl::StatusOr<size_t> n = Read(absl::MakeSpan(buffer));
    if (!n.ok()) return n.status();
    if (*n == 0) return all;
    if (*n > limit - all.size()) {
      return body_->Named(absl::ResourceExhaustedError(
          absl::StrCat("the body is larger than the ", limit, " bytes wanted")));
    }
    all.append(buffer, *n);
  }
}

// --- the client ----------------------------------------------------------------------

HttpClient::HttpClient(HttpClientOptions options)
    : core_(std::make_shared<http_internal::ClientCore>(std::move(options))) {}

HttpClient::~HttpClient() {
  Shield shield;
  core_->Close(Deadline::Passed());
}

absl::StatusOr<ClientResponse> HttpClient::Send(const ClientRequest& request) {
  return core_->Send(request);
}

absl::StatusOr<ClientResponse> HttpClient::Get(absl::string_view url) {
  return Send({.url = std::string(url)});
}

absl::StatusOr<ClientResponse> HttpClient::Head(absl::string_view url) {
  return Send({.method = "HEAD", .url = std::string(url)});
}

absl::StatusOr<ClientResponse> HttpClient::Post(absl::string_view url,
                                                absl::string_view type,
                                                std::string body) {
  ClientRequest request{
      .method = "POST", .url = std::string(url), .body = std::move(body)};
  request.headers.Set("Content-Type", type);
  return Send(request);
}

size_t HttpClient::Close(Deadline deadline) { return core_->Close(deadline); }

const HttpClientStatistics& HttpClient::statistics() const { return core_->statistics(); }

std::map<std::string, net::ConnectionPoolStatistics> HttpClient::connections() const {
  return core_->connections();
}

}  // namespace grove::http
