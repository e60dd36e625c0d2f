#include <array>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "grove/net/http/internal/client_core.h"

// What is a request, what may be asked again, and where redirects lead.
namespace grove::http::http_internal {
namespace {

bool IsOneOf(absl::string_view name, absl::Span<const absl::string_view> names) {
  for (absl::string_view other : names) {
    if (absl::EqualsIgnoreCase(name, other)) return true;
  }
  return false;
}

// Those that frame the message, or are between the client and who is next to it.
bool IsReserved(absl::string_view name) {
  return IsOneOf(name, {"content-length", "transfer-encoding", "connection", "keep-alive",
                        "proxy-connection", "proxy-authorization", "te", "trailer",
                        "upgrade", "expect", "http2-settings"});
}

// Those that are another origin's no business (RFC 9110, 15.4): also keys and tokens that
// have other names.
bool IsForOriginOnly(absl::string_view name) {
  return IsSecretField(name) || IsOneOf(name, {"www-authenticate", "host"});
}

// Those that say something of a body.
bool IsOfBody(absl::string_view name) {
  return absl::StartsWithIgnoreCase(name, "content-") ||
         IsOneOf(name, {"digest", "repr-digest", "last-modified"});
}

bool LooksLikeHost(absl::string_view host) {
  for (char c : host) {
    if (!absl::ascii_isalnum(c) && !absl::StrContains("-._:[]", c)) return false;
  }
  return !host.empty();
}

}  // namespace

absl::Status CheckRequest(const ClientRequest& request) {
  const auto bad = [](absl::string_view why) {
    return absl::InvalidArgumentError(absl::StrCat("HTTP request: ", why));
  };
  if (!IsToken(request.method)) return bad("its method is none");
  if (request.method == "CONNECT") return bad("CONNECT makes a tunnel, not a response");
  if (!request.headers.status().ok()) return bad(request.headers.status().message());
  int hosts = 0;
  for (size_t i = 0; i < request.headers.size(); ++i) {
    const Field field = request.headers[i];
    if (IsReserved(field.name)) {
      return bad(absl::StrCat("the field ", field.name, " is not the caller's"));
    }
    if (absl::EqualsIgnoreCase(field.name, "host") &&
        (++hosts > 1 || !LooksLikeHost(field.value))) {
      return bad("more than one Host, or a malformed one");
    }
  }
  const bool has_body = !request.body.empty() || request.produce != nullptr;
  if (!request.body.empty() && request.produce != nullptr)
    return bad("it has two bodies");
  if (has_body && request.method == "TRACE") return bad("TRACE has no body");
  if (request.expect_continue && !has_body) {
    return bad("without a body there is nothing to continue with");
  }
  return absl::OkStatus();
}

bool IsIdempotent(absl::string_view method) {
  static constexpr std::array<absl::string_view, 6> kMethods = {
      "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"};
  for (absl::string_view m : kMethods) {
    if (m == method) return true;
  }
  return false;
}

Redirection::Redirection(const ClientRequest& request, Url url, bool accept_encoding)
    : original_(request), headers_(request.headers) {
  request_.method = request.method;
  request_.url = std::move(url);
  request_.headers = &headers_;
  request_.body = request.body;
  request_.produce = request.produce != nullptr ? &request.produce : nullptr;
  request_.produced_length = request.produced_length;
  request_.expect_continue = request.expect_continue;
  request_.accept_encoding = accept_encoding;
}

void Redirection::DropHeaders(bool (*drops)(absl::string_view name)) {
  HeaderMap kept;
  for (size_t i = 0; i < headers_.size(); ++i) {
    const Field field = headers_[i];
    if (!drops(field.name)) kept.Add(field.name, field.value);
  }
  headers_ = std::move(kept);
}

void Redirection::BecomeGet() {
  request_.method = "GET";
  request_.body = {};
  request_.produce = nullptr;
  request_.produced_length.reset();
  request_.expect_continue = false;
  DropHeaders(&IsOfBody);
}

// RFC 9110, 15.4.
absl::StatusOr<bool> Redirection::Follow(const ResponseHead& head, int max,
                                         bool downgrades) {
  const int status = head.status;
  const bool redirects =
      status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
  if (!redirects || max <= 0) return false;
  const std::vector<absl::string_view> locations = head.headers().GetAll("location");
  if (locations.empty()) return false;
  if (locations.size() > 1) {
    return absl::DataLossError("a redirect with more than one Location");
  }
  const bool to_get = (status == 303 && request_.method != "HEAD") ||
                      ((status == 301 || status == 302) && request_.method == "POST");
  // A body that is gone cannot be sent again: that is for the caller to do.
  if (!to_get && request_.produce != nullptr && !original_.produce_again) return false;
  if (count_ == max) {
    return absl::FailedPreconditionError(
        absl::StrCat("there are more than ", max, " redirects"));
  }
  absl::StatusOr<Url> next = request_.url.Resolve(locations[0]);
  if (!next.ok()) {
    return absl::FailedPreconditionError(
        absl::StrCat("a redirect to ", next.status().message()));
  }
  if (request_.url.secure() && !next->secure() && !downgrades) {
    return absl::FailedPreconditionError(
        absl::StrCat("a redirect from https to ", next->ForLog()));
  }
  // What was dropped once stays so, also if the way leads back.
  if (!next->SameOrigin(request_.url)) DropHeaders(&IsForOriginOnly);
  if (to_get) BecomeGet();
  request_.url = *std::move(next);
  ++count_;
  return true;
}

}  // namespace grove::http::http_internal
