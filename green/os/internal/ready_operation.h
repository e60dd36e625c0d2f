#ifndef GROVE_GREEN_OS_INTERNAL_READY_OPERATION_H_
#define GROVE_GREEN_OS_INTERNAL_READY_OPERATION_H_

#include <string>

#include "grove/green/internal/operation.h"
#include "grove/hub/loop.h"

namespace grove::green_internal {

// ReadyOperation
//
// A wait for a descriptor as an operation, so that a greenlet can wait for several of
// them at once, and several greenlets, on any hubs, for the same one. It has a watcher of
// its own, and the descriptor stays whose it was: it must be open for as long as this
// stands in line.
//
// Threads: belongs to the hub of who waits.
class ReadyOperation : public Operation {
 public:
  ReadyOperation(int fd, IoEvents events)
      : Operation(nullptr), fd_(fd), events_(events) {}
  ReadyOperation(const ReadyOperation&) = delete;
  ReadyOperation& operator=(const ReadyOperation&) = delete;
  ~ReadyOperation() { Stop(); }

  // Nothing is taken, and nothing looked at: the caller has tried before.
  bool Try() override { return false; }
  void Enlist() override;
  void Cancel() override { Stop(); }
  std::string Describe() const override;

  // Stops all that stand in line on this hub, and forgets who waits. In a forked child.
  static void StopAllInChild();

 private:
  void Stop();

  const int fd_;
  const IoEvents events_;
  IoWatcher watcher_;
  Hub* hub_ = nullptr;  // while in line
  ReadyOperation* previous_ = nullptr;
  ReadyOperation* next_ = nullptr;
};

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_OS_INTERNAL_READY_OPERATION_H_
