#include "grove/patch/internal/stream.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>
#include <wchar.h>

#include <algorithm>

#include "grove/patch/internal/io.h"
#include "grove/patch/internal/signal_watch.h"
#include "grove/patch/internal/stdio_lock.h"
#include "grove/patch/internal/wait.h"

namespace grove::patch::patch_internal {
namespace {

using green_internal::Scheduler;

// Of FILE::_flags, beside those that the public header names.
constexpr int kUnbuffered = 0x0002;
constexpr int kNoReads = 0x0004;
constexpr int kInBackup = 0x0100;
constexpr int kLineBuffered = 0x0200;
constexpr int kCurrentlyPutting = 0x0800;
constexpr int kAppending = 0x1000;

class NativeLock {
 public:
  explicit NativeLock(FILE* f) : f_(f) { LockNative(f_); }
  ~NativeLock() { UnlockNative(f_); }
  NativeLock(const NativeLock&) = delete;
  NativeLock& operator=(const NativeLock&) = delete;

 private:
  FILE* const f_;
};

size_t Pending(const FILE* f) {
  return (f->_flags & kCurrentlyPutting) != 0 && f->_IO_write_ptr > f->_IO_write_base
             ? static_cast<size_t>(f->_IO_write_ptr - f->_IO_write_base)
             : 0;
}

// The buffer is empty, and is for writing.
void Empty(FILE* f) {
  f->_IO_read_base = f->_IO_read_ptr = f->_IO_read_end = f->_IO_buf_base;
  f->_IO_write_base = f->_IO_write_ptr = f->_IO_buf_base;
  f->_IO_write_end =
      (f->_flags & (kLineBuffered | kUnbuffered)) != 0 ? f->_IO_buf_base : f->_IO_buf_end;
}

}  // namespace

bool CanReadAtOnce(const FILE* f, size_t size) {
  return f->_IO_read_ptr < f->_IO_read_end &&
         static_cast<size_t>(f->_IO_read_end - f->_IO_read_ptr) >= size &&
         !AnyStreamIsLocked();
}

bool CanReadLineAtOnce(const FILE* f, int delimiter) {
  return CanReadAtOnce(f, 1) &&
         memchr(f->_IO_read_ptr, delimiter,
                static_cast<size_t>(f->_IO_read_end - f->_IO_read_ptr)) != nullptr;
}

// Streams that go by lines, and those without a buffer, never say that they have room.
bool CanPutAtOnce(const FILE* f, size_t size) {
  return f->_IO_write_ptr < f->_IO_write_end &&
         static_cast<size_t>(f->_IO_write_end - f->_IO_write_ptr) >= size &&
         !AnyStreamIsLocked();
}

Stream::Stream(Scheduler& s, Hook& hook, FILE* f) : scheduler_(s), hook_(hook), f_(f) {
  hook.CountCall();
  LetOthersRun(s);
  LockStream(s, hook, f);
  const int error = errno;
  plain_ = f->_fileno < 0 || fwide(f, 0) > 0 || IsOnDisk(f->_fileno);
  errno = error;
}

Stream::~Stream() { UnlockStream(scheduler_, f_); }

bool Stream::WaitFor(std::optional<Patience>& patience, short events) {
  if (!patience) patience.emplace(scheduler_, hook_, f_->_fileno, events);
  if (patience->Wait()) return true;
  f_->_flags |= _IO_ERR_SEEN;
  return false;
}

Stream::Step Stream::FillStep() {
  const NativeLock lock(f_);
  if (f_->_IO_read_ptr < f_->_IO_read_end) return Step::kDone;
  // Behind characters that were pushed back there may be others.
  const bool has_more =
      (f_->_flags & kInBackup) != 0 && f_->_IO_save_base < f_->_IO_save_end;
  const bool asks = !has_more && (f_->_flags & (kNoReads | _IO_EOF_SEEN)) == 0;
  if (asks && !IsReadyNow(f_->_fileno, POLLIN)) return Step::kWait;
  return OriginalUnderflow(f_) == EOF ? Step::kFailed : Step::kDone;
}

// Whoever reads a terminal sees first what was written: libc writes out stdout then.
bool Stream::FlushStdoutOfReader() {
  if (f_ == stdout || (stdout->_flags & kLineBuffered) == 0 || Pending(stdout) == 0) {
    return true;
  }
  // What a stream is buffered by is known once it has its buffer.
  const bool by_lines = (f_->_flags & (kLineBuffered | kUnbuffered)) != 0 ||
                        (f_->_IO_buf_base == nullptr && isatty(f_->_fileno) == 1);
  if (!by_lines) return true;
  Stream out(scheduler_, hook_, stdout);
  return out.plain() || out.Flush();
}

absl::string_view Stream::Peek() {
  failed_ = false;
  if (f_->_IO_read_ptr >= f_->_IO_read_end && !Fill()) {
    failed_ = (f_->_flags & _IO_EOF_SEEN) == 0;
    return {};
  }
  return {f_->_IO_read_ptr, static_cast<size_t>(f_->_IO_read_end - f_->_IO_read_ptr)};
}

bool Stream::Fill() {
  if (Pending(f_) > 0 && !Flush()) return false;
  if (!FlushStdoutOfReader()) return false;
  for (;;) {
    const Step step = FillStep();
    if (step != Step::kWait) return step == Step::kDone;
    if (!WaitFor(reading_, POLLIN)) return false;
  }
}

void Stream::Take(size_t n) { f_->_IO_read_ptr += n; }

int Stream::Get() {
  const absl::string_view next = Peek();
  if (next.empty()) return EOF;
  const auto c = static_cast<unsigned char>(next[0]);
  Take(1);
  return c;
}

Stream::Step Stream::FlushStep() {
  const NativeLock lock(f_);
  const size_t pending = Pending(f_);
  if (pending == 0) return Step::kDone;
  // It would go to another place in a file first, which is not of these.
  if (f_->_IO_read_end != f_->_IO_write_base && (f_->_flags & kAppending) == 0) {
    return OriginalFlush(f_) == 0 ? Step::kDone : Step::kFailed;
  }
  const iovec piece = {f_->_IO_write_base, pending};
  const ssize_t n = WriteNow(f_->_fileno, &piece, 1);
  if (n < 0) {
    if (errno == EAGAIN) return Step::kWait;
    f_->_flags |= _IO_ERR_SEEN;
    Empty(f_);  // as libc does
    return Step::kFailed;
  }
  const size_t left = pending - static_cast<size_t>(n);
  char* const rest = f_->_IO_write_base + n;
  if (f_->_offset >= 0) f_->_offset += n;
  if (left == 0) {
    Empty(f_);
    return Step::kDone;
  }
  memmove(f_->_IO_write_base, rest, left);
  f_->_IO_write_ptr -= n;
  return Step::kWait;
}

bool Stream::Flush() {
  for (;;) {
    const Step step = FlushStep();
    if (step != Step::kWait) return step == Step::kDone;
    if (!WaitFor(writing_, POLLOUT)) return false;
  }
}

// Puts a part of the data into the buffer, or, where that is of no use, writes it.
Stream::Step Stream::PutStep(absl::string_view& data) {
  const NativeLock lock(f_);
  const bool unbuffered = (f_->_flags & kUnbuffered) != 0;
  const auto size = static_cast<size_t>(f_->_IO_buf_end - f_->_IO_buf_base);
  if (Pending(f_) == 0 && (unbuffered || data.size() >= size)) {
    const iovec piece = {const_cast<char*>(data.data()), data.size()};
    const ssize_t n = WriteNow(f_->_fileno, &piece, 1);
    if (n < 0) {
      if (errno == EAGAIN) return Step::kWait;
      f_->_flags |= _IO_ERR_SEEN;
      return Step::kFailed;
    }
    data.remove_prefix(static_cast<size_t>(n));
    return data.empty() ? Step::kDone : Step::kWait;
  }
  const auto room = static_cast<size_t>(f_->_IO_buf_end - f_->_IO_write_ptr);
  const size_t n = unbuffered ? 0 : std::min(room, data.size());
  memcpy(f_->_IO_write_ptr, data.data(), n);
  f_->_IO_write_ptr += n;
  data.remove_prefix(n);
  return Step::kDone;
}

bool Stream::PutAll(absl::string_view& data) {
  while (!data.empty()) {
    const Step step = PutStep(data);
    if (step == Step::kFailed) return false;
    if (step == Step::kWait && !WaitFor(writing_, POLLOUT)) return false;
    if (step == Step::kDone && !data.empty() && !Flush()) return false;
  }
  return true;
}

// Makes the buffer, where there is none, and has it be for writing.
bool Stream::Prepare() {
  const NativeLock lock(f_);
  const bool ready =
      (f_->_flags & kCurrentlyPutting) != 0 && f_->_IO_write_base != nullptr;
  return ready || OriginalOverflow(f_, EOF) != EOF;
}

bool Stream::Put(absl::string_view data, size_t* put) {
  if (put != nullptr) *put = 0;
  if (!Prepare()) return false;
  const size_t newline = data.rfind('\n');
  const bool line =
      (f_->_flags & kLineBuffered) != 0 && newline != absl::string_view::npos;
  absl::string_view first = line ? data.substr(0, newline + 1) : data;
  absl::string_view second = data.substr(first.size());
  const bool ok = PutAll(first) && (!line || Flush()) && PutAll(second);
  if (put != nullptr) *put = data.size() - first.size() - second.size();
  return ok;
}

}  // namespace grove::patch::patch_internal
