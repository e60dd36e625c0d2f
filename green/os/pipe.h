#ifndef GROVE_GREEN_OS_PIPE_H_
#define GROVE_GREEN_OS_PIPE_H_

#include <sys/uio.h>

#include <cstddef>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "grove/green/os/internal/byte_descriptor.h"
#include "grove/hub/deadline.h"

// Pipes, terminals, and what else has a descriptor, can be waited for and carries bytes;
// sockets have net/. Files on a disk are always "ready": see file.h.
//
//   absl::StatusOr<Pipe> pipe = MakePipe();
//   Spawn([&] { pipe->writer.Write("hello").IgnoreError(); });
//   absl::StatusOr<size_t> n = pipe->reader.Read(absl::MakeSpan(buffer));
//
// A descriptor is either adopted or shared. Adopt() takes over what nobody else has, and
// makes it non-blocking. Share() leaves the descriptor with its owner and its flags as
// they are: O_NONBLOCK belongs to all who have the pipe or terminal open, in other
// processes too, and one of those that finds a terminal non-blocking breaks. Stdin(),
// Stdout() and Stderr() share. docs/files.md says how that is done.
//
// In net/pipe_stream.h both together are a Stream.
namespace grove {

// PipeReader
//
// The end that is read. For all that follow:
//   Blocks: until there is something to return.
//   Deadline: the argument or the reader's own timeout, whichever is earlier; returns
//       kDeadlineExceeded. BytesMoved(status) says how much was done until then.
//   Kill: throws; how much was read is not told.
//   Threads: the hub that made it.
//   Close() by another greenlet: returns kCancelled, naming who closed it.
// Two greenlets that read at once are a fatal error.
class PipeReader {
 public:
  // Closed.
  PipeReader() = default;

  // PipeReader::Adopt()
  //
  // Takes `fd` over and sets O_NONBLOCK; on failure the caller keeps it. A FIFO without a
  // writer yet is waited for. A file on a disk is kInvalidArgument. Does not block.
  static absl::StatusOr<PipeReader> Adopt(int fd);

  // PipeReader::Share()
  //
  // Reads from what `fd` refers to, by a number of its own: `fd` stays open, and stays
  // the caller's. Anything that can be read will do, files included. While the reader
  // lives, the pipe has one reader more. Does not block.
  static absl::StatusOr<PipeReader> Share(int fd);

  // PipeReader::Read()
  //
  // Reads what is there, at least one byte and at most the buffer's size. 0 is the end:
  // all writers have closed; at a terminal, somebody has typed ^D, and more may come. An
  // empty buffer reads nothing and does not wait.
  absl::StatusOr<size_t> Read(absl::Span<char> buffer, Deadline deadline = {});

  // PipeReader::ReadExactly()
  //
  // Fills the buffer. kOutOfRange if the end comes first.
  absl::Status ReadExactly(absl::Span<char> buffer, Deadline deadline = {});

  // PipeReader::ReadScatter()
  //
  // As Read(), into several buffers in turn.
  absl::StatusOr<size_t> ReadScatter(absl::Span<const absl::Span<char>> buffers,
                                     Deadline deadline = {});

  // PipeReader::WaitReadable()
  //
  // Waits until a read may find something. It may also be wrong.
  absl::Status WaitReadable(Deadline deadline = {});

  // PipeReader::TryRead()
  //
  // As Read(), without waiting and without a switch to another greenlet: nullopt if there
  // is nothing now. Of a file that is shared, what this thread finds on the disk.
  absl::StatusOr<std::optional<size_t>> TryRead(absl::Span<char> buffer);

  // PipeReader::CancelWait()
  //
  // Whoever waits gets kCancelled, as by Close(); the reader stays open. Does not block.
  void CancelWait() { bytes_.CancelWait(); }

  // PipeReader::Close()
  //
  // Wakes whoever waits. Does not block. No effect if closed.
  void Close() { bytes_.Close(); }
  bool closed() const { return !bytes_.valid(); }
  // -1 once closed. Of what is shared, the reader's own number.
  int fd() const { return bytes_.fd(); }

  // PipeReader::Release(), PipeReader::ReleaseBlocking()
  //
  // Gives the descriptor up, open and as it is; or with O_NONBLOCK cleared, as a child
  // process expects its stdin. Close-on-exec stays set. -1 if closed. Not of what is
  // shared.
  int Release() { return bytes_.Release(); }
  int ReleaseBlocking();

  // How long one call may wait, if its own deadline is not earlier. Infinite at first.
  void set_timeout(absl::Duration timeout) { timeout_ = timeout; }
  absl::Duration timeout() const { return timeout_; }

  // For messages: "stdin", "fd 7".
  const std::string& name() const { return name_; }

 private:
  friend absl::StatusOr<PipeReader> Stdin();
  PipeReader(green_internal::ByteDescriptor bytes, std::string name)
      : bytes_(std::move(bytes)), name_(std::move(name)) {}
  absl::StatusOr<size_t> ReadInto(const iovec* vectors, size_t count, Deadline deadline);

  green_internal::ByteDescriptor bytes_;
  absl::Duration timeout_ = absl::InfiniteDuration();
  std::string name_;
};

// PipeWriter
//
// The end that is written. There is no buffer in between: a writer waits while the reader
// does not read. A pipe that nobody reads any more is kUnavailable with EPIPE, and no
// SIGPIPE. What is said of all calls of PipeReader holds here; two greenlets that write
// at once are a fatal error if one has to wait.
class PipeWriter {
 public:
  // Closed.
  PipeWriter() = default;

  // As those of PipeReader.
  static absl::StatusOr<PipeWriter> Adopt(int fd);
  static absl::StatusOr<PipeWriter> Share(int fd);

  // PipeWriter::Write()
  //
  // Writes all of `data`.
  absl::Status Write(absl::string_view data, Deadline deadline = {});

  // PipeWriter::WriteGather()
  //
  // Writes all of several pieces, by as few system calls as possible.
  absl::Status WriteGather(absl::Span<const absl::string_view> pieces,
                           Deadline deadline = {});

  // PipeWriter::TryWrite()
  //
  // Writes what can be written without waiting, and says how much that is; maybe 0.
  absl::StatusOr<size_t> TryWrite(absl::string_view data);

  // As those of PipeReader.
  void Close() { bytes_.Close(); }
  bool closed() const { return !bytes_.valid(); }
  int fd() const { return bytes_.fd(); }
  int Release() { return bytes_.Release(); }
  int ReleaseBlocking();
  void set_timeout(absl::Duration timeout) { timeout_ = timeout; }
  absl::Duration timeout() const { return timeout_; }
  const std::string& name() const { return name_; }

 private:
  friend absl::StatusOr<PipeWriter> Stdout();
  friend absl::StatusOr<PipeWriter> Stderr();
  PipeWriter(green_internal::ByteDescriptor bytes, std::string name)
      : bytes_(std::move(bytes)), name_(std::move(name)) {}
  absl::Status WriteAll(iovec* vectors, size_t count, Deadline deadline);

  green_internal::ByteDescriptor bytes_;
  absl::Duration timeout_ = absl::InfiniteDuration();
  std::string name_;
};

// Pipe
struct Pipe {
  PipeReader reader;
  PipeWriter writer;
};

// MakePipe()
//
// A new pipe; both ends are close-on-exec. `capacity` asks for a size of the kernel's
// buffer (F_SETPIPE_SZ), which rounds it up to pages; 0 is the kernel's default, 64 KiB.
absl::StatusOr<Pipe> MakePipe(size_t capacity = 0);

// MakeNonBlocking()
//
// Sets O_NONBLOCK on the open file description of `fd`, for all who share it.
absl::Status MakeNonBlocking(int fd);

// Stdin(), Stdout(), Stderr()
//
// Descriptors 0, 1 and 2, shared: whoever else has them finds their flags as they were,
// and closing the object closes nothing else. Each call makes a new one, for this hub. A
// pipe's end is seen by its reader only when these are closed as well.
absl::StatusOr<PipeReader> Stdin();
absl::StatusOr<PipeWriter> Stdout();
absl::StatusOr<PipeWriter> Stderr();

}  // namespace grove

#endif  // GROVE_GREEN_OS_PIPE_H_
