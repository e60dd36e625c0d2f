#ifndef GROVE_PATCH_INTERNAL_HOOK_H_
#define GROVE_PATCH_INTERNAL_HOOK_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/base/optimization.h"
#include "absl/types/span.h"
#include "grove/green/internal/scheduler.h"
#include "grove/patch/module.h"

namespace grove::patch::patch_internal {

// PassedCalls
//
// How often each hook has passed a call on to the original: on threads without a hub, in
// callbacks of the loop, inside of Unpatched. Threads may do so all at once, so that each
// counts in one of some tables, and Report() adds them up. Of two threads that share a
// table one may be missed at times.
class PassedCalls {
 public:
  static constexpr size_t kMostHooks = 512;

  static void Count(size_t hook) {
    Table* table = mine_;
    if (ABSL_PREDICT_FALSE(table == nullptr)) table = mine_ = NextTable();
    auto& count = table->of[hook];
    count.store(count.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }
  static uint64_t Of(size_t hook) {
    uint64_t sum = 0;
    for (const Table& t : tables_) sum += t.of[hook].load(std::memory_order_relaxed);
    return sum;
  }

 private:
  static constexpr size_t kTables = 16;
  struct alignas(64) Table {
    std::atomic<uint64_t> of[kMostHooks];
  };

  // Each thread's in turn.
  static Table* NextTable() {
    static constinit std::atomic<size_t> next = 0;
    return &tables_[next.fetch_add(1, std::memory_order_relaxed) % kTables];
  }

  static inline constinit Table tables_[kTables] = {};
  [[gnu::tls_model("initial-exec")]] static inline constinit thread_local Table* mine_ =
      nullptr;
};

// Hook
//
// A function of libc, and what is called in its place.
struct Hook {
  constexpr Hook(const char* n, Module m, void* (*r)(const Hook&))
      : name(n), module(m), replacement_of(r) {}
  Hook(const char* n, void* f) : name(n), module(Module::kUser), user_function(f) {}
  Hook(const Hook&) = delete;
  Hook& operator=(const Hook&) = delete;

  void* replacement() const {
    return replacement_of ? replacement_of(*this) : user_function;
  }

  const char* name;
  Module module;
  void* (*replacement_of)(const Hook& hook) = nullptr;
  void* user_function = nullptr;  // of PatchModule()
  // Null until the first slot is about to be patched; nothing calls the replacement
  // before. It is what the program would have called, which may be a sanitizer's.
  void* original = nullptr;

  // How often a greenlet has called it, and how often that had to wait. Counted without a
  // lock: of two hubs at the same moment one may be missed.
  std::atomic<uint64_t> calls = 0;
  std::atomic<uint64_t> waits = 0;

  // Whether it is patched in all objects, and not in some that were imported.
  std::atomic<bool> everywhere = false;

  // Where PassedCalls counts it.
  size_t number = 0;

  void CountCall() { Count(calls); }
  void CountWait() { Count(waits); }

 private:
  static void Count(std::atomic<uint64_t>& counter) {
    counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }
};

// HookOf
//
// With the function's type.
//
//   ssize_t Recv(int fd, void* buffer, size_t size, int flags);
//   constinit HookOf recv_hook("recv", Module::kSocket, &Recv);
template <typename Result, typename... Args>
class HookOf : public Hook {
 public:
  constexpr HookOf(const char* name, Module module, Result (*function)(Args...))
      : Hook(name, module,
             [](const Hook& hook) {
               return reinterpret_cast<void*>(static_cast<const HookOf&>(hook).function_);
             }),
        function_(function) {}

  Result Original(Args... args) const {
    return reinterpret_cast<Result (*)(Args...)>(original)(args...);
  }

 private:
  Result (*const function_)(Args...);
};

// HookOfVariadic
//
// Of a function such as printf(3), which is called through its twin with a va_list.
template <typename Function>
class HookOfVariadic : public Hook {
 public:
  constexpr HookOfVariadic(const char* name, Module module, Function* function)
      : Hook(name, module,
             [](const Hook& hook) {
               return reinterpret_cast<void*>(
                   static_cast<const HookOfVariadic&>(hook).function_);
             }),
        function_(function) {}

 private:
  Function* const function_;
};

// The scheduler of the greenlet that calls, if the call is to cooperate: not on a thread
// without a hub, not in callbacks of the loop, and not inside of Unpatched.
inline green_internal::Scheduler* Cooperating() {
  green_internal::Scheduler* s = green_internal::Scheduler::GetIfExists();
  if (s == nullptr) return nullptr;
  if (ABSL_PREDICT_FALSE(s->on_loop_stack() || s->current()->unpatched != 0)) {
    return nullptr;
  }
  return s;
}

// And counts those of `hook` that are not to.
inline green_internal::Scheduler* Cooperating(const Hook& hook) {
  green_internal::Scheduler* const s = Cooperating();
  if (s == nullptr) PassedCalls::Count(hook.number);
  return s;
}

// Whether this thread has no hub, and `hook` nothing to do but to call the original:
// known in a few instructions. Counts it then.
inline bool IsOutside(const Hook& hook) {
  if (green_internal::Scheduler::GetIfExists() != nullptr) return false;
  PassedCalls::Count(hook.number);
  return true;
}

// All that there are, by the file that has them.
absl::Span<Hook* const> IoHooks();
absl::Span<Hook* const> SocketHooks();
absl::Span<Hook* const> SelectHooks();
absl::Span<Hook* const> TimeHooks();
absl::Span<Hook* const> DnsHooks();
absl::Span<Hook* const> ProcessHooks();
absl::Span<Hook* const> CredentialsHooks();
absl::Span<Hook* const> ThreadHooks();
absl::Span<Hook* const> CleanupHooks();
absl::Span<Hook* const> KeyHooks();
absl::Span<Hook* const> MutexHooks();
absl::Span<Hook* const> RwLockHooks();
absl::Span<Hook* const> SemaphoreHooks();
absl::Span<Hook* const> ConditionHooks();
absl::Span<Hook* const> FutexHooks();
absl::Span<Hook* const> SignalHooks();
absl::Span<Hook* const> C11Hooks();
absl::Span<Hook* const> FileLockHooks();
absl::Span<Hook* const> IpcHooks();
absl::Span<Hook* const> SpliceHooks();
absl::Span<Hook* const> ResolverHooks();
absl::Span<Hook* const> StdioLockHooks();
absl::Span<Hook* const> StdioReadHooks();
absl::Span<Hook* const> StdioWriteHooks();
// Of all those files.
std::vector<Hook*> AllHooks();

}  // namespace grove::patch::patch_internal

#endif  // GROVE_PATCH_INTERNAL_HOOK_H_
