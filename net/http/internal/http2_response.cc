#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "grove/hub/internal/check.h"
#include "grove/net/http/internal/http2_connection.h"
#include "grove/net/http/internal/http2_stream.h"
#include "grove/net/http/status.h"
#include "grove/net/internal/read_piece.h"
#include "grove/net/internal/wait_in.h"

namespace grove::http::http_internal {
namespace {

// What is smaller is copied, and the handler goes on; what is larger is sent from where
// it lies, while the handler waits.
constexpr size_t kCopied = 16 << 10;
constexpr size_t kFilePiece = 64 << 10;

// Those of a connection, which HTTP/2 has not got (RFC 9113, 8.2.2).
bool IsOfConnection(absl::string_view name) {
  for (absl::string_view other :
       {"connection", "keep-alive", "proxy-connection", "upgrade"}) {
    if (absl::EqualsIgnoreCase(name, other)) return true;
  }
  return false;
}

// Fields as nghttp2 takes them, whose text lies in one string.
class FieldBuilder {
 public:
  FieldBuilder(std::string* text, std::vector<nghttp2_nv>* fields)
      : text_(*text), fields_(*fields) {
    text_.clear();
    fields_.clear();
  }

  template <typename... Parts>
  void Add(absl::string_view name, const Parts&... value) {
    const size_t begin = text_.size();
    text_.append(name.data(), name.size());
    for (size_t i = begin; i < text_.size(); ++i) {
      text_[i] = absl::ascii_tolower(static_cast<unsigned char>(text_[i]));
    }
    const size_t middle = text_.size();
    absl::StrAppend(&text_, value...);
    fields_.push_back({nullptr, nullptr, middle - begin, text_.size() - middle,
                       NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE});
  }
  // They are good until the text is changed.
  const std::vector<nghttp2_nv>& Finish() {
    uint8_t* at = reinterpret_cast<uint8_t*>(text_.data());
    for (nghttp2_nv& f : fields_) {
      f.name = at;
      f.value = at + f.namelen;
      at = f.value + f.valuelen;
    }
    return fields_;
  }

 private:
  std::string& text_;
  std::vector<nghttp2_nv>& fields_;
};

ssize_t ReadCallback(nghttp2_session*, int32_t, uint8_t*, size_t length, uint32_t* flags,
                     nghttp2_data_source* source, void*) {
  return static_cast<Http2Stream*>(source->ptr)->response.Offer(length, flags);
}

}  // namespace

void Http2Response::Begin(bool is_head) {
  DropText(out_);
  out_begin_ = 0;
  borrowed_ = {};
  ended_ = deferred_ = reset_ = lost_ = false;
  sent_ = 0;
  Reset(is_head);
}

absl::Status Http2Response::SendHead(std::optional<uint64_t> length, bool with_body) {
  if (stream_.closed()) return stream_.ClosedError("send a response");
  FieldBuilder builder(&head_, &fields_);
  builder.Add(":status", status());
  bool has_date = false;
  for (size_t i = 0; i < headers().size(); ++i) {
    const Field f = headers()[i];
    if (IsOfConnection(f.name)) continue;
    has_date = has_date || absl::EqualsIgnoreCase(f.name, "date");
    builder.Add(f.name, f.value);
  }
  if (!has_date) builder.Add("date", stream_.connection->date().Now());
  if (length.has_value()) builder.Add("content-length", *length);
  const std::vector<nghttp2_nv>& fields = builder.Finish();
  nghttp2_data_provider body{{.ptr = &stream_}, &ReadCallback};
  const int error =
      nghttp2_submit_response(stream_.connection->session(), stream_.id, fields.data(),
                              fields.size(), with_body ? &body : nullptr);
  if (error != 0) {
    return absl::UnavailableError(absl::StrCat("send a response to ",
                                               stream_.connection->peer(), ": ",
                                               nghttp2_strerror(error)));
  }
  stream_.connection->ScheduleWrite();
  return absl::OkStatus();
}

ssize_t Http2Response::Offer(size_t max, uint32_t* flags) {
  if (pending() == 0 && !ended_) {
    deferred_ = true;
    return NGHTTP2_ERR_DEFERRED;
  }
  const size_t n = std::min(max, pending());
  *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
  if (n == pending() && ended_) {
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    const std::optional<absl::string_view> asked = stream_.request.headers().Get("te");
    if (!trailers().empty() && HasListMember(asked.value_or(""), "trailers")) {
      FieldBuilder builder(&head_, &fields_);
      for (size_t i = 0; i < trailers().size(); ++i) {
        builder.Add(trailers()[i].name, trailers()[i].value);
      }
      const std::vector<nghttp2_nv>& fields = builder.Finish();
      *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
      if (nghttp2_submit_trailer(stream_.connection->session(), stream_.id, fields.data(),
                                 fields.size()) != 0) {
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
      }
    }
  }
  return static_cast<ssize_t>(n);
}

void Http2Response::MoveTo(std::string& to, size_t count) {
  GROVE_CHECK(count <= pending(), "HTTP/2: a frame of more than there is");
  sent_ += count;
  const size_t copied = std::min(count, out_.size() - out_begin_);
  to.append(out_, out_begin_, copied);
  out_begin_ += copied;
  if (out_begin_ == out_.size()) {
    out_.clear();
    out_begin_ = 0;
  }
  const size_t rest = count - copied;
  to.append(borrowed_.data(), rest);
  borrowed_.remove_prefix(rest);
  if (pending() == 0) writers_.NotifyAll();
}

void Http2Response::Drop() {
  lost_ = lost_ || !ended_ || pending() > 0;
  DropText(out_);
  out_begin_ = 0;
  borrowed_ = {};
  writers_.NotifyAll();
}

void Http2Response::Resume() {
  if (stream_.closed()) return;
  if (std::exchange(deferred_, false)) {
    nghttp2_session_resume_data(stream_.connection->session(), stream_.id);
  }
  stream_.connection->ScheduleWrite();
}

absl::Status Http2Response::WaitUntilSent() {
  if (!stream_.closed() && pending() > 0) {
    Resume();
    // What is borrowed is the caller's: gone if this throws.
    struct Unless {
      ~Unless() {
        if (response != nullptr) response->Spoil();
      }
      Http2Response* response;
    } killed{this};
    while (!stream_.closed() && pending() > 0) {
      net::net_internal::WaitIn(writers_, "the client to read a response");
    }
    killed.response = nullptr;
  }
  return lost_ ? stream_.ClosedError("send a response") : absl::OkStatus();
}

absl::Status Http2Response::SendBorrowed(absl::string_view data) {
  borrowed_ = data;
  return WaitUntilSent();
}

absl::Status Http2Response::SendWhole(absl::string_view body,
                                      std::optional<uint64_t> length, bool with_body) {
  with_body = with_body && !body.empty();
  ended_ = true;
  const bool copy = body.size() <= kCopied;
  if (with_body && copy) out_.assign(body.data(), body.size());
  if (absl::Status s = SendHead(length, with_body); !s.ok()) return s;
  return with_body && !copy ? SendBorrowed(body) : absl::OkStatus();
}

absl::Status Http2Response::SendWholeFile(int fd, uint64_t offset, uint64_t count) {
  ended_ = count == 0;
  if (absl::Status s = SendHead(count, count > 0); !s.ok()) return s;
  std::string piece;
  while (count > 0) {
    piece.resize(static_cast<size_t>(std::min<uint64_t>(count, kFilePiece)));
    const absl::StatusOr<size_t> n =
        net::net_internal::ReadPiece(fd, offset, absl::MakeSpan(piece), "a file");
    if (!n.ok() || *n == 0) {
      Spoil();
      if (!n.ok()) return n.status();
      return absl::DataLossError(
          absl::StrCat("the file ends ", count, " bytes too early"));
    }
    offset += *n;
    count -= *n;
    ended_ = count == 0;
    if (absl::Status s = SendBorrowed({piece.data(), *n}); !s.ok()) return s;
  }
  return absl::OkStatus();
}

absl::Status Http2Response::BeginBody(std::optional<uint64_t> length, bool with_body) {
  if (!with_body) ended_ = true;
  return SendHead(length, with_body);
}

absl::Status Http2Response::SendPiece(absl::string_view data) {
  if (lost_) return stream_.ClosedError("send a response");
  if (pending() + data.size() > kCopied) {
    if (absl::Status s = WaitUntilSent(); !s.ok()) return s;
    if (data.size() > kCopied) return SendBorrowed(data);
  }
  if (out_begin_ > 0 && out_begin_ >= out_.size() - out_begin_) {
    out_.erase(0, out_begin_);
    out_begin_ = 0;
  }
  out_.append(data.data(), data.size());
  return absl::OkStatus();
}

absl::Status Http2Response::EndBody() {
  if (!trailers().status().ok()) {
    Spoil();
    return trailers().status();
  }
  if (lost_) return stream_.ClosedError("send a response");
  ended_ = true;
  Resume();
  return absl::OkStatus();
}

// One that did not get to its end, since something was thrown, is none.
void Http2Response::End() {
  DropEncoder();
  if (head_sent() && !ended_) Spoil();
}

void Http2Response::WakeWatchers() { watchers_.NotifyAll(); }

absl::Status Http2Response::DoWaitForDisconnect(Deadline deadline) {
  for (;;) {
    if (stream_.closed()) return stream_.ClosedError("wait for a client");
    if (stream_.connection->draining()) {
      return absl::CancelledError("the server is about to end");
    }
    if (!net::net_internal::WaitIn(watchers_, "the end of an HTTP client", deadline)) {
      return absl::DeadlineExceededError("the client is still there");
    }
  }
}

absl::Status Http2Response::FlushPieces() { return WaitUntilSent(); }

void Http2Response::Spoil() {
  if (reset_) return;
  reset_ = true;
  Drop();
  if (stream_.closed()) return;
  nghttp2_submit_rst_stream(stream_.connection->session(), NGHTTP2_FLAG_NONE, stream_.id,
                            NGHTTP2_INTERNAL_ERROR);
  stream_.connection->ScheduleWrite();
}

}  // namespace grove::http::http_internal
