#ifndef GROVE_GREEN_OFFLOAD_H_
#define GROVE_GREEN_OFFLOAD_H_

#include <functional>
#include <memory>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grove/green/internal/turns.h"
#include "grove/green/thread_pool.h"
#include "grove/green/timeout.h"
#include "grove/hub/deadline.h"
#include "grove/hub/internal/check.h"

namespace grove {

// OffloadOptions
struct OffloadOptions {
  // Whether calls of one object are made one after the other, first come first served, as
  // most objects need it. Without, as many at a time as the pool has threads.
  bool serialised = true;
};

// Offload
//
// An object whose methods block, used from greenlets: each call is made on a thread of a
// pool, while its greenlet waits.
//
//   absl::StatusOr<Offload<Db>> db = MakeOffload<Db>(pool, "/var/lib/app.db");
//   absl::StatusOr<Rows> rows = db->Call(&Db::Query, "select 1");
//   db->With([&](Db& d) { d.Begin(); d.Insert(row); d.Commit(); }).IgnoreError();
//
// Which thread it is differs from call to call. Waiting for its turn, a call holds no
// thread. What a method returns is moved or copied on the thread; an Offload of a result
// is made from it: Offload<Cursor>(&pool, *std::move(cursor)).
//
// Threads: belongs to the hub of its first use; elsewhere it is a fatal error, on the
// pool's own threads as well. The pool has to outlive it.
template <typename T>
class Offload {
 public:
  Offload(ThreadPool* pool, std::unique_ptr<T> object, OffloadOptions options = {})
      : state_(std::make_unique<State>(pool, std::move(object), options.serialised)) {}
  Offload(Offload&&) = default;
  Offload& operator=(Offload&&) = default;
  // Waits, shielded, for its turn; then the object is destroyed on a thread of the pool,
  // or right here if the pool was shut down. No calls may be under way or to come.
  ~Offload() = default;

  // Offload::With()
  //
  // Calls fn(object) on a thread. Contract and results as ThreadPool::Apply(); a
  // reference that `fn` returns is copied.
  //
  // Blocks: until it is this call's turn, and `fn` has ended.
  // Deadline: for `fn` to begin. Kill: as Apply().
  template <typename F>
  auto With(F&& fn, Deadline deadline = {}) -> typename green_internal::GetResult<
      std::decay_t<std::invoke_result_t<F&, T&>>>::type {
    using R = std::decay_t<std::invoke_result_t<F&, T&>>;
    const Turn turn(state_.get(), deadline);
    if (!turn.taken) {
      return absl::DeadlineExceededError("an offloaded object was in use all the time");
    }
    return state_->pool->Apply([&]() -> R { return fn(*state_->object); }, deadline);
  }

  // Offload::Call()
  //
  // Calls a method: object.*method(args...). The arguments may refer to the caller's
  // variables.
  template <typename Method, typename... Args>
  auto Call(Method method, Args&&... args) {
    return With([&](T& object) -> decltype(auto) {
      return std::invoke(method, object, std::forward<Args>(args)...);
    });
  }

 private:
  struct State {
    State(ThreadPool* p, std::unique_ptr<T> o, bool s)
        : pool(p), object(std::move(o)), serialised(s) {
      GROVE_CHECK(object != nullptr, "an Offload of no object");
    }
    ~State() {
      Shield shield;
      const Turn turn(this, {});
      pool->Apply([this] { object.reset(); }).IgnoreError();
    }

    ThreadPool* const pool;
    std::unique_ptr<T> object;
    const bool serialised;
    green_internal::Turns turns{"the turn to use an offloaded object"};
  };
  struct Turn {
    Turn(State* s, Deadline deadline)
        : state(s), taken(!s->serialised || s->turns.Take(deadline)) {}
    ~Turn() {
      if (state->serialised && taken) state->turns.Leave();
    }
    State* const state;
    const bool taken;
  };

  std::unique_ptr<State> state_;
};

// MakeOffload()
//
// Makes the object on a thread of the pool, too: T(args...). What its constructor throws
// is thrown.
//
// Blocks: until it is made. Kill: as ThreadPool::Apply().
template <typename T, typename... Args>
absl::StatusOr<Offload<T>> MakeOffload(ThreadPool& pool, Args&&... args) {
  absl::StatusOr<std::unique_ptr<T>> object =
      pool.Apply([&] { return std::make_unique<T>(std::forward<Args>(args)...); });
  if (!object.ok()) return object.status();
  return Offload<T>(&pool, *std::move(object));
}

}  // namespace grove

#endif  // GROVE_GREEN_OFFLOAD_H_
