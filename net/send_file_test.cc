#include "grove/net/send_file.h"

#include <errno.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grove/green/greenlet.h"
#include "grove/green/os/file.h"
#include "grove/green/os/file_system.h"
#include "grove/green/os/pipe.h"
#include "grove/green/sleep.h"
#include "grove/green/status.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/net/pipe_stream.h"
#include "grove/net/socket_options.h"
#include "grove/net/tcp.h"
#include "grove/net/unix.h"

namespace grove::net {
namespace {

using ::testing::HasSubstr;

// Bytes that are different everywhere.
std::string Pattern(size_t n) {
  std::string s;
  s.reserve(n + 8);
  for (size_t i = 0; s.size() < n; ++i) absl::StrAppend(&s, i, ".");
  s.resize(n);
  return s;
}

class SendFileTest : public GreenletTest {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "/send_file_XXXXXX";
    fd_ = mkstemp(name.data());
    ASSERT_GE(fd_, 0);
    unlink(name.c_str());
    auto pair = *UnixStream::Pair();
    near_ = std::move(pair.first);
    far_ = std::move(pair.second);
  }
  void TearDown() override {
    near_.Close();
    far_.Close();
    close(fd_);
  }

  void Fill(const std::string& content) {
    ASSERT_EQ(ftruncate(fd_, 0), 0);
    ASSERT_EQ(pwrite(fd_, content.data(), content.size(), 0),
              static_cast<ssize_t>(content.size()));
  }

  // All until the end, a little at a time.
  static std::string ReadAll(Stream& stream, size_t at_once = 64 << 10) {
    std::string all, buffer(at_once, 0);
    for (;;) {
      const absl::StatusOr<size_t> n = stream.Read(absl::MakeSpan(buffer));
      EXPECT_TRUE(n.ok()) << n.status();
      if (!n.ok() || *n == 0) return all;
      all.append(buffer, 0, *n);
      Yield();
    }
  }

  int fd_ = -1;
  UnixStream near_, far_;
};

GREENLET_TEST_F(SendFileTest, ASlowReaderGetsEveryByte) {
  const std::string content = Pattern(1'000'001);
  Fill(content);
  TcpListener listener = *TcpListener::Listen(Address::Loopback(0));
  TcpStream client = *TcpStream::Connect(listener.address());
  TcpStream server = *listener.Accept();
  ASSERT_TRUE(SetOption(server, SendBuffer{16384}).ok());
  const Greenlet<> sender = Spawn([&] {
    const absl::StatusOr<uint64_t> n = SendFile(server, fd_, 0, kToTheEnd);
    EXPECT_TRUE(n.ok()) << n.status();
    EXPECT_EQ(n.value_or(0), content.size());
    EXPECT_EQ(server.activity().bytes_written, content.size()) << "limits look at this";
    server.Close();
  });
  EXPECT_EQ(ReadAll(client, 5000), content);
  sender.Join();
}

GREENLET_TEST_F(SendFileTest, APartOfIt) {
  const std::string content = Pattern(1'000'000);
  Fill(content);
  EXPECT_EQ(*SendFile(near_, fd_, 10, 20), 20u);
  EXPECT_EQ(*SendFile(near_, fd_, 10, 0), 0u);
  EXPECT_EQ(*SendFile(near_, fd_, content.size() - 5, 1000), 5u) << "it ends there";
  EXPECT_EQ(*SendFile(near_, fd_, content.size(), kToTheEnd), 0u);
  EXPECT_EQ(*SendFile(near_, fd_, content.size() + 1, 1), 0u);
  EXPECT_EQ(lseek(fd_, 0, SEEK_CUR), 0) << "its position";
  near_.Close();
  EXPECT_EQ(ReadAll(far_), content.substr(10, 20) + content.substr(content.size() - 5));
}

GREENLET_TEST_F(SendFileTest, BeyondFourGiB) {
  constexpr off_t kFar = off_t{5} << 30;
  ASSERT_EQ(pwrite(fd_, "the end", 7, kFar), 7);
  EXPECT_EQ(*SendFile(near_, fd_, kFar, kToTheEnd), 7u);
  EXPECT_EQ(SendFile(near_, fd_, kToTheEnd, 1).status().code(),
            absl::StatusCode::kInvalidArgument);
  near_.Close();
  EXPECT_EQ(ReadAll(far_), "the end");
}

GREENLET_TEST_F(SendFileTest, AFileAndAStreamThatIsNoSocket) {
  const std::string content = Pattern(700'000);
  Fill(content);
  File file = File::Adopt(dup(fd_), "the file");
  Pipe pipe = *MakePipe();
  PipeStream writer(PipeReader(), std::move(pipe.writer));
  PipeStream reader(std::move(pipe.reader), PipeWriter());
  const Greenlet<> sender = Spawn([&] {
    EXPECT_EQ(*SendFile(writer, file, 100, kToTheEnd), content.size() - 100);
    writer.Close();
  });
  EXPECT_EQ(ReadAll(reader), content.substr(100));
  sender.Join();
  ASSERT_TRUE(file.Close().ok());
  EXPECT_EQ(SendFile(near_, file, 0, 1).status().code(), absl::StatusCode::kCancelled);
}

GREENLET_TEST_F(SendFileTest, AFileOfAFileSystemThatDoesNotTellWhatItHas) {
  // Made as it is read: it has no size, and nothing of it is in the page cache.
  const std::string version = *ReadFile("/proc/version");
  const int proc = open("/proc/version", O_RDONLY | O_CLOEXEC);
  EXPECT_EQ(*SendFile(near_, proc, 0, kToTheEnd), version.size());
  close(proc);
  near_.Close();
  EXPECT_EQ(ReadAll(far_), version);
}

GREENLET_TEST_F(SendFileTest, WhatIsNotInTheCacheIsReadElsewhere) {
  const std::string content = Pattern(1'000'000);
  Fill(content);
  // Out of the cache, where the file system has a disk.
  ASSERT_EQ(fsync(fd_), 0);
  posix_fadvise(fd_, 0, 0, POSIX_FADV_DONTNEED);
  const Greenlet<> sender = Spawn([&] {
    EXPECT_EQ(*SendFile(near_, fd_, 0, kToTheEnd), content.size());
    near_.Close();
  });
  EXPECT_EQ(ReadAll(far_), content);
  sender.Join();
}

GREENLET_TEST_F(SendFileTest, AFileThatBecomesShorterEndsThere) {
  const std::string content = Pattern(800'000);
  Fill(content);
  const Greenlet<uint64_t> sender = Spawn([&] {
    const uint64_t n = *SendFile(near_, fd_, 0, content.size());
    near_.Close();
    return n;
  });
  Yield();  // the socket is full
  ASSERT_FALSE(sender.ready());
  ASSERT_EQ(ftruncate(fd_, 400'000), 0);
  const std::string received = ReadAll(far_);
  EXPECT_EQ(*sender.Get(), received.size());
  EXPECT_EQ(received, content.substr(0, 400'000));
}

GREENLET_TEST_F(SendFileTest, ItsDeadlineTellsHowFarItCame) {
  const std::string content = Pattern(1'000'000);
  Fill(content);
  const absl::Status s = SendFile(near_, fd_, 0, kToTheEnd, absl::Seconds(1)).status();
  EXPECT_EQ(s.code(), absl::StatusCode::kDeadlineExceeded) << s;
  EXPECT_TRUE(HasTaken(absl::Seconds(1)));
  near_.Close();
  EXPECT_EQ(ReadAll(far_), content.substr(0, BytesMoved(s)));
  EXPECT_GT(BytesMoved(s), 0u);
}

GREENLET_TEST_F(SendFileTest, TheStreamsTimeoutIsForEachPiece) {
  Fill(Pattern(1'000'000));
  near_.set_timeout(absl::Seconds(3));
  EXPECT_EQ(SendFile(near_, fd_, 0, kToTheEnd).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(HasTaken(absl::Seconds(3)));
}

GREENLET_TEST_F(SendFileTest, AKillAndACloseEndIt) {
  Fill(Pattern(1'000'000));
  const Greenlet<> killed =
      Spawn([&] { SendFile(near_, fd_, 0, kToTheEnd).IgnoreError(); });
  Yield();
  killed.Kill();
  EXPECT_TRUE(killed.killed());
  const Greenlet<absl::Status> closed =
      Spawn([&] { return SendFile(near_, fd_, 0, kToTheEnd).status(); });
  Yield();
  near_.Close();
  EXPECT_EQ(closed.Get().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(SendFile(near_, fd_, 0, 1).status().code(), absl::StatusCode::kCancelled);
}

GREENLET_TEST_F(SendFileTest, APeerThatIsGoneIsAnErrorAndNoSignal) {
  Fill(Pattern(1000));
  far_.Close();
  const absl::Status s = SendFile(near_, fd_, 0, kToTheEnd).status();
  EXPECT_EQ(ErrnoOf(s), EPIPE);
  EXPECT_THAT(std::string(s.message()), HasSubstr("write to unix:"));
}

// sendfile(2) then returns what it has sent, and has raised the signal nevertheless.
GREENLET_TEST_F(SendFileTest, APeerThatGoesInTheMidstOfACallIsNoSignalEither) {
  Fill(Pattern(4 << 20));
  TcpListener listener = *TcpListener::Listen(Address::Loopback(0));
  TcpStream peer = *TcpStream::Connect(listener.address());
  TcpStream stream = *listener.Accept();
  peer.Close();
  const absl::Status status = SendFile(stream, fd_, 0, kToTheEnd).status();
  EXPECT_TRUE(ErrnoOf(status) == EPIPE || ErrnoOf(status) == ECONNRESET) << status;
  EXPECT_GT(BytesMoved(status), 0u);
}

GREENLET_TEST_F(SendFileTest, WhatCannotBeReadIsAnErrorThatNamesIt) {
  absl::Status s = SendFile(near_, -1, 0, 1).status();
  EXPECT_EQ(ErrnoOf(s), EBADF);
  EXPECT_THAT(std::string(s.message()), HasSubstr("send fd -1"));
  const int folder = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  s = SendFile(near_, folder, 0, 1).status();
  EXPECT_EQ(ErrnoOf(s), EISDIR) << s;
  close(folder);
}

GREENLET_TEST_F(SendFileTest, NoDescriptorForTheDuplicateIsAnError) {
  rlimit limit;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  const int next = dup(fd_);
  close(next);
  rlimit low = limit;
  low.rlim_cur = static_cast<rlim_t>(next);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
  const absl::Status s = SendFile(near_, fd_, 0, 1).status();
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(s.code(), absl::StatusCode::kResourceExhausted) << s;
}

GREENLET_TEST_F(SendFileTest, TheDescriptorMayBeClosedMeanwhile) {
  const std::string content = Pattern(800'000);
  Fill(content);
  const int own = dup(fd_);
  const Greenlet<> sender = Spawn([&] {
    EXPECT_EQ(*SendFile(near_, own, 0, kToTheEnd), content.size());
    near_.Close();
  });
  Yield();
  close(own);
  EXPECT_EQ(ReadAll(far_), content);
  sender.Join();
}

}  // namespace
}  // namespace grove::net
