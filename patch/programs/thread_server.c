// A server as they have always been written: a thread for each connection, which reads
// and writes until the other end closes. It knows nothing of grove.
//
//   thread_server [CONNECTIONS]
//
// Says where it listens, serves that many connections, and then says how many bytes those
// were, and on stderr how many threads it had when all but the last were being served (all
// of them, if each client stays until all have been). Without a number it serves until it
// is ended.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ended = PTHREAD_COND_INITIALIZER;
static long long bytes;
static int running;

static void* Serve(void* arg) {
  const int fd = (int)(intptr_t)arg;
  char buffer[4096];
  long long mine = 0;
  for (;;) {
    const ssize_t n = read(fd, buffer, sizeof buffer);
    if (n <= 0) break;
    mine += n;
    if (write(fd, buffer, (size_t)n) != n) break;
  }
  close(fd);
  pthread_mutex_lock(&mutex);
  bytes += mine;
  --running;
  pthread_cond_signal(&ended);
  pthread_mutex_unlock(&mutex);
  return NULL;
}

// The process's, as the kernel counts them.
static int CountThreads(void) {
  int threads = 0;
  FILE* status = fopen("/proc/self/status", "r");
  char line[200];
  while (status != NULL && fgets(line, sizeof line, status) != NULL) {
    if (sscanf(line, "Threads: %d", &threads) == 1) break;
  }
  if (status != NULL) fclose(status);
  return threads;
}

int main(int argc, char** argv) {
  const int connections = argc > 1 ? atoi(argv[1]) : 0;
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in address = {.sin_family = AF_INET,
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  if (bind(listener, (struct sockaddr*)&address, size) != 0 ||
      listen(listener, 4096) != 0 ||
      getsockname(listener, (struct sockaddr*)&address, &size) != 0) {
    perror("listen");
    return 1;
  }
  printf("listening on 127.0.0.1:%d\n", ntohs(address.sin_port));
  fflush(stdout);
  int threads = 0;
  for (int i = 0; connections <= 0 || i < connections; ++i) {
    const int fd = accept(listener, NULL, NULL);
    if (fd < 0) {
      perror("accept");
      return 1;
    }
    if (i == connections - 1) threads = CountThreads();
    pthread_mutex_lock(&mutex);
    ++running;
    pthread_mutex_unlock(&mutex);
    pthread_t thread;
    const int error = pthread_create(&thread, NULL, &Serve, (void*)(intptr_t)fd);
    if (error != 0) {
      fprintf(stderr, "pthread_create: error %d\n", error);
      return 1;
    }
    pthread_detach(thread);
  }
  pthread_mutex_lock(&mutex);
  while (running > 0) pthread_cond_wait(&ended, &mutex);
  pthread_mutex_unlock(&mutex);
  fprintf(stderr, "threads %d\n", threads);
  printf("served %d connections and %lld bytes\n", connections, bytes);
  return 0;
}
