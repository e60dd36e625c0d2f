#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "grove/green/sleep.h"
#include "grove/net/http/client.h"
#include "grove/net/http/client_http2_test_util.h"
#include "grove/net/http/client_test_util.h"

// Bodies of requests that come to no good end, by HTTP/1.1 and by HTTP/2.
namespace grove::http {
namespace {

using net::MemoryStream;
using testing::StartsWith;

constexpr char kUrl[] = "http://a.test/x";

HttpClientOptions OptionsOf(PlayedServer& server, bool http2) {
  HttpClientOptions options = server.options();
  options.http2_prior_knowledge = http2;
  return options;
}

GREENLET_TEST(ClientBodies, AProducerThatFailsEndsItsRequest) {
  for (bool http2 : {false, true}) {
    const PlayedServer::Play by_http1 = [](int, MemoryStream& stream) {
      if (absl::StartsWith(ReadRequestHead(stream), "GET ")) {
        stream.Write(Answer("GET /x ")).IgnoreError();
      }
      ReadThrough(stream, "the client's end");
    };
    PlayedServer server(http2 ? Serve(&Echo) : by_http1);
    HttpClient client(OptionsOf(server, http2));
    const auto send = [&](BodyProducer produce, std::optional<uint64_t> length) {
      return client.Send({.method = "PUT",
                          .url = kUrl,
                          .produce = std::move(produce),
                          .produced_length = length});
    };
    EXPECT_EQ(send([](BodyWriter&) { return absl::NotFoundError("no file"); }, {})
                  .status()
                  .message(),
              "PUT http://a.test/x: no file");
    EXPECT_TRUE(absl::IsInvalidArgument(
        send([](BodyWriter& out) { return out.Write("abc"); }, 2).status()));
    EXPECT_TRUE(absl::IsInvalidArgument(
        send([](BodyWriter& out) { return out.Write("abc"); }, 4).status()));
    EXPECT_THROW(
        send([](BodyWriter&) -> absl::Status { throw std::runtime_error("boo"); }, {})
            .status()
            .IgnoreError(),
        std::runtime_error);
    EXPECT_EQ(client.connections()["http://a.test:80"].size, 0u);
    EXPECT_EQ(Outcome(client.Get(kUrl)), "200 GET /x ");
    // HTTP/2 resets the requests; of HTTP/1.1 the connection is lost with each.
    EXPECT_EQ(server.connections(), http2 ? 1 : 5);
  }
}

GREENLET_TEST(ClientBodies, AServerThatSaysNoStopsThem) {
  for (bool http2 : {false, true}) {
    const PlayedServer::Play by_http1 = [](int, MemoryStream& stream) {
      ReadRequestHead(stream);
      stream.Write(Answer("too large", "", "413 No")).IgnoreError();
      ReadThrough(stream, "the client's end");
    };
    const auto by_http2 = [](PlayedHttp2& peer, int32_t id, PlayedHttp2::Asked&) {
      peer.Answer(id, "too large", {}, {}, "413");
    };
    PlayedServer server(http2 ? Serve(by_http2, /*at_head=*/true) : by_http1,
                        {.capacity = 1000});
    HttpClient client(OptionsOf(server, http2));
    EXPECT_EQ(Outcome(client.Post(kUrl, "text/plain", std::string(5 << 20, 'a'))),
              "413 too large");
    bool begun = false, ended = false;
    const BodyProducer for_ever = [&](BodyWriter& out) {
      begun = true;
      struct End {
        bool* ended;
        ~End() { *ended = true; }
      } end{&ended};
      for (;;) {
        if (absl::Status s = out.Write(std::string(5000, 'a')); !s.ok()) return s;
      }
    };
    EXPECT_EQ(Outcome(client.Send({.method = "PUT", .url = kUrl, .produce = for_ever})),
              "413 too large");
    EXPECT_EQ(ended, begun);  // it may be told before it begins
    EXPECT_EQ(client.connections()["http://a.test:80"].size, 0u);
    EXPECT_EQ(server.connections(), http2 ? 1 : 2);
  }
}

// A producer that has nothing to send writes nothing that could fail.
GREENLET_TEST(ClientBodies, AServerThatLeavesIsNoticedWhileTheProducerIsQuiet) {
  for (bool http2 : {false, true}) {
    for (bool resets : {false, true}) {
      const absl::Duration begin = Elapsed();
      const auto leave = [resets](MemoryStream& stream) {
        if (resets) {
          stream.Abort();
        } else {
          stream.Close();
        }
      };
      const PlayedServer::Play by_http1 = [&](int, MemoryStream& stream) {
        ReadRequestHead(stream);
        leave(stream);
      };
      const PlayedServer::Play by_http2 = [&](int, MemoryStream& stream) {
        PlayedHttp2(
            stream, [&](PlayedHttp2&, int32_t, PlayedHttp2::Asked&) { leave(stream); },
            /*at_head=*/true)
            .Run();
      };
      PlayedServer server(http2 ? by_http2 : by_http1);
      HttpClient client(OptionsOf(server, http2));
      const BodyProducer quiet = [](BodyWriter& out) {
        Sleep(absl::Hours(1));
        return out.Write("late");
      };
      EXPECT_THAT(Outcome(client.Send({.method = "POST", .url = kUrl, .produce = quiet})),
                  StartsWith("UNAVAILABLE"));
      EXPECT_LE(Elapsed() - begin, absl::Seconds(1)) << http2 << resets;
    }
  }
}

}  // namespace
}  // namespace grove::http
