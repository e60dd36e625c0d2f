#include "grove/green/os/pipe.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/strings/str_cat.h"
#include "grove/green/status.h"

namespace grove {
namespace {

using green_internal::ByteDescriptor;

// Failures are made out of line: what they need on the stack would be part of the frame
// in which a reader sleeps.
#define GROVE_COLD [[gnu::noinline, gnu::cold]]

GROVE_COLD absl::Status Failed(int error, absl::string_view verb,
                               const std::string& name) {
  return ErrnoStatus(error, absl::StrCat(verb, name));
}

// `name` is not looked at if the end was closed: it may be gone.
GROVE_COLD absl::Status Ended(WaitResult result, absl::string_view operation,
                              absl::string_view preposition, const std::string& name) {
  if (result == WaitResult::kDeadline) {
    return absl::DeadlineExceededError(
        absl::StrCat(operation, preposition, name, ": the deadline passed"));
  }
  return absl::CancelledError(absl::StrCat(operation, ": ", WhoClosed()));
}

GROVE_COLD absl::Status ClosedMeanwhile(absl::string_view operation) {
  return absl::CancelledError(absl::StrCat(operation, ": closed meanwhile"));
}

GROVE_COLD absl::Status IsClosed(absl::string_view operation) {
  return absl::CancelledError(absl::StrCat(operation, ": closed"));
}

bool WouldBlock(int error) { return error == EAGAIN || error == EWOULDBLOCK; }

Deadline Earlier(Deadline deadline, absl::Duration timeout) {
  if (timeout == absl::InfiniteDuration()) return deadline;
  return std::min(deadline, Deadline(timeout));
}

template <typename End>
int ReleaseBlockingEnd(End& end) {
  // What shares the description would see its flag change; it is the caller's by now.
  if (!end.closed()) green_internal::SetNonBlocking(end.fd(), false).IgnoreError();
  return end.Release();
}

std::string NameOf(int fd) { return absl::StrCat("fd ", fd); }

}  // namespace

// --- PipeReader ----------------------------------------------------------------------

absl::StatusOr<PipeReader> PipeReader::Adopt(int fd) {
  absl::StatusOr<ByteDescriptor> bytes = ByteDescriptor::Adopt(fd, ByteDescriptor::kRead);
  if (!bytes.ok()) return std::move(bytes).status();
  return PipeReader(*std::move(bytes), NameOf(fd));
}

absl::StatusOr<PipeReader> PipeReader::Share(int fd) {
  absl::StatusOr<ByteDescriptor> bytes = ByteDescriptor::Share(fd, ByteDescriptor::kRead);
  if (!bytes.ok()) return std::move(bytes).status();
  return PipeReader(*std::move(bytes), NameOf(fd));
}

int PipeReader::ReleaseBlocking() { return ReleaseBlockingEnd(*this); }

absl::Status PipeReader::WaitReadable(Deadline deadline) {
  if (closed()) return IsClosed("read");
  const WaitResult result = bytes_.WaitReadable(Earlier(deadline, timeout_));
  if (ABSL_PREDICT_TRUE(result == WaitResult::kReady)) return absl::OkStatus();
  return Ended(result, "read", " from ", name_);
}

absl::StatusOr<size_t> PipeReader::ReadInto(const iovec* vectors, size_t count,
                                            Deadline deadline) {
  if (closed()) return IsClosed("read");
  for (;;) {
    const WaitResult result = bytes_.BeforeRead(deadline);
    if (result != WaitResult::kReady) return Ended(result, "read", " from ", name_);
    const ssize_t n = bytes_.Read(vectors, count);
    if (ABSL_PREDICT_TRUE(n >= 0)) return static_cast<size_t>(n);
    if (errno == ECANCELED) return ClosedMeanwhile("read");
    if (!WouldBlock(errno)) return Failed(errno, "read from ", name_);
    if (deadline == Deadline::Passed()) {
      return Ended(WaitResult::kDeadline, "read", " from ", name_);
    }
  }
}

absl::StatusOr<size_t> PipeReader::Read(absl::Span<char> buffer, Deadline deadline) {
  if (buffer.empty()) return 0;
  const iovec vector{buffer.data(), buffer.size()};
  return ReadInto(&vector, 1, Earlier(deadline, timeout_));
}

absl::Status PipeReader::ReadExactly(absl::Span<char> buffer, Deadline deadline) {
  deadline = Earlier(deadline, timeout_);  // once for all the reads
  size_t done = 0;
  while (done < buffer.size()) {
    const iovec vector{buffer.data() + done, buffer.size() - done};
    absl::StatusOr<size_t> n = ReadInto(&vector, 1, deadline);
    if (!n.ok()) return WithBytesMoved(std::move(n).status(), done);
    if (*n == 0) {
      return WithBytesMoved(absl::OutOfRangeError(absl::StrCat(
                                "read from ", name_, ": it ended before byte ", done + 1,
                                " of ", buffer.size())),
                            done);
    }
    done += *n;
  }
  return absl::OkStatus();
}

absl::StatusOr<size_t> PipeReader::ReadScatter(absl::Span<const absl::Span<char>> buffers,
                                               Deadline deadline) {
  absl::InlinedVector<iovec, 16> vectors;
  for (const absl::Span<char>& b : buffers) {
    if (!b.empty()) vectors.push_back({b.data(), b.size()});
  }
  if (vectors.empty()) return 0;
  return ReadInto(vectors.data(), vectors.size(), Earlier(deadline, timeout_));
}

absl::StatusOr<std::optional<size_t>> PipeReader::TryRead(absl::Span<char> buffer) {
  if (closed()) return IsClosed("read");
  if (buffer.empty()) return 0;
  const iovec vector{buffer.data(), buffer.size()};
  const ssize_t n = bytes_.ReadNow(&vector, 1);
  if (ABSL_PREDICT_TRUE(n >= 0)) return static_cast<size_t>(n);
  if (!WouldBlock(errno)) return Failed(errno, "read from ", name_);
  return std::nullopt;
}

// --- PipeWriter ----------------------------------------------------------------------

absl::StatusOr<PipeWriter> PipeWriter::Adopt(int fd) {
  absl::StatusOr<ByteDescriptor> bytes =
      ByteDescriptor::Adopt(fd, ByteDescriptor::kWrite);
  if (!bytes.ok()) return std::move(bytes).status();
  return PipeWriter(*std::move(bytes), NameOf(fd));
}

absl::StatusOr<PipeWriter> PipeWriter::Share(int fd) {
  absl::StatusOr<ByteDescriptor> bytes =
      ByteDescriptor::Share(fd, ByteDescriptor::kWrite);
  if (!bytes.ok()) return std::move(bytes).status();
  return PipeWriter(*std::move(bytes), NameOf(fd));
}

int PipeWriter::ReleaseBlocking() { return ReleaseBlockingEnd(*this); }

absl::Status PipeWriter::WriteAll(iovec* vectors, size_t count, Deadline deadline) {
  if (closed()) return IsClosed("write");
  size_t done = 0;
  WaitResult result = bytes_.BeforeWrite(deadline);
  for (;;) {
    if (result != WaitResult::kReady) {
      return WithBytesMoved(Ended(result, "write", " to ", name_), done);
    }
    ssize_t n = bytes_.Write(vectors, count);
    if (n < 0) {
      if (errno == ECANCELED) return WithBytesMoved(ClosedMeanwhile("write"), done);
      if (!WouldBlock(errno)) {
        return WithBytesMoved(Failed(errno, "write to ", name_), done);
      }
      result = bytes_.WaitWritable(deadline);
      continue;
    }
    done += n;
    while (count > 0 && static_cast<size_t>(n) >= vectors->iov_len) {
      n -= vectors->iov_len;
      ++vectors;
      --count;
    }
    if (count == 0) return absl::OkStatus();
    vectors->iov_base = static_cast<char*>(vectors->iov_base) + n;
    vectors->iov_len -= n;
    result = bytes_.BeforeWrite(deadline);
  }
}

absl::Status PipeWriter::Write(absl::string_view data, Deadline deadline) {
  if (data.empty()) return absl::OkStatus();
  iovec vector{const_cast<char*>(data.data()), data.size()};
  return WriteAll(&vector, 1, Earlier(deadline, timeout_));
}

absl::Status PipeWriter::WriteGather(absl::Span<const absl::string_view> pieces,
                                     Deadline deadline) {
  absl::InlinedVector<iovec, 16> vectors;
  for (absl::string_view piece : pieces) {
    if (!piece.empty()) {
      vectors.push_back({const_cast<char*>(piece.data()), piece.size()});
    }
  }
  if (vectors.empty()) return absl::OkStatus();
  return WriteAll(vectors.data(), vectors.size(), Earlier(deadline, timeout_));
}

absl::StatusOr<size_t> PipeWriter::TryWrite(absl::string_view data) {
  if (closed()) return IsClosed("write");
  if (data.empty()) return 0;
  const iovec vector{const_cast<char*>(data.data()), data.size()};
  const ssize_t n = bytes_.WriteNow(&vector, 1);
  if (ABSL_PREDICT_TRUE(n >= 0)) return static_cast<size_t>(n);
  if (!WouldBlock(errno)) return Failed(errno, "write to ", name_);
  return 0;
}

// --- what makes them -----------------------------------------------------------------

absl::StatusOr<Pipe> MakePipe(size_t capacity) {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0) return ErrnoStatus(errno, "make a pipe");
  // Both succeed for a new pipe, and close what they were given in any case.
  absl::StatusOr<PipeReader> reader = PipeReader::Adopt(fds[0]);
  absl::StatusOr<PipeWriter> writer = PipeWriter::Adopt(fds[1]);
  if (capacity > 0 && fcntl(fds[1], F_SETPIPE_SZ,
                            static_cast<int>(std::min<size_t>(capacity, 1u << 30))) < 0) {
    return ErrnoStatus(errno, absl::StrCat("make a pipe of ", capacity, " bytes"));
  }
  return Pipe{*std::move(reader), *std::move(writer)};
}

absl::Status MakeNonBlocking(int fd) { return green_internal::SetNonBlocking(fd, true); }

absl::StatusOr<PipeReader> Stdin() {
  absl::StatusOr<PipeReader> reader = PipeReader::Share(STDIN_FILENO);
  if (reader.ok()) reader->name_ = "stdin";
  return reader;
}

absl::StatusOr<PipeWriter> Stdout() {
  absl::StatusOr<PipeWriter> writer = PipeWriter::Share(STDOUT_FILENO);
  if (writer.ok()) writer->name_ = "stdout";
  return writer;
}

absl::StatusOr<PipeWriter> Stderr() {
  absl::StatusOr<PipeWriter> writer = PipeWriter::Share(STDERR_FILENO);
  if (writer.ok()) writer->name_ = "stderr";
  return writer;
}

}  // namespace grove
