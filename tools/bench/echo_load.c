// A load for echo servers: one thread, epoll, one request in flight per connection.
//
//   echo_load --port=7000 --connections=1000 --bytes=64 --warmup=0.5 --seconds=2
//   echo_load --unix=@name ...
//
// Checks every byte that comes back, and prints one line of JSON. With --server_pid it
// also reads, at both ends of the measured time, how much CPU time that process has used:
// read here and not by whoever started both, the two ends are those of the requests that
// are counted. With --idle every connection does one request and then nothing; what is
// reported is the memory of --server_pid before and after. With --reconnect each
// connection does one request, tells its end, waits for the server's, and is replaced by
// a new one: requests are connections then, and the latencies are those of the whole.
// With --websocket each connection is made a WebSocket at /ws first, and requests are its
// messages (RFC 6455), in one frame each.
//
// Exit status: 0; 1 if the server failed; 2 if this machine or the arguments do not allow
// the test.
#define _GNU_SOURCE

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "tools/bench/process_usage.h"

enum {
  kEvents = 512,
  kBufferSize = 64 * 1024,
  kPatterns = 256,
  kMaxBytes = 16 << 20,
  // Each source address has some 28,000 ports, of which earlier runs may have left many
  // in TIME_WAIT.
  kPerSource = 2500,
  kSubBits = 6,  // a latency is known to one part in 64
  kBuckets = (64 - kSubBits + 1) << kSubBits,
};

struct Options {
  const char* host;
  int port;
  int connections;
  int bytes;
  double warmup;
  double seconds;
  int server_pid;
  int idle;
  const char* unix_name;
  int reconnect;
  int websocket;
};

struct Connection {
  int fd;
  uint32_t turn;  // how many requests were answered
  size_t sent;    // of this request
  size_t got;     // of its answer
  int64_t started;
  int wants_write;
  int ending;  // waits for the server's end
};

static struct Options options = {"127.0.0.1", 0, 1, 64, 0.5, 2, 0, 0, NULL, 0, 0};
static struct sockaddr_storage server;
static socklen_t server_size;
static size_t request_size;  // with the frame's header
static size_t answer_size;
static char* framed;  // of WebSocket: what is sent or expected
static struct Connection* connections;
static char*
    pattern;  // kPatterns + bytes; a request is a piece that begins below kPatterns
static char buffer[kBufferSize];
static uint64_t histogram[kBuckets];
static uint64_t requests;
static int answered_once;
static int epoll_fd;

__attribute__((noreturn, format(printf, 2, 3))) static void Fail(int status,
                                                                 const char* format,
                                                                 ...) {
  va_list arguments;
  va_start(arguments, format);
  fputs("echo_load: ", stderr);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
  exit(status);
}

static void OnAlarm(int signal_number) {
  (void)signal_number;
  static const char text[] = "echo_load: the server does not answer\n";
  if (write(2, text, sizeof text - 1) < 0) _exit(1);
  _exit(1);
}

static int64_t Now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

// --- latencies ------------------------------------------------------------------------

static int BucketOf(uint64_t v) {
  if (v < (1u << kSubBits)) return (int)v;
  const int shift = 63 - __builtin_clzll(v) - kSubBits;
  return ((shift + 1) << kSubBits) + (int)((v >> shift) & ((1u << kSubBits) - 1));
}

// The middle of a bucket.
static double ValueOf(int bucket) {
  if (bucket < (2 << kSubBits)) return bucket;
  const int shift = (bucket >> kSubBits) - 1;
  const uint64_t low = ((uint64_t)(bucket & ((1 << kSubBits) - 1)) + (1u << kSubBits))
                       << shift;
  return (double)low + (double)(1ull << shift) / 2;
}

static double QuantileUs(double q) {
  const double rank = q * (double)requests;
  uint64_t seen = 0;
  for (int i = 0; i < kBuckets; ++i) {
    seen += histogram[i];
    if (seen > 0 && (double)seen >= rank) return ValueOf(i) / 1000;
  }
  return 0;
}

// --- connections ----------------------------------------------------------------------

static const char* MessageOf(const struct Connection* c) {
  const uint32_t index = (uint32_t)(c - connections);
  return pattern + (index * 31u + c->turn) % kPatterns;
}

// A whole binary message; returns its size. What a client sends is masked, here by zeros:
// the work of the server is the same.
static size_t Frame(const char* message, int masked) {
  const size_t n = (size_t)options.bytes;
  const int extra = n < 126 ? 0 : n < 65536 ? 2 : 8;
  size_t at = 0;
  framed[at++] = (char)0x82;
  framed[at++] = (char)((masked ? 0x80 : 0) | (extra == 0   ? (int)n
                                               : extra == 2 ? 126
                                                            : 127));
  for (int i = extra - 1; i >= 0; --i) framed[at++] = (char)(n >> (8 * i));
  for (int i = 0; masked && i < 4; ++i) framed[at++] = 0;
  memcpy(framed + at, message, n);
  return at + n;
}

static const char* RequestOf(const struct Connection* c) {
  if (!options.websocket) return MessageOf(c);
  Frame(MessageOf(c), 1);
  return framed;
}

static const char* AnswerOf(const struct Connection* c) {
  if (!options.websocket) return MessageOf(c);
  Frame(MessageOf(c), 0);
  return framed;
}

static void Watch(int operation, struct Connection* c) {
  struct epoll_event e = {.events = EPOLLIN | (c->wants_write ? EPOLLOUT : 0),
                          .data.ptr = c};
  if (epoll_ctl(epoll_fd, operation, c->fd, &e) != 0) {
    Fail(1, "epoll_ctl: %s", strerror(errno));
  }
}

static void Send(struct Connection* c) {
  const ssize_t n =
      send(c->fd, RequestOf(c) + c->sent, request_size - c->sent, MSG_NOSIGNAL);
  if (n < 0 && errno != EAGAIN && errno != EINTR) Fail(1, "send: %s", strerror(errno));
  if (n > 0) c->sent += (size_t)n;
  const int wants_write = c->sent < request_size;
  if (__builtin_expect(wants_write != c->wants_write, 0)) {
    c->wants_write = wants_write;
    Watch(EPOLL_CTL_MOD, c);
  }
}

static void Count(struct Connection* c, int64_t now, int counting) {
  if (counting) {
    ++requests;
    ++histogram[BucketOf((uint64_t)(now - c->started))];
  }
  if (c->turn == 0) ++answered_once;
  ++c->turn;
  c->got = c->sent = 0;
}

static void Begin(struct Connection* c, int index);

static void Receive(struct Connection* c, int counting) {
  const ssize_t n = recv(c->fd, buffer, sizeof buffer, 0);
  if (__builtin_expect(n <= 0, 0)) {
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n == 0 && c->ending) {
      close(c->fd);
      Count(c, Now(), counting);
      c->ending = 0;
      Begin(c, (int)(c - connections));
      return;
    }
    Fail(1, "connection %d ended: %s", (int)(c - connections),
         n == 0 ? "end of stream" : strerror(errno));
  }
  if (c->got + (size_t)n > (options.websocket ? answer_size : c->sent)) {
    Fail(1, "connection %d got more bytes than it sent", (int)(c - connections));
  }
  if (memcmp(buffer, AnswerOf(c) + c->got, (size_t)n) != 0) {
    Fail(1, "connection %d got other bytes than it sent", (int)(c - connections));
  }
  c->got += (size_t)n;
  if (c->got < answer_size) return;

  if (options.reconnect) {
    if (shutdown(c->fd, SHUT_WR) != 0) Fail(1, "shutdown: %s", strerror(errno));
    c->ending = 1;
    return;
  }
  const int64_t now = Now();
  Count(c, now, counting);
  if (options.idle) return;
  c->started = now;
  Send(c);
}

static void Connect(struct Connection* c, int index) {
  c->fd = socket(server.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (c->fd < 0) Fail(2, "socket number %d: %s", index + 1, strerror(errno));
  const int on = 1;
  const int is_tcp = server.ss_family == AF_INET;
  const int many = options.reconnect || options.connections > kPerSource;
  if (is_tcp && many &&
      ntohl(((struct sockaddr_in*)&server)->sin_addr.s_addr) >> 24 == 127) {
    // The port is chosen by connect(), which knows the other end.
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    static uint32_t made;
    const uint32_t nth =
        options.reconnect ? made++ % 250 : (uint32_t)(index / kPerSource);
    const struct sockaddr_in source = {.sin_family = AF_INET,
                                       .sin_addr.s_addr = htonl(0x7f000002u + nth)};
    if (bind(c->fd, (const struct sockaddr*)&source, sizeof source) != 0) {
      Fail(2, "bind to a source address: %s", strerror(errno));
    }
  }
  // Connecting blocks, one after the other: this is no test of accept(). A limit on its
  // time would also end it by a SIGSTOP (signal(7)); there is the alarm.
  if (connect(c->fd, (const struct sockaddr*)&server, server_size) != 0) {
    Fail(1, "connection %d: %s", index + 1, strerror(errno));
  }
  if (is_tcp) setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static void MakeWebSocket(struct Connection* c) {
  static const char request[] =
      "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
  const ssize_t sent = send(c->fd, request, sizeof request - 1, MSG_NOSIGNAL);
  if (sent != (ssize_t)sizeof request - 1) Fail(1, "send: %s", strerror(errno));
  size_t size = 0;
  while (size < 4 || memcmp(buffer + size - 4, "\r\n\r\n", 4) != 0) {
    const ssize_t n = recv(c->fd, buffer + size, 1, 0);
    if (n <= 0 || ++size == sizeof buffer) Fail(1, "the server does not upgrade");
  }
  if (memcmp(buffer, "HTTP/1.1 101 ", 13) != 0) Fail(1, "the server does not upgrade");
}

// The first request of a connection that stands.
static void Start(struct Connection* c) {
  if (options.websocket) MakeWebSocket(c);
  // SOCK_NONBLOCK from here on only: connecting was to wait.
  if (fcntl(c->fd, F_SETFL, O_NONBLOCK) != 0) Fail(1, "fcntl: %s", strerror(errno));
  Watch(EPOLL_CTL_ADD, c);
  Send(c);
}

static void Begin(struct Connection* c, int index) {
  c->started = Now();
  Connect(c, index);
  Start(c);
}

static void RaiseDescriptorLimit(void) {
  const rlim_t needed = (rlim_t)options.connections + 32;
  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) Fail(2, "getrlimit: %s", strerror(errno));
  if (files.rlim_max < needed) {
    Fail(2, "%d connections need %llu descriptors; the hard limit (ulimit -Hn) is %llu",
         options.connections, (unsigned long long)needed,
         (unsigned long long)files.rlim_max);
  }
  files.rlim_cur = files.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &files) != 0) Fail(2, "setrlimit: %s", strerror(errno));
}

// --- the two tests --------------------------------------------------------------------

static void HandleEvents(int timeout_ms, int counting) {
  static struct epoll_event events[kEvents];
  const int n = epoll_wait(epoll_fd, events, kEvents, timeout_ms);
  for (int i = 0; i < n; ++i) {
    struct Connection* c = events[i].data.ptr;
    if (events[i].events & ~(uint32_t)EPOLLOUT) Receive(c, counting);
    if (c->wants_write) Send(c);
  }
}

static void RunIdle(int64_t rss_before, int64_t footprint_before) {
  while (answered_once < options.connections) HandleEvents(100, 0);
  // Let the server come to rest.
  usleep(300 * 1000);
  printf(
      "{\"connections\": %d, \"bytes\": %d, \"server_rss_before_kib\": %lld, "
      "\"server_rss_kib\": %lld, \"server_footprint_before_kib\": %lld, "
      "\"server_footprint_kib\": %lld}\n",
      options.connections, options.bytes, (long long)rss_before,
      (long long)RssKibOf(options.server_pid), (long long)footprint_before,
      (long long)FootprintKibOf(options.server_pid));
}

static void RunPingPong(void) {
  const int64_t begin = Now() + (int64_t)(options.warmup * 1e9);
  // Counting begins when everybody has been served at least once.
  while (Now() < begin || answered_once < options.connections) HandleEvents(100, 0);

  const int pid = options.server_pid;
  const int64_t cpu_before = pid ? CpuNsOf(pid) : 0;
  const int64_t wait_before = pid ? WaitNsOf(pid) : 0;
  const int64_t start = Now();
  const int64_t end = start + (int64_t)(options.seconds * 1e9);
  int64_t now = start;
  while (now < end) {
    HandleEvents(100, 1);
    now = Now();
  }
  const int64_t cpu = pid ? CpuNsOf(pid) - cpu_before : 0;
  const int64_t wait = pid ? WaitNsOf(pid) - wait_before : 0;
  const double seconds = (double)(now - start) / 1e9;
  printf(
      "{\"connections\": %d, \"bytes\": %d, \"seconds\": %.6f, \"requests\": %llu, "
      "\"requests_per_s\": %.1f, \"p50_us\": %.2f, \"p99_us\": %.2f, "
      "\"p999_us\": %.2f, \"server_cpu_ns\": %lld, \"server_wait_ns\": %lld}\n",
      options.connections, options.bytes, seconds, (unsigned long long)requests,
      (double)requests / seconds, QuantileUs(0.5), QuantileUs(0.99), QuantileUs(0.999),
      (long long)cpu, (long long)wait);
}

// --- arguments ------------------------------------------------------------------------

// The value of "--name=value" or "--name value", or NULL.
static const char* Flag(const char* name, char** argv, int* i) {
  const size_t length = strlen(name);
  if (strncmp(argv[*i], name, length) != 0) return NULL;
  if (argv[*i][length] == '=') return argv[*i] + length + 1;
  if (argv[*i][length] == '\0' && argv[*i + 1] != NULL) return argv[++*i];
  return NULL;
}

static void ParseArguments(int argc, char** argv) {
  const struct {
    const char* name;
    int* value;
  } numbers[] = {{"--port", &options.port},
                 {"--connections", &options.connections},
                 {"--bytes", &options.bytes},
                 {"--server_pid", &options.server_pid}};
  for (int i = 1; i < argc; ++i) {
    const char* value;
    int found = 0;
    for (size_t k = 0; k < sizeof numbers / sizeof numbers[0] && !found; ++k) {
      if ((value = Flag(numbers[k].name, argv, &i)) == NULL) continue;
      *numbers[k].value = atoi(value);
      found = 1;
    }
    if (found) continue;
    if ((value = Flag("--host", argv, &i)) != NULL) {
      options.host = value;
    } else if ((value = Flag("--unix", argv, &i)) != NULL) {
      options.unix_name = value;
    } else if ((value = Flag("--warmup", argv, &i)) != NULL) {
      options.warmup = atof(value);
    } else if ((value = Flag("--seconds", argv, &i)) != NULL) {
      options.seconds = atof(value);
    } else if (strcmp(argv[i], "--idle") == 0) {
      options.idle = 1;
    } else if (strcmp(argv[i], "--reconnect") == 0) {
      options.reconnect = 1;
    } else if (strcmp(argv[i], "--websocket") == 0) {
      options.websocket = 1;
    } else {
      Fail(2,
           "unknown argument %s (known: --host --port --unix --connections --bytes "
           "--warmup --seconds --server_pid --idle --reconnect --websocket)",
           argv[i]);
    }
  }
  if (options.unix_name == NULL && (options.port <= 0 || options.port > 65535)) {
    Fail(2, "--port is missing");
  }
  if (options.connections < 1 || options.connections > 254 * kPerSource) {
    Fail(2, "--connections is out of range");
  }
  if (options.bytes < 1 || options.bytes > kMaxBytes) Fail(2, "--bytes is out of range");
  if (options.warmup < 0 || options.seconds <= 0 ||
      options.warmup + options.seconds > 3600) {
    Fail(2, "--warmup or --seconds is out of range");
  }
}

static void FindServer(void) {
  if (options.unix_name != NULL) {
    struct sockaddr_un* address = (struct sockaddr_un*)&server;
    const size_t length = strlen(options.unix_name);
    if (options.unix_name[0] != '@' || length > sizeof address->sun_path) {
      Fail(2, "--unix=%s is no abstract name", options.unix_name);
    }
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path + 1, options.unix_name + 1, length - 1);
    server_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    return;
  }
  struct sockaddr_in* address = (struct sockaddr_in*)&server;
  address->sin_family = AF_INET;
  address->sin_port = htons((uint16_t)options.port);
  server_size = sizeof *address;
  if (inet_pton(AF_INET, options.host, &address->sin_addr) != 1) {
    Fail(2, "--host=%s is no IPv4 address", options.host);
  }
}

int main(int argc, char** argv) {
  ParseArguments(argc, argv);
  FindServer();
  RaiseDescriptorLimit();
  request_size = answer_size = (size_t)options.bytes;
  // However the server misbehaves, this ends.
  signal(SIGALRM, &OnAlarm);
  alarm((unsigned)(options.warmup + options.seconds) + 60);

  pattern = malloc(kPatterns + request_size);
  connections = calloc((size_t)options.connections, sizeof *connections);
  if (pattern == NULL || connections == NULL) Fail(2, "out of memory");
  uint32_t random = 2463534242u;  // Marsaglia's xorshift
  const size_t pattern_size = kPatterns + request_size;
  for (size_t i = 0; i < pattern_size; ++i) {
    random ^= random << 13;
    random ^= random >> 17;
    random ^= random << 5;
    pattern[i] = (char)random;
  }
  if (options.websocket) {
    framed = malloc(answer_size + 14);
    if (framed == NULL) Fail(2, "out of memory");
    request_size = Frame(pattern, 1);
    answer_size = Frame(pattern, 0);
  }

  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  if (epoll_fd < 0) Fail(2, "epoll_create1: %s", strerror(errno));
  const int pid = options.server_pid;
  const int64_t rss_before = pid ? RssKibOf(pid) : 0;
  const int64_t footprint_before = pid ? FootprintKibOf(pid) : 0;
  for (int i = 0; i < options.connections; ++i) Connect(&connections[i], i);
  for (int i = 0; i < options.connections; ++i) {
    connections[i].started = Now();
    Start(&connections[i]);
  }
  if (options.idle) {
    RunIdle(rss_before, footprint_before);
  } else {
    RunPingPong();
  }
  return 0;
}
