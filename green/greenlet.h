#ifndef GROVE_GREEN_GREENLET_H_
#define GROVE_GREEN_GREENLET_H_

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grove/green/internal/core.h"
#include "grove/green/internal/operation.h"
#include "grove/green/internal/scheduler.h"
#include "grove/green/spawn_site.h"
#include "grove/hub/deadline.h"

// Greenlets: functions that run side by side on one thread, each on its own stack, and
// let one another run whenever they wait.
//
//   Greenlet<int> g = Spawn([] { Sleep(absl::Seconds(1)); return 42; });
//   absl::StatusOr<int> answer = g.Get();
//
// A thread needs no preparation: its first blocking call makes its hub, and the thread's
// own stack becomes the main greenlet. A greenlet never leaves its thread.
namespace grove {

// SpawnOptions
struct SpawnOptions {
  // For messages; "greenlet-N" if empty.
  std::string name = {};
  // Bytes of addresses, guard included, rounded up to a power of two; 0 is what the
  // setting `stack_size` says, 256 KiB by default. Memory is used only for pages that
  // are touched.
  size_t stack_size = 0;
};

// KillOptions
struct KillOptions {
  // Thrown instead of GreenletExit; the greenlet then counts as failed by it.
  std::exception_ptr error = nullptr;
  // Kill() waits for the end no longer than this.
  Deadline deadline = {};
};

using LinkId = uint64_t;

namespace green_internal {

// What Get() returns for a function that returns T: errors are joined, not nested.
template <typename T>
struct GetResult {
  using type = absl::StatusOr<T>;
};
template <>
struct GetResult<void> {
  using type = absl::Status;
};
template <>
struct GetResult<absl::Status> {
  using type = absl::Status;
};
template <typename T>
struct GetResult<absl::StatusOr<T>> {
  using type = absl::StatusOr<T>;
};

template <typename T>
class ResultBody : public Body {
 public:
  explicit ResultBody(bool destroys_function)
      : Body({.function = destroys_function,
              .result = !std::is_trivially_destructible_v<T>}) {}

  std::optional<T> result;
};

template <>
class ResultBody<void> : public Body {
 public:
  explicit ResultBody(bool destroys_function)
      : Body({.function = destroys_function, .result = false}) {}
};

// What the greenlet has returned, once it has.
template <typename T>
std::optional<T>& ResultOf(Core* core) {
  return static_cast<ResultBody<T>*>(core->body)->result;
}

template <typename F, typename T>
class FunctionBody final : public ResultBody<T> {
 public:
  template <typename G>
  explicit FunctionBody(G&& fn) : ResultBody<T>(!std::is_trivially_destructible_v<F>) {
    ::new (static_cast<void*>(&fn_)) F(std::forward<G>(fn));
  }
  ~FunctionBody() override {}  // DropFunction() has been called

  void Invoke() override {
    if constexpr (std::is_void_v<T>) {
      fn_();
    } else {
      this->result.emplace(fn_());
    }
  }
  void DropFunction() override { fn_.~F(); }

 private:
  // A union, so that the function can be destroyed when it has run, not with the rest.
  union {
    F fn_;
  };
};

// The wait for a greenlet's end. Who waits keeps the greenlet's block alive.
class JoinOperation final : public Operation {
 public:
  explicit JoinOperation(Core* target) : Operation(&target->joiners), target_(target) {}
  bool Try() override { return target_->finished; }
  std::string Describe() const override;
  Core* target() const { return target_; }

 private:
  Core* const target_;
};

// Out of line: what does not depend on the types, and is not in a hurry.
void CheckJoinable(const Core* core);  // neither the current nor a main one
bool JoinUntil(Core* core, Deadline deadline);
void Kill(Core* core, KillOptions options, bool wait);
void Throw(Core* core, std::exception_ptr error);
absl::Status OutcomeOf(Core* core);  // throws what the greenlet threw
bool IsShared(const Core* core);     // there are other handles, or links
LinkId AddLink(Core* core, LinkOn on, bool raw, absl::AnyInvocable<void(Core*)> fn);
void LinkWithId(Core* core, LinkId id, LinkOn on, absl::AnyInvocable<void(Core*)> raw);
bool RemoveLink(Core* core, LinkId id);
Extras& ExtrasOf(Core* core);
void StartLater(Core* core, absl::Duration after);
Core* ParentOf(Core* core);  // null if it has ended
void CheckHome(const Core* core, const char* operation);
std::string LabelAnywhere(const Core* core);  // on other hubs without its name

// Inline up to the switch. A return after a switch goes where the processor does not
// expect it (its return predictor follows calls, not stacks): the fewer the better.
[[gnu::always_inline]] inline bool Join(Core* core, Deadline deadline) {
  Scheduler* s = core->scheduler;
  if (ABSL_PREDICT_FALSE(!s->on_home_thread() || core->finished || !deadline.infinite() ||
                         core == s->current() || core == s->main())) {
    return JoinUntil(core, deadline);
  }
  JoinOperation join(core);
  join.WaitsFor(s->current());
  join.Enlist();
  s->Park(&join);
  return true;
}

// Where in a stack a body begins: below the top by an offset that varies from stack to
// stack, or the frames of thousands of greenlets would compete for the same few cache
// sets. All offsets leave room on the top page for the frames of one that sleeps.
inline size_t Colour(uint32_t index) { return (index * 7u % 16u) * 64u; }

template <typename F, typename T>
Core* NewCore(Scheduler& s, size_t stack_size, F&& fn, SpawnSite site) {
  using Impl = FunctionBody<std::decay_t<F>, T>;
  static_assert(
      sizeof(Impl) <= kMinStackSize - kGuardSize - 8192,
      "what this function captures is too large for a stack; capture a pointer");
  static_assert(alignof(Impl) <= 64, "what this function captures is aligned too far");
  const Stack stack = s.TakeStack(stack_size);
  const uintptr_t top = reinterpret_cast<uintptr_t>(stack.top());
  void* where = reinterpret_cast<void*>((top - Colour(stack.index) - sizeof(Impl)) &
                                        ~uintptr_t{63});
  Impl* body;
  try {
    body = ::new (where) Impl(std::forward<F>(fn));
  } catch (...) {  // a copy of what it captures
    s.GiveStack(stack);
    throw;
  }
  return s.Adopt(body, stack, site);
}

}  // namespace green_internal

// AnyGreenlet
//
// A handle to a greenlet whose function may return anything. Copies refer to the same
// greenlet. Dropping the last handle does not end the greenlet: it goes on, detached.
// A handle keeps the greenlet's stack: drop those of greenlets that have ended.
//
// Threads: any. From another hub, or a thread, what is asked travels to the greenlet's
// own hub by mail: Join(), Get() and Kill() wait for it there, as they do at home;
// KillSoon() and Throw() arrive soon; a link is called on the hub that asked for it. A
// greenlet whose hub has ended counts as ended, and Get() returns kCancelled. Only at
// home: set_name(), parent(), and name() until it has ended; elsewhere these are a fatal
// error that names both hubs.
class AnyGreenlet {
 public:
  // Refers to nothing: only assignment, destruction and bool.
  AnyGreenlet() = default;
  AnyGreenlet(const AnyGreenlet& other) : core_(other.core_) {
    if (core_) green_internal::Scheduler::AddRef(core_);
  }
  AnyGreenlet(AnyGreenlet&& other) noexcept
      : core_(std::exchange(other.core_, nullptr)) {}
  AnyGreenlet& operator=(AnyGreenlet other) noexcept {
    std::swap(core_, other.core_);
    return *this;
  }
  ~AnyGreenlet() {
    if (core_) green_internal::Scheduler::Unref(core_);
  }

  // AnyGreenlet::Join()
  //
  // Waits until the greenlet has ended, in whatever way. True if it has.
  //
  // Blocks: until then. Joining oneself is a fatal error, as is joining what is on
  // another hub from a loop callback.
  // Deadline: returns false.
  // Kill: throws; the greenlet that was waited for is unaffected.
  [[gnu::always_inline]] bool Join(Deadline deadline = {}) const {
    return green_internal::Join(core_, deadline);
  }

  // AnyGreenlet::Kill()
  //
  // Tells the greenlet to stop, by GreenletExit at its blocking call, and waits for its
  // end. One that has not begun never will, and has ended at once; one that has ended is
  // left alone. Errors of the greenlet do not come out of here. Killing oneself throws.
  //
  // Blocks: until the greenlet has ended.
  // Deadline: options.deadline; then returns, and the kill stays in force.
  // Kill: throws; the kill that was asked for stays in force.
  void Kill(KillOptions options = {}) const {
    green_internal::Kill(core_, std::move(options), /*wait=*/true);
  }

  // AnyGreenlet::KillSoon()
  //
  // As Kill(), without waiting. Does not block, even for oneself: the next blocking call
  // throws.
  void KillSoon(std::exception_ptr error = nullptr) const {
    green_internal::Kill(core_, {.error = std::move(error)}, /*wait=*/false);
  }

  // AnyGreenlet::Throw()
  //
  // Lets the greenlet's blocking call, or its next one, throw `error`, once. Does not
  // wait. One that has not begun ends by it without running. A second one before the
  // first was thrown replaces it.
  void Throw(std::exception_ptr error) const {
    green_internal::Throw(core_, std::move(error));
  }

  // What has become of it. A greenlet is `started` once its function was called, `ready`
  // once it has ended; `successful` if it ended by returning or by GreenletExit.
  bool ready() const { return core_->finished; }
  // Elsewhere, the rest is known once it is ready.
  bool started() const { return core_->started; }
  bool successful() const { return core_->finished && !core_->error; }
  // Whether it ended by GreenletExit, or before it began.
  bool killed() const { return core_->killed; }
  // What it threw; null if nothing.
  std::exception_ptr exception() const { return core_->error; }

  // Unique within its hub.
  uint64_t id() const { return core_->id; }
  std::string name() const {
    if (!core_->finished && !core_->scheduler->ended()) {
      green_internal::CheckHome(core_, "name()");
    }
    return core_->name();
  }
  void set_name(std::string name) const {
    green_internal::CheckHome(core_, "set_name()");
    core_->SetName(std::move(name));
  }
  SpawnSite spawn_site() const { return core_->site; }
  // The id of the greenlet that spawned it; 0 for a main greenlet.
  uint64_t parent_id() const { return core_->parent_id; }
  // AnyGreenlet::parent()
  //
  // The greenlet that spawned it, if that has not ended; else refers to nothing. The main
  // greenlet stands for the hub's callbacks too. A search among all that live: for
  // looking inside.
  AnyGreenlet parent() const {
    green_internal::Core* parent = green_internal::ParentOf(core_);
    return parent ? FromCore(parent, /*add_ref=*/true) : AnyGreenlet();
  }

  // AnyGreenlet::Link() and the like
  //
  // Calls `fn` once the greenlet has ended, also if it has already, in the order in which
  // links were added: Link() in a new greenlet, RawLink() on the hub's stack, where it
  // must not block. LinkValue() only if it was successful, LinkException() only if not.
  // From another hub: there. A thread without a hub is a fatal error.
  LinkId Link(absl::AnyInvocable<void(const AnyGreenlet&)> fn) const {
    return AddLink(green_internal::LinkOn::kAlways, false, std::move(fn));
  }
  LinkId LinkValue(absl::AnyInvocable<void(const AnyGreenlet&)> fn) const {
    return AddLink(green_internal::LinkOn::kValue, false, std::move(fn));
  }
  LinkId LinkException(absl::AnyInvocable<void(const AnyGreenlet&)> fn) const {
    return AddLink(green_internal::LinkOn::kException, false, std::move(fn));
  }
  LinkId RawLink(absl::AnyInvocable<void(const AnyGreenlet&)> fn) const {
    return AddLink(green_internal::LinkOn::kAlways, true, std::move(fn));
  }
  // AnyGreenlet::Unlink()
  //
  // False if there is no such link (any more). Of a link from another hub: whether it
  // will not be called any more, which that greenlet's hub is asked for.
  bool Unlink(LinkId id) const { return green_internal::RemoveLink(core_, id); }

  explicit operator bool() const { return core_ != nullptr; }
  friend bool operator==(const AnyGreenlet&, const AnyGreenlet&) = default;

  // For the layers above.
  green_internal::Core* core() const { return core_; }
  static AnyGreenlet FromCore(green_internal::Core* core, bool add_ref) {
    if (add_ref) green_internal::Scheduler::AddRef(core);
    AnyGreenlet g;
    g.core_ = core;
    return g;
  }

 protected:
  LinkId AddLink(green_internal::LinkOn on, bool raw,
                 absl::AnyInvocable<void(const AnyGreenlet&)> fn) const {
    return green_internal::AddLink(
        core_, on, raw, [fn = std::move(fn)](green_internal::Core* core) mutable {
          fn(FromCore(core, /*add_ref=*/true));
        });
  }

  green_internal::Core* core_ = nullptr;
};

// Greenlet
//
// A handle to a greenlet whose function returns T.
template <typename T = void>
class Greenlet : public AnyGreenlet {
 public:
  // What Get() returns: absl::StatusOr<T>; absl::Status for void and for absl::Status;
  // and a StatusOr is not wrapped in another.
  using Result = typename green_internal::GetResult<T>::type;

  Greenlet() = default;

  // Greenlet::Get()
  //
  // Waits for the greenlet's end and returns what its function returned. If it threw,
  // throws the same; if it was killed, returns kCancelled. On an rvalue, moves the result
  // out, unless other handles or links may want it and it can be copied.
  //
  // Blocks: until the greenlet has ended.
  // Deadline: returns kDeadlineExceeded.
  // Kill: throws.
  Result Get(Deadline deadline = {}) const& requires(std::is_void_v<T> ||
                                                     std::copy_constructible<T>) {
    if (!Join(deadline)) return NotYet();
    absl::Status outcome = green_internal::OutcomeOf(core_);
    if constexpr (std::is_void_v<T>) {
      return outcome;
    } else {
      if (!outcome.ok()) return outcome;
      return *result();
    }
  }

  Result Get(Deadline deadline = {}) && {
    if (!Join(deadline)) return NotYet();
    absl::Status outcome = green_internal::OutcomeOf(core_);
    if constexpr (std::is_void_v<T>) {
      return outcome;
    } else {
      if (!outcome.ok()) return outcome;
      if constexpr (std::copy_constructible<T>) {
        if (green_internal::IsShared(core_)) return *result();
      }
      return *std::move(result());
    }
  }

  // For Spawn().
  explicit Greenlet(green_internal::Core* core) { core_ = core; }

 private:
  absl::Status NotYet() const {
    return absl::DeadlineExceededError(green_internal::LabelAnywhere(core_) +
                                       " has not ended in time");
  }
  auto& result() const { return green_internal::ResultOf<T>(core_); }
};

// Spawn()
//
// Lets `fn` run in a new greenlet of this thread's hub, behind all that is ready. `fn`
// takes no arguments; capture them. What it captures is destroyed when it has ended. An
// exception that leaves it is reported on stderr (see SetErrorHandler) and thrown by
// Get().
//
// Does not block. Dies with a message that names the limit if there is no stack left.
template <typename F>
auto Spawn(F&& fn, SpawnSite site = SpawnSite::Here())
    -> Greenlet<std::invoke_result_t<std::decay_t<F>&>> {
  using T = std::invoke_result_t<std::decay_t<F>&>;
  green_internal::Scheduler& s = green_internal::Scheduler::Get();
  green_internal::Core* core =
      green_internal::NewCore<F, T>(s, 0, std::forward<F>(fn), site);
  s.Start(core);
  return Greenlet<T>(core);
}

template <typename F>
auto Spawn(const SpawnOptions& options, F&& fn, SpawnSite site = SpawnSite::Here())
    -> Greenlet<std::invoke_result_t<std::decay_t<F>&>> {
  using T = std::invoke_result_t<std::decay_t<F>&>;
  green_internal::Scheduler& s = green_internal::Scheduler::Get();
  green_internal::Core* core =
      green_internal::NewCore<F, T>(s, options.stack_size, std::forward<F>(fn), site);
  if (!options.name.empty()) core->SetName(options.name);
  s.Start(core);
  return Greenlet<T>(core);
}

// CanSpawn()
//
// Whether there are stacks, of the default size, for one greenlet more and for some that
// it may need in its turn. Where the system gives no more (before Linux 6.13 it is
// vm.max_map_count that says so, at some 32,000 greenlets), Spawn() ends the process: who
// spawns at the bidding of strangers asks before, as grove's servers do.
//
// Does not block.
inline bool CanSpawn() {
  constexpr size_t kWithHelpers = 16;
  return green_internal::Scheduler::Get().HasStacks(kWithHelpers);
}

// SpawnLater()
//
// As Spawn(), once `after` has passed. Killed before that, it never runs.
template <typename F>
auto SpawnLater(absl::Duration after, F&& fn, SpawnSite site = SpawnSite::Here())
    -> Greenlet<std::invoke_result_t<std::decay_t<F>&>> {
  using T = std::invoke_result_t<std::decay_t<F>&>;
  green_internal::Scheduler& s = green_internal::Scheduler::Get();
  green_internal::Core* core =
      green_internal::NewCore<F, T>(s, 0, std::forward<F>(fn), site);
  green_internal::StartLater(core, after);
  return Greenlet<T>(core);
}

// CurrentGreenlet()
//
// The one that runs. For a thread's own stack, its main greenlet, which can be killed and
// named, but neither joined nor asked for a result.
AnyGreenlet CurrentGreenlet();

// UnhandledException
//
// A greenlet whose function threw.
struct UnhandledException {
  AnyGreenlet greenlet;
  std::exception_ptr error;
};

// SetErrorHandler()
//
// What this thread's hub does with an exception that leaves a greenlet or a link, in
// place of a line on stderr. GreenletExit is none. The handler must not block; what it
// throws is reported and goes no further. An empty function sets the default again.
void SetErrorHandler(absl::AnyInvocable<void(const UnhandledException&)> handler);

}  // namespace grove

#endif  // GROVE_GREEN_GREENLET_H_
