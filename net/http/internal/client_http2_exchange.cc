#include <algorithm>
#include <exception>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grove/green/greenlet.h"
#include "grove/green/interrupt.h"
#include "grove/green/timeout.h"
#include "grove/net/http/internal/client_http2.h"

namespace grove::http::http_internal {
namespace {

constexpr size_t kPiece = 64 << 10;

absl::Status Late(absl::string_view phase, const Http2Session& session) {
  return absl::DeadlineExceededError(
      absl::StrCat(phase, ": ", session.peer(), ": deadline exceeded"));
}

}  // namespace

// Where a producer writes to: one piece at a time is the session's to take.
class Http2Exchange::Writer final : public BodyWriter {
 public:
  Writer(Http2Exchange* exchange, std::optional<uint64_t> length)
      : exchange_(exchange), length_(length), left_(length.value_or(0)) {}

  absl::Status Write(absl::string_view piece) override {
    if (!status_.ok()) return status_;
    if (length_) {
      if (piece.size() > left_) {
        return absl::InvalidArgumentError(
            absl::StrCat("the body is longer than the ", *length_, " bytes announced"));
      }
      left_ -= piece.size();
    }
    while (!piece.empty() && status_.ok()) {
      status_ = WritePiece(piece.substr(0, kPiece));
      piece.remove_prefix(std::min(piece.size(), kPiece));
    }
    return status_;
  }
  absl::Status End() {
    if (left_ > 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the body is ", left_, " bytes shorter than the ", *length_, " announced"));
    }
    ClientHttp2Stream& stream = *exchange_->stream_;
    stream.out_end = true;
    exchange_->session_->Resume(stream);
    return absl::OkStatus();
  }
  const absl::Status& status() const { return status_; }

 private:
  absl::Status WritePiece(absl::string_view piece) {
    ClientHttp2Stream& stream = *exchange_->stream_;
    // The piece is the caller's again, in whatever way this ends.
    struct Lent {
      ClientHttp2Stream* stream;
      ~Lent() { stream->out = {}; }
    } lent{&stream};
    const Deadline deadline = PhaseDeadline(exchange_->timeouts_.send, exchange_->total_);
    stream.out = piece;
    exchange_->session_->Resume(stream);
    while (!stream.out.empty()) {
      if (!stream.failure.ok()) return stream.failure;
      if (stream.closed || stream.out_stopped) {
        return absl::CancelledError("the server does not want the rest of the body");
      }
      if (!stream.out_changed.Wait(deadline) && !stream.out.empty()) {
        return Late("sending the request", *exchange_->session_);
      }
    }
    return absl::OkStatus();
  }

  Http2Exchange* const exchange_;
  const std::optional<uint64_t> length_;
  uint64_t left_;
  absl::Status status_;
};

Http2Exchange::Http2Exchange(std::shared_ptr<Http2Session> session,
                             ClientTimeouts timeouts, Deadline total)
    : session_(std::move(session)),
      stream_(std::make_shared<ClientHttp2Stream>()),
      timeouts_(timeouts),
      total_(total) {}

Http2Exchange::~Http2Exchange() {
  if (!left_) session_->Leave(*stream_);
}

absl::Status Http2Exchange::Run(const OutgoingRequest& request) {
  if (!session_->WaitForRoom(total_)) {
    if (session_->usable()) return Late("waiting for a connection", *session_);
    stream_->refused = true;
    return absl::UnavailableError(
        absl::StrCat("request to ", session_->peer(), ": the connection has ended"));
  }
  const bool produced = request.produce != nullptr;
  stream_->out = produced ? absl::string_view() : request.body;
  stream_->out_end = !produced;
  stream_->out_done = !produced && request.body.empty();
  if (absl::Status s = session_->Submit(request, stream_); !s.ok()) return s;
  left_ = false;
  received_before_ = session_->received();

  absl::Status sent;
  bool sender_done = !produced;
  bool interrupted = true;
  std::exception_ptr thrown;
  // The body is the caller's again, and the producer has ended, however this is left.
  struct Sender {
    ClientHttp2Stream* stream;
    Greenlet<> greenlet;
    ~Sender() {
      stream->out_stopped = true;
      Shield shield;
      if (greenlet) greenlet.Kill();
      stream->out = {};
    }
  } sender{stream_.get(), {}};
  if (produced) {
    sender.greenlet = Spawn({.name = "HTTP client: body"}, [&] {
      struct Done {
        bool* done;
        ClientHttp2Stream* stream;
        ~Done() {
          *done = true;
          stream->changed.Set();
        }
      } done{&sender_done, stream_.get()};
      try {
        Writer writer(this, request.produced_length);
        sent = (*request.produce)(writer);
        if (sent.ok()) sent = writer.End();
        producer_failed_ = !sent.ok() && writer.status().ok();
        interrupted = false;
      } catch (const Interrupt&) {
        throw;
      } catch (...) {
        thrown = std::current_exception();
      }
    });
  }
  const absl::Status s = WaitForHead(&sender_done);
  if (produced && sender_done) {
    if (thrown) std::rethrow_exception(thrown);
    if (interrupted) {
      producer_failed_ = true;
      return absl::CancelledError("sending the body was interrupted");
    }
    if (producer_failed_) return sent;
    if (!sent.ok() && !stream_->has_head) return s.ok() ? sent : s;
  }
  return s;
}

absl::Status Http2Exchange::WaitForHead(const bool* sender_done) {
  ClientHttp2Stream& stream = *stream_;
  const bool by_string = *sender_done;
  size_t left = stream.out.size();
  Deadline send_by = PhaseDeadline(timeouts_.send, total_);
  bool produced = false;  // all of it, though it may not be on its way
  std::optional<Deadline> head_by;
  int interim = stream.interim;
  for (;;) {
    const bool sent = stream.out_done || stream.closed;
    if (stream.has_head && (sent || stream.head->status >= 300)) return absl::OkStatus();
    if (!stream.failure.ok()) return stream.failure;
    // A producer that has failed says why itself.
    if (!by_string && *sender_done && !stream.out_end) return absl::OkStatus();
    if (by_string && stream.out.size() != left) {
      left = stream.out.size();
      send_by = PhaseDeadline(timeouts_.send, total_);
    }
    if (!by_string && *sender_done && !std::exchange(produced, true)) {
      send_by = PhaseDeadline(timeouts_.send, total_);
    }
    // Each interim response begins it anew.
    if (std::exchange(interim, stream.interim) != stream.interim) head_by.reset();
    if (sent && !head_by) head_by = PhaseDeadline(timeouts_.head, total_);
    const Deadline deadline = sent ? *head_by : by_string || produced ? send_by : total_;
    if (!stream.changed.Wait(deadline)) {
      session_->Doubt(received_before_);
      return Late(sent ? "waiting for the response" : "sending the request", *session_);
    }
  }
}

absl::StatusOr<size_t> Http2Exchange::Read(absl::Span<char> buffer) {
  ClientHttp2Stream& stream = *stream_;
  const Deadline deadline = PhaseDeadline(timeouts_.body, total_);
  received_before_ = session_->received();
  for (;;) {
    // Where there is always more, nobody waits, and finds out.
    const bool is_there = stream.at < stream.data.size();
    if (is_there && total_.HasPassed()) {
      if (!std::exchange(left_, true)) session_->Leave(stream);
      return Late("waiting for the body", *session_);
    }
    if (is_there) {
      const size_t n = stream.data.copy(buffer.data(), buffer.size(), stream.at);
      stream.at += n;
      if (stream.at == stream.data.size()) {
        stream.data.clear();
        stream.at = 0;
      } else if (stream.at >= kPiece) {
        stream.data.erase(0, stream.at);
        stream.at = 0;
      }
      session_->Consumed(stream, n);
      return n;
    }
    if (stream.ended) {
      // A request whose body was stopped ends here; others have ended.
      if (!std::exchange(left_, true)) session_->Leave(stream);
      return 0;
    }
    if (!stream.failure.ok()) return stream.failure;
    if (!stream.changed.Wait(deadline)) {
      if (!std::exchange(left_, true)) session_->Leave(stream);
      session_->Doubt(received_before_);
      stream.failure = Late("waiting for the body", *session_);
      return stream.failure;
    }
  }
}

}  // namespace grove::http::http_internal
