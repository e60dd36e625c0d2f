#ifndef GROVE_GREEN_OS_INTERNAL_LINE_H_
#define GROVE_GREEN_OS_INTERNAL_LINE_H_

#include <string>

#include "grove/green/internal/core.h"
#include "grove/green/internal/scheduler.h"

namespace grove::green_internal {

// Line
//
// Where greenlets of one hub wait their turn at something, first come first served.
//
//   Line::Turn turn(line);
//
// Threads: its hub's.
class Line {
 public:
  Line() = default;
  Line(const Line&) = delete;
  Line& operator=(const Line&) = delete;

  class Turn {
   public:
    // Blocks: until all that came before have had theirs. Kill: throws, and there is
    // no turn.
    explicit Turn(Line& line) : line_(line) { line_.Enter(); }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    ~Turn() { line_.Leave(); }

   private:
    Line& line_;
  };

 private:
  class TurnWaiter final : public ListedWaiter {
   public:
    using ListedWaiter::ListedWaiter;
    std::string Describe() const override { return "a turn at a file"; }
  };

  void Enter() {
    if (!taken_) {
      taken_ = true;
      return;
    }
    Scheduler& s = Scheduler::Get();
    TurnWaiter waiter(s.current(), &waiters_);
    s.Park(&waiter);
  }

  // Hands it to the next: one that is killed by then passes it on in turn.
  void Leave() {
    if (ListedWaiter* next = waiters_.PopFront()) {
      next->Notify();
    } else {
      taken_ = false;
    }
  }

  bool taken_ = false;
  WaiterList waiters_;
};

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_OS_INTERNAL_LINE_H_
