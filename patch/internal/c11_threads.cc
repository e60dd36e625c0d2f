// <threads.h> of C11, which to libc is pthreads by other names: its objects are theirs.

#include <errno.h>
#include <pthread.h>
#include <threads.h>
#include <time.h>

#include <cstdint>
#include <optional>

#include "grove/patch/internal/hook.h"
#include "grove/patch/internal/pthread_calls.h"
#include "grove/patch/internal/timespec.h"

namespace grove::patch::patch_internal {
namespace {

int ThrdCreate(thrd_t* thread, thrd_start_t fn, void* arg);
int ThrdJoin(thrd_t thread, int* result);
int ThrdDetach(thrd_t thread);
thrd_t ThrdCurrent();
void ThrdExit(int result);
int MtxLock(mtx_t* m);
int MtxTimedLock(mtx_t* m, const timespec* when);
int MtxTryLock(mtx_t* m);
int MtxUnlock(mtx_t* m);
int CndWait(cnd_t* c, mtx_t* m);
int CndTimedWait(cnd_t* c, mtx_t* m, const timespec* when);
int CndSignal(cnd_t* c);
int CndBroadcast(cnd_t* c);
void CallOnceC11(once_flag* flag, void (*routine)());
int TssCreate(tss_t* key, tss_dtor_t destructor);
void TssDelete(tss_t key);
void* TssGet(tss_t key);
int TssSet(tss_t key, void* value);

constinit HookOf thrd_create_hook("thrd_create", Module::kThread, &ThrdCreate);
constinit HookOf thrd_join_hook("thrd_join", Module::kThread, &ThrdJoin);
constinit HookOf thrd_detach_hook("thrd_detach", Module::kThread, &ThrdDetach);
constinit HookOf thrd_current_hook("thrd_current", Module::kThread, &ThrdCurrent);
constinit HookOf thrd_exit_hook("thrd_exit", Module::kThread, &ThrdExit);
constinit HookOf mtx_lock_hook("mtx_lock", Module::kThread, &MtxLock);
constinit HookOf mtx_timedlock_hook("mtx_timedlock", Module::kThread, &MtxTimedLock);
constinit HookOf mtx_trylock_hook("mtx_trylock", Module::kThread, &MtxTryLock);
constinit HookOf mtx_unlock_hook("mtx_unlock", Module::kThread, &MtxUnlock);
constinit HookOf cnd_wait_hook("cnd_wait", Module::kThread, &CndWait);
constinit HookOf cnd_timedwait_hook("cnd_timedwait", Module::kThread, &CndTimedWait);
constinit HookOf cnd_signal_hook("cnd_signal", Module::kThread, &CndSignal);
constinit HookOf cnd_broadcast_hook("cnd_broadcast", Module::kThread, &CndBroadcast);
constinit HookOf call_once_hook("call_once", Module::kThread, &CallOnceC11);
constinit HookOf tss_create_hook("tss_create", Module::kThread, &TssCreate);
constinit HookOf tss_delete_hook("tss_delete", Module::kThread, &TssDelete);
constinit HookOf tss_get_hook("tss_get", Module::kThread, &TssGet);
constinit HookOf tss_set_hook("tss_set", Module::kThread, &TssSet);

Hook* const hooks[] = {&thrd_create_hook,   &thrd_join_hook,     &thrd_detach_hook,
                       &thrd_current_hook,  &thrd_exit_hook,     &mtx_lock_hook,
                       &mtx_timedlock_hook, &mtx_trylock_hook,   &mtx_unlock_hook,
                       &cnd_wait_hook,      &cnd_timedwait_hook, &cnd_signal_hook,
                       &cnd_broadcast_hook, &call_once_hook,     &tss_create_hook,
                       &tss_delete_hook,    &tss_get_hook,       &tss_set_hook};

// What libc's own (nptl/thrd_priv.h, and the types of <threads.h>) takes them for.
static_assert(sizeof(mtx_t) == sizeof(pthread_mutex_t));
static_assert(sizeof(cnd_t) == sizeof(pthread_cond_t));
static_assert(sizeof(once_flag) == sizeof(pthread_once_t));
static_assert(sizeof(thrd_t) == sizeof(pthread_t));
static_assert(sizeof(tss_t) == sizeof(pthread_key_t));
pthread_mutex_t* Of(mtx_t* m) { return reinterpret_cast<pthread_mutex_t*>(m); }
pthread_cond_t* Of(cnd_t* c) { return reinterpret_cast<pthread_cond_t*>(c); }

int Result(int error) {
  switch (error) {
    case 0:
      return thrd_success;
    case ENOMEM:
      return thrd_nomem;
    case ETIMEDOUT:
      return thrd_timedout;
    case EBUSY:
      return thrd_busy;
  }
  return thrd_error;
}

// --- threads ---

int ThrdCreate(thrd_t* thread, thrd_start_t fn, void* arg) {
  const std::optional<int> error = CreateC11Thread(thread, fn, arg, thrd_create_hook);
  if (!error) return thrd_create_hook.Original(thread, fn, arg);
  return *error == 0 ? thrd_success : thrd_error;
}

int ThrdJoin(thrd_t thread, int* result) {
  void* value = nullptr;
  const int error = JoinThread(thread, &value, thrd_join_hook);
  if (error == 0 && result) *result = static_cast<int>(reinterpret_cast<intptr_t>(value));
  return Result(error);
}

int ThrdDetach(thrd_t thread) { return Result(DetachThread(thread)); }
thrd_t ThrdCurrent() { return CurrentThread(); }
void ThrdExit(int result) {
  ExitThread(reinterpret_cast<void*>(static_cast<intptr_t>(result)));
}

// --- locks ---

int MtxLock(mtx_t* m) { return Result(LockMutex(Of(m), mtx_lock_hook)); }
int MtxTimedLock(mtx_t* m, const timespec* when) {
  return Result(LockMutexUntil(Of(m), when, mtx_timedlock_hook));
}
int MtxTryLock(mtx_t* m) { return Result(TryLockMutex(Of(m), mtx_trylock_hook)); }
int MtxUnlock(mtx_t* m) { return Result(UnlockMutex(Of(m))); }

int CndWait(cnd_t* c, mtx_t* m) {
  return Result(WaitForCondition(Of(c), Of(m), nullptr, cnd_wait_hook));
}
int CndTimedWait(cnd_t* c, mtx_t* m, const timespec* when) {
  return IsValid(when) ? Result(WaitForCondition(Of(c), Of(m), when, cnd_timedwait_hook))
                       : cnd_timedwait_hook.Original(c, m, when);
}
int CndSignal(cnd_t* c) { return Result(SignalCondition(Of(c))); }
int CndBroadcast(cnd_t* c) { return Result(BroadcastCondition(Of(c))); }

void CallOnceC11(once_flag* flag, void (*routine)()) {
  CallOnce(reinterpret_cast<pthread_once_t*>(flag), routine, call_once_hook);
}

// --- values ---

int TssCreate(tss_t* key, tss_dtor_t destructor) {
  return Result(CreateKey(key, destructor));
}
void TssDelete(tss_t key) { DeleteKey(key); }
void* TssGet(tss_t key) { return GetValue(key); }
int TssSet(tss_t key, void* value) { return Result(SetValue(key, value)); }

}  // namespace

absl::Span<Hook* const> C11Hooks() { return hooks; }

}  // namespace grove::patch::patch_internal
