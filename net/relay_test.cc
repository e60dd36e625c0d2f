#include "grove/net/relay.h"

#include <errno.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "grove/green/greenlet.h"
#include "grove/green/sleep.h"
#include "grove/green/status.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/net/tcp.h"
#include "grove/net/testing/memory_stream.h"

namespace grove::net {
namespace {

using ::testing::HasSubstr;

// A client and a server, and between them who relays.
class RelayTest : public GreenletTest {
 protected:
  void SetUp() override {
    left_.emplace(MemoryStreamOptions{.name = "left"});
    right_.emplace(MemoryStreamOptions{.name = "right"});
  }
  void TearDown() override {
    left_.reset();
    right_.reset();
  }

  Greenlet<absl::Status> Relaying(RelayOptions options = {}) {
    return Spawn(
        [this, options] { return Relay(left_->far, right_->near, options, &bytes_); });
  }

  static std::string ReadAll(Stream& stream, absl::Status* end = nullptr) {
    std::string all;
    char buffer[512];
    for (;;) {
      const absl::StatusOr<size_t> n = stream.Read(absl::MakeSpan(buffer));
      if (end != nullptr) *end = n.status();
      if (!n.ok() || *n == 0) return all;
      all.append(buffer, *n);
    }
  }
  static void Expect(Stream& stream, absl::string_view wanted) {
    std::string got(wanted.size(), '\0');
    ASSERT_TRUE(stream.ReadExactly(absl::MakeSpan(got)).ok());
    EXPECT_EQ(got, wanted);
  }
  void BothAreReset() {
    for (MemoryStream* end : {&left_->near, &right_->far}) {
      absl::Status s;
      ReadAll(*end, &s);
      EXPECT_EQ(ErrnoOf(s), ECONNRESET) << end->Describe() << ": " << s;
    }
    EXPECT_TRUE(left_->far.closed());
    EXPECT_TRUE(right_->near.closed());
  }

  MemoryStream& client() { return left_->near; }
  MemoryStream& server() { return right_->far; }

  std::optional<MemoryStreamPair> left_, right_;
  RelayedBytes bytes_;
};

GREENLET_TEST_F(RelayTest, CarriesBothWaysAndPassesHalfClosesOn) {
  const auto relay = Relaying();
  ASSERT_TRUE(client().Write("question").ok());
  Expect(server(), "question");
  ASSERT_TRUE(client().ShutdownWrite().ok());
  EXPECT_EQ(ReadAll(server()), "");
  // The other direction goes on.
  ASSERT_TRUE(server().Write("an").ok());
  Expect(client(), "an");
  EXPECT_FALSE(relay.ready());
  ASSERT_TRUE(server().Write("swer").ok());
  ASSERT_TRUE(server().ShutdownWrite().ok());
  EXPECT_EQ(ReadAll(client()), "swer");
  EXPECT_TRUE(relay.Get().ok());
  EXPECT_EQ(bytes_.a_to_b, 8u);
  EXPECT_EQ(bytes_.b_to_a, 6u);
  EXPECT_FALSE(left_->far.closed());
  EXPECT_FALSE(right_->near.closed());
}

GREENLET_TEST_F(RelayTest, MoreThanIsOnTheWayAtOnce) {
  const std::string up(300'000, 'u'), down(500'000, 'd');
  const auto relay = Relaying();
  const Greenlet<> asking = Spawn([&] {
    EXPECT_TRUE(client().Write(up).ok());
    EXPECT_TRUE(client().ShutdownWrite().ok());
  });
  const Greenlet<> answering = Spawn([&] {
    EXPECT_TRUE(server().Write(down).ok());
    EXPECT_TRUE(server().ShutdownWrite().ok());
  });
  const Greenlet<std::string> came_down = Spawn([&] { return ReadAll(client()); });
  EXPECT_EQ(ReadAll(server()), up);
  EXPECT_EQ(*came_down.Get(), down);
  EXPECT_TRUE(relay.Get().ok());
}

GREENLET_TEST_F(RelayTest, AResetOfEitherSideIsOneForTheOther) {
  for (const bool from_client : {true, false}) {
    left_.emplace();
    right_.emplace();
    const auto relay = Relaying();
    ASSERT_TRUE(client().Write("half").ok());
    Expect(server(), "half");
    (from_client ? client() : server()).Abort();
    EXPECT_EQ(ErrnoOf(relay.Get()), ECONNRESET) << relay.Get();
    absl::Status s;
    ReadAll(from_client ? server() : client(), &s);
    EXPECT_EQ(ErrnoOf(s), ECONNRESET) << s;
  }
}

// A half-close is no end: what comes afterwards may fail as well.
GREENLET_TEST_F(RelayTest, AResetAfterAHalfClose) {
  const auto relay = Relaying();
  ASSERT_TRUE(client().ShutdownWrite().ok());
  EXPECT_EQ(ReadAll(server()), "");
  server().Abort();
  EXPECT_EQ(ErrnoOf(relay.Get()), ECONNRESET);
  absl::Status s;
  ReadAll(client(), &s);
  EXPECT_EQ(ErrnoOf(s), ECONNRESET) << s;
}

GREENLET_TEST_F(RelayTest, WhoDoesNotReadAnyMoreEndsIt) {
  const auto relay = Relaying();
  // Has read all that there was: no reset, but what comes then cannot be written.
  server().Close();
  while (client().Write("more").ok()) Yield();
  EXPECT_EQ(ErrnoOf(relay.Get()), EPIPE) << relay.Get();
}

GREENLET_TEST_F(RelayTest, TheIdleLimitCutsBoth) {
  const auto relay = Relaying({.idle_limit = absl::Minutes(8)});
  // One direction is enough.
  for (int i = 0; i < 10; ++i) {
    Sleep(absl::Minutes(7));
    ASSERT_TRUE(server().Write("x").ok());
    Expect(client(), "x");
  }
  const absl::Status s = relay.Get();
  EXPECT_TRUE(absl::IsDeadlineExceeded(s)) << s;
  EXPECT_THAT(s.message(), HasSubstr("nothing has gone for 8m"));
  EXPECT_GE(Elapsed(), absl::Minutes(78));
  EXPECT_LE(Elapsed(), absl::Minutes(79) + absl::Seconds(1));
  EXPECT_EQ(bytes_.b_to_a, 10u);
  BothAreReset();
}

GREENLET_TEST_F(RelayTest, WhoReadsSlowlyIsNotIdle) {
  const auto relay = Relaying({.idle_limit = absl::Seconds(30)});
  const Greenlet<> writer = Spawn([&] {
    // More than all that lies in between has room for.
    EXPECT_TRUE(client().Write(std::string(200'000, 'x')).ok());
    EXPECT_TRUE(client().ShutdownWrite().ok());
  });
  // The other direction is over, so that all is once this one is.
  EXPECT_TRUE(server().ShutdownWrite().ok());
  size_t got = 0;
  for (char buffer[1000];;) {
    const absl::StatusOr<size_t> n = server().Read(absl::MakeSpan(buffer));
    ASSERT_TRUE(n.ok()) << n.status() << " after " << got;
    if (*n == 0) break;
    got += *n;
    Sleep(absl::Seconds(10));
  }
  EXPECT_EQ(got, 200'000u);
  writer.Join();
  EXPECT_TRUE(relay.Get().ok());
  EXPECT_EQ(bytes_.a_to_b, 200'000u);
}

GREENLET_TEST_F(RelayTest, AnEndIsSeenAtOnceWithALimitToo) {
  const auto relay = Relaying({.idle_limit = absl::Hours(1)});
  ASSERT_TRUE(client().ShutdownWrite().ok());
  ASSERT_TRUE(server().ShutdownWrite().ok());
  EXPECT_TRUE(relay.Get().ok());
  EXPECT_TRUE(HasTaken(absl::ZeroDuration()));
}

GREENLET_TEST_F(RelayTest, TheDeadlineIsForAllOfIt) {
  const auto relay = Relaying({.deadline = absl::Minutes(1)});
  for (int i = 0; i < 59; ++i) {
    Sleep(absl::Seconds(1));
    ASSERT_TRUE(client().Write("x").ok());
    Expect(server(), "x");
  }
  EXPECT_TRUE(absl::IsDeadlineExceeded(relay.Get())) << relay.Get();
  EXPECT_TRUE(HasTaken(absl::Minutes(1)));
  BothAreReset();
}

GREENLET_TEST_F(RelayTest, AStreamsTimeoutIsForEachWait) {
  right_->near.set_timeout(absl::Seconds(2));
  EXPECT_TRUE(absl::IsDeadlineExceeded(Relaying().Get()));
  EXPECT_TRUE(HasTaken(absl::Seconds(2)));
  BothAreReset();
}

GREENLET_TEST_F(RelayTest, AKillAbortsBoth) {
  const auto relay = Relaying();
  ASSERT_TRUE(client().Write("half").ok());
  Expect(server(), "half");
  relay.Kill();
  EXPECT_TRUE(relay.killed());
  EXPECT_EQ(bytes_.a_to_b, 4u);
  BothAreReset();
}

GREENLET_TEST_F(RelayTest, ACloseByAnotherGreenletEndsIt) {
  const auto relay = Relaying();
  Yield();
  left_->far.Close();
  EXPECT_TRUE(absl::IsCancelled(relay.Get())) << relay.Get();
  absl::Status s;
  ReadAll(server(), &s);
  EXPECT_EQ(ErrnoOf(s), ECONNRESET) << s;
}

// By sockets, where a reset may overtake what is being read.
GREENLET_TEST(RelayOfSockets, HalfClosesAndResets) {
  absl::StatusOr<TcpListener> listener = TcpListener::Listen(Address::Loopback(0));
  ASSERT_TRUE(listener.ok());
  const auto connect = [&](TcpStream& far) {
    absl::StatusOr<TcpStream> near = TcpStream::Connect(listener->address());
    EXPECT_TRUE(near.ok()) << near.status();
    far = *listener->Accept();
    return *std::move(near);
  };
  for (const bool reset : {false, true}) {
    TcpStream a, b;
    TcpStream client = connect(a), server = connect(b);
    const Greenlet<absl::Status> relay = Spawn([&] { return Relay(a, b); });
    ASSERT_TRUE(client.Write("q").ok());
    ASSERT_TRUE(client.ShutdownWrite().ok());
    char c;
    EXPECT_EQ(*server.Read(absl::MakeSpan(&c, 1)), 1u);
    EXPECT_EQ(*server.Read(absl::MakeSpan(&c, 1)), 0u);
    if (reset) {
      server.Abort();
      EXPECT_EQ(ErrnoOf(client.Read(absl::MakeSpan(&c, 1)).status()), ECONNRESET);
    } else {
      server.Close();
      EXPECT_EQ(*client.Read(absl::MakeSpan(&c, 1)), 0u);
    }
    EXPECT_EQ(relay.Get().ok(), !reset) << relay.Get();
  }
}

}  // namespace
}  // namespace grove::net
