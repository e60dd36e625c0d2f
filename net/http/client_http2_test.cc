#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nghttp2/nghttp2.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "grove/green/sleep.h"
#include "grove/green/wait.h"
#include "grove/net/http/client.h"
#include "grove/net/http/client_http2_test_util.h"
#include "grove/net/http/client_test_util.h"

// The client's HTTP/2 against a server that is nghttp2's, and does what the test says.
namespace grove::http {
namespace {

using net::MemoryStream;
using testing::HasSubstr;
using testing::StartsWith;

using Fields = Http2FieldList;
using Peer = PlayedHttp2;

constexpr char kUrl[] = "http://a.test/x";

GREENLET_TEST(Http2Client, SendsWhatItIsToldAndReadsWhatComes) {
  std::map<std::string, std::string> fields;
  PlayedServer server(Serve([&](Peer& peer, int32_t id, Peer::Asked& asked) {
    fields = asked.fields;
    Fields early = {{":status", "103"}, {"link", "<a>"}};
    const std::vector<nghttp2_nv> nv = ToNv(early);
    nghttp2_submit_headers(peer.session, 0, id, nullptr, nv.data(), nv.size(), nullptr);
    peer.Answer(id, "hi " + asked.body, {{"x-b", "2"}}, {{"x-trailer", "3"}}, "201");
  }));
  HttpClient client(Http2ClientOptions(server));
  ClientRequest request{.method = "PUT", .url = "http://a.test:81/p?q", .body = "body"};
  request.headers.Set("X-A", "1");
  absl::StatusOr<ClientResponse> response = client.Send(request);
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->status(), 201);
  EXPECT_EQ(response->version_major(), 2);
  EXPECT_EQ(response->headers().Get("X-B"), "2");
  EXPECT_EQ(*response->ReadAll(100), "hi body");
  EXPECT_EQ(response->trailers().Get("x-trailer"), "3");
  EXPECT_THAT(
      fields,
      testing::UnorderedElementsAre(
          testing::Pair(":method", "PUT"), testing::Pair(":scheme", "http"),
          testing::Pair(":authority", "a.test:81"), testing::Pair(":path", "/p?q"),
          testing::Pair("x-a", "1"), testing::Pair("content-length", "4")));
}

GREENLET_TEST(Http2Client, ManyRequestsShareOneConnection) {
  // None is answered before all are there; then the last one first.
  std::vector<int32_t> waiting;
  PlayedServer server(Serve([&](Peer& peer, int32_t id, Peer::Asked& asked) {
    waiting.push_back(id);
    if (waiting.size() < 50) return;
    for (auto it = waiting.rbegin(); it != waiting.rend(); ++it) {
      peer.Answer(*it, absl::StrCat("answer"));
    }
    (void)asked;
  }));
  HttpClient client(Http2ClientOptions(server));
  // What protocol it is, is known from the first one on.
  std::vector<Greenlet<>> asking;
  for (int i = 0; i < 50; ++i) {
    asking.push_back(Spawn([&] { EXPECT_EQ(Outcome(client.Get(kUrl)), "200 answer"); }));
  }
  JoinAll(asking);
  EXPECT_EQ(client.statistics().http2_connections, 1u);
}

GREENLET_TEST(Http2Client, BodiesOfAnySizeGoBothWays) {
  PlayedServer server(Serve(&Echo));
  HttpClient client(Http2ClientOptions(server));
  std::vector<Greenlet<>> asking;
  for (size_t size : {0, 1, 16384, 65535, 65536, 1000000, 3000000}) {
    asking.push_back(Spawn([&, size] {
      std::string body(size, 'a');
      for (size_t i = 0; i < size; ++i) body[i] = static_cast<char>('a' + i * 7 % 26);
      EXPECT_TRUE(Outcome(client.Post(kUrl, "text/plain", body)) ==
                  "200 POST /x " + body);
      const BodyProducer produce = [&](BodyWriter& out) {
        for (size_t i = 0; i < size; i += 77777) {
          if (absl::Status s = out.Write(body.substr(i, 77777)); !s.ok()) return s;
        }
        return absl::OkStatus();
      };
      EXPECT_TRUE(
          Outcome(client.Send({.method = "PUT", .url = kUrl, .produce = produce})) ==
          "200 PUT /x " + body);
      EXPECT_TRUE(Outcome(client.Send({.method = "PUT",
                                       .url = kUrl,
                                       .produce = produce,
                                       .produced_length = size})) ==
                  "200 PUT /x " + body);
    }));
  }
  JoinAll(asking);
  EXPECT_EQ(client.statistics().http2_connections, 1u);
}

GREENLET_TEST(Http2Client, WhoDoesNotReadHoldsUpNobodyAndFillsNoMemory) {
  std::map<int32_t, size_t>* sent = nullptr;
  PlayedServer server([&](int, MemoryStream& stream) {
    Peer peer(stream, [](Peer& p, int32_t id, Peer::Asked& asked) {
      p.Answer(id,
               std::string(asked.fields[":path"] == "/large" ? 10 << 20 : 100000, 'a'));
    });
    sent = &peer.sent;
    peer.Run();
  });
  HttpClient client(Http2ClientOptions(server));
  absl::StatusOr<ClientResponse> slow = client.Get("http://a.test/large");
  ASSERT_TRUE(slow.ok()) << slow.status();
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(Outcome(client.Get("http://a.test/small")).size(), 100004u);
  }
  EXPECT_EQ((*sent)[1], 256u << 10);
  EXPECT_EQ(slow->ReadAll(20 << 20)->size(), 10u << 20);
}

GREENLET_TEST(Http2Client, WhatTheServerHasNotLookedAtIsSentAgain) {
  int seen = 0;
  PlayedServer refuses(Serve([&](Peer& peer, int32_t id, Peer::Asked& asked) {
    if (++seen < 3) {
      nghttp2_submit_rst_stream(peer.session, 0, id, NGHTTP2_REFUSED_STREAM);
    } else {
      Echo(peer, id, asked);
    }
  }));
  HttpClient client(Http2ClientOptions(refuses));
  // A POST as well.
  EXPECT_EQ(Outcome(client.Post(kUrl, "text/plain", "body")), "200 POST /x body");
  EXPECT_EQ(seen, 3);
  EXPECT_EQ(client.statistics().retries, 2u);
  seen = -10;
  EXPECT_THAT(Outcome(client.Post(kUrl, "text/plain", "body")),
              testing::AllOf(StartsWith("UNAVAILABLE"), HasSubstr("REFUSED_STREAM")));
  EXPECT_EQ(seen, -7);
}

GREENLET_TEST(Http2Client, AServerThatGoesAwayIsAskedOnAnotherConnection) {
  PlayedServer server([&](int number, MemoryStream& stream) {
    Peer(stream, [&](Peer& peer, int32_t id, Peer::Asked& asked) {
      if (number == 0 && id > 1) {
        // The first one it has answered, this one it has not looked at.
        nghttp2_submit_goaway(peer.session, 0, 1, NGHTTP2_NO_ERROR, nullptr, 0);
        return;
      }
      Echo(peer, id, asked);
    }).Run();
  });
  HttpClient client(Http2ClientOptions(server));
  EXPECT_EQ(Outcome(client.Post(kUrl, "text/plain", "1")), "200 POST /x 1");
  EXPECT_EQ(Outcome(client.Post(kUrl, "text/plain", "2")), "200 POST /x 2");
  EXPECT_EQ(Outcome(client.Post(kUrl, "text/plain", "3")), "200 POST /x 3");
  EXPECT_EQ(client.statistics().http2_connections, 2u);
  EXPECT_EQ(client.statistics().retries, 1u);
}

GREENLET_TEST(Http2Client, AConnectionThatEndsIsAskedAgainOnlyWhereThatIsSafe) {
  for (const char* method : {"GET", "POST"}) {
    PlayedServer server([&](int number, MemoryStream& stream) {
      Peer(stream, [&](Peer& peer, int32_t id, Peer::Asked& asked) {
        if (number == 0 && id > 1) {
          stream.Close();
        } else {
          Echo(peer, id, asked);
        }
      }).Run();
    });
    HttpClient client(Http2ClientOptions(server));
    EXPECT_EQ(Outcome(client.Get(kUrl)), "200 GET /x ");
    const std::string second = Outcome(client.Send({.method = method, .url = kUrl}));
    if (absl::string_view(method) == "GET") {
      EXPECT_EQ(second, "200 GET /x ");
    } else {
      EXPECT_THAT(second, StartsWith("UNAVAILABLE"));
    }
  }
}

GREENLET_TEST(Http2Client, ABodyThatIsCutIsAnError) {
  PlayedServer server([](int, MemoryStream& stream) {
    Peer(stream, [&](Peer& peer, int32_t id, Peer::Asked& asked) {
      if (asked.fields[":path"] == "/short") {
        peer.Answer(id, "abc", {{"content-length", "5"}});
      } else if (asked.fields[":path"] == "/reset") {
        peer.Answer(id, std::string(1000, 'a'));
        peer.Flush();
        nghttp2_submit_rst_stream(peer.session, 0, id, NGHTTP2_INTERNAL_ERROR);
      } else {
        peer.Answer(id, std::string(1 << 20, 'a'));
        peer.Flush();
        stream.ShutdownWrite().IgnoreError();
      }
    }).Run();
  });
  HttpClient client(Http2ClientOptions(server));
  EXPECT_THAT(Outcome(client.Get("http://a.test/short")), HasSubstr("DATA_LOSS"));
  EXPECT_THAT(Outcome(client.Get("http://a.test/cut")), StartsWith("200 UNAVAILABLE"));
}

GREENLET_TEST(Http2Client, AKillResetsItsStreamAndNothingElse) {
  Peer* peer = nullptr;
  PlayedServer server([&](int, MemoryStream& stream) {
    Peer p(stream, [](Peer& q, int32_t id, Peer::Asked& asked) {
      if (asked.fields[":path"] != "/silent") Echo(q, id, asked);
    });
    peer = &p;
    p.Run();
  });
  HttpClient client(Http2ClientOptions(server));
  EXPECT_EQ(Outcome(client.Get(kUrl)), "200 GET /x ");
  const Greenlet<> asks =
      Spawn([&] { client.Get("http://a.test/silent").status().IgnoreError(); });
  for (int i = 0; i < 20; ++i) Yield();
  EXPECT_FALSE(asks.ready());
  asks.Kill();
  EXPECT_EQ(Outcome(client.Get(kUrl)), "200 GET /x ");
  EXPECT_THAT(peer->resets, testing::ElementsAre(3));
  EXPECT_EQ(client.statistics().http2_connections, 1u);

  // A response that is dropped, too.
  { ASSERT_TRUE(client.Get("http://a.test/" + std::string(10000, 'a')).ok()); }
  EXPECT_EQ(Outcome(client.Get(kUrl)), "200 GET /x ");
  EXPECT_EQ(client.statistics().http2_connections, 1u);
}

// The network may have gone, which TCP tells after minutes only.
GREENLET_TEST(Http2Client, AConnectionOnWhichNothingComesInTimeIsNotAskedAgain) {
  PlayedServer server([&](int, MemoryStream& stream) {
    Peer(stream, [](Peer& q, int32_t id, Peer::Asked& asked) {
      if (asked.fields[":path"] != "/silent") Echo(q, id, asked);
    }).Run();
  });
  HttpClient client(Http2ClientOptions(server));
  EXPECT_EQ(Outcome(client.Get(kUrl)), "200 GET /x ");
  // One that is late is late, and no more, where others are answered.
  const Greenlet<> others = Spawn([&] {
    Sleep(absl::Seconds(1));
    EXPECT_EQ(Outcome(client.Get(kUrl)), "200 GET /x ");
  });
  const auto late = testing::AllOf(StartsWith("DEADLINE_EXCEEDED"),
                                   HasSubstr("waiting for the response"));
  EXPECT_THAT(Outcome(client.Get("http://a.test/silent")), late);
  others.Join();
  EXPECT_EQ(Outcome(client.Get(kUrl)), "200 GET /x ");
  EXPECT_EQ(client.statistics().http2_connections, 1u);
  EXPECT_THAT(Outcome(client.Get("http://a.test/silent")), late);
  EXPECT_EQ(Outcome(client.Get(kUrl)), "200 GET /x ");
  EXPECT_EQ(client.statistics().http2_connections, 2u);
}

GREENLET_TEST(Http2Client, NoMoreRequestsThanTheServerAllows) {
  size_t under_way = 0, most = 0;
  std::vector<int32_t> ids;
  PlayedServer server(Serve(
      [&](Peer& peer, int32_t id, Peer::Asked& asked) {
        most = std::max(most, ++under_way);
        --under_way;
        Echo(peer, id, asked);
      },
      false, {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 2}}));
  HttpClient client(Http2ClientOptions(server));
  EXPECT_EQ(Outcome(client.Get(kUrl)), "200 GET /x ");
  std::vector<Greenlet<>> asking;
  for (int i = 0; i < 20; ++i) {
    asking.push_back(Spawn([&] { EXPECT_EQ(Outcome(client.Get(kUrl)), "200 GET /x "); }));
  }
  JoinAll(asking);
  EXPECT_EQ(client.statistics().http2_connections, 1u);
  EXPECT_EQ(client.statistics().retries, 0u);
}

GREENLET_TEST(Http2Client, AHeadThatIsTooLargeEndsItsResponseOnly) {
  PlayedServer server(Serve([](Peer& peer, int32_t id, Peer::Asked& asked) {
    Fields fields;
    if (asked.fields[":path"] == "/many") {
      for (int i = 0; i < 300; ++i) fields.emplace_back(absl::StrCat("x-", i), "a");
    } else if (asked.fields[":path"] == "/large") {
      for (int i = 0; i < 20; ++i) fields.emplace_back("x", std::string(1000, 'a'));
    }
    peer.Answer(id, "hi", fields);
  }));
  HttpClientOptions options = Http2ClientOptions(server);
  options.max_head = 16 << 10;
  HttpClient client(options);
  EXPECT_THAT(Outcome(client.Get("http://a.test/many")),
              StartsWith("RESOURCE_EXHAUSTED"));
  EXPECT_THAT(Outcome(client.Get("http://a.test/large")),
              StartsWith("RESOURCE_EXHAUSTED"));
  EXPECT_EQ(Outcome(client.Get(kUrl)), "200 hi");
  EXPECT_EQ(client.statistics().http2_connections, 1u);
}

GREENLET_TEST(Http2Client, AFloodEndsTheConnection) {
  // PINGs of somebody who does not read the answers.
  PlayedServer server(
      [](int, MemoryStream& stream) {
        stream.Write(std::string("\0\0\0\x04\0\0\0\0\0", 9)).IgnoreError();
        for (int i = 0; i < 100000; ++i) {
          if (!stream.Write(std::string("\0\0\x08\x06\0\0\0\0\0abcdefgh", 17)).ok())
            return;
        }
      },
      {.capacity = 1000});
  HttpClient client(Http2ClientOptions(server));
  EXPECT_THAT(Outcome(client.Get(kUrl)),
              testing::AllOf(StartsWith("DATA_LOSS"), HasSubstr("HTTP/2: ")));
}

GREENLET_TEST(Http2Client, WhatIsNoHttp2IsAnError) {
  PlayedServer server(Always(Answer("hi")));
  HttpClient client(Http2ClientOptions(server));
  EXPECT_THAT(Outcome(client.Get(kUrl)), StartsWith("DATA_LOSS"));
}

// What it said last was that it ends; what is under way is answered all the same, but not
// by nonsense.
GREENLET_TEST(Http2Client, NonsenseBehindAGoawayIsAnErrorOfWhatIsUnderWay) {
  PlayedServer server([](int, MemoryStream& stream) {
    Peer(
        stream,
        [&](Peer& peer, int32_t id, Peer::Asked&) {
          nghttp2_submit_goaway(peer.session, 0, id, NGHTTP2_NO_ERROR, nullptr, 0);
          peer.Flush();
          stream.Write(Http2Frame(NGHTTP2_DATA, 0, 0, "of no stream")).IgnoreError();
        },
        /*at_head=*/true)
        .Run();
  });
  HttpClient client(Http2ClientOptions(server));
  EXPECT_THAT(Outcome(client.Get(kUrl)), StartsWith("DATA_LOSS"));
  EXPECT_LE(Elapsed(), absl::Seconds(1));
}

GREENLET_TEST(Http2Client, AHeadMayComeInSeveralFramesByteByByte) {
  PlayedServer server(
      [](int, MemoryStream& stream) {
        stream.Write(Http2Frame(NGHTTP2_SETTINGS, 0, 0)).IgnoreError();
        Sleep(absl::Seconds(1));  // the request has come
        const std::string block = Http2Block({{":status", "200"}, {"x", "y"}});
        const uint8_t end = NGHTTP2_FLAG_END_STREAM;
        const uint8_t end_head = NGHTTP2_FLAG_END_HEADERS;
        const std::string middle = block.substr(1, 1), rest = block.substr(2);
        stream.Write(Http2Frame(NGHTTP2_HEADERS, end, 1, block.substr(0, 1)))
            .IgnoreError();
        stream.Write(Http2Frame(NGHTTP2_CONTINUATION, 0, 1, middle)).IgnoreError();
        stream.Write(Http2Frame(NGHTTP2_CONTINUATION, end_head, 1, rest)).IgnoreError();
        ReadThrough(stream, "the client's end");
      },
      {.capacity = 1 << 20, .max_piece = 1});
  HttpClient client(Http2ClientOptions(server));
  absl::StatusOr<ClientResponse> response = client.Get(kUrl);
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->headers().Get("x"), "y");
}

GREENLET_TEST(Http2Client, AnIdleConnectionEndsAfterItsTime) {
  int ended = 0;
  bool goodbye = false;
  PlayedServer server([&](int, MemoryStream& stream) {
    Peer peer(stream, &Echo);
    peer.Run();
    goodbye = peer.said_goodbye;
    ++ended;
  });
  HttpClientOptions options = Http2ClientOptions(server);
  options.idle_timeout = absl::Seconds(10);
  HttpClient client(options);
  EXPECT_EQ(Outcome(client.Get(kUrl)), "200 GET /x ");
  Sleep(absl::Seconds(9));
  EXPECT_EQ(ended, 0);
  Sleep(absl::Seconds(2));
  EXPECT_EQ(ended, 1);
  EXPECT_TRUE(goodbye);
  EXPECT_EQ(Outcome(client.Get(kUrl)), "200 GET /x ");
  EXPECT_EQ(client.statistics().http2_connections, 2u);
}

GREENLET_TEST(Http2Client, AServerThatSpeaksKeepsNoIdleConnection) {
  int ended = 0;
  PlayedServer server([&](int, MemoryStream& stream) {
    Peer peer(stream, &Echo);
    const Greenlet<> pings = Spawn([&] {
      for (;;) {
        Sleep(absl::Seconds(3));
        nghttp2_submit_ping(peer.session, NGHTTP2_FLAG_NONE, nullptr);
        if (!peer.Flush()) return;
      }
    });
    peer.Run();
    pings.Kill();
    ++ended;
  });
  HttpClientOptions options = Http2ClientOptions(server);
  options.idle_timeout = absl::Seconds(10);
  HttpClient client(options);
  EXPECT_EQ(Outcome(client.Get(kUrl)), "200 GET /x ");
  Sleep(absl::Seconds(9));
  EXPECT_EQ(ended, 0);
  Sleep(absl::Seconds(2));
  EXPECT_EQ(ended, 1);
}

// The end of a body needs a frame of its own, for which there is no window left.
GREENLET_TEST(Http2Client, WhoseLastFrameIsNotTakenGivesUp) {
  PlayedServer server(Serve(
      [](Peer& peer, int32_t id, Peer::Asked& asked) {
        if (asked.fields[":method"] == "GET") return peer.Answer(id, "");
        Sleep(absl::Hours(1));  // and reads no more, nor lets more come
      },
      /*at_head=*/true, {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 5}}));
  HttpClientOptions options = Http2ClientOptions(server);
  options.timeouts.send = absl::Seconds(7);
  HttpClient client(options);
  EXPECT_EQ(Outcome(client.Get(kUrl)), "200 ");  // and the settings are known
  const absl::Duration begin = absl::Nanoseconds(ThisHub().Now());
  const absl::StatusOr<ClientResponse> response =
      client.Send({.method = "POST", .url = kUrl, .produce = [](BodyWriter& body) {
                     return body.Write("12345");
                   }});
  EXPECT_TRUE(absl::IsDeadlineExceeded(response.status()));
  EXPECT_LE(absl::Nanoseconds(ThisHub().Now()) - begin, absl::Seconds(20))
      << response.status();
}

// Also if all of it has come: an end that is none would be worse.
GREENLET_TEST(Http2Client, TheTotalTimeEndsABodyThatIsReadTooSlowly) {
  PlayedServer server(Serve(
      [](Peer& peer, int32_t id, Peer::Asked&) { peer.Answer(id, "a whole body"); }));
  HttpClient client(Http2ClientOptions(server));
  absl::StatusOr<ClientResponse> response =
      client.Send({.url = kUrl, .timeouts = ClientTimeouts{.total = absl::Seconds(5)}});
  ASSERT_TRUE(response.ok()) << response.status();
  char buffer[4];
  EXPECT_TRUE(response->Read(absl::MakeSpan(buffer)).ok());
  Sleep(absl::Seconds(6));
  for (int i = 0; i < 2; ++i) {
    const absl::StatusOr<size_t> n = response->Read(absl::MakeSpan(buffer));
    EXPECT_TRUE(absl::IsDeadlineExceeded(n.status())) << n.status();
  }
}

GREENLET_TEST(Http2Client, ResponsesMayOutliveTheirClient) {
  PlayedServer server(Serve([](Peer& peer, int32_t id, Peer::Asked&) {
    peer.Answer(id, std::string(1 << 20, 'a'));
  }));
  auto client = std::make_unique<HttpClient>(Http2ClientOptions(server));
  absl::StatusOr<ClientResponse> response = client->Get(kUrl);
  ASSERT_TRUE(response.ok()) << response.status();
  client.reset();
  EXPECT_EQ(response->ReadAll(2 << 20)->size(), 1u << 20);
}

}  // namespace
}  // namespace grove::http
