#include "grove/net/http/internal/websocket_core.h"

#include <string.h>

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grove/green/deadline_scope.h"
#include "grove/green/hub_scope.h"
#include "grove/green/timeout.h"
#include "grove/hub/internal/check.h"
#include "grove/hub/internal/thread_scratch.h"
#include "grove/net/internal/wait_in.h"

// Receiving, and the end. What is sent is in websocket_send.cc.
namespace grove::http::http_internal {
namespace {

using net::net_internal::WaitIn;

// Of a receiver, before its deadline counts though there is something to read; and of
// reads that make no message, before others run.
constexpr int kRoundsInAnyCase = 16;
constexpr int kReadsInARow = 64;

// What max_control_frames is counted in.
constexpr absl::Duration kControlPeriod = absl::Seconds(10);

// How much is read at once.
constexpr size_t kRead = 16 << 10;

absl::Status Protocol(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("websocket: ", what));
}

using ThreadsBuffer =
    hub_internal::ThreadScratch<std::array<char, kRead>, struct WebSocketInput>;

}  // namespace

bool IsCloseCode(uint16_t code) {
  if (code >= 1000 && code <= 1014) return code < 1004 || code > 1006;
  return code >= 3000 && code <= 4999;
}

WebSocketCore::WebSocketCore(bool is_client, const WebSocketOptions& options)
    : is_client_(is_client),
      frames_(is_client),
      options_(options),
      control_frames_left_(options.max_control_frames) {}

WebSocketCore::~WebSocketCore() = default;

void WebSocketCore::Open(net::Stream* stream, std::unique_ptr<net::Stream> owned,
                         absl::string_view ahead, Agreed agreed) {
  stream_ = stream;
  owned_ = std::move(owned);
  input_is_kept_ = true;
  kept_ = std::string(ahead);
  input_ = absl::MakeSpan(kept_);
  agreed_ = std::move(agreed);
  if (agreed_.deflate) {
    const DeflateParameters& p = *agreed_.deflate;
    const bool client = is_client_;
    inflater_ = std::make_unique<MessageInflater>(
        client ? p.server_max_window_bits : p.client_max_window_bits,
        client ? !p.server_no_context_takeover : !p.client_no_context_takeover);
    deflater_ = std::make_unique<MessageDeflater>(
        client ? p.client_max_window_bits : p.server_max_window_bits,
        options_.deflate.level,
        client ? !p.client_no_context_takeover : !p.server_no_context_takeover);
  }
  if (options_.ping_interval != absl::InfiniteDuration()) {
    look_at_ = Deadline(options_.ping_interval).when();
  }
  if (drains_) Drain();
}

// --- receiving ------------------------------------------------------------------------

// Whoever receives, for as long as he does.
class WebSocketCore::Receiving {
 public:
  explicit Receiving(WebSocketCore* core) : core_(core) {
    GROVE_CHECK(!core->receiving_, "two greenlets receive from the WebSocket of ",
                core->stream_->Describe(), " at once");
    core->receiving_ = true;
  }
  ~Receiving() {
    core_->receiving_ = false;
    core_->close_waiters_.NotifyAll();
  }

 private:
  WebSocketCore* const core_;
};

absl::StatusOr<std::optional<WebSocket::Type>> WebSocketCore::Receive(std::string& data,
                                                                      Deadline deadline) {
  while (dropping_) {
    if (!WaitIn(close_waiters_, "the end of a WebSocket", deadline)) {
      return absl::DeadlineExceededError("receive from a WebSocket: it is being closed");
    }
  }
  const Receiving receiving(this);
  // The message comes to be in the caller's memory: two buffers that took turns would be
  // one too many in the processor's caches.
  if (!in_message_) {
    std::swap(data, message_);
    message_.clear();
  }
  bool looked = false;
  int rounds = 0;
  while (!ended()) {
    if (Decode()) {
      std::swap(data, message_);
      std::string().swap(message_);
      return type_;
    }
    TryWriteControls();
    if (ended()) break;
    if (absl::Status s = WaitForInput(deadline, &looked); !s.ok()) return s;
    // Where there is always something, nobody waits, and finds out.
    if (!looked && ++rounds >= kRoundsInAnyCase && deadline.HasPassed()) {
      return absl::DeadlineExceededError(
          absl::StrCat("receive from ", stream_->Describe(), ": no message in time"));
    }
  }
  TryWriteControls();
  data.clear();
  if (!failure_.ok()) return failure_;
  return std::nullopt;
}

absl::Status WebSocketCore::WaitForInput(Deadline deadline, bool* looked) {
  const bool may_ping = options_.ping_interval != absl::InfiniteDuration();
  const Deadline until = may_ping ? std::min(deadline, Deadline::At(look_at_)) : deadline;
  absl::Status status = stream_->WaitReadable(until);
  if (status.ok()) {
    drained_ = *looked = false;
  } else if (!absl::IsDeadlineExceeded(status)) {
    Break(std::move(status));
  } else if (!std::exchange(*looked, true)) {
    // What has come just now counts.
    drained_ = false;
  } else if (deadline <= until) {
    return status;
  } else {
    *looked = false;
    KeepAlive();
  }
  return absl::OkStatus();
}

void WebSocketCore::KeepAlive() {
  if (std::exchange(heard_, false)) {
    pinged_ = false;
  } else if (pinged_ && (writer_.locked() || has_controls_)) {
    // It has not gone out: the peer is busy with what is sent before it.
  } else if (pinged_) {
    return Break(absl::UnavailableError(
        absl::StrCat("websocket: ", stream_->Describe(), " does not answer a ping")));
  } else if (!close_queued_) {  // behind a close frame nothing may follow
    pinged_ = true;
    ping_ = "";
    has_controls_ = true;
  }
  look_at_ = Deadline(pinged_ ? options_.pong_timeout : options_.ping_interval).when();
  TryWriteControls();
}

bool WebSocketCore::Decode() {
  for (;;) {
    Piece piece;
    switch (reader_.Next(&input_, &piece)) {
      case FrameReader::State::kPiece:
        if (TakePiece(piece)) {
          KeepInput();
          return true;
        }
        if (ended()) return false;
        break;
      case FrameReader::State::kRefused:
        return Refuse(1002, Protocol("a malformed header of a frame"));
      case FrameReader::State::kMore:
        if (ReadMore()) break;
        if (!read_error_.ok()) {
          Break(read_error_);
        } else if (end_) {
          Break(absl::UnavailableError(
              absl::StrCat("websocket: ", stream_->Describe(),
                           " has ended the connection without a closing handshake")));
        }
        return false;
    }
  }
}

bool WebSocketCore::ReadMore() {
  if (std::exchange(input_is_kept_, false)) std::string().swap(kept_);
  // A peer that is always faster lets others run as well.
  if (std::exchange(read_some_, false)) {
    green_internal::Scheduler::Get().CountOperation();
  }
  if (drained_ || end_ || !read_error_.ok()) return false;
  if (++reads_in_a_row_ > kReadsInARow) {  // of which no message came
    reads_in_a_row_ = 0;
    return false;
  }
  // Nobody else runs on this thread until the input is used up or kept: connections that
  // are idle need no buffer.
  const absl::Span<char> buffer = absl::MakeSpan(ThreadsBuffer::Get());
  absl::StatusOr<std::optional<size_t>> n = stream_->TryRead(buffer);
  if (!n.ok()) {
    read_error_ = n.status();
    return false;
  }
  drained_ = !n->has_value() || **n < buffer.size();
  end_ = *n == size_t{0};
  input_ = buffer.subspan(0, n->value_or(0));
  if (input_.empty()) return false;
  heard_ = read_some_ = true;
  return true;
}

void WebSocketCore::KeepInput() {
  if (input_.empty() || input_is_kept_) return;
  kept_.assign(input_.data(), input_.size());
  input_ = absl::MakeSpan(kept_);
  input_is_kept_ = true;
}

bool WebSocketCore::TakePiece(const Piece& piece) {
  if (piece.begins && !CheckFrame(piece)) return false;
  return piece.opcode >= kCloseFrame ? TakeControl(piece) : TakeData(piece);
}

// Of a frame that begins: 5.2 to 5.5.
bool WebSocketCore::CheckFrame(const Piece& p) {
  if (p.masked == is_client_) {
    return Refuse(1002, Protocol(is_client_ ? "a server's frame is masked"
                                            : "a client's frame is not masked"));
  }
  const bool first = p.opcode == kText || p.opcode == kBinary;
  const bool control = p.opcode >= kCloseFrame && p.opcode <= kPong;
  if (!first && !control && p.opcode != kContinuation) {
    return Refuse(1002, Protocol(absl::StrCat("an unknown opcode: ", p.opcode)));
  }
  // RFC 7692, 6: RSV1 is of the first frame of a message.
  const bool may_compress = first && inflater_ != nullptr;
  if (p.rsv != 0 && !(p.rsv == 4 && may_compress)) {
    return Refuse(1002, Protocol("a reserved bit is set"));
  }
  if (first == in_message_ && !control) {
    return Refuse(1002, Protocol(in_message_ ? "a message within a message"
                                             : "a continuation of nothing"));
  }
  const bool idle = control ? p.opcode != kCloseFrame : p.frame_size == 0 && !p.fin;
  if (idle && !MayBeWithoutData()) return false;
  if (first) {
    in_message_ = true;
    type_ = p.opcode == kText ? WebSocket::Type::kText : WebSocket::Type::kBinary;
    compressed_ = p.rsv != 0;
    utf8_.Reset();
  }
  return true;
}

bool WebSocketCore::MayBeWithoutData() {
  return MayHaveControlFrame() ||
         Refuse(1008, absl::ResourceExhaustedError(absl::StrCat(
                          "websocket: more than ", options_.max_control_frames,
                          " frames without data in ten seconds")));
}

bool WebSocketCore::MayHaveControlFrame() {
  if (control_frames_left_ > 0) {
    --control_frames_left_;
    return true;
  }
  const MonotonicNanos now = ThisHub().Now();
  if (absl::Nanoseconds(now - control_frames_since_) < kControlPeriod) return false;
  control_frames_since_ = now;
  control_frames_left_ = options_.max_control_frames - 1;
  return control_frames_left_ >= 0;
}

bool WebSocketCore::TakeData(const Piece& p) {
  const auto too_large = [&] {
    return Refuse(
        1009, absl::ResourceExhaustedError(absl::StrCat(
                  "websocket: a message of more than ", options_.max_message, " bytes")));
  };
  const size_t before = message_.size();
  if (!compressed_) {
    // The header says it before the rest is there.
    if (p.begins && p.frame_size > options_.max_message - before) return too_large();
    message_.append(p.data.data(), p.data.size());
  } else {
    MessageInflater::Result result =
        inflater_->Feed(p.data, options_.max_message, &message_);
    if (result == MessageInflater::Result::kOk && p.ends && p.fin) {
      result = inflater_->End(options_.max_message, &message_);
    }
    if (result == MessageInflater::Result::kTooLarge) return too_large();
    if (result == MessageInflater::Result::kMalformed) {
      return Refuse(1007, Protocol("malformed compressed data"));
    }
  }
  const bool whole = p.ends && p.fin;
  // What is compressed may be of any size, and nothing.
  if (compressed_) {
    added_ = (p.begins ? 0 : added_) + (message_.size() - before);
    if (p.ends && !whole && added_ == 0 && p.frame_size > 0 && !MayBeWithoutData()) {
      return false;
    }
  }
  if (type_ == WebSocket::Type::kText) {
    if (!utf8_.Feed(absl::string_view(message_).substr(before)) ||
        (whole && !utf8_.complete())) {
      return Refuse(1007, Protocol("a text that is not UTF-8"));
    }
  }
  if (!whole) return false;
  in_message_ = false;
  reads_in_a_row_ = 0;
  return true;
}

// Returns false: it is no message.
bool WebSocketCore::TakeControl(const Piece& p) {
  if (p.begins) control_.clear();
  control_.append(p.data.data(), p.data.size());
  if (!p.ends) return false;
  if (p.opcode == kCloseFrame) return TakeClose();
  // Of several pings the last one is answered (5.5.3). A pong shows that the peer is
  // there, as every byte does.
  if (p.opcode == kPing && !close_queued_) {
    pong_ = control_;
    has_controls_ = true;
  }
  return false;
}

bool WebSocketCore::TakeClose() {
  uint16_t code = 1005;
  if (control_.size() == 1) return Refuse(1002, Protocol("a close frame of one byte"));
  if (control_.size() >= 2) {
    code = static_cast<uint16_t>(static_cast<uint8_t>(control_[0]) << 8 |
                                 static_cast<uint8_t>(control_[1]));
    if (!IsCloseCode(code)) {
      return Refuse(1002, Protocol(absl::StrCat("a close frame with the code ", code)));
    }
    if (!IsUtf8(absl::string_view(control_).substr(2))) {
      return Refuse(1007, Protocol("the reason of a close frame is not UTF-8"));
    }
    close_reason_ = control_.substr(2);
  }
  close_code_ = code;
  close_received_ = true;
  QueueClose(code, "");
  return false;
}

// --- the end --------------------------------------------------------------------------

bool WebSocketCore::Refuse(uint16_t code, absl::Status failure) {
  failure_ = std::move(failure);
  QueueClose(code, "");
  TryWriteControls();
  close_waiters_.NotifyAll();
  return false;
}

void WebSocketCore::Break(absl::Status failure) {
  if (failure_.ok()) failure_ = std::move(failure);
  // Wakes who waits for it.
  if (!stream_->closed()) stream_->Close();
  close_waiters_.NotifyAll();
}

absl::Status WebSocketCore::Close(uint16_t code, absl::string_view reason,
                                  Deadline deadline) {
  if (!IsCloseCode(code)) {
    return absl::InvalidArgumentError(
        absl::StrCat("close a WebSocket: no code for that: ", code));
  }
  if (reason.size() > 123 || !IsUtf8(reason)) {
    return absl::InvalidArgumentError(
        "close a WebSocket: a reason is up to 123 bytes of UTF-8");
  }
  deadline = std::min(deadline, Deadline(options_.close_timeout));
  QueueClose(code, reason);
  absl::Status status = Agree(deadline);
  while (closing_) {
    if (WaitIn(close_waiters_, "the end of a WebSocket", deadline)) continue;
    stream_->Close();  // which ends the other one's call as well
    return absl::DeadlineExceededError("close a WebSocket: the peer does not close");
  }
  if (!closed_) {
    const absl::Status end = CloseStream(deadline);
    if (status.ok()) status = end;
  }
  return failure_.ok() ? status : failure_;
}

// Until there was a close frame in both directions, or there will not be.
absl::Status WebSocketCore::Agree(Deadline deadline) {
  absl::Status status = WriteControls(deadline);
  while (status.ok() && !ended()) {
    if (receiving_) {
      // Who receives gets it.
      if (!WaitIn(close_waiters_, "the close frame of a WebSocket", deadline)) {
        status = absl::DeadlineExceededError(absl::StrCat(
            "close a WebSocket: ", stream_->Describe(), " has not agreed in time"));
      }
      continue;
    }
    struct Dropping {
      explicit Dropping(bool* is) : is(is) { *is = true; }
      ~Dropping() { *is = false; }
      bool* is;
    };
    std::string dropped;
    status = [&] {
      // Not at the loop of Receive(): that waits for this.
      const Receiving receiving(this);
      const Dropping dropping(&dropping_);
      bool looked = false;
      while (!ended()) {
        if (Decode()) {
          message_.clear();
          continue;
        }
        TryWriteControls();
        if (ended()) break;
        if (absl::Status s = WaitForInput(deadline, &looked); !s.ok()) return s;
      }
      return absl::OkStatus();
    }();
  }
  return status;
}

// 7.1.1: the server ends the connection, and the client waits for that. Here a server
// only says that it sends no more, and waits for the client's end in turn: a close with
// something unread would be a reset, which may take the close frame with it.
absl::Status WebSocketCore::CloseStream(Deadline deadline) {
  struct Closing {
    explicit Closing(WebSocketCore* core) : core(core) { core->closing_ = true; }
    ~Closing() {
      core->closing_ = false;
      core->closed_ = true;
      if (!core->stream_->closed()) core->stream_->Close();
      core->close_waiters_.NotifyAll();
    }
    WebSocketCore* core;
  } closing(this);
  absl::Status status;
  while (receiving_ && status.ok()) {
    if (!ended()) break;
    if (!WaitIn(close_waiters_, "who receives from a WebSocket", deadline)) break;
  }
  if (stream_->closed() || receiving_) return status;
  if (absl::Status s = WriteControls(deadline); !s.ok()) return s;
  if (!ended()) return status;
  if (!is_client_ || !failure_.ok()) (void)stream_->ShutdownWrite();
  char buffer[1024];
  for (;;) {
    const absl::StatusOr<size_t> n = stream_->Read(absl::MakeSpan(buffer), deadline);
    // Both have said that they close: how the connection ends makes no difference.
    if (!n.ok() || *n == 0) return status;
  }
}

void WebSocketCore::Drain() {
  drains_ = true;
  if (drainer_ || closed_ || stream_ == nullptr) return;
  WithoutDeadline([this] {
    drainer_ =
        Spawn({.name = "websocket close"}, [this] { Close(1001, "", {}).IgnoreError(); });
  });
}

void WebSocketCore::Abandon() {
  const Shield shield;
  if (drainer_) drainer_.Kill();
  if (flusher_) flusher_.Kill();
  GROVE_CHECK(!receiving_ && !writer_.locked() && !closing_,
              "a WebSocket is destroyed while a greenlet uses it");
  if (!closed_ && failure_.ok()) QueueClose(1001, "");
  while (!stream_->closed() && has_controls_) {
    EncodeControls();
    if (!PushControls().ok() || !controls_.empty()) break;
  }
  stream_ = nullptr;
  owned_.reset();
}

}  // namespace grove::http::http_internal
