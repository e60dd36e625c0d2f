#include "grove/net/http/response.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "grove/net/http/status.h"

namespace grove::http {
namespace {

// Up to so much is collected to see whether it is all.
constexpr size_t kCollect = 8 << 10;

absl::Status TooLate(absl::string_view what) {
  return absl::FailedPreconditionError(
      absl::StrCat(what, ": the response is sent already"));
}

}  // namespace

void ResponseWriter::Reset(bool is_head) {
  state_ = State::kCollecting;
  is_head_ = is_head;
  status_ = 200;
  headers_.Clear();
  trailers_.Clear();
  collected_.clear();
  promised_.reset();
  body_bytes_ = 0;
}

bool ResponseWriter::with_body() const { return !is_head_ && MayHaveBody(status_); }

// What may still be put right, since nothing has gone out. Sets promised_.
absl::Status ResponseWriter::CheckHead() {
  if (status_ < 200 || status_ > 999) {
    return absl::InvalidArgumentError(absl::StrCat("no status of a response: ", status_));
  }
  if (!headers_.status().ok()) return headers_.status();
  promised_.reset();
  if (headers_.empty()) return absl::OkStatus();
  if (headers_.Get("Transfer-Encoding").has_value()) {
    return absl::InvalidArgumentError("Transfer-Encoding is the server's to say");
  }
  if (const std::optional<absl::string_view> length = headers_.Get("Content-Length")) {
    uint64_t n = 0;
    if (!absl::SimpleAtoi(*length, &n) || headers_.Remove("Content-Length") != 1) {
      return absl::InvalidArgumentError("a malformed or repeated Content-Length");
    }
    promised_ = n;
  }
  return absl::OkStatus();
}

absl::Status ResponseWriter::Send(absl::string_view body) {
  if (!untouched()) return TooLate("send a response");
  if (absl::Status s = CheckHead(); !s.ok()) return s;
  if (!MayHaveBody(status_) && !body.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("a body with status ", status_));
  }
  // HEAD, and 304, may say how long the body would be.
  const bool free_length = is_head_ || !MayHaveBody(status_);
  if (promised_.has_value() && *promised_ != body.size() && !free_length) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a body of ", body.size(), " bytes, and a Content-Length of ", *promised_));
  }
  std::optional<uint64_t> length = promised_;
  if (!length.has_value() && MayHaveBody(status_)) length = body.size();
  if (status_ == 204) length.reset();
  state_ = State::kFinished;
  if (with_body()) body_bytes_ = body.size();
  return SendWhole(body, length, with_body());
}

absl::Status ResponseWriter::Send(int status, absl::string_view content_type,
                                  absl::string_view body) {
  if (head_sent()) return TooLate("send a response");
  set_status(status);
  headers_.Set("Content-Type", content_type);
  return Send(body);
}

absl::Status ResponseWriter::Write(absl::string_view data) {
  if (state_ == State::kFinished) return TooLate("write to a response");
  if (data.empty()) return absl::OkStatus();
  if (!MayHaveBody(status_)) {
    return absl::InvalidArgumentError(absl::StrCat("a body with status ", status_));
  }
  if (state_ == State::kCollecting) {
    if (collected_.size() + data.size() <= kCollect) {
      collected_.append(data.data(), data.size());
      return absl::OkStatus();
    }
    if (absl::Status s = BeginStreaming(); !s.ok()) return s;
  }
  return WritePiece(data);
}

absl::Status ResponseWriter::BeginStreaming() {
  if (absl::Status s = CheckHead(); !s.ok()) return s;
  state_ = State::kStreaming;
  if (status_ == 204) promised_.reset();
  if (absl::Status s = BeginBody(promised_, with_body()); !s.ok()) return s;
  if (collected_.empty()) return absl::OkStatus();
  absl::Status s = WritePiece(collected_);
  collected_.clear();
  return s;
}

absl::Status ResponseWriter::WritePiece(absl::string_view data) {
  if (promised_.has_value() && body_bytes_ + data.size() > *promised_) {
    Spoil();
    return absl::InvalidArgumentError(
        absl::StrCat("a body of more than the ", *promised_, " bytes of Content-Length"));
  }
  body_bytes_ += data.size();
  return with_body() ? SendPiece(data) : absl::OkStatus();
}

absl::Status ResponseWriter::Flush() {
  if (state_ == State::kCollecting) {
    if (absl::Status s = BeginStreaming(); !s.ok()) return s;
  }
  return FlushPieces();
}

absl::Status ResponseWriter::SendFile(int fd, uint64_t offset, uint64_t count) {
  if (!untouched()) return TooLate("send a file");
  if (absl::Status s = CheckHead(); !s.ok()) return s;
  if (!MayHaveBody(status_)) {
    return absl::InvalidArgumentError(absl::StrCat("a body with status ", status_));
  }
  state_ = State::kFinished;
  if (is_head_) return SendWhole({}, count, false);
  body_bytes_ = count;
  return SendWholeFile(fd, offset, count);
}

absl::StatusOr<net::Stream*> ResponseWriter::Upgrade(absl::string_view protocol,
                                                     std::function<void()> on_drain) {
  if (!untouched()) return TooLate("upgrade a connection");
  if (!headers_.status().ok()) return headers_.status();
  absl::StatusOr<net::Stream*> stream = SendUpgrade(protocol, std::move(on_drain));
  if (stream.ok()) {
    state_ = State::kFinished;
    status_ = 101;
  }
  return stream;
}

absl::StatusOr<net::Stream*> ResponseWriter::SendUpgrade(absl::string_view,
                                                         std::function<void()>) {
  return absl::UnimplementedError("upgrade a connection: not with this protocol");
}

absl::Status ResponseWriter::Finish() {
  switch (state_) {
    case State::kFinished:
      return absl::OkStatus();
    case State::kCollecting: {
      // What was collected is all there is.
      std::string body;
      body.swap(collected_);
      absl::Status s = Send(body);
      body.clear();
      collected_.swap(body);
      return s;
    }
    case State::kStreaming:
      break;
  }
  state_ = State::kFinished;
  if (promised_.has_value() && body_bytes_ < *promised_ && with_body()) {
    Spoil();
    return absl::DataLossError(absl::StrCat("a body of ", body_bytes_, " of the ",
                                            *promised_, " bytes of Content-Length"));
  }
  return EndBody();
}

}  // namespace grove::http
