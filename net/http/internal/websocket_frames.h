#ifndef GROVE_NET_HTTP_INTERNAL_WEBSOCKET_FRAMES_H_
#define GROVE_NET_HTTP_INTERNAL_WEBSOCKET_FRAMES_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

// Frames of RFC 6455 (5.2) as bytes. What they mean is somebody else's, as is whatever is
// kept of them.
//
// Headers and masks are done here, not by a library: wslay, which did it before, unmasks
// byte by byte and keeps 4 KiB for each connection.
namespace grove::http::http_internal {

enum Opcode : uint8_t {
  kContinuation = 0,
  kText = 1,
  kBinary = 2,
  kCloseFrame = 8,
  kPing = 9,
  kPong = 10,
};

using FrameMask = std::array<char, 4>;

// Masks or unmasks in place (5.3). `at` is where in its frame the data begins.
void ApplyMask(const FrameMask& mask, uint64_t at, absl::Span<char> data);

// FrameReader
//
// Takes frames apart, wherever their bytes are cut.
class FrameReader {
 public:
  // A piece of a frame's payload, which may be empty.
  struct Piece {
    uint8_t opcode = 0;
    bool fin = false;
    uint8_t rsv = 0;  // RSV1 is 4
    bool masked = false;
    bool begins = false;  // the first piece of its frame
    bool ends = false;    // the last one
    uint64_t frame_size = 0;
    absl::string_view data;  // of the input, unmasked there
  };
  enum class State { kPiece, kMore, kRefused };

  // Takes the next piece off the input; kMore if all of it was used. kRefused: a header
  // is none (5.2, 5.5: lengths that could be shorter, control frames that are long or
  // fragmented).
  State Next(absl::Span<char>* input, Piece* piece);

 private:
  bool TakeHeader(absl::Span<char>* input);
  bool ReadHeader();

  static constexpr size_t kMaxHeader = 14;
  std::array<char, kMaxHeader> header_;
  uint8_t header_size_ = 0;  // how much of it is there

  // The frame that is being read.
  Piece frame_;
  FrameMask mask_;
  uint64_t at_ = 0;
  bool within_ = false;
};

// FrameWriter
//
// Puts frames together. A client masks what it sends.
class FrameWriter {
 public:
  explicit FrameWriter(bool is_client) : is_client_(is_client) {}
  FrameWriter(const FrameWriter&) = delete;
  FrameWriter& operator=(const FrameWriter&) = delete;

  // Appends the header of a frame whose payload has this size.
  void Begin(uint8_t opcode, bool compressed, uint64_t size, std::string* out);
  // Appends some more of its payload. A server's may also be sent from where it lies.
  void AddPayload(absl::string_view data, std::string* out);
  // A control frame, whole.
  void AddControl(uint8_t opcode, absl::string_view payload, std::string* out);

 private:
  FrameMask NewMask();

  const bool is_client_;
  FrameMask mask_;
  uint64_t at_ = 0;
  // The kernel's random bytes, fetched for some masks at once (5.3: not predictable).
  std::string random_;
};

}  // namespace grove::http::http_internal

#endif  // GROVE_NET_HTTP_INTERNAL_WEBSOCKET_FRAMES_H_
