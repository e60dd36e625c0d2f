#ifndef GROVE_NET_STREAM_H_
#define GROVE_NET_STREAM_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "grove/hub/deadline.h"

namespace grove::net {

// Stream
//
// Bytes in two directions: TCP, and whatever else carries them. Code that takes a Stream&
// works on all of them.
//
// There is no hidden buffer: what was written is the kernel's, and a writer waits while
// the peer does not read. One greenlet may read while another writes; two that read at
// once, or write at once, are a fatal error.
//
// For all that follow:
//   Blocks: until there is something to return.
//   Deadline: the argument or the stream's own timeout, whichever is earlier; returns
//       kDeadlineExceeded. BytesMoved(status) says how much was done until then.
//   Kill: throws; how much was done is not told.
//   Threads: the hub that made the stream.
//   Close() by another greenlet: returns kCancelled, naming who closed it.
class Stream {
 public:
  virtual ~Stream() = default;

  // Stream::Read()
  //
  // Reads what is there, at least one byte and at most the buffer's size. 0 is the end:
  // the peer will send no more. An empty buffer reads nothing and does not wait.
  absl::StatusOr<size_t> Read(absl::Span<char> buffer, Deadline deadline = {}) {
    return DoRead(buffer, Earlier(deadline));
  }

  // Stream::ReadExactly()
  //
  // Fills the buffer. kOutOfRange if the end comes first.
  absl::Status ReadExactly(absl::Span<char> buffer, Deadline deadline = {});

  // Stream::ReadScatter()
  //
  // As Read(), into several buffers in turn.
  absl::StatusOr<size_t> ReadScatter(absl::Span<const absl::Span<char>> buffers,
                                     Deadline deadline = {}) {
    return DoReadScatter(buffers, Earlier(deadline));
  }

  // Stream::ReadUntil()
  //
  // Reads through `delimiter` and returns all up to its end. What was read beyond it is
  // left in `rest`, which is looked at first the next time: one string per stream.
  // kOutOfRange if the end comes first (what there was is in `rest`), and
  // kResourceExhausted if the delimiter is not within the first `limit` bytes.
  absl::StatusOr<std::string> ReadUntil(absl::string_view delimiter, std::string& rest,
                                        size_t limit, Deadline deadline = {});

  // Stream::Write()
  //
  // Writes all of `data`.
  absl::Status Write(absl::string_view data, Deadline deadline = {}) {
    return DoWrite(data, Earlier(deadline));
  }

  // Stream::WriteGather()
  //
  // Writes all of several pieces, by as few system calls as possible.
  absl::Status WriteGather(absl::Span<const absl::string_view> pieces,
                           Deadline deadline = {}) {
    return DoWriteGather(pieces, Earlier(deadline));
  }

  // Stream::WaitReadable()
  //
  // Waits until a read may find something: bytes, the end or an error. It may also be
  // wrong. For those who want no buffer while they wait, as Copy() in copy.h does.
  absl::Status WaitReadable(Deadline deadline = {}) {
    return DoWaitReadable(Earlier(deadline));
  }

  // Stream::TryRead()
  //
  // As Read(), without waiting and without a switch to another greenlet: nullopt if there
  // is nothing now.
  virtual absl::StatusOr<std::optional<size_t>> TryRead(absl::Span<char> buffer) = 0;

  // Stream::TryWrite()
  //
  // Writes what can be written without waiting, and says how much that is; maybe 0.
  virtual absl::StatusOr<size_t> TryWrite(absl::string_view data) = 0;

  // Stream::has_unsent()
  //
  // Whether something that TryWrite() took is still here, and what carries the stream has
  // not taken it yet, as may be over TLS. Write() of nothing waits until it has.
  virtual bool has_unsent() const { return false; }

  // Stream::ShutdownWrite(), Stream::ShutdownRead()
  //
  // Tells the peer that no more comes; and ends reading here: what has arrived can still
  // be read, then Read() returns 0. Do not block.
  virtual absl::Status ShutdownWrite() = 0;
  virtual absl::Status ShutdownRead() = 0;

  // Stream::Close()
  //
  // Closes, and wakes whoever waits. Does not block. No effect if closed.
  virtual void Close() = 0;
  virtual bool closed() const = 0;

  // Stream::Abort()
  //
  // Closes so that the peer does not take it for the end of what it was sent, where what
  // carries the stream has a way to say so: TCP's is a reset. What was written may never
  // arrive. Else as Close().
  virtual void Abort() { Close(); }

  // Stream::Describe()
  //
  // The peer, for messages: "10.0.0.1:80".
  virtual std::string Describe() const = 0;

  // Stream::activity()
  //
  // What has gone over it, and whether a greenlet waits for the peer just now, in that
  // direction. For those who watch a stream from outside, as the limits of StreamServer
  // do. A stream that does not know says that nobody waits.
  struct Activity {
    uint64_t bytes_read = 0;
    uint64_t bytes_written = 0;
    bool reader_waits = false;
    bool writer_waits = false;
  };
  virtual Activity activity() const { return {}; }

  // Stream::set_timeout()
  //
  // How long one call may wait, if its own deadline is not earlier. Infinite at first.
  void set_timeout(absl::Duration timeout) { timeout_ = timeout; }
  absl::Duration timeout() const { return timeout_; }

  // Stream::set_limits_apply()
  //
  // Whether a server that has accepted it looks after its limits here
  // (StreamServerOptions::idle_limit, min_rate). False is for who speaks a protocol in
  // which a quiet peer is in order, and looks after it himself.
  void set_limits_apply(bool apply) { limits_apply_ = apply; }
  bool limits_apply() const { return limits_apply_; }

 protected:
  // The argument of a call, or the stream's own timeout.
  Deadline Earlier(Deadline deadline) const {
    if (timeout_ == absl::InfiniteDuration()) return deadline;
    return std::min(deadline, Deadline(timeout_));
  }

  virtual absl::StatusOr<size_t> DoRead(absl::Span<char> buffer, Deadline deadline) = 0;
  virtual absl::StatusOr<size_t> DoReadScatter(absl::Span<const absl::Span<char>> buffers,
                                               Deadline deadline) = 0;
  virtual absl::Status DoWaitReadable(Deadline deadline) = 0;
  virtual absl::Status DoWrite(absl::string_view data, Deadline deadline) = 0;
  virtual absl::Status DoWriteGather(absl::Span<const absl::string_view> pieces,
                                     Deadline deadline) = 0;

 private:
  absl::Duration timeout_ = absl::InfiniteDuration();
  bool limits_apply_ = true;
};

}  // namespace grove::net

#endif  // GROVE_NET_STREAM_H_
