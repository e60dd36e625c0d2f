#include <string.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "grove/hub/internal/check.h"
#include "grove/net/http/internal/utf8.h"
#include "grove/net/http/internal/websocket_core.h"

// Whatever a peer may send behind the handshake. The first byte says who we are (1: the
// client) and whether messages may be compressed (2: yes; 4: with a context). Messages
// must be the same whether the bytes come at once or one by one, within the limit, and
// texts UTF-8; what is answered must be frames.
namespace grove::http::http_internal {
namespace {

constexpr size_t kMaxMessage = 5000;

// Gives its input in pieces, and keeps what is written.
class Script final : public net::Stream {
 public:
  Script(absl::string_view input, size_t piece) : input_(input), piece_(piece) {}

  absl::StatusOr<std::optional<size_t>> TryRead(absl::Span<char> buffer) override {
    const size_t n = std::min({input_.size(), piece_, buffer.size()});
    memcpy(buffer.data(), input_.data(), n);
    input_.remove_prefix(n);
    return n;
  }
  absl::StatusOr<size_t> TryWrite(absl::string_view data) override {
    written.append(data.data(), data.size());
    return data.size();
  }
  absl::Status ShutdownWrite() override { return absl::OkStatus(); }
  absl::Status ShutdownRead() override { return absl::OkStatus(); }
  void Close() override { closed_ = true; }
  bool closed() const override { return closed_; }
  std::string Describe() const override { return "script"; }

  std::string written;

 private:
  absl::StatusOr<size_t> DoRead(absl::Span<char> buffer, Deadline) override {
    return **TryRead(buffer);
  }
  absl::StatusOr<size_t> DoReadScatter(absl::Span<const absl::Span<char>> b,
                                       Deadline) override {
    return **TryRead(b[0]);
  }
  absl::Status DoWaitReadable(Deadline) override { return absl::OkStatus(); }
  absl::Status DoWrite(absl::string_view data, Deadline) override {
    return TryWrite(data).status();
  }
  absl::Status DoWriteGather(absl::Span<const absl::string_view> pieces,
                             Deadline) override {
    for (absl::string_view piece : pieces) TryWrite(piece).IgnoreError();
    return absl::OkStatus();
  }

  absl::string_view input_;
  const size_t piece_;
  bool closed_ = false;
};

// What we have answered: control frames, each whole, and nothing behind a close frame.
void CheckAnswers(absl::string_view bytes, bool masked) {
  bool closed = false;
  while (!bytes.empty()) {
    GROVE_CHECK(bytes.size() >= 2 && !closed, "half a frame, or one behind the end");
    const uint8_t first = static_cast<uint8_t>(bytes[0]);
    const uint8_t second = static_cast<uint8_t>(bytes[1]);
    GROVE_CHECK(first == 0x88 || first == 0x8a, "neither close nor pong");
    GROVE_CHECK((second >> 7 == 1) == masked, "who masks?");
    const size_t size = 2 + (masked ? 4 : 0) + (second & 0x7f);
    GROVE_CHECK((second & 0x7f) <= 125 && bytes.size() >= size, "half a frame");
    closed = first == 0x88;
    bytes.remove_prefix(size);
  }
}

std::vector<std::string> Receive(absl::string_view input, int flags, size_t piece) {
  const bool is_client = flags & 1;
  const auto core = std::make_shared<WebSocketCore>(
      is_client, WebSocketOptions{.max_message = kMaxMessage,
                                  .ping_interval = absl::InfiniteDuration()});
  WebSocketCore::Agreed agreed;
  if (flags & 2) {
    agreed.deflate.emplace();
    const bool forget = (flags & 4) == 0;
    agreed.deflate->server_no_context_takeover = forget;
    agreed.deflate->client_no_context_takeover = forget;
  }
  Script stream(input, piece);
  core->Open(&stream, nullptr, {}, std::move(agreed));
  std::vector<std::string> messages;
  {
    WebSocket ws = WebSocketCore::Wrap(core);
    for (;;) {
      const absl::StatusOr<std::optional<WebSocketMessage>> m = ws.Receive();
      if (!m.ok() || !m->has_value()) break;
      GROVE_CHECK((*m)->data.size() <= kMaxMessage, "a large message");
      const bool text = (*m)->type == WebSocketMessage::Type::kText;
      GROVE_CHECK(!text || IsUtf8((*m)->data), "a text that is none");
      messages.push_back((text ? "t" : "b") + (*m)->data);
    }
  }
  CheckAnswers(stream.written, is_client);
  return messages;
}

}  // namespace
}  // namespace grove::http::http_internal

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using grove::http::http_internal::Receive;
  if (size == 0) return 0;
  const absl::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto whole = Receive(input, data[0], size);
  GROVE_CHECK(whole == Receive(input, data[0], 1), "pieces make a difference");
  GROVE_CHECK(whole == Receive(input, data[0], 7), "pieces make a difference");
  return 0;
}
