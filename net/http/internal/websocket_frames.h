#ifndef GROVE_NET_HTTP_INTERNAL_WEBSOCKET_FRAMES_H_
#define GROVE_NET_HTTP_INTERNAL_WEBSOCKET_FRAMES_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

struct wslay_frame_context;

namespace grove::http::http_internal {

// FrameSource
//
// Where frames are read from, without waiting.
class FrameSource {
 public:
  virtual ~FrameSource() = default;
  // At least a byte, or 0: there is nothing now. It must not throw.
  virtual size_t ReadSome(absl::Span<char> buffer) = 0;
};

enum Opcode : uint8_t {
  kContinuation = 0,
  kText = 1,
  kBinary = 2,
  kCloseFrame = 8,
  kPing = 9,
  kPong = 10,
};

// WebSocketFrames
//
// Frames of RFC 6455 (5.2) as bytes, by wslay's frame interface: it takes headers apart
// and puts them together, and masks. What frames mean is somebody else's, as is whatever
// is kept of them; wslay's interface for whole messages would keep them itself, whatever
// their size, and answer by itself.
class WebSocketFrames {
 public:
  // A piece of a frame's payload, or a frame without any.
  struct Piece {
    uint8_t opcode = 0;
    bool fin = false;
    uint8_t rsv = 0;  // RSV1 is 4
    bool masked = false;
    bool begins = false;  // the first piece of its frame
    bool ends = false;    // the last one
    uint64_t frame_size = 0;
    absl::string_view data;  // good until the next call
  };
  enum class State { kPiece, kMore, kRefused };

  // A client masks what it sends. The source must outlive it.
  WebSocketFrames(FrameSource* source, bool is_client);
  WebSocketFrames(const WebSocketFrames&) = delete;
  WebSocketFrames& operator=(const WebSocketFrames&) = delete;

  // The next piece; kRefused if a header is none (5.2, 5.5: lengths that could be
  // shorter, control frames that are long or fragmented).
  State Next(Piece* piece);

  // Begins a frame whose payload has this size: its header is appended to `out`.
  void BeginFrame(uint8_t opcode, bool compressed, uint64_t size, std::string* out);
  // Appends some more of its payload, masked if need be. Null: it is a server's, and goes
  // out from where it lies.
  void AddPayload(absl::string_view data, std::string* out);
  // A control frame, whole.
  void AddControl(uint8_t opcode, absl::string_view payload, std::string* out);

 private:
  struct Free {
    void operator()(wslay_frame_context* context) const;
  };

  // Called back by wslay.
  struct Callbacks;
  bool NewMask(uint8_t* mask, size_t size);

  FrameSource* const source_;
  const bool is_client_;
  std::unique_ptr<wslay_frame_context, Free> context_;
  uint64_t left_ = 0;  // of the frame that is being read
  bool within_ = false;

  // The frame that is being written.
  std::string* out_ = nullptr;
  uint8_t opcode_ = 0;
  bool compressed_ = false;
  uint64_t size_ = 0;
  // The kernel's random bytes, fetched for some masks at once (5.3: not predictable).
  std::array<uint8_t, 256> random_;
  size_t random_left_ = 0;
};

}  // namespace grove::http::http_internal

#endif  // GROVE_NET_HTTP_INTERNAL_WEBSOCKET_FRAMES_H_
