#include "grove/net/http/internal/websocket_frames.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <wslay/wslay.h>

#include "grove/hub/internal/check.h"

namespace grove::http::http_internal {

struct WebSocketFrames::Callbacks {
  static ssize_t Receive(uint8_t* buffer, size_t size, int, void* user_data) {
    auto* self = static_cast<WebSocketFrames*>(user_data);
    const size_t n = self->source_->ReadSome({reinterpret_cast<char*>(buffer), size});
    return n > 0 ? static_cast<ssize_t>(n) : -1;
  }
  static ssize_t Send(const uint8_t* data, size_t size, int, void* user_data) {
    auto* self = static_cast<WebSocketFrames*>(user_data);
    if (self->out_ != nullptr) {
      self->out_->append(reinterpret_cast<const char*>(data), size);
    }
    return static_cast<ssize_t>(size);
  }
  static int Mask(uint8_t* mask, size_t size, void* user_data) {
    return static_cast<WebSocketFrames*>(user_data)->NewMask(mask, size) ? 0 : -1;
  }
};

void WebSocketFrames::Free::operator()(wslay_frame_context* context) const {
  wslay_frame_context_free(context);
}

WebSocketFrames::WebSocketFrames(FrameSource* source, bool is_client)
    : source_(source), is_client_(is_client) {
  const wslay_frame_callbacks callbacks = {.send_callback = &Callbacks::Send,
                                           .recv_callback = &Callbacks::Receive,
                                           .genmask_callback = &Callbacks::Mask};
  // wslay keeps the states of both directions apart, so one context is enough.
  wslay_frame_context* context = nullptr;
  GROVE_CHECK(wslay_frame_context_init(&context, &callbacks, this) == 0, "no memory");
  context_.reset(context);
}

WebSocketFrames::State WebSocketFrames::Next(Piece* piece) {
  wslay_frame_iocb iocb{};
  const ssize_t n = wslay_frame_recv(context_.get(), &iocb);
  if (n == WSLAY_ERR_WANT_READ) return State::kMore;
  if (n < 0) return State::kRefused;
  piece->opcode = iocb.opcode;
  piece->fin = iocb.fin != 0;
  piece->rsv = iocb.rsv;
  piece->masked = iocb.mask != 0;
  piece->frame_size = iocb.payload_length;
  piece->data = {reinterpret_cast<const char*>(iocb.data), iocb.data_length};
  piece->begins = !within_;
  if (piece->begins) left_ = iocb.payload_length;
  left_ -= iocb.data_length;
  within_ = left_ > 0;
  piece->ends = !within_;
  return State::kPiece;
}

void WebSocketFrames::BeginFrame(uint8_t opcode, bool compressed, uint64_t size,
                                 std::string* out) {
  opcode_ = opcode;
  compressed_ = compressed;
  size_ = size;
  AddPayload({}, out);
}

void WebSocketFrames::AddPayload(absl::string_view data, std::string* out) {
  wslay_frame_iocb iocb{};
  iocb.fin = 1;
  iocb.rsv = compressed_ ? WSLAY_RSV1_BIT : WSLAY_RSV_NONE;
  iocb.opcode = opcode_;
  iocb.payload_length = size_;
  iocb.mask = is_client_ ? 1 : 0;
  iocb.data = reinterpret_cast<const uint8_t*>(data.data());
  iocb.data_length = data.size();
  out_ = out;
  const ssize_t n = wslay_frame_send(context_.get(), &iocb);
  out_ = nullptr;
  GROVE_CHECK(n == static_cast<ssize_t>(data.size()), "wslay sent ", n, " of ",
              data.size(), " bytes");
}

void WebSocketFrames::AddControl(uint8_t opcode, absl::string_view payload,
                                 std::string* out) {
  BeginFrame(opcode, /*compressed=*/false, payload.size(), out);
  if (!payload.empty()) AddPayload(payload, out);
}

bool WebSocketFrames::NewMask(uint8_t* mask, size_t size) {
  if (random_left_ < size) {
    size_t got = 0;
    while (got < random_.size()) {
      const ssize_t n = getrandom(&random_[got], random_.size() - got, 0);
      if (n < 0 && errno == EINTR) continue;
      // Cannot fail on any kernel that has it (getrandom(2)).
      GROVE_CHECK(n > 0, "getrandom: ", strerror(errno));
      got += static_cast<size_t>(n);
    }
    random_left_ = random_.size();
  }
  memcpy(mask, &random_[random_left_ - size], size);
  random_left_ -= size;
  return true;
}

}  // namespace grove::http::http_internal
