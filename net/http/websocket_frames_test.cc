#include "grove/net/http/internal/websocket_frames.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace grove::http::http_internal {
namespace {

std::string Bytes(size_t n) {
  std::string bytes(n, '\0');
  for (size_t i = 0; i < n; ++i) bytes[i] = static_cast<char>(i * 7 + i / 251);
  return bytes;
}

// RFC 6455, 5.3, octet by octet.
TEST(ApplyMask, IsWhatTheStandardSaysFromEachOffsetAndForEachSize) {
  const FrameMask mask = {'\x37', '\xfa', '\x21', '\x3d'};
  for (uint64_t at = 0; at < 9; ++at) {
    for (size_t size = 0; size < 40; ++size) {
      const std::string data = Bytes(size);
      std::string masked = data;
      ApplyMask(mask, at, absl::MakeSpan(masked));
      for (size_t i = 0; i < size; ++i) {
        ASSERT_EQ(masked[i], static_cast<char>(data[i] ^ mask[(at + i) % 4]))
            << "at " << at << ", byte " << i << " of " << size;
      }
    }
  }
}

struct Read {
  int frames = 0;
  uint8_t opcode = 0;
  bool masked = false;
  bool ended = false;
  std::string payload;
};

// In pieces of `size` bytes.
Read ReadAll(std::string bytes, size_t size) {
  FrameReader reader;
  Read read;
  absl::Span<char> left = absl::MakeSpan(bytes);
  while (!left.empty()) {
    absl::Span<char> input = left.subspan(0, size);
    left.remove_prefix(input.size());
    FrameReader::Piece piece;
    FrameReader::State state;
    while ((state = reader.Next(&input, &piece)) == FrameReader::State::kPiece) {
      read.frames += piece.begins ? 1 : 0;
      read.opcode = piece.opcode;
      read.masked = piece.masked;
      read.ended = piece.ends;
      read.payload.append(piece.data.data(), piece.data.size());
    }
    EXPECT_EQ(state, FrameReader::State::kMore);
    EXPECT_TRUE(input.empty());
  }
  return read;
}

// 5.2: around the sizes at which the header grows.
TEST(Frames, WhatOneEndWritesTheOtherReadsHoweverItIsCut) {
  for (const size_t size : {0, 1, 125, 126, 127, 65535, 65536, 70001}) {
    for (const bool is_client : {false, true}) {
      FrameWriter writer(is_client);
      const std::string payload = Bytes(size);
      std::string bytes;
      writer.Begin(kBinary, /*compressed=*/false, size, &bytes);
      EXPECT_EQ(bytes.size(), (size < 126     ? 2u
                               : size < 65536 ? 4u
                                              : 10u) +
                                  (is_client ? 4u : 0u));
      // In two parts, of which the second does not begin at a multiple of four.
      const size_t first = std::min<size_t>(size, 13);
      writer.AddPayload(absl::string_view(payload).substr(0, first), &bytes);
      writer.AddPayload(absl::string_view(payload).substr(first), &bytes);
      for (const size_t cut : {size_t{1}, size_t{3}, size_t{1000}, bytes.size()}) {
        const Read read = ReadAll(bytes, cut);
        EXPECT_EQ(read.frames, 1);
        EXPECT_EQ(read.opcode, kBinary);
        EXPECT_EQ(read.masked, is_client);
        EXPECT_TRUE(read.ended);
        EXPECT_TRUE(read.payload == payload) << size << " bytes, cut after " << cut;
      }
    }
  }
}

TEST(Frames, ClientsMaskEachFrameByAnotherMask) {
  FrameWriter writer(/*is_client=*/true);
  const auto mask = [&] {
    std::string frame;
    writer.AddControl(kPing, "", &frame);
    return frame.substr(2);
  };
  // Of 1,000 random ones (5.3), some of 32 bits may be the same; not all.
  const std::string first = mask();
  int same = 0;
  for (int i = 0; i < 1000; ++i) same += mask() == first ? 1 : 0;
  EXPECT_LT(same, 3);
}

// 5.2: a length has one form, and no sign.
TEST(Frames, LengthsThatCouldBeShorterAreRefused) {
  using namespace std::string_literals;
  for (std::string header :
       {"\x82\x7e\x00\x7d"s, "\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff"s,
        "\x82\x7f\x80\x00\x00\x00\x00\x01\x00\x00"s}) {
    FrameReader reader;
    FrameReader::Piece piece;
    absl::Span<char> input = absl::MakeSpan(header);
    EXPECT_EQ(reader.Next(&input, &piece), FrameReader::State::kRefused);
  }
}

}  // namespace
}  // namespace grove::http::http_internal
