#ifndef GROVE_SYNC_SELECT_H_
#define GROVE_SYNC_SELECT_H_

#include <initializer_list>
#include <utility>

#include "absl/types/span.h"
#include "grove/green/greenlet.h"
#include "grove/hub/deadline.h"
#include "grove/sync/channel.h"
#include "grove/sync/event.h"
#include "grove/sync/queue.h"
#include "grove/sync/semaphore.h"

// Waits for the first of several things, and does that one and no other:
//
//   ReceiveCase job(jobs);
//   WaitCase stop(stopping);
//   for (;;) {
//     switch (Select({job, stop}, absl::Seconds(1))) {
//       case 0: Do(job.value()); break;       // received, and nothing else has happened
//       case 1: return;
//       case kSelectTimedOut: SaySomething();
//     }
//   }
namespace grove {

// SelectCase
//
// One of the things: an operation of an object. Made from the classes below, which hold
// it; each of them can be selected again and again.
struct SelectCase {
  sync_internal::Operation* operation;
  sync_internal::Home* home;
};

inline constexpr int kSelectTimedOut = -1;

// Which of several cases that can be done at once is done.
enum class SelectOrder {
  kFair,     // each in its turn, so that none starves
  kInOrder,  // the first, so that what is urgent comes first
};

// Select()
//
// Waits until one of the cases can be done, does it, and returns its place among them.
// With none and no deadline this waits for ever.
//
// Blocks: until then.
// Deadline: returns kSelectTimedOut; nothing was done. A deadline that has passed: does
//     what can be done at once.
// Kill: throws; nothing was done.
// Threads: any, as long as all objects have the same home; otherwise a fatal error. A
//     thread without a hub gets one.
//
// A case is for one Select() at a time, and stands in it once: a case twice is a fatal
// error (unless NDEBUG), several cases of one object are fine.
int Select(absl::Span<const SelectCase> cases, Deadline deadline = {},
           SelectOrder order = SelectOrder::kFair);
inline int Select(std::initializer_list<SelectCase> cases, Deadline deadline = {},
                  SelectOrder order = SelectOrder::kFair) {
  return Select(absl::MakeConstSpan(cases.begin(), cases.size()), deadline, order);
}

// ReceiveCase
//
// From a channel or a queue. Done also when that is closed and empty: `closed()`.
template <typename Source>
class ReceiveCase {
 public:
  explicit ReceiveCase(Source& source)
      : op_(&source.exchange()), home_(&source.exchange().home()) {}

  // Once selected.
  bool closed() const { return op_.closed; }
  typename Source::T& value() { return *op_.item; }

  operator SelectCase() {  // NOLINT(google-explicit-constructor)
    op_.Reset();
    return {&op_, home_};
  }

 private:
  typename Source::GetOperation op_;
  sync_internal::Home* const home_;
};

// SendCase
//
// To a channel or a queue. Done also when that is closed; `value()` is then as it was,
// as it is while the case was not selected.
template <typename Sink>
class SendCase {
 public:
  SendCase(Sink& sink, typename Sink::T value)
      : value_(std::move(value)),
        op_(&sink.exchange(), &value_),
        home_(&sink.exchange().home()) {}
  SendCase(const SendCase&) = delete;  // the operation points to the value
  SendCase& operator=(const SendCase&) = delete;

  bool closed() const { return op_.closed; }
  typename Sink::T& value() { return value_; }
  void set_value(typename Sink::T value) { value_ = std::move(value); }

  operator SelectCase() {  // NOLINT(google-explicit-constructor)
    op_.Reset();
    return {&op_, home_};
  }

 private:
  typename Sink::T value_;
  typename Sink::PutOperation op_;
  sync_internal::Home* const home_;
};

// WaitCase
//
// For an Event, an AutoResetEvent, and whatever else has a WaitOperation.
template <typename Source>
class WaitCase {
 public:
  explicit WaitCase(Source& source) : op_(&source), home_(&source.home()) {}
  operator SelectCase() {  // NOLINT(google-explicit-constructor)
    return {&op_, home_};
  }

 private:
  typename Source::WaitOperation op_;
  sync_internal::Home* const home_;
};

// AcquireCase
//
// Permits of a semaphore.
class AcquireCase {
 public:
  explicit AcquireCase(Semaphore& semaphore, int64_t n = 1)
      : op_(&semaphore, n, n), home_(&semaphore.home()) {
    semaphore.CheckAcquirable(n);
  }
  operator SelectCase() { return {&op_, home_}; }  // NOLINT(google-explicit-constructor)

 private:
  Semaphore::AcquireOperation op_;
  sync_internal::Home* const home_;
};

// JoinCase
//
// The end of a greenlet of this hub; of another's is a fatal error.
class JoinCase {
 public:
  explicit JoinCase(AnyGreenlet greenlet)
      : greenlet_(std::move(greenlet)), op_(greenlet_.core()) {}
  operator SelectCase() {  // NOLINT(google-explicit-constructor)
    green_internal::CheckJoinable(greenlet_.core());
    green_internal::CheckHome(greenlet_.core(), "Select");
    return {&op_, nullptr};
  }

 private:
  const AnyGreenlet greenlet_;
  green_internal::JoinOperation op_;
};

}  // namespace grove

#endif  // GROVE_SYNC_SELECT_H_
