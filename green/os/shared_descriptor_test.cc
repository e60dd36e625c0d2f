// What PipeReader::Share() and its like promise: whoever else has the pipe, terminal or
// file keeps finding it as it was.
#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <pty.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grove/green/greenlet.h"
#include "grove/green/os/internal/byte_descriptor.h"
#include "grove/green/os/pipe.h"
#include "grove/green/sleep.h"
#include "grove/green/status.h"
#include "grove/green/testing/greenlet_test.h"

extern char** environ;

namespace grove {
namespace {

using absl::StatusCode;
using green_internal::ByteDescriptor;
using Manner = ByteDescriptor::Manner;

int FlagsOf(int fd) { return fcntl(fd, F_GETFL); }

std::string ReadSome(PipeReader& reader, Deadline deadline = {}) {
  char buffer[4096];
  absl::StatusOr<size_t> n = reader.Read(absl::MakeSpan(buffer), deadline);
  EXPECT_TRUE(n.ok()) << n.status();
  return std::string(buffer, n.ok() ? *n : 0);
}

Manner MannerOf(int fd, ByteDescriptor::Direction direction) {
  absl::StatusOr<ByteDescriptor> d = ByteDescriptor::Share(fd, direction);
  EXPECT_TRUE(d.ok()) << d.status();
  return d.ok() ? d->manner() : Manner::kOwn;
}

// A pipe as the shell makes it: both ends block.
struct BlockingPipe {
  BlockingPipe() { EXPECT_EQ(pipe2(fds, O_CLOEXEC), 0); }
  ~BlockingPipe() {
    CloseWriter();
    close(fds[0]);
  }
  void CloseWriter() {
    if (fds[1] >= 0) close(std::exchange(fds[1], -1));
  }
  void Put(absl::string_view data) {
    EXPECT_EQ(write(fds[1], data.data(), data.size()), static_cast<ssize_t>(data.size()));
  }
  int fds[2];
};

// A pseudo terminal; `slave` is what a program has as its stdin.
struct Terminal {
  Terminal() {
    EXPECT_EQ(openpty(&master, &slave, nullptr, nullptr, nullptr), 0);
    fcntl(master, F_SETFD, FD_CLOEXEC);
    fcntl(slave, F_SETFD, FD_CLOEXEC);
  }
  ~Terminal() {
    close(slave);
    if (master >= 0) close(master);
  }
  void Type(absl::string_view keys) {
    EXPECT_EQ(write(master, keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
  }
  int master = -1;
  int slave = -1;
};

// While one lives this thread may not open what Lock() has locked, even as root.
class WithoutPrivilege {
 public:
  WithoutPrivilege() {
    EXPECT_EQ(syscall(SYS_capget, &header_, before_), 0);
    __user_cap_data_struct less[2] = {before_[0], before_[1]};
    less[0].effective &=
        ~((1u << CAP_DAC_OVERRIDE) | (1u << CAP_DAC_READ_SEARCH) | (1u << CAP_SYS_ADMIN));
    EXPECT_EQ(syscall(SYS_capset, &header_, less), 0);
  }
  ~WithoutPrivilege() { EXPECT_EQ(syscall(SYS_capset, &header_, before_), 0); }

  // A terminal by TIOCEXCL, anything else by its mode.
  void Lock(int fd) {
    EXPECT_EQ(isatty(fd) ? ioctl(fd, TIOCEXCL) : fchmod(fd, 0), 0) << strerror(errno);
  }

 private:
  __user_cap_header_struct header_{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct before_[2];
};

// Shares `fd` when it cannot be opened once more.
template <typename End>
absl::StatusOr<End> ShareLocked(int fd) {
  WithoutPrivilege without;
  without.Lock(fd);
  return End::Share(fd);
}

// --- pipes ---------------------------------------------------------------------------

GREENLET_TEST(SharedPipe, IsReadWithoutAChangeOfItsFlags) {
  BlockingPipe pipe;
  const int flags = FlagsOf(pipe.fds[0]);
  absl::StatusOr<PipeReader> reader = PipeReader::Share(pipe.fds[0]);
  ASSERT_TRUE(reader.ok()) << reader.status();
  const Greenlet<> writer = Spawn([&] {
    Sleep(absl::Seconds(1));
    pipe.Put("late");
  });
  EXPECT_EQ(ReadSome(*reader), "late") << "and others ran meanwhile";
  EXPECT_EQ(FlagsOf(pipe.fds[0]), flags);
  EXPECT_EQ(flags & O_NONBLOCK, 0);
  pipe.CloseWriter();
  EXPECT_EQ(ReadSome(*reader), "");
  reader->Close();
  EXPECT_EQ(FlagsOf(pipe.fds[0]), flags) << "closing closes nothing of the owner's";
}

GREENLET_TEST(SharedPipe, IsWrittenWithoutAChangeOfItsFlags) {
  BlockingPipe pipe;
  const int flags = FlagsOf(pipe.fds[1]);
  absl::StatusOr<PipeWriter> writer = PipeWriter::Share(pipe.fds[1]);
  ASSERT_TRUE(writer.ok()) << writer.status();
  EXPECT_EQ(writer->Write(std::string(1 << 20, 'x'), absl::Seconds(1)).code(),
            StatusCode::kDeadlineExceeded)
      << "a full pipe makes it wait, and not the thread";
  EXPECT_EQ(FlagsOf(pipe.fds[1]), flags);
}

GREENLET_TEST(SharedPipe, TheReaderSeesTheEndOnceAllWritersHaveClosed) {
  BlockingPipe pipe;
  absl::StatusOr<PipeReader> reader = PipeReader::Share(pipe.fds[0]);
  absl::StatusOr<PipeWriter> writer = PipeWriter::Share(pipe.fds[1]);
  ASSERT_TRUE(reader.ok() && writer.ok());
  pipe.CloseWriter();
  char buffer[10];
  EXPECT_EQ(reader->Read(absl::MakeSpan(buffer), absl::Seconds(1)).status().code(),
            StatusCode::kDeadlineExceeded);
  writer->Close();
  EXPECT_EQ(ReadSome(*reader), "");
}

// What cannot be opened again, as a pipe of another user's: the call itself does not
// wait.
GREENLET_TEST(SharedPipe, ThatCannotBeOpenedAgainWorksAsWell) {
  BlockingPipe pipe;
  absl::StatusOr<PipeReader> reader = ShareLocked<PipeReader>(pipe.fds[0]);
  absl::StatusOr<PipeWriter> writer = ShareLocked<PipeWriter>(pipe.fds[1]);
  ASSERT_TRUE(reader.ok() && writer.ok()) << reader.status() << writer.status();
  const Greenlet<> late = Spawn([&] {
    Sleep(absl::Seconds(1));
    EXPECT_TRUE(writer->Write("late").ok());
  });
  EXPECT_EQ(ReadSome(*reader), "late");
  EXPECT_TRUE(HasTaken(absl::Seconds(1)));
  EXPECT_EQ(writer->Write(std::string(1 << 20, 'x'), absl::Seconds(1)).code(),
            StatusCode::kDeadlineExceeded);
  EXPECT_EQ((FlagsOf(pipe.fds[0]) | FlagsOf(pipe.fds[1])) & O_NONBLOCK, 0);
  size_t got = 0;
  char buffer[4096];
  while (std::optional<size_t> n = *reader->TryRead(absl::MakeSpan(buffer))) got += *n;
  EXPECT_EQ(got, 65536u) << "all that was written";
  late.Join();
}

// A FIFO with a name knows no RWF_NOWAIT: a thread does it.
GREENLET_TEST(SharedPipe, AFifoThatCannotBeOpenedAgainWorksAsWell) {
  const std::string path = testing::TempDir() + "/locked_fifo";
  unlink(path.c_str());
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  absl::StatusOr<PipeReader> reader = ShareLocked<PipeReader>(fd);
  absl::StatusOr<PipeWriter> writer = ShareLocked<PipeWriter>(fd);
  ASSERT_TRUE(reader.ok() && writer.ok()) << reader.status() << writer.status();
  for (const char* word : {"first", "second"}) {
    const Greenlet<> late = Spawn([&] {
      Sleep(absl::Seconds(1));
      EXPECT_TRUE(writer->Write(word).ok());
    });
    EXPECT_EQ(ReadSome(*reader), word);
    late.Join();
  }
  EXPECT_EQ(writer->Write(std::string(1 << 20, 'x'), absl::Seconds(1)).code(),
            StatusCode::kDeadlineExceeded);
  EXPECT_EQ(FlagsOf(fd) & O_NONBLOCK, 0);
  close(fd);
  unlink(path.c_str());
}

GREENLET_TEST(SharedPipe, WithoutAReaderIsAnErrorAndNoSignal) {
  BlockingPipe pipe;
  close(std::exchange(pipe.fds[0], dup(pipe.fds[1])));
  absl::StatusOr<PipeWriter> writer = PipeWriter::Share(pipe.fds[1]);
  ASSERT_TRUE(writer.ok()) << writer.status();
  EXPECT_EQ(ErrnoOf(writer->Write("x")), EPIPE);
}

GREENLET_TEST(SharedPipe, TheWrongEndIsAnError) {
  BlockingPipe pipe;
  EXPECT_EQ(ErrnoOf(PipeReader::Share(pipe.fds[1]).status()), EBADF);
  EXPECT_EQ(ErrnoOf(PipeWriter::Share(pipe.fds[0]).status()), EBADF);
  EXPECT_EQ(ErrnoOf(PipeReader::Share(-1).status()), EBADF);
}

// --- terminals -----------------------------------------------------------------------

// The flags of descriptor 0 of another process.
int FlagsOfStdin(pid_t pid) {
  std::ifstream info(absl::StrCat("/proc/", pid, "/fdinfo/0"));
  for (std::string key; info >> key;) {
    if (key == "flags:") {
      int flags = 0;
      info >> std::oct >> flags;
      return flags;
    }
  }
  ADD_FAILURE() << "no fdinfo of " << pid;
  return O_NONBLOCK;
}

GREENLET_TEST(SharedTerminal, AnotherProcessFindsItsFlagsUnchanged) {
  Terminal terminal;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, terminal.slave, 0);
  char name[] = "sleep", seconds[] = "1000";
  char* const argv[] = {name, seconds, nullptr};
  pid_t other = -1;
  ASSERT_EQ(posix_spawnp(&other, name, &actions, nullptr, argv, environ), 0);
  posix_spawn_file_actions_destroy(&actions);
  {
    absl::StatusOr<PipeReader> reader = PipeReader::Share(terminal.slave);
    ASSERT_TRUE(reader.ok()) << reader.status();
    const Greenlet<> typist = Spawn([&] {
      Sleep(absl::Seconds(1));
      EXPECT_EQ(FlagsOfStdin(other) & O_NONBLOCK, 0) << "while somebody waits";
      terminal.Type("a line\n");
    });
    EXPECT_EQ(ReadSome(*reader), "a line\n");
    typist.Join();
  }
  EXPECT_EQ(FlagsOfStdin(other) & O_NONBLOCK, 0) << "and after it";
  kill(other, SIGKILL);
  EXPECT_EQ(waitpid(other, nullptr, 0), other);
}

GREENLET_TEST(SharedTerminal, IsWrittenAndStopsWhileItsReaderDoes) {
  Terminal terminal;
  absl::StatusOr<PipeWriter> writer = PipeWriter::Share(terminal.slave);
  ASSERT_TRUE(writer.ok()) << writer.status();
  ASSERT_TRUE(writer->Write("prompt> ").ok());
  char buffer[100];
  EXPECT_EQ(read(terminal.master, buffer, sizeof buffer), 8);
  EXPECT_EQ(writer->Write(std::string(1 << 20, 'x'), absl::Seconds(1)).code(),
            StatusCode::kDeadlineExceeded);
  EXPECT_EQ(FlagsOf(terminal.slave) & O_NONBLOCK, 0);
}

GREENLET_TEST(SharedTerminal, MoreMayComeAfterItsEndOfFile) {
  Terminal terminal;
  absl::StatusOr<PipeReader> reader = PipeReader::Share(terminal.slave);
  ASSERT_TRUE(reader.ok()) << reader.status();
  terminal.Type("\x04");
  EXPECT_EQ(ReadSome(*reader), "");
  terminal.Type("more\n");
  EXPECT_EQ(ReadSome(*reader), "more\n");
}

// As after su: the terminal is there, but may not be opened again.
GREENLET_TEST(SharedTerminal, ThatCannotBeOpenedAgainIsReadByAThread) {
  Terminal terminal;
  absl::StatusOr<PipeReader> reader = ShareLocked<PipeReader>(terminal.slave);
  absl::StatusOr<PipeWriter> writer = ShareLocked<PipeWriter>(terminal.slave);
  ASSERT_TRUE(reader.ok() && writer.ok()) << reader.status() << writer.status();
  char buffer[100];
  EXPECT_EQ(*reader->TryRead(absl::MakeSpan(buffer)), std::nullopt);
  EXPECT_EQ(reader->Read(absl::MakeSpan(buffer), absl::Seconds(1)).status().code(),
            StatusCode::kDeadlineExceeded);
  const Greenlet<> typist = Spawn([&] {
    Sleep(absl::Seconds(1));
    terminal.Type("a line\n");
  });
  EXPECT_EQ(ReadSome(*reader), "a line\n");
  ASSERT_TRUE(writer->Write("answer").ok());
  // Behind the echo, which may come by itself.
  std::string seen;
  while (seen.find("answer") == std::string::npos) {
    const ssize_t n = read(terminal.master, buffer, sizeof buffer);
    ASSERT_GT(n, 0);
    seen.append(buffer, n);
  }
  const Greenlet<> killed = Spawn([&] { ReadSome(*reader); });
  Yield();
  killed.Kill();
  EXPECT_TRUE(killed.killed()) << "while it waits, no thread is in it";
  EXPECT_EQ(FlagsOf(terminal.slave) & O_NONBLOCK, 0);
  typist.Join();
}

GREENLET_TEST(SharedTerminal, TheMasterSideEndsWithTheLastSlave) {
  Terminal terminal;
  absl::StatusOr<PipeReader> master =
      PipeReader::Adopt(std::exchange(terminal.master, -1));
  ASSERT_TRUE(master.ok()) << master.status();
  ASSERT_EQ(write(terminal.slave, "bye", 3), 3);
  EXPECT_EQ(ReadSome(*master), "bye");
  const Greenlet<> hangs_up = Spawn([&] {
    Sleep(absl::Seconds(1));
    close(std::exchange(terminal.slave, open("/dev/null", O_RDONLY | O_CLOEXEC)));
  });
  EXPECT_EQ(ReadSome(*master), "") << "not EIO";
  hangs_up.Join();
}

GREENLET_TEST(SharedTerminal, TheMasterSideIsNotOpenedAgain) {
  // It would be another terminal's.
  Terminal terminal;
  absl::StatusOr<PipeReader> master = PipeReader::Share(terminal.master);
  ASSERT_TRUE(master.ok()) << master.status();
  ASSERT_EQ(write(terminal.slave, "hello", 5), 5);
  EXPECT_EQ(ReadSome(*master), "hello");
}

// --- the rest ------------------------------------------------------------------------

GREENLET_TEST(SharedDescriptor, EachKindHasTheFirstMannerThatWorks) {
  BlockingPipe pipe;
  EXPECT_EQ(MannerOf(pipe.fds[0], ByteDescriptor::kRead), Manner::kOwn);
  Terminal terminal;
  EXPECT_EQ(MannerOf(terminal.slave, ByteDescriptor::kRead), Manner::kOwn);
  EXPECT_EQ(MannerOf(terminal.slave, ByteDescriptor::kWrite), Manner::kOwn);
  EXPECT_EQ(MannerOf(terminal.master, ByteDescriptor::kRead), Manner::kThread);
  {
    WithoutPrivilege without;
    without.Lock(pipe.fds[0]);
    EXPECT_EQ(MannerOf(pipe.fds[0], ByteDescriptor::kRead), Manner::kNoWait);
    without.Lock(terminal.slave);
    EXPECT_EQ(MannerOf(terminal.slave, ByteDescriptor::kRead), Manner::kThread);
  }
}

GREENLET_TEST(SharedDescriptor, ADeviceIsReadAndWritten) {
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  EXPECT_EQ(MannerOf(null, ByteDescriptor::kWrite), Manner::kThread);
  absl::StatusOr<PipeReader> reader = PipeReader::Share(null);
  absl::StatusOr<PipeWriter> writer = PipeWriter::Share(null);
  ASSERT_TRUE(reader.ok() && writer.ok());
  EXPECT_EQ(ReadSome(*reader), "");
  EXPECT_TRUE(writer->Write(std::string(100000, 'x')).ok());
  close(null);
}

// Two that read one terminal by threads: both are woken by a line, which one of them
// gets.
GREENLET_TEST(SharedDescriptor, ClosingWhileAThreadIsInACallIsTold) {
  Terminal terminal;
  std::unique_ptr<PipeReader> readers[2];
  Greenlet<absl::Status> greenlets[2];
  for (int i = 0; i < 2; ++i) {
    readers[i] = std::make_unique<PipeReader>(*ShareLocked<PipeReader>(terminal.slave));
    greenlets[i] = Spawn([&, i] {
      char buffer[100];
      return readers[i]->Read(absl::MakeSpan(buffer)).status();
    });
  }
  Yield();
  terminal.Type("a line\n");
  while (!greenlets[0].ready() && !greenlets[1].ready()) Yield();
  const int waits = greenlets[0].ready() ? 1 : 0;
  EXPECT_TRUE(greenlets[1 - waits].Get().ok());
  readers[waits].reset();
  for (int i = 0; i < 100; ++i) Yield();
  EXPECT_FALSE(greenlets[waits].ready()) << "its buffer is in use";
  terminal.Type("another\n");
  EXPECT_EQ(greenlets[waits].Get().code(), StatusCode::kCancelled);
}

GREENLET_TEST(SharedDescriptor, ASocketIsReadAndWritten) {
  int fds[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
  EXPECT_EQ(MannerOf(fds[0], ByteDescriptor::kRead), Manner::kSocket);
  absl::StatusOr<PipeReader> reader = PipeReader::Share(fds[0]);
  absl::StatusOr<PipeWriter> writer = PipeWriter::Share(fds[0]);
  ASSERT_TRUE(reader.ok() && writer.ok());
  const Greenlet<> late = Spawn([&] {
    Sleep(absl::Seconds(1));
    EXPECT_EQ(write(fds[1], "in", 2), 2);
  });
  EXPECT_EQ(ReadSome(*reader), "in");
  EXPECT_EQ(writer->Write(std::string(8 << 20, 'x'), absl::Seconds(1)).code(),
            StatusCode::kDeadlineExceeded);
  EXPECT_EQ(FlagsOf(fds[0]) & O_NONBLOCK, 0);
  close(fds[1]);
  EXPECT_EQ(ErrnoOf(writer->Write("x")), EPIPE);
  close(fds[0]);
}

GREENLET_TEST(SharedDescriptor, AFileIsReadAndWrittenFromWhereItsOwnerIs) {
  const std::string path = testing::TempDir() + "/shared_file";
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(write(fd, "abc", 3), 3);
  absl::StatusOr<PipeWriter> writer = PipeWriter::Share(fd);
  ASSERT_TRUE(writer.ok()) << writer.status();
  EXPECT_TRUE(writer->WriteGather({"def", "ghi"}).ok());
  EXPECT_EQ(lseek(fd, 0, SEEK_CUR), 9) << "as with 2>&1";
  ASSERT_EQ(lseek(fd, 1, SEEK_SET), 1);
  absl::StatusOr<PipeReader> reader = PipeReader::Share(fd);
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ(ReadSome(*reader), "bcdefghi");
  EXPECT_EQ(ReadSome(*reader), "");
  close(fd);
  unlink(path.c_str());
}

GREENLET_TEST(SharedDescriptor, AFullDeviceIsAnError) {
  const int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
  absl::StatusOr<PipeWriter> writer = PipeWriter::Share(full);
  ASSERT_TRUE(writer.ok()) << writer.status();
  const absl::Status status = writer->Write("x");
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(ErrnoOf(status), ENOSPC);
  close(full);
}

// --- stdin and its like --------------------------------------------------------------

// What descriptor `number` of this process is, while one lives.
class Redirected {
 public:
  Redirected(int number, int fd)
      : number_(number), before_(fcntl(number, F_DUPFD_CLOEXEC, 3)) {
    EXPECT_EQ(dup2(fd, number), number);
  }
  ~Redirected() {
    if (before_ >= 0) {
      dup2(before_, number_);
      close(before_);
    } else {
      close(number_);
    }
  }

 private:
  const int number_;
  const int before_;
};

GREENLET_TEST(StandardStreams, AreSharedAndSayTheirNames) {
  BlockingPipe in, out;
  Redirected stdin_is(0, in.fds[0]);
  Redirected stdout_is(1, out.fds[1]);
  Redirected stderr_is(2, out.fds[1]);
  absl::StatusOr<PipeReader> input = Stdin();
  absl::StatusOr<PipeWriter> output = Stdout();
  absl::StatusOr<PipeWriter> error = Stderr();
  ASSERT_TRUE(input.ok() && output.ok() && error.ok());
  in.Put("question");
  EXPECT_EQ(ReadSome(*input), "question");
  EXPECT_TRUE(output->Write("answer").ok());
  EXPECT_TRUE(error->Write("!").ok());
  char buffer[100];
  EXPECT_EQ(read(out.fds[0], buffer, sizeof buffer), 7);
  const absl::Status late =
      input->Read(absl::MakeSpan(buffer), absl::Seconds(1)).status();
  EXPECT_NE(late.message().find("read from stdin"), std::string::npos) << late;
  EXPECT_EQ((FlagsOf(0) | FlagsOf(1) | FlagsOf(2)) & O_NONBLOCK, 0);
}

GREENLET_TEST(StandardStreams, AClosedStdinIsAnError) {
  BlockingPipe pipe;
  Redirected stdin_is(0, pipe.fds[0]);
  close(0);
  EXPECT_EQ(ErrnoOf(Stdin().status()), EBADF);
}

}  // namespace
}  // namespace grove
