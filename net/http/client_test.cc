#include "grove/net/http/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "grove/green/sleep.h"
#include "grove/green/timeout.h"
#include "grove/net/http/client_test_util.h"
#include "grove/net/http/server.h"
#include "grove/sync/event.h"

// The client's connections, requests, times and ends, over memory: hours pass in no time.
namespace grove::http {
namespace {

using net::MemoryStream;
using net::StreamFault;
using testing::HasSubstr;
using testing::StartsWith;

constexpr char kUrl[] = "http://a.test/x";

// --- requests as they are sent

GREENLET_TEST(HttpClient, SendsWhatItIsToldAndNoMore) {
  std::vector<std::string> heads;
  PlayedServer server(Always(Answer("hi"), &heads));
  HttpClient client(server.options());
  EXPECT_EQ(Outcome(client.Get("http://a.test:8080/x?y#z")), "200 hi");
  ClientRequest request{.method = "OPTIONS", .url = "http://[::1]/"};
  request.headers.Add("X-A", "1");
  request.headers.Add("X-A", "2");
  EXPECT_EQ(Outcome(client.Send(request)), "200 hi");
  EXPECT_EQ(Outcome(client.Post("http://a.test/", "text/plain", "")), "200 hi");
  EXPECT_THAT(heads, testing::ElementsAre(
                         "GET /x?y HTTP/1.1\r\nHost: a.test:8080\r\n\r\n",
                         "OPTIONS / HTTP/1.1\r\nHost: [::1]\r\nX-A: 1\r\nX-A: 2\r\n\r\n",
                         "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Type: text/plain\r\n"
                         "Content-Length: 0\r\n\r\n"));
  ASSERT_EQ(server.dialed().size(), 3u);
  EXPECT_EQ(server.dialed()[1].host, "::1");
  EXPECT_EQ(server.dialed()[0].port, 8080);
}

GREENLET_TEST(HttpClient, SaysWhoItIsAndWhatItUnderstands) {
  std::vector<std::string> heads;
  PlayedServer server(Always(Answer(""), &heads));
  HttpClientOptions options;
  options.dial = server.dialer();
  HttpClient client(options);
  EXPECT_EQ(Outcome(client.Get(kUrl)), "200 ");
  EXPECT_EQ(heads[0],
            "GET /x HTTP/1.1\r\nHost: a.test\r\nUser-Agent: grove\r\n"
            "Accept-Encoding: gzip, deflate, br\r\n\r\n");
  ClientRequest request{.url = kUrl};
  request.headers.Set("user-agent", "me");
  request.headers.Set("range", "bytes=0-1");
  request.headers.Set("host", "b.test");
  EXPECT_EQ(Outcome(client.Send(request)), "200 ");
  EXPECT_EQ(heads[1],
            "GET /x HTTP/1.1\r\nHost: b.test\r\nuser-agent: me\r\n"
            "range: bytes=0-1\r\n\r\n");
}

GREENLET_TEST(HttpClient, RefusesWhatIsNoRequestBeforeItConnects) {
  PlayedServer server(Always(Answer("hi")));
  HttpClient client(server.options());
  const auto refused = [&](ClientRequest request) {
    if (request.url.empty()) request.url = kUrl;
    return absl::IsInvalidArgument(client.Send(request).status());
  };
  EXPECT_TRUE(refused({.url = "a.test"}));
  EXPECT_TRUE(refused({.url = "http://joe:secret@a.test/"}));
  EXPECT_TRUE(refused({.method = ""}));
  EXPECT_TRUE(refused({.method = "GET /evil"}));
  EXPECT_TRUE(refused({.method = "CONNECT"}));
  EXPECT_TRUE(
      refused({.body = "a", .produce = [](BodyWriter&) { return absl::OkStatus(); }}));
  EXPECT_TRUE(refused({.method = "TRACE", .body = "a"}));
  EXPECT_TRUE(refused({.expect_continue = true}));
  for (const char* name : {"Content-Length", "transfer-encoding", "Connection", "TE",
                           "Trailer", "Upgrade", "Expect", "Proxy-Authorization"}) {
    ClientRequest request;
    request.headers.Set(name, "1");
    EXPECT_TRUE(refused(request)) << name;
  }
  ClientRequest split;
  split.headers.Set("A", "b\r\nC: d");
  EXPECT_TRUE(refused(split));
  ClientRequest hosts;
  hosts.headers.Add("Host", "a");
  hosts.headers.Add("Host", "b");
  EXPECT_TRUE(refused(hosts));
  EXPECT_EQ(server.connections(), 0);
  EXPECT_EQ(client.Get("https://a.test/").status().code(),
            absl::StatusCode::kFailedPrecondition);
}

GREENLET_TEST(HttpClient, ErrorsNameTheRequestAndThePeerButNoSecrets) {
  PlayedServer server([](int, MemoryStream& stream) { ReadRequestHead(stream); });
  HttpClient client(server.options());
  const absl::Status s = client.Get("http://a.test/x?password=hunter2").status();
  EXPECT_EQ(s.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(
      s.message(),
      "GET http://a.test/x?[16 bytes]: response of memory.far: the connection ended "
      "without one");
}

// --- connections

GREENLET_TEST(HttpClient, OneConnectionServesManyRequests) {
  PlayedServer server(Always(Answer("hi")));
  HttpClient client(server.options());
  for (int i = 0; i < 10; ++i) EXPECT_EQ(Outcome(client.Get(kUrl)), "200 hi");
  EXPECT_EQ(server.connections(), 1);
  EXPECT_EQ(Outcome(client.Get("http://b.test/")), "200 hi");
  EXPECT_EQ(server.connections(), 2);
  EXPECT_EQ(client.connections().at("http://a.test:80").idle, 1u);
}

GREENLET_TEST(HttpClient, ConcurrentRequestsShareNoConnectionAndWaitAtTheLimit) {
  Event go;
  PlayedServer server([&](int, MemoryStream& stream) {
    while (!ReadRequestHead(stream).empty()) {
      go.Wait();
      stream.Write(Answer("hi")).IgnoreError();
    }
  });
  HttpClientOptions options = server.options();
  options.max_connections = 3;
  HttpClient client(options);
  std::vector<Greenlet<>> asking;
  int done = 0;
  for (int i = 0; i < 10; ++i) {
    asking.push_back(Spawn([&] {
      EXPECT_EQ(Outcome(client.Get(kUrl)), "200 hi");
      ++done;
    }));
  }
  while (client.connections()["http://a.test:80"].waiting < 7) Yield();
  while (server.connections() < 3) Yield();
  EXPECT_EQ(server.connections(), 3);
  EXPECT_EQ(done, 0);
  go.Set();
  JoinAll(asking);
  EXPECT_EQ(done, 10);
  EXPECT_EQ(server.connections(), 3);
}

GREENLET_TEST(HttpClient, TheTotalTimeCountsWhileItWaitsForAConnection) {
  PlayedServer server([](int, MemoryStream& stream) { ReadThrough(stream, "never"); });
  HttpClientOptions options = server.options();
  options.max_connections = 1;
  options.timeouts.head = absl::Hours(1);
  HttpClient client(options);
  const Greenlet<> first = Spawn([&] { client.Get(kUrl).status().IgnoreError(); });
  while (server.connections() == 0) Yield();
  const absl::StatusOr<ClientResponse> second =
      client.Send({.url = kUrl, .timeouts = ClientTimeouts{.total = absl::Seconds(5)}});
  EXPECT_TRUE(absl::IsDeadlineExceeded(second.status())) << second.status();
  EXPECT_THAT(std::string(second.status().message()),
              HasSubstr("waiting for a connection"));
  first.Kill();
}

GREENLET_TEST(HttpClient, TheTotalTimeEndsAResponseThatAlwaysHasMore) {
  for (const char* head : {"HTTP/1.1 200 OK\r\n\r\n",  // to the connection's end
                           "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"}) {
    PlayedServer server([&](int, MemoryStream& stream) {
      ReadRequestHead(stream);
      std::string all = head;
      for (int i = 0; i < 100; ++i) all += "3\r\nabc\r\n";
      stream.Write(all).IgnoreError();
      ReadRequestHead(stream);
    });
    HttpClient client(server.options());
    absl::StatusOr<ClientResponse> response =
        client.Send({.url = kUrl, .timeouts = ClientTimeouts{.total = absl::Seconds(5)}});
    ASSERT_TRUE(response.ok()) << response.status();
    char buffer[10];
    EXPECT_TRUE(response->Read(absl::MakeSpan(buffer)).ok());
    clock().Advance(absl::Seconds(6));  // as when reading takes so long
    EXPECT_TRUE(
        absl::IsDeadlineExceeded(response->Read(absl::MakeSpan(buffer)).status()));
  }
}

GREENLET_TEST(HttpClient, AConnectionThatIsIdleForTooLongIsClosed) {
  int ended = 0;
  PlayedServer server([&](int, MemoryStream& stream) {
    Always(Answer("hi"))(0, stream);
    ++ended;
  });
  HttpClientOptions options = server.options();
  options.idle_timeout = absl::Seconds(10);
  HttpClient client(options);
  EXPECT_EQ(Outcome(client.Get(kUrl)), "200 hi");
  Sleep(absl::Seconds(9));
  EXPECT_EQ(ended, 0);
  Sleep(absl::Seconds(2));
  EXPECT_EQ(ended, 1);
}

GREENLET_TEST(HttpClient, AResponseThatIsNotReadToItsEndTakesItsConnectionWithIt) {
  PlayedServer server(Always(Answer(std::string(100000, 'a'))));
  HttpClient client(server.options());
  {
    absl::StatusOr<ClientResponse> response = client.Get(kUrl);
    ASSERT_TRUE(response.ok());
    char buffer[10];
    EXPECT_EQ(*response->Read(absl::MakeSpan(buffer)), 10u);
  }
  EXPECT_EQ(client.connections()["http://a.test:80"].size, 0u);
  EXPECT_THAT(Outcome(client.Get(kUrl)), StartsWith("200 aaa"));
  EXPECT_EQ(server.connections(), 2);
}

GREENLET_TEST(HttpClient, ResponsesMayOutliveTheirClient) {
  PlayedServer server(Always(Answer(std::string(100000, 'a'))));
  auto client = std::make_unique<HttpClient>(server.options());
  absl::StatusOr<ClientResponse> response = client->Get(kUrl);
  client.reset();
  EXPECT_EQ(response->ReadAll(1 << 20)->size(), 100000u);
}

GREENLET_TEST(HttpClient, AClosedClientSendsNothing) {
  PlayedServer server(Always(Answer("hi")));
  HttpClient client(server.options());
  EXPECT_EQ(Outcome(client.Get(kUrl)), "200 hi");
  EXPECT_EQ(client.Close(), 0u);
  EXPECT_EQ(client.Get(kUrl).status().code(), absl::StatusCode::kFailedPrecondition);
}

// --- connections that were used before, and retries

GREENLET_TEST(HttpClient, AConnectionThatEndedWhileIdleIsNotUsed) {
  PlayedServer server([](int, MemoryStream& stream) {
    ReadRequestHead(stream);
    stream.Write(Answer("hi")).IgnoreError();
  });
  HttpClient client(server.options());
  for (int i = 0; i < 5; ++i) {
    // A POST must not be sent twice, and is not: that it ended is seen before.
    EXPECT_EQ(Outcome(client.Post(kUrl, "text/plain", "")), "200 hi");
    while (Yield(), server.connections() <= i) {
    }
    Sleep(absl::Milliseconds(1));
  }
  EXPECT_EQ(server.connections(), 5);
  EXPECT_EQ(client.statistics().retries, 0u);
}

GREENLET_TEST(HttpClient, BytesThatNobodyAskedForEndAnIdleConnection) {
  PlayedServer server([](int number, MemoryStream& stream) {
    ReadRequestHead(stream);
    stream.Write(Answer("hi")).IgnoreError();
    if (number == 0) {
      Sleep(absl::Milliseconds(1));  // it is idle by then
      stream.Write(Answer("smuggled")).IgnoreError();
    }
    ReadRequestHead(stream);
    stream.Write(Answer("hi")).IgnoreError();
  });
  HttpClient client(server.options());
  EXPECT_EQ(Outcome(client.Get(kUrl)), "200 hi");
  Sleep(absl::Milliseconds(2));
  EXPECT_EQ(Outcome(client.Get(kUrl)), "200 hi");
  EXPECT_EQ(server.connections(), 2);
}

// Ends each connection when its second request has come.
PlayedServer::Play EndsAtTheSecond(int* requests) {
  return [=](int, MemoryStream& stream) {
    if (ReadRequestHead(stream).empty()) return;
    ++*requests;
    stream.Write(Answer("hi")).IgnoreError();
    if (absl::StrContains(ReadRequestHead(stream), " HTTP/1.1\r\n")) ++*requests;
  };
}

GREENLET_TEST(HttpClient, NorDoTheyAnswerWhoWaitsInLineForTheConnection) {
  PlayedServer server([](int number, net::MemoryStream& stream) {
    ReadRequestHead(stream);
    if (number > 0) {
      stream.Write(Answer("good")).IgnoreError();
    } else {
      stream.Write(Answer(std::string(20'000, 'x')) + Answer("evil")).IgnoreError();
    }
    ReadRequestHead(stream);
  });
  HttpClientOptions options = server.options();
  options.max_connections = 1;
  HttpClient client(std::move(options));
  Greenlet<std::string> first = Spawn([&] { return Outcome(client.Get("http://h/a")); });
  Greenlet<std::string> second = Spawn([&] { return Outcome(client.Get("http://h/b")); });
  EXPECT_EQ(*second.Get(), "200 good");
  EXPECT_EQ(first.Get()->size(), 20'004u);
}

GREENLET_TEST(HttpClient, WhatMayBeDoneTwiceIsSentAgainOnAFreshConnection) {
  for (const char* method : {"GET", "HEAD", "PUT", "DELETE", "OPTIONS"}) {
    int requests = 0;
    PlayedServer server(EndsAtTheSecond(&requests));
    HttpClient client(server.options());
    EXPECT_EQ(Outcome(client.Get(kUrl)), "200 hi");
    absl::StatusOr<ClientResponse> r = client.Send({.method = method, .url = kUrl});
    EXPECT_TRUE(r.ok()) << r.status();
    EXPECT_EQ(requests, 3) << method;
    EXPECT_EQ(server.connections(), 2);
    EXPECT_EQ(client.statistics().retries, 1u);
  }
}

GREENLET_TEST(HttpClient, WhatMustNotBeDoneTwiceIsNotSentAgain) {
  const auto outcome = [](ClientRequest request) {
    int requests = 0;
    PlayedServer server(EndsAtTheSecond(&requests));
    HttpClient client(server.options());
    EXPECT_EQ(Outcome(client.Get(kUrl)), "200 hi");
    request.url = kUrl;
    const std::string seen = Outcome(client.Send(request));
    return absl::StrCat(requests, client.statistics().retries, " ", seen);
  };
  EXPECT_THAT(outcome({.method = "POST", .body = "a"}), StartsWith("20 UNAVAILABLE"));
  EXPECT_THAT(outcome({.method = "PATCH", .body = "a"}), StartsWith("20 UNAVAILABLE"));
  EXPECT_THAT(outcome({.method = "SEARCH"}), StartsWith("20 UNAVAILABLE"));
  // A body that is gone.
  const BodyProducer produce = [](BodyWriter& out) { return out.Write("a"); };
  EXPECT_THAT(outcome({.method = "PUT", .produce = produce}),
              StartsWith("20 UNAVAILABLE"));
  EXPECT_EQ(outcome({.method = "PUT", .produce = produce, .produce_again = true}),
            "31 200 hi");
}

GREENLET_TEST(HttpClient, AResponseThatHasBegunIsNotAskedForAgain) {
  int requests = 0;
  PlayedServer server([&](int, MemoryStream& stream) {
    ReadRequestHead(stream);
    stream.Write(Answer("hi")).IgnoreError();
    ++requests;
    ReadRequestHead(stream);
    stream.Write("HTTP/1.1 2").IgnoreError();
    ++requests;
  });
  HttpClient client(server.options());
  EXPECT_EQ(Outcome(client.Get(kUrl)), "200 hi");
  EXPECT_TRUE(absl::IsDataLoss(client.Get(kUrl).status()));
  EXPECT_EQ(requests, 2);
}

GREENLET_TEST(HttpClient, AFreshConnectionIsNotTriedTwice) {
  PlayedServer server([](int, MemoryStream& stream) { ReadRequestHead(stream); });
  HttpClient client(server.options());
  EXPECT_TRUE(absl::IsUnavailable(client.Get(kUrl).status()));
  EXPECT_EQ(server.connections(), 1);
}

// --- bodies that are sent

// What comes behind a head that says 'Content-Length: n'.
std::string ReadBody(MemoryStream& stream, size_t n) {
  std::string body(n, 0);
  EXPECT_TRUE(stream.ReadExactly(absl::MakeSpan(body)).ok());
  return body;
}

GREENLET_TEST(HttpClient, BodiesGoOutWithALengthOrInChunks) {
  std::string head, body;
  PlayedServer server([&](int, MemoryStream& stream) {
    while (head = ReadRequestHead(stream), !head.empty()) {
      if (absl::StrContains(head, "chunked")) {
        body = ReadThrough(stream, "0\r\n\r\n");
      } else {
        body = ReadBody(stream, absl::StrContains(head, "Length: 5\r\n") ? 5 : 200000);
      }
      stream.Write(Answer("hi")).IgnoreError();
    }
  });
  HttpClient client(server.options());
  EXPECT_EQ(Outcome(client.Post(kUrl, "text/plain", "hello")), "200 hi");
  EXPECT_EQ(body, "hello");
  EXPECT_EQ(Outcome(client.Post(kUrl, "text/plain", std::string(200000, 'b'))), "200 hi");
  EXPECT_EQ(body, std::string(200000, 'b'));
  const BodyProducer produce = [](BodyWriter& out) {
    for (const char* piece : {"he", "", "llo"}) {
      if (absl::Status s = out.Write(piece); !s.ok()) return s;
    }
    return absl::OkStatus();
  };
  EXPECT_EQ(Outcome(client.Send({.method = "PUT", .url = kUrl, .produce = produce})),
            "200 hi");
  EXPECT_THAT(head, HasSubstr("Transfer-Encoding: chunked\r\n"));
  EXPECT_EQ(body, "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n");
  EXPECT_EQ(
      Outcome(client.Send(
          {.method = "PUT", .url = kUrl, .produce = produce, .produced_length = 5})),
      "200 hi");
  EXPECT_THAT(head, HasSubstr("Content-Length: 5\r\n"));
  EXPECT_EQ(body, "hello");
  EXPECT_EQ(server.connections(), 1);
}

GREENLET_TEST(HttpClient, AnAnswerIsReadThoughTheServerLeftInTheMidstOfTheBody) {
  PlayedServer server([](int, MemoryStream& stream) {
    ReadRequestHead(stream);
    stream.Write("HTTP/1.1 403 No\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
        .IgnoreError();
    // All that has come is read, so that it ends without a reset.
    std::string some(1 << 20, 0);
    while (stream.unread() > 0) stream.TryRead(absl::MakeSpan(some)).IgnoreError();
    stream.Close();
  });
  HttpClient client(server.options());
  EXPECT_EQ(Outcome(client.Post(kUrl, "text/plain", std::string(3 << 20, 'a'))),
            "403 no");
}

GREENLET_TEST(HttpClient, ABodyWaitsUntilTheServerWantsIt) {
  std::string seen;
  PlayedServer server([&](int, MemoryStream& stream) {
    const std::string head = ReadRequestHead(stream);
    EXPECT_THAT(head, HasSubstr("Expect: 100-continue\r\n"));
    if (absl::StrContains(head, "/no")) {
      stream.Write(Answer("no", "", "401 No")).IgnoreError();
      ReadThrough(stream, "never");
      return;
    }
    Sleep(absl::Milliseconds(500));
    EXPECT_EQ(stream.unread(), 0u);
    if (absl::StrContains(head, "/yes")) {
      stream.Write("HTTP/1.1 100 Continue\r\n\r\n").IgnoreError();
    }
    seen = ReadBody(stream, 3);
    stream.Write(Answer("hi")).IgnoreError();
    ReadThrough(stream, "never");
  });
  HttpClient client(server.options());
  const auto put = [&](const char* path) {
    return Outcome(client.Send({.method = "PUT",
                                .url = absl::StrCat("http://a.test", path),
                                .body = "abc",
                                .expect_continue = true}));
  };
  EXPECT_EQ(put("/yes"), "200 hi");
  EXPECT_EQ(seen, "abc");
  EXPECT_EQ(client.connections()["http://a.test:80"].idle, 1u);
  client.Close(Deadline::Passed());

  HttpClient second(server.options());
  EXPECT_EQ(Outcome(second.Send({.method = "PUT",
                                 .url = "http://a.test/no",
                                 .body = "abc",
                                 .expect_continue = true})),
            "401 no");
  EXPECT_EQ(second.connections()["http://a.test:80"].size, 0u);
  // One that does not know the expectation says nothing.
  EXPECT_EQ(Outcome(second.Send({.method = "PUT",
                                 .url = "http://a.test/silent",
                                 .body = "abc",
                                 .expect_continue = true})),
            "200 hi");
  EXPECT_TRUE(HasTaken(absl::Milliseconds(1500)));
}

// --- times and ends

// Says once that there is something to read when there is nothing, as a stream may; TLS
// does when a ticket has come.
class FalselyReadable final : public net::Stream {
 public:
  explicit FalselyReadable(std::unique_ptr<net::Stream> stream)
      : stream_(std::move(stream)) {}

  absl::StatusOr<std::optional<size_t>> TryRead(absl::Span<char> b) override {
    return stream_->TryRead(b);
  }
  absl::StatusOr<size_t> TryWrite(absl::string_view d) override {
    return stream_->TryWrite(d);
  }
  absl::Status ShutdownWrite() override { return stream_->ShutdownWrite(); }
  absl::Status ShutdownRead() override { return stream_->ShutdownRead(); }
  void Close() override { stream_->Close(); }
  bool closed() const override { return stream_->closed(); }
  std::string Describe() const override { return stream_->Describe(); }

 private:
  absl::StatusOr<size_t> DoRead(absl::Span<char> b, Deadline d) override {
    return stream_->Read(b, d);
  }
  absl::StatusOr<size_t> DoReadScatter(absl::Span<const absl::Span<char>> b,
                                       Deadline d) override {
    return stream_->ReadScatter(b, d);
  }
  absl::Status DoWaitReadable(Deadline d) override {
    return std::exchange(lies_, false) ? absl::OkStatus() : stream_->WaitReadable(d);
  }
  absl::Status DoWrite(absl::string_view data, Deadline d) override {
    return stream_->Write(data, d);
  }
  absl::Status DoWriteGather(absl::Span<const absl::string_view> p, Deadline d) override {
    return stream_->WriteGather(p, d);
  }

  const std::unique_ptr<net::Stream> stream_;
  bool lies_ = true;
};

GREENLET_TEST(HttpClient, WhatIsNoAnswerDoesNotHoldUpTheBody) {
  PlayedServer server([](int, net::MemoryStream& stream) {
    ReadRequestHead(stream);
    if (ReadThrough(stream, "body") == "body") stream.Write(Answer("ok")).IgnoreError();
  });
  for (bool expects : {true, false}) {
    HttpClientOptions options = server.options();
    options.dial = [dial = server.dialer()](
                       const ClientEndpoint& to,
                       Deadline by) -> absl::StatusOr<std::unique_ptr<net::Stream>> {
      return std::make_unique<FalselyReadable>(*dial(to, by));
    };
    HttpClient client(std::move(options));
    const auto produce = [](BodyWriter& body) {
      Sleep(absl::Minutes(2));  // longer than a response's head may take
      return body.Write("body");
    };
    ClientRequest request{.method = "POST", .url = "http://h/"};
    request.expect_continue = expects;
    request.produce = produce;
    request.produced_length = 4;
    EXPECT_EQ(Outcome(client.Send(request)), "200 ok");
  }
}

GREENLET_TEST(HttpClient, EachPhaseHasItsTime) {
  Event never;
  PlayedServer server(
      [&](int, MemoryStream& stream) {
        const std::string head = ReadRequestHead(stream);
        if (absl::StrContains(head, "/body")) {
          stream.Write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi").IgnoreError();
        }
        if (absl::StrContains(head, "/drip")) {
          stream.Write("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n").IgnoreError();
          while (stream.Write("a").ok()) Sleep(absl::Seconds(1));
        }
        never.Wait();
      },
      {.capacity = 1000});
  HttpClientOptions options = server.options();
  options.timeouts.head = absl::Seconds(20);
  options.timeouts.body = absl::Seconds(10);
  options.timeouts.send = absl::Seconds(5);
  HttpClient client(options);
  auto took = [&, last = absl::ZeroDuration()](absl::Duration want) mutable {
    const absl::Duration took = Elapsed() - last;
    last = Elapsed();
    return took >= want && took < want + absl::Milliseconds(10);
  };
  EXPECT_THAT(Outcome(client.Get("http://a.test/head")),
              testing::AllOf(StartsWith("DEADLINE_EXCEEDED"),
                             HasSubstr("waiting for the response")));
  EXPECT_TRUE(took(absl::Seconds(20)));
  EXPECT_THAT(Outcome(client.Get("http://a.test/body")),
              testing::AllOf(StartsWith("200 DEADLINE_EXCEEDED"),
                             HasSubstr("waiting for the body")));
  EXPECT_TRUE(took(absl::Seconds(10)));
  EXPECT_THAT(
      Outcome(client.Post("http://a.test/send", "a", std::string(10000, 'a'))),
      testing::AllOf(StartsWith("DEADLINE_EXCEEDED"), HasSubstr("sending the request")));
  EXPECT_TRUE(took(absl::Seconds(5)));
  EXPECT_THAT(
      Outcome(client.Send({.url = "http://a.test/drip",
                           .timeouts = ClientTimeouts{.total = absl::Seconds(30)}})),
      StartsWith("200 DEADLINE_EXCEEDED"));
  EXPECT_TRUE(took(absl::Seconds(30)));
  // A producer has no time of its own, but what all of it has.
  EXPECT_THAT(
      Outcome(client.Send({.method = "PUT",
                           .url = "http://a.test/head",
                           .produce =
                               [&](BodyWriter&) {
                                 never.Wait();
                                 return absl::OkStatus();
                               },
                           .timeouts = ClientTimeouts{.total = absl::Seconds(100)}})),
      testing::AllOf(StartsWith("DEADLINE_EXCEEDED"), HasSubstr("producer")));
  EXPECT_TRUE(took(absl::Seconds(100)));
  EXPECT_EQ(client.connections()["http://a.test:80"].size, 0u);
}

GREENLET_TEST(HttpClient, AKillAtAnyPlaceLeavesNoDirtyConnection) {
  // After each number of turns once, until the request is done before it is killed.
  for (int turns = 0;; ++turns) {
    PlayedServer server(
        [](int, MemoryStream& stream) {
          while (!ReadRequestHead(stream).empty()) {
            for (char c : Answer("hello")) {
              if (!stream.Write({&c, 1}).ok()) return;
              Yield();
            }
          }
        },
        {.capacity = 1 << 20, .max_piece = 3});
    HttpClient client(server.options());
    std::string seen;
    const Greenlet<> asks = Spawn([&] {
      seen =
          Outcome(client.Send({.method = "PUT",
                               .url = kUrl,
                               .produce = [](BodyWriter& out) { return out.Write(""); },
                               .produced_length = 0}));
    });
    for (int i = 0; i < turns; ++i) Yield();
    const bool done = asks.ready();
    asks.Kill();
    EXPECT_EQ(Outcome(client.Get(kUrl)), "200 hello") << "killed after " << turns;
    if (done) {
      EXPECT_EQ(seen, "200 hello");
      EXPECT_GT(turns, 20);
      break;
    }
  }
}

GREENLET_TEST(HttpClient, AReadThatATimeoutCutShortIsTheLast) {
  PlayedServer server([](int, MemoryStream& stream) {
    ReadRequestHead(stream);
    stream.Write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi").IgnoreError();
    ReadThrough(stream, "never");
  });
  HttpClient client(server.options());
  absl::StatusOr<ClientResponse> response = client.Get(kUrl);
  char buffer[2];
  EXPECT_EQ(*response->Read(absl::MakeSpan(buffer)), 2u);
  EXPECT_TRUE(absl::IsDeadlineExceeded(WithTimeout(absl::Seconds(1), [&] {
    return response->Read(absl::MakeSpan(buffer)).status();
  })));
  EXPECT_TRUE(absl::IsAborted(response->Read(absl::MakeSpan(buffer)).status()));
}

GREENLET_TEST(HttpClient, AResetAtEachByteIsAnErrorAndNothingElse) {
  for (uint64_t at = 0; at < 120; ++at) {
    PlayedServer server(Always(Answer("hello")),
                        {.capacity = 1 << 20, .fault_after = at});
    HttpClient client(server.options());
    const std::string seen = Outcome(client.Get(kUrl));
    EXPECT_TRUE(seen == "200 hello" || absl::StrContains(seen, "UNAVAILABLE") ||
                absl::StrContains(seen, "DATA_LOSS"))
        << seen;
  }
}

// --- against grove's own server

GREENLET_TEST(HttpClient, OursUnderstandEachOther) {
  net::MemoryListener listener({.capacity = 4096, .seed = 7});
  HttpServer server(listener, [](Request& request, ResponseWriter& response) {
    const absl::StatusOr<std::string> body = request.body().ReadAll(1 << 24);
    if (!body.ok()) return;
    for (size_t i = 0; i < body->size(); i += 1000) {
      if (!response.Write(body->substr(i, 1000)).ok()) return;
    }
  });
  server.Start();
  HttpClientOptions options;
  options.dial = [&](const ClientEndpoint&,
                     Deadline) -> absl::StatusOr<std::unique_ptr<net::Stream>> {
    return std::make_unique<MemoryStream>(*listener.Connect());
  };
  {
    HttpClient client(options);
    std::vector<Greenlet<>> asking;
    for (size_t i = 0; i < 20; ++i) {
      asking.push_back(Spawn([&, i] {
        for (size_t size : {i, i * 1000, i * 10000}) {
          std::string body;
          for (size_t k = 0; k < size; ++k) {
            body.push_back(static_cast<char>('a' + (k * 7 + i) % 26));
          }
          EXPECT_EQ(Outcome(client.Post(kUrl, "text/plain", body)), "200 " + body);
        }
      }));
    }
    JoinAll(asking);
    EXPECT_EQ(client.connections()["http://a.test:80"].discarded, 0u);
  }
  server.Stop(absl::Hours(1));
}

}  // namespace
}  // namespace grove::http
