// Handlers of pthread_cleanup_push(3) in C, which knows no exceptions: each thread says
// what its handlers do when it ends in one way or another. It knows nothing of grove.

#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static sem_t about_to_wait;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t never = PTHREAD_COND_INITIALIZER;
static int ends[2];

static void Say(void* what) { printf("%s, ", (const char*)what); }

static void ExitHere(void) {
  pthread_cleanup_push(&Say, "inner");
  pthread_exit((void*)7);
  pthread_cleanup_pop(0);
}

static void* Exits(void* arg) {
  pthread_cleanup_push(&Say, "outer");
  ExitHere();
  pthread_cleanup_pop(0);
  return arg;
}

// A handler may wait, which no cancellation ends.
static void ReadAndClose(void* arg) {
  (void)arg;
  sem_post(&about_to_wait);
  char c = '-';
  if (read(ends[0], &c, 1) != 1) perror("read");
  printf("got %c, ", c);
  close(ends[0]);
  Say("closed");
}

static void* IsCancelled(void* arg) {
  pthread_cleanup_push(&ReadAndClose, NULL);
  sem_post(&about_to_wait);
  char c;
  if (read(ends[0], &c, 1) != 0) perror("read");
  pthread_cleanup_pop(0);
  return arg;
}

static void Unlock(void* arg) {
  pthread_mutex_unlock((pthread_mutex_t*)arg);
  Say("unlocked");
}

static void* IsCancelledWithMutex(void* arg) {
  pthread_mutex_lock(&mutex);
  pthread_cleanup_push(&Unlock, &mutex);
  sem_post(&about_to_wait);
  for (;;) pthread_cond_wait(&never, &mutex);
  pthread_cleanup_pop(0);
  return arg;
}

static void* Returns(void* arg) {
  (void)arg;
  pthread_cleanup_push(&Say, "not popped");
  pthread_cleanup_push(&Say, "popped");
  pthread_cleanup_pop(1);
  pthread_cleanup_pop(0);
  return (void*)1;
}

static int ExitComparing(const void* a, const void* b) {
  if (a != b) pthread_exit((void*)3);
  return 0;
}

static void* ExitsInCallback(void* arg) {
  int numbers[2] = {2, 1};
  pthread_cleanup_push(&Say, "outer");
  qsort(numbers, 2, sizeof numbers[0], &ExitComparing);
  pthread_cleanup_pop(0);
  return arg;
}

static pthread_t Start(const char* name, void* (*function)(void*)) {
  printf("%s: ", name);
  pthread_t thread;
  if (pthread_create(&thread, NULL, function, NULL) != 0) exit(1);
  return thread;
}

static void Join(pthread_t thread) {
  void* result = NULL;
  if (pthread_join(thread, &result) != 0) exit(1);
  if (result == PTHREAD_CANCELED) {
    printf("cancelled\n");
  } else {
    printf("result %d\n", (int)(intptr_t)result);
  }
}

int main(void) {
  if (pipe(ends) != 0 || sem_init(&about_to_wait, 0, 0) != 0) return 1;
  Join(Start("exits", &Exits));

  pthread_t thread = Start("is cancelled", &IsCancelled);
  sem_wait(&about_to_wait);
  pthread_cancel(thread);
  sem_wait(&about_to_wait);  // in its handler
  if (write(ends[1], "x", 1) != 1) return 1;
  Join(thread);

  thread = Start("is cancelled in a wait with a mutex", &IsCancelledWithMutex);
  sem_wait(&about_to_wait);
  pthread_cancel(thread);
  Join(thread);
  pthread_mutex_lock(&mutex);
  pthread_mutex_unlock(&mutex);

  Join(Start("returns", &Returns));
  Join(Start("exits in a callback of libc", &ExitsInCallback));
  return 0;
}
