#include "grove/net/pipe_stream.h"

#include <errno.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "grove/green/greenlet.h"
#include "grove/green/sleep.h"
#include "grove/green/status.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/net/copy.h"

namespace grove::net {
namespace {

using absl::StatusCode;

// Two streams that talk to each other.
struct Pair {
  static Pair Make() {
    Pipe there = *MakePipe(), back = *MakePipe();
    return {PipeStream(std::move(back.reader), std::move(there.writer)),
            PipeStream(std::move(there.reader), std::move(back.writer))};
  }
  PipeStream near;
  PipeStream far;
};

std::string ReadSome(Stream& stream) {
  char buffer[4096];
  absl::StatusOr<size_t> n = stream.Read(absl::MakeSpan(buffer));
  EXPECT_TRUE(n.ok()) << n.status();
  return std::string(buffer, n.ok() ? *n : 0);
}

GREENLET_TEST(PipeStreamTest, CarriesBytesBothWays) {
  Pair pair = Pair::Make();
  const Greenlet<> echo = Spawn([&] {
    EXPECT_TRUE(Copy(pair.far, pair.far).ok());
    EXPECT_TRUE(pair.far.ShutdownWrite().ok());
  });
  ASSERT_TRUE(pair.near.WriteGather({"hel", "lo\nrest"}).ok());
  std::string rest;
  EXPECT_EQ(*pair.near.ReadUntil("\n", rest, 100), "hello\n");
  EXPECT_EQ(rest, "rest");
  ASSERT_TRUE(pair.near.ShutdownWrite().ok());
  EXPECT_EQ(ReadSome(pair.near), "");
  echo.Join();
}

GREENLET_TEST(PipeStreamTest, TheStreamsTimeoutHolds) {
  Pair pair = Pair::Make();
  pair.near.set_timeout(absl::Seconds(1));
  char buffer[10];
  EXPECT_EQ(pair.near.Read(absl::MakeSpan(buffer)).status().code(),
            StatusCode::kDeadlineExceeded);
  EXPECT_EQ(pair.near.WaitReadable().code(), StatusCode::kDeadlineExceeded);
  const absl::Status late = pair.near.Write(std::string(1 << 20, 'x'));
  EXPECT_EQ(late.code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(BytesMoved(late), 65536u);
  EXPECT_TRUE(HasTaken(absl::Seconds(3)));
  EXPECT_EQ(*pair.near.TryRead(absl::MakeSpan(buffer)), std::nullopt);
  EXPECT_EQ(*pair.near.TryWrite("x"), 0u);
}

GREENLET_TEST(PipeStreamTest, ShutdownReadLeavesWhatHasArrived) {
  Pair pair = Pair::Make();
  ASSERT_TRUE(pair.far.Write("arrived").ok());
  ASSERT_TRUE(pair.near.ShutdownRead().ok());
  EXPECT_TRUE(pair.near.WaitReadable().ok());
  EXPECT_EQ(ReadSome(pair.near), "arrived");
  EXPECT_EQ(ReadSome(pair.near), "");
  char a[2], b[2];
  EXPECT_EQ(*pair.near.ReadScatter({absl::MakeSpan(a), absl::MakeSpan(b)}), 0u);
  EXPECT_EQ(*pair.near.TryRead(absl::MakeSpan(a)), 0u);
  EXPECT_TRUE(pair.near.Write("and mine").ok()) << "only one direction has ended";
  EXPECT_EQ(ReadSome(pair.far), "and mine");
}

GREENLET_TEST(PipeStreamTest, ShutdownReadEndsAReadUnderWay) {
  Pair pair = Pair::Make();
  const Greenlet<> reader = Spawn([&] { EXPECT_EQ(ReadSome(pair.near), ""); });
  Yield();
  ASSERT_TRUE(pair.near.ShutdownRead().ok());
  reader.Join();
  EXPECT_FALSE(pair.near.closed());
}

GREENLET_TEST(PipeStreamTest, ClosingWakesWhoWaits) {
  auto pair = std::make_unique<Pair>(Pair::Make());
  const Greenlet<absl::Status> reader = Spawn([&] {
    char buffer[10];
    return pair->near.Read(absl::MakeSpan(buffer)).status();
  });
  Yield();
  EXPECT_EQ(pair->near.Describe().substr(0, 3), "fd ");
  const Greenlet<> closer = Spawn({.name = "closer"}, [&] { pair.reset(); });
  const absl::Status status = reader.Get();
  EXPECT_EQ(status.code(), StatusCode::kCancelled);
  EXPECT_NE(status.message().find("closed by greenlet 'closer'"), std::string::npos);
}

GREENLET_TEST(PipeStreamTest, OneDirectionIsEnough) {
  Pipe pipe = *MakePipe();
  PipeStream in(std::move(pipe.reader), PipeWriter());
  PipeStream out(PipeReader(), std::move(pipe.writer));
  ASSERT_TRUE(out.Write("x").ok());
  EXPECT_EQ(ReadSome(in), "x");
  EXPECT_EQ(in.Write("x").code(), StatusCode::kCancelled);
  in.Close();
  EXPECT_TRUE(in.closed());
  EXPECT_EQ(ErrnoOf(out.Write("x")), EPIPE);
}

}  // namespace
}  // namespace grove::net
