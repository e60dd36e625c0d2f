#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grove/green/greenlet.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/hub/clock.h"
#include "grove/net/http/http_test_util.h"

// Clients that mean no good, of an HttpServer with the limits that it has by default:
// each is cut or refused in time, what it costs is bounded, and others are answered
// meanwhile.
namespace grove::http {
namespace {

using net::MemoryStream;

class BadClientTest : public HttpTest {
 protected:
  static void Handle(Request& request, ResponseWriter& response) {
    if (request.path() == "/large") {
      response.Send(std::string(10 << 20, 'x')).IgnoreError();
      return;
    }
    if (request.method() == "POST") {
      char buffer[4096];
      for (;;) {
        const absl::StatusOr<size_t> n = request.body().Read(absl::MakeSpan(buffer));
        if (!n.ok()) return;
        if (*n == 0) break;
      }
    }
    response.Send("hello").IgnoreError();
  }
  void SetUp() override { begin_ = ThisHub().Now(); }
  absl::Duration Elapsed() { return absl::Nanoseconds(ThisHub().Now() - begin_); }
  void ExpectOthersAreAnswered() {
    const absl::Duration before = Elapsed();
    EXPECT_EQ(AskGet("/").body, "hello");
    EXPECT_EQ(Elapsed(), before);
  }
  // Until the server has let go of it.
  void WaitUntilCut(size_t left = 0) {
    while (server_->connections().active() > left && Elapsed() < absl::Hours(2)) {
      Sleep(absl::Seconds(1));
    }
    EXPECT_EQ(server_->connections().active(), left);
  }

  MonotonicNanos begin_ = 0;
};

// Request smuggling: whatever two readers could take in two ways is refused, the
// connection ends, and what comes behind it is no request.
GREENLET_TEST_F(BadClientTest, WhatCouldBeReadInTwoWaysIsRefused) {
  int smuggled = 0;
  Start([&](Request& request, ResponseWriter& response) {
    if (request.path() == "/smuggled") ++smuggled;
    Handle(request, response);
  });
  const std::string inner = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
  const std::string chunked = "Transfer-Encoding: chunked\r\n";
  struct Vector {
    const char* what;
    std::string fields, body;
  };
  for (const Vector& v : std::vector<Vector>{
           {"CL and TE", "Content-Length: 4\r\n" + chunked, "0\r\n\r\n"},
           {"TE and CL", chunked + "Content-Length: 5\r\n", "0\r\n\r\n"},
           {"CL twice", "Content-Length: 0\r\nContent-Length: 43\r\n", ""},
           {"a list of CL", "Content-Length: 0, 0\r\n", ""},
           {"negative CL", "Content-Length: -1\r\n", ""},
           {"CL with a sign", "Content-Length: +0\r\n", ""},
           {"huge CL", "Content-Length: 18446744073709551616\r\n", ""},
           {"a blank before the colon", "Content-Length : 0\r\n", ""},
           {"TE twice", chunked + "Transfer-Encoding: identity\r\n", "0\r\n\r\n"},
           {"TE behind a control character",
            "Transfer-Encoding: \x0b"
            "chunked\r\n",
            "0\r\n\r\n"},
           {"folded TE", "Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n"},
           {"folded field", "X: a\r\n Content-Length: 43\r\n", ""},
           {"bare CR", "X: a\rContent-Length: 43\r\n", ""},
           {"bare LF", "X: a\nContent-Length: 0\r\n", ""},
           {"a second Host", "Host: b\r\n", ""},
           {"a negative chunk", chunked, "-1\r\n"},
           {"a huge chunk", chunked, "10000000000000000\r\n"},
           {"a chunk of a hexadecimal prefix", chunked, "0x0\r\n\r\n"},
           {"a chunk that ends with LF", chunked, "0\n\r\n"},
           {"a bare LF in an extension", chunked, "0;\n\r\n"},
           {"a bare CR in an extension", chunked, "0;a\rb\r\n\r\n"},
           {"more data than its chunk", chunked, "1\r\nab\r\n0\r\n\r\n"},
       }) {
    const size_t before = AllocatedMemory();
    const Answer answer = Ask(
        absl::StrCat("POST / HTTP/1.1\r\nHost: a\r\n", v.fields, "\r\n", v.body, inner));
    EXPECT_TRUE(answer.status() == 400 || answer.status() == 501) << v.what;
    EXPECT_TRUE(answer.Has("Connection: close")) << v.what;
    EXPECT_EQ(answer.body.find("HTTP/1.1"), answer.body.npos) << v.what;
    EXPECT_LE(AllocatedMemory(), before + (64 << 10)) << v.what;
    ExpectOthersAreAnswered();
  }
  EXPECT_EQ(smuggled, 0);
  EXPECT_EQ(server_->statistics().refused, 22u);
}

GREENLET_TEST_F(BadClientTest, AHeadByDripsIsRefusedInTime) {
  Start(&Handle);
  std::vector<MemoryStream> clients;
  std::vector<Greenlet<>> drips;
  for (int i = 0; i < 100; ++i) clients.push_back(Connect());
  for (MemoryStream& client : clients) {
    drips.push_back(Spawn([&] {
      client.Write("GET / HTTP/1.1\r\nHost: a\r\n").IgnoreError();
      // A whole field now and then, as slowloris sends.
      while (client.Write("X-a: b\r\n").ok()) Sleep(absl::Seconds(3));
    }));
  }
  Sleep(absl::Seconds(5));
  ExpectOthersAreAnswered();
  EXPECT_EQ(server_->connections().active(), 100u);
  WaitUntilCut();
  EXPECT_LE(Elapsed(), absl::Seconds(20));
  EXPECT_EQ(server_->statistics().timed_out, 100u);
  for (Greenlet<>& drip : drips) drip.Join();
  for (MemoryStream& client : clients) {
    EXPECT_EQ(Parse(ReadToEnd(client)).status(), 408);
  }
}

GREENLET_TEST_F(BadClientTest, ABodyByDripsIsCut) {
  Start(&Handle);
  MemoryStream client = Connect();
  const Greenlet<> drip = Spawn([&] {
    client.Write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
        .IgnoreError();
    // Never so long without a byte that body_timeout would end it.
    while (client.Write("x").ok()) Sleep(absl::Seconds(10));
  });
  Sleep(absl::Seconds(15));
  ExpectOthersAreAnswered();
  EXPECT_EQ(server_->connections().active(), 1u);
  WaitUntilCut();
  EXPECT_LE(Elapsed(), absl::Minutes(2));
  EXPECT_EQ(server_->connections().statistics().cut_slow, 1u);
  drip.Join();
}

GREENLET_TEST_F(BadClientTest, ChunksByDripsAreCut) {
  Start(&Handle);
  MemoryStream client = Connect();
  const Greenlet<> drip = Spawn([&] {
    client.Write("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        .IgnoreError();
    while (client.Write("1\r\nx\r\n").ok()) Sleep(absl::Seconds(10));
  });
  WaitUntilCut();
  EXPECT_LE(Elapsed(), absl::Minutes(2));
  drip.Join();
}

GREENLET_TEST_F(BadClientTest, AResponseThatIsReadByDripsIsCut) {
  Start(&Handle, {}, {.capacity = 4096});
  MemoryStream client = Connect();
  Write(client, Get("/large"));
  bool cut = false;
  const Greenlet<> drip = Spawn([&] {
    char byte;
    for (;;) {
      const absl::StatusOr<size_t> n = client.Read(absl::MakeSpan(&byte, 1));
      if (!n.ok() || *n == 0) break;
      Sleep(absl::Seconds(1));
    }
    cut = true;
  });
  Sleep(absl::Seconds(15));
  ExpectOthersAreAnswered();
  WaitUntilCut();
  EXPECT_LE(Elapsed(), absl::Minutes(2));
  EXPECT_EQ(server_->connections().statistics().cut_slow, 1u);
  client.Close();
  drip.Join();
  EXPECT_TRUE(cut);
}

GREENLET_TEST_F(BadClientTest, AResponseThatIsNotReadAtAllIsCutAndHoldsLittle) {
  Start(
      [](Request&, ResponseWriter& response) {
        const std::string piece(10'000, 'x');
        while (response.Write(piece).ok()) {
        }
      },
      {}, {.capacity = 4096});
  const size_t before = AllocatedMemory();
  std::vector<MemoryStream> clients;
  for (int i = 0; i < 50; ++i) {
    clients.push_back(Connect());
    Write(clients.back(), Get("/"));
  }
  Sleep(absl::Seconds(10));
  EXPECT_EQ(server_->connections().active(), 50u);
  // A response without an end holds a buffer, not itself.
  EXPECT_LE(AllocatedMemory() - before, size_t{50} * (96 << 10));
  WaitUntilCut();
  EXPECT_LE(Elapsed(), absl::Minutes(5));
}

GREENLET_TEST_F(BadClientTest, AHeadWithoutAnEndIsRefusedAndHoldsLittle) {
  struct Bomb {
    std::string begin, more;
    int status;
  };
  Start(&Handle);
  for (const Bomb& bomb : std::vector<Bomb>{
           {"GET /", std::string(1000, 'a'), 414},
           {"GET / HTTP/1.1\r\nHost: a\r\nX: ", std::string(1000, 'a'), 431},
           {"GET / HTTP/1.1\r\nHost: a\r\n", std::string(1000, 'a'), 431},
           {"GET / HTTP/1.1\r\nHost: a\r\n", "X: \r\n", 431},
           {"GET / HTTP/1.1\r\nHost: a\r\n", "Cookie: " + std::string(1000, 'a') + "\r\n",
            431},
       }) {
    const size_t before = AllocatedMemory();
    MemoryStream client = Connect();
    size_t sent = bomb.begin.size();
    size_t most = 0;
    Write(client, bomb.begin);
    while (client.unread() == 0 && sent < (1 << 20) && client.Write(bomb.more).ok()) {
      sent += bomb.more.size();
      Yield();
      most = std::max(most, AllocatedMemory());
    }
    EXPECT_LE(sent, size_t{64} << 10) << bomb.more.substr(0, 10);
    EXPECT_LE(most, before + (192 << 10));
    ASSERT_TRUE(client.ShutdownWrite().ok());
    EXPECT_EQ(Parse(ReadToEnd(client)).status(), bomb.status);
    ExpectOthersAreAnswered();
  }
}

GREENLET_TEST_F(BadClientTest, ChunkExtensionsAndTrailersWithoutAnEndAreRefused) {
  Start(&Handle);
  const std::string head =
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (const char* begin : {"1;", "1;a=", "0\r\n", "0\r\nX: "}) {
    MemoryStream client = Connect();
    Write(client, head + begin);
    size_t sent = 0;
    while (client.unread() == 0 && sent < (1 << 20) &&
           client.Write(std::string(100, 'a')).ok()) {
      sent += 100;
      Yield();
    }
    EXPECT_LE(sent, size_t{32} << 10) << begin;
    ASSERT_TRUE(client.ShutdownWrite().ok());
    EXPECT_EQ(Parse(ReadToEnd(client)).status(), 400) << begin;
  }
  ExpectOthersAreAnswered();
}

GREENLET_TEST_F(BadClientTest, RequestsWithoutEndWhoseAnswersAreNotReadAreCut) {
  Start(&Handle, {}, {.capacity = 16 << 10});
  const size_t before = AllocatedMemory();
  MemoryStream client = Connect();
  std::string requests;
  for (int i = 0; i < 100; ++i) requests += Get("/");
  const Greenlet<> writer = Spawn([&] {
    while (client.Write(requests).ok()) {
    }
  });
  Sleep(absl::Seconds(10));
  // The server reads no further than it can answer.
  EXPECT_LE(client.activity().bytes_written, size_t{128} << 10);
  EXPECT_LE(AllocatedMemory() - before, size_t{256} << 10);
  ExpectOthersAreAnswered();
  WaitUntilCut();
  EXPECT_LE(Elapsed(), absl::Minutes(5));
  client.Close();
  writer.Join();
}

GREENLET_TEST_F(BadClientTest, ABodyThatNobodyWantsIsNotReadForEver) {
  Start([](Request&, ResponseWriter& response) { response.Send("hello").IgnoreError(); });
  MemoryStream client = Connect();
  const Greenlet<> writer = Spawn([&] {
    client.Write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 60000000\r\n\r\n")
        .IgnoreError();
    const std::string piece(10'000, 'x');
    while (client.Write(piece).ok()) Sleep(absl::Milliseconds(100));
  });
  const Answer answer = Parse(ReadThrough(client, "hello"));
  EXPECT_TRUE(answer.Has("Connection: close")) << answer.head;
  WaitUntilCut();
  EXPECT_LE(Elapsed(), absl::Seconds(10));
  client.Close();
  writer.Join();
}

GREENLET_TEST_F(BadClientTest, HalfAHeadOfEachOfManyHoldsLittle) {
  Start(&Handle);
  ExpectOthersAreAnswered();
  const size_t before = AllocatedMemory();
  std::vector<MemoryStream> clients;
  for (int i = 0; i < 500; ++i) {
    clients.push_back(Connect());
    Write(clients.back(), "GET / HTTP/1.1\r\nHost: a\r\nX: y");
  }
  Sleep(absl::Seconds(1));
  EXPECT_EQ(server_->connections().active(), 500u);
  EXPECT_LE(AllocatedMemory() - before, size_t{500} * (32 << 10));
  WaitUntilCut();
  EXPECT_LE(Elapsed(), absl::Seconds(20));
}

}  // namespace
}  // namespace grove::http
