// A load for UDP echo servers: one socket, a window of datagrams in flight.
//
//   udp_load --port=7000 --window=64 --bytes=1200 --warmup=0.5 --seconds=2
//
// Looks at each datagram that comes back, and prints one line of JSON as echo_load does.
// A window that does not come back within 100 ms counts as lost, and is sent anew.
//
// Exit status: 0; 1 if the server failed; 2 if the arguments are wrong.
#define _GNU_SOURCE

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "tools/bench/process_usage.h"

enum { kMaxWindow = 512, kMaxBytes = 2048 };

static char out_bytes[kMaxBytes];
static char in_bytes[kMaxWindow][kMaxBytes];
static struct iovec out_vectors[kMaxWindow], in_vectors[kMaxWindow];
static struct mmsghdr out[kMaxWindow], in[kMaxWindow];
static int window = 64, bytes = 1200, port, server_pid;
static double warmup = 0.5, seconds = 2;

static void Fail(int status, const char* what) {
  fprintf(stderr, "udp_load: %s: %s\n", what, strerror(errno));
  exit(status);
}

static int64_t Now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void Send(int fd, int n) {
  for (int done = 0; done < n;) {
    const int sent = sendmmsg(fd, out, (unsigned)(n - done), 0);
    if (sent < 0 && errno != EINTR) Fail(1, "sendmmsg");
    if (sent > 0) done += sent;
  }
}

// Until `end`; how many came back.
static uint64_t Run(int fd, int64_t end, uint64_t* lost) {
  uint64_t received = 0;
  while (Now() < end) {
    const int n = recvmmsg(fd, in, (unsigned)window, MSG_WAITFORONE, NULL);
    if (n < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN) Fail(1, "recvmmsg");
      *lost += (uint64_t)window;
      Send(fd, window);
      continue;
    }
    for (int i = 0; i < n; ++i) {
      if (in[i].msg_len != (unsigned)bytes ||
          memcmp(in_bytes[i], out_bytes, (size_t)bytes) != 0) {
        fprintf(stderr, "udp_load: other bytes came than were sent\n");
        exit(1);
      }
    }
    received += (uint64_t)n;
    Send(fd, n);
  }
  return received;
}

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    char* value = strchr(argv[i], '=');
    const size_t name = value ? (size_t)(value - argv[i]) : 0;
#define IS(flag) (name == strlen(flag) && strncmp(argv[i], flag, name) == 0)
    if (IS("--port")) {
      port = atoi(value + 1);
    } else if (IS("--window")) {
      window = atoi(value + 1);
    } else if (IS("--bytes")) {
      bytes = atoi(value + 1);
    } else if (IS("--server_pid")) {
      server_pid = atoi(value + 1);
    } else if (IS("--warmup")) {
      warmup = atof(value + 1);
    } else if (IS("--seconds")) {
      seconds = atof(value + 1);
    } else if (!IS("--host")) {  // it is always 127.0.0.1
      fprintf(stderr, "udp_load: unknown argument %s\n", argv[i]);
      return 2;
    }
#undef IS
  }
  if (port <= 0 || window < 1 || window > kMaxWindow || bytes < 1 || bytes > kMaxBytes ||
      seconds <= 0) {
    fprintf(stderr, "udp_load: an argument is missing, or out of range\n");
    return 2;
  }
  for (int i = 0; i < bytes; ++i) out_bytes[i] = (char)(i * 31);
  for (int i = 0; i < window; ++i) {
    out_vectors[i] = (struct iovec){out_bytes, (size_t)bytes};
    in_vectors[i] = (struct iovec){in_bytes[i], kMaxBytes};
    out[i].msg_hdr = (struct msghdr){.msg_iov = &out_vectors[i], .msg_iovlen = 1};
    in[i].msg_hdr = (struct msghdr){.msg_iov = &in_vectors[i], .msg_iovlen = 1};
  }
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) Fail(1, "socket");
  struct sockaddr_in server = {.sin_family = AF_INET,
                               .sin_port = htons((uint16_t)port),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (connect(fd, (struct sockaddr*)&server, sizeof server) != 0) Fail(1, "connect");
  const struct timeval patience = {.tv_usec = 100 * 1000};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);

  Send(fd, window);
  uint64_t lost = 0;
  Run(fd, Now() + (int64_t)(warmup * 1e9), &lost);
  lost = 0;
  const int64_t cpu_before = server_pid ? CpuNsOf(server_pid) : 0;
  const int64_t start = Now();
  const uint64_t received = Run(fd, start + (int64_t)(seconds * 1e9), &lost);
  const double took = (double)(Now() - start) / 1e9;
  const int64_t cpu = server_pid ? CpuNsOf(server_pid) - cpu_before : 0;
  printf(
      "{\"window\": %d, \"bytes\": %d, \"seconds\": %.6f, \"requests\": %llu, "
      "\"lost\": %llu, \"requests_per_s\": %.1f, \"server_cpu_ns\": %lld}\n",
      window, bytes, took, (unsigned long long)received, (unsigned long long)lost,
      (double)received / took, (long long)cpu);
  return 0;
}
