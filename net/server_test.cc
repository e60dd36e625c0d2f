#include "grove/net/server.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/internal/sanitizer.h"
#include "grove/green/sleep.h"
#include "grove/green/status.h"
#include "grove/green/timeout.h"

namespace grove::net {
namespace {

void Echo(TcpStream& stream) {
  char buffer[1024];
  for (;;) {
    absl::StatusOr<size_t> n = stream.Read(absl::MakeSpan(buffer));
    if (!n.ok() || *n == 0) return;
    if (!stream.Write({buffer, *n}).ok()) return;
  }
}

class Server : public testing::Test {
 protected:
  TcpListener Listen() { return *TcpListener::Listen(Address::Loopback(0)); }

  static TcpStream Connect(const StreamServer& server) {
    absl::StatusOr<TcpStream> s = TcpStream::Connect(server.address());
    EXPECT_TRUE(s.ok()) << s.status();
    return *std::move(s);
  }

  static std::string Ask(TcpStream& stream, absl::string_view question) {
    if (absl::Status s = stream.Write(question); !s.ok()) return s.ToString();
    std::string answer(question.size(), '\0');
    if (absl::Status s = stream.ReadExactly(absl::MakeSpan(answer)); !s.ok()) {
      return s.ToString();
    }
    return answer;
  }

  HubScope scope_;
};

TEST_F(Server, RunsAHandlerForEachConnection) {
  StreamServer server(Listen(), &Echo);
  server.Start();
  std::vector<TcpStream> clients;
  for (int i = 0; i < 50; ++i) clients.push_back(Connect(server));
  for (TcpStream& c : clients) EXPECT_EQ(Ask(c, "hello"), "hello");
  EXPECT_EQ(server.active(), 50u);
  EXPECT_EQ(server.accepted(), 50u);
  clients.clear();
  while (server.active() > 0) Yield();
}

TEST_F(Server, ClosesTheConnectionWhenItsHandlerReturns) {
  StreamServer server(Listen(), [](TcpStream& s) { (void)s.Write("bye"); });
  server.Start();
  TcpStream client = Connect(server);
  char buffer[10];
  EXPECT_EQ(*client.Read(absl::MakeSpan(buffer)), 3u);
  EXPECT_EQ(*client.Read(absl::MakeSpan(buffer)), 0u);
}

TEST_F(Server, AnExceptionEndsItsConnectionAndNothingElse) {
  int reported = 0;
  SetErrorHandler([&](const UnhandledException&) { ++reported; });
  StreamServer server(Listen(), [](TcpStream& s) {
    char b[1];
    (void)s.Read(absl::MakeSpan(b));
    if (b[0] == '!') throw std::runtime_error("bad request");
    (void)s.Write({b, 1});
  });
  server.Start();
  TcpStream bad = Connect(server);
  TcpStream good = Connect(server);
  ASSERT_TRUE(bad.Write("!").ok());
  char buffer[1];
  EXPECT_EQ(*bad.Read(absl::MakeSpan(buffer)), 0u);
  EXPECT_EQ(Ask(good, "x"), "x");
  EXPECT_EQ(reported, 1);
}

TEST_F(Server, AcceptsNoMoreThanTheLimitUntilOneLeaves) {
  StreamServer server(Listen(), &Echo, {.max_connections = 2});
  server.Start();
  TcpStream a = Connect(server);
  TcpStream b = Connect(server);
  TcpStream c = Connect(server);  // in the backlog
  EXPECT_EQ(Ask(a, "x"), "x");
  EXPECT_EQ(Ask(b, "x"), "x");
  ASSERT_TRUE(c.Write("y").ok());
  char buffer[1];
  EXPECT_EQ(c.Read(absl::MakeSpan(buffer), absl::Milliseconds(5)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(server.active(), 2u);
  a.Close();
  EXPECT_EQ(*c.Read(absl::MakeSpan(buffer)), 1u);
  EXPECT_EQ(server.active(), 2u);
}

TEST_F(Server, ADrainFinishesWhatArrivedAndEndsIdleConnectionsAtOnce) {
  StreamServer server(Listen(), &Echo);
  server.Start();
  TcpStream idle = Connect(server);
  TcpStream busy = Connect(server);
  EXPECT_EQ(Ask(idle, "x"), "x");
  EXPECT_EQ(Ask(busy, "x"), "x");
  ASSERT_TRUE(busy.Write("last request").ok());
  const StreamServer::StopReport report = server.Stop(absl::Hours(1));
  EXPECT_EQ(report.finished, 2u);
  EXPECT_EQ(report.cut, 0u);
  char buffer[100];
  EXPECT_EQ(*busy.Read(absl::MakeSpan(buffer)), 12u);
  EXPECT_EQ(*busy.Read(absl::MakeSpan(buffer)), 0u);
  EXPECT_EQ(*idle.Read(absl::MakeSpan(buffer)), 0u);
  EXPECT_EQ(ErrnoOf(TcpStream::Connect(server.address()).status()), ECONNREFUSED);
}

TEST_F(Server, WhatDoesNotEndWithinTheGraceIsCut) {
  bool unwound = false;
  StreamServer server(Listen(), [&](TcpStream& s) {
    char b[1];
    (void)s.Read(absl::MakeSpan(b));
    struct Mark {
      bool* flag;
      ~Mark() { *flag = true; }
    } mark{&unwound};
    Sleep(absl::InfiniteDuration());
  });
  server.Start();
  TcpStream client = Connect(server);
  ASSERT_TRUE(client.Write("x").ok());
  while (server.active() == 0) Yield();
  Yield();
  const StreamServer::StopReport report = server.Stop(absl::Milliseconds(1));
  EXPECT_EQ(report.cut, 1u);
  EXPECT_EQ(report.finished, 0u);
  EXPECT_TRUE(unwound);
  EXPECT_EQ(server.active(), 0u);
}

TEST_F(Server, StopWorksBeforeStartTwiceAndFromTwoGreenlets) {
  StreamServer never(Listen(), &Echo);
  never.Stop();
  never.Start();
  EXPECT_FALSE(never.accepting());

  StreamServer server(Listen(), &Echo);
  server.Start();
  TcpStream client = Connect(server);
  EXPECT_EQ(Ask(client, "x"), "x");
  Greenlet<> a = Spawn([&] { EXPECT_EQ(server.Stop(absl::Hours(1)).finished, 1u); });
  Greenlet<> b = Spawn([&] { EXPECT_EQ(server.Stop(absl::Hours(1)).finished, 1u); });
  a.Join();
  b.Join();
  EXPECT_EQ(server.Stop().finished, 1u);
}

TEST_F(Server, OfTwoStopsTheFirstKillCounts) {
  StreamServer server(Listen(), [](TcpStream&) {
    struct Slow {
      ~Slow() {
        const Shield shield;
        for (int i = 0; i < 10; ++i) Yield();
      }
    } const slow;
    Sleep(absl::InfiniteDuration());
  });
  server.Start();
  TcpStream client = Connect(server);
  while (server.active() == 0) Yield();
  const Greenlet<StopReport> patient = Spawn([&] { return server.Stop(absl::Hours(1)); });
  Yield();
  EXPECT_EQ(server.Stop().cut, 1u);
  EXPECT_EQ(patient.Get()->cut, 1u);
  EXPECT_EQ(patient.Get()->finished, 0u);
}

TEST(ServerDeathTest, AHandlerThatStopsItsServerIsFatal) {
  EXPECT_DEATH(
      {
        const HubScope scope;
        StreamServer server(*TcpListener::Listen(Address::Loopback(0)),
                            [&](TcpStream&) { server.Stop(); });
        server.Start();
        auto client = TcpStream::Connect(server.address());
        Sleep(absl::Hours(1));
      },
      "is stopped by one of its handlers, which would wait for itself");
}

TEST_F(Server, OnDrainIsAskedInsteadOfEndingReads) {
  int asked = 0;
  StreamServer server(Listen(), &Echo, {.on_drain = [&](Stream& s) {
                        ++asked;
                        s.Close();
                      }});
  server.Start();
  TcpStream client = Connect(server);
  EXPECT_EQ(Ask(client, "x"), "x");
  server.Stop(absl::Hours(1));
  EXPECT_EQ(asked, 1);
}

TEST_F(Server, ServeReturnsAfterAStopByAnother) {
  StreamServer server(Listen(), &Echo);
  Greenlet<absl::Status> serving = Spawn([&] { return server.Serve(); });
  Yield();
  EXPECT_FALSE(serving.ready());
  server.Stop();
  EXPECT_TRUE(serving.Get().ok());
}

TEST_F(Server, ServeStopsWhenItIsKilled) {
  StreamServer server(Listen(), &Echo);
  Greenlet<absl::Status> serving = Spawn([&] { return server.Serve(); });
  TcpStream client = Connect(server);
  EXPECT_EQ(Ask(client, "x"), "x");
  serving.Kill();
  EXPECT_TRUE(serving.killed());
  EXPECT_EQ(server.active(), 0u);
}

TEST_F(Server, AHandlerKilledBeforeItBeganGivesItsSlotBack) {
  StreamServer server(Listen(), &Echo);
  server.Start();
  TcpStream client = Connect(server);
  while (server.accepted() == 0) Yield();
  Shutdown(absl::Seconds(5));
  EXPECT_EQ(server.active(), 0u);
}

TEST_F(Server, ItRecoversFromExhaustedDescriptors) {
  StreamServer server(Listen(), &Echo,
                      {.min_delay = absl::Milliseconds(1),
                       .max_delay = absl::Milliseconds(2),
                       .name = "short server"});
  server.Start();
  TcpStream before = Connect(server);
  EXPECT_EQ(Ask(before, "x"), "x");
  // Take all descriptors but one, which the next client's socket needs: the server has
  // none left to accept it with.
  rlimit old_limit;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &old_limit), 0);
  const rlimit low{.rlim_cur = 200, .rlim_max = old_limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
  std::vector<int> hoard;
  for (int fd; (fd = open("/dev/null", O_RDONLY)) >= 0;) hoard.push_back(fd);
  close(hoard.back());
  hoard.pop_back();
  TcpStream waiting = Connect(server);
  ASSERT_TRUE(waiting.Write("y").ok());
  char buffer[1];
  EXPECT_EQ(waiting.Read(absl::MakeSpan(buffer), absl::Milliseconds(5)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(Ask(before, "still served"), "still served");
  for (int fd : hoard) close(fd);
  setrlimit(RLIMIT_NOFILE, &old_limit);
  EXPECT_EQ(*waiting.Read(absl::MakeSpan(buffer)), 1u);
}

#if !GROVE_ASAN && !GROVE_TSAN
// One that has as many greenlets as there are stacks does not end by one connection more.
TEST_F(Server, ItRecoversFromExhaustedStacks) {
  StreamServer server(Listen(), &Echo,
                      {.min_delay = absl::Milliseconds(1),
                       .max_delay = absl::Milliseconds(2),
                       .name = "short server"});
  server.Start();
  Yield();
  rlimit old_limit;
  ASSERT_EQ(getrlimit(RLIMIT_AS, &old_limit), 0);
  const rlimit low{.rlim_cur = 1 << 20, .rlim_max = old_limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_AS, &low), 0);
  std::vector<Greenlet<>> hoard;
  while (CanSpawn()) hoard.push_back(Spawn([] { Sleep(absl::InfiniteDuration()); }));
  TcpStream client = Connect(server);
  ASSERT_TRUE(client.Write("x").ok());
  char buffer[1];
  EXPECT_EQ(client.Read(absl::MakeSpan(buffer), absl::Milliseconds(5)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_GT(server.statistics().shortages, 0u);
  for (const Greenlet<>& g : hoard) g.Kill();
  hoard.clear();
  setrlimit(RLIMIT_AS, &old_limit);
  EXPECT_EQ(*client.Read(absl::MakeSpan(buffer)), 1u);
}
#endif

}  // namespace
}  // namespace grove::net
