#include <errno.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/sleep.h"
#include "grove/green/status.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/net/internal/peer_counts.h"
#include "grove/net/internal/peer_pace.h"
#include "grove/net/server.h"
#include "grove/net/tcp.h"
#include "grove/net/testing/memory_listener.h"

// The limits of a StreamServer, on the hub's clock: peers in memory, which need no
// network and no time.
namespace grove::net {
namespace {

using net_internal::PeerKeyOf;
using net_internal::PeerPace;

class ServerLimits : public GreenletTest {
 protected:
  // Answers each line by "ok\n".
  static void AnswerLines(Stream& stream) {
    std::string rest;
    while (stream.ReadUntil("\n", rest, 1 << 20).ok()) {
      if (!stream.Write("ok\n").ok()) return;
    }
  }
  static void Swallow(Stream& stream) {
    char buffer[100];
    for (;;) {
      const absl::StatusOr<size_t> n = stream.Read(absl::MakeSpan(buffer));
      if (!n.ok() || *n == 0) return;
    }
  }

  static std::string ReadLine(Stream& stream) {
    std::string rest;
    const absl::StatusOr<std::string> line = stream.ReadUntil("\n", rest, 100);
    return line.ok() ? *line : line.status().ToString();
  }

  void SetUp() override { listener_.emplace(MemoryStreamOptions{.capacity = 1000}); }
  void TearDown() override { listener_.reset(); }
  MemoryStream Connect() { return *listener_->Connect(); }

  std::optional<MemoryListener> listener_;
};

GREENLET_TEST_F(ServerLimits, OthersRunAfterSoManyAccepts) {
  std::vector<MemoryStream> clients;
  for (int i = 0; i < 20; ++i) clients.push_back(Connect());
  StreamServer server(*listener_, &Swallow, {.accept_budget = 3});
  server.Start();
  uint64_t before = 0;
  int turns = 0;
  while (before < clients.size()) {
    Yield();
    const uint64_t now = server.accepted();
    EXPECT_LE(now - before, 3u);
    before = now;
    ++turns;
    ASSERT_LT(turns, 100);
  }
  EXPECT_GE(turns, 7);
}

GREENLET_TEST_F(ServerLimits, AnIdlePeerIsResetAndOthersAreNot) {
  StreamServer server(*listener_, &AnswerLines, {.idle_limit = absl::Seconds(40)});
  server.Start();
  MemoryStream idle = Connect();
  MemoryStream busy = Connect();
  for (int i = 0; i < 10; ++i) {
    Sleep(absl::Seconds(30));
    ASSERT_TRUE(busy.Write("hello\n").ok());
    EXPECT_EQ(ReadLine(busy), "ok\n");
    // Never early, and an eighth late twice at most.
    EXPECT_EQ(server.active(), Elapsed() < absl::Seconds(40) ? 2u : 1u);
  }
  EXPECT_EQ(ErrnoOf(idle.Write("x")), ECONNRESET);
  EXPECT_EQ(server.statistics().cut_idle, 1u);
  EXPECT_EQ(server.statistics().cut_slow, 0u);
}

GREENLET_TEST_F(ServerLimits, AHandlerThatDoesNotWaitForItsPeerIsNotIdle) {
  StreamServer server(*listener_,
                      [](Stream& s) {
                        char c;
                        (void)s.Read(absl::MakeSpan(&c, 1));
                        Sleep(absl::Hours(1));  // computes, or asks others
                        EXPECT_TRUE(s.Write("done\n").ok());
                      },
                      {.idle_limit = absl::Seconds(10)});
  server.Start();
  MemoryStream client = Connect();
  ASSERT_TRUE(client.Write("x").ok());
  EXPECT_EQ(ReadLine(client), "done\n");
  EXPECT_EQ(server.statistics().cut_idle, 0u);
}

GREENLET_TEST_F(ServerLimits, ThePeerThatSendsByteByByteIsCut) {
  StreamServer server(*listener_, &AnswerLines,
                      {.idle_limit = absl::Minutes(1),
                       .min_rate = 100,
                       .min_rate_grace = absl::Seconds(20)});
  server.Start();
  MemoryStream slow = Connect();
  int sent = 0;
  while (slow.Write("x").ok()) {
    ++sent;
    Sleep(absl::Seconds(1));
    ASSERT_LT(sent, 40);
  }
  EXPECT_GE(sent, 20);  // the grace
  EXPECT_EQ(server.statistics().cut_slow, 1u);
  EXPECT_EQ(server.active(), 0u);
}

GREENLET_TEST_F(ServerLimits, AFastStartIsNoCreditForASlowRest) {
  StreamServer server(*listener_, &AnswerLines,
                      {.min_rate = 100, .min_rate_grace = absl::Seconds(20)});
  server.Start();
  MemoryStream slow = Connect();
  ASSERT_TRUE(slow.Write(std::string(500'000, 'x')).ok());
  int sent = 0;
  while (slow.Write("x").ok()) {
    ++sent;
    Sleep(absl::Seconds(1));
    ASSERT_LT(sent, 60);
  }
  EXPECT_EQ(server.statistics().cut_slow, 1u);
}

GREENLET_TEST_F(ServerLimits, RequestsWithPausesBetweenThemAreNotSlow) {
  StreamServer server(*listener_, &AnswerLines,
                      {.idle_limit = absl::Minutes(5),
                       .min_rate = 1000,
                       .min_rate_grace = absl::Seconds(5)});
  server.Start();
  MemoryStream client = Connect();
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(client.Write("a short request\n").ok());
    EXPECT_EQ(ReadLine(client), "ok\n");
    Sleep(absl::Minutes(4));
  }
  EXPECT_EQ(server.active(), 1u);
}

GREENLET_TEST_F(ServerLimits, ThePeerThatReadsByteByByteIsCut) {
  StreamServer server(*listener_,
                      [](Stream& s) { (void)s.Write(std::string(1 << 20, 'x')); },
                      {.min_rate = 100, .min_rate_grace = absl::Seconds(20)});
  server.Start();
  MemoryStream slow = Connect();
  char c;
  int read = 0;
  while (slow.Read(absl::MakeSpan(&c, 1)).ok()) {
    ++read;
    Sleep(absl::Seconds(1));
    ASSERT_LT(read, 60);
  }
  EXPECT_EQ(server.statistics().cut_slow, 1u);
  EXPECT_EQ(server.active(), 0u);
}

GREENLET_TEST_F(ServerLimits, ThePeerThatReadsNothingIsIdle) {
  StreamServer server(*listener_,
                      [](Stream& s) { (void)s.Write(std::string(1 << 20, 'x')); },
                      {.idle_limit = absl::Seconds(30)});
  server.Start();
  MemoryStream client = Connect();
  Sleep(absl::Seconds(40));
  EXPECT_EQ(server.statistics().cut_idle, 1u);
  EXPECT_EQ(server.active(), 0u);
}

// Connections end while all are looked at.
GREENLET_TEST_F(ServerLimits, ManyThatComeAndGoAreAllLookedAt) {
  constexpr int kMany = 2000;
  StreamServer server(*listener_, &Swallow, {.idle_limit = absl::Seconds(16)});
  server.Start();
  std::vector<MemoryStream> clients;
  for (int i = 0; i < kMany; ++i) {
    clients.push_back(Connect());
    if (i % 10 == 0) Sleep(absl::Milliseconds(33));
    if (i % 3 == 0) clients[i / 2].Close();
  }
  size_t closed = 0;
  for (const MemoryStream& c : clients) closed += c.closed();
  Sleep(absl::Seconds(30));
  EXPECT_EQ(server.active(), 0u);
  EXPECT_EQ(server.statistics().cut_idle, kMany - closed);
}

GREENLET_TEST_F(ServerLimits, AMinuteWithoutDescriptorsCostsAMinutesTries) {
  StreamServer server(*listener_, &AnswerLines, {.name = "short server"});
  server.Start();
  listener_->FailAccepts(EMFILE);
  MemoryStream client = Connect();
  Sleep(absl::Seconds(60));
  EXPECT_LT(listener_->tries(), 80u);
  EXPECT_GT(server.statistics().shortages, 50u);
  listener_->FailAccepts(0);
  ASSERT_TRUE(client.Write("x\n").ok());
  EXPECT_EQ(ReadLine(client), "ok\n");
  EXPECT_LE(Elapsed(), absl::Seconds(62));
}

GREENLET_TEST_F(ServerLimits, WhatFailsForGoodEndsTheServer) {
  StreamServer server(*listener_, &AnswerLines);
  const Greenlet<absl::Status> serving = Spawn([&] { return server.Serve(); });
  Yield();
  listener_->FailAccepts(EINVAL);
  EXPECT_EQ(ErrnoOf(serving.Get()), EINVAL);
  EXPECT_TRUE(listener_->closed());
}

GREENLET_TEST_F(ServerLimits, OnePeerHasNoMoreThanItsShare) {
  StreamServer server(*TcpListener::Listen(Address::Loopback(0)), &AnswerLines,
                      {.max_per_peer = 2});
  server.Start();
  const auto connect = [&](const char* from) {
    return *TcpStream::Connect(server.address(), {.source = *Address::FromIp(from, 0)});
  };
  TcpStream a = connect("127.0.0.2");
  TcpStream b = connect("127.0.0.2");
  TcpStream refused = connect("127.0.0.2");
  TcpStream other = connect("127.0.0.3");
  char c;
  EXPECT_EQ(refused.Read(absl::MakeSpan(&c, 1)).value_or(0), 0u);
  for (TcpStream* s : {&a, &b, &other}) {
    ASSERT_TRUE(s->Write("x\n").ok());
    EXPECT_EQ(ReadLine(*s), "ok\n");
  }
  EXPECT_EQ(server.statistics().refused, 1u);
  EXPECT_EQ(server.accepted(), 4u);
  // One that leaves makes room.
  a.Close();
  while (server.active() > 2) Yield();
  TcpStream again = connect("127.0.0.2");
  ASSERT_TRUE(again.Write("x\n").ok());
  EXPECT_EQ(ReadLine(again), "ok\n");
}

TEST(PeerKey, IsAnAddressOfVersion4AndANetworkOfVersion6) {
  const auto key = [](const char* ip) { return PeerKeyOf(*Address::FromIp(ip, 1)); };
  EXPECT_EQ(key("10.0.0.1"), PeerKeyOf(*Address::FromIp("10.0.0.1", 2)));
  EXPECT_NE(key("10.0.0.1"), key("10.0.0.2"));
  EXPECT_EQ(key("::ffff:10.0.0.1"), key("10.0.0.1"));
  EXPECT_EQ(key("2001:db8:0:1::1"), key("2001:db8:0:1:ffff::2"));
  EXPECT_NE(key("2001:db8:0:1::1"), key("2001:db8:0:2::1"));
}

// What is seen at each second, and what is found.
TEST(PeerKey, OfTheLoopbackIsSomebodys) {
  EXPECT_NE(PeerKeyOf(*Address::FromIp("::1", 1)), net_internal::PeerKey());
  EXPECT_NE(PeerKeyOf(Address::Loopback(1)), net_internal::PeerKey());
}

TEST(PeerPaceTest, OnlyTimeBetweenTwoLooksThatSawAWaitCounts) {
  const PeerPace::Limits limits{.idle = absl::Seconds(3)};
  PeerPace pace;
  MonotonicNanos now = 0;
  const auto look = [&](uint64_t read, bool waits) {
    now += 1'000'000'000;
    return pace.Look({.bytes_read = read, .reader_waits = waits}, now, limits);
  };
  EXPECT_EQ(look(0, true), PeerPace::Verdict::kFine);
  EXPECT_EQ(look(0, true), PeerPace::Verdict::kFine);
  EXPECT_EQ(look(0, true), PeerPace::Verdict::kFine);
  EXPECT_EQ(look(0, false), PeerPace::Verdict::kFine);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(look(0, true), PeerPace::Verdict::kFine);
  EXPECT_EQ(look(1, true), PeerPace::Verdict::kFine);
  EXPECT_EQ(look(1, true), PeerPace::Verdict::kFine);
  EXPECT_EQ(look(1, true), PeerPace::Verdict::kFine);
  EXPECT_EQ(look(1, true), PeerPace::Verdict::kIdle);
}

}  // namespace
}  // namespace grove::net
