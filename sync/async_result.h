#ifndef GROVE_SYNC_ASYNC_RESULT_H_
#define GROVE_SYNC_ASYNC_RESULT_H_

#include <concepts>
#include <exception>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grove/green/greenlet.h"
#include "grove/hub/deadline.h"
#include "grove/hub/internal/check.h"
#include "grove/sync/internal/sync_object.h"

namespace grove {

// AsyncResult
//
// A value, or a failure, that comes later: what std::promise and std::future are
// together. Any number may wait for it.
//
//   AsyncResult<int> answer;
//   Spawn([&] { answer.Set(42); });
//   absl::StatusOr<int> a = answer.Get(absl::Seconds(1));
//
// It can take over how a greenlet ended: `greenlet.Link(std::ref(answer))`, where the
// greenlet returns a T.
//
// Set once more, it has the new outcome from then on.
//
// Threads: any; see docs/sync.md. From elsewhere setting does not wait.
template <typename T = void>
class AsyncResult {
  struct Nothing {};
  using Value = std::conditional_t<std::is_void_v<T>, Nothing, T>;
  // One of the three, or none yet.
  struct Outcome {
    std::optional<Value> value = {};
    std::exception_ptr exception = {};
    absl::Status status = {};
    bool ready() const { return value.has_value() || exception || !status.ok(); }
  };

 public:
  // absl::StatusOr<T>, or absl::Status for void.
  using Result = std::conditional_t<std::is_void_v<T>, absl::Status, absl::StatusOr<T>>;

  AsyncResult() = default;
  AsyncResult(const AsyncResult&) = delete;
  AsyncResult& operator=(const AsyncResult&) = delete;
  // While somebody waits for it: a fatal error that names them.
  ~AsyncResult() {
    sync_internal::CheckDestroy(home_, line_, "AsyncResult", this);
    sync_internal::CheckDestroy(home_, getters_, "AsyncResult", this);
  }

  // Do not block.
  void Set() requires std::is_void_v<T> { SetOutcome({.value = Nothing()}); }
  void Set(Value value) requires(!std::is_void_v<T>) {
    SetOutcome({.value = std::move(value)});
  }
  // Get() throws it.
  void SetException(std::exception_ptr error) {
    GROVE_CHECK(error != nullptr, "SetException() of nothing");
    SetOutcome({.exception = std::move(error)});
  }
  // Get() returns it. An OK one is a fatal error.
  void SetStatus(absl::Status status) {
    GROVE_CHECK(!status.ok(), "SetStatus(OK) of an AsyncResult: it has no value");
    SetOutcome({.status = std::move(status)});
  }

  // AsyncResult::operator()
  //
  // Takes over how a greenlet has ended: for Link() and RawLink(). One that returns
  // something else than T is a fatal error.
  void operator()(const AnyGreenlet& greenlet) {
    Outcome outcome;
    try {
      outcome = OutcomeOf(greenlet);
    } catch (...) {  // what it has thrown, or the copy of what it returned
      outcome.exception = std::current_exception();
    }
    SetOutcome(std::move(outcome));
  }

  // AsyncResult::Get()
  //
  // The value, a copy of it; or the failure: an exception is thrown, a status returned.
  //
  // Blocks: until it is set.
  // Deadline: returns kDeadlineExceeded.
  // Kill: throws.
  Result Get(Deadline deadline = {}) requires(std::is_void_v<T> ||
                                              std::copy_constructible<Value>) {
    GetOperation op(this, /*take=*/false);
    return Deliver(op, home_.Perform(&op, deadline));
  }

  // AsyncResult::Take()
  //
  // As Get(), but the value is moved out: a second Take() or Get() finds it not set.
  Result Take(Deadline deadline = {}) {
    GetOperation op(this, /*take=*/true);
    return Deliver(op, home_.Perform(&op, deadline));
  }

  // AsyncResult::Wait()
  //
  // Whether it is set. Contract as Get(), but a failure is not thrown.
  bool Wait(Deadline deadline = {}) {
    WaitOperation op(this);
    return home_.Perform(&op, deadline);
  }

  // As seen from here: at home exact, from elsewhere when the answer was on its way.
  bool ready() {
    bool ready;
    home_.Ask([&] { ready = outcome_.ready(); });
    return ready;
  }
  // Whether it is set, to a value.
  bool successful() {
    bool successful;
    home_.Ask([&] { successful = outcome_.value.has_value(); });
    return successful;
  }
  // The exception that it was set to; null if none.
  std::exception_ptr exception() {
    std::exception_ptr exception;
    home_.Ask([&] { exception = outcome_.exception; });
    return exception;
  }

  class WaitOperation final : public sync_internal::Operation {
   public:
    explicit WaitOperation(AsyncResult* r) : Operation(&r->line_), result_(r) {}
    bool Try() override { return result_->outcome_.ready(); }
    std::string Describe() const override { return NameOf(result_); }

   private:
    AsyncResult* const result_;
  };

  // For Wait() on its home hub.
  Waitable AsWaitable() { return sync_internal::MakeWaitable<WaitOperation>(this); }

  // For the layers above.
  sync_internal::Home& home() { return home_; }

 private:
  // The outcome comes with the wakeup: by the time that the waiter runs, the object may
  // have another one, or be no more.
  class GetOperation final : public sync_internal::Operation {
   public:
    GetOperation(AsyncResult* r, bool take)
        : Operation(&r->getters_), result_(r), take_(take) {}
    bool Try() override {
      if (!result_->outcome_.ready()) return false;
      try {
        Receive();
      } catch (...) {  // by the copy: whoever gets it is told
        outcome = {.exception = std::current_exception()};
      }
      return true;
    }
    void Return() override {
      if (take_ && !result_->outcome_.ready()) result_->SetOutcome(std::move(outcome));
    }
    std::string Describe() const override { return NameOf(result_); }

    Outcome outcome;

   private:
    void Receive() {
      if (take_ && result_->outcome_.value) {
        outcome = std::exchange(result_->outcome_, {});
      } else if constexpr (std::copy_constructible<Value>) {
        outcome = result_->outcome_;
      } else {
        outcome = {.exception = result_->outcome_.exception,
                   .status = result_->outcome_.status};
      }
    }

    AsyncResult* const result_;
    const bool take_;
  };

  static std::string NameOf(AsyncResult* r) {
    return sync_internal::NameOf("AsyncResult", r);
  }

  static Outcome OutcomeOf(const AnyGreenlet& greenlet) {
    absl::Status status = green_internal::OutcomeOf(greenlet.core());
    if (!status.ok()) return {.status = std::move(status)};
    auto* body = dynamic_cast<green_internal::ResultBody<T>*>(greenlet.core()->body);
    GROVE_CHECK(body, "greenlet '", greenlet.name(),
                "' does not return what the AsyncResult that is linked to it has");
    if constexpr (std::is_void_v<T>) {
      return {.value = Nothing()};
    } else {
      return {.value = *body->result};
    }
  }

  void SetOutcome(Outcome outcome) {
    home_.Do([this, outcome = std::move(outcome)]() mutable {
      outcome_ = std::move(outcome);
      // Whoever is told last may destroy this at once, on another hub.
      if (getters_.empty()) return line_.NotifyAll();
      line_.NotifyAll();
      while (auto* op = static_cast<GetOperation*>(getters_.front())) {
        if (!op->Try()) return;  // it was taken by the one before
        getters_.PopFront();
        const bool last = getters_.empty();
        op->Notify();
        if (last) return;
      }
    });
  }

  Result Deliver(GetOperation& op, bool done) {
    if (!done) return absl::DeadlineExceededError(NameOf(this) + " was not set in time");
    if (op.outcome.exception) std::rethrow_exception(op.outcome.exception);
    if (!op.outcome.status.ok()) return op.outcome.status;
    if constexpr (std::is_void_v<T>) {
      return absl::OkStatus();
    } else {
      return *std::move(op.outcome.value);
    }
  }

  Outcome outcome_;
  sync_internal::WaiterList line_;     // for Wait()
  sync_internal::WaiterList getters_;  // for Get() and Take()
  sync_internal::Home home_;           // last: what is on its way arrives first
};

}  // namespace grove

#endif  // GROVE_SYNC_ASYNC_RESULT_H_
