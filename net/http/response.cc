#include "grove/net/http/response.h"

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "grove/net/http/status.h"
#include "grove/net/internal/read_piece.h"

namespace grove::http {
namespace {

// Up to so much is collected to see whether it is all.
constexpr size_t kCollect = 8 << 10;
// A file that is no larger goes out with its head, by one call.
constexpr size_t kSmallFile = 16 << 10;
constexpr size_t kFilePiece = 64 << 10;
// An encoder is given so much at once; a body of no more than this many is encoded
// before it is sent, so that its length is known.
constexpr size_t kEncodePiece = 16 << 10;
constexpr size_t kEncodeWhole = 64 << 10;

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
  written_ = body_bytes_ = 0;
  if (encoder_) encoder_.reset();
  if (encoded_.capacity() > kEncodeWhole) std::string().swap(encoded_);
  encoding_ = encoder_broken_ = false;
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
    const std::string text(*length);
    const size_t count = headers_.Remove("Content-Length");
    if (count != 1 || !absl::SimpleAtoi(text, &n)) {
      // Or the next try would succeed.
      for (size_t i = 0; i < count; ++i) headers_.Add("Content-Length", text);
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
    headers_.Set("Content-Length", absl::StrCat(*promised_));
    return absl::InvalidArgumentError(absl::StrCat(
        "a body of ", body.size(), " bytes, and a Content-Length of ", *promised_));
  }
  std::optional<uint64_t> length = promised_;
  if (!length.has_value() && MayHaveBody(status_)) length = body.size();
  if (status_ == 204) length.reset();
  if (BeginEncoding(length)) return SendEncoded(body);
  state_ = State::kFinished;
  if (with_body()) written_ = body_bytes_ = body.size();
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
  const std::optional<uint64_t> length =
      BeginEncoding(promised_) ? std::nullopt : promised_;
  if (absl::Status s = BeginBody(length, with_body()); !s.ok()) return s;
  if (collected_.empty()) return absl::OkStatus();
  absl::Status s = WritePiece(collected_);
  collected_.clear();
  return s;
}

absl::Status ResponseWriter::WritePiece(absl::string_view data) {
  if (promised_.has_value() && written_ + data.size() > *promised_) {
    Spoil();
    return absl::InvalidArgumentError(
        absl::StrCat("a body of more than the ", *promised_, " bytes of Content-Length"));
  }
  written_ += data.size();
  if (!with_body()) return absl::OkStatus();
  if (encoding_) return EncodeAndSend(data, BodyEncoder::Step::kMore);
  body_bytes_ += data.size();
  return SendPiece(data);
}

absl::Status ResponseWriter::Flush() {
  if (state_ == State::kCollecting) {
    if (absl::Status s = BeginStreaming(); !s.ok()) return s;
  }
  if (encoding_ && with_body() && state_ == State::kStreaming) {
    if (absl::Status s = EncodeAndSend({}, BodyEncoder::Step::kFlush); !s.ok()) return s;
  }
  return FlushPieces();
}

absl::Status ResponseWriter::SendFile(int fd, uint64_t offset, uint64_t count) {
  if (!untouched()) return TooLate("send a file");
  if (absl::Status s = CheckHead(); !s.ok()) return s;
  if (!MayHaveBody(status_)) {
    return absl::InvalidArgumentError(absl::StrCat("a body with status ", status_));
  }
  if (promised_.has_value() && *promised_ != count) {
    headers_.Set("Content-Length", absl::StrCat(*promised_));
    return absl::InvalidArgumentError(
        absl::StrCat("a file's ", count, " bytes, and a Content-Length of ", *promised_));
  }
  if (BeginEncoding(count)) {
    if (absl::Status s = BeginStreaming(); !s.ok()) return s;
    if (absl::Status s = WriteFile(fd, offset, count); !s.ok()) return s;
    return Finish();
  }
  state_ = State::kFinished;
  if (is_head_) return SendWhole({}, count, false);
  written_ = body_bytes_ = count;
  if (count <= kSmallFile) {
    const std::unique_ptr<char[]> buffer(new char[count]);
    if (net::net_internal::TryReadPiece(fd, offset, {buffer.get(), count}) == count) {
      return SendWhole({buffer.get(), count}, count, true);
    }
  }
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

absl::Status ResponseWriter::WriteFile(int fd, uint64_t offset, uint64_t count) {
  if (state_ == State::kFinished) return TooLate("write a file");
  if (is_head_) {
    // Its length is what is asked for.
    if (state_ == State::kCollecting) {
      if (absl::Status s = BeginStreaming(); !s.ok()) return s;
    }
    written_ += count;
    return absl::OkStatus();
  }
  const size_t piece = static_cast<size_t>(std::min<uint64_t>(count, kFilePiece));
  const std::unique_ptr<char[]> buffer(new char[piece]);
  while (count > 0) {
    const size_t wanted = static_cast<size_t>(std::min<uint64_t>(count, piece));
    const absl::StatusOr<size_t> n =
        net::net_internal::ReadPiece(fd, offset, {buffer.get(), wanted}, "a file");
    if (!n.ok() || *n == 0) {
      Spoil();
      return n.ok() ? absl::DataLossError(absl::StrCat("the file has ", count,
                                                       " bytes less than were "
                                                       "to be sent"))
                    : n.status();
    }
    if (absl::Status s = Write({buffer.get(), *n}); !s.ok()) return s;
    offset += *n;
    count -= *n;
  }
  return absl::OkStatus();
}

// --- encoding ---------------------------------------------------------------------

void ResponseWriter::set_encoder(std::unique_ptr<BodyEncoder> encoder) {
  if (!head_sent()) encoder_ = std::move(encoder);
}

bool ResponseWriter::BeginEncoding(std::optional<uint64_t> size) {
  if (encoding_ || !encoder_) return encoding_;
  encoding_ = encoder_->Begin(*this, size) && MayHaveBody(status_);
  if (!encoding_) encoder_.reset();
  return encoding_;
}

// Into encoded_.
absl::Status ResponseWriter::Encode(absl::string_view data, BodyEncoder::Step step) {
  if (encoder_broken_) return absl::DataLossError("an earlier piece was not encoded");
  // Also if it throws: what came behind a gap would be worse than nothing.
  struct SpoilUnlessDone {
    ResponseWriter* const response;
    ~SpoilUnlessDone() {
      if (response->encoder_broken_) response->Spoil();
    }
  } guard{this};
  encoder_broken_ = true;
  absl::Status status = encoder_->Encode(data, step, &encoded_);
  encoder_broken_ = !status.ok();
  return status;
}

absl::Status ResponseWriter::EncodeAndSend(absl::string_view data,
                                           BodyEncoder::Step step) {
  do {
    const absl::string_view piece = data.substr(0, kEncodePiece);
    data.remove_prefix(piece.size());
    encoded_.clear();
    if (absl::Status s = Encode(piece, data.empty() ? step : BodyEncoder::Step::kMore);
        !s.ok()) {
      return s;
    }
    if (encoded_.empty()) continue;
    body_bytes_ += encoded_.size();
    if (absl::Status s = SendPiece(encoded_); !s.ok()) return s;
  } while (!data.empty());
  return absl::OkStatus();
}

// The whole body, of a response that is going to be encoded.
absl::Status ResponseWriter::SendEncoded(absl::string_view body) {
  if (is_head_ || body.size() > kEncodeWhole) {
    if (absl::Status s = BeginStreaming(); !s.ok()) return s;
    if (absl::Status s = WritePiece(body); !s.ok()) return s;
    return Finish();
  }
  state_ = State::kFinished;
  written_ = body.size();
  encoded_.clear();
  do {
    const absl::string_view piece = body.substr(0, kEncodePiece);
    body.remove_prefix(piece.size());
    if (absl::Status s = Encode(
            piece, body.empty() ? BodyEncoder::Step::kEnd : BodyEncoder::Step::kMore);
        !s.ok()) {
      return s;
    }
  } while (!body.empty());
  body_bytes_ = encoded_.size();
  return SendWhole(encoded_, encoded_.size(), true);
}

// --- the end ----------------------------------------------------------------------

absl::Status ResponseWriter::WaitForDisconnect(Deadline deadline) {
  if (!head_sent()) {
    if (absl::Status s = Flush(); !s.ok()) return s;
  }
  return DoWaitForDisconnect(deadline);
}

absl::Status ResponseWriter::DoWaitForDisconnect(Deadline) {
  return absl::UnimplementedError("this protocol does not tell when a client goes");
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
  if (promised_.has_value() && written_ < *promised_ && with_body()) {
    Spoil();
    return absl::DataLossError(absl::StrCat("a body of ", written_, " of the ",
                                            *promised_, " bytes of Content-Length"));
  }
  if (encoding_ && with_body()) {
    if (absl::Status s = EncodeAndSend({}, BodyEncoder::Step::kEnd); !s.ok()) return s;
  }
  return EndBody();
}

}  // namespace grove::http
