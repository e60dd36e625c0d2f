#ifndef GROVE_PATCH_INTERNAL_THREAD_KEYS_H_
#define GROVE_PATCH_INTERNAL_THREAD_KEYS_H_

#include <pthread.h>

namespace grove::patch::patch_internal {

// Calls the destructors of the current greenlet's values of keys, as a thread that ends
// (pthread_key_create(3p)).
void DestroyValuesOfKeys();

// The same of one that libc keeps for the current thread-local variables. False if there
// is nothing to be done.
bool DestroyValueOfLibc(pthread_key_t key);

}  // namespace grove::patch::patch_internal

#endif  // GROVE_PATCH_INTERNAL_THREAD_KEYS_H_
