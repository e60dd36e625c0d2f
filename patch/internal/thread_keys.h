#ifndef GROVE_PATCH_INTERNAL_THREAD_KEYS_H_
#define GROVE_PATCH_INTERNAL_THREAD_KEYS_H_

namespace grove::patch::patch_internal {

// Calls the destructors of the current greenlet's values of keys, as a thread that ends
// (pthread_key_create(3p)).
void DestroyValuesOfKeys();

}  // namespace grove::patch::patch_internal

#endif  // GROVE_PATCH_INTERNAL_THREAD_KEYS_H_
