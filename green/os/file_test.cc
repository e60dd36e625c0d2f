#include "grove/green/os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grove/green/greenlet.h"
#include "grove/green/hub_group.h"
#include "grove/green/os/file_system.h"
#include "grove/green/os/pipe.h"
#include "grove/green/sleep.h"
#include "grove/green/status.h"
#include "grove/green/testing/greenlet_test.h"
#include "grove/green/thread_pool.h"
#include "grove/green/timeout.h"

namespace grove {
namespace {

using absl::StatusCode;

// A folder of the test's own, gone with it.
class FileTest : public GreenletTest {
 protected:
  FileTest() {
    std::string name = testing::TempDir() + "/file_test_XXXXXX";
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  ~FileTest() override {
    if (!folder_.empty()) system(absl::StrCat("rm -rf '", folder_, "'").c_str());
  }
  void SetUp() override {}
  void TearDown() override {}

  std::string Path(absl::string_view name) const {
    return absl::StrCat(folder_, "/", name);
  }
  File Opened(absl::string_view name, OpenMode mode) const {
    absl::StatusOr<File> file = File::Open(Path(name), mode);
    EXPECT_TRUE(file.ok()) << file.status();
    return file.ok() ? *std::move(file) : File();
  }
  // What is in the file, by other means than those that are tested.
  std::string Content(absl::string_view name) const {
    std::string content(1 << 22, '\0');
    const int fd = open(Path(name).c_str(), O_RDONLY | O_CLOEXEC);
    const ssize_t n = read(fd, content.data(), content.size());
    close(fd);
    content.resize(n < 0 ? 0 : n);
    return content;
  }
  void Put(absl::string_view name, absl::string_view content) const {
    const int fd =
        open(Path(name).c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    EXPECT_EQ(write(fd, content.data(), content.size()),
              static_cast<ssize_t>(content.size()));
    close(fd);
  }

  std::string folder_;
};

std::string ReadSome(File& file, size_t at_most = 4096) {
  std::string data(at_most, '\0');
  absl::StatusOr<size_t> n = file.Read(absl::MakeSpan(data));
  EXPECT_TRUE(n.ok()) << n.status();
  data.resize(n.ok() ? *n : 0);
  return data;
}

std::string ReadSomeAt(File& file, uint64_t offset, size_t at_most) {
  std::string data(at_most, '\0');
  absl::StatusOr<size_t> n = file.ReadAt(absl::MakeSpan(data), offset);
  EXPECT_TRUE(n.ok()) << n.status();
  data.resize(n.ok() ? *n : 0);
  return data;
}

// A File whose reads wait until the test lets them go: the read end of a pipe.
struct Gate {
  Gate() {
    int fds[2];
    EXPECT_EQ(pipe2(fds, O_CLOEXEC), 0);
    file = File::Adopt(fds[0], "gate");
    key = fds[1];
  }
  ~Gate() { close(key); }
  void Let(char c) { EXPECT_EQ(write(key, &c, 1), 1); }

  File file;
  int key;
};

// Until so many calls are with the pool, begun or not.
void AwaitUnfinished(size_t n) {
  while (ThreadPool::Named("files").unfinished() < n) Yield();
}

// --- opening -------------------------------------------------------------------------

GREENLET_TEST_F(FileTest, EachModeDoesWhatItSays) {
  EXPECT_EQ(File::Open(Path("none")).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(File::Open(Path("none"), OpenMode::kReadWrite).status().code(),
            StatusCode::kNotFound);
  Put("file", "0123456789");
  EXPECT_EQ(File::Open(Path("file"), OpenMode::kCreateNew).status().code(),
            StatusCode::kAlreadyExists);
  File file = Opened("file", OpenMode::kRead);
  EXPECT_EQ(ErrnoOf(file.Write("x")), EBADF);
  file = Opened("file", OpenMode::kReadWrite);
  EXPECT_TRUE(file.Write("ab").ok());
  EXPECT_EQ(ReadSome(file), "23456789") << "one position for both";
  file = Opened("file", OpenMode::kAppend);
  EXPECT_TRUE(file.Write("end").ok());
  EXPECT_EQ(Content("file"), "ab23456789end");
  file = Opened("file", OpenMode::kCreate);
  EXPECT_EQ(ReadSome(file), "ab23456789end");
  file = Opened("file", OpenMode::kTruncate);
  EXPECT_EQ(Content("file"), "");
  file = Opened("new", OpenMode::kCreateNew);
  EXPECT_TRUE(file.Write("fresh").ok());
  EXPECT_EQ(Content("new"), "fresh");
}

GREENLET_TEST_F(FileTest, ANewFileHasThePermissionsThatWereAskedFor) {
  const mode_t before = umask(027);
  ASSERT_TRUE(File::Open(Path("default"), OpenMode::kCreate).ok());
  ASSERT_TRUE(File::Open(Path("secret"), OpenMode::kCreate, 0600).ok());
  umask(before);
  EXPECT_EQ(GetFileInfo(Path("default"))->permissions, 0640u);
  EXPECT_EQ(GetFileInfo(Path("secret"))->permissions, 0600u);
}

GREENLET_TEST_F(FileTest, ErrorsNameTheOperationAndTheFile) {
  const absl::Status status = File::Open(Path("none")).status();
  EXPECT_EQ(status.message(),
            absl::StrCat("open '", Path("none"), "': No such file or directory"));
  EXPECT_EQ(ErrnoOf(status), ENOENT);
  Put("file", "");
  File file = Opened("file", OpenMode::kRead);
  EXPECT_EQ(file.Write("x").message(),
            absl::StrCat("write to '", Path("file"), "': Bad file descriptor"));
}

GREENLET_TEST_F(FileTest, DescriptorsAreCloseOnExec) {
  EXPECT_EQ(fcntl(Opened("file", OpenMode::kCreate).fd(), F_GETFD), FD_CLOEXEC);
}

// --- reading and writing -------------------------------------------------------------

GREENLET_TEST_F(FileTest, ReadsAndWritesMoveThePosition) {
  File file = Opened("file", OpenMode::kCreate);
  ASSERT_TRUE(file.Write("hello ").ok());
  ASSERT_TRUE(file.Write("world").ok());
  EXPECT_EQ(*file.Position(), 11u);
  EXPECT_EQ(*file.Seek(6), 6u);
  EXPECT_EQ(ReadSome(file, 3), "wor");
  EXPECT_EQ(ReadSome(file), "ld");
  EXPECT_EQ(ReadSome(file), "") << "the end";
  EXPECT_EQ(*file.SeekToEnd(), 11u);
  EXPECT_EQ(ErrnoOf(file.Seek(~uint64_t{0}).status()), EINVAL);
}

GREENLET_TEST_F(FileTest, PositionalCallsLeaveThePositionAlone) {
  File file = Opened("file", OpenMode::kCreate);
  ASSERT_TRUE(file.WriteAt("world", 6).ok());
  ASSERT_TRUE(file.WriteAt("hello ", 0).ok());
  EXPECT_EQ(*file.Position(), 0u);
  EXPECT_EQ(ReadSomeAt(file, 4, 4), "o wo");
  EXPECT_EQ(ReadSomeAt(file, 9, 100), "ld") << "less at the end only";
  EXPECT_EQ(ReadSomeAt(file, 100, 10), "");
  EXPECT_EQ(*file.Position(), 0u);
  EXPECT_EQ(Content("file"), "hello world");
}

GREENLET_TEST_F(FileTest, TheSizeCanBeAskedForAndSet) {
  File file = Opened("file", OpenMode::kCreate);
  ASSERT_TRUE(file.Write("hello").ok());
  EXPECT_EQ(*file.Size(), 5u);
  ASSERT_TRUE(file.Truncate(2).ok());
  EXPECT_EQ(Content("file"), "he");
  ASSERT_TRUE(file.Truncate(4).ok());
  EXPECT_EQ(Content("file"), std::string("he\0\0", 4));
  const FileInfo info = *file.Info();
  EXPECT_EQ(info.kind, FileKind::kRegular);
  EXPECT_EQ(info.size, 4u);
  EXPECT_EQ(info.inode, GetFileInfo(Path("file"))->inode);
  EXPECT_TRUE(file.Sync().ok());
  EXPECT_TRUE(file.SyncData().ok());
}

GREENLET_TEST_F(FileTest, OthersRunWhileAThreadIsInACall) {
  Gate gate;
  std::string order;
  const Greenlet<> reader = Spawn([&] { order += ReadSome(gate.file); });
  AwaitUnfinished(1);
  order += 'o';
  gate.Let('r');
  reader.Join();
  EXPECT_EQ(order, "or");
}

// --- several greenlets ---------------------------------------------------------------

GREENLET_TEST_F(FileTest, CallsAtThePositionComeInTheOrderTheyWereMade) {
  // FO-3.
  File file = Opened("file", OpenMode::kCreate);
  std::string expected;
  std::vector<Greenlet<>> writers;
  for (int i = 0; i < 50; ++i) {
    std::string record = absl::StrCat("record ", i, std::string(1000 + i * 7, '.'), "\n");
    expected += record;
    writers.push_back(Spawn([&file, record] { EXPECT_TRUE(file.Write(record).ok()); }));
  }
  for (const Greenlet<>& g : writers) g.Join();
  EXPECT_TRUE(Content("file") == expected);
}

GREENLET_TEST_F(FileTest, PositionalCallsDoNotWaitForThoseAtThePosition) {
  Gate gate;
  const Greenlet<> reader = Spawn([&] { EXPECT_EQ(ReadSome(gate.file), "x"); });
  AwaitUnfinished(1);
  EXPECT_EQ(gate.file.Info()->kind, FileKind::kFifo) << "though a read is under way";
  EXPECT_FALSE(reader.ready());
  gate.Let('x');
  reader.Join();
}

GREENLET_TEST_F(FileTest, OneThatIsKilledInLineLeavesItsTurnToTheNext) {
  Gate gate;
  const Greenlet<> first = Spawn([&] { EXPECT_EQ(ReadSome(gate.file, 1), "1"); });
  AwaitUnfinished(1);
  const Greenlet<> killed = Spawn([&] { ReadSome(gate.file, 1); });
  const Greenlet<> last = Spawn([&] { EXPECT_EQ(ReadSome(gate.file, 1), "2"); });
  Yield();
  killed.Kill();
  EXPECT_TRUE(killed.killed());
  gate.Let('1');
  gate.Let('2');
  last.Join();
  first.Join();
}

GREENLET_TEST_F(FileTest, ATurnThatComesTogetherWithAKillIsPassedOn) {
  Gate gate;
  Greenlet<> killed;
  const Greenlet<> first = Spawn([&] {
    EXPECT_EQ(ReadSome(gate.file, 1), "1");
    killed.KillSoon();  // the turn is its own by now
  });
  AwaitUnfinished(1);
  killed = Spawn([&] {
    ReadSome(gate.file, 1);
    ADD_FAILURE() << "the kill comes before the call begins";
  });
  const Greenlet<> last = Spawn([&] { EXPECT_EQ(ReadSome(gate.file, 1), "2"); });
  Yield();
  gate.Let('1');
  gate.Let('2');
  last.Join();
  EXPECT_TRUE(killed.killed());
}

// --- ends ----------------------------------------------------------------------------

GREENLET_TEST_F(FileTest, AKilledGreenletWaitsForTheCallThatUsesItsBuffer) {
  // A write of more than the pipe holds: once there is something in the pipe, a thread is
  // in the call, and stays there until the rest is read.
  int fds[2];
  ASSERT_EQ(pipe2(fds, O_CLOEXEC), 0);
  ASSERT_GE(fcntl(fds[1], F_SETPIPE_SZ, 4096), 4096);
  File file = File::Adopt(fds[1], "pipe");
  bool unwound = false;
  const Greenlet<> writer = Spawn([&] {
    struct Unwound {
      ~Unwound() { *flag = true; }
      bool* flag;
    } mark{&unwound};
    EXPECT_TRUE(file.Write(std::string(10000, 'x')).ok());
    Yield();
    ADD_FAILURE() << "the kill comes with the next call";
  });
  for (int there = 0; there == 0; ioctl(fds[0], FIONREAD, &there)) Yield();
  writer.KillSoon();
  for (int i = 0; i < 100; ++i) Yield();
  EXPECT_FALSE(unwound);
  std::string got(10000, '\0');
  for (size_t n = 0; n < got.size();) n += read(fds[0], &got[n], got.size() - n);
  EXPECT_EQ(got, std::string(10000, 'x'));
  writer.Join();
  EXPECT_TRUE(writer.killed());
  close(fds[0]);
}

GREENLET_TEST_F(FileTest, ATimeoutEndsTheWaitInLine) {
  Gate gate;
  const Greenlet<> first = Spawn([&] { ReadSome(gate.file, 1); });
  AwaitUnfinished(1);
  char buffer[1];
  const auto late = WithTimeout(absl::Seconds(1),
                                [&] { return gate.file.Read(absl::MakeSpan(buffer)); });
  EXPECT_EQ(late.status().code(), StatusCode::kDeadlineExceeded);
  gate.Let('x');
  first.Join();
}

GREENLET_TEST_F(FileTest, CloseLetsCallsEndAndRefusesThoseThatCome) {
  auto gate = std::make_unique<Gate>();
  const int fd = gate->file.fd();
  const Greenlet<> reader = Spawn([&] { EXPECT_EQ(ReadSome(gate->file, 1), "x"); });
  AwaitUnfinished(1);
  const Greenlet<absl::Status> in_line = Spawn([&] {
    char buffer[1];
    return gate->file.Read(absl::MakeSpan(buffer)).status();
  });
  Yield();
  const Greenlet<absl::Status> closer = Spawn([&] { return gate->file.Close(); });
  const Greenlet<absl::Status> another = Spawn([&] { return gate->file.Close(); });
  for (int i = 0; i < 100; ++i) Yield();
  EXPECT_FALSE(closer.ready());
  EXPECT_GE(fcntl(fd, F_GETFD), 0) << "open while a thread is in it";
  EXPECT_EQ(gate->file.Info().status().code(), StatusCode::kCancelled);
  gate->Let('x');
  EXPECT_TRUE(closer.Get().ok());
  EXPECT_TRUE(another.Get().ok());
  EXPECT_EQ(fcntl(fd, F_GETFD), -1);
  const absl::Status refused = in_line.Get();
  EXPECT_EQ(refused.code(), StatusCode::kCancelled);
  EXPECT_EQ(refused.message(), "read from 'gate': the file is closed");
  reader.Join();
}

GREENLET_TEST_F(FileTest, AClosedFileSaysSoAndKeepsItsName) {
  File file = Opened("file", OpenMode::kCreate);
  const int fd = file.fd();
  EXPECT_TRUE(file.Close().ok());
  EXPECT_TRUE(file.Close().ok()) << "again";
  EXPECT_EQ(fcntl(fd, F_GETFD), -1);
  EXPECT_TRUE(file.closed());
  EXPECT_EQ(file.fd(), -1);
  EXPECT_EQ(file.path(), Path("file"));
  const absl::Status status = file.Write("x");
  EXPECT_EQ(status.code(), StatusCode::kCancelled);
  EXPECT_EQ(status.message(),
            absl::StrCat("write to '", Path("file"), "': the file is closed"));
  File none;
  EXPECT_TRUE(none.closed());
  EXPECT_TRUE(none.Close().ok());
  EXPECT_EQ(none.Size().status().code(), StatusCode::kCancelled);
}

GREENLET_TEST_F(FileTest, AKilledCloseCanBeDoneAgain) {
  Gate gate;
  const Greenlet<> reader = Spawn([&] { ReadSome(gate.file, 1); });
  AwaitUnfinished(1);
  const Greenlet<> closer = Spawn([&] { gate.file.Close().IgnoreError(); });
  Yield();
  closer.Kill();
  EXPECT_TRUE(closer.killed());
  gate.Let('x');
  EXPECT_TRUE(gate.file.Close().ok());
  EXPECT_EQ(gate.file.fd(), -1);
  reader.Join();
}

GREENLET_TEST_F(FileTest, DestroyingClosesAlsoWhileCallsAreUnderWay) {
  auto gate = std::make_unique<Gate>();
  const int fd = gate->file.fd();
  const Greenlet<> reader = Spawn([&] { EXPECT_EQ(ReadSome(gate->file, 1), "x"); });
  AwaitUnfinished(1);
  const Greenlet<> destroyer = Spawn([&] { const File last = std::move(gate->file); });
  Yield();
  EXPECT_FALSE(destroyer.ready());
  gate->Let('x');
  destroyer.Join();
  EXPECT_EQ(fcntl(fd, F_GETFD), -1);
  reader.Join();
}

GREENLET_TEST_F(FileTest, AFileThatAKilledGreenletHadIsClosed) {
  int fd = -1;
  const Greenlet<> g = Spawn([&] {
    File file = Opened("file", OpenMode::kCreate);
    fd = file.fd();
    Sleep(absl::InfiniteDuration());
  });
  while (fd < 0) Yield();
  g.Kill();
  EXPECT_EQ(fcntl(fd, F_GETFD), -1);
}

GREENLET_TEST_F(FileTest, ReleaseGivesTheDescriptorUp) {
  File file = Opened("file", OpenMode::kCreate);
  const int fd = file.Release();
  EXPECT_TRUE(file.closed());
  EXPECT_EQ(file.Release(), -1);
  EXPECT_EQ(write(fd, "x", 1), 1);
  close(fd);
}

GREENLET_TEST_F(FileTest, AFileMayBeOpenedHereAndUsedOnAnotherHub) {
  File file = Opened("file", OpenMode::kCreate);
  HubGroup other({.hubs = 1, .pin = false}, [&](int) {
    const File moved = std::move(file);
    EXPECT_TRUE(const_cast<File&>(moved).Write("from there").ok());
  });
  other.Join();
  EXPECT_EQ(Content("file"), "from there");
}

// --- what goes wrong -----------------------------------------------------------------

GREENLET_TEST_F(FileTest, AFullDeviceIsAnErrorThatSaysSo) {
  absl::StatusOr<File> full = File::Open("/dev/full", OpenMode::kReadWrite);
  ASSERT_TRUE(full.ok()) << full.status();
  const absl::Status status = full->Write("x");
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(ErrnoOf(status), ENOSPC);
  EXPECT_EQ(BytesMoved(status), 0u);
  EXPECT_EQ(status.message(), "write to '/dev/full': No space left on device");
}

// While one lives, files do not grow beyond `size`.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t size) {
    ignored_ = signal(SIGXFSZ, SIG_IGN);  // else the process dies
    EXPECT_EQ(getrlimit(RLIMIT_FSIZE, &before_), 0);
    const rlimit limit{size, before_.rlim_max};
    EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  }
  ~FileSizeLimit() {
    EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &before_), 0);
    signal(SIGXFSZ, ignored_);
  }

 private:
  rlimit before_;
  sighandler_t ignored_;
};

GREENLET_TEST_F(FileTest, AShortWriteIsGoneOnWithAndItsErrorSaysHowFarItCame) {
  // The kernel writes what fits, and refuses the rest.
  const std::string data(10000, 'd');
  absl::Status status, at;
  File file = Opened("file", OpenMode::kCreate);
  File other = Opened("other", OpenMode::kCreate);
  {
    FileSizeLimit limit(6000);
    status = file.Write(data);
    at = other.WriteAt(data, 1000);
  }
  EXPECT_EQ(ErrnoOf(status), EFBIG);
  EXPECT_EQ(BytesMoved(status), 6000u);
  EXPECT_EQ(Content("file").size(), 6000u);
  EXPECT_EQ(ErrnoOf(at), EFBIG);
  EXPECT_EQ(BytesMoved(at), 5000u);
  EXPECT_TRUE(file.Write("more").ok()) << "and the file is as good as before";
}

}  // namespace
}  // namespace grove
