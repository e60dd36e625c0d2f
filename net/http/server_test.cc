#include "grove/net/http/server.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "grove/green/greenlet.h"
#include "grove/green/sleep.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/green/timeout.h"
#include "grove/net/http/access_log.h"
#include "grove/net/http/http_test_util.h"
#include "grove/net/tcp.h"
#include "grove/net/testing/memory_listener.h"
#include "grove/sync/event.h"

// An HttpServer over memory, on the clock of the test: hours pass in no time.
namespace grove::http {
namespace {

using net::MemoryListener;
using net::MemoryStream;
using net::MemoryStreamOptions;
using net::StreamFault;

// Without the field Date.
std::string Undated(std::string text) {
  for (;;) {
    const size_t at = text.find("Date: ");
    if (at == text.npos) return text;
    text.erase(at, text.find('\n', at) + 1 - at);
  }
}

void Hello(Request&, ResponseWriter& response) {
  response.Send(200, "text/plain", "hello").IgnoreError();
}

constexpr char kHello[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";

// What is read here has no date.
class HttpServerTest : public HttpTest {
 protected:
  static std::string ReadThrough(net::Stream& stream, absl::string_view end) {
    return Undated(HttpTest::ReadThrough(stream, end));
  }
  static std::string ReadToEnd(net::Stream& stream) {
    return Undated(HttpTest::ReadToEnd(stream));
  }
  // The answer to one request that asks for the end of the connection.
  std::string Ask(absl::string_view request) {
    MemoryStream client = Connect();
    Write(client, request);
    return ReadToEnd(client);
  }
  std::string AskGet() { return Ask(Get("/", "Connection: close\r\n")); }
};

GREENLET_TEST_F(HttpServerTest, AConnectionGoesOn) {
  Start(&Hello);
  MemoryStream client = Connect();
  for (int i = 0; i < 3; ++i) {
    Write(client, Get("/"));
    EXPECT_EQ(ReadThrough(client, "hello"), kHello);
  }
  EXPECT_EQ(server_->connections().accepted(), 1u);
  EXPECT_EQ(server_->statistics().requests, 3u);
}

GREENLET_TEST_F(HttpServerTest, OneThatAsksForTheEndGetsIt) {
  Start(&Hello);
  EXPECT_EQ(AskGet(),
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: "
            "5\r\nConnection: close\r\n\r\nhello");
}

GREENLET_TEST_F(HttpServerTest, MaxRequestsEndsAConnection) {
  Start(&Hello, {.max_requests = 2});
  MemoryStream client = Connect();
  Write(client, Get("/") + Get("/") + Get("/"));
  const std::string all = ReadToEnd(client);
  EXPECT_TRUE(absl::StartsWith(all, kHello)) << all;
  EXPECT_TRUE(absl::EndsWith(all, "Connection: close\r\n\r\nhello")) << all;
  EXPECT_EQ(server_->statistics().requests, 2u);
}

GREENLET_TEST_F(HttpServerTest, PiecesThatAreFewHaveALength) {
  Start([](Request&, ResponseWriter& response) {
    EXPECT_TRUE(response.Write("ab").ok());
    EXPECT_TRUE(response.Write("c").ok());
  });
  EXPECT_EQ(AskGet(),
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc");
}

GREENLET_TEST_F(HttpServerTest, PiecesThatAreFlushedAreChunks) {
  Start([](Request&, ResponseWriter& response) {
    EXPECT_TRUE(response.Write("ab").ok());
    EXPECT_TRUE(response.Flush().ok());
    EXPECT_TRUE(response.head_sent());
    EXPECT_TRUE(response.Write("0123456789abcdef").ok());
    response.trailers().Add("Checksum", "17");
  });
  EXPECT_EQ(Ask(Get("/", "Connection: close\r\nTE: trailers\r\n")),
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: "
            "close\r\n\r\n2\r\nab\r\n10\r\n0123456789abcdef\r\n0\r\nChecksum: "
            "17\r\n\r\n");
  EXPECT_TRUE(absl::EndsWith(AskGet(), "0\r\n\r\n"));
  // HTTP/1.0 has no chunks.
  EXPECT_EQ(Ask("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
            "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nab0123456789abcdef");
}

GREENLET_TEST_F(HttpServerTest, LargeBodiesArriveWhole) {
  const std::string large(3 << 20, 'x');
  Start([&](Request& request, ResponseWriter& response) {
    if (request.path() == "/whole") return response.Send(large).IgnoreError();
    for (size_t i = 0; i < large.size(); i += 100'000) {
      EXPECT_TRUE(response.Write(large.substr(i, 100'000)).ok());
    }
  });
  MemoryStream client = Connect();
  Write(client, Get("/whole"));
  ReadThrough(client, "\r\n\r\n");
  std::string body(large.size(), 0);
  EXPECT_TRUE(client.ReadExactly(absl::MakeSpan(body)).ok());
  EXPECT_TRUE(body == large);
  Write(client, Get("/pieces", "Connection: close\r\n"));
  const std::string chunked = ReadToEnd(client);
  EXPECT_EQ(std::count(chunked.begin(), chunked.end(), 'x'),
            static_cast<ptrdiff_t>(large.size()));
  EXPECT_TRUE(absl::EndsWith(chunked, "x\r\n0\r\n\r\n"));
}

GREENLET_TEST_F(HttpServerTest, HeadHasTheLengthAndNoBody) {
  Start(&Hello);
  EXPECT_EQ(Ask("HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: "
            "5\r\nConnection: close\r\n\r\n");
}

GREENLET_TEST_F(HttpServerTest, NoContentHasNoBodyAndNoLength) {
  Start([](Request& request, ResponseWriter& response) {
    response.set_status(request.path() == "/204" ? 204 : 304);
    EXPECT_TRUE(absl::IsInvalidArgument(response.Send("body")));
    EXPECT_TRUE(absl::IsInvalidArgument(response.Write("body")));
    EXPECT_TRUE(response.Send("").ok());
  });
  EXPECT_EQ(Ask(Get("/204", "Connection: close\r\n")),
            "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(Ask(Get("/304", "Connection: close\r\n")),
            "HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n");
}

GREENLET_TEST_F(HttpServerTest, AContentLengthIsKeptTo) {
  Start([](Request& request, ResponseWriter& response) {
    response.headers().Set("Content-Length", "10");
    if (request.path() == "/less") {
      EXPECT_TRUE(response.Write("abc").ok());
      EXPECT_TRUE(response.Flush().ok());
    } else {
      EXPECT_TRUE(response.Flush().ok());
      EXPECT_TRUE(absl::IsInvalidArgument(response.Write("0123456789a")));
    }
  });
  for (const char* target : {"/less", "/more"}) {
    // The connection ends before what was promised is there, though it was to go on.
    MemoryStream client = Connect();
    Write(client, Get(target));
    const std::string answer = ReadToEnd(client);
    EXPECT_TRUE(absl::StartsWith(answer, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"))
        << answer;
    EXPECT_EQ(answer.substr(answer.find("\r\n\r\n") + 4),
              absl::string_view(target) == "/less" ? "abc" : "");
  }
}

GREENLET_TEST_F(HttpServerTest, NobodySplitsAResponse) {
  absl::Status status;
  Start([&](Request&, ResponseWriter& response) {
    response.headers().Add("X", "a\r\nSet-Cookie: b");
    status = response.Send("body");
  });
  const std::string answer = AskGet();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_TRUE(absl::StartsWith(answer, "HTTP/1.1 500 ")) << answer;
  EXPECT_FALSE(absl::StrContains(answer, "Set-Cookie"));
}

GREENLET_TEST_F(HttpServerTest, AHandlerThatSendsNothingAnswersWithNothing) {
  Start([](Request&, ResponseWriter&) {});
  EXPECT_EQ(AskGet(),
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
}

// --- bodies -----------------------------------------------------------------------

GREENLET_TEST_F(HttpServerTest, ContinueIsSaidWhenTheBodyIsRead) {
  Event read;
  Start([&](Request& request, ResponseWriter& response) {
    read.Wait();
    response.Send(*request.body().ReadAll(100)).IgnoreError();
  });
  MemoryStream client = Connect();
  Write(client,
        "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: "
        "3\r\n\r\n");
  Sleep(absl::Milliseconds(1));
  EXPECT_EQ(client.unread(), 0u);
  read.Set();
  EXPECT_EQ(ReadThrough(client, "\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  Write(client, "abc");
  EXPECT_EQ(ReadThrough(client, "abc"),
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc");
}

GREENLET_TEST_F(HttpServerTest, WhoDoesNotReadNeverSaysContinue) {
  Start([](Request&, ResponseWriter& response) {
    response.Send(403, "text/plain", "no").IgnoreError();
  });
  const std::string answer = Ask(
      "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
  EXPECT_TRUE(absl::StartsWith(answer, "HTTP/1.1 403 Forbidden\r\n")) << answer;
  EXPECT_TRUE(absl::EndsWith(answer, "Connection: close\r\n\r\nno")) << answer;
}

GREENLET_TEST_F(HttpServerTest, WhatIsNotReadIsDiscardedIfItIsNotTooMuch) {
  Start(&Hello, {.max_discard = 100});
  MemoryStream client = Connect();
  Write(client, Post(std::string(100, 'x')) + Get("/"));
  EXPECT_EQ(ReadThrough(client, "hello"), kHello);
  EXPECT_EQ(ReadThrough(client, "hello"), kHello);
  Write(client, Post(std::string(101, 'x')));
  EXPECT_TRUE(absl::EndsWith(ReadToEnd(client), "Connection: close\r\n\r\nhello"));
}

GREENLET_TEST_F(HttpServerTest, ChunksThatAreNotReadAreDiscardedUpToTheLimit) {
  Start(&Hello, {.max_discard = 100});
  const std::string head =
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
  MemoryStream client = Connect();
  Write(client, head + "3\r\nabc\r\n0\r\n\r\n" + Get("/"));
  EXPECT_EQ(ReadThrough(client, "hello"), kHello);
  EXPECT_EQ(ReadThrough(client, "hello"), kHello);
  Write(client, head + "ff\r\n" + std::string(255, 'x') + "\r\n0\r\n\r\n" + Get("/"));
  EXPECT_EQ(ReadToEnd(client), kHello);
}

GREENLET_TEST_F(HttpServerTest, AnEchoStreamsBothWays) {
  Start([](Request& request, ResponseWriter& response) {
    char buffer[100];
    for (;;) {
      const absl::StatusOr<size_t> n = request.body().Read(absl::MakeSpan(buffer));
      ASSERT_TRUE(n.ok()) << n.status();
      if (*n == 0) return;
      ASSERT_TRUE(response.Write({buffer, *n}).ok());
      ASSERT_TRUE(response.Flush().ok());
    }
  });
  MemoryStream client = Connect();
  Write(client,
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: "
        "chunked\r\n\r\n");
  for (const char* piece : {"one", "two", "six"}) {
    Write(client, absl::StrCat("3\r\n", piece, "\r\n"));
    ReadThrough(client, piece);
  }
  Write(client, "0\r\n\r\n");
  EXPECT_EQ(ReadToEnd(client), "\r\n0\r\n\r\n");
}

// As a Stream promises: one reads while another writes, and neither takes from the other.
GREENLET_TEST_F(HttpServerTest, OneGreenletMayReadWhileAnotherAnswers) {
  const std::string data(1 << 20, 'd');
  Start([&](Request& request, ResponseWriter& response) {
    const Greenlet<> writer = Spawn([&] {
      for (size_t i = 0; i < data.size(); i += 64 << 10) {
        const absl::Status s = response.Write({&data[i], size_t{64} << 10});
        EXPECT_TRUE(s.ok()) << s;
      }
    });
    Yield();
    const absl::StatusOr<std::string> body = request.body().ReadAll(1 << 20);
    EXPECT_TRUE(body.ok()) << body.status();
    writer.Join();
    response.Write(*body).IgnoreError();
  });
  MemoryStream client = Connect();
  Write(client,
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nConnection: close\r\n\r\n");
  Sleep(absl::Seconds(1));  // the answer fills all there is
  Write(client, "body");
  Sleep(absl::Seconds(1));
  const std::string answer = ReadToEnd(client);
  EXPECT_TRUE(absl::StartsWith(answer, "HTTP/1.1 200 OK\r\n")) << answer.substr(0, 100);
  EXPECT_EQ(answer.find('\0'), answer.npos);
  EXPECT_EQ(std::count(answer.begin() + answer.find("\r\n\r\n"), answer.end(), 'd'),
            static_cast<ptrdiff_t>(data.size()) + 1);  // and that of "body"
}

GREENLET_TEST_F(HttpServerTest, ALengthThatIsNotTheBodysIsNotForgotten) {
  Start([](Request&, ResponseWriter& response) {
    response.headers().Set("Content-Length", "5");
    EXPECT_TRUE(absl::IsInvalidArgument(response.Send("123456")));
  });
  EXPECT_TRUE(absl::StartsWith(Ask(Get("/", "Connection: close\r\n")), "HTTP/1.1 500 "));
}

GREENLET_TEST_F(HttpServerTest, AHeadThatFillsTheBufferLeavesRoomForItsBody) {
  const std::string value(15'000, 'v');
  const std::string body(100'000, 'b');
  Start([&](Request& request, ResponseWriter& response) {
    const std::string got = *request.body().ReadAll(1 << 20);
    EXPECT_TRUE(got == body) << got.size();
    // The head lies where it lay.
    EXPECT_EQ(request.headers().Get("X-Large"), absl::string_view(value));
    response.Send("hello").IgnoreError();
  });
  MemoryStream client = Connect();
  std::string chunks;
  for (size_t i = 0; i < body.size(); i += 1000) {
    absl::StrAppend(&chunks, "3e8\r\n", body.substr(i, 1000), "\r\n");
  }
  for (size_t size : {value.size(), size_t{30'000}}) {
    Write(client,
          absl::StrCat("POST / HTTP/1.1\r\nHost: a\r\nX-Large: ", value,
                       "\r\nY: ", std::string(size - value.size(), 'y'),
                       "\r\nTransfer-Encoding: chunked\r\n\r\n", chunks, "0\r\n\r\n"));
    EXPECT_TRUE(absl::EndsWith(ReadThrough(client, "hello"), "\r\n\r\nhello"));
  }
}

// --- pipelines --------------------------------------------------------------------

GREENLET_TEST_F(HttpServerTest, AResponseDoesNotWaitForTheNextHandler) {
  Event go_on;
  Start([&](Request& request, ResponseWriter& response) {
    if (request.path() == "/2") go_on.Wait();
    Hello(request, response);
  });
  MemoryStream client = Connect();
  Write(client, Get("/1") + Get("/2"));
  EXPECT_EQ(ReadThrough(client, "hello"), kHello);
  go_on.Set();
  EXPECT_EQ(ReadThrough(client, "hello"), kHello);
}

GREENLET_TEST_F(HttpServerTest, ManyAtOnceAreAnsweredInOrder) {
  Start([](Request& request, ResponseWriter& response) {
    response.Send(request.path()).IgnoreError();
  });
  MemoryStream client = Connect();
  std::string requests;
  for (int i = 0; i < 2000; ++i) requests += Get(absl::StrCat("/", i));
  const Greenlet<> writer = Spawn([&] { Write(client, requests); });
  for (int i = 0; i < 2000; ++i) {
    ASSERT_TRUE(absl::EndsWith(ReadThrough(client, "\r\n\r\n/"), "\r\n\r\n/"));
    std::string number(absl::StrCat(i).size(), 0);
    ASSERT_TRUE(client.ReadExactly(absl::MakeSpan(number)).ok());
    ASSERT_EQ(number, absl::StrCat(i));
  }
  writer.Join();
}

// --- times ------------------------------------------------------------------------

GREENLET_TEST_F(HttpServerTest, AHeadThatDripsIsRefused) {
  Start(&Hello, {.head_timeout = absl::Seconds(10)});
  MemoryStream client = Connect();
  const Greenlet<> drip = Spawn([&] {
    while (client.Write("G").ok()) Sleep(absl::Seconds(1));
  });
  // One that asks meanwhile is not held up.
  EXPECT_TRUE(absl::EndsWith(AskGet(), "hello"));
  std::string slow = "GET / HTTP/1.1\r\nA: ";
  MemoryStream slow_client = Connect();
  const MonotonicNanos begin = ThisHub().Now();
  const Greenlet<> slow_drip = Spawn([&] {
    Write(slow_client, slow);
    while (slow_client.Write("x").ok()) Sleep(absl::Seconds(1));
  });
  const std::string answer = ReadToEnd(slow_client);
  EXPECT_TRUE(absl::StartsWith(answer, "HTTP/1.1 408 Request Timeout\r\n")) << answer;
  EXPECT_GE(absl::Nanoseconds(ThisHub().Now() - begin), absl::Seconds(10));
  EXPECT_LE(absl::Nanoseconds(ThisHub().Now() - begin), absl::Seconds(15));
  slow_client.Close();
  client.Close();
  slow_drip.Join();
  drip.Join();
}

GREENLET_TEST_F(HttpServerTest, IdleConnectionsEndWithoutAWord) {
  Start(&Hello,
        {.first_byte_timeout = absl::Seconds(30), .idle_timeout = absl::Seconds(60)});
  const MonotonicNanos begin = ThisHub().Now();
  EXPECT_EQ(Ask(""), "");
  const absl::Duration first = absl::Nanoseconds(ThisHub().Now() - begin);
  EXPECT_GE(first, absl::Seconds(30));
  EXPECT_LE(first, absl::Seconds(40));
  MemoryStream client = Connect();
  Write(client, Get("/"));
  EXPECT_EQ(ReadThrough(client, "hello"), kHello);
  const MonotonicNanos idle = ThisHub().Now();
  EXPECT_EQ(ReadToEnd(client), "");
  EXPECT_GE(absl::Nanoseconds(ThisHub().Now() - idle), absl::Seconds(60));
  EXPECT_EQ(server_->statistics().timed_out, 2u);
}

// Times are the client's: what the handler does with its own is not counted.
GREENLET_TEST_F(HttpServerTest, AReadThatATimeoutEndsIsNotTheClients) {
  std::string body;
  Start(
      [&](Request& request, ResponseWriter&) {
        char c;
        try {
          Timeout timeout(absl::Seconds(1));
          for (;;) (void)request.body().Read(absl::MakeSpan(&c, 1));
        } catch (const TimeoutExpired&) {
        }
        Sleep(absl::Minutes(5));
        body = request.body().ReadAll(100).value_or("an error");
      },
      {.body_timeout = absl::Seconds(20)});
  MemoryStream client = Connect();
  Write(client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n");
  Sleep(absl::Seconds(10));
  Write(client, "abc");
  EXPECT_TRUE(absl::StartsWith(ReadThrough(client, "\r\n\r\n"), "HTTP/1.1 200 "));
  EXPECT_EQ(body, "abc");
}

GREENLET_TEST_F(HttpServerTest, AResponseDoesNotDependOnTheAccessLog) {
  SetErrorHandler([](const UnhandledException&) {});
  Start(&Hello,
        {.access_log = [](const AccessRecord&) { throw std::runtime_error("full"); }});
  EXPECT_TRUE(absl::EndsWith(AskGet(), "hello"));
}

GREENLET_TEST_F(HttpServerTest, ABodyThatStopsIsRefused) {
  absl::Status status;
  Start([&](Request& request,
            ResponseWriter&) { status = request.body().ReadAll(100).status(); },
        {.body_timeout = absl::Seconds(20)});
  MemoryStream client = Connect();
  Write(client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc");
  const std::string answer = ReadToEnd(client);
  EXPECT_TRUE(absl::StartsWith(answer, "HTTP/1.1 408 ")) << answer;
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
}

GREENLET_TEST_F(HttpServerTest, WhoDoesNotReadIsCut) {
  absl::Status status;
  Start(
      [&](Request&, ResponseWriter& response) {
        status = response.Send(std::string(1 << 20, 'x'));
      },
      {}, {.capacity = 1000});
  MemoryStream client = Connect();
  Write(client, Get("/"));
  Sleep(absl::Minutes(10));
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
  EXPECT_EQ(server_->connections().active(), 0u);
}

GREENLET_TEST_F(HttpServerTest, AHandlerMayTakeItsTime) {
  Start([](Request& request, ResponseWriter& response) {
    Sleep(absl::Minutes(59));
    Hello(request, response);
  });
  EXPECT_TRUE(absl::EndsWith(AskGet(), "hello"));
}

// --- handlers that fail -------------------------------------------------------------

GREENLET_TEST_F(HttpServerTest, AnExceptionIs500AndReported) {
  std::vector<std::string> reported;
  Start(
      [](Request&, ResponseWriter& response) {
        response.headers().Set("X-Half", "done");
        throw std::runtime_error("oops");
      },
      {.on_exception = [&](const Request& request, std::exception_ptr error) {
        try {
          std::rethrow_exception(error);
        } catch (const std::exception& e) {
          reported.push_back(absl::StrCat(request.DebugString(), " ", e.what()));
        }
      }});
  const std::string answer =
      Ask(Get("/a?password=x", "Authorization: Basic abc\r\nCookie: d=e\r\n"));
  EXPECT_TRUE(absl::StartsWith(answer, "HTTP/1.1 500 Internal Server Error\r\n"))
      << answer;
  EXPECT_FALSE(absl::StrContains(answer, "X-Half"));
  ASSERT_EQ(reported.size(), 1u);
  EXPECT_EQ(reported[0],
            "GET /a?[10 bytes] HTTP/1.1 from memory.near; Host: a; Authorization: [9 "
            "bytes]; Cookie: [3 bytes] oops");
}

GREENLET_TEST_F(HttpServerTest, AnExceptionAfterTheHeadCutsTheConnection) {
  Start(
      [](Request&, ResponseWriter& response) {
        EXPECT_TRUE(response.Write("half").ok());
        EXPECT_TRUE(response.Flush().ok());
        throw 7;
      },
      {.on_exception = [](const Request&, std::exception_ptr) {}});
  MemoryStream client = Connect();
  Write(client, Get("/") + Get("/"));
  const std::string answer = ReadToEnd(client);
  EXPECT_TRUE(absl::StrContains(answer, "\r\n\r\n4\r\nhalf\r\n")) << answer;
  EXPECT_FALSE(absl::StrContains(answer, "\r\n0\r\n")) << answer;
  EXPECT_EQ(server_->statistics().requests, 1u);
}

GREENLET_TEST_F(HttpServerTest, ATimeoutOfTheHandlersIs500) {
  int exceptions = 0;
  Start(
      [](Request&, ResponseWriter&) {
        Timeout timeout(absl::Seconds(1));
        Sleep(absl::Hours(1));
      },
      {.on_exception = [&](const Request&, std::exception_ptr) { ++exceptions; }});
  EXPECT_TRUE(absl::StartsWith(AskGet(), "HTTP/1.1 500 "));
  EXPECT_EQ(exceptions, 1);
}

GREENLET_TEST_F(HttpServerTest, NothingFollowsAWriteThatWasCutShort) {
  std::vector<absl::Status> statuses;
  Start(
      [&](Request&, ResponseWriter& response) {
        try {
          Timeout timeout(absl::Seconds(1));
          statuses.push_back(response.Send(std::string(100'000, 'x')));
        } catch (const TimeoutExpired&) {
          statuses.push_back(response.Flush());
        }
      },
      {}, {.capacity = 1000});
  MemoryStream client = Connect();
  Write(client, Get("/") + Get("/"));
  Sleep(absl::Seconds(5));
  const std::string answer = ReadToEnd(client);
  EXPECT_TRUE(absl::StrContains(answer, "Content-Length: 100000\r\n")) << answer;
  EXPECT_LT(answer.size(), 10'000u);
  EXPECT_EQ(answer.find("HTTP/1.1", 1), answer.npos);
  ASSERT_EQ(statuses.size(), 1u);
  EXPECT_TRUE(statuses[0].ok() || absl::IsUnavailable(statuses[0])) << statuses[0];
}

GREENLET_TEST_F(HttpServerTest, RequestsWithoutEndLetOthersRun) {
  Start(&Hello);
  MemoryStream client = Connect();
  bool enough = false;
  std::string requests;
  for (int i = 0; i < 100; ++i) requests += Get("/");
  const Greenlet<> writer = Spawn([&] {
    while (!enough && client.Write(requests).ok()) {
    }
    client.Close();
  });
  const Greenlet<> reader = Spawn([&] {
    char buffer[4096];
    while (!enough) {
      const absl::StatusOr<size_t> n = client.Read(absl::MakeSpan(buffer));
      if (!n.ok() || *n == 0) return;
    }
  });
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(absl::EndsWith(AskGet(), "hello"));
  enough = true;
  writer.Join();
  reader.Join();
}

// --- the end ----------------------------------------------------------------------

GREENLET_TEST_F(HttpServerTest, StopAnswersWhatItHasAndEndsTheRest) {
  Event go_on;
  Event asked;
  Start([&](Request& request, ResponseWriter& response) {
    asked.Set();
    go_on.Wait();
    Hello(request, response);
  });
  MemoryStream fresh = Connect();
  MemoryStream busy = Connect();
  Write(busy, Get("/"));
  asked.Wait();
  const Greenlet<net::StopReport> stop =
      Spawn([&] { return server_->Stop(absl::Hours(1)); });
  EXPECT_EQ(ReadToEnd(fresh), "");
  go_on.Set();
  EXPECT_TRUE(absl::EndsWith(ReadToEnd(busy), "Connection: close\r\n\r\nhello"));
  EXPECT_EQ(stop.Get()->cut, 0u);
}

GREENLET_TEST_F(HttpServerTest, WhoConnectedBeforeTheStopIsAnswered) {
  Start(&Hello);
  MemoryStream client = Connect();
  Write(client, Get("/"));
  EXPECT_EQ(server_->Stop(absl::Hours(1)).cut, 0u);
  EXPECT_TRUE(absl::EndsWith(ReadToEnd(client), "Connection: close\r\n\r\nhello"));
}

GREENLET_TEST_F(HttpServerTest, AStopWithoutGraceKillsHandlers) {
  bool unwound = false;
  Event asked;
  Start([&](Request&, ResponseWriter&) {
    struct Mark {
      bool* unwound;
      ~Mark() { *unwound = true; }
    } mark{&unwound};
    asked.Set();
    Sleep(absl::InfiniteDuration());
  });
  MemoryStream client = Connect();
  Write(client, Get("/"));
  asked.Wait();
  EXPECT_EQ(server_->Stop().cut, 1u);
  EXPECT_TRUE(unwound);
}

// --- the rest ---------------------------------------------------------------------

GREENLET_TEST_F(HttpServerTest, EachResponseIsLogged) {
  std::vector<std::string> lines;
  Start(&Hello, {.access_log = [&](const AccessRecord& r) {
    lines.push_back(absl::StrCat(r.peer, " ", r.method, " ", r.target, " ", r.status, " ",
                                 r.body_bytes, " ", r.user_agent));
  }});
  MemoryStream client = Connect();
  Write(client, Get("/a", "User-Agent: me\r\n") + "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" +
                    "nonsense\r\n\r\n");
  ReadToEnd(client);
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0], "memory.near GET /a 200 5 me");
  EXPECT_EQ(lines[1], "memory.near HEAD / 200 0 ");
  EXPECT_TRUE(absl::StartsWith(lines[2], "memory.near   400 ")) << lines[2];
}

GREENLET_TEST_F(HttpServerTest, SurvivesAResetAtEachByte) {
  const std::string sent =
      Get("/") + Post("abc") +
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: "
      "100-continue\r\n\r\n3\r\nabc\r\n0\r\n\r\n" +
      Get("/", "Connection: close\r\n");
  for (StreamFault fault :
       {StreamFault::kReset, StreamFault::kEnd, StreamFault::kTimedOut}) {
    for (uint64_t at = 0; at < sent.size() + 500; at += 3) {
      MemoryListener listener({.max_piece = 7, .fault = fault, .fault_after = at});
      HttpServer server(listener, [](Request& request, ResponseWriter& response) {
        const absl::StatusOr<std::string> body = request.body().ReadAll(100);
        if (body.ok()) response.Send(*body).IgnoreError();
      });
      server.Start();
      MemoryStream client = *listener.Connect();
      client.Write(sent).IgnoreError();
      ReadToEnd(client);
      client.Close();
      EXPECT_EQ(server.Stop(absl::Hours(1)).cut, 0u);
    }
  }
}

class HttpServerOverTcp : public GreenletTest {
 protected:
  GreenletTestOptions Options() const override { return {.clock = Clock::Real()}; }
};

GREENLET_TEST_F(HttpServerOverTcp, Serves) {
  HttpServer server(*net::TcpListener::Listen(*net::Address::Parse("127.0.0.1:0")),
                    [](Request& request, ResponseWriter& response) {
                      EXPECT_FALSE(request.secure());
                      EXPECT_TRUE(absl::StartsWith(request.peer(), "127.0.0.1:"));
                      Hello(request, response);
                    });
  server.Start();
  net::TcpStream client = *net::TcpStream::Connect(server.connections().address());
  EXPECT_TRUE(client.Write(Get("/", "Connection: close\r\n")).ok());
  std::string rest;
  EXPECT_TRUE(client.ReadUntil("\r\n\r\nhello", rest, 1000).ok());
  EXPECT_EQ(server.Stop(absl::Seconds(30)).cut, 0u);
}

}  // namespace
}  // namespace grove::http
