// What patch_test loads: a library that blocks, and knows nothing of grove.

#include <poll.h>
#include <pthread.h>
#include <unistd.h>

extern "C" {

int LibrarySleep(unsigned microseconds) { return usleep(microseconds); }

// As a library does that keeps a cache.
int LibraryLock() {
  static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  return pthread_mutex_lock(&mutex) + pthread_mutex_unlock(&mutex);
}

// How often this was called in this thread.
int LibraryCountInThisThread() {
  static thread_local int count = 0;
  return ++count;
}

// The address of a function, as tables of callbacks have it.
int (*library_poll)(pollfd*, nfds_t, int) = &poll;
}
