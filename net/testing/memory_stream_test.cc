#include "grove/net/testing/memory_stream.h"

#include <errno.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>

#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/sleep.h"
#include "grove/green/status.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/net/copy.h"

namespace grove::net {
namespace {

using ::testing::HasSubstr;

std::string ReadAll(Stream& stream, absl::Status* end = nullptr) {
  std::string all;
  char buffer[512];
  for (;;) {
    const absl::StatusOr<size_t> n = stream.Read(absl::MakeSpan(buffer));
    if (end != nullptr) *end = n.status();
    if (!n.ok() || *n == 0) return all;
    all.append(buffer, *n);
  }
}

class MemoryStreamTest : public GreenletTest {
 protected:
  // What a read of one byte from `stream` comes to, that begins now.
  static Greenlet<absl::StatusOr<size_t>> Reader(Stream& stream, Deadline deadline = {}) {
    return Spawn([&stream, deadline]() -> absl::StatusOr<size_t> {
      char c;
      return stream.Read(absl::MakeSpan(&c, 1), deadline);
    });
  }
};

GREENLET_TEST_F(MemoryStreamTest, CarriesBytesInBothDirections) {
  MemoryStreamPair pair;
  ASSERT_TRUE(pair.near.Write("there").ok());
  ASSERT_TRUE(pair.far.WriteGather({"ba", "", "ck"}).ok());
  EXPECT_EQ(pair.far.unread(), 5u);
  char buffer[10];
  EXPECT_EQ(*pair.far.Read(absl::MakeSpan(buffer)), 5u);
  EXPECT_EQ(absl::string_view(buffer, 5), "there");
  EXPECT_EQ(pair.far.unread(), 0u);
  char a[1], b[2], c[5];
  EXPECT_EQ(
      *pair.near.ReadScatter({absl::MakeSpan(a), absl::MakeSpan(b), absl::MakeSpan(c)}),
      4u);
  EXPECT_EQ(a[0], 'b');
  EXPECT_EQ(absl::string_view(b, 2), "ac");
  EXPECT_EQ(c[0], 'k');
}

GREENLET_TEST_F(MemoryStreamTest, AReadWaitsForBytes) {
  MemoryStreamPair pair;
  const auto reader = Reader(pair.far);
  Yield();
  EXPECT_FALSE(reader.ready());
  EXPECT_EQ(*pair.far.TryRead({}), 0u);
  ASSERT_TRUE(pair.near.Write("x").ok());
  EXPECT_EQ(*reader.Get(), 1u);
  char c;
  EXPECT_EQ(*pair.far.TryRead(absl::MakeSpan(&c, 1)), std::nullopt);
}

GREENLET_TEST_F(MemoryStreamTest, AReadEndsAtItsDeadline) {
  MemoryStreamPair pair;
  EXPECT_EQ(Reader(pair.far, absl::Seconds(3)).Get().status().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(HasTaken(absl::Seconds(3)));
  pair.far.set_timeout(absl::Seconds(1));
  EXPECT_THAT(std::string(Reader(pair.far).Get().status().message()),
              HasSubstr("read from memory.near: the deadline passed"));
  EXPECT_TRUE(HasTaken(absl::Seconds(4)));
  EXPECT_EQ(pair.far.WaitReadable(absl::Seconds(1)).code(),
            absl::StatusCode::kDeadlineExceeded);
}

GREENLET_TEST_F(MemoryStreamTest, AKilledReaderTakesNothing) {
  MemoryStreamPair pair;
  const auto reader = Reader(pair.far);
  Yield();
  ASSERT_TRUE(pair.near.Write("x").ok());
  reader.Kill();
  EXPECT_TRUE(reader.killed() || reader.Get().ok());
  EXPECT_EQ(pair.far.unread(), reader.killed() ? 1u : 0u);
}

GREENLET_TEST_F(MemoryStreamTest, AWriterWaitsForRoom) {
  MemoryStreamPair pair({.capacity = 4});
  EXPECT_EQ(*pair.near.TryWrite("123456"), 4u);
  EXPECT_EQ(*pair.near.TryWrite("56"), 0u);
  const absl::Status late = pair.near.Write("56", absl::Seconds(1));
  EXPECT_EQ(late.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(BytesMoved(late), 0u);
  const Greenlet<absl::Status> writer = Spawn([&] { return pair.near.Write("5678"); });
  Yield();
  EXPECT_FALSE(writer.ready());
  char buffer[8];
  ASSERT_TRUE(pair.far.ReadExactly(absl::MakeSpan(buffer)).ok());
  EXPECT_EQ(absl::string_view(buffer, 8), "12345678");
  EXPECT_TRUE(writer.Get().ok());
}

GREENLET_TEST_F(MemoryStreamTest, AWriteSaysHowFarItCame) {
  MemoryStreamPair pair({.capacity = 4});
  const Greenlet<absl::Status> writer = Spawn([&] { return pair.near.Write("123456"); });
  Yield();
  pair.Break(StreamFault::kReset);
  EXPECT_EQ(ErrnoOf(writer.Get()), ECONNRESET);
  EXPECT_EQ(BytesMoved(writer.Get()), 4u);
}

GREENLET_TEST_F(MemoryStreamTest, TheEndComesBehindWhatWasWritten) {
  MemoryStreamPair pair;
  ASSERT_TRUE(pair.near.Write("last words").ok());
  ASSERT_TRUE(pair.near.ShutdownWrite().ok());
  EXPECT_EQ(ErrnoOf(pair.near.Write("more")), EPIPE);
  EXPECT_EQ(ReadAll(pair.far), "last words");
  ASSERT_TRUE(pair.far.Write("answer").ok());
  pair.far.Close();
  EXPECT_EQ(ReadAll(pair.near), "answer");
  EXPECT_EQ(ErrnoOf(pair.near.Write("more")), EPIPE);
}

GREENLET_TEST_F(MemoryStreamTest, ClosingWithUnreadBytesIsAReset) {
  MemoryStreamPair pair;
  ASSERT_TRUE(pair.near.Write("request").ok());
  ASSERT_TRUE(pair.far.Write("answer").ok());
  pair.far.Close();
  EXPECT_EQ(ErrnoOf(Reader(pair.near).Get().status()), ECONNRESET);
  EXPECT_EQ(ErrnoOf(pair.near.Write("x")), ECONNRESET);
}

GREENLET_TEST_F(MemoryStreamTest, AnAbortIsAReset) {
  MemoryStreamPair pair;
  const auto reader = Reader(pair.far);
  Yield();
  pair.near.Abort();
  EXPECT_TRUE(pair.near.closed());
  EXPECT_EQ(ErrnoOf(reader.Get().status()), ECONNRESET);
}

GREENLET_TEST_F(MemoryStreamTest, CloseWakesWhoWaitsAndNamesWhoClosed) {
  MemoryStreamPair pair({.capacity = 1});
  const auto reader = Reader(pair.near);
  const Greenlet<absl::Status> writer = Spawn([&] { return pair.near.Write("12"); });
  Yield();
  Spawn({.name = "closer"}, [&] { pair.near.Close(); }).Join();
  EXPECT_EQ(reader.Get().status().code(), absl::StatusCode::kCancelled);
  EXPECT_THAT(std::string(reader.Get().status().message()), HasSubstr("'closer'"));
  EXPECT_EQ(writer.Get().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(BytesMoved(writer.Get()), 1u);
  EXPECT_EQ(pair.near.Write("x").code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(Reader(pair.near).Get().status().code(), absl::StatusCode::kCancelled);
}

GREENLET_TEST_F(MemoryStreamTest, AnEndThatIsWaitedOnMayBeDestroyed) {
  auto pair = std::make_unique<MemoryStreamPair>();
  const auto reader = Reader(pair->near);
  Yield();
  pair.reset();
  EXPECT_EQ(reader.Get().status().code(), absl::StatusCode::kCancelled);
}

GREENLET_TEST_F(MemoryStreamTest, AfterShutdownReadWhatHasArrivedIsRead) {
  MemoryStreamPair pair({.capacity = 8});
  ASSERT_TRUE(pair.near.Write("before").ok());
  ASSERT_TRUE(pair.far.ShutdownRead().ok());
  ASSERT_TRUE(pair.near.Write("behind, and more than there is room for").ok());
  EXPECT_EQ(ReadAll(pair.far), "before");
}

GREENLET_TEST_F(MemoryStreamTest, ShutdownReadEndsAReadThatWaits) {
  MemoryStreamPair pair;
  const auto reader = Reader(pair.far);
  Yield();
  ASSERT_TRUE(pair.far.ShutdownRead().ok());
  EXPECT_EQ(*reader.Get(), 0u);
}

GREENLET_TEST_F(MemoryStreamTest, PiecesArriveAfterTheirDelay) {
  MemoryStreamPair pair({.min_delay = absl::Seconds(2)});
  ASSERT_TRUE(pair.near.Write("x").ok());
  char c;
  EXPECT_EQ(*pair.far.TryRead(absl::MakeSpan(&c, 1)), std::nullopt);
  EXPECT_EQ(Reader(pair.far, absl::Seconds(1)).Get().status().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(*Reader(pair.far).Get(), 1u);
  EXPECT_TRUE(HasTaken(absl::Seconds(2)));
  pair.near.Close();
  EXPECT_EQ(*Reader(pair.far).Get(), 0u);
  EXPECT_TRUE(HasTaken(absl::Seconds(4)));
}

GREENLET_TEST_F(MemoryStreamTest, FailuresAreReturnedWhereTheyWereAskedFor) {
  MemoryStreamPair pair;
  const auto reader = Reader(pair.near);
  Yield();
  pair.near.FailReads(absl::DataLossError("bad cable"));
  EXPECT_EQ(reader.Get().status(), absl::DataLossError("bad cable"));
  EXPECT_TRUE(pair.near.Write("x").ok());
  pair.near.FailWrites(absl::DataLossError("worse"));
  EXPECT_EQ(pair.near.Write("x").message(), "worse");
  EXPECT_EQ(*Reader(pair.far).Get(), 1u);
}

GREENLET_TEST_F(MemoryStreamTest, ItBreaksAtTheByteThatIsAskedFor) {
  for (uint64_t at = 0; at < 10; ++at) {
    MemoryStreamPair cut({.fault = StreamFault::kEnd, .fault_after = at});
    const absl::Status status = cut.near.Write("0123456789");
    EXPECT_EQ(ErrnoOf(status), EPIPE);
    EXPECT_EQ(BytesMoved(status), at);
    EXPECT_EQ(ReadAll(cut.far), std::string("0123456789").substr(0, at));

    MemoryStreamPair reset({.fault = StreamFault::kTimedOut, .fault_after = at});
    EXPECT_EQ(BytesMoved(reset.near.Write("0123456789")), at);
    EXPECT_EQ(ErrnoOf(Reader(reset.far).Get().status()), ETIMEDOUT);
  }
}

// Whatever the sizes, the delays and the order: bytes stay whole and in order.
TEST(MemoryStreamSeeds, NothingIsLostOrMixedUpByPiecesAndDelays) {
  ForEachSeed(60, [] {
    const uint64_t seed = *ThisHub().options().seed;
    MemoryStreamPair a({.capacity = 1 + seed * 37 % 5000,
                        .seed = seed,
                        .max_delay = absl::Milliseconds(seed % 3)});
    MemoryStreamPair b({.capacity = 1 + seed % 7, .max_piece = 3, .seed = seed + 1});
    std::string sent;
    for (size_t i = 0; i < 3000; ++i) sent.push_back(static_cast<char>(i * seed >> 3));
    const Greenlet<> relay = Spawn([&] {
      EXPECT_TRUE(Copy(a.far, b.near).ok());
      EXPECT_TRUE(b.near.ShutdownWrite().ok());
    });
    const Greenlet<> writer = Spawn([&] {
      EXPECT_TRUE(a.near.Write(sent).ok());
      EXPECT_TRUE(a.near.ShutdownWrite().ok());
    });
    EXPECT_EQ(ReadAll(b.far), sent);
    writer.Join();
    relay.Join();
  });
}

TEST(MemoryStreamSeeds, WhatIsReadBeforeARandomFaultIsABeginning) {
  size_t whole = 0;
  size_t broken = 0;
  ForEachSeed(60, [&] {
    const uint64_t seed = *ThisHub().options().seed;
    MemoryStreamPair pair({.capacity = 100, .seed = seed, .fault_chance = 0.005});
    const std::string sent(1000, 'x');
    const Greenlet<absl::Status> writer = Spawn([&] {
      absl::Status s = pair.near.Write(sent);
      if (s.ok()) s = pair.near.ShutdownWrite();
      return s;
    });
    absl::Status end;
    const std::string read = ReadAll(pair.far, &end);
    EXPECT_EQ(read, sent.substr(0, read.size()));
    if (end.ok()) {
      EXPECT_EQ(read.size(), sent.size());
      EXPECT_TRUE(writer.Get().ok());
    } else {
      EXPECT_EQ(ErrnoOf(end), ECONNRESET);
    }
    writer.Join();
    ++(end.ok() ? whole : broken);
  });
  // Under GROVE_TEST_SEED there is only one.
  if (whole + broken >= 50) {
    EXPECT_GT(whole, 5u);
    EXPECT_GT(broken, 5u);
  }
}

TEST(MemoryStreamDeathTest, TwoThatReadAreAFatalError) {
  EXPECT_DEATH(
      {
        HubScope scope;
        MemoryStreamPair pair;
        char c;
        const Greenlet<> first = Spawn(
            {.name = "first"}, [&] { (void)pair.near.Read(absl::MakeSpan(&c, 1)); });
        Yield();
        (void)pair.near.Read(absl::MakeSpan(&c, 1));
      },
      "two greenlets wait to read from memory.far: greenlet 'first'");
}

TEST(MemoryStreamDeathTest, AnotherHubIsAFatalError) {
  EXPECT_DEATH(
      {
        HubScope scope({.name = "home"});
        MemoryStreamPair pair;
        std::thread([&] {
          HubScope other({.name = "other"});
          char c;
          (void)pair.near.Read(absl::MakeSpan(&c, 1));
        }).join();
      },
      "a MemoryStream of hub 'home' is used on hub 'other'");
}

TEST(MemoryStream, MayOutliveItsHub) {
  std::unique_ptr<MemoryStreamPair> pair;
  {
    HubScope scope;
    pair = std::make_unique<MemoryStreamPair>();
    ASSERT_TRUE(pair->near.Write("x").ok());
  }
}

}  // namespace
}  // namespace grove::net
