#ifndef GROVE_PATCH_INTERNAL_PTHREAD_CALLS_H_
#define GROVE_PATCH_INTERNAL_PTHREAD_CALLS_H_

#include <pthread.h>
#include <time.h>

#include <optional>

#include "grove/patch/internal/hook.h"

// What the patched calls of pthreads do, for those of C11 that are the same to libc,
// under other names. `hook` is the one that counts.
namespace grove::patch::patch_internal {

// In mutex.cc.
int LockMutex(pthread_mutex_t* m);
int LockMutex(pthread_mutex_t* m, Hook& hook);
int LockMutexUntil(pthread_mutex_t* m, const timespec* when, Hook& hook);
int TryLockMutex(pthread_mutex_t* m, Hook& hook);
int UnlockMutex(pthread_mutex_t* m);

// In condition.cc. `when` may be null.
int WaitForCondition(pthread_cond_t* c, pthread_mutex_t* m, const timespec* when,
                     Hook& hook);
int SignalCondition(pthread_cond_t* c);
int BroadcastCondition(pthread_cond_t* c);
int CallOnce(pthread_once_t* once, void (*routine)(), Hook& hook);
// In a forked child, where no routine runs but this greenlet's own.
void ForgetOnceInChild();

// In thread.cc. Create: an error or 0; nothing if the thread is to be libc's.
std::optional<int> CreateC11Thread(pthread_t* thread, int (*fn)(void*), void* arg,
                                   Hook& hook);
int JoinThread(pthread_t thread, void** result, Hook& hook);
int DetachThread(pthread_t thread);
pthread_t CurrentThread();
void ExitThread(void* result);

// In thread_keys.cc.
int CreateKey(pthread_key_t* key, void (*destructor)(void*));
int DeleteKey(pthread_key_t key);
void* GetValue(pthread_key_t key);
int SetValue(pthread_key_t key, const void* value);

}  // namespace grove::patch::patch_internal

#endif  // GROVE_PATCH_INTERNAL_PTHREAD_CALLS_H_
