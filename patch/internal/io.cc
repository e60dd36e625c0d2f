// read(2), write(2) and close(2) of whatever a descriptor may be.

#include "grove/patch/internal/io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <optional>

#include "grove/patch/internal/hook.h"
#include "grove/patch/internal/own_descriptors.h"
#include "grove/patch/internal/pieces.h"
#include "grove/patch/internal/retry.h"
#include "grove/patch/internal/signal_watch.h"
#include "grove/patch/internal/wait.h"

namespace grove::patch::patch_internal {
namespace {

using green_internal::PollSet;
using green_internal::Scheduler;

ssize_t Read(int fd, void* buffer, size_t size);
ssize_t ReadChk(int fd, void* buffer, size_t size, size_t capacity);
ssize_t ReadV(int fd, const iovec* pieces, int count);
ssize_t Write(int fd, const void* data, size_t size);
ssize_t WriteV(int fd, const iovec* pieces, int count);
ssize_t PReadV2(int fd, const iovec* pieces, int count, off_t at, int flags);
ssize_t PReadV64V2(int fd, const iovec* pieces, int count, off64_t at, int flags);
ssize_t PWriteV2(int fd, const iovec* pieces, int count, off_t at, int flags);
ssize_t PWriteV64V2(int fd, const iovec* pieces, int count, off64_t at, int flags);
int EventFdRead(int fd, eventfd_t* value);
int EventFdWrite(int fd, eventfd_t value);
int Close(int fd);
int CloseRange(unsigned first, unsigned last, int flags);
void CloseFrom(int first);
int Dup2(int from, int to);
int Dup3(int from, int to, int flags);

constinit HookOf read_hook("read", Module::kSocket, &Read);
constinit HookOf read_chk_hook("__read_chk", Module::kSocket, &ReadChk);
constinit HookOf readv_hook("readv", Module::kSocket, &ReadV);
constinit HookOf write_hook("write", Module::kSocket, &Write);
constinit HookOf writev_hook("writev", Module::kSocket, &WriteV);
constinit HookOf preadv2_hook("preadv2", Module::kSocket, &PReadV2);
constinit HookOf preadv64v2_hook("preadv64v2", Module::kSocket, &PReadV64V2);
constinit HookOf pwritev2_hook("pwritev2", Module::kSocket, &PWriteV2);
constinit HookOf pwritev64v2_hook("pwritev64v2", Module::kSocket, &PWriteV64V2);
constinit HookOf eventfd_read_hook("eventfd_read", Module::kSocket, &EventFdRead);
constinit HookOf eventfd_write_hook("eventfd_write", Module::kSocket, &EventFdWrite);
constinit HookOf close_hook("close", Module::kSocket, &Close);
constinit HookOf close_range_hook("close_range", Module::kSocket, &CloseRange);
constinit HookOf closefrom_hook("closefrom", Module::kSocket, &CloseFrom);
constinit HookOf dup2_hook("dup2", Module::kSocket, &Dup2);
constinit HookOf dup3_hook("dup3", Module::kSocket, &Dup3);

Hook* const hooks[] = {
    &read_hook,        &read_chk_hook,  &readv_hook,        &write_hook,
    &writev_hook,      &preadv2_hook,   &preadv64v2_hook,   &pwritev2_hook,
    &pwritev64v2_hook, &close_hook,     &eventfd_read_hook, &eventfd_write_hook,
    &close_range_hook, &closefrom_hook, &dup2_hook,         &dup3_hook};

// What RWF_NOWAIT (preadv2(2)) cannot say: files of which the kernel knows no way not to
// wait, and files whose pages are on the disk.
bool KnowsNoWait(int error) { return error != EOPNOTSUPP && error != EINVAL; }

}  // namespace

bool IsOnDisk(int fd) {
  struct stat about;
  return fstat(fd, &about) == 0 &&
         (S_ISREG(about.st_mode) || S_ISBLK(about.st_mode) || S_ISDIR(about.st_mode));
}

ssize_t WriteNow(int fd, const iovec* pieces, int count) {
  const ssize_t n = pwritev2_hook.Original(fd, pieces, count, -1, RWF_NOWAIT);
  if (ABSL_PREDICT_TRUE(n >= 0)) return n;
  if (errno == EAGAIN) {
    if (!IsOnDisk(fd)) {
      errno = EAGAIN;
      return -1;
    }
    return writev_hook.Original(fd, pieces, count);
  }
  if (KnowsNoWait(errno)) return -1;
  if (IsOnDisk(fd)) return writev_hook.Original(fd, pieces, count);
  if (!IsReadyNow(fd, POLLOUT)) {
    errno = EAGAIN;
    return -1;
  }
  // As much as a pipe takes for certain once it is writable (pipe(7)).
  iovec first = *std::find_if(pieces, pieces + count - 1,
                              [](const iovec& p) { return p.iov_len > 0; });
  first.iov_len = std::min<size_t>(first.iov_len, PIPE_BUF);
  return writev_hook.Original(fd, &first, 1);
}

namespace {

// EINVAL of an eventfd, which has no type, says that there is too little room: at once,
// whether it is readable or not (eventfd(2)).
bool HasTooLittleRoom(int fd, int error) {
  struct stat about;
  return error == EINVAL && fstat(fd, &about) == 0 && (about.st_mode & S_IFMT) == 0;
}

// One attempt to read without waiting: -1 with EAGAIN if there is nothing.
ssize_t ReadNow(int fd, const iovec* pieces, int count) {
  const ssize_t n = preadv2_hook.Original(fd, pieces, count, -1, RWF_NOWAIT);
  if (ABSL_PREDICT_TRUE(n >= 0)) return n;
  if (errno == EAGAIN) {
    // Of a file, it means that the disk is to be asked. That is as short as it is.
    if (!IsOnDisk(fd)) {
      errno = EAGAIN;
      return -1;
    }
  } else if (KnowsNoWait(errno)) {
    return -1;
  } else if (!HasTooLittleRoom(fd, errno) && !IsReadyNow(fd, POLLIN)) {
    errno = EAGAIN;
    return -1;
  }
  return readv_hook.Original(fd, pieces, count);
}

ssize_t ReadPieces(Scheduler& s, Hook& hook, int fd, const iovec* pieces, int count) {
  return Retry(s, hook, fd, POLLIN, [&] { return ReadNow(fd, pieces, count); });
}

// A blocking write(2) writes all, unless something comes in between; then it says how
// much that was.
[[gnu::noinline]] ssize_t WriteRest(Scheduler& s, Hook& hook, int fd, const iovec* pieces,
                                    int count, ssize_t first) {
  Pieces rest(pieces, static_cast<size_t>(count));
  size_t done = 0;
  if (first > 0) {
    done = static_cast<size_t>(first);
    rest.Advance(done);
    // A socket that the program has made non-blocking takes what it can.
    if (rest.left() == 0 || IsNonBlocking(fd)) return first;
  }
  Patience patience(s, hook, fd, POLLOUT);
  for (;;) {
    const ssize_t n = WriteNow(fd, rest.data(), static_cast<int>(rest.size()));
    if (n > 0) {
      done += static_cast<size_t>(n);
      rest.Advance(static_cast<size_t>(n));
      if (rest.left() == 0) return static_cast<ssize_t>(done);
    } else if (n == 0 || errno != EAGAIN || !patience.Wait()) {
      return done > 0 ? static_cast<ssize_t>(done) : n;
    }
  }
}

ssize_t WritePieces(Scheduler& s, Hook& hook, int fd, const iovec* pieces, int count,
                    size_t size) {
  hook.CountCall();
  LetOthersRun(s);
  ActOnCancel(s);
  const ssize_t n = WriteNow(fd, pieces, count);
  if (ABSL_PREDICT_TRUE(n == static_cast<ssize_t>(size))) return n;
  if (n < 0 && errno != EAGAIN) return n;
  return WriteRest(s, hook, fd, pieces, count, n);
}

ssize_t Read(int fd, void* buffer, size_t size) {
  Scheduler* s = Cooperating(read_hook);
  if (s == nullptr) return read_hook.Original(fd, buffer, size);
  const iovec piece = {buffer, size};
  return ReadPieces(*s, read_hook, fd, &piece, 1);
}

// What _FORTIFY_SOURCE makes of read(): the original ends the program over a buffer that
// is too small.
ssize_t ReadChk(int fd, void* buffer, size_t size, size_t capacity) {
  Scheduler* s = Cooperating(read_chk_hook);
  if (s == nullptr || size > capacity) {
    return read_chk_hook.Original(fd, buffer, size, capacity);
  }
  const iovec piece = {buffer, size};
  return ReadPieces(*s, read_chk_hook, fd, &piece, 1);
}

ssize_t ReadV(int fd, const iovec* pieces, int count) {
  Scheduler* s = Cooperating(readv_hook);
  if (s == nullptr || count <= 0 || count > IOV_MAX) {
    return readv_hook.Original(fd, pieces, count);
  }
  return ReadPieces(*s, readv_hook, fd, pieces, count);
}

ssize_t Write(int fd, const void* data, size_t size) {
  Scheduler* s = Cooperating(write_hook);
  // Of nothing: a datagram that is empty, say.
  if (s == nullptr || size == 0) return write_hook.Original(fd, data, size);
  const iovec piece = {const_cast<void*>(data), size};
  return WritePieces(*s, write_hook, fd, &piece, 1, size);
}

size_t SizeOf(const iovec* pieces, int count) {
  size_t size = 0;
  for (int i = 0; i < count; ++i) size += pieces[i].iov_len;
  return size;
}

ssize_t WriteV(int fd, const iovec* pieces, int count) {
  Scheduler* s = Cooperating(writev_hook);
  if (s == nullptr || count <= 0 || count > IOV_MAX) {
    return writev_hook.Original(fd, pieces, count);
  }
  return WritePieces(*s, writev_hook, fd, pieces, count, SizeOf(pieces, count));
}

int EventFdRead(int fd, eventfd_t* value) {
  Scheduler* s = Cooperating(eventfd_read_hook);
  if (s == nullptr) return eventfd_read_hook.Original(fd, value);
  const iovec piece = {value, sizeof *value};
  return ReadPieces(*s, eventfd_read_hook, fd, &piece, 1) == sizeof *value ? 0 : -1;
}

int EventFdWrite(int fd, eventfd_t value) {
  Scheduler* s = Cooperating(eventfd_write_hook);
  if (s == nullptr) return eventfd_write_hook.Original(fd, value);
  const iovec piece = {&value, sizeof value};
  return WritePieces(*s, eventfd_write_hook, fd, &piece, 1, sizeof value) == sizeof value
             ? 0
             : -1;
}

// At the current position, which all have that may block; with flags that mean nothing
// there.
bool IsAsReadV(const Scheduler* s, int count, off64_t at, int flags) {
  constexpr int kOfDisks = RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_APPEND;
  return s != nullptr && count > 0 && count <= IOV_MAX && at == -1 &&
         (flags & ~kOfDisks) == 0;
}

template <typename OwnHook>
ssize_t ReadAt(OwnHook& hook, int fd, const iovec* pieces, int count, off64_t at,
               int flags) {
  Scheduler* s = Cooperating(hook);
  if (!IsAsReadV(s, count, at, flags) || IsOnDisk(fd)) {
    return hook.Original(fd, pieces, count, at, flags);
  }
  return ReadPieces(*s, hook, fd, pieces, count);
}
ssize_t PReadV2(int fd, const iovec* pieces, int count, off_t at, int flags) {
  return ReadAt(preadv2_hook, fd, pieces, count, at, flags);
}
ssize_t PReadV64V2(int fd, const iovec* pieces, int count, off64_t at, int flags) {
  return ReadAt(preadv64v2_hook, fd, pieces, count, at, flags);
}

template <typename OwnHook>
ssize_t WriteAt(OwnHook& hook, int fd, const iovec* pieces, int count, off64_t at,
                int flags) {
  Scheduler* s = Cooperating(hook);
  if (!IsAsReadV(s, count, at, flags) || IsOnDisk(fd)) {
    return hook.Original(fd, pieces, count, at, flags);
  }
  return WritePieces(*s, hook, fd, pieces, count, SizeOf(pieces, count));
}
ssize_t PWriteV2(int fd, const iovec* pieces, int count, off_t at, int flags) {
  return WriteAt(pwritev2_hook, fd, pieces, count, at, flags);
}
ssize_t PWriteV64V2(int fd, const iovec* pieces, int count, off64_t at, int flags) {
  return WriteAt(pwritev64v2_hook, fd, pieces, count, at, flags);
}

int Fail(int error) {
  errno = error;
  return -1;
}

int Close(int fd) {
  if (IsOwned(fd)) return Fail(EBADF);
  if (Cooperating(close_hook) != nullptr) {
    close_hook.CountCall();
    PollSet::Closing(fd);
  }
  return close_hook.Original(fd);
}

// All of them but the hub's own, by a function that closes those from one to another.
template <typename F>
int CloseAroundOwned(unsigned first, unsigned last, F close_part) {
  for (const int own : Owned()) {
    const auto at = static_cast<unsigned>(own);
    if (at < first || at > last) continue;
    if (at > first && close_part(first, at - 1) != 0) return -1;
    if (at == last) return 0;
    first = at + 1;
  }
  return close_part(first, last);
}

int CloseRange(unsigned first, unsigned last, int flags) {
  // Ours are closed at exec() anyway; and what the kernel refuses it shall see.
  if (first > last || (flags & ~CLOSE_RANGE_UNSHARE) != 0) {
    return close_range_hook.Original(first, last, flags);
  }
  if (Cooperating(close_range_hook) != nullptr) {
    close_range_hook.CountCall();
    PollSet::ClosingRange(first, last);
  }
  return CloseAroundOwned(first, last, [&](unsigned from, unsigned to) {
    return close_range_hook.Original(from, to, flags);
  });
}

void CloseFrom(int first) {
  first = std::max(first, 0);
  if (Cooperating(closefrom_hook) != nullptr) {
    closefrom_hook.CountCall();
    PollSet::ClosingRange(static_cast<unsigned>(first), ~0u);
  }
  for (const int own : Owned()) {
    if (own < first) continue;
    for (; first < own; ++first) syscall(SYS_close, first);
    first = own + 1;
  }
  closefrom_hook.Original(first);
}

int Dup2(int from, int to) {
  // As if it were above the limit.
  if (IsOwned(to)) return Fail(EBADF);
  if (from != to && Cooperating(dup2_hook) != nullptr) {
    dup2_hook.CountCall();
    if (fcntl(from, F_GETFD) >= 0) PollSet::Closing(to);
  }
  return dup2_hook.Original(from, to);
}

int Dup3(int from, int to, int flags) {
  if (IsOwned(to)) return Fail(EBADF);
  if (from != to && Cooperating(dup3_hook) != nullptr) {
    dup3_hook.CountCall();
    if (fcntl(from, F_GETFD) >= 0) PollSet::Closing(to);
  }
  return dup3_hook.Original(from, to, flags);
}

}  // namespace

std::optional<long> SyscallThatCloses(long number, long a, long b, long c) {
  const auto flags = static_cast<int>(c);
  switch (number) {
    case SYS_close:
      if (IsOwned(static_cast<int>(a))) return Fail(EBADF);
      return std::nullopt;
#ifdef SYS_dup2
    case SYS_dup2:
#endif
    case SYS_dup3:
      if (a != b && IsOwned(static_cast<int>(b))) return Fail(EBADF);
      return std::nullopt;
    case SYS_close_range: {
      const auto first = static_cast<unsigned>(a);
      const auto last = static_cast<unsigned>(b);
      if (first > last || (flags & ~CLOSE_RANGE_UNSHARE) != 0) return std::nullopt;
      return CloseAroundOwned(first, last, [&](unsigned from, unsigned to) {
        return static_cast<int>(syscall(SYS_close_range, from, to, flags));
      });
    }
    default:
      return std::nullopt;
  }
}

ssize_t WriteAsPatched(int fd, const void* data, size_t size) {
  return Write(fd, data, size);
}

absl::Span<Hook* const> IoHooks() { return hooks; }

}  // namespace grove::patch::patch_internal
