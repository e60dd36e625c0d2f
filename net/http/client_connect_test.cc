#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>

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

// How connections of HTTP/2 are made and given up: one for each server.
namespace grove::http {
namespace {

using net::MemoryStream;
using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

constexpr char kUrl[] = "http://a.test/x";

// What each of `count` requests that are sent at once gets.
std::vector<std::string> AskAtOnce(HttpClient& client, int count,
                                   const std::string& url = kUrl) {
  std::vector<std::string> outcomes(count);
  std::vector<Greenlet<>> asking;
  for (std::string& outcome : outcomes) {
    asking.push_back(Spawn([&] { outcome = Outcome(client.Get(url)); }));
  }
  JoinAll(asking);
  return outcomes;
}

// https without TLS, to a server that agrees upon HTTP/2.
ClientSecurer PretendHttp2() {
  return [](std::unique_ptr<net::Stream> stream, const std::string&,
            Deadline) -> absl::StatusOr<SecuredStream> {
    return SecuredStream{std::move(stream), "h2"};
  };
}

GREENLET_TEST(Http2Connect, ThoseWhoAskAtOnceShareOneAttempt) {
  PlayedServer server(Serve(&Echo));
  HttpClientOptions options = Http2ClientOptions(server);
  options.dial = [dial = server.dialer()](const ClientEndpoint& to, Deadline by) {
    Sleep(absl::Seconds(5));
    return dial(to, by);
  };
  HttpClient client(options);
  EXPECT_THAT(AskAtOnce(client, 50), testing::Each("200 GET /x "));
  EXPECT_TRUE(HasTaken(absl::Seconds(5)));
  EXPECT_EQ(server.connections(), 1);
}

GREENLET_TEST(Http2Connect, ThoseWhoAskADeadServerAtOnceFailTogether) {
  int dialed = 0;
  HttpClientOptions options;
  options.http2_prior_knowledge = true;
  options.dial = [&](const ClientEndpoint&, Deadline) {
    ++dialed;
    Sleep(absl::Seconds(5));
    return absl::UnavailableError("nobody is there");
  };
  HttpClient client(options);
  EXPECT_THAT(AskAtOnce(client, 20),
              testing::Each(AllOf(StartsWith("UNAVAILABLE"), HasSubstr("nobody"))));
  EXPECT_TRUE(HasTaken(absl::Seconds(5)));
  EXPECT_EQ(dialed, 1);
  // Who comes later tries anew.
  EXPECT_THAT(Outcome(client.Get(kUrl)), StartsWith("UNAVAILABLE"));
  EXPECT_EQ(dialed, 2);
}

// Nobody waits for longer than he himself would have tried.
GREENLET_TEST(Http2Connect, ThoseWhoAskASilentServerWaitForTheirOwnTime) {
  HttpClientOptions options;
  options.http2_prior_knowledge = true;
  options.timeouts.connect = absl::Seconds(10);
  options.dial = [&](const ClientEndpoint&,
                     Deadline by) -> absl::StatusOr<std::unique_ptr<net::Stream>> {
    Sleep(by.Remaining());
    return absl::DeadlineExceededError("nothing came");
  };
  HttpClient client(options);
  const auto late = AllOf(StartsWith("DEADLINE_EXCEEDED"), HasSubstr("connecting"));
  const Greenlet<> second = Spawn([&] {
    Sleep(absl::Seconds(7));
    EXPECT_THAT(AskAtOnce(client, 20), testing::Each(late));
    EXPECT_TRUE(HasTaken(absl::Seconds(17)));
  });
  EXPECT_THAT(AskAtOnce(client, 20), testing::Each(late));
  EXPECT_TRUE(HasTaken(absl::Seconds(10)));
  second.Join();
}

GREENLET_TEST(Http2Connect, OneThatGivesUpLeavesTheAttemptToTheNext) {
  for (bool killed : {true, false}) {
    PlayedServer server(Serve(&Echo));
    HttpClientOptions options = Http2ClientOptions(server);
    options.dial = [dial = server.dialer()](
                       const ClientEndpoint& to,
                       Deadline by) -> absl::StatusOr<std::unique_ptr<net::Stream>> {
      if (by.Remaining() < absl::Seconds(5)) {
        Sleep(by.Remaining());
        return absl::DeadlineExceededError("too slow");
      }
      Sleep(absl::Seconds(5));
      return dial(to, by);
    };
    HttpClient client(options);
    std::string outcome;
    const Greenlet<> first = Spawn([&] {
      ClientTimeouts hasty;
      if (!killed) hasty.connect = absl::Seconds(1);
      outcome = Outcome(client.Send({.url = kUrl, .timeouts = hasty}));
    });
    Yield();
    const Greenlet<> others =
        Spawn([&] { EXPECT_THAT(AskAtOnce(client, 20), testing::Each("200 GET /x ")); });
    Sleep(absl::Milliseconds(500));
    if (killed) first.Kill();
    others.Join();
    first.Join();
    EXPECT_THAT(outcome, StartsWith(killed ? "" : "DEADLINE_EXCEEDED"));
    EXPECT_EQ(outcome.empty(), killed);
    EXPECT_EQ(server.connections(), 1);
  }
}

// That a server speaks HTTP/2 is known from the last connection to it.
GREENLET_TEST(Http2Connect, ThoseWhoAskAServerThatHasDiedFailTogether) {
  bool dead = false;
  PlayedServer server([&](int, MemoryStream& stream) {
    PlayedHttp2(stream, [&](PlayedHttp2& peer, int32_t id, PlayedHttp2::Asked& asked) {
      Echo(peer, id, asked);
      peer.Flush();
      stream.Close();
      dead = true;
    }).Run();
  });
  int dialed = 0;
  HttpClientOptions options = server.options();
  options.secure = PretendHttp2();
  options.dial = [&, dial = server.dialer()](
                     const ClientEndpoint& to,
                     Deadline by) -> absl::StatusOr<std::unique_ptr<net::Stream>> {
    ++dialed;
    if (!dead) return dial(to, by);
    Sleep(absl::Seconds(5));
    return absl::UnavailableError("nobody is there");
  };
  HttpClient client(options);
  EXPECT_EQ(Outcome(client.Get("https://a.test/x")), "200 GET /x ");
  EXPECT_THAT(AskAtOnce(client, 20, "https://a.test/x"),
              testing::Each(StartsWith("UNAVAILABLE")));
  EXPECT_TRUE(HasTaken(absl::Seconds(5)));
  EXPECT_EQ(dialed, 2);
}

GREENLET_TEST(Http2Connect, HostsThatCannotBeReachedLeaveNothingBehind) {
  HttpClientOptions options;
  options.http2_prior_knowledge = true;
  options.dial = [](const ClientEndpoint&, Deadline) {
    return absl::UnavailableError("nobody is there");
  };
  HttpClient client(options);
  size_t before = 0;
  for (int i = 0; i < 5000; ++i) {
    EXPECT_THAT(Outcome(client.Get(absl::StrCat("http://host-", i, ".test/"))),
                StartsWith("UNAVAILABLE"));
    if (i == 500) before = mallinfo2().uordblks;
  }
  EXPECT_LE(mallinfo2().uordblks, before + (64 << 10));
}

GREENLET_TEST(Http2Connect, AConnectionIsNotUsedBeyondItsLifetime) {
  int ended = 0;
  PlayedServer server([&](int, MemoryStream& stream) {
    PlayedHttp2(stream, &Echo).Run();
    ++ended;
  });
  HttpClientOptions options = Http2ClientOptions(server);
  options.max_lifetime = absl::Minutes(1);
  options.idle_timeout = absl::InfiniteDuration();
  HttpClient client(options);
  for (int i = 0; i < 7; ++i) {
    EXPECT_EQ(Outcome(client.Get(kUrl)), "200 GET /x ");
    Sleep(absl::Seconds(25));
  }
  // At 0, 25 and 50 seconds; at 75, 100 and 125; at 150.
  EXPECT_EQ(client.statistics().http2_connections, 3u);
  EXPECT_EQ(ended, 2);
  // Nobody asks any more.
  Sleep(absl::Minutes(2));
  EXPECT_EQ(ended, 3);
}

GREENLET_TEST(Http2Connect, AResponseThatIsUnderWayMayOutliveTheLifetime) {
  PlayedServer server(Serve([](PlayedHttp2& peer, int32_t id, PlayedHttp2::Asked&) {
    peer.Answer(id, std::string(1 << 20, 'a'));
  }));
  HttpClientOptions options = Http2ClientOptions(server);
  options.max_lifetime = absl::Minutes(1);
  HttpClient client(options);
  absl::StatusOr<ClientResponse> response = client.Get(kUrl);
  ASSERT_TRUE(response.ok()) << response.status();
  Sleep(absl::Minutes(5));
  EXPECT_EQ(Outcome(client.Get(kUrl)).size(), 4u + (1 << 20));
  EXPECT_EQ(response->ReadAll(2 << 20)->size(), 1u << 20);
  EXPECT_EQ(client.statistics().http2_connections, 2u);
}

}  // namespace
}  // namespace grove::http
