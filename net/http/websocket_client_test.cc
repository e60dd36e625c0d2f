#include "grove/net/http/websocket_client.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <set>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/net/http/internal/websocket_core.h"
#include "grove/net/http/internal/websocket_handshake.h"
#include "grove/net/http/server.h"
#include "grove/net/http/websocket_test_util.h"
#include "grove/net/tcp.h"
#include "grove/net/testing/memory_stream.h"

// The client against a server that is bytes (RFC 6455, 4.1, 5, 7), and against ours.
namespace grove::http {
namespace {

using net::MemoryStream;
using net::MemoryStreamPair;

// "KEY" is what belongs there.
constexpr char kGood[] =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: "
    "Upgrade\r\nSec-WebSocket-Accept: KEY\r\n\r\n";

// Of a connection that is a WebSocket already.
WebSocket Over(net::Stream& stream) {
  const auto core = std::make_shared<http_internal::WebSocketCore>(/*is_client=*/true,
                                                                   WebSocketOptions());
  core->Open(&stream, nullptr, {}, {});
  return http_internal::WebSocketCore::Wrap(core);
}

TEST(WebSocketDeathTest, TwoThatReceiveAtOnceAreAFatalError) {
  EXPECT_DEATH(
      {
        HubScope scope;
        MemoryStreamPair pair;
        WebSocket ws = Over(pair.near);
        const Greenlet<> first = Spawn([&] { ws.Receive().status().IgnoreError(); });
        Yield();
        ws.Receive().status().IgnoreError();
      },
      "two greenlets receive from the WebSocket of memory.far at once");
}

TEST(WebSocketDeathTest, ItsEndWhileOneReceivesIsAFatalError) {
  EXPECT_DEATH(
      {
        HubScope scope;
        MemoryStreamPair pair;
        std::optional<WebSocket> ws = Over(pair.near);
        const Greenlet<> first = Spawn([&] { ws->Receive().status().IgnoreError(); });
        Yield();
        ws.reset();
      },
      "a WebSocket is destroyed while a greenlet uses it");
}

struct Asked {
  absl::StatusOr<WebSocket> ws = absl::UnknownError("nothing");
  std::string request;
  MemoryStream server;
};

Asked Connect(absl::string_view answer, const WebSocketClientOptions& options = {}) {
  MemoryStreamPair pair;
  Asked asked;
  const Greenlet<> server = Spawn([&] {
    asked.request = ReadThrough(pair.far, "\r\n\r\n");
    const absl::string_view field = "Sec-WebSocket-Key: ";
    const size_t at = asked.request.find(std::string(field));
    ASSERT_NE(at, asked.request.npos);
    const std::string key = asked.request.substr(at + field.size(), 24);
    EXPECT_TRUE(http_internal::IsWebSocketKey(key)) << key;
    ASSERT_TRUE(
        pair.far
            .Write(absl::StrReplaceAll(answer, {{"KEY", http_internal::AcceptOf(key)}}))
            .ok());
    if (!absl::StrContains(answer, "\r\n\r\n")) pair.far.Close();
  });
  asked.ws = ConnectWebSocket(std::make_unique<MemoryStream>(std::move(pair.near)),
                              "example.org:81", "/chat?a=b", options);
  server.Join();
  asked.server = std::move(pair.far);
  return asked;
}

// 4.1.
GREENLET_TEST(WebSocketClient, TheRequest) {
  const Asked asked = Connect(kGood, {.headers = {{"Origin", "http://example.org"}}});
  ASSERT_TRUE(asked.ws.ok()) << asked.ws.status();
  EXPECT_TRUE(absl::StartsWith(
      asked.request,
      "GET /chat?a=b HTTP/1.1\r\nHost: example.org:81\r\nUpgrade: websocket\r\n"));
  EXPECT_TRUE(absl::StrContains(asked.request, "\r\nConnection: Upgrade\r\n"));
  EXPECT_TRUE(absl::StrContains(asked.request, "\r\nSec-WebSocket-Version: 13\r\n"));
  EXPECT_TRUE(absl::StrContains(asked.request, "\r\nOrigin: http://example.org\r\n"));
  EXPECT_FALSE(absl::StrContains(asked.request, "Extensions"));
  // Another key each time.
  std::set<std::string> keys;
  for (int i = 0; i < 20; ++i) keys.insert(Connect(kGood).request);
  EXPECT_EQ(keys.size(), 20u);
}

GREENLET_TEST(WebSocketClient, AnswersThatAreNoHandshakeAreRefused) {
  const auto changed = [](absl::string_view from, absl::string_view to) {
    std::string text = absl::StrReplaceAll(kGood, {{from, to}});
    EXPECT_NE(text, kGood) << from;
    return text;
  };
  for (const std::string& answer :
       {changed("HTTP/1.1", "HTTP/1.0"), changed("HTTP/1.1", "HTTP/2"),
        changed("101 ", "1o1 "), changed("101 ", "1011 "),
        changed("Upgrade: websocket", "Upgrade: other"),
        changed("Upgrade: websocket\r\n", ""), changed("Connection: Upgrade\r\n", ""),
        changed("Connection: Upgrade", "Connection: close"), changed("KEY", "KEYx"),
        changed("KEY", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        changed("Sec-WebSocket-Accept: KEY\r\n", ""),
        changed("KEY", "KEY\r\nSec-WebSocket-Accept: KEY"),
        changed("KEY", "KEY\r\nSec-WebSocket-Protocol: chat"),
        changed("KEY", "KEY\r\nSec-WebSocket-Extensions: permessage-deflate"),
        changed("KEY", "KEY\r\nno field"), changed("KEY", "KEY\r\nbad name: x"),
        changed("KEY", "KEY\r\nX: a\x01"), changed("KEY", "KEY\r\n folded: x")}) {
    const Asked asked = Connect(answer);
    EXPECT_TRUE(absl::IsInvalidArgument(asked.ws.status())) << asked.ws.status() << "\n"
                                                            << answer;
  }
  EXPECT_TRUE(
      absl::IsFailedPrecondition(Connect("HTTP/1.1 403 Forbidden\r\n\r\n").ws.status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(
      Connect("HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n").ws.status()));
  EXPECT_TRUE(absl::IsOutOfRange(Connect("HTTP/1.1 101").ws.status()));
  EXPECT_TRUE(absl::IsResourceExhausted(
      Connect(absl::StrCat("HTTP/1.1 101 x\r\nX: ", std::string(20'000, 'x'), "\r\n\r\n"))
          .ws.status()));
}

GREENLET_TEST(WebSocketClient, WhatIsAgreedOn) {
  WebSocketClientOptions options;
  options.socket.subprotocols = {"v2", "v1"};
  options.socket.deflate.enabled = true;
  const auto answer = [](absl::string_view fields) {
    return absl::StrReplaceAll(kGood, {{"KEY", absl::StrCat("KEY", fields)}});
  };
  Asked asked = Connect(
      answer("\r\nSec-WebSocket-Protocol: v1\r\nSec-WebSocket-Extensions: "
             "permessage-deflate; server_no_context_takeover; server_max_window_bits=12"),
      options);
  ASSERT_TRUE(asked.ws.ok()) << asked.ws.status();
  EXPECT_TRUE(absl::StrContains(asked.request, "\r\nSec-WebSocket-Protocol: v2, v1\r\n"));
  EXPECT_EQ(asked.ws->subprotocol(), "v1");
  EXPECT_TRUE(asked.ws->compresses());
  // Less is agreed on than was offered.
  asked = Connect(kGood, options);
  ASSERT_TRUE(asked.ws.ok()) << asked.ws.status();
  EXPECT_EQ(asked.ws->subprotocol(), "");
  EXPECT_FALSE(asked.ws->compresses());
  for (absl::string_view fields :
       {"\r\nSec-WebSocket-Protocol: v3", "\r\nSec-WebSocket-Protocol: v1, v2",
        "\r\nSec-WebSocket-Extensions: other",
        "\r\nSec-WebSocket-Extensions: permessage-deflate",  // with a context
        "\r\nSec-WebSocket-Extensions: permessage-deflate, permessage-deflate"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(Connect(answer(fields), options).ws.status()))
        << fields;
  }
}

// 5.1, 5.3, 10.3: each frame with a mask of its own.
GREENLET_TEST(WebSocketClient, Masks) {
  Asked asked = Connect(kGood);
  ASSERT_TRUE(asked.ws.ok());
  std::set<std::string> masks;
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(asked.ws->SendText("Hello").ok());
    const std::string frame = ReadBytes(asked.server, 11);
    masks.insert(frame.substr(2, 4));
    EXPECT_EQ(frame.substr(0, 2), "\x81\x85");
  }
  EXPECT_GT(masks.size(), 195u);
  for (const size_t size : {0, 126, 5000, 30'000}) {
    ASSERT_TRUE(asked.ws->SendBinary(std::string(size, 'd')).ok());
    EXPECT_EQ(ReadFrame(asked.server, true), "82:" + std::string(size, 'd'));
  }
  ASSERT_TRUE(asked.ws->Ping("p").ok());
  EXPECT_EQ(ReadFrame(asked.server, true), "89:p");
}

// 5.1: a server does not.
GREENLET_TEST(WebSocketClient, AServersMaskIsRefused) {
  Asked asked = Connect(absl::StrCat(kGood, ClientFrame(0x81, "Hello")));
  ASSERT_TRUE(asked.ws.ok());
  EXPECT_TRUE(absl::IsInvalidArgument(asked.ws->Receive().status()));
  EXPECT_EQ(ReadFrame(asked.server, true), "88:" + CloseOf(1002));
}

GREENLET_TEST(WebSocketClient, WhatCameBehindTheAnswerIsTheFirstMessage) {
  Asked asked = Connect(absl::StrCat(kGood, RawFrame(0x81, "at once", false)));
  ASSERT_TRUE(asked.ws.ok());
  EXPECT_EQ((*asked.ws->Receive())->data, "at once");
}

// 7.1.1: the server ends the connection.
GREENLET_TEST(WebSocketClient, CloseWaitsForTheServersEnd) {
  Asked asked = Connect(kGood);
  ASSERT_TRUE(asked.ws.ok());
  bool closed = false;
  const Greenlet<> close = Spawn([&] {
    EXPECT_TRUE(asked.ws->Close(1000, "bye").ok());
    closed = true;
  });
  EXPECT_EQ(ReadFrame(asked.server, true), "88:" + CloseOf(1000, "bye"));
  ASSERT_TRUE(asked.server.Write(RawFrame(0x88, CloseOf(1000), false)).ok());
  for (int i = 0; i < 10; ++i) Yield();
  EXPECT_FALSE(closed);
  asked.server.Close();
  close.Join();
  EXPECT_EQ(asked.ws->close_code(), 1000);
}

GREENLET_TEST(WebSocketClient, ArgumentsThatAreNoneAreRefused) {
  for (absl::string_view url :
       {"", "http://a/", "wss://a/", "ws:/a", "ws://", "ws:///x", "ws://u@a/",
        "ws://a:0/", "ws://a:65536/", "ws://a:+1/", "ws://[::1/", "ws://a/ b",
        "ws://a/#f", "ws://a/\r\nX: y"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(DialWebSocket(url).status())) << url;
  }
  MemoryStreamPair pair;
  const auto connect = [](absl::string_view host, absl::string_view target,
                          WebSocketClientOptions options = {}) {
    MemoryStreamPair pair;
    return ConnectWebSocket(std::make_unique<MemoryStream>(std::move(pair.near)), host,
                            target, options)
        .status();
  };
  EXPECT_TRUE(absl::IsInvalidArgument(connect("a\r\nX: y", "/")));
  EXPECT_TRUE(absl::IsInvalidArgument(connect("a", "x")));
  EXPECT_TRUE(absl::IsInvalidArgument(connect("a", "/ x")));
  EXPECT_TRUE(
      absl::IsInvalidArgument(connect("a", "/", {.headers = {{"X", "a\r\nY: b"}}})));
  EXPECT_TRUE(
      absl::IsInvalidArgument(connect("a", "/", {.socket = {.subprotocols = {"a, b"}}})));
}

GREENLET_TEST(WebSocketClient, AServerThatDoesNotAnswerIsGivenUp) {
  MemoryStreamPair pair;
  const absl::Status status =
      ConnectWebSocket(std::make_unique<MemoryStream>(std::move(pair.near)), "a", "/")
          .status();
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
}

class WebSocketClientOverTcp : public GreenletTest {
 protected:
  GreenletTestOptions Options() const override { return {.clock = Clock::Real()}; }
};

GREENLET_TEST_F(WebSocketClientOverTcp, Dials) {
  HttpServer server(*net::TcpListener::Listen(*net::Address::Parse("127.0.0.1:0")),
                    [](Request& request, ResponseWriter& response) {
                      EXPECT_EQ(request.target(), "/a?b");
                      absl::StatusOr<WebSocket> ws = AcceptWebSocket(request, response);
                      if (!ws.ok()) return;
                      absl::StatusOr<std::optional<WebSocketMessage>> m = ws->Receive();
                      if (!m.ok() || !m->has_value()) return;
                      EXPECT_TRUE(ws->SendText((*m)->data).ok());
                      EXPECT_TRUE(ws->Close(4001, "that was all").ok());
                    });
  server.Start();
  absl::StatusOr<WebSocket> ws = DialWebSocket(
      absl::StrCat("ws://", server.connections().address().ToString(), "/a?b"));
  ASSERT_TRUE(ws.ok()) << ws.status();
  const std::string large(300'000, 'l');
  ASSERT_TRUE(ws->SendText(large).ok());
  EXPECT_TRUE((*ws->Receive())->data == large);
  EXPECT_FALSE(ws->Receive()->has_value());
  EXPECT_EQ(ws->close_code(), 4001);
  EXPECT_EQ(ws->close_reason(), "that was all");
  EXPECT_TRUE(ws->Close().ok());
  EXPECT_EQ(server.Stop(absl::Seconds(30)).cut, 0u);
}

}  // namespace
}  // namespace grove::http
