#include "grove/net/buffered_stream.h"

#include <errno.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/sleep.h"
#include "grove/green/status.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/net/testing/memory_stream.h"

namespace grove::net {
namespace {

using ::testing::HasSubstr;

using Code = absl::StatusCode;

std::string Line(StreamReader& reader, size_t limit = 1000) {
  const auto line = reader.ReadLine(limit);
  if (!line.ok()) return absl::StatusCodeToString(line.status().code());
  return line->has_value() ? std::string(**line) : "(end)";
}

GREENLET_TEST(StreamReaderTest, ReadsLinesOfBothKinds) {
  MemoryStreamPair pair;
  ASSERT_TRUE(pair.near.Write("one\ntwo\r\n\n\r\nfi\rve\nnot whole").ok());
  StreamReader reader(pair.far);
  EXPECT_EQ(Line(reader), "one");
  EXPECT_EQ(Line(reader), "two");
  EXPECT_EQ(Line(reader), "");
  EXPECT_EQ(Line(reader), "");
  EXPECT_EQ(Line(reader), "fi\rve");
  pair.near.Close();
  EXPECT_EQ(Line(reader), "OUT_OF_RANGE");
  EXPECT_EQ(reader.buffered(), "not whole");
  reader.Consume(100);
  EXPECT_EQ(Line(reader), "(end)");
}

GREENLET_TEST(StreamReaderTest, ALineOverItsLimitIsAnErrorAndIsStillThere) {
  MemoryStreamPair pair;
  ASSERT_TRUE(pair.near.Write("12345\r\n123456\n").ok());
  StreamReader reader(pair.far);
  EXPECT_EQ(Line(reader, 4), "RESOURCE_EXHAUSTED");
  EXPECT_EQ(Line(reader, 5), "12345");
  EXPECT_EQ(Line(reader, 5), "RESOURCE_EXHAUSTED");
  EXPECT_EQ(Line(reader, 6), "123456");
}

GREENLET_TEST(StreamReaderTest, NeverHoldsMoreThanItsLimit) {
  MemoryStreamPair pair;
  ASSERT_TRUE(pair.near.Write(std::string(20'000, 'x')).ok());
  StreamReader reader(pair.far, 10'000);
  EXPECT_EQ(Line(reader), "RESOURCE_EXHAUSTED");  // 1,000
  EXPECT_EQ(reader.ReadUntil("\n").status().code(), Code::kResourceExhausted);
  EXPECT_EQ(reader.buffered().size(), 10'000u);
  EXPECT_EQ(reader.ReadMore().status().code(), Code::kResourceExhausted);
  EXPECT_EQ(reader.Peek(10'001).status().code(), Code::kResourceExhausted);
  EXPECT_EQ(pair.far.unread(), 10'000u);
}

GREENLET_TEST(StreamReaderTest, PeekTakesNothing) {
  MemoryStreamPair pair;
  ASSERT_TRUE(pair.near.Write("abc").ok());
  StreamReader reader(pair.far);
  EXPECT_EQ(*reader.Peek(2), "abc");
  EXPECT_EQ(*reader.Peek(0), "abc");
  EXPECT_EQ(**reader.ReadByte(), 'a');
  EXPECT_EQ(*reader.Peek(2), "bc");
  EXPECT_EQ(reader.Peek(3, absl::Seconds(1)).status().code(), Code::kDeadlineExceeded);
  ASSERT_TRUE(pair.near.Write("de").ok());
  EXPECT_EQ(*reader.ReadMore(), "bcde");
  pair.near.Close();
  EXPECT_EQ(*reader.ReadMore(), "bcde");  // the end
  EXPECT_THAT(std::string(reader.Peek(5).status().message()),
              HasSubstr("ended before byte 5"));
}

GREENLET_TEST(StreamReaderTest, ReadsExactlyAndDiscards) {
  MemoryStreamPair pair;
  StreamReader reader(pair.far);
  const Greenlet<> writer = Spawn([&] {
    for (int i = 0; i < 30'000; ++i) {
      const char c = static_cast<char>(i % 100);
      ASSERT_TRUE(pair.near.Write({&c, 1}).ok());
    }
    pair.near.Close();
  });
  char buffer[100];
  ASSERT_TRUE(reader.ReadExactly(absl::MakeSpan(buffer)).ok());
  for (int i = 0; i < 100; ++i) EXPECT_EQ(buffer[i], i);
  ASSERT_TRUE(reader.Discard(20'050).ok());
  EXPECT_EQ(**reader.ReadByte(), 50);
  char large[8192];
  ASSERT_TRUE(reader.ReadExactly(absl::MakeSpan(large)).ok());
  EXPECT_EQ(large[0], 51);
  const absl::Status end = reader.Discard(100'000);
  EXPECT_EQ(end.code(), Code::kOutOfRange);
  EXPECT_EQ(BytesMoved(end), 30'000u - 100 - 20'050 - 1 - 8192);
  EXPECT_EQ(*reader.ReadByte(), std::nullopt);
  EXPECT_EQ(*reader.Read(absl::MakeSpan(buffer)), 0u);
  writer.Join();
}

GREENLET_TEST(StreamReaderTest, ADeadlineOrAKillLosesNothing) {
  MemoryStreamPair pair;
  StreamReader reader(pair.far);
  ASSERT_TRUE(pair.near.Write("begin").ok());
  EXPECT_EQ(reader.ReadLine(100, absl::Seconds(1)).status().code(),
            Code::kDeadlineExceeded);
  const Greenlet<> killed = Spawn([&] { (void)reader.ReadLine(); });
  Yield();
  killed.Kill();
  ASSERT_TRUE(pair.near.Write(" and end\n").ok());
  EXPECT_EQ(Line(reader), "begin and end");
}

GREENLET_TEST(StreamReaderTest, TellsOfAResetAndOfBeingClosed) {
  MemoryStreamPair pair;
  StreamReader reader(pair.far);
  const Greenlet<> reset = Spawn([&] { pair.near.Abort(); });
  EXPECT_EQ(ErrnoOf(reader.ReadLine().status()), ECONNRESET);
  const Greenlet<> close = Spawn([&] { pair.far.Close(); });
  close.Join();
  EXPECT_EQ(reader.ReadByte().status().code(), Code::kCancelled);
}

TEST(StreamReaderSeeds, DelimitersAreFoundHoweverBytesArrive) {
  ForEachSeed(40, [] {
    const uint64_t seed = *ThisHub().options().seed;
    MemoryStreamPair pair({.capacity = 50, .seed = seed});
    const Greenlet<> writer = Spawn([&] {
      for (int i = 0; i < 200; ++i) {
        ASSERT_TRUE(pair.near.Write(std::string(i, 'a' + i % 3) + "-=-").ok());
      }
      pair.near.Close();
    });
    StreamReader reader(pair.far, 300);
    for (int i = 0; i < 200; ++i) {
      const auto part = reader.ReadUntil("-=-");
      ASSERT_TRUE(part.ok()) << part.status();
      EXPECT_EQ(*part, std::string(i, 'a' + i % 3) + "-=-");
    }
    EXPECT_EQ(reader.ReadUntil("-=-").status().code(), Code::kOutOfRange);
    writer.Join();
  });
}

// --- StreamWriter --------------------------------------------------------------------

GREENLET_TEST(StreamWriterTest, CollectsUntilTheWatermarkOrAFlush) {
  MemoryStreamPair pair;
  StreamWriter writer(pair.near, 10);
  ASSERT_TRUE(writer.Write("12345").ok());
  EXPECT_EQ(pair.far.unread(), 0u);
  EXPECT_EQ(writer.buffered(), 5u);
  ASSERT_TRUE(writer.Write("67890").ok());
  EXPECT_EQ(pair.far.unread(), 10u);
  ASSERT_TRUE(writer.Write("a").ok());
  ASSERT_TRUE(writer.Write(std::string(100, 'b')).ok());
  EXPECT_EQ(pair.far.unread(), 111u);
  ASSERT_TRUE(writer.Write("c").ok());
  ASSERT_TRUE(writer.Flush().ok());
  EXPECT_EQ(pair.far.unread(), 112u);
  char buffer[112];
  ASSERT_TRUE(pair.far.ReadExactly(absl::MakeSpan(buffer)).ok());
  EXPECT_EQ(absl::string_view(buffer, 112), "1234567890a" + std::string(100, 'b') + "c");
}

GREENLET_TEST(StreamWriterTest, WaitsForAPeerThatDoesNotRead) {
  MemoryStreamPair pair({.capacity = 10});
  StreamWriter writer(pair.near, 10);
  const Greenlet<> blocked = Spawn([&] {
    for (int i = 0; i < 10; ++i) ASSERT_TRUE(writer.Write("12345").ok());
    ASSERT_TRUE(writer.Flush().ok());
  });
  Sleep(absl::Hours(1));
  EXPECT_FALSE(blocked.ready());
  EXPECT_LE(writer.buffered(), 10u);
  char buffer[50];
  ASSERT_TRUE(pair.far.ReadExactly(absl::MakeSpan(buffer)).ok());
  blocked.Join();
}

GREENLET_TEST(StreamWriterTest, AFlushPastItsDeadlineCanGoOn) {
  MemoryStreamPair pair({.capacity = 4});
  StreamWriter writer(pair.near, 100);
  ASSERT_TRUE(writer.Write("1234567").ok());
  EXPECT_EQ(writer.Flush(absl::Seconds(1)).code(), Code::kDeadlineExceeded);
  EXPECT_EQ(writer.buffered(), 3u);
  EXPECT_TRUE(writer.status().ok());
  char buffer[7];
  const Greenlet<absl::Status> flush = Spawn([&] { return writer.Flush(); });
  ASSERT_TRUE(pair.far.ReadExactly(absl::MakeSpan(buffer)).ok());
  EXPECT_EQ(absl::string_view(buffer, 7), "1234567");
  EXPECT_TRUE(flush.Get().ok());
}

GREENLET_TEST(StreamWriterTest, AWritePastItsDeadlineHasTakenNothingOrStays) {
  MemoryStreamPair pair({.capacity = 4});
  StreamWriter writer(pair.near, 8);
  ASSERT_TRUE(writer.Write("123456").ok());
  // Not even what was there before has gone out.
  EXPECT_EQ(writer.Write("78", absl::Seconds(1)).code(), Code::kDeadlineExceeded);
  EXPECT_EQ(writer.buffered(), 2u);
  EXPECT_TRUE(writer.Write("x").ok());
  char buffer[4];
  ASSERT_TRUE(pair.far.ReadExactly(absl::MakeSpan(buffer)).ok());
  // This one has gone out in part: there is no way on.
  EXPECT_EQ(writer.Write("yyyyyyyy", absl::Seconds(1)).code(), Code::kDeadlineExceeded);
  EXPECT_EQ(writer.Flush().code(), Code::kDeadlineExceeded);
}

GREENLET_TEST(StreamWriterTest, AKilledWriteLeavesAnError) {
  MemoryStreamPair pair({.capacity = 4});
  StreamWriter writer(pair.near, 8);
  const Greenlet<> killed = Spawn([&] { (void)writer.Write("1234567890"); });
  Yield();
  killed.Kill();
  EXPECT_EQ(writer.Write("x").code(), Code::kAborted);
}

GREENLET_TEST(StreamWriterTest, AnErrorStays) {
  MemoryStreamPair pair;
  StreamWriter writer(pair.near);
  ASSERT_TRUE(writer.Write("x").ok());
  pair.far.Abort();
  EXPECT_EQ(ErrnoOf(writer.Flush()), ECONNRESET);
  EXPECT_EQ(ErrnoOf(writer.Write("y")), ECONNRESET);
  EXPECT_EQ(ErrnoOf(writer.TryWrite("y")), ECONNRESET);
}

GREENLET_TEST(StreamWriterTest, TryWriteRefusesWhatIsTooMuch) {
  MemoryStreamPair pair({.capacity = 4});
  StreamWriter writer(pair.near, 8);
  EXPECT_TRUE(writer.TryWrite("12345678").ok());
  EXPECT_EQ(pair.far.unread(), 0u);
  EXPECT_TRUE(writer.TryWrite("9012").ok());
  EXPECT_EQ(writer.TryWrite("3").code(), Code::kResourceExhausted);
  EXPECT_EQ(pair.far.unread(), 4u);
  EXPECT_EQ(writer.buffered(), 8u);
  writer.Drop();
}

GREENLET_TEST(StreamWriterTest, ItsEndSendsWhatNeedsNoWaitingAndTellsOfTheRest) {
  MemoryStreamPair pair({.capacity = 4});
  testing::internal::CaptureStderr();
  {
    StreamWriter fits(pair.near);
    ASSERT_TRUE(fits.Write("123").ok());
  }
  EXPECT_EQ(pair.far.unread(), 3u);
  {
    StreamWriter does_not(pair.near);
    ASSERT_TRUE(does_not.Write("123").ok());
  }
  EXPECT_EQ(pair.far.unread(), 4u);
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr("2 bytes to memory.far were lost"));
}

}  // namespace
}  // namespace grove::net
