#ifndef GROVE_PATCH_INTERNAL_PROCESS_SHARED_H_
#define GROVE_PATCH_INTERNAL_PROCESS_SHARED_H_

#include <pthread.h>
#include <semaphore.h>

#include <algorithm>

#include "absl/time/time.h"
#include "grove/hub/deadline.h"

// What lies in shared memory for other processes, too, is given back there without a word
// to the greenlets that wait for it here: they look again and again. Where the marks lie
// is glibc's (pthreadtypes.h; internaltypes.h of nptl), and its ABI, for static
// initializers write them.
namespace grove::patch::patch_internal {

inline bool IsShared(const pthread_mutex_t& m) { return (m.__data.__kind & 128) != 0; }
inline bool IsShared(const pthread_cond_t& c) { return (c.__data.__wrefs & 1) != 0; }
inline bool IsShared(const pthread_rwlock_t& l) { return l.__data.__shared != 0; }
// struct new_sem: a value of 64 bits, and then which futexes it uses.
inline bool IsShared(const sem_t& s) {
  static_assert(sizeof(long) == 8, "of 32 bits it is laid out otherwise");
  return reinterpret_cast<const int*>(&s)[2] != 0;
}

// When to look again, if the deadline is not before that.
inline Deadline LookAgain(Deadline deadline) {
  return std::min(deadline, Deadline(absl::Milliseconds(10)));
}

}  // namespace grove::patch::patch_internal

#endif  // GROVE_PATCH_INTERNAL_PROCESS_SHARED_H_
