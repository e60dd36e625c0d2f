#ifndef GROVE_GREEN_INTERNAL_OPERATION_H_
#define GROVE_GREEN_INTERNAL_OPERATION_H_

#include <cstddef>

#include "grove/green/internal/core.h"
#include "grove/green/internal/scheduler.h"

namespace grove::green_internal {

// Operation
//
// A blocking operation on an object, as a value: what is to be done, and the place in the
// object's line if it cannot be done now. Derived classes say how, in two functions that
// run on the object's home hub:
//
//   class AcquireOperation final : public Operation {
//     bool Try() override { ... take it, if that is possible without waiting ... }
//     void Enlist() override { list_->PushBack(this); }   // the default
//     void Cancel() override { list_->Remove(this); }     // the default
//
// so that the same operation can be waited for by a greenlet that is at home, by one that
// comes from another hub (Home), and together with others (Select, Wait). It lies on the
// stack of who waits. Results lie in it, to be read when it has been fulfilled.
class Operation : public ListedWaiter {
 public:
  // Does it if it can be done at once. Not while it is in line.
  virtual bool Try() = 0;

  // Stands in line. Whoever fulfils the operation takes it out, and calls Notify().
  virtual void Enlist() { list_->PushBack(this); }

  // Gives back what it was granted: its greenlet's hub has ended meanwhile.
  virtual void Return() {}

  // Whose wait it is, before Enlist().
  void WaitsFor(Core* core) { BelongsTo(core); }
  void WaitsFor(Observer* observer) { BelongsTo(observer); }

  // For the observer: which of its operations this is, and the one before it.
  size_t tag = 0;
  Operation* before = nullptr;

 protected:
  explicit Operation(WaiterList* list) : ListedWaiter(list) {}
  ~Operation() = default;
};

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_INTERNAL_OPERATION_H_
