#ifndef GROVE_GREEN_INTERNAL_TURNS_H_
#define GROVE_GREEN_INTERNAL_TURNS_H_

#include <string>

#include "grove/green/internal/home.h"
#include "grove/green/internal/operation.h"
#include "grove/green/internal/own_hub.h"
#include "grove/hub/deadline.h"

namespace grove::green_internal {

// Turns
//
// Lets one greenlet after the other have its turn, first come first served.
//
// Threads: belongs to the hub of its first use.
class Turns {
 public:
  explicit Turns(const char* what) : what_(what) {}
  Turns(const Turns&) = delete;
  Turns& operator=(const Turns&) = delete;

  // Blocks: until it is the caller's turn. Deadline: returns false. Kill: throws.
  [[nodiscard]] bool Take(Deadline deadline) {
    Scheduler& s = hub_.Check(what_);
    TakeOperation take(this);
    return take.Try() || Home::WaitInLine(&s, &take, deadline);
  }
  // Hands it to the next in line.
  void Leave() {
    ListedWaiter* next = line_.PopFront();
    if (next == nullptr) {
      taken_ = false;
    } else {
      next->Notify();
    }
  }

 private:
  class TakeOperation final : public Operation {
   public:
    explicit TakeOperation(Turns* turns) : Operation(&turns->line_), turns_(turns) {}
    bool Try() override { return !std::exchange(turns_->taken_, true); }
    std::string Describe() const override { return turns_->what_; }

   private:
    Turns* const turns_;
  };

  const char* const what_;
  OwnHub hub_;
  bool taken_ = false;
  WaiterList line_;
};

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_INTERNAL_TURNS_H_
