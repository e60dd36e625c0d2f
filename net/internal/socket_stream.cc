#include "grove/net/internal/socket_stream.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>

#include "absl/base/optimization.h"
#include "absl/container/inlined_vector.h"
#include "absl/strings/str_cat.h"
#include "grove/green/os/internal/no_sigpipe.h"
#include "grove/green/status.h"
#include "grove/net/internal/socket.h"
#include "grove/net/internal/uncancelled.h"

namespace grove::net::net_internal {
namespace {

// Failures are made out of line: what they need on the stack would be part of the frame
// in which every idle connection sleeps.
#define GROVE_COLD [[gnu::noinline, gnu::cold]]

GROVE_COLD absl::Status Failed(int error, absl::string_view verb, const Stream& stream) {
  return ErrnoStatus(error, absl::StrCat(verb, stream.Describe()));
}

GROVE_COLD absl::Status Late(absl::string_view verb, const Stream& stream) {
  return TimedOut(absl::StrCat(verb, stream.Describe()));
}

// The same for a write that had come as far as `done`.
GROVE_COLD absl::Status PartlyFailed(int error, const Stream& stream, size_t done) {
  return WithBytesMoved(Failed(error, "write to ", stream), done);
}

// `stream` is not looked at if the stream was closed: it may be gone.
GROVE_COLD absl::Status PartlyWaited(WaitResult result, const Stream& stream,
                                     size_t done) {
  return WithBytesMoved(
      result == WaitResult::kDeadline ? Late("write to ", stream) : WasClosed("write"),
      done);
}

// recv() and not read(), which goes through the file layer first: 0.15 us of 5.
auto Into(absl::Span<char> buffer) {
  return
      [buffer](int fd) { return uncancelled::recv(fd, buffer.data(), buffer.size(), 0); };
}

}  // namespace

absl::Status SocketStream::DoWaitReadable(Deadline deadline) {
  if (!read_waits_first_ || (deadline == Deadline::Passed() && HasArrived())) {
    return descriptor_.CountOperation() ? absl::OkStatus() : WasClosed("read");
  }
  // Once a wait has said kClosed this object may be gone: from there on only locals.
  const WaitResult result = descriptor_.WaitReadable(deadline);
  if (ABSL_PREDICT_TRUE(result == WaitResult::kReady)) return absl::OkStatus();
  return result == WaitResult::kDeadline ? Late("read from ", *this) : WasClosed("read");
}

// Whether a read would find something, an end or an error among it.
GROVE_COLD bool SocketStream::HasArrived() const {
  pollfd own = {descriptor_.fd(), POLLIN, 0};
  return poll(&own, 1, 0) != 0;
}

// One try; -1 with errno if it failed.
template <typename Receive>
ssize_t SocketStream::ReceiveOnce(Receive receive, size_t wanted) {
  for (;;) {
    const ssize_t n = receive(descriptor_.fd());
    if (ABSL_PREDICT_FALSE(n < 0 && errno == EINTR)) continue;
    read_waits_first_ = n < 0 || (static_cast<size_t>(n) < wanted && n > 0);
    if (ABSL_PREDICT_TRUE(n > 0)) bytes_read_ += n;
    return n;
  }
}

template <typename Receive>
absl::StatusOr<size_t> SocketStream::ReadWith(Receive receive, size_t wanted,
                                              Deadline deadline) {
  if (wanted == 0) return 0;
  for (;;) {
    if (absl::Status s = DoWaitReadable(deadline); !s.ok()) return s;
    const ssize_t n = ReceiveOnce(receive, wanted);
    if (ABSL_PREDICT_TRUE(n >= 0)) return static_cast<size_t>(n);
    if (!WouldBlock(errno)) return Failed(errno, "read from ", *this);
  }
}

absl::StatusOr<std::optional<size_t>> SocketStream::TryRead(absl::Span<char> buffer) {
  if (closed()) return WasClosed("read");
  if (buffer.empty()) return 0;
  const ssize_t n = ReceiveOnce(Into(buffer), buffer.size());
  if (ABSL_PREDICT_TRUE(n >= 0)) return static_cast<size_t>(n);
  if (!WouldBlock(errno)) return Failed(errno, "read from ", *this);
  return std::nullopt;
}

absl::StatusOr<size_t> SocketStream::TryWrite(absl::string_view data) {
  if (closed()) return WasClosed("write");
  for (;;) {
    // send() and not write(): a peer that is gone is an error here, not a SIGPIPE.
    const ssize_t n =
        uncancelled::send(descriptor_.fd(), data.data(), data.size(), MSG_NOSIGNAL);
    if (ABSL_PREDICT_TRUE(n >= 0)) {
      bytes_written_ += n;
      return static_cast<size_t>(n);
    }
    if (WouldBlock(errno)) return 0;
    if (errno != EINTR) return Failed(errno, "write to ", *this);
  }
}

absl::StatusOr<size_t> SocketStream::DoRead(absl::Span<char> buffer, Deadline deadline) {
  return ReadWith(Into(buffer), buffer.size(), deadline);
}

absl::StatusOr<size_t> SocketStream::DoReadScatter(
    absl::Span<const absl::Span<char>> buffers, Deadline deadline) {
  absl::InlinedVector<iovec, 16> vectors;
  size_t wanted = 0;
  for (const absl::Span<char>& b : buffers) {
    if (vectors.size() == IOV_MAX) break;
    vectors.push_back({b.data(), b.size()});
    wanted += b.size();
  }
  return ReadWith(
      [&](int fd) {
        return uncancelled::readv(fd, vectors.data(), static_cast<int>(vectors.size()));
      },
      wanted, deadline);
}

absl::Status SocketStream::DoWrite(absl::string_view data, Deadline deadline) {
  size_t done = 0;
  while (done < data.size()) {
    if (!descriptor_.CountOperation()) {
      return PartlyWaited(WaitResult::kClosed, *this, done);
    }
    // send() and not write(): a peer that is gone is an error here, not a SIGPIPE.
    const ssize_t n = uncancelled::send(descriptor_.fd(), data.data() + done,
                                        data.size() - done, MSG_NOSIGNAL);
    if (n >= 0) {
      done += n;
      bytes_written_ += n;
      continue;
    }
    if (errno == EINTR) continue;
    if (!WouldBlock(errno)) return PartlyFailed(errno, *this, done);
    const WaitResult result = descriptor_.WaitWritable(deadline);
    if (result != WaitResult::kReady) return PartlyWaited(result, *this, done);
  }
  return absl::OkStatus();
}

absl::Status SocketStream::DoWriteGather(absl::Span<const absl::string_view> pieces,
                                         Deadline deadline) {
  absl::InlinedVector<iovec, 16> vectors;
  for (absl::string_view piece : pieces) {
    if (!piece.empty())
      vectors.push_back({const_cast<char*>(piece.data()), piece.size()});
  }
  size_t done = 0;
  size_t first = 0;
  while (first < vectors.size()) {
    if (!descriptor_.CountOperation()) {
      return PartlyWaited(WaitResult::kClosed, *this, done);
    }
    msghdr message{};
    message.msg_iov = &vectors[first];
    message.msg_iovlen = std::min<size_t>(vectors.size() - first, IOV_MAX);
    ssize_t n = uncancelled::sendmsg(descriptor_.fd(), &message, MSG_NOSIGNAL);
    if (n >= 0) {
      done += n;
      bytes_written_ += n;
      while (first < vectors.size() && static_cast<size_t>(n) >= vectors[first].iov_len) {
        n -= vectors[first++].iov_len;
      }
      if (n > 0) {
        vectors[first].iov_base = static_cast<char*>(vectors[first].iov_base) + n;
        vectors[first].iov_len -= n;
      }
      continue;
    }
    if (errno == EINTR) continue;
    if (!WouldBlock(errno)) return PartlyFailed(errno, *this, done);
    const WaitResult result = descriptor_.WaitWritable(deadline);
    if (result != WaitResult::kReady) return PartlyWaited(result, *this, done);
  }
  return absl::OkStatus();
}

absl::StatusOr<size_t> SocketStream::SendFrom(int file, uint64_t offset, size_t count,
                                              Deadline deadline) {
  deadline = Earlier(deadline);
  for (;;) {
    if (!descriptor_.CountOperation()) return WasClosed("write");
    off_t from = static_cast<off_t>(offset);
    ssize_t n;
    {
      // sendfile(2) has no MSG_NOSIGNAL.
      green_internal::NoSigpipe no_sigpipe;
      n = no_sigpipe.Wrote(sendfile(descriptor_.fd(), file, &from, count), count);
    }
    if (n >= 0) {
      bytes_written_ += n;
      return static_cast<size_t>(n);
    }
    if (errno == EINTR) continue;
    if (!WouldBlock(errno)) return Failed(errno, "write to ", *this);
    const WaitResult result = descriptor_.WaitWritable(deadline);
    if (result != WaitResult::kReady) return PartlyWaited(result, *this, 0);
  }
}

absl::Status SocketStream::ShutdownWrite() {
  if (shutdown(fd(), SHUT_WR) == 0) return absl::OkStatus();
  return ErrnoStatus(errno, absl::StrCat("shut down writing to ", Describe()));
}

absl::Status SocketStream::ShutdownRead() {
  if (shutdown(fd(), SHUT_RD) == 0) return absl::OkStatus();
  return ErrnoStatus(errno, absl::StrCat("shut down reading from ", Describe()));
}

}  // namespace grove::net::net_internal
