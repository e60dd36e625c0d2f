#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "grove/green/greenlet.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/net/http/server.h"
#include "grove/net/testing/memory_listener.h"

// RFC 9110, 7.8: a connection goes on with another protocol.
namespace grove::http {
namespace {

using net::MemoryListener;
using net::MemoryStream;

constexpr char kAsk[] =
    "GET /x HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: "
    "other/2, upper\r\n\r\n";
constexpr char kSwitched[] =
    "HTTP/1.1 101 Switching Protocols\r\nX: y\r\nUpgrade: upper\r\nConnection: "
    "Upgrade\r\n\r\n";

class UpgradeTest : public GreenletTest {
 protected:
  void Start(Handler handler, HttpServerOptions options = {}) {
    listener_.emplace();
    server_ =
        std::make_unique<HttpServer>(*listener_, std::move(handler), std::move(options));
    server_->Start();
  }
  void TearDown() override {
    server_.reset();
    listener_.reset();
  }
  static std::string ReadThrough(net::Stream& stream, absl::string_view end) {
    std::string text;
    char c;
    while (!absl::EndsWith(text, end)) {
      const absl::StatusOr<size_t> n = stream.Read(absl::MakeSpan(&c, 1));
      if (!n.ok() || *n == 0) return text + "<end>";
      text.push_back(c);
    }
    const size_t at = text.find("Date: ");
    if (at != text.npos) text.erase(at, text.find('\n', at) + 1 - at);
    return text;
  }
  // What is sent comes back in capitals, until the end.
  static void Upper(Request&, ResponseWriter& response) {
    response.headers().Add("X", "y");
    // None of these belongs there.
    for (absl::string_view name : {"Connection", "Upgrade", "Content-Length"}) {
      response.headers().Add(name, "7");
    }
    const absl::StatusOr<net::Stream*> stream = response.Upgrade("upper");
    if (!stream.ok()) {
      response.headers().Clear();
      return response.Send(400, "text/plain", stream.status().message()).IgnoreError();
    }
    EXPECT_TRUE(response.finished());
    EXPECT_EQ(response.status(), 101);
    EXPECT_TRUE(absl::IsFailedPrecondition(response.Send("body")));
    EXPECT_TRUE(absl::IsFailedPrecondition(response.Upgrade("upper").status()));
    char buffer[100];
    for (;;) {
      const absl::StatusOr<size_t> n = (*stream)->Read(absl::MakeSpan(buffer));
      if (!n.ok() || *n == 0) break;
      for (size_t i = 0; i < *n; ++i) buffer[i] = absl::ascii_toupper(buffer[i]);
      if (!(*stream)->Write({buffer, *n}).ok()) break;
    }
    (*stream)->Write("bye").IgnoreError();
  }

  std::optional<MemoryListener> listener_;
  std::unique_ptr<HttpServer> server_;
};

GREENLET_TEST_F(UpgradeTest, TheHandlerHasTheConnectionUntilItReturns) {
  Start(&Upper);
  MemoryStream client = *listener_->Connect();
  ASSERT_TRUE(client.Write(kAsk).ok());
  EXPECT_EQ(ReadThrough(client, "\r\n\r\n"), kSwitched);
  ASSERT_TRUE(client.Write("abc").ok());
  EXPECT_EQ(ReadThrough(client, "ABC"), "ABC");
  ASSERT_TRUE(client.ShutdownWrite().ok());
  EXPECT_EQ(ReadThrough(client, "never"), "bye<end>");
}

GREENLET_TEST_F(UpgradeTest, WhatCameBehindTheHeadComesFirst) {
  Start(&Upper);
  MemoryStream client = *listener_->Connect();
  ASSERT_TRUE(client.Write(absl::StrCat(kAsk, std::string(300, 'x'), "GET ")).ok());
  EXPECT_EQ(ReadThrough(client, "\r\n\r\n"), kSwitched);
  EXPECT_EQ(ReadThrough(client, "GET "), std::string(300, 'X') + "GET ");
}

GREENLET_TEST_F(UpgradeTest, ItGoesBehindTheResponsesBefore) {
  Start([](Request& request, ResponseWriter& response) {
    if (request.path() == "/x") return Upper(request, response);
    response.Send("first").IgnoreError();
  });
  MemoryStream client = *listener_->Connect();
  ASSERT_TRUE(
      client.Write(absl::StrCat("GET / HTTP/1.1\r\nHost: a\r\n\r\n", kAsk, "q")).ok());
  EXPECT_TRUE(absl::EndsWith(ReadThrough(client, "first"), "\r\n\r\nfirst"));
  EXPECT_EQ(ReadThrough(client, "\r\n\r\n"), kSwitched);
  EXPECT_EQ(ReadThrough(client, "Q"), "Q");
}

GREENLET_TEST_F(UpgradeTest, WhoHasNotAskedForItIsNotUpgraded) {
  Start(&Upper);
  for (absl::string_view request :
       {"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        // 7.8: without the connection option it is a proxy's, who has not understood it.
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: upper\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: upper2\r\n\r\n",
        "GET / HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: upper\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: "
        "upper\r\nContent-Length: 1\r\n\r\nb"}) {
    MemoryStream client = *listener_->Connect();
    ASSERT_TRUE(client.Write(request).ok());
    EXPECT_TRUE(absl::StartsWith(ReadThrough(client, "\r\n\r\n"),
                                 "HTTP/1.1 400 Bad Request\r\nContent-Type"))
        << request;
  }
}

GREENLET_TEST_F(UpgradeTest, NoHeaderGetsInThatIsNone) {
  Start([](Request&, ResponseWriter& response) {
    response.headers().Add("X", "y\r\nZ: z");
    EXPECT_TRUE(absl::IsInvalidArgument(response.Upgrade("upper").status()));
  });
  MemoryStream client = *listener_->Connect();
  ASSERT_TRUE(client.Write(kAsk).ok());
  EXPECT_TRUE(absl::StartsWith(ReadThrough(client, "\r\n\r\n"), "HTTP/1.1 500 "));
}

GREENLET_TEST_F(UpgradeTest, AQuietOneIsNotCut) {
  Start(&Upper);
  MemoryStream client = *listener_->Connect();
  ASSERT_TRUE(client.Write(kAsk).ok());
  EXPECT_EQ(ReadThrough(client, "\r\n\r\n"), kSwitched);
  // A byte in two hours is below every rate.
  for (int i = 0; i < 3; ++i) {
    Sleep(absl::Hours(2));
    ASSERT_TRUE(client.Write("a").ok());
    EXPECT_EQ(ReadThrough(client, "A"), "A");
  }
  EXPECT_EQ(server_->connections().statistics().cut_idle, 0u);
  EXPECT_EQ(server_->connections().statistics().cut_slow, 0u);
}

GREENLET_TEST_F(UpgradeTest, OneThatIsNotAnsweredIsNotSlow) {
  Start([](Request&, ResponseWriter& response) {
    net::Stream& stream = **response.Upgrade("upper");
    char buffer[100];
    for (;;) {
      const absl::StatusOr<size_t> n = stream.Read(absl::MakeSpan(buffer));
      if (!n.ok() || *n == 0) break;
    }
    stream.Write("end").IgnoreError();
  });
  MemoryStream client = *listener_->Connect();
  ASSERT_TRUE(client.Write(kAsk).ok());
  ReadThrough(client, "\r\n\r\n");
  for (int i = 0; i < 100; ++i) {
    Sleep(absl::Seconds(10));
    ASSERT_TRUE(client.Write("a").ok());
  }
  ASSERT_TRUE(client.ShutdownWrite().ok());
  EXPECT_EQ(ReadThrough(client, "end"), "end");
}

GREENLET_TEST_F(UpgradeTest, ADrainEndsReading) {
  Start(&Upper);
  MemoryStream client = *listener_->Connect();
  ASSERT_TRUE(client.Write(kAsk).ok());
  ReadThrough(client, "\r\n\r\n");
  const Greenlet<> stop = Spawn([&] {
    const net::StopReport report = server_->Stop(absl::Hours(1));
    EXPECT_EQ(report.cut, 0u);
  });
  EXPECT_EQ(ReadThrough(client, "bye"), "bye");
  client.Close();
  stop.Join();
}

GREENLET_TEST_F(UpgradeTest, ADrainIsToldOnce) {
  int told = 0;
  Start([&](Request&, ResponseWriter& response) {
    net::Stream& stream = **response.Upgrade("upper", [&] { ++told; });
    char c;
    EXPECT_TRUE(stream.Read(absl::MakeSpan(&c, 1)).ok());
  });
  MemoryStream client = *listener_->Connect();
  ASSERT_TRUE(client.Write(kAsk).ok());
  ReadThrough(client, "\r\n\r\n");
  const Greenlet<> stop = Spawn([&] { server_->Stop(absl::Hours(1)); });
  Yield();
  EXPECT_EQ(told, 1);
  const Greenlet<> again = Spawn([&] { server_->Stop(absl::Hours(1)); });
  Yield();
  EXPECT_EQ(told, 1);
  ASSERT_TRUE(client.Write("q").ok());
  client.Close();
  stop.Join();
  again.Join();
}

GREENLET_TEST_F(UpgradeTest, OneThatDoesNotHeedADrainIsKilled) {
  Start([&](Request&, ResponseWriter& response) {
    net::Stream& stream = **response.Upgrade("upper", [] {});
    char c;
    stream.Read(absl::MakeSpan(&c, 1)).IgnoreError();
    ADD_FAILURE() << "was not killed";
  });
  MemoryStream client = *listener_->Connect();
  ASSERT_TRUE(client.Write(kAsk).ok());
  ReadThrough(client, "\r\n\r\n");
  EXPECT_EQ(server_->Stop(absl::Seconds(3)).cut, 1u);
}

GREENLET_TEST_F(UpgradeTest, NobodyIsUpgradedDuringADrain) {
  Start([&](Request& request, ResponseWriter& response) {
    char c;
    if (request.path() == "/x") return Upper(request, response);
    request.body().Read(absl::MakeSpan(&c, 1)).IgnoreError();
    Sleep(absl::Seconds(1));
    response
        .Send(absl::StrCat(static_cast<int>(response.Upgrade("upper").status().code())))
        .IgnoreError();
  });
  MemoryStream client = *listener_->Connect();
  ASSERT_TRUE(client
                  .Write("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: "
                         "upper\r\n\r\n")
                  .ok());
  Yield();
  Yield();
  const Greenlet<> stop = Spawn([&] { server_->Stop(absl::Hours(1)); });
  const std::string answer = ReadThrough(client, "never");
  EXPECT_TRUE(absl::EndsWith(answer, "\r\n\r\n14<end>")) << answer;
  client.Close();
  stop.Join();
}

}  // namespace
}  // namespace grove::http
