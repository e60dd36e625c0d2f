// How long a call takes that does not wait: a byte is sent to a socket and received, over
// and over. It knows nothing of grove; bench runs it with patch/run and without.
//
//   patched_calls ROUNDS [thread]     the second: on another thread
//
// Prints the nanoseconds of a call.

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

static void* Measure(void* arg) {
  const long rounds = *(long*)arg;
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0) exit(1);
  struct timespec from, to;
  clock_gettime(CLOCK_MONOTONIC, &from);
  for (long i = 0; i < rounds; ++i) {
    char c = 'x';
    if (send(fds[0], &c, 1, 0) != 1 || recv(fds[1], &c, 1, 0) != 1) exit(1);
  }
  clock_gettime(CLOCK_MONOTONIC, &to);
  const double ns =
      1e9 * (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec);
  printf("%.2f\n", ns / (2.0 * (double)rounds));
  return NULL;
}

int main(int argc, char** argv) {
  long rounds = argc > 1 ? atol(argv[1]) : 1000000;
  if (argc > 2 && strcmp(argv[2], "thread") == 0) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, &Measure, &rounds) != 0) return 1;
    pthread_join(thread, NULL);
  } else {
    Measure(&rounds);
  }
  return 0;
}
