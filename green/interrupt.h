#ifndef GROVE_GREEN_INTERRUPT_H_
#define GROVE_GREEN_INTERRUPT_H_

#include <string>

#include "absl/time/time.h"

// What is thrown when a greenlet is told to stop. Thrown only by calls that are
// documented to block, since unwinding the stack is the only way to run every
// destructor on it. Never thrown while the stack is unwinding already
// (std::uncaught_exceptions() > 0), nor inside a Shield: it then stays pending until
// the next blocking call after.
namespace grove {

class Timeout;

// Interrupt
//
// The base of them all. Deliberately not a std::exception: what handles errors does not
// mean to catch it. Code that must catch everything has to throw it on:
//
//   } catch (const grove::Interrupt&) {
//     throw;
//   } catch (...) { ... }
class Interrupt {
 public:
  virtual ~Interrupt() = default;
  virtual std::string ToString() const = 0;

 protected:
  Interrupt() = default;
  Interrupt(const Interrupt&) = default;
  Interrupt& operator=(const Interrupt&) = default;
};

// GreenletExit
//
// Somebody called Kill(). Sticky: if it is caught and not thrown on, the next blocking
// call throws it again, until the greenlet ends. A greenlet that ends by it has not
// failed.
class GreenletExit : public Interrupt {
 public:
  std::string ToString() const override { return "GreenletExit"; }
};

// TimeoutExpired
//
// A Timeout scope has run out. Thrown once. Which scope it belongs to is part of it: an
// outer scope's expiry passes through the inner ones.
class TimeoutExpired : public Interrupt {
 public:
  TimeoutExpired(const Timeout* scope, absl::Duration after)
      : scope_(scope), after_(after) {}

  const Timeout* scope() const { return scope_; }
  absl::Duration after() const { return after_; }
  std::string ToString() const override;

 private:
  const Timeout* scope_;
  absl::Duration after_;
};

// LoopExit
//
// Thrown in a main greenlet that waits for what can never come: nothing is ready, no
// timer is armed, no descriptor is watched, no other thread could post. The report says
// which greenlet waits for what.
class LoopExit : public Interrupt {
 public:
  explicit LoopExit(std::string report) : report_(std::move(report)) {}
  std::string ToString() const override { return report_; }

 private:
  std::string report_;
};

}  // namespace grove

#endif  // GROVE_GREEN_INTERRUPT_H_
