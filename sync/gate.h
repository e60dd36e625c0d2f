#ifndef GROVE_SYNC_GATE_H_
#define GROVE_SYNC_GATE_H_

#include <cstdint>
#include <string>

#include "grove/hub/deadline.h"
#include "grove/hub/internal/check.h"
#include "grove/sync/internal/shown.h"
#include "grove/sync/internal/sync_object.h"

namespace grove {

// Gate
//
// Counts what is under way, and closes: nothing new begins, and Close() waits for the
// rest. For the orderly end of what others use.
//
//   void Service::Handle(Request& r) {
//     GatePass pass(gate_);
//     if (!pass) return Refuse(r);
//     ...
//   }
//   Service::~Service() { gate_.Close(); }
//
// Threads: any; see docs/sync.md. From elsewhere Leave() does not wait, and Enter() waits
// for the answer.
class Gate {
 public:
  Gate() = default;
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;
  // While something is under way: a fatal error.
  ~Gate() {
    if (inside_ > 0) DestroyedWhileUsed();
  }

  // Whether the gate is open; if so, Leave() is to be called later. Does not block.
  bool Enter() {
    bool entered;
    home_.Ask([&] {
      entered = !closed_;
      if (entered) inside_ += 1;
    });
    return entered;
  }
  // Leaving where nobody is inside is a fatal error. Does not block.
  void Leave();

  // Gate::Close()
  //
  // Closes the gate and waits until nobody is inside. Again: waits.
  //
  // Blocks: until then.
  // Deadline: returns false; the gate is closed. Kill: throws; the gate is closed.
  bool Close(Deadline deadline = {}) {
    CloseSoon();
    WaitOperation op(this);
    return home_.Perform(&op, deadline);
  }
  // Without waiting.
  void CloseSoon() {
    home_.Do([this] { closed_ = true; });
  }

  bool closed() const { return closed_; }
  int64_t inside() const { return inside_; }

 private:
  class WaitOperation final : public sync_internal::Operation {
   public:
    explicit WaitOperation(Gate* g) : Operation(&g->line_), gate_(g) {}
    bool Try() override { return gate_->inside_ == 0; }
    std::string Describe() const override {
      return "the last of " + std::to_string(gate_->inside_) + " inside " +
             sync_internal::NameOf("Gate", gate_);
    }

   private:
    Gate* const gate_;
  };

  void DestroyedWhileUsed();

  sync_internal::Shown<bool> closed_{false};
  sync_internal::Shown<int64_t> inside_{0};
  sync_internal::WaiterList line_;
  sync_internal::Home home_;  // last: what is on its way arrives first
};

// GatePass
//
// Inside a gate until the end of a scope, if it was open.
class [[nodiscard]] GatePass {
 public:
  explicit GatePass(Gate& gate) : gate_(gate.Enter() ? &gate : nullptr) {}
  GatePass(const GatePass&) = delete;
  GatePass& operator=(const GatePass&) = delete;
  ~GatePass() {
    if (gate_) gate_->Leave();
  }
  explicit operator bool() const { return gate_ != nullptr; }

 private:
  Gate* const gate_;
};

}  // namespace grove

#endif  // GROVE_SYNC_GATE_H_
