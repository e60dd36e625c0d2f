#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "grove/green/greenlet.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/net/http/http_test_util.h"
#include "grove/net/http/websocket.h"
#include "grove/net/http/websocket_test_util.h"

// Clients of WebSocket that mean no good, with the limits that there are by default: each
// is refused by a close frame or cut, what it costs is bounded, and another one is
// answered meanwhile. (What RFC 6455 says of each frame is in rfc6455_test.cc.)
namespace grove::http {
namespace {

using net::MemoryStream;

class BadWebSocketClientTest : public HttpTest {
 protected:
  void StartEcho(WebSocketOptions options = {},
                 net::MemoryStreamOptions stream = {.capacity = 64 << 10}) {
    Start(
        [options](Request& request, ResponseWriter& response) {
          absl::StatusOr<WebSocket> ws = AcceptWebSocket(request, response, options);
          if (!ws.ok()) return;
          for (;;) {
            const auto m = ws->Receive();
            if (!m.ok() || !m->has_value()) return;
            if (!ws->Send((*m)->type, (*m)->data).ok()) return;
          }
        },
        {}, std::move(stream));
    other_ = ConnectWebSocket();
  }
  void TearDown() override {
    other_.Close();
    HttpTest::TearDown();
  }
  MemoryStream ConnectWebSocket(absl::string_view fields = "") {
    MemoryStream client = Connect();
    Write(client, UpgradeRequest(fields));
    EXPECT_TRUE(
        absl::StartsWith(HttpTest::ReadThrough(client, "\r\n\r\n"), "HTTP/1.1 101 "));
    return client;
  }
  void ExpectTheOtherIsAnswered() {
    const absl::Duration before = Elapsed();
    Write(other_, ClientFrame(0x81, "here"));
    EXPECT_EQ(ReadFrame(other_), "81:here");
    EXPECT_EQ(Elapsed(), before);
  }

  MemoryStream other_;
};

GREENLET_TEST_F(BadWebSocketClientTest, WhatIsMalformedIsRefused) {
  StartEcho();
  struct Case {
    const char* what;
    std::string sent;
    int code;
  };
  for (const Case& c : std::vector<Case>{
           {"no mask", RawFrame(0x81, "a", /*masked=*/false), 1002},
           {"a reserved bit", ClientFrame(0xc1, "a"), 1002},
           {"an unknown opcode", ClientFrame(0x83, "a"), 1002},
           {"a continuation of nothing", ClientFrame(0x80, "a"), 1002},
           {"a message within a message", ClientFrame(0x01, "a") + ClientFrame(0x81, "b"),
            1002},
           {"a ping in fragments", ClientFrame(0x09, "a"), 1002},
           {"a large ping", ClientFrame(0x89, std::string(126, 'a')), 1002},
           {"a close frame of one byte", ClientFrame(0x88, "a"), 1002},
           {"a code that is none", ClientFrame(0x88, CloseOf(1006)), 1002},
           {"a length that could be shorter", std::string("\x81\xfe\0\1mask", 8) + "a",
            1002},
           {"half a character", ClientFrame(0x81, "\xc3"), 1007},
           {"one that is too long", ClientFrame(0x81, "\xc0\x80"), 1007},
           {"a surrogate", ClientFrame(0x81, "\xed\xa0\x80"), 1007},
           {"in the second fragment",
            ClientFrame(0x01, "\xc3") + ClientFrame(0x80, "\x28"), 1007},
           {"in the reason of a close frame", ClientFrame(0x88, CloseOf(1000, "\xff")),
            1007},
       }) {
    const size_t before = AllocatedMemory();
    MemoryStream client = ConnectWebSocket();
    Write(client, c.sent);
    EXPECT_EQ(ReadFrame(client), "88:" + CloseOf(c.code)) << c.what;
    EXPECT_LE(AllocatedMemory(), before + (128 << 10)) << c.what;
    ExpectTheOtherIsAnswered();
    client.Close();
  }
}

GREENLET_TEST_F(BadWebSocketClientTest, FloodsOfWhatBringsNothingAreRefused) {
  StartEcho();
  for (const auto& [begin, frame] : std::vector<std::pair<std::string, std::string>>{
           {"", ClientFrame(0x89, std::string(125, 'p'))},
           {"", ClientFrame(0x8a, "")},
           {ClientFrame(0x01, ""), ClientFrame(0x00, "")}}) {
    const size_t before = AllocatedMemory();
    MemoryStream client = ConnectWebSocket();
    Write(client, begin);
    // What is answered is not read.
    for (int sent = 0; sent < 20'000; ++sent) {
      client.Write(frame, absl::Seconds(1)).IgnoreError();
      if (sent % 100 == 0) Yield();
      if (sent == 500) ExpectTheOtherIsAnswered();
    }
    EXPECT_LE(AllocatedMemory(), before + (512 << 10));
    std::string last, next;
    while ((next = ReadFrame(client)) != "end" && !next.empty()) last = next;
    EXPECT_EQ(last, "88:" + CloseOf(1008));
    ExpectTheOtherIsAnswered();
    client.Close();
  }
}

GREENLET_TEST_F(BadWebSocketClientTest, AMessageWithoutAnEndIsRefused) {
  StartEcho();
  for (const std::string& begin :
       {ClientFrame(0x02, std::string(10'000, 'x')), ClientFrame(0x01, "x")}) {
    const size_t before = AllocatedMemory();
    MemoryStream client = ConnectWebSocket();
    Write(client, begin);
    const std::string more = ClientFrame(0x00, std::string(10'000, 'x'));
    size_t most = 0;
    int sent = 0;
    for (; sent < 1000 && client.unread() == 0 && client.Write(more).ok(); ++sent) {
      Yield();
      most = std::max(most, AllocatedMemory());
    }
    EXPECT_LE(sent, 120);
    EXPECT_LE(most, before + (4 << 20));  // a message of 1 MiB, as a string grows
    EXPECT_EQ(ReadFrame(client), "88:" + CloseOf(1009));
    ExpectTheOtherIsAnswered();
    client.Close();
  }
}

// 91 KB that are 14 MB.
GREENLET_TEST_F(BadWebSocketClientTest, ABombIsRefusedAsItIsUnpacked) {
  StartEcho({.deflate = {.enabled = true}});
  const size_t before = AllocatedMemory();
  MemoryStream client =
      ConnectWebSocket("Sec-WebSocket-Extensions: permessage-deflate\r\n");
  // A block of fixed codes: "x", and then 258 of it again and again: a length of 258 is
  // 11000101, a distance of 1 is 00000.
  std::string bits =
      "110"
      "10101000";  // last block, fixed; 'x' is 0x30 + 0x78
  for (int i = 0; i < 56'000; ++i) bits += "1100010100000";
  std::string packed;
  for (size_t i = 0; i + 8 <= bits.size(); i += 8) {
    int byte = 0;
    for (size_t k = 0; k < 8; ++k) byte |= (bits[i + k] - '0') << k;
    packed.push_back(static_cast<char>(byte));
  }
  const Greenlet<> sender =
      Spawn([&] { client.Write(ClientFrame(0xc2, packed)).IgnoreError(); });
  EXPECT_EQ(ReadFrame(client), "88:" + CloseOf(1009));
  EXPECT_LE(AllocatedMemory(), before + (4 << 20));
  ExpectTheOtherIsAnswered();
  client.Close();
  sender.Join();
}

// Each an empty stored block.
GREENLET_TEST_F(BadWebSocketClientTest, FragmentsThatUnpackToNothingAreCounted) {
  StartEcho({.deflate = {.enabled = true}});
  MemoryStream client =
      ConnectWebSocket("Sec-WebSocket-Extensions: permessage-deflate\r\n");
  const std::string nothing("\x00\x00\x00\xff\xff", 5);
  Write(client, ClientFrame(0x42, nothing));
  const Greenlet<> sender = Spawn([&] {
    for (int i = 0; i < 20'000; ++i) {
      if (!client.Write(ClientFrame(0x00, nothing), absl::Seconds(1)).ok()) return;
    }
  });
  EXPECT_EQ(ReadFrame(client), "88:" + CloseOf(1008));
  ExpectTheOtherIsAnswered();
  client.Close();
  sender.Join();
}

GREENLET_TEST_F(BadWebSocketClientTest, OneThatDoesNotReadIsCut) {
  StartEcho({}, {.capacity = 4096});
  const size_t before = AllocatedMemory();
  MemoryStream client = ConnectWebSocket();
  const Greenlet<> sender = Spawn([&] {
    const std::string frame = ClientFrame(0x81, std::string(3000, 'x'));
    while (client.Write(frame).ok()) {
    }
  });
  Sleep(absl::Seconds(10));
  EXPECT_LE(AllocatedMemory(), before + (256 << 10));
  ExpectTheOtherIsAnswered();
  for (int i = 0; i < 6; ++i) {
    Sleep(absl::Seconds(20));
    ExpectTheOtherIsAnswered();
  }
  EXPECT_EQ(server_->connections().active(), 1u);
  client.Close();
  sender.Join();
}

// A message a byte at a time costs no more than a connection that is quiet.
GREENLET_TEST_F(BadWebSocketClientTest, MessagesByDripsHoldLittle) {
  StartEcho();
  const size_t before = AllocatedMemory();
  std::vector<MemoryStream> clients;
  for (int i = 0; i < 100; ++i) {
    clients.push_back(ConnectWebSocket());
    Write(clients.back(), ClientFrame(0x82, std::string(1000, 'x')).substr(0, 10));
  }
  const std::string drip(1, 'x');
  for (int i = 0; i < 100; ++i) {
    for (MemoryStream& client : clients) Write(client, drip);
    Sleep(absl::Seconds(10));
    ExpectTheOtherIsAnswered();
  }
  EXPECT_LE(AllocatedMemory() - before, size_t{100} * (48 << 10));
}

}  // namespace
}  // namespace grove::http
