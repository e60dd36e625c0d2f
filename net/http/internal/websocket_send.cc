#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grove/green/deadline_scope.h"
#include "grove/green/greenlet.h"
#include "grove/green/status.h"
#include "grove/hub/internal/thread_scratch.h"
#include "grove/net/http/internal/websocket_core.h"

namespace grove::http::http_internal {
namespace {

// What is smaller is copied behind its header; what is larger goes out from where it
// lies.
constexpr size_t kCopied = 4 << 10;

// Where a small frame is put together that mostly goes out at once: one buffer for all of
// a thread stays in its caches, and a connection that is idle has none.
using ThreadsFrame = hub_internal::ThreadScratch<std::string, struct WebSocketOutput>;

// How much is sent at a time: write_timeout is for each.
constexpr size_t kSlice = 64 << 10;

absl::Status Late(const net::Stream& stream) {
  return absl::DeadlineExceededError(absl::StrCat(
      "send to the WebSocket of ", stream.Describe(), ": others are still sending"));
}

}  // namespace

// The right to send. At its end, what was noted meanwhile goes out.
class WebSocketCore::Sending {
 public:
  Sending(WebSocketCore* core, Deadline deadline)
      : core_(core), locked_(core->writer_.try_lock_until(deadline)) {}
  Sending(const Sending&) = delete;
  Sending& operator=(const Sending&) = delete;
  ~Sending() {
    if (!locked_) return;
    core_->writer_.unlock();
    core_->TryWriteControls();
  }
  explicit operator bool() const { return locked_; }

 private:
  WebSocketCore* const core_;
  const bool locked_;
};

absl::Status WebSocketCore::CheckOpen() const {
  if (!failure_.ok()) return failure_;
  if (close_queued_ || closed_) {
    return absl::UnavailableError(absl::StrCat(
        "send to a WebSocket: it is being closed",
        close_received_ ? absl::StrCat(" by the peer, with ", close_code_) : ""));
  }
  return absl::OkStatus();
}

absl::Status WebSocketCore::Send(WebSocket::Type type, absl::string_view data,
                                 Deadline deadline) {
  if (absl::Status s = CheckOpen(); !s.ok()) return s;
  const bool text = type == WebSocket::Type::kText;
  if (text && !IsUtf8(data)) {
    return absl::InvalidArgumentError("send to a WebSocket: the text is not UTF-8");
  }
  const Sending sending(this, deadline);
  if (!sending) return Late(*stream_);
  // A peer that is always faster lets others run as well.
  green_internal::Scheduler::Get().CountOperation();
  if (absl::Status s = CheckOpen(); !s.ok()) return s;
  const uint8_t opcode = text ? kText : kBinary;
  if (!deflater_ || data.size() < options_.deflate.min_size) {
    return WriteFrame(opcode, /*compressed=*/false, data, deadline);
  }
  if (!deflater_->Deflate(data, &deflated_)) {
    return absl::ResourceExhaustedError("send to a WebSocket: no memory to compress");
  }
  absl::Status status = WriteFrame(opcode, /*compressed=*/true, deflated_, deadline);
  // What the peer did not get it cannot refer to.
  if (!status.ok()) deflater_->Forget();
  if (deflated_.capacity() > kSlice) std::string().swap(deflated_);
  return status;
}

absl::Status WebSocketCore::Ping(absl::string_view payload, Deadline deadline) {
  if (payload.size() > 125) {
    return absl::InvalidArgumentError("ping a WebSocket: with more than 125 bytes");
  }
  const Sending sending(this, deadline);
  if (!sending) return Late(*stream_);
  green_internal::Scheduler::Get().CountOperation();
  if (absl::Status s = CheckOpen(); !s.ok()) return s;
  return WriteFrame(kPing, /*compressed=*/false, payload, deadline);
}

// Under the lock.
absl::Status WebSocketCore::WriteFrame(uint8_t opcode, bool compressed,
                                       absl::string_view payload, Deadline deadline) {
  EncodeControls();
  bool begun = false;
  if (!has_controls_ && payload.size() <= kCopied) {
    std::string& frame = ThreadsFrame::Get();
    frame.clear();
    frames_.Begin(opcode, compressed, payload.size(), &frame);
    frames_.AddPayload(payload, &frame);
    const absl::StatusOr<size_t> n = stream_->TryWrite(frame);
    if (!n.ok()) {
      Break(n.status());
      return n.status();
    }
    if (*n == frame.size() && !stream_->has_unsent()) return absl::OkStatus();
    out_.assign(frame, *n);
    begun = *n > 0;
    payload = {};
  } else {
    frames_.Begin(opcode, compressed, payload.size(), &out_);
    if (is_client_ || payload.size() <= kCopied) {
      frames_.AddPayload(payload, &out_);
      payload = {};
    }
  }
  absl::Status status = Write(payload, begun, deadline);
  std::string().swap(out_);
  return status;
}

// controls_, out_ and the payload. Under the lock.
// `begun`: of what is in out_ a first part has gone out.
absl::Status WebSocketCore::Write(absl::string_view payload, bool begun,
                                  Deadline deadline) {
  std::array<absl::string_view, 3> pieces = {controls_, out_, payload};
  // What is cut ends the connection: whatever came behind would be taken for its rest.
  struct Torn {
    ~Torn() {
      if (core != nullptr) {
        core->Break(absl::AbortedError("websocket: a message was cut off"));
      }
    }
    WebSocketCore* core;
  } torn{this};
  for (;;) {
    std::array<absl::string_view, 3> slice;
    size_t room = kSlice;
    for (size_t i = 0; i < pieces.size(); ++i) {
      slice[i] = pieces[i].substr(0, room);
      room -= slice[i].size();
    }
    if (room == kSlice && !stream_->has_unsent()) break;
    const Deadline until = std::min(deadline, Deadline(options_.write_timeout));
    absl::Status status = slice[0].empty() && slice[2].empty()
                              ? stream_->Write(slice[1], until)
                              : stream_->WriteGather(slice, until);
    if (!status.ok()) {
      torn.core = nullptr;
      const bool whole = !begun && BytesMoved(status) == 0;
      if (absl::IsDeadlineExceeded(status) && whole) return status;
      Break(status);
      return status;
    }
    begun = true;
    for (size_t i = 0; i < pieces.size(); ++i) pieces[i].remove_prefix(slice[i].size());
  }
  torn.core = nullptr;
  controls_.clear();
  ControlsAreOut();
  return absl::OkStatus();
}

// --- control frames -------------------------------------------------------------------

void WebSocketCore::QueueClose(uint16_t code, absl::string_view reason) {
  if (std::exchange(close_queued_, true)) return;
  close_.emplace();
  has_controls_ = true;
  if (code == 1005) return;  // none was given, so none is returned
  close_->push_back(static_cast<char>(code >> 8));
  close_->push_back(static_cast<char>(code));
  absl::StrAppend(&*close_, reason);
}

// Between two frames only. What is noted is encoded once that before it is gone, so this
// is never more than one of each.
void WebSocketCore::EncodeControls() {
  if (!has_controls_ || !controls_.empty()) return;
  const auto add = [this](uint8_t opcode, std::optional<std::string>& payload) {
    if (!payload.has_value()) return;
    frames_.AddControl(opcode, *payload, &controls_);
    payload.reset();
  };
  add(kPong, pong_);
  add(kPing, ping_);
  add(kCloseFrame, close_);
}

void WebSocketCore::ControlsAreOut() {
  has_controls_ = pong_.has_value() || ping_.has_value() || close_.has_value();
}

// Until all are gone.
absl::Status WebSocketCore::WriteControls(Deadline deadline) {
  if (!has_controls_) return absl::OkStatus();
  const Sending sending(this, deadline);
  if (!sending) return Late(*stream_);
  while (has_controls_) {
    if (stream_->closed()) {
      return failure_.ok() ? absl::UnavailableError("websocket: it is closed") : failure_;
    }
    EncodeControls();
    if (absl::Status s = Write({}, /*begun=*/false, deadline); !s.ok()) return s;
  }
  return absl::OkStatus();
}

// As many bytes as there is room for.
absl::Status WebSocketCore::PushControls() {
  while (!controls_.empty()) {
    const absl::StatusOr<size_t> n = stream_->TryWrite(controls_);
    if (!n.ok()) return n.status();
    if (*n == 0) break;
    controls_.erase(0, *n);
  }
  if (controls_.empty()) ControlsAreOut();
  return absl::OkStatus();
}

// Without waiting.
void WebSocketCore::TryWriteControls() {
  while (has_controls_) {
    if (stream_ == nullptr || stream_->closed() || (flusher_ && !flusher_.ready())) {
      return;
    }
    // Who sends does it.
    if (writer_.locked()) return;
    EncodeControls();
    if (absl::Status s = PushControls(); !s.ok()) return Break(std::move(s));
    if (controls_.empty()) continue;
    // It has a time of its own, and not that of who notices first.
    WithoutDeadline([this] {
      flusher_ = Spawn({.name = "websocket control frames"}, [this] {
        const absl::Status s = WriteControls({});
        if (!s.ok() && failure_.ok()) Break(s);
      });
    });
    return;
  }
}

}  // namespace grove::http::http_internal
