// A main thread that ends before the others, by pthread_exit(3) or, with an argument, since
// another has cancelled it: the process goes on to the end of its last thread, and then
// ends well. It knows nothing of grove.

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static pthread_t main_thread;
static int cancels;

static void Say(void* what) { printf("%s\n", (const char*)what); }

static void AtExit(void) { Say("the process has ended"); }

static void* Joins(void* arg) {
  if (cancels && pthread_cancel(main_thread) != 0) exit(1);
  void* result = NULL;
  if (pthread_join(main_thread, &result) != 0) exit(1);
  if (result == PTHREAD_CANCELED) {
    Say("main was cancelled");
  } else {
    printf("main's result is %d\n", (int)(intptr_t)result);
  }
  usleep(1000);
  Say("the last thread ends");
  return arg;
}

int main(int argc, char** argv) {
  (void)argv;
  cancels = argc > 1;
  main_thread = pthread_self();
  atexit(&AtExit);
  pthread_key_t key;
  if (pthread_key_create(&key, &Say) != 0) return 1;
  pthread_setspecific(key, "the value of main's key is destroyed");
  pthread_t thread;
  pthread_cleanup_push(&Say, "main's handler runs");
  if (pthread_create(&thread, NULL, &Joins, NULL) != 0) return 1;
  pthread_detach(thread);
  if (cancels) pause();
  pthread_exit((void*)7);
  pthread_cleanup_pop(0);
  return 1;
}
