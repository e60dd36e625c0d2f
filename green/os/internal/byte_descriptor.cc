#include "grove/green/os/internal/byte_descriptor.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "grove/green/os/internal/files_pool.h"
#include "grove/green/os/internal/no_sigpipe.h"
#include "grove/green/status.h"

namespace grove::green_internal {
namespace {

// The master side of a pseudo terminal. Opening it again would make another terminal.
bool IsPtyMaster(const struct stat& st) {
  return S_ISCHR(st.st_mode) && st.st_rdev == makedev(5, 2);
}

// Another description of the pipe or terminal at `fd`; -1 if that cannot be had: there is
// no /proc, the file's mode or owner is against it, a pipe has no reader.
int OpenAgain(int fd, ByteDescriptor::Direction direction, int flags) {
  const std::string path = absl::StrCat("/proc/self/fd/", fd);
  const int mode = direction == ByteDescriptor::kRead ? O_RDONLY : O_WRONLY;
  return open(path.c_str(),
              mode | (flags & (O_APPEND | O_DIRECT)) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

template <typename Call>
ssize_t UnlessInterrupted(Call call) {
  for (;;) {
    const ssize_t n = call();
    if (n >= 0 || errno != EINTR) return n;
  }
}

msghdr Message(const iovec* vectors, size_t count) {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(vectors);
  message.msg_iovlen = std::min<size_t>(count, IOV_MAX);
  return message;
}

// What became of a system call on a thread.
struct Outcome {
  ssize_t n;
  int error;
};

// EAGAIN would be tried again, for ever maybe; what has no thread is out of resources.
Outcome OutcomeOf(absl::StatusOr<Outcome> outcome) {
  return outcome.ok() ? *outcome : Outcome{-1, ENOMEM};
}

size_t TotalSize(const iovec* vectors, size_t count) {
  size_t total = 0;
  for (size_t i = 0; i < count; ++i) total += vectors[i].iov_len;
  return total;
}

}  // namespace

struct ByteDescriptor::ForThreads {
  explicit ForThreads(int number) : fd(number) {}
  ForThreads(const ForThreads&) = delete;
  ForThreads& operator=(const ForThreads&) = delete;
  ~ForThreads() { close(fd); }
  const int fd;
  bool closed = false;
};

absl::Status SetNonBlocking(int fd, bool on) {
  const int flags = fcntl(fd, F_GETFL);
  const int wanted = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
  if (flags < 0 || (wanted != flags && fcntl(fd, F_SETFL, wanted) < 0)) {
    return ErrnoStatus(errno, absl::StrCat("set O_NONBLOCK of fd ", fd));
  }
  return absl::OkStatus();
}

absl::StatusOr<ByteDescriptor> ByteDescriptor::Adopt(int fd, Direction direction) {
  struct stat st;
  if (fstat(fd, &st) < 0) return ErrnoStatus(errno, absl::StrCat("adopt fd ", fd));
  if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) || S_ISBLK(st.st_mode)) {
    return absl::InvalidArgumentError(
        absl::StrCat("adopt fd ", fd, ": it is a file on a disk; see File"));
  }
  if (absl::Status s = SetNonBlocking(fd, true); !s.ok()) return s;
  ByteDescriptor d(fd, Manner::kOwn);
  d.pty_master_ = direction == kRead && IsPtyMaster(st);
  return d;
}

absl::StatusOr<ByteDescriptor> ByteDescriptor::Duplicate(int fd, Manner manner) {
  const int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
  if (copy < 0) return ErrnoStatus(errno, absl::StrCat("duplicate fd ", fd));
  return ByteDescriptor(copy, manner);
}

absl::StatusOr<ByteDescriptor> ByteDescriptor::Share(int fd, Direction direction) {
  struct stat st;
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fstat(fd, &st) < 0) {
    return ErrnoStatus(errno, absl::StrCat("share fd ", fd));
  }
  // Opened again by the other mode, the end of a pipe would be its other end.
  if ((flags & O_ACCMODE) != O_RDWR &&
      (flags & O_ACCMODE) != (direction == kRead ? O_RDONLY : O_WRONLY)) {
    return ErrnoStatus(EBADF,
                       absl::StrCat("share fd ", fd, ", which is not open to ",
                                    direction == kRead ? "be read" : "be written"));
  }
  if (S_ISSOCK(st.st_mode)) return Duplicate(fd, Manner::kSocket);
  const bool terminal = S_ISCHR(st.st_mode) && isatty(fd) && !IsPtyMaster(st);
  if (terminal || S_ISFIFO(st.st_mode)) {
    const int again = OpenAgain(fd, direction, flags);
    if (again >= 0) return ByteDescriptor(again, Manner::kOwn);
    if (S_ISFIFO(st.st_mode)) return Duplicate(fd, Manner::kNoWait);
  }
  absl::StatusOr<ByteDescriptor> d = Duplicate(fd, Manner::kThread);
  if (!d.ok()) return d;
  d->pollable_ = !S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode) && !S_ISDIR(st.st_mode);
  d->pty_master_ = direction == kRead && IsPtyMaster(st);
  if (const int error = d->BecomeThreaded(); error != 0) {
    return ErrnoStatus(error, absl::StrCat("duplicate fd ", fd));
  }
  return d;
}

int ByteDescriptor::BecomeThreaded() {
  const int copy = fcntl(fd(), F_DUPFD_CLOEXEC, 3);
  if (copy < 0) return errno;
  threads_ = std::make_shared<ForThreads>(copy);
  manner_ = Manner::kThread;
  return 0;
}

WaitResult ByteDescriptor::WaitReadable(Deadline deadline) {
  if (waits_first_ && pollable_) return descriptor_.WaitReadable(deadline);
  return descriptor_.CountOperation() ? WaitResult::kReady : WaitResult::kClosed;
}

WaitResult ByteDescriptor::BeforeRead(Deadline deadline) {
  // Who does not wait is to have what is there.
  if (deadline != Deadline::Passed()) return WaitReadable(deadline);
  const bool in_vain = manner_ == Manner::kThread && !ReadyNow(POLLIN);
  if (in_vain) return descriptor_.WaitReadable(deadline);
  return descriptor_.CountOperation() ? WaitResult::kReady : WaitResult::kClosed;
}

WaitResult ByteDescriptor::BeforeWrite(Deadline deadline) {
  if (manner_ == Manner::kThread && pollable_) {
    if (deadline != Deadline::Passed() || !ReadyNow(POLLOUT)) {
      return descriptor_.WaitWritable(deadline);
    }
  }
  return descriptor_.CountOperation() ? WaitResult::kReady : WaitResult::kClosed;
}

ssize_t ByteDescriptor::ReadAs(Manner manner, int fd, const iovec* vectors,
                               size_t count) {
  const int n = static_cast<int>(std::min<size_t>(count, IOV_MAX));
  switch (manner) {
    case Manner::kSocket: {
      msghdr message = Message(vectors, count);
      return UnlessInterrupted([&] { return recvmsg(fd, &message, MSG_DONTWAIT); });
    }
    case Manner::kNoWait:
      return UnlessInterrupted([&] { return preadv2(fd, vectors, n, -1, RWF_NOWAIT); });
    case Manner::kOwn:
    case Manner::kThread:
      break;
  }
  return UnlessInterrupted([&] { return readv(fd, vectors, n); });
}

ssize_t ByteDescriptor::WriteAs(Manner manner, int fd, const iovec* vectors,
                                size_t count) {
  const int n = static_cast<int>(std::min<size_t>(count, IOV_MAX));
  if (manner == Manner::kSocket) {
    const msghdr message = Message(vectors, count);
    return UnlessInterrupted(
        [&] { return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL); });
  }
  size_t wanted = 0;
  for (int i = 0; i < n; ++i) wanted += vectors[i].iov_len;
  NoSigpipe no_sigpipe;
  const ssize_t written = UnlessInterrupted([&] {
    return manner == Manner::kNoWait ? pwritev2(fd, vectors, n, -1, RWF_NOWAIT)
                                     : writev(fd, vectors, n);
  });
  return no_sigpipe.Wrote(written, wanted);
}

bool ByteDescriptor::ReadyNow(short events) const {
  pollfd p{.fd = fd(), .events = events, .revents = 0};
  return !pollable_ || poll(&p, 1, 0) > 0;
}

ssize_t ByteDescriptor::ReadNow(const iovec* vectors, size_t count) {
  if (manner_ == Manner::kThread && !ReadyNow(POLLIN)) {
    errno = EAGAIN;
    return -1;
  }
  ssize_t n = ReadAs(manner_, fd(), vectors, count);
  if (n < 0 && errno == EIO && pty_master_) n = 0;
  if (n < 0 && errno == EOPNOTSUPP && manner_ == Manner::kNoWait) {
    if (const int error = BecomeThreaded(); error != 0) {
      errno = error;
      return -1;
    }
    return ReadNow(vectors, count);
  }
  if (manner_ != Manner::kThread) {
    // The loop is level-triggered: what a short read has left is told again. The end is
    // the exception: after it there is nothing to wait for.
    waits_first_ = n < 0 || (n > 0 && static_cast<size_t>(n) < TotalSize(vectors, count));
  }
  return n;
}

ssize_t ByteDescriptor::Read(const iovec* vectors, size_t count) {
  if (manner_ != Manner::kThread) return ReadNow(vectors, count);
  const std::shared_ptr<ForThreads> threads = threads_;
  const bool pty_master = pty_master_;
  const auto [n, error] = OutcomeOf(OnFilesPool([&] {
    const ssize_t got = ReadAs(Manner::kThread, threads->fd, vectors, count);
    return Outcome{got, errno};
  }));
  return AfterThread(*threads, n, error == EIO && pty_master ? 0 : error);
}

ssize_t ByteDescriptor::WriteNow(const iovec* vectors, size_t count) {
  iovec piece;
  if (manner_ == Manner::kThread && pollable_) {
    if (!ReadyNow(POLLOUT)) {
      errno = EAGAIN;
      return -1;
    }
    // There is room for that much, or a terminal that is not stopped.
    piece = {vectors->iov_base, std::min<size_t>(vectors->iov_len, PIPE_BUF)};
    vectors = &piece;
    count = 1;
  }
  const ssize_t n = WriteAs(manner_, fd(), vectors, count);
  if (n < 0 && errno == EOPNOTSUPP && manner_ == Manner::kNoWait) {
    if (const int error = BecomeThreaded(); error != 0) {
      errno = error;
      return -1;
    }
    return WriteNow(vectors, count);
  }
  return n;
}

ssize_t ByteDescriptor::Write(const iovec* vectors, size_t count) {
  if (manner_ != Manner::kThread) return WriteNow(vectors, count);
  const std::shared_ptr<ForThreads> threads = threads_;
  iovec piece;
  if (pollable_) {
    piece = {vectors->iov_base, std::min<size_t>(vectors->iov_len, PIPE_BUF)};
    vectors = &piece;
    count = 1;
  }
  const auto [n, error] = OutcomeOf(OnFilesPool([&] {
    const ssize_t put = WriteAs(Manner::kThread, threads->fd, vectors, count);
    return Outcome{put, errno};
  }));
  return AfterThread(*threads, n, error);
}

// What is told of a call that a thread has made: whoever goes on after it may not touch
// this object if it was closed, even if there were bytes.
ssize_t ByteDescriptor::AfterThread(const ForThreads& threads, ssize_t n, int error) {
  if (threads.closed) error = ECANCELED;
  if (n >= 0 && !threads.closed) return n;
  errno = error;
  return error == 0 ? 0 : -1;
}

void ByteDescriptor::Close() {
  if (threads_ != nullptr) threads_->closed = true;
  threads_.reset();
  descriptor_.Close();
}

int ByteDescriptor::Release() {
  if (threads_ != nullptr) threads_->closed = true;
  threads_.reset();
  return descriptor_.Release();
}

}  // namespace grove::green_internal
