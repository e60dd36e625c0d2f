#include "grove/net/http/internal/http2_stream.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "grove/net/http/internal/http2_connection.h"
#include "grove/net/http/internal/request_target.h"
#include "grove/net/http/status.h"
#include "grove/net/internal/wait_in.h"

namespace grove::http::http_internal {
namespace {

// What each field costs beside its text (RFC 9113, 6.5.2).
constexpr size_t kFieldOverhead = 32;
// A head of so many times max_head is not answered by 431, but reset.
constexpr size_t kFarTooMuch = 4;
// What DropText() keeps.
constexpr size_t kKeep = 16 << 10;

absl::string_view TextOf(nghttp2_rcbuf* buffer) {
  const nghttp2_vec v = nghttp2_rcbuf_get_buf(buffer);
  return {reinterpret_cast<const char*>(v.base), v.len};
}

}  // namespace

void DropText(std::string& text) {
  text.clear();
  if (text.capacity() > kKeep) std::string().swap(text);
}

// --- fields -----------------------------------------------------------------------

void Http2Fields::Clear() {
  for (nghttp2_rcbuf* buffer : held_) nghttp2_rcbuf_decref(buffer);
  held_.clear();
  fields_.clear();
  cookies_.clear();
  size_ = 0;
}

absl::string_view Http2Fields::Hold(nghttp2_rcbuf* buffer) {
  const absl::string_view text = TextOf(buffer);
  size_ += text.size() + kFieldOverhead / 2;
  if (!nghttp2_rcbuf_is_static(buffer)) {
    nghttp2_rcbuf_incref(buffer);
    held_.push_back(buffer);
  }
  return text;
}

void Http2Fields::JoinCookies() {
  const auto is_cookie = [](const Field& f) { return f.name == "cookie"; };
  const auto first = std::find_if(fields_.begin(), fields_.end(), is_cookie);
  if (first == fields_.end()) return;
  if (std::find_if(first + 1, fields_.end(), is_cookie) == fields_.end()) return;
  for (const Field& f : fields_) {
    if (!is_cookie(f)) continue;
    absl::StrAppend(&cookies_, cookies_.empty() ? "" : "; ", f.value);
  }
  first->value = cookies_;
  fields_.erase(std::remove_if(first + 1, fields_.end(), is_cookie), fields_.end());
}

// --- the stream -------------------------------------------------------------------

void Http2Stream::Begin(Http2Connection* its_connection, int32_t its_id) {
  connection = its_connection;
  id = its_id;
}

void Http2Stream::Clear() {
  head_.Clear();
  trailers_.Clear();
  method_ = path_ = authority_ = {};
  seen_ = 0;
  refused_ = 0;
  reason_ = "";
  closed_ = false;
  error_code_ = 0;
  in_head = true;
  handler = {};
  handler_runs = false;
  pace = {};
  connection = nullptr;
  previous = next = nullptr;
  body.Begin(std::nullopt, false);
  response.Begin(false);
}

void Http2Stream::RefuseLater(int status, const char* reason) {
  if (refused_ != 0) return;
  refused_ = status;
  reason_ = reason;
}

bool Http2Stream::TakeHeader(nghttp2_rcbuf* name, nghttp2_rcbuf* value) {
  const HttpServerOptions& options = connection->options();
  const size_t size = TextOf(name).size() + TextOf(value).size() + kFieldOverhead;
  seen_ += size;
  if (seen_ > kFarTooMuch * options.max_head) return false;
  if (refused_ != 0) return true;
  if (head_.size() + size > options.max_head) {
    RefuseLater(431, "the head is too large");
    return true;
  }
  const absl::string_view name_text = head_.Hold(name);
  const absl::string_view value_text = head_.Hold(value);
  if (absl::StartsWith(name_text, ":")) {
    TakePseudo(name_text, value_text);
  } else if (head_.fields().size() >= options.max_fields) {
    RefuseLater(431, "too many header fields");
  } else {
    head_.Add({name_text, value_text});
  }
  return true;
}

void Http2Stream::TakePseudo(absl::string_view name, absl::string_view value) {
  if (name == ":method") {
    method_ = value;
  } else if (name == ":path") {
    path_ = value;
    if (path_.size() > connection->options().max_request_line) {
      RefuseLater(414, "the path is too long");
    }
  } else if (name == ":authority") {
    authority_ = value;
  }
}

bool Http2Stream::TakeTrailer(nghttp2_rcbuf* name, nghttp2_rcbuf* value) {
  const HttpServerOptions& options = connection->options();
  const size_t size = TextOf(name).size() + TextOf(value).size() + kFieldOverhead;
  if (trailers_.size() + size > options.max_trailers ||
      trailers_.fields().size() >= options.max_fields) {
    return false;
  }
  const absl::string_view name_text = trailers_.Hold(name);
  trailers_.Add({name_text, trailers_.Hold(value)});
  return true;
}

// nghttp2 has looked at what RFC 9113 calls malformed: pseudo-header fields, upper case,
// connection-specific fields, Content-Length against the body's size.
void Http2Stream::FinishHead(bool has_body) {
  in_head = false;
  head_.JoinCookies();
  absl::string_view host = authority_;
  std::optional<uint64_t> length;
  bool awaited = false;
  for (const Field& f : head_.fields()) {
    if (f.name == "host") {
      if (!host.empty() && host != f.value) {
        RefuseLater(400, "more than one host, and they differ");
      }
      host = f.value;
    } else if (f.name == "content-length") {
      uint64_t n = 0;
      if (!absl::SimpleAtoi(f.value, &n)) RefuseLater(400, "a malformed Content-Length");
      length = n;
    } else if (f.name == "expect") {
      awaited = absl::EqualsIgnoreCase(f.value, "100-continue");
      if (!awaited) RefuseLater(417, "an unknown expectation");
    }
  }
  if (refused_ == 0) {
    if (!IsKnownMethod(method_)) {
      RefuseLater(IsToken(method_) ? 501 : 400, "an unknown method");
    } else if (method_ == "CONNECT") {
      RefuseLater(501, "CONNECT is not served");
    } else if (!IsVisible(path_) || absl::StrContains(path_, '#') ||
               (path_[0] != '/' && !(path_ == "*" && method_ == "OPTIONS"))) {
      RefuseLater(400, "a malformed path");
    } else if (host.empty() || !LooksLikeHost(host)) {
      RefuseLater(400, "no host, or a malformed one");
    } else if (length > connection->options().max_body) {
      RefuseLater(413, "the body is too large");
    }
  }
  request.Set({.method = method_,
               .target = path_,
               .host = host,
               .peer = connection->peer(),
               .version_major = 2,
               .version_minor = 0,
               .secure = connection->secure(),
               .fields = head_.fields(),
               .body = &body});
  body.Begin(has_body ? length : uint64_t{0}, awaited && has_body);
  if (!has_body) body.End();
  response.Begin(request.is_head());
}

void Http2Stream::Refuse(int status, absl::string_view reason) {
  if (status != 500) connection->CountRefusal();
  response.Begin(request.is_head());
  response.Send(status, "text/plain", absl::StrCat(reason, "\n")).IgnoreError();
}

void Http2Stream::Close(uint32_t error_code) {
  if (closed_) return;
  closed_ = true;
  error_code_ = error_code;
  response.Drop();
  response.WakeWatchers();
  body.readers_.NotifyAll();
}

absl::Status Http2Stream::ClosedError(absl::string_view what) const {
  return absl::UnavailableError(
      absl::StrCat(what, ": ", connection->peer(),
                   " has ended the request: ", nghttp2_http2_strerror(error_code_)));
}

// --- the request's body -----------------------------------------------------------

void Http2Body::Begin(std::optional<uint64_t> length, bool awaited) {
  length_ = length;
  awaited_ = awaited;
  ended_ = reader_waits_ = false;
  failed_with_ = 0;
  if (!failure_.ok()) failure_ = absl::OkStatus();
  received_ = 0;
  DropText(in_);
  in_begin_ = 0;
}

HeaderView Http2Body::trailers() const {
  return ended_ && unread() == 0 ? HeaderView(stream_.trailers_.fields()) : HeaderView();
}

void Http2Body::Take(absl::string_view data) {
  received_ += data.size();
  if (received_ > stream_.connection->options().max_body) {
    Fail(413, absl::ResourceExhaustedError(
                  absl::StrCat("the body is larger than ",
                               stream_.connection->options().max_body, " bytes")));
  }
  if (failed_with_ != 0) {
    stream_.connection->Consume(stream_, data.size());
    return;
  }
  // A reader that always leaves something does not make it grow.
  if (in_begin_ > 0 && in_begin_ >= unread()) {
    in_.erase(0, in_begin_);
    in_begin_ = 0;
  }
  in_.append(data.data(), data.size());
  readers_.NotifyAll();
}

void Http2Body::End() {
  ended_ = true;
  readers_.NotifyAll();
}

void Http2Body::Fail(int status, absl::Status failure) {
  if (failed_with_ != 0) return;
  failed_with_ = status;
  failure_ = std::move(failure);
  readers_.NotifyAll();
}

absl::StatusOr<size_t> Http2Body::Read(absl::Span<char> buffer) {
  if (buffer.empty()) return size_t{0};
  // Others run now and then; before anything is taken, since it may throw.
  green_internal::Scheduler::Get().CountOperation();
  for (;;) {
    if (failed_with_ != 0) return failure_;
    if (unread() > 0) {
      const size_t n = std::min(unread(), buffer.size());
      std::copy_n(in_.data() + in_begin_, n, buffer.data());
      in_begin_ += n;
      if (unread() == 0) {
        in_.clear();
        in_begin_ = 0;
      }
      stream_.connection->Consume(stream_, n);
      return n;
    }
    if (ended_) return size_t{0};
    if (stream_.closed()) {
      Fail(400, stream_.ClosedError("read a request's body"));
      return failure_;
    }
    if (awaited_) {
      if (absl::Status s = AskForIt(); !s.ok()) return s;
    }
    // Also if it is killed.
    struct Waits {
      explicit Waits(bool* flag) : flag(flag) { *flag = true; }
      ~Waits() { *flag = false; }
      bool* flag;
    } waits(&reader_waits_);
    net::net_internal::WaitIn(readers_, "the body of a request");
  }
}

absl::Status Http2Body::AskForIt() {
  if (stream_.response.head_sent()) {
    return absl::FailedPreconditionError(
        "read a request's body: it was answered before the client was asked for it");
  }
  awaited_ = false;
  constexpr absl::string_view kName = ":status";
  constexpr absl::string_view kValue = "100";
  nghttp2_nv field{reinterpret_cast<uint8_t*>(const_cast<char*>(kName.data())),
                   reinterpret_cast<uint8_t*>(const_cast<char*>(kValue.data())),
                   kName.size(), kValue.size(),
                   NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE};
  if (nghttp2_submit_headers(stream_.connection->session(), NGHTTP2_FLAG_NONE, stream_.id,
                             nullptr, &field, 1, nullptr) != 0) {
    return stream_.ClosedError("ask for a request's body");
  }
  stream_.connection->ScheduleWrite();
  return absl::OkStatus();
}

}  // namespace grove::http::http_internal
