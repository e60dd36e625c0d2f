#include <string.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grove/net/http/internal/server_connection.h"

namespace grove::http::http_internal {

void Http1Body::Begin(ServerConnection* connection, const RequestParser& parser) {
  connection_ = connection;
  chunked_ = parser.chunked();
  length_ = left_ = parser.content_length();
  done_ = !chunked_ && left_ == 0;
  awaited_ = parser.expects_continue() && !done_;
  read_ = 0;
  failed_with_ = 0;
  if (!failure_.ok()) failure_ = absl::OkStatus();
  if (chunked_) decoder_.Reset();
}

absl::StatusOr<size_t> Http1Body::Read(absl::Span<char> buffer) {
  if (failed_with_ != 0) return failure_;
  if (done_ || buffer.empty()) return size_t{0};
  if (awaited_) {
    if (absl::Status s = AskForIt(); !s.ok()) return s;
  }
  return chunked_ ? ReadChunked(buffer) : ReadSized(buffer);
}

absl::Status Http1Body::AskForIt() {
  Exchange& x = *connection_->exchange_;
  if (x.response.head_sent()) {
    return absl::FailedPreconditionError(
        "read a request's body: it was answered before the client was asked for it");
  }
  awaited_ = false;
  // A client that has begun to send does not wait for it.
  if (!x.input().empty()) return absl::OkStatus();
  x.out += "HTTP/1.1 100 Continue\r\n\r\n";
  return connection_->FlushOut();
}

absl::StatusOr<size_t> Http1Body::ReadSized(absl::Span<char> buffer) {
  Exchange& x = *connection_->exchange_;
  size_t n = static_cast<size_t>(std::min<uint64_t>(left_, buffer.size()));
  if (!x.input().empty()) {
    n = std::min(n, x.input().size());
    memcpy(buffer.data(), x.input().data(), n);
    x.Consume(n);
  } else {
    const absl::StatusOr<size_t> got = connection_->Read(buffer.first(n));
    if (!got.ok() || *got == 0) return FailedRead(got);
    n = *got;
  }
  left_ -= n;
  done_ = left_ == 0;
  return n;
}

absl::StatusOr<size_t> Http1Body::ReadChunked(absl::Span<char> buffer) {
  Exchange& x = *connection_->exchange_;
  const HttpServerOptions& options = connection_->core_->options();
  for (;;) {
    const ChunkDecoder::Step step =
        decoder_.Next(x.input(), buffer.size(),
                      {.extensions = options.max_chunk_extensions,
                       .trailers = options.max_trailers,
                       .trailer_fields = options.max_fields});
    x.Consume(step.consumed);
    switch (step.state) {
      case ChunkDecoder::State::kData:
        read_ += step.data.size();
        if (read_ > options.max_body) {
          return Fail(413, absl::ResourceExhaustedError(absl::StrCat(
                               "the body is larger than ", options.max_body, " bytes")));
        }
        memcpy(buffer.data(), step.data.data(), step.data.size());
        return step.data.size();
      case ChunkDecoder::State::kEnd:
        done_ = true;
        return size_t{0};
      case ChunkDecoder::State::kRefused:
        return Fail(400, absl::InvalidArgumentError(decoder_.reason()));
      case ChunkDecoder::State::kMore:
        break;
    }
    const absl::StatusOr<size_t> n = connection_->Read(x.RoomForBody());
    if (!n.ok() || *n == 0) return FailedRead(n);
    x.Filled(*n);
  }
}

absl::Status Http1Body::FailedRead(const absl::StatusOr<size_t>& n) {
  if (connection_->timed_out_) {
    return Fail(408, absl::DeadlineExceededError("the body has not come in time"));
  }
  return Fail(400, absl::UnavailableError(
                       n.ok() ? "the connection ended within the body"
                              : absl::StrCat("within the body: ", n.status().message())));
}

absl::Status Http1Body::Fail(int status, absl::Status failure) {
  failed_with_ = status;
  failure_ = std::move(failure);
  return failure_;
}

bool Http1Body::Discard(uint64_t at_most) {
  char buffer[4096];
  while (!done_) {
    if (!AtMost(at_most)) return false;
    const absl::StatusOr<size_t> n = Read(absl::MakeSpan(buffer));
    if (!n.ok()) return false;
    if (*n > at_most) return false;
    at_most -= *n;
  }
  return true;
}

}  // namespace grove::http::http_internal
