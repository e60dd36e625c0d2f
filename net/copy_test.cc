#include "grove/net/copy.h"

#include <errno.h>
#include <gtest/gtest.h>

#include <string>

#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/sleep.h"
#include "grove/green/status.h"
#include "grove/net/tcp.h"

namespace grove::net {
namespace {

class CopyTest : public testing::Test {
 protected:
  struct Pair {
    TcpStream near;  // what Copy() works on
    TcpStream far;   // its peer
  };

  Pair Connected() {
    absl::StatusOr<TcpStream> far = TcpStream::Connect(listener_.address());
    EXPECT_TRUE(far.ok()) << far.status();
    absl::StatusOr<TcpStream> near = listener_.Accept();
    EXPECT_TRUE(near.ok()) << near.status();
    return {*std::move(near), *std::move(far)};
  }

  // All up to the end.
  static std::string ReadAll(TcpStream& stream) {
    std::string all;
    char buffer[4096];
    for (;;) {
      absl::StatusOr<size_t> n = stream.Read(absl::MakeSpan(buffer));
      EXPECT_TRUE(n.ok()) << n.status();
      if (!n.ok() || *n == 0) return all;
      all.append(buffer, *n);
    }
  }

  static std::string Noise(size_t size) {
    std::string s(size, '\0');
    uint32_t x = 1;
    for (char& c : s) c = static_cast<char>((x = x * 1664525 + 1013904223) >> 24);
    return s;
  }

  HubScope scope_;
  TcpListener listener_ = *TcpListener::Listen(Address::Loopback(0));
};

TEST_F(CopyTest, EchoesOnOneStreamUntilItEnds) {
  Pair p = Connected();
  uint64_t copied = 0;
  Greenlet<absl::Status> echo = Spawn([&] { return Copy(p.near, p.near, &copied); });
  char buffer[5];
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(p.far.Write("hello").ok());
    ASSERT_TRUE(p.far.ReadExactly(absl::MakeSpan(buffer)).ok());
    EXPECT_EQ(absl::string_view(buffer, 5), "hello");
    EXPECT_EQ(copied, 5u * (i + 1));
  }
  ASSERT_TRUE(p.far.ShutdownWrite().ok());
  EXPECT_TRUE(echo.Get().ok());
  EXPECT_FALSE(p.near.closed());
}

// More than sockets and the hub's buffer hold, in both directions at once, beside other
// copies that use the same buffer: nothing is lost or mixed up.
TEST_F(CopyTest, CarriesWhatTheReceiverDoesNotTakeAtOnce) {
  Pair left = Connected();
  Pair right = Connected();
  const std::string up = Noise(6 << 20);
  const std::string down = Noise((6 << 20) + 12345);
  uint64_t copied = 0;
  Greenlet<absl::Status> there = Spawn([&] {
    absl::Status s = Copy(left.near, right.near, &copied);
    EXPECT_TRUE(right.near.ShutdownWrite().ok());
    return s;
  });
  Greenlet<absl::Status> back = Spawn([&] {
    absl::Status s = Copy(right.near, left.near);
    EXPECT_TRUE(left.near.ShutdownWrite().ok());
    return s;
  });
  const auto send = [](TcpStream& stream, const std::string& data) {
    EXPECT_TRUE(stream.Write(data).ok());
    EXPECT_TRUE(stream.ShutdownWrite().ok());
  };
  Greenlet<> send_up = Spawn([&] { send(left.far, up); });
  Greenlet<> send_down = Spawn([&] { send(right.far, down); });
  Greenlet<std::string> got_up = Spawn([&] { return ReadAll(right.far); });
  Greenlet<std::string> got_down = Spawn([&] { return ReadAll(left.far); });
  EXPECT_TRUE(*got_up.Get() == up);
  EXPECT_TRUE(*got_down.Get() == down);
  EXPECT_TRUE(there.Get().ok());
  EXPECT_TRUE(back.Get().ok());
  EXPECT_EQ(copied, up.size());
}

TEST_F(CopyTest, AnErrorSaysWhoFailedAndHowMuchWasDone) {
  Pair left = Connected();
  Pair right = Connected();
  uint64_t copied = 0;
  Greenlet<absl::Status> copy =
      Spawn([&] { return Copy(left.near, right.near, &copied); });
  ASSERT_TRUE(left.far.Write("first").ok());
  char buffer[5];
  ASSERT_TRUE(right.far.ReadExactly(absl::MakeSpan(buffer)).ok());
  left.far.Abort();
  const absl::Status s = copy.Get();
  EXPECT_EQ(ErrnoOf(s), ECONNRESET) << s;
  EXPECT_EQ(BytesMoved(s), 5u);
  EXPECT_EQ(copied, 5u);
  EXPECT_NE(s.message().find(left.near.Describe()), absl::string_view::npos) << s;
}

TEST_F(CopyTest, AReceiverThatIsGoneEndsIt) {
  Pair left = Connected();
  Pair right = Connected();
  right.near.Close();
  ASSERT_TRUE(left.far.Write("lost").ok());
  const absl::Status s = Copy(left.near, right.near);
  EXPECT_EQ(s.code(), absl::StatusCode::kCancelled) << s;
  EXPECT_EQ(BytesMoved(s), 0u);
}

TEST_F(CopyTest, TheDeadlineIsForAllOfItAndTheTimeoutForEachWait) {
  Pair p = Connected();
  absl::Status s = Copy(p.near, p.near, nullptr, absl::Milliseconds(1));
  EXPECT_EQ(s.code(), absl::StatusCode::kDeadlineExceeded) << s;
  p.near.set_timeout(absl::Milliseconds(1));
  s = Copy(p.near, p.near);
  EXPECT_EQ(s.code(), absl::StatusCode::kDeadlineExceeded) << s;
}

// Always has more, and takes all: nobody ever waits. Each read takes a second.
class Endless final : public Stream {
 public:
  explicit Endless(ManualClock* clock) : clock_(clock) {}
  absl::StatusOr<std::optional<size_t>> TryRead(absl::Span<char> buffer) override {
    clock_->Advance(absl::Seconds(1));
    return ++reads < 1000 ? buffer.size() : 0;
  }
  absl::StatusOr<size_t> TryWrite(absl::string_view data) override { return data.size(); }
  absl::Status ShutdownWrite() override { return absl::OkStatus(); }
  absl::Status ShutdownRead() override { return absl::OkStatus(); }
  void Close() override {}
  bool closed() const override { return false; }
  std::string Describe() const override { return "endless"; }

  int reads = 0;

 private:
  absl::StatusOr<size_t> DoRead(absl::Span<char> buffer, Deadline) override {
    return buffer.size();
  }
  absl::StatusOr<size_t> DoReadScatter(absl::Span<const absl::Span<char>>,
                                       Deadline) override {
    return 0;
  }
  absl::Status DoWaitReadable(Deadline) override { return absl::OkStatus(); }
  absl::Status DoWrite(absl::string_view, Deadline) override { return absl::OkStatus(); }
  absl::Status DoWriteGather(absl::Span<const absl::string_view>, Deadline) override {
    return absl::OkStatus();
  }

  ManualClock* const clock_;
};

TEST(CopyDeadlineTest, EndsItThoughThereIsAlwaysMore) {
  ManualClock clock;
  const HubScope scope{HubOptions{.clock = &clock}};
  Endless stream(&clock);
  uint64_t copied = 0;
  const absl::Status s = Copy(stream, stream, &copied, absl::Seconds(10));
  EXPECT_EQ(s.code(), absl::StatusCode::kDeadlineExceeded) << s;
  EXPECT_EQ(stream.reads, 10);
  EXPECT_EQ(BytesMoved(s), copied);
}

TEST_F(CopyTest, AKillEndsItAndACloseToo) {
  Pair p = Connected();
  Greenlet<absl::Status> killed = Spawn([&] { return Copy(p.near, p.near); });
  Yield();
  killed.Kill();
  EXPECT_TRUE(killed.killed());
  Greenlet<absl::Status> closed = Spawn([&] { return Copy(p.near, p.near); });
  Yield();
  p.near.Close();
  EXPECT_EQ(closed.Get().code(), absl::StatusCode::kCancelled);
}

TEST_F(CopyTest, TriesDoNotWait) {
  Pair p = Connected();
  char buffer[16];
  absl::StatusOr<std::optional<size_t>> n = p.near.TryRead(absl::MakeSpan(buffer));
  ASSERT_TRUE(n.ok()) << n.status();
  EXPECT_FALSE(n->has_value());
  ASSERT_TRUE(p.far.Write("x").ok());
  ASSERT_TRUE(p.near.WaitReadable().ok());
  n = p.near.TryRead(absl::MakeSpan(buffer));
  ASSERT_TRUE(n.ok()) << n.status();
  EXPECT_EQ(n->value(), 1u);
  const std::string chunk(1 << 16, 'x');
  absl::StatusOr<size_t> taken = 1;
  while (taken.ok() && *taken > 0) taken = p.near.TryWrite(chunk);
  ASSERT_TRUE(taken.ok()) << taken.status();
  p.near.Close();
  EXPECT_EQ(p.near.TryRead(absl::MakeSpan(buffer)).status().code(),
            absl::StatusCode::kCancelled);
  EXPECT_EQ(p.near.TryWrite("x").status().code(), absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace grove::net
