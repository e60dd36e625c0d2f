#ifndef GROVE_NET_HTTP_WEBSOCKET_TEST_UTIL_H_
#define GROVE_NET_HTTP_WEBSOCKET_TEST_UTIL_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "grove/net/stream.h"

// Frames as bytes, made and read by hand: nothing here is what the tests are about.
namespace grove::http {

// The handshake of RFC 6455, 1.3, without its subprotocols and origin.
inline std::string UpgradeRequest(absl::string_view fields = "",
                                  absl::string_view path = "/chat") {
  return absl::StrCat("GET ", path,
                      " HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: "
                      "websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: "
                      "dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n",
                      fields, "\r\n");
}

constexpr int kFin = 0x80;
constexpr int kRsv1 = 0x40;

// 5.2. `first` is the first byte: FIN, RSV and the opcode.
inline std::string RawFrame(int first, absl::string_view payload, bool masked) {
  std::string frame(1, static_cast<char>(first));
  const int mask_bit = masked ? 0x80 : 0;
  const uint64_t n = payload.size();
  const int extra = n < 126 ? 0 : n < 65536 ? 2 : 8;
  frame.push_back(static_cast<char>(mask_bit | (extra == 0   ? static_cast<int>(n)
                                                : extra == 2 ? 126
                                                             : 127)));
  for (int i = extra - 1; i >= 0; --i) frame.push_back(static_cast<char>(n >> (8 * i)));
  if (!masked) return absl::StrCat(frame, payload);
  constexpr absl::string_view kMask = "\x37\xfa\x21\x3d";
  frame.append(kMask.data(), kMask.size());
  for (size_t i = 0; i < payload.size(); ++i) {
    frame.push_back(static_cast<char>(payload[i] ^ kMask[i % 4]));
  }
  return frame;
}
inline std::string ClientFrame(int first, absl::string_view payload) {
  return RawFrame(first, payload, /*masked=*/true);
}
inline std::string CloseOf(int code, absl::string_view reason = "") {
  return absl::StrCat(std::string(1, static_cast<char>(code >> 8)),
                      std::string(1, static_cast<char>(code)), reason);
}

inline std::string ReadBytes(net::Stream& stream, size_t n) {
  std::string bytes(n, '\0');
  const absl::Status s =
      stream.ReadExactly(absl::MakeSpan(bytes), Deadline(absl::Hours(1)));
  return s.ok() ? bytes : "";
}

// The next frame, as "81:hello"; "end" at the end of the stream. With `mask`, it must be
// masked, and is unmasked.
inline std::string ReadFrame(net::Stream& stream, bool masked = false) {
  const std::string head = ReadBytes(stream, 2);
  if (head.empty()) return "end";
  EXPECT_EQ((head[1] & 0x80) != 0, masked) << "who masks?";
  uint64_t n = head[1] & 0x7f;
  if (n >= 126) {
    const std::string length = ReadBytes(stream, n == 126 ? 2 : 8);
    n = 0;
    for (unsigned char c : length) n = n << 8 | c;
  }
  const std::string mask = masked ? ReadBytes(stream, 4) : std::string();
  std::string payload = n > 0 ? ReadBytes(stream, n) : std::string();
  for (size_t i = 0; i < payload.size() && masked; ++i) payload[i] ^= mask[i % 4];
  return absl::StrCat(absl::Hex(static_cast<unsigned char>(head[0]), absl::kZeroPad2),
                      ":", payload);
}

inline std::string ReadThrough(net::Stream& stream, absl::string_view end) {
  std::string text;
  char c;
  while (!absl::EndsWith(text, end)) {
    const absl::StatusOr<size_t> n = stream.Read(absl::MakeSpan(&c, 1));
    if (!n.ok() || *n == 0) return text + "<end>";
    text.push_back(c);
  }
  return text;
}

}  // namespace grove::http

#endif  // GROVE_NET_HTTP_WEBSOCKET_TEST_UTIL_H_
