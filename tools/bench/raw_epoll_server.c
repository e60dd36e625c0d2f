// What grove's echo server is measured against: an echo server by hand, one thread,
// level-triggered epoll, and nothing that is not needed for the echo itself.
//
//   raw_epoll_server --host=127.0.0.1 --port=0
//   raw_epoll_server --unix=@name
//   raw_epoll_server --host=127.0.0.1 --port=0 --threads=2
//
// Each thread has a core and a listener of its own (SO_REUSEPORT), as grove's hubs have,
// and with --by_core the connections which that core receives (SO_INCOMING_CPU).
// Prints "listening on HOST:PORT", or "listening on unix:@name", when it is ready;
// SIGTERM ends it. Unix sockets have abstract names here.
#define _GNU_SOURCE

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { kEvents = 512, kBufferSize = 64 * 1024, kMaxThreads = 64 };

// What a peer that does not read has not taken yet. Ping-pong never gets here, but a
// server that lost bytes would be no yardstick.
struct Backlog {
  char* bytes;
  size_t begin;
  size_t end;
};

static __thread char buffer[kBufferSize];
static struct Backlog* backlogs;  // by descriptor
static __thread int epoll_fd;
static int is_tcp = 1;
static int by_core = 0;

static void Fail(const char* what) {
  fprintf(stderr, "raw_epoll_server: %s: %s\n", what, strerror(errno));
  exit(1);
}

static void OnTerm(int signal_number) {
  (void)signal_number;
  _exit(0);
}

static void Watch(int operation, int fd, uint32_t events) {
  struct epoll_event e = {.events = events, .data.fd = fd};
  if (epoll_ctl(epoll_fd, operation, fd, &e) != 0) Fail("epoll_ctl");
}

static void Drop(int fd) {
  free(backlogs[fd].bytes);
  backlogs[fd].bytes = NULL;
  close(fd);  // which takes it out of the epoll set
}

static void AcceptAll(int listener) {
  for (;;) {
    const int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      if (errno == EAGAIN) return;
      if (errno == EINTR || errno == ECONNABORTED) continue;
      Fail("accept4");
    }
    const int on = 1;
    if (is_tcp) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    Watch(EPOLL_CTL_ADD, fd, EPOLLIN);
  }
}

// Keeps what could not be sent, and reads no more until it has been.
static void Keep(int fd, const char* bytes, size_t size) {
  struct Backlog* b = &backlogs[fd];
  b->bytes = malloc(size);
  if (b->bytes == NULL) Fail("malloc");
  memcpy(b->bytes, bytes, size);
  b->begin = 0;
  b->end = size;
  Watch(EPOLL_CTL_MOD, fd, EPOLLOUT);
}

static void Flush(int fd) {
  struct Backlog* b = &backlogs[fd];
  const ssize_t n = send(fd, b->bytes + b->begin, b->end - b->begin, MSG_NOSIGNAL);
  if (n < 0) {
    if (errno != EAGAIN && errno != EINTR) Drop(fd);
    return;
  }
  b->begin += (size_t)n;
  if (b->begin < b->end) return;
  free(b->bytes);
  b->bytes = NULL;
  Watch(EPOLL_CTL_MOD, fd, EPOLLIN);
}

static inline void Echo(int fd) {
  const ssize_t n = recv(fd, buffer, sizeof buffer, 0);
  if (__builtin_expect(n > 0, 1)) {
    const ssize_t sent = send(fd, buffer, (size_t)n, MSG_NOSIGNAL);
    if (__builtin_expect(sent == n, 1)) return;
    if (sent < 0 && errno != EAGAIN && errno != EINTR) {
      Drop(fd);
      return;
    }
    const size_t done = sent < 0 ? 0 : (size_t)sent;
    Keep(fd, buffer + done, (size_t)n - done);
    return;
  }
  if (n == 0 || (errno != EAGAIN && errno != EINTR)) Drop(fd);
}

// `port` becomes the one that was chosen.
static int Listen(const char* host, int* port, int shared) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) Fail("socket");
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (shared && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0) {
    Fail("SO_REUSEPORT");
  }
  struct sockaddr_in address = {.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)*port)};
  if (inet_pton(AF_INET, host, &address.sin_addr) != 1) {
    fprintf(stderr, "raw_epoll_server: --host=%s is no IPv4 address\n", host);
    exit(2);
  }
  if (bind(fd, (struct sockaddr*)&address, sizeof address) != 0) Fail("bind");
  // The system cuts this to net.core.somaxconn.
  if (listen(fd, 65535) != 0) Fail("listen");
  socklen_t size = sizeof address;
  if (getsockname(fd, (struct sockaddr*)&address, &size) != 0) Fail("getsockname");
  *port = ntohs(address.sin_port);
  return fd;
}

static int ListenUnix(const char* name) {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) Fail("socket");
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  const size_t length = strlen(name);
  if (name[0] != '@' || length > sizeof address.sun_path) {
    fprintf(stderr, "raw_epoll_server: --unix=%s is no abstract name\n", name);
    exit(2);
  }
  memcpy(address.sun_path + 1, name + 1, length - 1);
  const socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
  if (bind(fd, (struct sockaddr*)&address, size) != 0) Fail("bind");
  if (listen(fd, 65535) != 0) Fail("listen");
  return fd;
}

__attribute__((noreturn)) static void Serve(int listener) {
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  if (epoll_fd < 0) Fail("epoll_create1");
  Watch(EPOLL_CTL_ADD, listener, EPOLLIN);

  struct epoll_event events[kEvents];
  for (;;) {
    const int n = epoll_wait(epoll_fd, events, kEvents, -1);
    if (n < 0 && errno != EINTR) Fail("epoll_wait");
    for (int i = 0; i < n; ++i) {
      const int fd = events[i].data.fd;
      if (__builtin_expect(fd == listener, 0)) {
        AcceptAll(listener);
      } else if (__builtin_expect(backlogs[fd].bytes != NULL, 0)) {
        Flush(fd);
      } else {
        Echo(fd);
      }
    }
  }
}

// The nth core that the process may use; -1 if there are fewer.
static int NthCore(int nth) {
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) Fail("sched_getaffinity");
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &allowed) && nth-- == 0) return core;
  }
  return -1;
}

static void PinTo(int core) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(core, &one);
  if (sched_setaffinity(0, sizeof one, &one) != 0) Fail("sched_setaffinity");
}

struct Thread {
  int listener;
  int core;
};

static void* ServeThread(void* argument) {
  const struct Thread* thread = argument;
  if (thread->core >= 0) PinTo(thread->core);
  Serve(thread->listener);
}

// The value of "--name=value" or "--name value", or NULL.
static const char* Flag(const char* name, char** argv, int* i) {
  const size_t length = strlen(name);
  if (strncmp(argv[*i], name, length) != 0) return NULL;
  if (argv[*i][length] == '=') return argv[*i] + length + 1;
  if (argv[*i][length] == '\0' && argv[*i + 1] != NULL) return argv[++*i];
  return NULL;
}

int main(int argc, char** argv) {
  const char* host = "127.0.0.1";
  const char* name = NULL;
  int port = 0;
  int threads = 1;
  for (int i = 1; i < argc; ++i) {
    const char* value;
    if ((value = Flag("--host", argv, &i)) != NULL) {
      host = value;
    } else if ((value = Flag("--port", argv, &i)) != NULL) {
      port = atoi(value);
    } else if ((value = Flag("--threads", argv, &i)) != NULL) {
      threads = atoi(value);
    } else if (strcmp(argv[i], "--by_core") == 0) {
      by_core = 1;
    } else if ((value = Flag("--unix", argv, &i)) != NULL) {
      name = value;
      is_tcp = 0;
    } else {
      fprintf(stderr,
              "usage: raw_epoll_server [--host=IPV4] [--port=N] [--unix=@NAME] "
              "[--threads=N] [--by_core]\n");
      return 2;
    }
  }
  if (threads < 1 || threads > kMaxThreads || (threads > 1 && name != NULL)) {
    fprintf(stderr, "raw_epoll_server: --threads is 1 to %d, with --unix 1\n",
            kMaxThreads);
    return 2;
  }
  signal(SIGTERM, &OnTerm);

  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) Fail("getrlimit");
  files.rlim_cur = files.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &files) != 0) Fail("setrlimit");
  backlogs = calloc(files.rlim_cur, sizeof *backlogs);
  if (backlogs == NULL) Fail("calloc");

  if (name != NULL) {
    const int listener = ListenUnix(name);
    printf("listening on unix:%s\n", name);
    fflush(stdout);
    Serve(listener);
  }
  static struct Thread all[kMaxThreads];
  for (int i = 0; i < threads; ++i) {
    all[i].listener = Listen(host, &port, threads > 1);
    all[i].core = NthCore(i);
    if (by_core && setsockopt(all[i].listener, SOL_SOCKET, SO_INCOMING_CPU, &all[i].core,
                              sizeof all[i].core) != 0) {
      Fail("SO_INCOMING_CPU");
    }
  }
  printf("listening on %s:%d\n", host, port);
  fflush(stdout);
  if (threads == 1) Serve(all[0].listener);
  for (int i = 1; i < threads; ++i) {
    pthread_t id;
    const int error = pthread_create(&id, NULL, &ServeThread, &all[i]);
    if (error != 0) {
      errno = error;
      Fail("pthread_create");
    }
  }
  ServeThread(&all[0]);
}
