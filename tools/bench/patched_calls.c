// What a call that does not wait costs more than libc's own: a byte is received from a
// socket, and a mutex is locked and unlocked, by the program's import table and by
// dlsym(3), which finds the originals, in turns. It knows nothing of grove; bench runs it
// with patch/run, and without, where both are the same.
//
//   patched_calls BATCHES [thread]     the second: on a native thread, which has no hub
//
// Prints "RECV MUTEX": the nanoseconds that a call costs more, in the median of the
// batches.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

enum { kCalls = 200 };

typedef ssize_t (*RecvFn)(int, void*, size_t, int);
typedef int (*MutexFn)(pthread_mutex_t*);
typedef int (*CreateFn)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
typedef int (*JoinFn)(pthread_t, void**);

static int pair[2];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static RecvFn original_recv;
static MutexFn original_lock, original_unlock;

static double Now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

static void Fill(void) {
  char bytes[kCalls] = {0};
  if (send(pair[0], bytes, sizeof(bytes), 0) != kCalls) exit(1);
}

static double RecvByTable(void) {
  char c;
  Fill();
  const double from = Now();
  for (int i = 0; i < kCalls; ++i) {
    if (recv(pair[1], &c, 1, 0) != 1) exit(1);
  }
  return Now() - from;
}
static double RecvOriginal(void) {
  char c;
  Fill();
  const double from = Now();
  for (int i = 0; i < kCalls; ++i) {
    if (original_recv(pair[1], &c, 1, 0) != 1) exit(1);
  }
  return Now() - from;
}
static double MutexByTable(void) {
  const double from = Now();
  for (int i = 0; i < kCalls; ++i) {
    pthread_mutex_lock(&mutex);
    pthread_mutex_unlock(&mutex);
  }
  return (Now() - from) / 2;
}
static double MutexOriginal(void) {
  const double from = Now();
  for (int i = 0; i < kCalls; ++i) {
    original_lock(&mutex);
    original_unlock(&mutex);
  }
  return (Now() - from) / 2;
}

static int Compare(const void* a, const void* b) {
  const double x = *(const double*)a, y = *(const double*)b;
  return (x > y) - (x < y);
}

static double More(long batches, double (*by_table)(void), double (*original)(void)) {
  double* more = malloc((size_t)batches * sizeof(double));
  for (long i = 0; i < batches; ++i) {
    // Each first in turn.
    if (i % 2 == 0) {
      const double a = by_table();
      more[i] = a - original();
    } else {
      const double b = original();
      more[i] = by_table() - b;
    }
  }
  qsort(more, (size_t)batches, sizeof(double), &Compare);
  const double median = more[batches / 2] / kCalls;
  free(more);
  return median;
}

static void* Measure(void* arg) {
  const long batches = *(long*)arg;
  const double recv_more = More(batches, &RecvByTable, &RecvOriginal);
  const double mutex_more = More(batches, &MutexByTable, &MutexOriginal);
  printf("%.2f %.2f\n", recv_more, mutex_more);
  return NULL;
}

int main(int argc, char** argv) {
  long batches = argc > 1 ? atol(argv[1]) : 2000;
  if (batches < 1 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) return 1;
  void* const libc = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
  if (libc == NULL) return 1;
  original_recv = (RecvFn)dlsym(libc, "recv");
  original_lock = (MutexFn)dlsym(libc, "pthread_mutex_lock");
  original_unlock = (MutexFn)dlsym(libc, "pthread_mutex_unlock");
  if (!original_recv || !original_lock || !original_unlock) return 1;
  if (argc > 2) {
    const CreateFn create = (CreateFn)dlsym(libc, "pthread_create");
    const JoinFn join = (JoinFn)dlsym(libc, "pthread_join");
    pthread_t thread;
    if (!create || !join || create(&thread, NULL, &Measure, &batches) != 0) return 1;
    join(thread, NULL);
  } else {
    Measure(&batches);
  }
  return 0;
}
