#ifndef GROVE_PATCH_INTERNAL_MUTEX_H_
#define GROVE_PATCH_INTERNAL_MUTEX_H_

#include <pthread.h>

namespace grove::patch::patch_internal {

// What the patched pthread_mutex_lock(3) and pthread_mutex_unlock(3) do.
int LockMutex(pthread_mutex_t* m);
int UnlockMutex(pthread_mutex_t* m);

}  // namespace grove::patch::patch_internal

#endif  // GROVE_PATCH_INTERNAL_MUTEX_H_
