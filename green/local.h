#ifndef GROVE_GREEN_LOCAL_H_
#define GROVE_GREEN_LOCAL_H_

#include <concepts>
#include <functional>
#include <type_traits>
#include <typeinfo>
#include <utility>

#include "absl/base/optimization.h"
#include "absl/functional/function_ref.h"
#include "grove/green/greenlet.h"
#include "grove/green/internal/local_slots.h"
#include "grove/green/internal/scheduler.h"
#include "grove/green/spawn_site.h"

namespace grove {

// GreenletLocal
//
// A value for each greenlet, as thread_local is one for each thread. It is made when the
// greenlet first asks for it, by T's default constructor or by a function, and costs
// greenlets that never ask nothing.
//
//   static GreenletLocal<std::string> buffer;
//   static GreenletLocal<Random> random([] { return Random(NewSeed()); });
//
//   buffer->clear();
//   int n = random->Next();
//
// A value is destroyed when its greenlet ends: after what the function captured, before
// those who join are woken and links run, the last one made first. For a main greenlet
// that is the hub's end. It is also destroyed with the GreenletLocal, if that comes
// first. Destructors may block, and are not interrupted; so may the function that makes a
// value, and that is.
//
// What is inherited by greenlets that are spawned is a ContextKey. In a function that the
// hub calls (posted functions, timers) the value is the hub's own.
//
// Threads: any, each with the values of its own greenlets; the function that makes values
// may be called on several at once. When a GreenletLocal is destroyed, values of other
// hubs' greenlets stay until those end: nobody can reach them any more. None of it may be
// in use anywhere at that moment. When the process exits, values are left as they are, as
// the greenlets are.
template <typename T>
class GreenletLocal {
 public:
  explicit GreenletLocal(
      SpawnSite site = SpawnSite::Here()) requires std::default_initializable<T>
      : key_(site) {}
  explicit GreenletLocal(std::function<T()> make, SpawnSite site = SpawnSite::Here())
      : key_(site), make_(std::move(make)) {}
  GreenletLocal(const GreenletLocal&) = delete;
  GreenletLocal& operator=(const GreenletLocal&) = delete;

  // GreenletLocal::get(), * and ->
  //
  // The current greenlet's value. Valid until the greenlet ends, or Reset().
  //
  // Blocks: as the function that makes the value does, if it has to be made.
  // Kill: throws then, and no value is made.
  T& get() {
    green_internal::Core* core = green_internal::Scheduler::Get().current();
    green_internal::LocalBox* box = key_.Find(core);
    if (ABSL_PREDICT_TRUE(box != nullptr)) return static_cast<Box*>(box)->value;
    return Make(core);
  }
  T& operator*() { return get(); }
  T* operator->() { return &get(); }

  // GreenletLocal::Has()
  //
  // Whether the current greenlet's value has been made.
  bool Has() const {
    const auto* s = green_internal::Scheduler::GetIfExists();
    return s && key_.Find(s->current()) != nullptr;
  }

  // GreenletLocal::Reset()
  //
  // Destroys the current greenlet's value; the next use makes it anew.
  //
  // Blocks: as the value's destructor does, which is not interrupted.
  void Reset() {
    if (const auto* s = green_internal::Scheduler::GetIfExists()) key_.Drop(s->current());
  }

 private:
  struct Box final : green_internal::LocalBox {
    Box() = default;
    explicit Box(const std::function<T()>& make) : value(make()) {}
    const std::type_info& type() const override { return typeid(T); }
    const void* address() const override { return &value; }
    T value{};
  };

  [[gnu::noinline]] T& Make(green_internal::Core* core) {
    Box* box;
    if constexpr (std::is_default_constructible_v<T>) {
      box = make_ ? new Box(make_) : new Box;
    } else {
      box = new Box(make_);
    }
    key_.Add(core, box);
    return box->value;
  }

  green_internal::LocalKey key_;
  const std::function<T()> make_;
};

// LocalInfo
//
// A value of a GreenletLocal, for people.
struct LocalInfo {
  const char* type;   // mangled, as std::type_info has it
  SpawnSite made_at;  // where the GreenletLocal is
  const void* value;
};

// ForEachLocal()
//
// The values that a greenlet of this thread's hub has now, the last one made first. `fn`
// must not make or drop any of them.
void ForEachLocal(const AnyGreenlet& greenlet,
                  absl::FunctionRef<void(const LocalInfo&)> fn);

}  // namespace grove

#endif  // GROVE_GREEN_LOCAL_H_
