// What grove's UDP sockets are measured against: an echo by hand, a loop of recvmmsg(2)
// and sendmmsg(2) on one blocking socket.
//
//   raw_udp_server --host=127.0.0.1 --port=0
//
// Prints "listening on HOST:PORT" when it is ready; SIGTERM ends it.
#define _GNU_SOURCE

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

// As socket_server.cc has them.
enum { kBatch = 64, kMaxBytes = 2048 };

static char bytes[kBatch][kMaxBytes];
static struct sockaddr_in peers[kBatch];
static struct iovec vectors[kBatch];
static struct mmsghdr messages[kBatch];

static void Fail(const char* what) {
  fprintf(stderr, "raw_udp_server: %s: %s\n", what, strerror(errno));
  exit(1);
}

static void OnTerm(int signal_number) {
  (void)signal_number;
  _exit(0);
}

int main(int argc, char** argv) {
  struct sockaddr_in address = {.sin_family = AF_INET};
  int on_epoll = 0;
  for (int i = 1; i < argc; ++i) {
    if (strncmp(argv[i], "--port=", 7) == 0) {
      address.sin_port = htons((uint16_t)atoi(argv[i] + 7));
    } else if (strcmp(argv[i], "--epoll") == 0) {
      on_epoll = 1;
    } else if (strncmp(argv[i], "--host=", 7) != 0 ||
               inet_pton(AF_INET, argv[i] + 7, &address.sin_addr) != 1) {
      fprintf(stderr, "usage: raw_udp_server --host=IPV4 [--port=N] [--epoll]\n");
      return 2;
    }
  }
  signal(SIGTERM, &OnTerm);
  const int fd =
      socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | (on_epoll ? SOCK_NONBLOCK : 0), 0);
  if (fd < 0) Fail("socket");
  if (bind(fd, (struct sockaddr*)&address, sizeof address) != 0) Fail("bind");
  socklen_t size = sizeof address;
  if (getsockname(fd, (struct sockaddr*)&address, &size) != 0) Fail("getsockname");
  char name[INET_ADDRSTRLEN];
  inet_ntop(AF_INET, &address.sin_addr, name, sizeof name);
  printf("listening on %s:%d\n", name, ntohs(address.sin_port));
  fflush(stdout);

  const int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN};
  if (on_epoll && epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) Fail("epoll_ctl");
  for (int i = 0; i < kBatch; ++i) {
    vectors[i].iov_base = bytes[i];
    messages[i].msg_hdr =
        (struct msghdr){.msg_name = &peers[i], .msg_iov = &vectors[i], .msg_iovlen = 1};
  }
  for (;;) {
    for (int i = 0; i < kBatch; ++i) {
      vectors[i].iov_len = kMaxBytes;
      messages[i].msg_hdr.msg_namelen = sizeof peers[i];
    }
    const int n = recvmmsg(fd, messages, kBatch, MSG_WAITFORONE, NULL);
    if (n < 0) {
      if (errno == EAGAIN) epoll_wait(epoll_fd, &event, 1, -1);
      if (errno == EAGAIN || errno == EINTR) continue;
      Fail("recvmmsg");
    }
    for (int i = 0; i < n; ++i) vectors[i].iov_len = messages[i].msg_len;
    for (int done = 0; done < n;) {
      const int sent = sendmmsg(fd, messages + done, (unsigned)(n - done), 0);
      if (sent < 0 && errno != EINTR) Fail("sendmmsg");
      if (sent > 0) done += sent;
    }
  }
}
