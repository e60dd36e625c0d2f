#ifndef GROVE_GREEN_OS_INTERNAL_BYTE_DESCRIPTOR_H_
#define GROVE_GREEN_OS_INTERNAL_BYTE_DESCRIPTOR_H_

#include <sys/types.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grove/green/descriptor.h"
#include "grove/hub/deadline.h"

namespace grove::green_internal {

// ByteDescriptor
//
// A descriptor that bytes go through in one direction, and how to move them without
// blocking the thread. O_NONBLOCK belongs to the open file description, which other
// processes may have too: a terminal's shell, the next command of a pipeline. So it is
// set only on what is known to be ours, and elsewhere the first of these that works is
// used:
//
//   kOwn     a description of its own, with O_NONBLOCK: one that was adopted, or a pipe
//            or terminal that was opened once more, by /proc/self/fd
//   kSocket  MSG_DONTWAIT, per call
//   kNoWait  RWF_NOWAIT, per call: pipes since Linux 6.4
//   kThread  a wait until it is ready, then the system call on a thread of the files pool
//
// Threads: its hub's.
class ByteDescriptor {
 public:
  enum Direction { kRead, kWrite };
  enum class Manner : uint8_t { kOwn, kSocket, kNoWait, kThread };

  ByteDescriptor() = default;
  ByteDescriptor(ByteDescriptor&&) = default;
  ByteDescriptor& operator=(ByteDescriptor&& other) noexcept {
    if (this != &other) {
      Close();
      descriptor_ = std::move(other.descriptor_);
      manner_ = other.manner_;
      waits_first_ = other.waits_first_;
      pollable_ = other.pollable_;
      pty_master_ = other.pty_master_;
      threads_ = std::move(other.threads_);
    }
    return *this;
  }
  ~ByteDescriptor() { Close(); }

  // Takes `fd` over and makes it non-blocking. On failure the caller still has it.
  static absl::StatusOr<ByteDescriptor> Adopt(int fd, Direction direction);
  // A number of its own for what `fd` refers to; leaves `fd` and its flags alone.
  static absl::StatusOr<ByteDescriptor> Share(int fd, Direction direction);

  // ByteDescriptor::BeforeRead(), ByteDescriptor::BeforeWrite()
  //
  // What comes before a try: a wait, if the try would be in vain or could block a thread.
  // Blocks: then. Kill: throws.
  WaitResult BeforeRead(Deadline deadline);
  // As BeforeRead(), where no try follows.
  WaitResult WaitReadable(Deadline deadline);
  WaitResult BeforeWrite(Deadline deadline);
  // After EAGAIN.
  WaitResult WaitWritable(Deadline deadline) {
    return descriptor_.WaitWritable(deadline);
  }

  // ByteDescriptor::Read(), ByteDescriptor::Write()
  //
  // One try, as readv(2) and writev(2) on a non-blocking descriptor: -1 with errno. Never
  // EINTR, and never a SIGPIPE. By kThread it may switch, and is ECANCELED if the object
  // was closed meanwhile: it may be gone then.
  //
  // Blocks: by kThread, until a thread has done it. Kill: throws, but not once it has
  // begun.
  ssize_t Read(const iovec* vectors, size_t count);
  ssize_t Write(const iovec* vectors, size_t count);
  // The same without a switch. By kThread it is a guess that it will not block: others
  // may take what poll(2) has seen.
  ssize_t ReadNow(const iovec* vectors, size_t count);
  ssize_t WriteNow(const iovec* vectors, size_t count);

  int fd() const { return descriptor_.fd(); }
  bool valid() const { return descriptor_.valid(); }
  Manner manner() const { return manner_; }
  // Who waits is woken as by Close().
  void CancelWait() {
    if (descriptor_.valid()) descriptor_ = Descriptor(descriptor_.Release());
  }
  void Close();
  int Release();

 private:
  // The number that pool threads use: open until the last of them is done with it.
  struct ForThreads;

  ByteDescriptor(int fd, Manner manner) : descriptor_(fd), manner_(manner) {}
  static absl::StatusOr<ByteDescriptor> Duplicate(int fd, Manner manner);
  int BecomeThreaded();
  static ssize_t AfterThread(const ForThreads& threads, ssize_t n, int error);
  static ssize_t ReadAs(Manner manner, int fd, const iovec* vectors, size_t count);
  static ssize_t WriteAs(Manner manner, int fd, const iovec* vectors, size_t count);
  bool ReadyNow(short events) const;

  Descriptor descriptor_;
  Manner manner_ = Manner::kOwn;
  // A read has taken all there was, or there was none yet: a try would be in vain.
  bool waits_first_ = true;
  bool pollable_ = true;
  bool pty_master_ = false;
  std::shared_ptr<ForThreads> threads_;
};

// Sets O_NONBLOCK on the description of `fd`.
absl::Status SetNonBlocking(int fd, bool on);

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_OS_INTERNAL_BYTE_DESCRIPTOR_H_
