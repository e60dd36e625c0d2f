#ifndef GROVE_GREEN_CONTEXT_H_
#define GROVE_GREEN_CONTEXT_H_

#include <memory>
#include <type_traits>
#include <utility>

#include "grove/green/internal/core.h"
#include "grove/green/internal/inherited.h"

// Values that a greenlet hands on to what it spawns: the trace id of a request, who is
// logged in, a deadline (deadline_scope.h).
//
//   const ContextKey<std::string> kTraceId;
//
//   void Serve(Request request) {
//     ContextScope scope(kTraceId, request.id());
//     Spawn([] { Log(*kTraceId.Get()); });    // has it too, as has what that spawns
//   }
//
// Not for values that a greenlet changes and keeps to itself: those are GreenletLocal.
namespace grove {

// Context
//
// All values that are in force, as one. A greenlet begins with what the one that spawned
// it had at that moment; what either sets later, the other does not see. With nothing
// set, a spawn copies a null pointer.
//
//   Context context = Context::Current();
//   other_hub.Post([context] { context.Run([] { Spawn(&Work); }); }).IgnoreError();
//
// What the hub calls (posted functions, timers, links) has an empty one.
//
// Threads: any; a Context never changes, and its values are shared by all who have it.
// The last who has it destroys them, wherever that is: they should not block when they
// end.
class Context {
 public:
  // Without values.
  Context() = default;

  // Context::Current()
  //
  // That of the greenlet that runs. Empty on a thread without a hub.
  static Context Current();

  // Context::Run()
  //
  // Calls `fn` under this context, in place of the current one, and returns what it
  // returns. What is spawned there inherits from this one. A deadline in it holds for
  // those, and is seen by CurrentDeadline(), but does not interrupt `fn` itself.
  //
  // Blocks: as `fn` does.
  template <typename F>
  std::invoke_result_t<F> Run(F&& fn) const;

  bool empty() const { return !values_; }
  friend bool operator==(const Context&, const Context&) = default;

  // For the layers above.
  explicit Context(green_internal::InheritedRef values) : values_(std::move(values)) {}
  const green_internal::InheritedRef& values() const { return values_; }

 private:
  green_internal::InheritedRef values_;
};

namespace green_internal {

// What is in force here; null if nothing.
const Inherited* CurrentInherited();

}  // namespace green_internal

// ContextKey
//
// Names a value. Meant to be static: each one that is made is another key.
//
// Threads: any.
template <typename T>
class ContextKey {
 public:
  ContextKey() : id_(green_internal::InheritedRef::NewKey()) {}
  ContextKey(const ContextKey&) = delete;
  ContextKey& operator=(const ContextKey&) = delete;

  // ContextKey::Get()
  //
  // The value that is in force; null if there is none. Valid for as long as it is in
  // force.
  const T* Get() const { return Find(green_internal::CurrentInherited()); }

  // ContextKey::GetOr()
  //
  // A copy of it, or `otherwise`.
  T GetOr(T otherwise) const {
    const T* value = Get();
    return value ? *value : std::move(otherwise);
  }

  // ContextKey::In()
  //
  // The value in a context that was captured.
  const T* In(const Context& context) const { return Find(context.values().get()); }

  uint64_t id() const { return id_; }

 private:
  const T* Find(const green_internal::Inherited* values) const {
    return values ? static_cast<const T*>(values->Find(id_)) : nullptr;
  }

  const uint64_t id_;
};

// ContextScope
//
// Sets a value, or a whole context, for what this greenlet does and spawns while the
// scope lasts. Scopes nest, and end in the reverse order, in the greenlet that made them;
// else that is a fatal error.
//
// Threads: belongs to the greenlet that made it. Makes the thread's hub, if need be.
class ContextScope {
 public:
  template <typename T, typename U = T>
  ContextScope(const ContextKey<T>& key, U&& value)
      : ContextScope(key.id(), std::make_shared<const T>(std::forward<U>(value))) {}
  explicit ContextScope(Context context);
  ContextScope(const ContextScope&) = delete;
  ContextScope& operator=(const ContextScope&) = delete;
  ~ContextScope();

 private:
  ContextScope(uint64_t key, std::shared_ptr<const void> value);
  void Enter(green_internal::InheritedRef values);

  green_internal::Core* const core_;
  const green_internal::Inherited* entered_ = nullptr;
  green_internal::InheritedRef before_;
};

template <typename F>
std::invoke_result_t<F> Context::Run(F&& fn) const {
  ContextScope scope(*this);
  return std::forward<F>(fn)();
}

}  // namespace grove

#endif  // GROVE_GREEN_CONTEXT_H_
