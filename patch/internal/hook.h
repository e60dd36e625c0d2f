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

// All that there are, by the file that has them.
absl::Span<Hook* const> IoHooks();
absl::Span<Hook* const> SocketHooks();
absl::Span<Hook* const> SelectHooks();
absl::Span<Hook* const> TimeHooks();
absl::Span<Hook* const> DnsHooks();
absl::Span<Hook* const> ProcessHooks();
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
