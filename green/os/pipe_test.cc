#include "grove/green/os/pipe.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "grove/green/greenlet.h"
#include "grove/green/hub_group.h"
#include "grove/green/sleep.h"
#include "grove/green/status.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/green/timeout.h"

namespace grove {
namespace {

using absl::StatusCode;

Pipe NewPipe(size_t capacity = 0) {
  absl::StatusOr<Pipe> pipe = MakePipe(capacity);
  EXPECT_TRUE(pipe.ok()) << pipe.status();
  return *std::move(pipe);
}

bool IsOpen(int fd) { return fcntl(fd, F_GETFD) >= 0; }

std::string ReadSome(PipeReader& reader, Deadline deadline = {}) {
  char buffer[4096];
  absl::StatusOr<size_t> n = reader.Read(absl::MakeSpan(buffer), deadline);
  EXPECT_TRUE(n.ok()) << n.status();
  return std::string(buffer, n.ok() ? *n : 0);
}

// Until the kernel takes no more.
size_t Fill(PipeWriter& writer) {
  const std::string block(4096, 'x');
  size_t total = 0;
  while (size_t n = *writer.TryWrite(block)) total += n;
  return total;
}

std::string Pattern(size_t size) {
  std::string data(size, '\0');
  for (size_t i = 0; i < size; ++i) data[i] = static_cast<char>(i * 31 + i / 251);
  return data;
}

// --- reading -------------------------------------------------------------------------

GREENLET_TEST(PipeTest, ReadReturnsWhatIsThere) {
  Pipe pipe = NewPipe();
  ASSERT_TRUE(pipe.writer.Write("hello").ok());
  EXPECT_EQ(ReadSome(pipe.reader), "hello");
  EXPECT_TRUE(HasTaken(absl::ZeroDuration()));
}

GREENLET_TEST(PipeTest, ReadWaitsForBytes) {
  Pipe pipe = NewPipe();
  const Greenlet<> writer = Spawn([&] {
    for (const char* word : {"one", "two"}) {
      Sleep(absl::Seconds(1));
      EXPECT_TRUE(pipe.writer.Write(word).ok());
    }
  });
  EXPECT_EQ(ReadSome(pipe.reader), "one");
  EXPECT_EQ(ReadSome(pipe.reader), "two");
  EXPECT_TRUE(HasTaken(absl::Seconds(2)));
  writer.Join();
}

GREENLET_TEST(PipeTest, TheEndIsZeroBytesAndNoError) {
  Pipe pipe = NewPipe();
  ASSERT_TRUE(pipe.writer.Write("last words").ok());
  pipe.writer.Close();
  EXPECT_EQ(ReadSome(pipe.reader), "last words");
  EXPECT_EQ(ReadSome(pipe.reader), "");
  EXPECT_EQ(ReadSome(pipe.reader), "");
}

GREENLET_TEST(PipeTest, AWaitingReaderSeesTheEnd) {
  Pipe pipe = NewPipe();
  const Greenlet<> closer = Spawn([&] {
    Sleep(absl::Seconds(1));
    pipe.writer.Close();
  });
  EXPECT_EQ(ReadSome(pipe.reader), "");
  EXPECT_TRUE(HasTaken(absl::Seconds(1)));
  closer.Join();
}

GREENLET_TEST(PipeTest, ReadEndsAtItsDeadlineAndThePipeLives) {
  Pipe pipe = NewPipe();
  char buffer[10];
  const absl::Status late =
      pipe.reader.Read(absl::MakeSpan(buffer), absl::Seconds(2)).status();
  EXPECT_EQ(late.code(), StatusCode::kDeadlineExceeded);
  EXPECT_NE(late.message().find("read from " + pipe.reader.name()), std::string::npos);
  EXPECT_TRUE(HasTaken(absl::Seconds(2)));
  ASSERT_TRUE(pipe.writer.Write("x").ok());
  EXPECT_EQ(ReadSome(pipe.reader), "x");
}

GREENLET_TEST(PipeTest, APassedDeadlineReadsWhatIsThere) {
  Pipe pipe = NewPipe();
  char buffer[10];
  const auto read = [&] {
    return pipe.reader.Read(absl::MakeSpan(buffer), Deadline::Passed());
  };
  EXPECT_EQ(read().status().code(), StatusCode::kDeadlineExceeded);
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(pipe.writer.Write("abc").ok());
    EXPECT_EQ(*read(), 3u);
    EXPECT_EQ(read().status().code(), StatusCode::kDeadlineExceeded);
  }
  EXPECT_EQ(pipe.reader.WaitReadable(Deadline::Passed()).code(),
            StatusCode::kDeadlineExceeded);
  pipe.writer.Close();
  EXPECT_EQ(*read(), 0u);
}

GREENLET_TEST(PipeTest, TheReadersOwnTimeoutHoldsForEachCall) {
  Pipe pipe = NewPipe();
  pipe.reader.set_timeout(absl::Seconds(1));
  char buffer[10];
  EXPECT_EQ(pipe.reader.Read(absl::MakeSpan(buffer), absl::Hours(1)).status().code(),
            StatusCode::kDeadlineExceeded);
  EXPECT_EQ(pipe.reader.WaitReadable().code(), StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(HasTaken(absl::Seconds(2)));
}

GREENLET_TEST(PipeTest, AKilledReaderLeavesTheBytesToTheNext) {
  Pipe pipe = NewPipe();
  for (int i = 0; i < 3; ++i) {
    const Greenlet<> g = Spawn([&] { ReadSome(pipe.reader); });
    Yield();
    g.Kill();
    EXPECT_TRUE(g.killed());
  }
  ASSERT_TRUE(pipe.writer.Write("kept").ok());
  EXPECT_EQ(ReadSome(pipe.reader), "kept");
}

GREENLET_TEST(PipeTest, ATimeoutScopeEndsARead) {
  Pipe pipe = NewPipe();
  char buffer[10];
  const auto n = WithTimeout(absl::Seconds(1),
                             [&] { return pipe.reader.Read(absl::MakeSpan(buffer)); });
  EXPECT_EQ(n.status().code(), StatusCode::kDeadlineExceeded);
}

GREENLET_TEST(PipeTest, ClosingWakesTheReaderAndSaysWhoDidIt) {
  auto pipe = std::make_unique<Pipe>(NewPipe());
  const Greenlet<absl::Status> reader = Spawn([&] {
    char buffer[10];
    return pipe->reader.Read(absl::MakeSpan(buffer)).status();
  });
  Yield();
  const Greenlet<> closer = Spawn({.name = "closer"}, [&] { pipe.reset(); });
  const absl::Status status = reader.Get();
  EXPECT_EQ(status.code(), StatusCode::kCancelled);
  EXPECT_NE(status.message().find("closed by greenlet 'closer'"), std::string::npos)
      << status;
}

GREENLET_TEST(PipeTest, WhatIsClosedIsCancelledAtOnce) {
  Pipe pipe = NewPipe();
  const int fd = pipe.reader.fd();
  pipe.reader.Close();
  pipe.writer.Close();
  pipe.writer.Close();
  EXPECT_FALSE(IsOpen(fd));
  EXPECT_TRUE(pipe.reader.closed());
  EXPECT_EQ(pipe.reader.fd(), -1);
  char buffer[10];
  EXPECT_EQ(pipe.reader.Read(absl::MakeSpan(buffer)).status().code(),
            StatusCode::kCancelled);
  EXPECT_EQ(pipe.reader.TryRead(absl::MakeSpan(buffer)).status().code(),
            StatusCode::kCancelled);
  EXPECT_EQ(pipe.reader.WaitReadable().code(), StatusCode::kCancelled);
  EXPECT_EQ(pipe.writer.Write("x").code(), StatusCode::kCancelled);
  EXPECT_EQ(pipe.writer.TryWrite("x").status().code(), StatusCode::kCancelled);
}

GREENLET_TEST(PipeTest, AnEmptyBufferNeitherReadsNorWaits) {
  Pipe pipe = NewPipe();
  EXPECT_EQ(*pipe.reader.Read(absl::Span<char>()), 0u);
  EXPECT_EQ(*pipe.reader.ReadScatter({}), 0u);
  EXPECT_TRUE(pipe.writer.Write("").ok());
  EXPECT_TRUE(pipe.writer.WriteGather({"", ""}).ok());
}

GREENLET_TEST(PipeTest, TryReadDoesNotWait) {
  Pipe pipe = NewPipe();
  char buffer[10];
  EXPECT_EQ(*pipe.reader.TryRead(absl::MakeSpan(buffer)), std::nullopt);
  ASSERT_TRUE(pipe.writer.Write("abc").ok());
  EXPECT_EQ(*pipe.reader.TryRead(absl::MakeSpan(buffer)), 3u);
  pipe.writer.Close();
  EXPECT_EQ(*pipe.reader.TryRead(absl::MakeSpan(buffer)), 0u);
}

GREENLET_TEST(PipeTest, ReadExactlyGathersPieces) {
  Pipe pipe = NewPipe();
  const Greenlet<> writer = Spawn([&] {
    for (const char* piece : {"a", "bc", "def"}) {
      EXPECT_TRUE(pipe.writer.Write(piece).ok());
      Sleep(absl::Seconds(1));
    }
    pipe.writer.Close();
  });
  char buffer[5];
  ASSERT_TRUE(pipe.reader.ReadExactly(absl::MakeSpan(buffer)).ok());
  EXPECT_EQ(std::string(buffer, 5), "abcde");
  const absl::Status early = pipe.reader.ReadExactly(absl::MakeSpan(buffer));
  EXPECT_EQ(early.code(), StatusCode::kOutOfRange);
  EXPECT_EQ(BytesMoved(early), 1u);
  writer.Join();
}

GREENLET_TEST(PipeTest, ReadScatterFillsBuffersInTurn) {
  Pipe pipe = NewPipe();
  ASSERT_TRUE(pipe.writer.WriteGather({"he", "", "llo", " world"}).ok());
  char a[3], b[20];
  EXPECT_EQ(*pipe.reader.ReadScatter({absl::MakeSpan(a), absl::MakeSpan(b)}), 11u);
  EXPECT_EQ(std::string(a, 3), "hel");
  EXPECT_EQ(std::string(b, 8), "lo world");
}

GREENLET_TEST(PipeTest, AReaderThatAlwaysFindsBytesLetsOthersRun) {
  Pipe pipe = NewPipe();
  Fill(pipe.writer);
  int reads = 0;
  int reads_when_other_ran = -1;
  const Greenlet<> other = Spawn([&] { reads_when_other_ran = reads; });
  char c;
  for (; reads < 200; ++reads) ASSERT_TRUE(pipe.reader.Read(absl::MakeSpan(&c, 1)).ok());
  EXPECT_GE(reads_when_other_ran, 0);
  EXPECT_LE(reads_when_other_ran, 65);
}

// --- writing -------------------------------------------------------------------------

GREENLET_TEST(PipeTest, AWriteLargerThanThePipeIsWrittenInPieces) {
  // Each write(2) is short.
  Pipe pipe = NewPipe(4096);
  const std::string data = Pattern(1 << 20);
  const Greenlet<absl::Status> writer = Spawn([&] {
    absl::Status s = pipe.writer.Write(data);
    pipe.writer.Close();
    return s;
  });
  std::string got;
  for (std::string piece; !(piece = ReadSome(pipe.reader)).empty();) got += piece;
  EXPECT_TRUE(got == data);
  EXPECT_TRUE(writer.Get().ok());
}

GREENLET_TEST(PipeTest, ManyPiecesAreWrittenInOrder) {
  Pipe pipe = NewPipe(4096);
  std::vector<std::string> pieces;
  std::string all;
  for (int i = 0; i < 3 * IOV_MAX; ++i) {
    pieces.push_back(std::string(i % 7, static_cast<char>('a' + i % 26)));
    all += pieces.back();
  }
  const Greenlet<> writer = Spawn([&] {
    const std::vector<absl::string_view> views(pieces.begin(), pieces.end());
    EXPECT_TRUE(pipe.writer.WriteGather(views).ok());
    pipe.writer.Close();
  });
  std::string got;
  for (std::string piece; !(piece = ReadSome(pipe.reader)).empty();) got += piece;
  EXPECT_TRUE(got == all);
  writer.Join();
}

GREENLET_TEST(PipeTest, AWriteThatStallsSaysHowMuchWasDone) {
  Pipe pipe = NewPipe(4096);
  const absl::Status status = pipe.writer.Write(Pattern(10000), absl::Seconds(1));
  EXPECT_EQ(status.code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(BytesMoved(status), 4096u);
  EXPECT_TRUE(HasTaken(absl::Seconds(1)));
  EXPECT_EQ(*pipe.writer.TryWrite("x"), 0u);
}

GREENLET_TEST(PipeTest, AKilledOrClosedWriterStops) {
  Pipe pipe = NewPipe();
  Fill(pipe.writer);
  const Greenlet<> killed = Spawn([&] { pipe.writer.Write("x").IgnoreError(); });
  Yield();
  killed.Kill();
  EXPECT_TRUE(killed.killed());
  const Greenlet<absl::Status> closed = Spawn([&] { return pipe.writer.Write("x"); });
  Yield();
  pipe.writer.Close();
  EXPECT_EQ(closed.Get().code(), StatusCode::kCancelled);
}

GREENLET_TEST(PipeTest, APipeThatNobodyReadsIsAnErrorAndNoSignal) {
  struct sigaction before;
  ASSERT_EQ(sigaction(SIGPIPE, nullptr, &before), 0);
  ASSERT_TRUE(before.sa_handler == SIG_DFL) << "or this test shows nothing";
  Pipe pipe = NewPipe();
  pipe.reader.Close();
  const absl::Status status = pipe.writer.Write("x");
  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  EXPECT_EQ(ErrnoOf(status), EPIPE);
  EXPECT_NE(status.message().find("write to fd "), std::string::npos);
  EXPECT_EQ(ErrnoOf(pipe.writer.TryWrite("x").status()), EPIPE);
  sigset_t mask;
  ASSERT_EQ(pthread_sigmask(SIG_BLOCK, nullptr, &mask), 0);
  EXPECT_EQ(sigismember(&mask, SIGPIPE), 0) << "as before";
}

GREENLET_TEST(PipeTest, ASigpipeThatWasPendingStaysPending) {
  sigset_t only, before, pending;
  sigemptyset(&only);
  sigaddset(&only, SIGPIPE);
  ASSERT_EQ(pthread_sigmask(SIG_BLOCK, &only, &before), 0);
  ASSERT_EQ(raise(SIGPIPE), 0);
  Pipe pipe = NewPipe();
  pipe.reader.Close();
  EXPECT_EQ(ErrnoOf(pipe.writer.Write("x")), EPIPE);
  ASSERT_EQ(sigpending(&pending), 0);
  EXPECT_EQ(sigismember(&pending, SIGPIPE), 1);
  int signum;
  ASSERT_EQ(sigwait(&only, &signum), 0);
  ASSERT_EQ(pthread_sigmask(SIG_SETMASK, &before, nullptr), 0);
}

GREENLET_TEST(PipeTest, AWaitingWriterLearnsThatTheReaderIsGone) {
  Pipe pipe = NewPipe();
  Fill(pipe.writer);
  const Greenlet<absl::Status> writer = Spawn([&] { return pipe.writer.Write("x"); });
  Yield();
  pipe.reader.Close();
  EXPECT_EQ(ErrnoOf(writer.Get()), EPIPE);
}

// --- between owners ------------------------------------------------------------------

GREENLET_TEST(PipeTest, AnEndMayMoveToAnotherHub) {
  Pipe pipe = NewPipe(4096);
  const std::string data = Pattern(1 << 18);
  const int fd = pipe.writer.Release();
  HubGroup other({.hubs = 1, .pin = false}, [&](int) {
    absl::StatusOr<PipeWriter> writer = PipeWriter::Adopt(fd);
    ASSERT_TRUE(writer.ok()) << writer.status();
    EXPECT_TRUE(writer->Write(data).ok());
  });
  std::string got;
  for (std::string piece; !(piece = ReadSome(pipe.reader)).empty();) got += piece;
  EXPECT_TRUE(got == data);
  other.Join();
}

GREENLET_TEST(PipeTest, ReleaseGivesTheDescriptorUpAsTheNextOwnerWantsIt) {
  Pipe pipe = NewPipe();
  const int reader = pipe.reader.ReleaseBlocking();
  const int writer = pipe.writer.Release();
  EXPECT_EQ(fcntl(reader, F_GETFL) & O_NONBLOCK, 0);
  EXPECT_EQ(fcntl(writer, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
  EXPECT_EQ(fcntl(reader, F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(pipe.reader.Release(), -1);
  EXPECT_EQ(pipe.writer.ReleaseBlocking(), -1);
  close(reader);
  close(writer);
}

GREENLET_TEST(PipeTest, BothEndsAreCloseOnExec) {
  Pipe pipe = NewPipe();
  EXPECT_EQ(fcntl(pipe.reader.fd(), F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(fcntl(pipe.writer.fd(), F_GETFD), FD_CLOEXEC);
}

GREENLET_TEST(PipeTest, WhatCannotBeAdoptedStaysTheCallers) {
  EXPECT_EQ(ErrnoOf(PipeReader::Adopt(-1).status()), EBADF);
  const int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  EXPECT_EQ(PipeReader::Adopt(fd).status().code(), StatusCode::kInvalidArgument);
  EXPECT_TRUE(IsOpen(fd));
  close(fd);
}

GREENLET_TEST(PipeTest, AFifoWaitsForItsFirstWriter) {
  const std::string path = testing::TempDir() + "/fifo_first_writer";
  unlink(path.c_str());
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  absl::StatusOr<PipeReader> reader =
      PipeReader::Adopt(open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  ASSERT_TRUE(reader.ok()) << reader.status();
  const Greenlet<> comes = Spawn([&] {
    Sleep(absl::Seconds(1));
    absl::StatusOr<PipeWriter> writer =
        PipeWriter::Adopt(open(path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
    ASSERT_TRUE(writer.ok()) << writer.status();
    EXPECT_TRUE(writer->Write("here").ok());
  });
  EXPECT_EQ(ReadSome(*reader), "here");
  EXPECT_EQ(ReadSome(*reader), "");
  EXPECT_TRUE(HasTaken(absl::Seconds(1)));
  unlink(path.c_str());
}

GREENLET_TEST(PipeTest, MakeNonBlockingIsForAllWhoShareTheDescription) {
  Pipe pipe = NewPipe();
  const int fd = pipe.reader.ReleaseBlocking();
  const int shared = dup(fd);
  ASSERT_TRUE(MakeNonBlocking(fd).ok());
  EXPECT_NE(fcntl(shared, F_GETFL) & O_NONBLOCK, 0);
  EXPECT_EQ(ErrnoOf(MakeNonBlocking(-1)), EBADF);
  close(fd);
  close(shared);
}

// --- signals that come in between ----------------------------------------------------

GREENLET_TEST(PipeTest, SignalsThatInterruptSystemCallsAreNotSeen) {
  struct sigaction action {};
  static volatile sig_atomic_t signals;
  signals = 0;
  action.sa_handler = [](int) { signals = signals + 1; };  // no SA_RESTART
  struct sigaction before;
  ASSERT_EQ(sigaction(SIGALRM, &action, &before), 0);
  const itimerval often{{0, 1000}, {0, 1000}};
  ASSERT_EQ(setitimer(ITIMER_REAL, &often, nullptr), 0);
  // Until some have come, however fast this machine is.
  for (int round = 0; round < 3 || signals < 20; ++round) {
    Pipe pipe = NewPipe(4096);
    const std::string data = Pattern(100000);
    const Greenlet<> writer = Spawn([&] {
      EXPECT_TRUE(pipe.writer.Write(data).ok());
      pipe.writer.Close();
    });
    std::string got;
    for (std::string piece; !(piece = ReadSome(pipe.reader)).empty();) got += piece;
    EXPECT_TRUE(got == data);
    writer.Join();
  }
  const itimerval off{};
  ASSERT_EQ(setitimer(ITIMER_REAL, &off, nullptr), 0);
  ASSERT_EQ(sigaction(SIGALRM, &before, nullptr), 0);
}

}  // namespace
}  // namespace grove
