#ifndef GROVE_GREEN_INTERNAL_POOL_OUTCOME_H_
#define GROVE_GREEN_INTERNAL_POOL_OUTCOME_H_

#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "grove/green/greenlet.h"

namespace grove::green_internal {

// PoolOutcome
//
// What a function returned or threw, on its way from one thread to another.
template <typename T>
class PoolOutcome {
  static_assert(!std::is_reference_v<T>, "a task of a thread pool returns a reference");

 public:
  using Result = typename GetResult<T>::type;

  template <typename F>
  void Run(F& fn) noexcept {
    try {
      if constexpr (std::is_void_v<T>) {
        fn();
      } else {
        value_.emplace(fn());
      }
    } catch (...) {
      error_ = std::current_exception();
    }
  }

  const std::exception_ptr& error() const { return error_; }

  Result Get() const& {
    if (error_) std::rethrow_exception(error_);
    if constexpr (std::is_void_v<T>) {
      return absl::OkStatus();
    } else {
      return *value_;
    }
  }
  Result Get() && {
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
    if constexpr (std::is_void_v<T>) {
      return absl::OkStatus();
    } else {
      return *std::move(value_);
    }
  }

 private:
  struct Nothing {};
  std::conditional_t<std::is_void_v<T>, Nothing,
                     std::optional<std::conditional_t<std::is_void_v<T>, Nothing, T>>>
      value_;
  std::exception_ptr error_;
};

}  // namespace grove::green_internal

#endif  // GROVE_GREEN_INTERNAL_POOL_OUTCOME_H_
