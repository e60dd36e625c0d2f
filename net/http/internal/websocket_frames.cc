#include "grove/net/http/internal/websocket_frames.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include <algorithm>

#include "grove/hub/internal/check.h"

namespace grove::http::http_internal {
namespace {

constexpr uint8_t kFinBit = 0x80;
constexpr uint8_t kRsv1Bit = 0x40;
constexpr uint8_t kMaskBit = 0x80;
constexpr uint8_t kLengthBits = 0x7f;
// What the seven bits say if the length is in the next two bytes, or eight.
constexpr uint8_t kTwoBytes = 126;
constexpr uint8_t kEightBytes = 127;
constexpr uint64_t kMaxControl = 125;

size_t LengthBytes(uint8_t seven_bits) {
  return seven_bits < kTwoBytes ? 0 : seven_bits == kTwoBytes ? 2 : 8;
}

// `second` is the header's second byte.
size_t HeaderSize(uint8_t second) {
  return 2 + LengthBytes(second & kLengthBits) +
         ((second & kMaskBit) != 0 ? sizeof(FrameMask) : 0);
}

}  // namespace

void ApplyMask(const FrameMask& mask, uint64_t at, absl::Span<char> data) {
  std::array<char, sizeof(uint64_t)> turned;
  for (size_t i = 0; i < turned.size(); ++i) turned[i] = mask[(at + i) % mask.size()];
  uint64_t word;
  memcpy(&word, turned.data(), sizeof word);
  size_t i = 0;
  for (; i + sizeof word <= data.size(); i += sizeof word) {
    uint64_t bytes;
    memcpy(&bytes, &data[i], sizeof bytes);
    bytes ^= word;
    memcpy(&data[i], &bytes, sizeof bytes);
  }
  for (; i < data.size(); ++i) data[i] ^= turned[i % turned.size()];
}

// --- reading --------------------------------------------------------------------------

FrameReader::State FrameReader::Next(absl::Span<char>* input, Piece* piece) {
  const bool begins = !within_;
  if (begins) {
    if (!TakeHeader(input)) return State::kMore;
    header_size_ = 0;
    if (!ReadHeader()) return State::kRefused;
    at_ = 0;
  } else if (input->empty()) {
    return State::kMore;
  }
  const absl::Span<char> data = input->subspan(
      0, static_cast<size_t>(std::min<uint64_t>(frame_.frame_size - at_, input->size())));
  input->remove_prefix(data.size());
  if (frame_.masked) ApplyMask(mask_, at_, data);
  at_ += data.size();
  within_ = at_ < frame_.frame_size;
  *piece = frame_;
  piece->begins = begins;
  piece->ends = !within_;
  piece->data = {data.data(), data.size()};
  return State::kPiece;
}

// Whether it is whole.
bool FrameReader::TakeHeader(absl::Span<char>* input) {
  size_t want = 2;
  for (;;) {
    if (header_size_ >= 2) want = HeaderSize(static_cast<uint8_t>(header_[1]));
    if (header_size_ == want) return true;
    const size_t n = std::min(want - header_size_, input->size());
    if (n == 0) return false;
    memcpy(&header_[header_size_], input->data(), n);
    header_size_ = static_cast<uint8_t>(header_size_ + n);
    input->remove_prefix(n);
  }
}

bool FrameReader::ReadHeader() {
  const auto byte = [this](size_t i) { return static_cast<uint8_t>(header_[i]); };
  const uint8_t seven_bits = byte(1) & kLengthBits;
  const size_t length_bytes = LengthBytes(seven_bits);
  uint64_t size = length_bytes == 0 ? seven_bits : 0;
  for (size_t i = 0; i < length_bytes; ++i) size = size << 8 | byte(2 + i);
  frame_.opcode = byte(0) & 0xf;
  frame_.fin = (byte(0) & kFinBit) != 0;
  frame_.rsv = byte(0) >> 4 & 7;
  frame_.masked = (byte(1) & kMaskBit) != 0;
  frame_.frame_size = size;
  if (frame_.masked) memcpy(mask_.data(), &header_[2 + length_bytes], mask_.size());
  const bool is_control = frame_.opcode >= kCloseFrame;
  if (is_control && (size > kMaxControl || !frame_.fin)) return false;
  if (size >> 63 != 0) return false;
  const bool shortest = length_bytes == 0   ? true
                        : length_bytes == 2 ? size >= kTwoBytes
                                            : size > UINT16_MAX;
  return shortest;
}

// --- writing --------------------------------------------------------------------------

void FrameWriter::Begin(uint8_t opcode, bool compressed, uint64_t size,
                        std::string* out) {
  const uint8_t seven_bits = size < kTwoBytes     ? static_cast<uint8_t>(size)
                             : size <= UINT16_MAX ? kTwoBytes
                                                  : kEightBytes;
  out->push_back(static_cast<char>(kFinBit | (compressed ? kRsv1Bit : 0) | opcode));
  out->push_back(static_cast<char>((is_client_ ? kMaskBit : 0) | seven_bits));
  for (size_t i = LengthBytes(seven_bits); i > 0; --i) {
    out->push_back(static_cast<char>(size >> (8 * (i - 1))));
  }
  if (!is_client_) return;
  mask_ = NewMask();
  at_ = 0;
  out->append(mask_.data(), mask_.size());
}

void FrameWriter::AddPayload(absl::string_view data, std::string* out) {
  out->append(data.data(), data.size());
  if (!is_client_) return;
  ApplyMask(mask_, at_, absl::MakeSpan(*out).last(data.size()));
  at_ += data.size();
}

void FrameWriter::AddControl(uint8_t opcode, absl::string_view payload,
                             std::string* out) {
  Begin(opcode, /*compressed=*/false, payload.size(), out);
  AddPayload(payload, out);
}

FrameMask FrameWriter::NewMask() {
  constexpr size_t kAtOnce = 256;
  if (random_.empty()) {
    random_.resize(kAtOnce);
    size_t got = 0;
    while (got < random_.size()) {
      const ssize_t n = getrandom(&random_[got], random_.size() - got, 0);
      if (n < 0 && errno == EINTR) continue;
      // Cannot fail on any kernel that has it (getrandom(2)).
      GROVE_CHECK(n > 0, "getrandom: ", strerror(errno));
      got += static_cast<size_t>(n);
    }
  }
  FrameMask mask;
  memcpy(mask.data(), &random_[random_.size() - mask.size()], mask.size());
  random_.resize(random_.size() - mask.size());
  return mask;
}

}  // namespace grove::http::http_internal
