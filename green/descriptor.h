#ifndef GROVE_GREEN_DESCRIPTOR_H_
#define GROVE_GREEN_DESCRIPTOR_H_

#include <string>
#include <utility>

#include "grove/hub/deadline.h"

namespace grove {

namespace green_internal {
struct DescriptorSlot;
// How many of the active watchers of this thread's loop are Descriptors' or Poll()'s,
// which stay started between two waits; for leak checks.
int ActiveDescriptorWatchers();
// In a forked child: nobody waits on this thread's hub any more.
void ForgetDescriptorWaitsInChild();
}  // namespace green_internal

// Why a wait for a descriptor ended.
enum class WaitResult {
  kReady,     // try the system call
  kDeadline,  // the deadline passed
  kClosed,    // somebody closed the descriptor: do not touch it, nor its Descriptor
};

// Descriptor
//
// A file descriptor that greenlets of one hub wait for, and the one place where I/O
// blocks. Owns the descriptor: destroying it closes it. It should be non-blocking.
//
//   for (;;) {
//     if (!d.CountOperation()) return Closed();
//     const ssize_t n = read(d.fd(), buffer, size);
//     if (n >= 0 || errno != EAGAIN) return n;
//     switch (d.WaitReadable(deadline)) { ... }
//   }
//
// One greenlet may wait to read while another waits to write. Two that wait for the same
// direction are a fatal error that names both, since each would get pieces of what the
// other expects. (Any number may Poll() it, which takes nothing; see poll.h.)
//
// Closing wakes those who wait, with kClosed; they must then leave both the number and
// this object alone, for the number may be a stranger's by then and the object gone.
//
// A descriptor that other code closes behind its back is not noticed by a wait that is
// under way; close it here.
//
// Threads: its hub's.
class Descriptor {
 public:
  Descriptor() = default;
  // Takes `fd` over, for this thread's hub.
  explicit Descriptor(int fd);
  Descriptor(Descriptor&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), slot_(std::exchange(other.slot_, nullptr)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) {
      Close();
      fd_ = std::exchange(other.fd_, -1);
      slot_ = std::exchange(other.slot_, nullptr);
    }
    return *this;
  }
  ~Descriptor() { Close(); }

  // -1 once closed.
  int fd() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  // Whether a greenlet waits for it just now.
  bool reader_waits() const { return Waits(0); }
  bool writer_waits() const { return Waits(1); }

  // Descriptor::WaitReadable(), Descriptor::WaitWritable()
  //
  // Blocks: until the descriptor is readable or writable, has an error, or is closed.
  // Returns kClosed at once if it is not open.
  // Deadline: returns kDeadline.
  // Kill: throws.
  WaitResult WaitReadable(Deadline deadline = {}) { return Wait(0, deadline); }
  WaitResult WaitWritable(Deadline deadline = {}) { return Wait(1, deadline); }

  // Descriptor::CountOperation()
  //
  // To be called before a system call that may succeed at once: after a number of those
  // in a row it lets others run.
  //
  // Blocks: then. Kill: throws.
  // False if the descriptor was closed meanwhile; see kClosed.
  [[nodiscard]] bool CountOperation();

  // Descriptor::Close()
  //
  // Wakes who waits and closes the descriptor. Does not block. No effect if it is closed.
  void Close();

  // Descriptor::Release()
  //
  // Gives the descriptor up, open. Who waits is woken as by Close().
  int Release();

 private:
  WaitResult Wait(int direction, Deadline deadline);
  bool Waits(int direction) const;
  [[noreturn]] void Misused(int direction) const;
  void Detach();

  int fd_ = -1;
  green_internal::DescriptorSlot* slot_ = nullptr;
};

// WhoClosed()
//
// "closed by greenlet 'x' (#7)", for the error message of a wait that ended by kClosed.
// Right after that wait only.
std::string WhoClosed();

}  // namespace grove

#endif  // GROVE_GREEN_DESCRIPTOR_H_
