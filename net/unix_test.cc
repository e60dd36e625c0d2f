#include "grove/net/unix.h"

#include <errno.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grove/green/greenlet.h"
#include "grove/green/hub_scope.h"
#include "grove/green/sleep.h"
#include "grove/green/status.h"
#include "grove/net/copy.h"

namespace grove::net {
namespace {

using ::testing::HasSubstr;

class UnixTest : public testing::Test {
 protected:
  // Short: a socket's path has 107 bytes.
  UnixTest() {
    char name[] = "/tmp/grove-unix-XXXXXX";
    EXPECT_NE(mkdtemp(name), nullptr);
    directory_ = name;
  }
  ~UnixTest() override { EXPECT_EQ(rmdir(directory_.c_str()), 0) << "a file is left"; }

  UnixAddress Path(absl::string_view name = "s") const {
    return *UnixAddress::Parse(absl::StrCat(directory_, "/", name));
  }
  bool Exists(const UnixAddress& a) const { return access(a.raw().c_str(), F_OK) == 0; }

  static int OpenFds() {
    int n = 0;
    for (int fd = 0; fd < 1024; ++fd) n += fcntl(fd, F_GETFD) >= 0;
    return n;
  }

  HubScope scope_;
  std::string directory_;
  char buffer_[4096];
};

TEST_F(UnixTest, AddressesArePathsAndAbstractNames) {
  EXPECT_EQ(UnixAddress::Parse("/run/x")->ToString(), "/run/x");
  EXPECT_FALSE(UnixAddress::Parse("/run/x")->abstract());
  EXPECT_EQ(UnixAddress::Parse("@x")->ToString(), "@x");
  EXPECT_TRUE(UnixAddress::Parse("@x")->abstract());
  EXPECT_TRUE(UnixAddress().unnamed());
  EXPECT_EQ(UnixAddress().ToString(), "(unnamed)");
  EXPECT_TRUE(UnixAddress::Parse(std::string(107, 'x')).ok());
  for (const std::string& bad :
       {std::string(), std::string("@"), std::string(108, 'x'), std::string("a\0b", 3)}) {
    EXPECT_EQ(UnixAddress::Parse(bad).status().code(), absl::StatusCode::kInvalidArgument)
        << bad;
  }
}

TEST_F(UnixTest, ConnectsByPathAndByAbstractName) {
  for (const UnixAddress& address :
       {Path(), *UnixAddress::Parse(absl::StrCat("@grove-test-", getpid()))}) {
    UnixListener listener = *UnixListener::Listen(address);
    EXPECT_EQ(listener.address(), address);
    const Greenlet<absl::Status> echo = Spawn([&] {
      UnixStream s = *listener.Accept();
      return Copy(s, s);
    });
    UnixStream client = *UnixStream::Connect(address);
    EXPECT_EQ(client.peer(), address);
    ASSERT_TRUE(client.Write("hello").ok());
    ASSERT_TRUE(client.ReadExactly(absl::MakeSpan(buffer_, 5)).ok());
    EXPECT_EQ(std::string(buffer_, 5), "hello");
    client.Close();
    EXPECT_TRUE(echo.Get().ok());
  }
}

TEST_F(UnixTest, TheKernelGivesANameToAListenerWithout) {
  const UnixListener listener = *UnixListener::Listen(UnixAddress());
  EXPECT_TRUE(listener.address().abstract());
  EXPECT_TRUE(UnixStream::Connect(listener.address()).ok());
}

TEST_F(UnixTest, CloseRemovesTheSocketsFileAndWakesWhoAccepts) {
  UnixListener listener = *UnixListener::Listen(Path());
  EXPECT_TRUE(Exists(Path()));
  const Greenlet<absl::Status> waiting =
      Spawn([&] { return listener.Accept().status(); });
  Yield();
  listener.Close();
  EXPECT_FALSE(Exists(Path()));
  EXPECT_EQ(waiting.Get().code(), absl::StatusCode::kCancelled);
}

TEST_F(UnixTest, AForkedChildThatClosesItLeavesTheFile) {
  UnixListener listener = *UnixListener::Listen(Path());
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    listener.Close();
    _exit(0);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(Exists(Path()));
  EXPECT_TRUE(UnixStream::Connect(Path()).ok());
  listener.Close();
  EXPECT_FALSE(Exists(Path()));
}

TEST_F(UnixTest, TheSocketsFileHasItsModeWhateverTheUmask) {
  const mode_t before = umask(077);
  for (mode_t mode : {0600u, 0666u, 0620u}) {
    UnixListener listener = *UnixListener::Listen(Path(), {.mode = mode});
    struct stat file;
    ASSERT_EQ(lstat(Path().raw().c_str(), &file), 0);
    EXPECT_EQ(file.st_mode & 07777, mode);
  }
  umask(before);
}

TEST_F(UnixTest, AFileThatADeadProcessLeftIsReplacedAndOneInUseIsNot) {
  UnixListener in_use = *UnixListener::Listen(Path("used"));
  absl::Status s = UnixListener::Listen(Path("used")).status();
  EXPECT_EQ(ErrnoOf(s), EADDRINUSE) << s;
  EXPECT_THAT(std::string(s.message()),
              HasSubstr("listen at unix:" + Path("used").raw()));
  EXPECT_TRUE(UnixStream::Connect(Path("used")).ok());

  // As a process does that dies: closed, and the file stays.
  close(UnixListener::Listen(Path("stale"))->Release());
  EXPECT_TRUE(Exists(Path("stale")));
  EXPECT_EQ(
      ErrnoOf(UnixListener::Listen(Path("stale"), {.replace_stale = false}).status()),
      EADDRINUSE);
  UnixListener again = *UnixListener::Listen(Path("stale"));
  EXPECT_TRUE(UnixStream::Connect(Path("stale")).ok());

  // A file that is no socket is nobody's to remove.
  const std::string file = Path("file").raw();
  close(open(file.c_str(), O_CREAT | O_WRONLY, 0600));
  EXPECT_EQ(ErrnoOf(UnixListener::Listen(Path("file")).status()), EADDRINUSE);
  EXPECT_EQ(unlink(file.c_str()), 0);
}

TEST_F(UnixTest, AFileThatSomebodyElsePutInItsPlaceStays) {
  UnixListener first = *UnixListener::Listen(Path());
  ASSERT_EQ(unlink(Path().raw().c_str()), 0);
  UnixListener second = *UnixListener::Listen(Path());
  first.Close();
  EXPECT_TRUE(Exists(Path()));
  EXPECT_TRUE(UnixStream::Connect(Path()).ok());
}

TEST_F(UnixTest, ConnectingToNobodyIsAnErrorThatNamesIt) {
  const absl::Status s = UnixStream::Connect(Path("none")).status();
  EXPECT_EQ(ErrnoOf(s), ENOENT);
  EXPECT_THAT(std::string(s.message()),
              HasSubstr("connect to unix:" + Path("none").raw()));
}

TEST_F(UnixTest, AFullBacklogIsWaitedForUntilTheDeadline) {
  UnixListener listener = *UnixListener::Listen(Path(), {.backlog = 0});
  std::vector<UnixStream> connected;
  absl::Status last;
  while (last.ok()) {
    absl::StatusOr<UnixStream> s = UnixStream::Connect(Path(), absl::Milliseconds(2));
    last = s.status();
    if (s.ok()) connected.push_back(*std::move(s));
  }
  EXPECT_EQ(last.code(), absl::StatusCode::kDeadlineExceeded) << last;
  const Greenlet<absl::Status> waiting =
      Spawn([&] { return UnixStream::Connect(Path()).status(); });
  Yield();
  ASSERT_TRUE(listener.Accept().ok());
  EXPECT_TRUE(waiting.Get().ok());
}

TEST_F(UnixTest, AWaitEndsWithItsDeadlineAKillAndAClose) {
  auto [a, b] = *UnixStream::Pair();
  EXPECT_EQ(a.Read(absl::MakeSpan(buffer_), absl::Milliseconds(1)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(a.ReceiveDescriptors(absl::MakeSpan(buffer_), 1, absl::Milliseconds(1))
                .status()
                .code(),
            absl::StatusCode::kDeadlineExceeded);
  const Greenlet<> killed = Spawn(
      [&, s = &a] { s->ReceiveDescriptors(absl::MakeSpan(buffer_), 1).IgnoreError(); });
  Yield();
  killed.Kill();
  EXPECT_TRUE(killed.killed());
  const Greenlet<absl::Status> closed = Spawn(
      [&, s = &a] { return s->ReceiveDescriptors(absl::MakeSpan(buffer_), 1).status(); });
  Yield();
  a.Close();
  EXPECT_EQ(closed.Get().code(), absl::StatusCode::kCancelled);
}

TEST_F(UnixTest, PeersAreKnown) {
  auto [a, b] = *UnixStream::Pair();
  const PeerCredentials who = *a.peer_credentials();
  EXPECT_EQ(who.pid, getpid());
  EXPECT_EQ(who.uid, getuid());
  EXPECT_EQ(who.gid, getgid());
  a.Close();
  EXPECT_EQ(ErrnoOf(a.peer_credentials().status()), EBADF);
}

TEST_F(UnixTest, DescriptorsArriveWithTheFirstByte) {
  const int before = OpenFds();
  {
    auto [a, b] = *UnixStream::Pair();
    int pipe_fds[2];
    ASSERT_EQ(pipe2(pipe_fds, O_CLOEXEC), 0);
    ASSERT_TRUE(a.SendDescriptors("two", pipe_fds).ok());
    const UnixStream::Received r =
        *b.ReceiveDescriptors(absl::MakeSpan(buffer_), /*max_fds=*/2);
    EXPECT_EQ(std::string(buffer_, r.bytes), "two");
    ASSERT_EQ(r.fds.size(), 2u);
    EXPECT_EQ(fcntl(r.fds[0], F_GETFD), FD_CLOEXEC);
    ASSERT_EQ(write(pipe_fds[1], "x", 1), 1);
    char c;
    EXPECT_EQ(read(r.fds[0], &c, 1), 1) << "it is the same pipe";
    for (int fd : r.fds) close(fd);
    for (int fd : pipe_fds) close(fd);
    // Bytes may come alone too.
    ASSERT_TRUE(a.Write("none").ok());
    EXPECT_EQ(b.ReceiveDescriptors(absl::MakeSpan(buffer_), 2)->fds.size(), 0u);
    a.Close();
    EXPECT_EQ(b.ReceiveDescriptors(absl::MakeSpan(buffer_), 2)->bytes, 0u) << "the end";
  }
  EXPECT_EQ(OpenFds(), before);
}

TEST_F(UnixTest, MoreDescriptorsThanAllowedAreClosed) {
  const int before = OpenFds();
  {
    auto [a, b] = *UnixStream::Pair();
    const std::vector<int> many(20, STDIN_FILENO);
    ASSERT_TRUE(a.SendDescriptors("x", many).ok());
    absl::Status s = b.ReceiveDescriptors(absl::MakeSpan(buffer_), 3).status();
    EXPECT_EQ(s.code(), absl::StatusCode::kResourceExhausted) << s;
    // Unasked for, they are dropped by the kernel.
    ASSERT_TRUE(a.SendDescriptors("y", many).ok());
    EXPECT_EQ(*b.Read(absl::MakeSpan(buffer_)), 1u);
  }
  EXPECT_EQ(OpenFds(), before);
}

TEST_F(UnixTest, DescriptorsThatTheProcessHasNoRoomForAreAnError) {
  auto [a, b] = *UnixStream::Pair();
  const int before = OpenFds();
  ASSERT_TRUE(a.SendDescriptors("x", std::vector<int>(5, STDIN_FILENO)).ok());
  rlimit limit;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  // Room for two.
  const int next = dup(STDIN_FILENO);
  close(next);
  rlimit tight = limit;
  tight.rlim_cur = static_cast<rlim_t>(next) + 2;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &tight), 0);
  const absl::Status s = b.ReceiveDescriptors(absl::MakeSpan(buffer_), 5).status();
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(s.code(), absl::StatusCode::kResourceExhausted) << s;
  EXPECT_EQ(OpenFds(), before);
}

TEST_F(UnixTest, SendingNothingIsAnError) {
  auto [a, b] = *UnixStream::Pair();
  const int one[] = {STDIN_FILENO};
  EXPECT_EQ(a.SendDescriptors("", one).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(a.SendDescriptors("x", {}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(a.SendDescriptors("x", std::vector<int>(254, 0)).code(),
            absl::StatusCode::kInvalidArgument);
  const int bad[] = {-1};
  EXPECT_EQ(ErrnoOf(a.SendDescriptors("x", bad)), EBADF);
}

TEST_F(UnixTest, DescriptorsComeThroughAStreamThatIsFull) {
  auto [a, b] = *UnixStream::Pair();
  const std::string chunk(1 << 20, 'x');
  const Greenlet<absl::Status> sender = Spawn([&, s = &a] {
    const int one[] = {STDIN_FILENO};
    if (absl::Status w = s->Write(chunk); !w.ok()) return w;
    return s->SendDescriptors(chunk, one);
  });
  size_t bytes = 0;
  size_t fds = 0;
  while (bytes < 2 * chunk.size()) {
    const UnixStream::Received r = *b.ReceiveDescriptors(absl::MakeSpan(buffer_), 1);
    bytes += r.bytes;
    fds += r.fds.size();
    for (int fd : r.fds) close(fd);
  }
  EXPECT_TRUE(sender.Get().ok());
  EXPECT_EQ(fds, 1u);
}

TEST_F(UnixTest, AdoptsWhatOthersMade) {
  int fds[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
  UnixStream a = *UnixStream::Adopt(fds[0]);
  UnixStream b = *UnixStream::Adopt(fds[1]);
  ASSERT_TRUE(a.Write("x").ok());
  EXPECT_EQ(*b.Read(absl::MakeSpan(buffer_)), 1u);
  EXPECT_EQ(UnixStream::Adopt(STDIN_FILENO).ok(), false);
  UnixListener listener = *UnixListener::Listen(Path());
  UnixListener adopted = *UnixListener::Adopt(listener.Release());
  EXPECT_TRUE(UnixStream::Connect(adopted.address()).ok());
  adopted.Close();
  EXPECT_TRUE(Exists(Path())) << "it belongs to whoever made it";
  EXPECT_EQ(unlink(Path().raw().c_str()), 0);
}

}  // namespace
}  // namespace grove::net
