#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "grove/green/greenlet.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/net/http/internal/sha1.h"
#include "grove/net/http/internal/utf8.h"
#include "grove/net/http/internal/websocket_handshake.h"
#include "grove/net/http/server.h"
#include "grove/net/http/websocket.h"
#include "grove/net/http/websocket_test_util.h"
#include "grove/net/testing/memory_listener.h"

// What RFC 6455 wants of a server, by section, over bytes. Each case in one piece and
// byte by byte.
namespace grove::http {
namespace {

using net::MemoryListener;
using net::MemoryStream;
using Type = WebSocketMessage::Type;

// RFC 3174, 7.3.
TEST(Sha1, OfTheStandard) {
  const auto hex = [](absl::string_view data) {
    return absl::BytesToHexString(http_internal::Sha1(data));
  };
  EXPECT_EQ(hex("abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
  EXPECT_EQ(hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
  EXPECT_EQ(hex(std::string(1'000'000, 'a')), "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
  EXPECT_EQ(hex(""), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
}

// 1.3, 4.2.2.
TEST(WebSocketKey, TheSampleKey) {
  EXPECT_EQ(http_internal::AcceptOf("dGhlIHNhbXBsZSBub25jZQ=="),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

// 4.1: 16 bytes.
TEST(WebSocketKey, Keys) {
  EXPECT_TRUE(http_internal::IsWebSocketKey("dGhlIHNhbXBsZSBub25jZQ=="));
  EXPECT_TRUE(http_internal::IsWebSocketKey("AAAAAAAAAAAAAAAAAAAAAA=="));
  for (absl::string_view bad : {"", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ=",
                                "!GhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZTEy",
                                "dGhlIHNhbXBsZSBub25jZR=="}) {
    EXPECT_FALSE(http_internal::IsWebSocketKey(bad)) << bad;
  }
}

struct Utf8Case {
  absl::string_view text;
  // The byte that is wrong: as many are right before it. -1: the text is right; and the
  // size if only its end is missing.
  int wrong_at;
};
const Utf8Case kUtf8[] = {
    {"", -1},
    {"hello", -1},
    {"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5", -1},
    {"\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", -1},
    {"\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbd\xef\xbf\xbe", -1},
    {"12345678901234567\xc3\xa4", -1},
    {"12345678901234567\xa4", 17},
    {"\x80", 0},
    {"\xbf", 0},
    {"\xc0\xaf", 0},
    {"\xc1\xbf", 0},
    {"\xe0\x80\xaf", 1},
    {"\xe0\x9f\xbf", 1},
    {"\xf0\x80\x80\xaf", 1},
    {"\xf0\x8f\xbf\xbf", 1},
    {"\xed\xa0\x80", 1},
    {"\xed\xbf\xbf", 1},
    {"\xed\xa0\x80\xed\xb0\x80", 1},
    {"\xf4\x90\x80\x80", 1},
    {"\xf5\x80\x80\x80", 0},
    {"\xf8\x88\x80\x80\x80", 0},
    {"\xfc\x84\x80\x80\x80\x80", 0},
    {"\xfe", 0},
    {"\xff", 0},
    {"\xc3(", 1},
    {"\xe2\x82(", 2},
    {"\xf0\x90\x80(", 3},
    {"a\xf0\x90\x80", 4},
    {"a\xc3", 2},
    {"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80"
     "edited",
     12},
};

// RFC 3629; the sets of Markus Kuhn's stress test.
TEST(Utf8, IsKnownAtTheFirstByteThatIsWrong) {
  for (const Utf8Case& c : kUtf8) {
    EXPECT_EQ(http_internal::IsUtf8(c.text), c.wrong_at == -1)
        << absl::CHexEscape(c.text);
    http_internal::Utf8Checker checker;
    int at = 0;
    while (at < static_cast<int>(c.text.size()) && checker.Feed(c.text.substr(at, 1))) {
      ++at;
    }
    if (at == static_cast<int>(c.text.size()) && checker.complete()) at = -1;
    EXPECT_EQ(at, c.wrong_at) << absl::CHexEscape(c.text);
  }
}

// A server that says back what it gets.
class Rfc6455 : public GreenletTest {
 protected:
  void SetUp() override {
    server_ = std::make_unique<HttpServer>(
        listener_, [this](Request& request, ResponseWriter& response) {
          absl::StatusOr<WebSocket> ws = AcceptWebSocket(request, response, options_);
          if (!ws.ok()) return;
          for (;;) {
            absl::StatusOr<std::optional<WebSocketMessage>> m = ws->Receive();
            end_ = m.status();
            code_ = ws->close_code();
            reason_ = ws->close_reason();
            if (!m.ok() || !m->has_value()) return;
            if (!ws->Send((*m)->type, (*m)->data).ok()) return;
          }
        });
    server_->Start();
  }
  void TearDown() override { server_.reset(); }

  MemoryStream Connect(absl::string_view fields = "") {
    MemoryStream client = *listener_.Connect();
    EXPECT_TRUE(client.Write(UpgradeRequest(fields)).ok());
    head_ = ReadThrough(client, "\r\n\r\n");
    EXPECT_TRUE(absl::StartsWith(head_, "HTTP/1.1 101 ")) << head_;
    return client;
  }
  // All frames that answer these bytes, and "end" if the server ends the connection.
  std::vector<std::string> Ask(absl::string_view bytes) {
    std::vector<std::string> first;
    for (const size_t piece : {bytes.size(), size_t{1}}) {
      MemoryStream client = Connect();
      const Greenlet<> writer = Spawn([&] {
        for (size_t at = 0; at < bytes.size(); at += piece) {
          if (!client.Write(bytes.substr(at, piece)).ok()) return;
          if (piece == 1) Yield();
        }
      });
      writer.Join();
      std::vector<std::string> frames;
      do {
        frames.push_back(ReadFrame(client));
      } while (frames.back() != "end" && !absl::StartsWith(frames.back(), "8a:last"));
      if (piece == bytes.size()) {
        first = frames;
      } else {
        EXPECT_EQ(frames, first) << "pieces make a difference";
      }
      client.Close();
    }
    return first;
  }
  std::vector<std::string> AskAndPing(absl::string_view bytes) {
    return Ask(absl::StrCat(bytes, ClientFrame(0x89, "last")));
  }
  std::vector<std::string> Refused(int code) {
    return {absl::StrCat("88:", CloseOf(code)), "end"};
  }
  std::string AskHttp(absl::string_view request) {
    MemoryStream client = *listener_.Connect();
    EXPECT_TRUE(client.Write(request).ok());
    EXPECT_TRUE(client.ShutdownWrite().ok());
    return ReadThrough(client, "\r\n\r\n");
  }

  using Frames = std::vector<std::string>;
  WebSocketOptions options_ = {.max_message = 100'000,
                               .ping_interval = absl::InfiniteDuration()};
  MemoryListener listener_{{.capacity = 1 << 20}};
  std::unique_ptr<HttpServer> server_;
  std::string head_;
  absl::Status end_;
  int code_ = 0;
  std::string reason_;
};

// 4.2.2.
GREENLET_TEST_F(Rfc6455, TheServersHandshake) {
  options_.subprotocols = {"superchat", "chat"};
  Connect(
      "Origin: http://server.example.com\r\nSec-WebSocket-Protocol: chat, superchat\r\n");
  EXPECT_TRUE(absl::StrContains(head_, "\r\nUpgrade: websocket\r\n")) << head_;
  EXPECT_TRUE(absl::StrContains(head_, "\r\nConnection: Upgrade\r\n"));
  EXPECT_TRUE(absl::StrContains(
      head_, "\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
  EXPECT_TRUE(absl::StrContains(head_, "\r\nSec-WebSocket-Protocol: superchat\r\n"));
  EXPECT_FALSE(absl::StrContains(head_, "Extensions"));
  EXPECT_FALSE(absl::StrContains(head_, "Content-Length"));
  // One that is not offered is not taken.
  Connect("Sec-WebSocket-Protocol: other\r\n");
  EXPECT_FALSE(absl::StrContains(head_, "Sec-WebSocket-Protocol"));
}

// 4.2.1.
GREENLET_TEST_F(Rfc6455, WhatIsNoHandshakeIsRefused) {
  const auto changed = [](absl::string_view from, absl::string_view to) {
    std::string request = UpgradeRequest();
    const size_t at = request.find(std::string(from));
    EXPECT_NE(at, request.npos) << from;
    return request.replace(at, from.size(), std::string(to));
  };
  const struct {
    std::string request;
    int status;
  } cases[] = {
      {changed("HTTP/1.1", "HTTP/1.0"), 400},
      {changed("GET", "POST"), 405},
      {changed("Upgrade: websocket\r\n", ""), 426},
      {changed("Upgrade: websocket", "Upgrade: websockets"), 426},
      {changed("Connection: Upgrade\r\n", ""), 426},
      {changed("Connection: Upgrade", "Connection: keep-alive"), 426},
      {changed("Version: 13", "Version: 8"), 426},
      {changed("Version: 13", "Version: 013"), 426},
      {changed("Sec-WebSocket-Version: 13\r\n", ""), 426},
      {changed("Version: 13", "Version: 13, 8"), 426},
      {changed("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ="), 400},
      {changed("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""), 400},
      {UpgradeRequest("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"), 400},
      {UpgradeRequest("Sec-WebSocket-Extensions: a b\r\n"), 400},
      {UpgradeRequest("Sec-WebSocket-Extensions: a; =1\r\n"), 400},
      {UpgradeRequest("Content-Length: 1\r\n") + "x", 400},
      {UpgradeRequest("Origin: http://evil.example\r\n"), 403},
  };
  for (const auto& c : cases) {
    const std::string answer = AskHttp(c.request);
    EXPECT_TRUE(absl::StartsWith(answer, absl::StrCat("HTTP/1.1 ", c.status, " ")))
        << c.request << answer;
    // 4.4.
    if (c.status == 426) {
      EXPECT_TRUE(absl::StrContains(answer, "\r\nSec-WebSocket-Version: 13\r\n"));
      EXPECT_TRUE(absl::StrContains(answer, "\r\nUpgrade: websocket\r\n"));
      // RFC 9110, 7.8.
      EXPECT_TRUE(absl::StrContains(answer, "\r\nConnection: upgrade\r\n") ||
                  absl::StrContains(answer, "\r\nConnection: close, upgrade\r\n"))
          << answer;
    }
    EXPECT_FALSE(absl::StrContains(answer, "Sec-WebSocket-Accept"));
  }
  // Names and tokens without regard to case, and lists.
  EXPECT_TRUE(absl::StartsWith(
      AskHttp(changed("Upgrade: websocket\r\nConnection: Upgrade",
                      "upgrade: other, WebSocket\r\nconnection: keep-alive, upgrade")),
      "HTTP/1.1 101 "));
}

// 10.2.
GREENLET_TEST_F(Rfc6455, Origins) {
  const auto status = [&](absl::string_view origin) {
    return AskHttp(UpgradeRequest(absl::StrCat("Origin: ", origin, "\r\n"))).substr(9, 3);
  };
  EXPECT_EQ(status("http://server.example.com"), "101");
  EXPECT_EQ(status("HTTPS://server.example.com"), "403");
  EXPECT_EQ(status("https://SERVER.example.com"), "101");
  EXPECT_EQ(status("https://server.example.com:443"), "101");
  EXPECT_EQ(status("https://server.example.com:80"), "403");
  EXPECT_EQ(status("http://server.example.com:8080"), "403");
  EXPECT_EQ(status("http://server.example.com.evil.example"), "403");
  EXPECT_EQ(status("http://evil.example/server.example.com"), "403");
  EXPECT_EQ(status("null"), "403");
  EXPECT_EQ(status("file://"), "403");
  EXPECT_EQ(status("http://server.example.com\r\nOrigin: http://server.example.com"),
            "403");
  options_.allowed_origins = {"https://a.example", "https://b.example:8443"};
  EXPECT_EQ(status("https://b.example:8443"), "101");
  EXPECT_EQ(status("https://a.example:8443"), "403");
  EXPECT_EQ(status("http://server.example.com"), "403");
  options_.allowed_origins = {"*"};
  EXPECT_EQ(status("null"), "101");
}

// 5.7.
GREENLET_TEST_F(Rfc6455, TheSampleFrames) {
  EXPECT_EQ(AskAndPing("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"),
            (Frames{"81:Hello", "8a:last"}));
  // A message in two.
  EXPECT_EQ(AskAndPing(ClientFrame(0x01, "Hel") + ClientFrame(0x80, "lo")),
            (Frames{"81:Hello", "8a:last"}));
  for (const size_t size : {0, 1, 125, 126, 127, 128, 256, 65535, 65536, 99'999}) {
    const std::string data(size, '\xfe');
    EXPECT_EQ(AskAndPing(ClientFrame(0x82, data)),
              (Frames{absl::StrCat("82:", data), "8a:last"}));
  }
}

// 5.1, 5.3.
GREENLET_TEST_F(Rfc6455, AFrameWithoutAMaskIsRefused) {
  EXPECT_EQ(Ask(RawFrame(0x81, "Hello", false)), Refused(1002));
  EXPECT_EQ(Ask(RawFrame(0x89, "", false)), Refused(1002));
  EXPECT_TRUE(absl::IsInvalidArgument(end_)) << end_;
}

// 5.2.
GREENLET_TEST_F(Rfc6455, ReservedBitsAndOpcodesAreRefused) {
  for (const int bits : {0x40, 0x20, 0x10, 0x70, 0x30}) {
    EXPECT_EQ(Ask(ClientFrame(0x81 | bits, "a")), Refused(1002)) << bits;
    EXPECT_EQ(Ask(ClientFrame(0x89 | bits, "a")), Refused(1002)) << bits;
  }
  for (const int opcode : {3, 4, 5, 6, 7, 11, 12, 13, 14, 15}) {
    EXPECT_EQ(Ask(ClientFrame(kFin | opcode, "a")), Refused(1002)) << opcode;
    EXPECT_EQ(Ask(ClientFrame(kFin | opcode, "")), Refused(1002)) << opcode;
  }
}

// 5.2: lengths in the least number of bytes, and below 2^63.
GREENLET_TEST_F(Rfc6455, LengthsThatCouldBeShorterAreRefused) {
  const std::string mask("\0\0\0\0", 4);
  EXPECT_EQ(Ask(absl::StrCat("\x82\xfe", std::string("\0\x7d", 2), mask,
                             std::string(125, 'a'))),
            Refused(1002));
  EXPECT_EQ(Ask(absl::StrCat("\x82\xff", std::string("\0\0\0\0\0\0\xff\xff", 8), mask,
                             std::string(1000, 'a'))),
            Refused(1002));
  EXPECT_EQ(
      Ask(absl::StrCat("\x82\xff", std::string("\x80\0\0\0\0\0\0\0", 8), mask, "a")),
      Refused(1002));
}

// 5.4.
GREENLET_TEST_F(Rfc6455, Fragments) {
  EXPECT_EQ(
      AskAndPing(ClientFrame(0x01, "") + ClientFrame(0x00, "") + ClientFrame(0x80, "")),
      (Frames{"81:", "8a:last"}));
  EXPECT_EQ(AskAndPing(ClientFrame(0x02, "ab") + ClientFrame(0x00, "") +
                       ClientFrame(0x00, "c") + ClientFrame(0x80, "d")),
            (Frames{"82:abcd", "8a:last"}));
  // A continuation of nothing.
  EXPECT_EQ(Ask(ClientFrame(0x80, "a")), Refused(1002));
  EXPECT_EQ(Ask(ClientFrame(0x00, "a")), Refused(1002));
  EXPECT_EQ(Ask(ClientFrame(0x81, "a") + ClientFrame(0x80, "b")).back(), "end");
  // A message within a message.
  EXPECT_EQ(Ask(ClientFrame(0x01, "a") + ClientFrame(0x81, "b")), Refused(1002));
  EXPECT_EQ(Ask(ClientFrame(0x01, "a") + ClientFrame(0x02, "b")), Refused(1002));
}

// 5.5: control frames between fragments, never fragmented, never long.
GREENLET_TEST_F(Rfc6455, ControlFrames) {
  const Frames frames = AskAndPing(ClientFrame(0x01, "a") + ClientFrame(0x8a, "unasked") +
                                   ClientFrame(0x80, "b"));
  EXPECT_EQ(frames, (Frames{"81:ab", "8a:last"}));
  EXPECT_EQ(Ask(ClientFrame(0x09, "a")), Refused(1002));
  EXPECT_EQ(Ask(ClientFrame(0x89, std::string(126, 'a'))), Refused(1002));
  EXPECT_EQ(Ask(ClientFrame(0x08, "")), Refused(1002));
}

// 5.5.2, 5.5.3: with the same data, and before what comes later; of several only the
// last.
GREENLET_TEST_F(Rfc6455, PingsAreAnswered) {
  const std::string all = std::string(125, '\xff');
  MemoryStream client = Connect();
  ASSERT_TRUE(client.Write(ClientFrame(0x89, all)).ok());
  EXPECT_EQ(ReadFrame(client), "8a:" + all);
  ASSERT_TRUE(client.Write(ClientFrame(0x89, "")).ok());
  EXPECT_EQ(ReadFrame(client), "8a:");
  ASSERT_TRUE(client.Write(ClientFrame(0x01, "a") + ClientFrame(0x89, "between")).ok());
  EXPECT_EQ(ReadFrame(client), "8a:between");
  std::string many;
  for (int i = 0; i < 100; ++i) many += ClientFrame(0x89, absl::StrCat("p", i));
  ASSERT_TRUE(client.Write(many).ok());
  EXPECT_EQ(ReadFrame(client), "8a:p99");
}

// 5.5.1, 7.4: the code comes back, and the connection ends.
GREENLET_TEST_F(Rfc6455, CloseFrames) {
  for (const int code : {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013,
                         1014, 3000, 3999, 4000, 4999}) {
    EXPECT_EQ(Ask(ClientFrame(0x88, CloseOf(code, "why"))),
              (Frames{"88:" + CloseOf(code), "end"}))
        << code;
    EXPECT_EQ(code_, code);
    EXPECT_EQ(reason_, "why");
    EXPECT_TRUE(end_.ok()) << end_;
  }
  EXPECT_EQ(Ask(ClientFrame(0x88, "")), (Frames{"88:", "end"}));
  EXPECT_EQ(code_, 1005);
  for (const int code :
       {0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535}) {
    EXPECT_EQ(Ask(ClientFrame(0x88, CloseOf(code))), Refused(1002)) << code;
    EXPECT_EQ(code_, 1006);
  }
  EXPECT_EQ(Ask(ClientFrame(0x88, "\x03")), Refused(1002));
  EXPECT_EQ(Ask(ClientFrame(0x88, CloseOf(1000, "\xff"))), Refused(1007));
  EXPECT_EQ(Ask(ClientFrame(0x88, CloseOf(1000, std::string(123, 'r')))),
            (Frames{"88:" + CloseOf(1000), "end"}));
  // What comes behind it does not count (5.5.1).
  EXPECT_EQ(Ask(ClientFrame(0x88, "") + ClientFrame(0x81, "late") + "rubbish"),
            (Frames{"88:", "end"}));
  // Within a message.
  EXPECT_EQ(Ask(ClientFrame(0x01, "a") + ClientFrame(0x88, "")), (Frames{"88:", "end"}));
}

// 8.1.
GREENLET_TEST_F(Rfc6455, TextsAreUtf8) {
  for (const Utf8Case& c : kUtf8) {
    for (const size_t cut : {size_t{0}, c.text.size() / 2, c.text.size()}) {
      const Frames frames = AskAndPing(ClientFrame(0x01, c.text.substr(0, cut)) +
                                       ClientFrame(0x80, c.text.substr(cut)));
      if (c.wrong_at == -1) {
        EXPECT_EQ(frames, (Frames{absl::StrCat("81:", c.text), "8a:last"}));
      } else {
        EXPECT_EQ(frames, Refused(1007)) << absl::CHexEscape(c.text);
      }
    }
    // Binary messages are what they like.
    EXPECT_EQ(AskAndPing(ClientFrame(0x82, c.text)),
              (Frames{absl::StrCat("82:", c.text), "8a:last"}));
  }
}

// 8.1: before the message is whole.
GREENLET_TEST_F(Rfc6455, ATextThatIsNoneIsRefusedAtOnce) {
  MemoryStream client = Connect();
  const std::string frame = ClientFrame(0x01, "abc\xff" + std::string(100, 'x'));
  // No byte behind the wrong one.
  ASSERT_TRUE(client.Write(frame.substr(0, 6 + 4)).ok());
  EXPECT_EQ(ReadFrame(client), "88:" + CloseOf(1007));
}

// 10.4.
GREENLET_TEST_F(Rfc6455, AMessageThatIsTooLargeIsRefusedByItsHeader) {
  MemoryStream client = Connect();
  const std::string frame = ClientFrame(0x82, std::string(100'001, 'a'));
  ASSERT_TRUE(client.Write(frame.substr(0, 15)).ok());
  EXPECT_EQ(ReadFrame(client), "88:" + CloseOf(1009));
  // Also in fragments, and if it claims to be enormous.
  EXPECT_EQ(Ask(ClientFrame(0x02, std::string(60'000, 'a')) +
                ClientFrame(0x80, std::string(40'001, 'a'))),
            Refused(1009));
  EXPECT_EQ(Ask(absl::StrCat(
                "\x82\xff", std::string("\x7f\xff\xff\xff\xff\xff\xff\xff", 8), "maskx")),
            Refused(1009));
  EXPECT_TRUE(absl::IsResourceExhausted(end_)) << end_;
}

// 7.1.7, 7.1.5: no close frame.
GREENLET_TEST_F(Rfc6455, AnEndWithoutAHandshakeIsToldApart) {
  for (absl::string_view sent : {"", "\x81", "\x81\x85\x37\xfa\x21\x3d\x7f"}) {
    MemoryStream client = Connect();
    ASSERT_TRUE(client.Write(sent).ok());
    ASSERT_TRUE(client.ShutdownWrite().ok());
    EXPECT_EQ(ReadFrame(client), "end");
    EXPECT_TRUE(absl::IsUnavailable(end_)) << end_;
    EXPECT_EQ(code_, 1006);
  }
}

GREENLET_TEST_F(Rfc6455, FramesWithoutDataAreLimited) {
  options_.max_control_frames = 100;
  std::string flood;
  for (int i = 0; i < 100; ++i) flood += ClientFrame(0x8a, "");
  EXPECT_EQ(AskAndPing(""), (Frames{"8a:last"}));
  EXPECT_EQ(Ask(flood + ClientFrame(0x89, "")), Refused(1008));
  flood = ClientFrame(0x01, "");
  for (int i = 0; i < 100; ++i) flood += ClientFrame(0x00, "");
  EXPECT_EQ(Ask(flood), Refused(1008));
  // Not if they come slowly.
  MemoryStream client = Connect();
  for (int i = 0; i < 300; ++i) {
    ASSERT_TRUE(client.Write(ClientFrame(0x89, "p")).ok());
    EXPECT_EQ(ReadFrame(client), "8a:p");
    Sleep(absl::Milliseconds(200));
  }
}

}  // namespace
}  // namespace grove::http
