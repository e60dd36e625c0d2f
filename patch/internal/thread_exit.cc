#include "grove/patch/internal/thread_exit.h"

#include <setjmp.h>

#include <cstdint>

#include "grove/hub/internal/check.h"
#include "grove/patch/internal/hook.h"

namespace grove::patch::patch_internal {
namespace {

using green_internal::Scheduler;

using Handler = __pthread_unwind_buf_t;

// What pthread_cleanup_push() and _pop() come to in C (pthread.h).
void Register(Handler* handler);
void Unregister(Handler* handler);
void RegisterDeferred(Handler* handler);
void UnregisterRestoring(Handler* handler);
void UnwindNext(Handler* handler);

constinit HookOf register_hook("__pthread_register_cancel", Module::kThread, &Register);
constinit HookOf unregister_hook("__pthread_unregister_cancel", Module::kThread,
                                 &Unregister);
constinit HookOf register_defer_hook("__pthread_register_cancel_defer", Module::kThread,
                                     &RegisterDeferred);
constinit HookOf unregister_restore_hook("__pthread_unregister_cancel_restore",
                                         Module::kThread, &UnregisterRestoring);
constinit HookOf unwind_next_hook("__pthread_unwind_next", Module::kThread, &UnwindNext);

Hook* const hooks[] = {&register_hook, &unregister_hook, &register_defer_hook,
                       &unregister_restore_hook, &unwind_next_hook};

void RegisterIn(const HookOf<void, Handler*>& hook, Handler* handler) {
  ThreadCleanup* cleanup = ThreadCleanup::OfCurrent();
  cleanup ? cleanup->Push(handler) : hook.Original(handler);
}
void UnregisterIn(const HookOf<void, Handler*>& hook, Handler* handler) {
  ThreadCleanup* cleanup = ThreadCleanup::OfCurrent();
  if (cleanup == nullptr || !cleanup->Pop(handler)) hook.Original(handler);
}

void Register(Handler* handler) { RegisterIn(register_hook, handler); }
void Unregister(Handler* handler) { UnregisterIn(unregister_hook, handler); }
// A thread is cancelled at calls that wait only, so these are the same.
void RegisterDeferred(Handler* handler) { RegisterIn(register_defer_hook, handler); }
void UnregisterRestoring(Handler* handler) {
  UnregisterIn(unregister_restore_hook, handler);
}

void UnwindNext(Handler* handler) {
  ThreadCleanup* cleanup = ThreadCleanup::OfCurrent();
  if (cleanup == nullptr) return unwind_next_hook.Original(handler);
  cleanup->EndNext();
}

// The older one.
void*& Next(Handler* handler) { return handler->__pad[0]; }

// Called for each frame, from the innermost on, whose destructors are run then: until the
// one that has the handler, which lies in it, was left.
_Unwind_Reason_Code AtFrame(int, _Unwind_Action actions, _Unwind_Exception_Class,
                            _Unwind_Exception*, _Unwind_Context* context, void* arg) {
  auto* const handler = static_cast<Handler*>(arg);
  if ((actions & _UA_END_OF_STACK) != 0 ||
      _Unwind_GetCFA(context) > reinterpret_cast<uintptr_t>(handler)) {
    siglongjmp(reinterpret_cast<__jmp_buf_tag*>(handler->__cancel_jmp_buf), 1);
  }
  return _URC_NO_REASON;
}

}  // namespace

void ThreadCleanup::Push(Handler* handler) {
  Next(handler) = newest_;
  newest_ = handler;
}

bool ThreadCleanup::Pop(const Handler* handler) {
  if (handler != newest_) return false;
  newest_ = static_cast<Handler*>(handler->__pad[0]);
  return true;
}

void ThreadCleanup::End(void* result) {
  if (newest_ == nullptr && at_bottom_ == nullptr) throw ThreadExit{result};
  if (ending_ == nullptr) {
    ending_ = std::make_unique<Ending>();
    ++Scheduler::Get().current()->shields;
  }
  ending_->result = result;
  newest_ ? GoToNewest() : GoToBottom();
}

void ThreadCleanup::GoToNewest() {
  Handler* const handler = newest_;
  newest_ = static_cast<Handler*>(Next(handler));
  Unwind(&AtFrame, handler);
}

// Destructors on the way are run.
void ThreadCleanup::GoToBottom() {
  constexpr auto kAtFrame = [](int, _Unwind_Action actions, _Unwind_Exception_Class,
                               _Unwind_Exception*, _Unwind_Context*, void* self) {
    auto* const cleanup = static_cast<ThreadCleanup*>(self);
    if ((actions & _UA_END_OF_STACK) != 0) cleanup->at_bottom_(cleanup->ending_->result);
    return _URC_NO_REASON;
  };
  Unwind(kAtFrame, this);
}

void ThreadCleanup::Unwind(_Unwind_Stop_Fn at_frame, void* argument) {
  ending_->unwinding = {};
  ending_->unwinding.exception_cleanup = [](_Unwind_Reason_Code, _Unwind_Exception*) {
    GROVE_FATAL(
        "a thread that ends (pthread_exit, pthread_cancel) was stopped by a "
        "catch (...) that does not throw on");
  };
  _Unwind_ForcedUnwind(&ending_->unwinding, at_frame, argument);
  GROVE_FATAL("a thread that ends (pthread_exit, pthread_cancel) cannot be unwound");
}

void ThreadCleanup::Ended() {
  if (ending_ == nullptr) return;
  ending_.reset();
  --Scheduler::Get().current()->shields;
}

absl::Span<Hook* const> CleanupHooks() { return hooks; }

}  // namespace grove::patch::patch_internal
